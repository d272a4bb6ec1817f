//! `strata export`

pub(super) mod target;
mod unpack;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::daemon::protocol::Exported;
use crate::daemon::{Failure, Item, ObjectSpec, Request};

use super::out::{JsonName, Out, count, human};
use super::{Context, values};

/// Write a version as a tar archive or a directory
///
/// Writes what DATASET is at a version (the newest if none is given) to TARGET: a tar archive if its name ends
/// in .tar, standard output if it is -, else a directory, which must be new or empty. The archive needs no
/// strata to be restored: tar unpacks it, and `sha256sum -c SHA256SUMS` then checks every file. Its bytes follow
/// from the snapshot id alone, so they are the same on every machine that has the data: modes are 0644 or 0755,
/// owners and times 0, and hard links are files of their own. With --preserve all these, and extended
/// attributes, are as they were. Holes stay holes. Sockets are left out, which is said. A version with files
/// whose content was purged is refused, and they are named; --skip-purged leaves them out. TARGET is there as a
/// whole or not at all, and takes nothing's place unless --force is given; every chunk that is read is checked
/// against its hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata export imagenet@v12 imagenet-v12.tar
  strata export imagenet@paper /scratch/imagenet
  strata export --preserve imagenet - | zstd > imagenet.tar.zst")]
pub struct Args {
    /// Keep modes, owners, times, hard links and extended attributes
    #[arg(short, long)]
    preserve: bool,
    /// Leave out the file of checksums
    #[arg(long)]
    no_sums: bool,
    /// Leave out files whose content was purged
    #[arg(long)]
    skip_purged: bool,
    /// Replace an archive that is there already
    #[arg(short, long)]
    force: bool,
    /// Print JSON: dataset, version, snapshot, files, bytes, sums, left_out, purged
    #[arg(long)]
    json: bool,
    /// DATASET[@VERSION]
    #[arg(value_name = "OBJECT", value_parser = values::version_of_dataset)]
    object: ObjectSpec,
    /// FILE.tar, a directory, or -
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

#[derive(Serialize)]
struct ExportedJson<'a> {
    dataset: &'a str,
    version: &'a str,
    snapshot: &'a str,
    files: u64,
    bytes: u64,
    sums: Option<&'a str>,
    left_out: Vec<String>,
    purged: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { preserve, no_sums, skip_purged, force, json, object, target } = args;
    let (dataset, version) = (object.dataset, object.version);
    let request = Request::Export { dataset, version, preserve, sums: !no_sums, skip_purged };
    let ask = |data: &mut dyn FnMut(&[u8]) -> Result<(), Failure>| match target::receive(
        context.client()?,
        request,
        data,
    )? {
        Some(Item::Exported(exported)) => Ok(exported),
        _ => Err(Failure::new("the daemon did not say that the export is whole")),
    };
    if target == Path::new("-") {
        let mut out = Out::new();
        let exported = ask(&mut |bytes| out.raw(bytes))?;
        say_left_out(&exported);
        return out.flush().map(|()| 0);
    }
    let exported = match target::kind(&target)? {
        target::Kind::Archive => target::archive(&target, force, context.umask, ask)?,
        target::Kind::Directory => target::directory(&target, preserve, context.umask, ask)?,
    };
    report(&exported, &target, json).map(|()| 0)
}

fn report(exported: &Exported, target: &Path, json: bool) -> Result<(), Failure> {
    let mut out = Out::new();
    let Exported { dataset, version, snapshot, files, bytes, sums, left_out, purged } = exported;
    if json {
        let texts = |paths: &[Vec<u8>]| -> Vec<String> {
            paths.iter().map(|path| JsonName::of(path).text.into_owned()).collect()
        };
        let (sums, left_out, purged) = (sums.as_deref(), texts(left_out), texts(purged));
        let (files, bytes) = (*files, *bytes);
        out.json(&ExportedJson { dataset, version, snapshot, files, bytes, sums, left_out, purged })?;
    } else {
        say_left_out(exported);
        let target = target.display();
        out.text(format_args!(
            "{dataset}@{version}: {}, {} in {target}\n",
            count(*files, "file"),
            human(*bytes)
        ))?;
    }
    out.flush()
}

fn say_left_out(exported: &Exported) {
    for (paths, why) in [(&exported.purged, "as it was purged"), (&exported.left_out, "being a socket")] {
        for path in paths {
            eprintln!("left out, {why}: {}", String::from_utf8_lossy(path).escape_debug());
        }
    }
}
