//! `strata fsck`

use crate::daemon::{Client, Failure, control, preflight};
use crate::store::{self, Store};

use super::Context;
use super::verify::verify;

/// Check the packs, or rebuild the index
///
/// Checks every record of the packs against its hash; `strata verify` checks the versions as well. With
/// --rebuild-index, the index, which holds nothing that the packs do not hold, is made anew from them;
/// the old one is kept aside as index.bad-N. A store whose index is missing or broken does so by itself
/// when it is opened. Data and versions stay as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata fsck
  strata umount /data && strata fsck --rebuild-index")]
pub struct Args {
    /// Make the index anew; the store must not be mounted
    #[arg(long)]
    rebuild_index: bool,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let path = context.store()?;
    if args.rebuild_index {
        preflight::store_place(&path)?;
        Store::rebuild_index(&path).map_err(|error| {
            let in_use = matches!(error, store::Error::InUse { .. });
            let failure = Failure::from(error);
            match in_use && control::connect(&path).is_ok() {
                true => failure.hint("unmount it first: `strata status` says where it is mounted"),
                false => failure,
            }
        })?;
        eprintln!("rebuilt the index of {}", path.display());
    }
    verify(Client::open(&path)?, false, false)
}
