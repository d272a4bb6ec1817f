//! `strata set`

use crate::daemon::{Failure, Request};
use crate::model::{DatasetName, Policy};

use super::out::ask;
use super::{Context, values};

/// Change a dataset's settings
///
/// The policy says when versions are cut. every-write: at every close, fsync and change of a name.
/// settle=TIME: once for each burst of changes that ends with this much quiet (ms, s, m, h); a file that
/// changes twice ends the burst first, so that no state it had at a close is lost. manual: at `strata
/// commit` only. What waits under the old policy is cut first. Kept across mounts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata set imagenet policy=settle=2s
  strata set scratch policy=manual")]
pub struct Args {
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// policy=every-write, policy=settle=TIME or policy=manual
    #[arg(value_name = "SETTING", value_parser = values::setting)]
    policy: Policy,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let request = Request::SetPolicy { dataset: args.dataset, policy: args.policy };
    ask(context.client()?, request, |_, _| Ok(()))
}
