//! `strata release`

use crate::daemon::protocol::{NewTag, Step};
use crate::daemon::{Failure, ObjectSpec};

use super::{Context, tag, values};

/// Tag a version with the next semantic version
///
/// Takes the highest tag that is a semantic version, such as 1.4.2, and gives VERSION the one after it: 2.0.0 for
/// major (what uses the data must change), 1.5.0 for minor (something was added), 1.4.3 for patch. The first is
/// 1.0.0, 0.1.0 or 0.0.1. Without @VERSION, the newest. `strata bump` finds out which step the changes call for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata release imagenet minor -m 'a third camera'")]
pub struct Args {
    /// Print a JSON object: tag, version, was, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// What to say of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The version
    #[arg(value_name = "DATASET[@VERSION]", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
    /// Which number becomes one more
    step: Which,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    Major,
    Minor,
    Patch,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let step = match args.step {
        Which::Major => Step::Major,
        Which::Minor => Step::Minor,
        Which::Patch => Step::Patch,
    };
    tag::give(context, args.version, NewTag::Next(step), args.message, false, args.json)
}
