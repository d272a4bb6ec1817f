//! `strata commit`

use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::ask;
use super::{Context, values};

/// Make a version of what waits to become one
///
/// Cuts a version now, whatever the policy, and makes it durable. Where nothing waits, there is none to
/// make: under every-write each change is a version already.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata commit imagenet -m 'labels checked'")]
pub struct Args {
    /// Print JSON: dataset, version (null if there was none to make), newest
    #[arg(long)]
    json: bool,
    /// What to say of the version
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::Commit { dataset: args.dataset, message: args.message };
    ask(context.client()?, request, |out, item| {
        let Item::Made(made) = item else { return Ok(()) };
        if args.json {
            return out.json(&made);
        }
        match &made.version {
            Some(version) => out.text(format_args!("{}: {version}\n", made.dataset)),
            None => {
                eprintln!("{}: nothing to commit since {}", made.dataset, made.since());
                Ok(())
            }
        }
    })
}
