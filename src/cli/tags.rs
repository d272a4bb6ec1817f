//! `strata tags`

use crate::daemon::protocol::TagInfo;
use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::{Out, ask, one_line, short_time};
use super::{Context, values};

/// List tags
///
/// Prints each tag, the version it names, and since when. With --history, all that was done to any tag, newest
/// first: given, moved, taken away. ls DATASET/@tag lists them too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata tags imagenet
  strata tags imagenet --history --json | jq 'select(.tag == \"prod\")'")]
pub struct Args {
    /// Tell all that was done to tags
    #[arg(long)]
    history: bool,
    /// Print a JSON object a line: tag, version (null where it was taken away), was, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::Tags { dataset: args.dataset, history: args.history };
    ask(context.client()?, request, |out, item| match item {
        Item::Tag(info) if args.json => out.json(&info),
        Item::Tag(info) => print(out, &info, args.history),
        _ => Ok(()),
    })
}

fn print(out: &mut Out, info: &TagInfo, history: bool) -> Result<(), Failure> {
    let version = info.version.as_deref().unwrap_or("gone");
    out.text(format_args!("{:16} {version:6} {}", info.tag, short_time(&info.time)))?;
    if history {
        match &info.was {
            Some(was) => out.text(format_args!("  was {was:6}"))?,
            None => out.text(format_args!("  new       "))?,
        }
        out.text(format_args!("  uid {}  ", info.uid))?;
        out.name(info.command.as_bytes())?;
    }
    if let Some(message) = &info.message {
        out.text(format_args!("  \"{}\"", one_line(message)))?;
    }
    out.text(format_args!("\n"))
}
