//! `strata init`

use crate::daemon::{Failure, preflight};
use crate::store::{Error, Store};

use super::Context;

/// Make a store
///
/// Makes an empty store in a directory that is missing or empty. The first mount does so by itself; a
/// store that is there already is left as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata init --store /srv/data-store")]
pub struct Args {}

pub fn run(_: Args, context: &Context) -> Result<u8, Failure> {
    let store = context.store()?;
    preflight::store_place(&store)?;
    match Store::init(&store) {
        Ok(()) => eprintln!("made a store in {}", store.display()),
        Err(Error::NotEmpty(_)) if store.join("strata.json").exists() => {
            eprintln!("{} is a store already", store.display());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}
