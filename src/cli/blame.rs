//! `strata blame`

use serde::Serialize;

use crate::daemon::protocol::{BlameInfo, kind_name};
use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::dataset::ChangeKind;

use super::out::{JsonName, Out, Paint, ask, one_line, short_time};
use super::{Context, change, values};

/// Show which version last touched each entry of a directory
///
/// For each: the version, its time (UTC) and author, what it did (A added, M modified, R renamed, a only
/// attributes), the path, and the version's message. A directory is touched by whatever touches something in
/// it. Entries are ordered by name, as `strata ls` has them. If OBJECT is a file, of that alone. Without
/// @VERSION, as of the newest. Takes as long as there are entries, however long the history is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata blame imagenet
  strata blame imagenet@v12/labels
  strata blame -r imagenet --json | jq -r 'select(.version == \"v7\") | .path'")]
pub struct Args {
    /// Print JSON, an entry a line: path, kind, change, version, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// Also what is in the directories below
    #[arg(short, long)]
    recursive: bool,
    /// DATASET[@VERSION][/PATH]
    #[arg(value_name = "OBJECT", value_parser = values::object())]
    object: ObjectSpec,
}

#[derive(Serialize)]
struct BlameJson<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
    kind: &'static str,
    change: ChangeKind,
    version: &'a str,
    time: &'a str,
    uid: u32,
    command: &'a str,
    message: Option<&'a str>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::Blame { object: args.object, deep: args.recursive };
    ask(context.client()?, request, |out, item| match item {
        Item::Blame(info) if args.json => json(out, &info),
        Item::Blame(info) => print(out, &info),
        _ => Ok(()),
    })
}

fn json(out: &mut Out, info: &BlameInfo) -> Result<(), Failure> {
    let path = JsonName::of(&info.path);
    out.json(&BlameJson {
        path: &path.text,
        path_bytes: path.bytes.as_deref(),
        kind: kind_name(info.kind),
        change: info.change,
        version: &info.version,
        time: &info.time,
        uid: info.uid,
        command: &info.command,
        message: info.message.as_deref(),
    })
}

fn print(out: &mut Out, info: &BlameInfo) -> Result<(), Failure> {
    let (time, letter) = (short_time(&info.time), change::letter(info.change));
    out.paint(Paint::Name, format_args!("{:6}", info.version))?;
    out.text(format_args!(" {time}  uid {}  ", info.uid))?;
    out.paint(change::paint(info.change), format_args!("{letter}"))?;
    out.text(format_args!(" "))?;
    out.name(&info.path)?;
    if let Some(message) = &info.message {
        out.text(format_args!("  \"{}\"", one_line(message)))?;
    }
    out.text(format_args!("\n"))
}
