//! `strata compact`

use serde::Serialize;

use crate::daemon::protocol::Compacted;
use crate::daemon::{Failure, Item, Request};

use super::Context;
use super::out::{Out, ask, human};
use super::progress::Progress;

/// Compress what the store holds
///
/// While a store is mounted, packs that are full are compressed in the background whenever nothing was
/// written for some seconds. This does it at once, and with the last pack too. What hardly gets smaller, such
/// as images, is left as it is. Reading, writing and all versions go on as before; needs room on the disk
/// for one pack (64 MiB) more. With --best, packs are made as small as they get, those that are compressed
/// already too: text takes some 7 % less, at a quarter of the speed of compressing, and reading single small
/// files from the disk takes longer. Good for what is kept and seldom read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata compact && strata status")]
pub struct Args {
    /// Make packs as small as they get, however long it takes
    #[arg(long)]
    best: bool,
    /// Print a JSON object: packs, compressed, bytes_before, bytes_after
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CompactedJson {
    packs: u64,
    compressed: u64,
    bytes_before: u64,
    bytes_after: u64,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let mut progress = Progress::default();
    ask(context.client()?, Request::Compact { best: args.best }, |out, item| match item {
        Item::Progress { done, total } => {
            progress.show(done, total, "compressing");
            Ok(())
        }
        Item::Compacted(compacted) => {
            progress.clear();
            if args.json { out.json(&json(compacted)) } else { print(out, compacted) }
        }
        _ => Ok(()),
    })
}

fn json(Compacted { packs, compressed, before, after }: Compacted) -> CompactedJson {
    CompactedJson { packs, compressed, bytes_before: before, bytes_after: after }
}

fn print(out: &mut Out, Compacted { packs, compressed, before, after }: Compacted) -> Result<(), Failure> {
    match (packs, compressed) {
        (0, _) => out.text(format_args!("nothing new to compress\n")),
        (packs, 0) => out.text(format_args!("packs: {packs} new, none gets smaller\n")),
        _ => out.text(format_args!(
            "packs: {packs} new, {compressed} compressed from {} to {}\n",
            human(before),
            human(after)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_fields() {
        let compacted = Compacted { packs: 3, compressed: 2, before: 100, after: 40 };
        let expected =
            serde_json::json!({"packs": 3, "compressed": 2, "bytes_before": 100, "bytes_after": 40});
        assert_eq!(serde_json::to_value(json(compacted)).unwrap(), expected);
    }
}
