//! `strata untag`

use crate::daemon::{Failure, Item, Request};
use crate::model::{DatasetName, TagName};

use super::out::ask;
use super::{Context, values};

/// Take a tag away
///
/// The version stays, and so does the history of the tag. rmdir DATASET/@tag/NAME does the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata untag imagenet prod -m 'labels are wrong'")]
pub struct Args {
    /// Print a JSON object: tag, version (null), was, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// What to say of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// The tag
    #[arg(value_parser = values::tag)]
    name: TagName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::Untag { dataset: args.dataset.clone(), name: args.name, message: args.message };
    ask(context.client()?, request, |out, item| match item {
        Item::Tag(info) if args.json => out.json(&info),
        Item::Tag(info) => {
            let was = info.was.as_deref().unwrap_or_default();
            out.text(format_args!("{}: {} is gone, was {was}\n", args.dataset, info.tag))
        }
        _ => Ok(()),
    })
}
