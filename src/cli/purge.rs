//! `strata purge`

use serde::Serialize;

use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::{JsonName, ask, human};
use super::values::DatasetPath;
use super::{Context, values};

/// Remove content from all versions, for good
///
/// For what must not be kept, by law or contract: all contents that the file at PATH ever had are removed from
/// the disk at once, wherever versions of the dataset have them. Reading them then fails with an I/O error; names,
/// sizes, ids and everything else stay, and a tombstone in the log says what was removed, by whom, when and why.
/// Refused while the live tree still has the content: remove the file first. Pieces that other files have as
/// well stay; how many is told. There is no way back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rm /data/faces/subject-7.jpg && strata purge faces subject-7.jpg --reason 'consent withdrawn'")]
pub struct Args {
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print a JSON object: dataset, path, objects, bytes, shared
    #[arg(long)]
    json: bool,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// The file's path in the dataset
    #[arg(value_parser = values::path())]
    path: DatasetPath,
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
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::Purge { dataset: args.dataset, path: args.path.0, reason: args.reason };
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
            })
        }
        Item::Purged(purged) => {
            out.text(format_args!("{}: ", purged.dataset))?;
            out.name(&purged.path)?;
            out.text(format_args!(" purged: {} in {} objects\n", human(purged.bytes), purged.objects))?;
            match purged.shared {
                0 => Ok(()),
                shared => out.text(format_args!("{shared} objects stay: other files have them too\n")),
            }
        }
        _ => Ok(()),
    })
}
