//! `strata set`

use crate::daemon::{Failure, Item, Request};
use crate::model::DatasetName;

use super::out::ask;
use super::values::Setting;
use super::{Context, values};

/// Change a dataset's settings
///
/// The policy says when versions are cut. every-write: at every close, fsync and change of a name.
/// settle=TIME: once for each burst of changes that ends with this much quiet (ms, s, m, h); a file that
/// changes twice ends the burst first, so that no state it had at a close is lost. manual: at `strata
/// commit` only. What waits under the old policy is cut first. Kept across mounts.
///
/// The retention says what the daemon keeps, by the rules of `strata prune`, separated by commas: it prunes the
/// others once an hour, or as often as every=TIME says, and gives their space back. none: nothing is pruned but
/// by hand.
///
/// The quota limits the bytes of all files in the dataset's directory, as `du --apparent-size` counts them;
/// history does not count. What would go beyond it is refused (EDQUOT). SIZE is in bytes, or in K, M, G, T or P
/// of 1024 each. A quota below what is used takes nothing away: files only cannot grow until it is less. none: no
/// quota.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata set imagenet policy=settle=2s
  strata set scratch policy=manual
  strata set scratch retention=keep-last=20,keep-daily=14
  strata set scratch quota=500G")]
pub struct Args {
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
    /// policy=every-write, policy=settle=TIME, policy=manual, retention=RULES, retention=none,
    /// quota=SIZE or quota=none
    #[arg(value_name = "SETTING", value_parser = values::setting)]
    setting: Setting,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let dataset = args.dataset;
    let request = match args.setting {
        Setting::Policy(policy) => Request::SetPolicy { dataset, policy },
        Setting::Quota(quota) => Request::SetQuota { dataset, quota },
        Setting::Retention(rules) => Request::SetRetention { dataset, rules },
    };
    ask(context.client()?, request, |_, item| {
        if let Item::Notice(notice) = item {
            eprintln!("note: {notice}");
        }
        Ok(())
    })
}
