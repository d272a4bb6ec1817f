//! `strata prefetch`

use serde::Serialize;

use crate::daemon::failure::DAMAGED;
use crate::daemon::protocol::Prefetched;
use crate::daemon::{Failure, Item, ObjectSpec, Request};

use super::out::{Out, ask, human};
use super::progress::Progress;
use super::{Context, values};

/// Read a dataset ahead of those who will want it
///
/// Brings the bytes of all files of OBJECT into the system's cache, as fast as the disk reads on and on:
/// packs are read in their own order, which programs that open files in random order cannot do. Worth it
/// before the first epoch over small files, as far as memory has room for them; what is read is verified.
/// Files whose content was purged are left out. The exit code is 3 if some of it is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata prefetch imagenet@v12
  strata prefetch imagenet@v12/train && python train.py")]
pub struct Args {
    /// Print a JSON object: files, bytes, lost_bytes, purged_bytes
    #[arg(long)]
    json: bool,
    /// DATASET[@VERSION][/PATH]
    #[arg(value_name = "OBJECT", value_parser = values::object())]
    object: ObjectSpec,
}

#[derive(Serialize)]
struct PrefetchedJson {
    files: u64,
    bytes: u64,
    lost_bytes: u64,
    purged_bytes: u64,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let (mut progress, mut lost) = (Progress::default(), 0);
    let code = ask(context.client()?, Request::Prefetch(args.object), |out, item| match item {
        Item::Prefetching(read) => {
            progress.counting(&text(&read));
            Ok(())
        }
        Item::Prefetched(read) => {
            progress.clear();
            lost = read.lost;
            if args.json { out.json(&json(read)) } else { print(out, &read) }
        }
        _ => Ok(()),
    })?;
    Ok(if lost > 0 { DAMAGED } else { code })
}

fn json(Prefetched { files, bytes, lost, purged }: Prefetched) -> PrefetchedJson {
    PrefetchedJson { files, bytes, lost_bytes: lost, purged_bytes: purged }
}

fn text(read: &Prefetched) -> String {
    let files = if read.files == 1 { "file" } else { "files" };
    format!("{} {files}, {} read", read.files, human(read.bytes))
}

fn print(out: &mut Out, read: &Prefetched) -> Result<(), Failure> {
    out.text(format_args!("{}\n", text(read)))?;
    if read.purged > 0 {
        out.text(format_args!("{} left out, as they were purged\n", human(read.purged)))?;
    }
    if read.lost > 0 {
        out.text(format_args!("{} are damaged: `strata verify` tells where\n", human(read.lost)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_fields() {
        let expected = serde_json::json!({"files": 2, "bytes": 300, "lost_bytes": 4, "purged_bytes": 5});
        let read = Prefetched { files: 2, bytes: 300, lost: 4, purged: 5 };
        assert_eq!(serde_json::to_value(json(read)).unwrap(), expected);
    }
}
