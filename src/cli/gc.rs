//! `strata gc`

use crate::daemon::protocol::Collected;
use crate::daemon::{Failure, Item, Request};

use super::Context;
use super::out::{Out, ask, count, human};
use super::progress::Progress;

/// Give back the space of what nothing needs any more
///
/// Finds the content that no version that is kept, no pending change and no open file needs: what pruned
/// versions alone held, and what writes that never came to be left behind. Packs of which a fifth or more is
/// such are rewritten without it, and small packs joined into fewer files; reading and writing go on
/// meanwhile. A kill or power failure at any point costs nothing but the work; needs room on the disk for one
/// pack (64 MiB) more. After the first, the cost follows what was written and pruned since the last, and the
/// garbage: see RETENTION in strata(7).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata prune imagenet --keep-last 10 && strata gc
  strata gc --dry-run")]
pub struct Args {
    /// Look at all there is, rewrite packs with little to be given back too, and join all small ones
    #[arg(long)]
    all: bool,
    /// Only tell what there is
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object: dry_run, packs, rewritten, objects, dead, left, freed, unsure, joined
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let mut progress = Progress::default();
    let request = Request::Gc { all: args.all, dry_run: args.dry_run };
    ask(context.client()?, request, |out, item| match item {
        Item::Progress { .. } => {
            progress.counting("collecting");
            Ok(())
        }
        Item::Collected(collected) => {
            progress.clear();
            if args.json { out.json(&collected) } else { print(out, collected) }
        }
        _ => Ok(()),
    })
}

fn print(out: &mut Out, collected: Collected) -> Result<(), Failure> {
    print_freed(out, &collected)?;
    match collected.joined {
        0 => Ok(()),
        joined => out.text(format_args!("small packs joined: {} fewer\n", count(joined, "file"))),
    }
}

fn print_freed(out: &mut Out, collected: &Collected) -> Result<(), Failure> {
    let Collected { dry_run, packs, rewritten, objects, dead, left, freed, unsure, .. } = *collected;
    let (objects_text, packs_text) = (count(objects, "object"), count(packs, "pack"));
    if unsure > 0 {
        return out.text(format_args!(
            "nothing given back: at most {} is not needed, too little to be looked for (--all)\n",
            human(unsure)
        ));
    }
    if dry_run || objects == 0 {
        return out.text(format_args!("{} in {objects_text} of {packs_text} not needed\n", human(dead)));
    }
    out.text(format_args!(
        "{} in {objects_text} not needed; {rewritten} of {packs_text} rewritten, {} given back\n",
        human(dead),
        human(freed)
    ))?;
    match left {
        0 => Ok(()),
        left => out.text(format_args!("{} left in packs that have little of it (--all)\n", human(left))),
    }
}
