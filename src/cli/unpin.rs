//! `strata unpin`

use crate::daemon::{Failure, ObjectSpec};

use super::{Context, pin, values};

/// Let a pinned version be pruned again
///
/// What rules keep is kept all the same. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata unpin imagenet@v3")]
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
    pin::set(context, args.version, false, args.message, args.json)
}
