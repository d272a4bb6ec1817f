//! `strata bundle`

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::daemon::object::VersionText;
use crate::daemon::protocol::Bundled;
use crate::daemon::{Failure, Item, ObjectSpec, Request};

use super::export::target;
use super::out::{Out, human};
use super::{Context, values};

/// Write a dataset's history into a file for another store
///
/// Writes all versions of DATASET up to VERSION (the newest if none is given), with their times, authors,
/// messages, tags, annotations and pins, to one file, in which every chunk is once. `strata import FILE
/// DATASET` makes a new dataset of it, in any store. Version numbers and snapshot ids stay. So do the version
/// ids, if no dataset of that store has the number that this one has in its own: a version id covers it. A
/// bundle that was altered or cut short is refused, and nothing lands. Retention and quota are not in it: they
/// are settings of a store, about what it has room for, and where the dataset has any, it is said which. Of
/// versions that were pruned, their records are in it: they are pruned in the new dataset too, which tells when
/// and by whom. So does it of what was purged.
///
/// With --since, only what came after that version is in it. Imported into a dataset that has that version, it
/// brings the dataset up to date, with the same version ids; so does a bundle of all versions. A dataset that
/// went on in another way is left as it is. Pins come along that the dataset never had; none is taken away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata bundle pets@paper -o pets.bundle
  strata import pets.bundle pets           # in another store
  strata bundle --since paper pets -o more.bundle
  strata import more.bundle pets           # in the other store, which has pets@paper")]
pub struct Args {
    /// The file; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is there already
    #[arg(short, long)]
    force: bool,
    /// Only versions after this one, which the other store must have
    #[arg(long, value_name = "VERSION", value_parser = values::version)]
    since: Option<VersionText>,
    /// Print JSON: dataset, since (null if all versions are in it), version, id, chunks, tags, annotations,
    /// pins, pruned (versions of which only the record is in it), purges, left_out (settings of the dataset
    /// that are not in it, as `strata set` takes them), bytes
    #[arg(long)]
    json: bool,
    /// DATASET[@VERSION]
    #[arg(value_name = "OBJECT", value_parser = values::version_of_dataset)]
    object: ObjectSpec,
}

#[derive(Serialize)]
struct BundledJson<'a> {
    dataset: &'a str,
    since: Option<&'a str>,
    version: &'a str,
    id: &'a str,
    chunks: u64,
    tags: u64,
    annotations: u64,
    pins: u64,
    pruned: u64,
    purges: u64,
    left_out: &'a [String],
    bytes: u64,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { output, force, since, json, object } = args;
    let request = Request::Bundle { dataset: object.dataset, version: object.version, since };
    let ask = |data: &mut dyn FnMut(&[u8]) -> Result<(), Failure>| match target::receive(
        context.client()?,
        request,
        data,
    )? {
        Some(Item::Bundled(bundled)) => Ok(bundled),
        _ => Err(Failure::new("the daemon did not say that the bundle is whole")),
    };
    let mut out = Out::new();
    if output == Path::new("-") {
        let bundled = ask(&mut |bytes| out.raw(bytes))?;
        out.flush()?;
        tell_left_out(&bundled);
        return Ok(0);
    }
    let bundled = target::archive(&output, force, context.umask, ask)?;
    if json {
        out.json(&BundledJson {
            dataset: &bundled.dataset,
            since: bundled.since.as_deref(),
            version: &bundled.version,
            id: &bundled.id,
            chunks: bundled.chunks,
            tags: bundled.tags,
            annotations: bundled.annotations,
            pins: bundled.pins,
            pruned: bundled.pruned,
            purges: bundled.purges,
            left_out: &bundled.left_out,
            bytes: bundled.bytes,
        })?;
        return out.flush().map(|()| 0);
    }
    let Bundled { dataset, since, version, id, pruned, bytes, .. } = &bundled;
    let (bytes, output) = (human(*bytes), output.display());
    let from = since.as_ref().map_or("v1".to_owned(), |since| format!("after {since}, up"));
    let pruned = if *pruned > 0 { format!(", {pruned} of them pruned") } else { String::new() };
    out.text(format_args!("{dataset}: {from} to {version}{pruned}, {bytes} in {output}\n{id}\n"))?;
    out.flush()?;
    tell_left_out(&bundled);
    Ok(0)
}

/// Says which settings stay behind.
fn tell_left_out(Bundled { dataset, left_out, .. }: &Bundled) {
    if !left_out.is_empty() {
        eprintln!(
            "strata: settings of this store are not in it: {}; where it is imported, `strata set {dataset} ...` sets them",
            left_out.join(" ")
        );
    }
}
