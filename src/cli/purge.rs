//! `strata purge`

mod paths;

use std::path::PathBuf;

use serde::Serialize;

use crate::daemon::protocol::{Purged, PurgedPath};
use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::{JsonName, Out, ask, ask_with, count, human, one_line, short_time, working};
use super::values::DatasetPath;
use super::{Context, values};

/// Remove content from all versions, for good
///
/// For what must not be kept, by law or contract: all contents that the file at PATH ever had, or if that is a
/// directory, all files that any version had below it, or the one content whose id is HASH (as `strata hash
/// FILE` prints it), are removed from the disk at once, wherever versions of the dataset have them, and so are
/// packs in STORE/damaged that have any of them. Reading them then fails with an I/O error; names, sizes, ids
/// and everything else stay, and a tombstone in the log says what was removed, by whom, when and why. Refused
/// while the live tree still has any of the content: remove the files first (and under policy=manual commit
/// that).
///
/// Paths are taken by name: what was renamed into a directory and out again counts with what it had while it
/// was there, and no other path of a file is looked for. Any number of paths is one purge, with one tombstone:
/// it is done as a whole or, where one of them never existed, not at all.
///
/// What live files, open ones, versions of other datasets or versions of files with another content have as well
/// stays: these are named, the exit code is 1, and the same purge, once they are gone, removes the rest. With
/// --everywhere only live files and open ones keep anything, and every file of a version that has any part of it,
/// be it a common beginning, can be read no more. Which other files lose content so, or since they had just the
/// same, is told, by --dry-run beforehand. There is no way back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rm /data/faces/subject-7.jpg && strata purge faces subject-7.jpg --reason 'consent withdrawn'
  strata purge faces subject-7 labels/subject-7.json --dry-run     # a directory and a file
  strata purge faces --from subject-7.txt --reason 'consent withdrawn'
  strata purge faces 5f0c2a9e41d7 --reason 'wrong file'
  strata purge --everywhere faces subject-7.jpg --reason 'consent withdrawn'
  strata purge faces --list")]
pub struct Args {
    /// Why, for the log
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["list", "dry_run"])]
    reason: Option<String>,
    /// Tell what was purged so far, when, by whom and why: a line for each path
    #[arg(long, conflicts_with_all = ["reason", "paths", "from"])]
    list: bool,
    /// Remove it from the versions of all files and of all datasets, archived ones too; each dataset that had it
    /// gets a tombstone
    #[arg(long, conflicts_with = "list")]
    everywhere: bool,
    /// Only tell what would be removed, of each path and in all
    #[arg(long, conflicts_with = "list")]
    dry_run: bool,
    /// Take paths from FILE too, or from standard input where it is -: one a line, as they are, up to 4 MiB
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The paths in FILE end with a NUL each, as `find -print0` writes them
    #[arg(short = '0', long = "null", requires = "from")]
    nul: bool,
    /// Print a JSON object: dataset, path (where there is one), paths (of each path: path, files (that any
    /// version had at or below it), objects, bytes, shared, holders), dry_run, objects, bytes, shared (objects
    /// that stay), holders (up to 100 of what has those, and one at least of each path), others (datasets that
    /// lost content besides), also (up to 100 other paths in versions that did), more (whether there are more),
    /// aside (removed files of STORE/damaged); with --list one a line: time, uid, command, path, reason,
    /// objects (of all that was purged with it). Beside a path that is not UTF-8 is path_bytes, in hexadecimal
    #[arg(long)]
    json: bool,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// The paths of files and directories in the dataset; or where nothing ever had such a path, the id of a
    /// content, of which the first 8 digits or more will do
    #[arg(value_name = "PATH|HASH", value_parser = values::path(), required_unless_present_any = ["list", "from"])]
    paths: Vec<DatasetPath>,
}

#[derive(Serialize)]
struct PathJson<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
    files: u64,
    objects: u64,
    bytes: u64,
    shared: u64,
    holders: &'a [String],
}

#[derive(Serialize)]
struct PurgedJson<'a> {
    dataset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
    paths: &'a [PathJson<'a>],
    objects: u64,
    bytes: u64,
    shared: u64,
    holders: &'a [String],
    dry_run: bool,
    others: &'a [String],
    also: &'a [String],
    more: bool,
    aside: &'a [String],
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { reason, list, everywhere, dry_run, from, nul, json, dataset, paths } = args;
    if list {
        return tombstones(dataset, json, context);
    }
    let paths = paths::gathered(&paths, from.as_deref().map(|file| (file, nul)))?;
    let request = Request::Purge { dataset, reason: reason.unwrap_or_default(), everywhere, dry_run };
    let mut each = Vec::new();
    ask_with(context.client()?, request, (&mut paths.as_slice(), working()), |out, item| match item {
        Item::PurgedPath(path) => {
            each.push(path);
            Ok(())
        }
        Item::Purged(purged) if json => print_json(out, &each, &purged),
        Item::Purged(purged) => print(out, &each, &purged),
        _ => Ok(()),
    })
}

