//! `strata purge`

use serde::Serialize;

use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::{JsonName, ask, count, human, one_line, short_time};
use super::values::DatasetPath;
use super::{Context, values};

/// Remove content from all versions, for good
///
/// For what must not be kept, by law or contract: all contents that the file at PATH ever had, or the one content
/// whose id is HASH (as `strata hash FILE` prints it), are removed from the disk at once, wherever versions of
/// the dataset have them, and so are packs in STORE/damaged that have any of them. Reading them then fails with
/// an I/O error; names, sizes, ids and everything else stay, and a tombstone in the log says what was removed, by
/// whom, when and why. Refused while the live tree still has the content: remove the file first (and under
/// policy=manual commit that). What live files, open ones or versions of other files and datasets have as well
/// stays: these are named, the exit code is 1, and the same purge, once they are gone, removes the rest. With
/// --everywhere only live files and open ones keep anything, and every file of a version that has any part of
/// it, be it a common beginning, can be read no more: --dry-run tells which. There is no way back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rm /data/faces/subject-7.jpg && strata purge faces subject-7.jpg --reason 'consent withdrawn'
  strata purge faces 5f0c2a9e41d7 --reason 'wrong file'
  strata purge --everywhere faces subject-7.jpg --reason 'consent withdrawn'
  strata purge faces --list")]
pub struct Args {
    /// Why, for the log
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["list", "dry_run"])]
    reason: Option<String>,
    /// Tell what was purged so far, when, by whom and why
    #[arg(long, conflicts_with_all = ["reason", "path"])]
    list: bool,
    /// Remove it from the versions of all files and of all datasets, archived ones too; each dataset that had it
    /// gets a tombstone
    #[arg(long, conflicts_with = "list")]
    everywhere: bool,
    /// Only tell what would be removed
    #[arg(long, conflicts_with = "list")]
    dry_run: bool,
    /// Print a JSON object: dataset, path, dry_run, objects, bytes, shared (objects that stay), holders (up to 100
    /// of what has those), others (datasets that lost content besides), also (up to 100 other files of versions
    /// that did), more (whether there are more), aside (removed files of STORE/damaged); with --list one a line:
    /// time, uid, command, path, path_bytes (in hexadecimal, where it is not UTF-8), reason, objects
    #[arg(long)]
    json: bool,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// The file's path in the dataset; or where no file ever had that path, the id of a content, of which the
    /// first 8 digits or more will do
    #[arg(value_name = "PATH|HASH", value_parser = values::path(), required_unless_present = "list")]
    path: Option<DatasetPath>,
}

#[derive(Serialize)]
struct PurgedJson<'a> {
    dataset: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
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
    let dataset = args.dataset;
    let request = match (args.path, args.reason) {
        (Some(path), reason) if reason.is_some() || args.dry_run => Request::Purge {
            dataset,
            path: path.0,
            reason: reason.unwrap_or_default(),
            everywhere: args.everywhere,
            dry_run: args.dry_run,
        },
        _ => Request::Tombstones { dataset },
    };
    ask(context.client()?, request, |out, item| match item {
        Item::Purged(purged) if args.json => {
            let name = JsonName::of(&purged.path);
            out.json(&PurgedJson {
                dataset: &purged.dataset,
                path: &name.text,
                path_bytes: name.bytes.as_deref(),
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
        Item::Purged(purged) => {
            out.text(format_args!("{}: ", purged.dataset))?;
            out.name(&purged.path)?;
            match purged.objects {
                0 => out.text(format_args!(": nothing of it is left to remove\n"))?,
                objects => {
                    let (bytes, objects) = (human(purged.bytes), count(objects, "object"));
                    let would = if purged.dry_run { "would be purged" } else { "purged" };
                    out.text(format_args!(" {would}: {bytes} in {objects}\n"))?;
                }
            }
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
                    out.text(format_args!("keeps what it has of it: "))?;
                    out.name(file.as_bytes())?;
                    out.text(format_args!("\n"))?;
                }
            }
            purged
                .aside
                .iter()
                .try_for_each(|file| out.text(format_args!("removed, as it had some of it: {file}\n")))
        }
        Item::Tombstone(tombstone) if args.json => out.json(&tombstone),
        Item::Tombstone(tombstone) => {
            out.text(format_args!("{}  uid {}  ", short_time(&tombstone.time), tombstone.uid))?;
            out.name(tombstone.path.as_bytes())?;
            out.text(format_args!("  \"{}\"\n", one_line(&tombstone.reason)))
        }
        _ => Ok(()),
    })
}
