//! `strata tag`

use crate::daemon::protocol::{NewTag, TagInfo};
use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::model::TagName;

use super::out::{Out, ask};
use super::{Context, values};

/// Give a version a name
///
/// A tag can be used wherever a version can: @prod in the mount, DATASET@prod in commands. It names one version
/// until it is moved, by tagging another version with it; `strata tags --history` tells where it was. Tags that
/// are semantic versions, such as 1.4.0, are moved only with --force; @1.4, @1.x and @^1.2 name the highest of
/// them. mkdir DATASET/@tag/NAME does the same for the newest version. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata tag imagenet@v3 baseline -m 'what the paper used'
  strata tag imagenet prod
  ls /data/imagenet/@prod/")]
pub struct Args {
    /// Move the tag even if it is a semantic version
    #[arg(long)]
    force: bool,
    /// Print a JSON object: tag, version, was, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// What to say of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The version
    #[arg(value_name = "DATASET[@VERSION]", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
    /// The tag: letters, digits, '.', '_', '-' and '+'
    #[arg(value_parser = values::tag)]
    name: TagName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let (name, force) = (NewTag::Named(args.name), args.force);
    give(context, args.version, name, args.message, force, args.json)
}

/// Gives a version a tag, and prints it.
pub fn give(
    context: &Context,
    to: ObjectSpec,
    name: NewTag,
    message: Option<String>,
    force: bool,
    json: bool,
) -> Result<u8, Failure> {
    let dataset = to.dataset.clone();
    let request = Request::Tag { dataset: to.dataset, version: to.version, name, message, force };
    ask(context.client()?, request, |out, item| match item {
        Item::Tag(info) if json => out.json(&info),
        Item::Tag(info) => print(out, dataset.as_str(), &info),
        _ => Ok(()),
    })
}

fn print(out: &mut Out, dataset: &str, info: &TagInfo) -> Result<(), Failure> {
    let version = info.version.as_deref().unwrap_or_default();
    match &info.was {
        Some(was) if was != version => {
            out.text(format_args!("{dataset}: {} is {version}, was {was}\n", info.tag))
        }
        _ => out.text(format_args!("{dataset}: {} is {version}\n", info.tag)),
    }
}