fn tombstones(dataset: DatasetName, json: bool, context: &Context) -> Result<u8, Failure> {
    ask(context.client()?, Request::Tombstones { dataset }, |out, item| match item {
        Item::Tombstone(tombstone) if json => out.json(&tombstone),
        Item::Tombstone(tombstone) => {
            out.text(format_args!("{}  uid {}  ", short_time(&tombstone.time), tombstone.uid))?;
            out.name(tombstone.path.as_bytes())?;
            out.text(format_args!("  \"{}\"\n", one_line(&tombstone.reason)))
        }
        _ => Ok(()),
    })
}

fn print_json(out: &mut Out, each: &[PurgedPath], purged: &Purged) -> Result<(), Failure> {
    let names: Vec<JsonName<'_>> = each.iter().map(|purged| JsonName::of(&purged.path)).collect();
    let mut paths = Vec::new();
    for (purged, name) in each.iter().zip(&names) {
        paths.push(PathJson {
            path: &name.text,
            path_bytes: name.bytes.as_deref(),
            files: purged.files,
            objects: purged.objects,
            bytes: purged.bytes,
            shared: purged.shared,
            holders: &purged.holders,
        });
    }
    let single = if let [name] = names.as_slice() { Some(name) } else { None };
    out.json(&PurgedJson {
        dataset: &purged.dataset,
        path: single.map(|name| name.text.as_ref()),
        path_bytes: single.and_then(|name| name.bytes.as_deref()),
        paths: &paths,
        objects: purged.objects,
        bytes: purged.bytes,
        shared: purged.shared,
        holders: &purged.holders,
        dry_run: purged.dry_run,
        others: &purged.others,
        also: &purged.also,
        more: purged.more,
        aside: &purged.aside,
    })
}

fn print(out: &mut Out, each: &[PurgedPath], purged: &Purged) -> Result<(), Failure> {
    // Of what stays, and why, the error tells.
    if !purged.dry_run && purged.objects == 0 && purged.shared > 0 {
        return Ok(());
    }
    if purged.dry_run && each.len() > 1 {
        for path in each {
            out.text(format_args!("{}: ", purged.dataset))?;
            out.name(&path.path)?;
            let files = if path.files > 1 { format!(" of {} files", path.files) } else { String::new() };
            print_amount(out, path.objects, path.bytes, (true, "it", &files))?;
        }
    }
    out.text(format_args!("{}: ", purged.dataset))?;
    let them = match each {
        [path] => out.name(&path.path).map(|()| "it")?,
        each => out.text(format_args!("{}", count(each.len() as u64, "path"))).map(|()| "them")?,
    };
    print_amount(out, purged.objects, purged.bytes, (purged.dry_run, them, ""))?;
    if !purged.others.is_empty() {
        out.text(format_args!("also from versions of {}\n", purged.others.join(", ")))?;
    }
    for file in &purged.also {
        out.text(format_args!("has some of it, and can be read no more: "))?;
        out.name(file.as_bytes())?;
        out.text(format_args!("\n"))?;
    }
    if purged.more {
        out.text(format_args!("and so have others\n"))?;
    }
    if purged.dry_run {
        for file in &purged.holders {
            out.text(format_args!("keeps what it has of {them}: "))?;
            out.name(file.as_bytes())?;
            out.text(format_args!("\n"))?;
        }
    }
    purged
        .aside
        .iter()
        .try_for_each(|file| out.text(format_args!("removed, as it had some of {them}: {file}\n")))
}

/// How much was purged, or would be, of what is called so and is of so many files.
fn print_amount(
    out: &mut Out,
    objects: u64,
    bytes: u64,
    (would, them, files): (bool, &str, &str),
) -> Result<(), Failure> {
    if objects == 0 {
        return out.text(format_args!(": nothing of {them} is left to remove\n"));
    }
    let (bytes, objects) = (human(bytes), count(objects, "object"));
    let would = if would { "would be purged" } else { "purged" };
    out.text(format_args!(" {would}: {bytes} in {objects}{files}\n"))
}
