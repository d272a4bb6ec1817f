//! `strata log`

use serde::Serialize;

use crate::daemon::{Failure, Item, Request};
use crate::dataset::LogEntry;
use crate::model::DatasetName;

use super::out::{JsonName, Out, Paint, ask, one_line, short_time};
use super::values::DatasetPath;
use super::{Context, values};

/// List the versions of a dataset, newest first
///
/// For each: its number, time (UTC), author, number of changes and command, then its message and the
/// earlier version it went back to, if any. With PATH, only the versions that changed the file or
/// anything in the directory; before a rename, those of the path that it had then, which is told. A rename is
/// known by the inode, or by a content that goes from one path and comes at another in the same version.
/// What was pruned is told with when, by whom and what they said of it, and what is pinned with the last.
/// Changes nothing, but cuts what waits to become a version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata log imagenet -n 10
  strata log imagenet labels/train.csv     # through its renames
  strata log imagenet --json | jq -r 'select(.message) | .version + \" \" + .message'")]
pub struct Args {
    /// Print JSON, a version a line: version, id, snapshot, time, uid, gid, pid, command, message,
    /// restores, tags, changes, path where it had another one, and note and annotations (KEY: VALUE) where there
    /// are any, and where they apply pinned, pin (time, uid, command, message), pruned (time, uid, command, rules,
    /// message)
    #[arg(long)]
    json: bool,
    /// Show at most this many versions
    #[arg(short = 'n', value_name = "N")]
    limit: Option<u64>,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// Tell of what had this very PATH, whatever that was, and not of renames
    #[arg(long, requires = "path")]
    no_follow: bool,
    /// Only versions that changed this path in the dataset
    #[arg(value_parser = values::path())]
    path: Option<DatasetPath>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let path = args.path.map(|path| path.0).unwrap_or_default();
    let request = Request::Log { dataset: args.dataset, path, follow: !args.no_follow, limit: args.limit };
    ask(context.client()?, request, |out, item| match item {
        Item::Version(entry) if args.json => out.json(&entry),
        Item::VersionOf { entry, path } if args.json => json_of(out, &entry, &path),
        Item::Version(entry) => print(out, &entry, None),
        Item::VersionOf { entry, path } => print(out, &entry, Some(&path)),
        _ => Ok(()),
    })
}

#[derive(Serialize)]
struct VersionOfJson<'a> {
    #[serde(flatten)]
    entry: &'a LogEntry,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
}

fn json_of(out: &mut Out, entry: &LogEntry, path: &[u8]) -> Result<(), Failure> {
    let path = JsonName::of(path);
    out.json(&VersionOfJson { entry, path: &path.text, path_bytes: path.bytes.as_deref() })
}

/// Prints what somebody said of something, in the same line.
fn said(out: &mut Out, message: Option<&str>) -> Result<(), Failure> {
    message.map_or(Ok(()), |message| out.text(format_args!(" \"{}\"", one_line(message))))
}

/// Prints a version in a line; of something, with the path that it had then.
pub fn print(out: &mut Out, entry: &LogEntry, path: Option<&[u8]>) -> Result<(), Failure> {
    let time = short_time(&entry.time);
    out.paint(Paint::Name, format_args!("{:6}", entry.version))?;
    out.text(format_args!(
        " {time}  {}  uid {} {:>6}  ",
        entry.snapshot.get(..12).unwrap_or(&entry.snapshot),
        entry.uid,
        match entry.changes {
            // What a rollback changed is told by the version that it restores.
            0 if entry.restores.is_some() => String::new(),
            1 => "1 op".into(),
            n => format!("{n} ops"),
        }
    ))?;
    out.name(entry.command.as_bytes())?;
    if let Some(message) = &entry.message {
        out.text(format_args!("  \"{}\"", one_line(message)))?;
    }
    if entry.damaged {
        out.paint(Paint::Removed, format_args!("(its record is damaged)"))?;
    }
    if entry.pinned {
        out.text(format_args!("  pinned"))?;
        said(out, entry.pin.as_ref().and_then(|pin| pin.message.as_deref()))?;
    }
    if let Some(pruned) = &entry.pruned {
        out.text(format_args!("  pruned {} by uid {}", short_time(&pruned.time), pruned.uid))?;
        said(out, pruned.message.as_deref())?;
    }
    if let Some(restores) = &entry.restores {
        out.text(format_args!("  restores {restores}"))?;
    }
    if !entry.tags.is_empty() {
        out.text(format_args!("  "))?;
        out.paint(Paint::Added, format_args!("({})", entry.tags.join(", ")))?;
    }
    if let Some(path) = path {
        out.text(format_args!("  as "))?;
        out.name(path)?;
    }
    out.text(format_args!("\n"))
}
