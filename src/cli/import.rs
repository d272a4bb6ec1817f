//! `strata import`

use std::path::PathBuf;

use crate::daemon::{Failure, Item, Request};
use crate::dataset::bundle;
use crate::model::DatasetName;

use super::out::ask;
use super::progress::Progress;
use super::{Context, values};

/// Take a directory or archive into a dataset as one version
///
/// Puts what is in SOURCE into DATASET as `cp -a` would, but as one version and with all processors, and makes
/// that durable. A dataset of that name is made if there is none. Files whose size and time of change are those
/// of the file of that path in the newest version are taken to be unchanged and are not read, unless
/// --checksum is given. With --delete, what SOURCE does not have goes away, so that the version is as SOURCE is.
/// It is taken in as a whole or not at all, also where something fails or the command is interrupted. A directory must
/// not change meanwhile: a file that does is taken in as it was read.
///
/// SOURCE can also be a tar archive (of any format, plain or compressed with gzip or zstd) or a zip archive. It is
/// read straight into the store, all of it each time. Owners are kept where root imports; else, and of zip
/// archives, all belongs to who imports. Of two members of one path the later counts. Members whose paths lead
/// out of the archive or mean a version are refused, and so is an archive that is cut short. Of a file that
/// `strata bundle` wrote, a new dataset is made, with all the versions in it; where DATASET has some of them, the
/// others are added to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata import ~/images images
  strata import --delete -m 'July crawl' ~/crawl crawl
  strata import imagenet-v12.tar imagenet")]
pub struct Args {
    /// Remove from the dataset what SOURCE does not have
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
    /// A directory, or a tar or zip archive
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { delete, checksum, json, message, source, dataset } = args;
    let shown = source.display().to_string();
    let source = source.canonicalize().map_err(|e| Failure::because(format!("cannot import {shown}"), &e))?;
    let is_bundle = bundle::is_one(&source)?;
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
                    None if is_bundle => {
                        eprintln!("{}: all of it is there already, up to {}", made.dataset, made.newest);
                    }
                    Some(version) => out.text(format_args!("{}: {version}\n", made.dataset))?,
                    None => eprintln!("{}: nothing changed since {}", made.dataset, made.since()),
                }
            }
            _ => {}
        }
        Ok(())
    })
}
