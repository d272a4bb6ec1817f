//! `strata import`

use std::path::PathBuf;

use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::ask;
use super::progress::Progress;
use super::{Context, values};

/// Take a directory into a dataset as one version
///
/// Puts what is in DIR into DATASET as `cp -a` would, but as one version and with all processors, and makes
/// that durable. A dataset of that name is made if there is none. Files whose size and time of change are those
/// of the file of that path in the newest version are taken to be unchanged and are not read, unless
/// --checksum is given. With --delete, what DIR does not have goes away, so that the version is as DIR is.
/// It is taken in as a whole or not at all, also where something fails or the command is interrupted. DIR must
/// not change meanwhile: a file that does is taken in as it was read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata import ~/images images
  strata import --delete -m 'July crawl' ~/crawl crawl")]
pub struct Args {
    /// Remove from the dataset what DIR does not have
    #[arg(long)]
    delete: bool,
    /// Read all files, those that seem unchanged too
    #[arg(long)]
    checksum: bool,
    /// Print JSON: dataset, version (null if nothing had changed), newest
    #[arg(long)]
    json: bool,
    /// What to say of the version
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The directory
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { delete, checksum, json, message, source, dataset } = args;
    let shown = source.display().to_string();
    let source = source.canonicalize().map_err(|e| Failure::because(format!("cannot import {shown}"), &e))?;
    let request = Request::Import { source, dataset, message, delete, checksum };
    let mut progress = Progress::default();
    ask(context.client()?, request, |out, item| {
        match item {
            Item::Importing { files_total, counted: false, .. } => {
                progress.counting(&format!("{files_total} files found"));
            }
            Item::Importing { files, files_total, bytes, bytes_total, .. } => {
                progress.show(bytes, bytes_total, &format!("{files} of {files_total} files"));
            }
            Item::Made(made) => {
                progress.clear();
                match &made.version {
                    _ if json => out.json(&made)?,
                    Some(version) => out.text(format_args!("{}: {version}\n", made.dataset))?,
                    None => eprintln!("{}: nothing changed since {}", made.dataset, made.newest),
                }
            }
            _ => {}
        }
        Ok(())
    })
}
