//! `strata ls`

use serde::Serialize;

use crate::daemon::protocol::{EntryInfo, kind_name};
use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::model::Kind;

use super::out::{JsonName, Out, ask, short_time};
use super::{Context, values};

/// List a directory, live or as of a version
///
/// Prints mode, size, time of last change (UTC) and name of each entry, or of the file itself if OBJECT
/// is one. Ordered by name, but for directories of more than 100,000 entries. Works without a mount too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata ls imagenet
  strata ls imagenet@2026-11-01/train")]
pub struct Args {
    /// Print JSON, an entry a line: name, kind, size, mode, uid, gid, mtime (and target of a symlink)
    #[arg(long)]
    json: bool,
    /// DATASET[@VERSION][/PATH]
    #[arg(value_name = "OBJECT", value_parser = values::object())]
    object: ObjectSpec,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_bytes: Option<&'a str>,
    kind: &'static str,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<&'a str>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    ask(context.client()?, Request::List(args.object), |out, item| match item {
        Item::Entry(entry) if args.json => json(out, &entry),
        Item::Entry(entry) => print(out, &entry),
        _ => Ok(()),
    })
}

fn json(out: &mut Out, entry: &EntryInfo) -> Result<(), Failure> {
    let name = JsonName::of(&entry.name);
    let target = entry.target.as_deref().map(JsonName::of);
    out.json(&EntryJson {
        name: &name.text,
        name_bytes: name.bytes.as_deref(),
        kind: kind_name(entry.kind),
        size: entry.size,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: &entry.mtime,
        target: target.as_ref().map(|target| target.text.as_ref()),
        target_bytes: target.as_ref().and_then(|target| target.bytes.as_deref()),
    })
}

fn print(out: &mut Out, entry: &EntryInfo) -> Result<(), Failure> {
    let mode = mode_text(entry.kind, entry.mode);
    out.text(format_args!("{mode} {:>12} {} ", entry.size, short_time(&entry.mtime)))?;
    out.name(&entry.name)?;
    if let Some(target) = &entry.target {
        out.text(format_args!(" -> "))?;
        out.name(target)?;
    }
    out.text(format_args!("\n"))
}

/// Kind and mode as ls(1) writes them: `-rw-r--r--`.
fn mode_text(kind: Kind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Dir => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode_text(Kind::File, 0o644), "-rw-r--r--");
        assert_eq!(mode_text(Kind::Dir, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(Kind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode_text(Kind::Fifo, 0o6000), "p--S--S---");
    }

    #[test]
    fn entries_have_the_documented_fields() {
        let entry = EntryJson {
            name: "a",
            name_bytes: None,
            kind: kind_name(Kind::File),
            size: 1,
            mode: 0o644,
            uid: 2,
            gid: 3,
            mtime: "t",
            target: None,
            target_bytes: None,
        };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"name":"a","kind":"file","size":1,"mode":420,"uid":2,"gid":3,"mtime":"t"}"#
        );
    }
}
