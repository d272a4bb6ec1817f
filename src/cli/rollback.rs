//! `strata rollback`

use crate::daemon::object::VersionText;
use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::ask;
use super::{Context, values};

/// Bring back an earlier version
///
/// Makes a new version with the tree of VERSION, at once and in constant time. Nothing is lost: the
/// versions between stay, and what waits to become a version is cut first. To bring back single files,
/// copy them: cp @v3/file file.
///
/// A version with files whose content was purged is refused, and they are named; with --skip-purged all others
/// are brought back, and a second version is made that has not these. A version of more bytes than the
/// dataset's quota allows for is refused too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata rollback imagenet v3
  strata rollback imagenet 2026-11-01 -m 'before the bad import'")]
pub struct Args {
    /// Print JSON: dataset, version (null if VERSION is the newest), restores, newest; left_out, where
    /// files were
    #[arg(long)]
    json: bool,
    /// Leave out files whose content was purged: the version made has not them
    #[arg(long)]
    skip_purged: bool,
    /// What to say of the new version
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// The version to bring back
    #[arg(value_parser = values::version)]
    version: VersionText,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { dataset, version, message, skip_purged, .. } = args;
    let request = Request::Rollback { dataset, version, message, skip_purged };
    ask(context.client()?, request, |out, item| {
        let Item::Made(made) = item else { return Ok(()) };
        if args.json {
            return out.json(&made);
        }
        let restores = made.restores.as_deref().unwrap_or_default();
        match &made.version {
            Some(version) => out.text(format_args!("{}: {version} restores {restores}\n", made.dataset))?,
            None => eprintln!("{}: {restores} is the newest version already", made.dataset),
        }
        made.left_out
            .iter()
            .try_for_each(|path| out.text(format_args!("left out, as it was purged: {path}\n")))
    })
}
