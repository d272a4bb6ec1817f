//! `strata status`

use crate::daemon::protocol::Status;
use crate::daemon::{Failure, Item, Request};

use super::Context;
use super::datasets;
use super::out::{Out, Paint, ask, human};

/// Show a store's mount, datasets and sizes
///
/// Logical bytes are those of all files of the newest versions; unique bytes those of the distinct chunks of
/// all versions; disk bytes what the store takes on disk, without the plain copies of a mount with
/// --passthrough, which are shown by themselves. Counting the logical bytes of millions of files takes long the
/// first time, and is given up after two seconds unless --sizes is given. Where any dataset has a quota or
/// retention (`strata set`), these are shown, and --json tells what of the quota is used. What can be given
/// back is told by `strata gc --dry-run`, which has to look for it. What cannot be told, of a failing disk say,
/// is left out with the reason, and the exit code is 1. Changes nothing, but cuts what waits to become a
/// version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata status
  strata status --json | jq .unique_bytes")]
pub struct Args {
    /// Print JSON: store, id, format, pid, mountpoint, shows (where that is not the whole store, the dataset or
    /// version that is mounted), read_only, read_only_because, datasets, archived, logical_bytes, unique_bytes,
    /// disk_bytes, copy_bytes, problems
    #[arg(long)]
    json: bool,
    /// Count the logical bytes however long it takes
    #[arg(long)]
    sizes: bool,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    ask(context.client()?, Request::Status { count_all: args.sizes }, |out, item| match item {
        Item::Status(status) if args.json => out.json(&status),
        Item::Status(status) => print(out, &status),
        _ => Ok(()),
    })
}

fn print(out: &mut Out, status: &Status) -> Result<(), Failure> {
    out.text(format_args!("store    {}\n", status.store))?;
    out.text(format_args!("id       {} (format {})\n", status.id, status.format))?;
    let note = if status.read_only { ", read-only" } else { "" };
    match (&status.mountpoint, status.pid) {
        (Some(point), Some(pid)) => {
            let shows = status.shows.as_ref().map_or(String::new(), |shows| format!("{shows} "));
            out.text(format_args!("mounted  {shows}at {point} (process {pid}{note})\n"))?;
        }
        (None, Some(pid)) => out.text(format_args!(
            "mounted  no more, but programs still use what was (process {pid}{note})\n"
        ))?,
        _ => out.text(format_args!("mounted  no{note}\n"))?,
    }
    if let Some(why) = &status.read_only_because {
        out.paint(Paint::Removed, format_args!("writes   none are taken until it is mounted anew: {why}"))?;
        out.text(format_args!("\n"))?;
    }
    let logical = status.logical_bytes.map_or("not counted".into(), human);
    let unique = status.unique_bytes.map_or("not counted".into(), human);
    let disk = human(status.disk_bytes);
    out.text(format_args!("sizes    {logical} logical, {unique} unique, {disk} on disk\n"))?;
    if status.copy_bytes > 0 {
        let copies = human(status.copy_bytes);
        out.text(format_args!("copies   {copies} of large files besides, until the unmount\n"))?;
    }
    for problem in &status.problems {
        out.paint(Paint::Removed, format_args!("problem  {problem}"))?;
        out.text(format_args!("\n"))?;
    }
    if !status.archived.is_empty() {
        out.text(format_args!("archived {}\n", status.archived.join(", ")))?;
    }
    if !status.datasets.is_empty() {
        out.text(format_args!("\n"))?;
        datasets::table(out, &status.datasets)?;
    }
    Ok(())
}
