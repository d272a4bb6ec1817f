//! `strata pin`

use crate::daemon::{Failure, Item, ObjectSpec, Request};

use super::out::ask;
use super::{Context, values};

/// Keep a version whatever rules say
///
/// A pinned version is never pruned, by hand or by the daemon, until `strata unpin`. The newest version and those
/// that a tag names are kept anyway, and one is kept while a file or directory of it is open. Who reads a version
/// for long, but one file after the other, does well to pin it. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata pin imagenet@v3 -m 'run 17 was trained on it'")]
pub struct Args {
    /// Print a JSON object: version, pinned
    #[arg(long)]
    json: bool,
    /// What to say of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The version
    #[arg(value_name = "DATASET[@VERSION]", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    set(context, args.version, true, args.message, args.json)
}

/// Pins a version, or no longer, and says so.
pub fn set(
    context: &Context,
    of: ObjectSpec,
    pin: bool,
    message: Option<String>,
    json: bool,
) -> Result<u8, Failure> {
    let name = of.dataset.clone();
    let request = Request::Pin { dataset: of.dataset, version: of.version, pin, message };
    ask(context.client()?, request, |out, item| match item {
        Item::Pin(info) if json => out.json(&info),
        Item::Pin(info) => {
            let state = if info.pinned { "pinned" } else { "no longer pinned" };
            out.text(format_args!("{name}: {} is {state}\n", info.version))
        }
        _ => Ok(()),
    })
}
