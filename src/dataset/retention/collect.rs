//! Giving the space of what nothing needs back: which objects are looked for, and in what.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::Content;
use crate::store::error::chain;
use crate::store::{Candidates, Collection, Store, Suspects, Underway, Weighed};

use super::super::dataset::Dataset;
use super::super::error::Error;
use super::dropped::find_suspects;
use super::live::find_needed;

/// How a collection is to be done.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Look at all there is, and rewrite packs with little garbage too.
    pub all: bool,
    /// Only tell.
    pub dry_run: bool,
}

/// What there is that needs objects.
pub struct Users<'a, E> {
    /// All datasets of the store, archived ones too.
    pub datasets: &'a dyn Fn() -> Result<Vec<Arc<Dataset>>, E>,
    /// Contents that are open without being part of any tree.
    pub open: &'a dyn Fn() -> Vec<Content>,
}

/// Called with the number of packs done; may break off.
pub type Step<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Collects a store.
pub fn collect<E: From<Error>>(
    store: &Store,
    users: &Users<'_, E>,
    how: How,
    step: Step<'_>,
) -> Result<Collection, E> {
    let mut underway = store.begin_collection(how.all).map_err(Error::from)?;
    let mut collection = Collection::default();
    let weighed = if how.all { None } else { weigh(store, users, &mut underway)? };
    let done = match weighed {
        Some(Weighed { is_worth_a_look, mut candidates, .. }) if is_worth_a_look || how.dry_run => {
            underway.note_values(look(store, users, &mut candidates)?);
            let (how, mut packs) = ((how.all, how.dry_run), 0);
            let last = store.collect(&mut underway, &candidates, how, &mut collection, &mut || {
                packs += 1;
                step(packs)
            });
            last.map_err(Error::from)? != u32::MAX
        }
        Some(weighed) => {
            store.leave(&mut underway, weighed, &mut collection);
            true
        }
        None => collect_all(store, users, &mut underway, how, (&mut collection, step))?,
    };
    if done && !how.dry_run {
        store.note_collected(underway, &collection);
        let packs = collection.packs;
        collection.joined = store.join_packs(how.all, &mut || step(packs)).map_err(Error::from)?;
    }
    Ok(collection)
}

/// What may be garbage, by what the last collection found; `None` where only a look at all can tell.
fn weigh<E: From<Error>>(
    store: &Store,
    users: &Users<'_, E>,
    underway: &mut Underway<'_>,
) -> Result<Option<Weighed>, E> {
    let datasets = (users.datasets)()?;
    match suspects(store, &datasets, underway) {
        Ok(Some(suspects)) => Ok(store.weigh(underway, &suspects).map_err(Error::from)?),
        Ok(None) => Ok(None),
        Err(error) => {
            log::warn!("all there is is looked at for garbage: {}", chain(&error));
            Ok(None)
        }
    }
}

pub(super) fn suspects(
    store: &Store,
    datasets: &[Arc<Dataset>],
    underway: &Underway<'_>,
) -> Result<Option<Suspects>, Error> {
    let Some(mut suspects) = store.suspects(underway)? else { return Ok(None) };
    find_suspects(store, datasets, &mut suspects)?;
    Ok(Some(suspects))
}

/// Marks what is needed. Gives how many values were gone through.
fn look<E: From<Error>>(store: &Store, users: &Users<'_, E>, candidates: &mut Candidates) -> Result<u64, E> {
    let values = find_needed(store, &(users.datasets)()?, None, &(users.open)(), candidates)?;
    // What a live file had when it began to be read, and may have lost before that was looked at.
    find_needed(store, &[], None, &(users.open)(), candidates)?;
    Ok(values)
}

/// Looks at all there is, in as many turns as it takes. Gives whether that was not broken off.
fn collect_all<E: From<Error>>(
    store: &Store,
    users: &Users<'_, E>,
    underway: &mut Underway<'_>,
    how: How,
    (collection, step): (&mut Collection, Step<'_>),
) -> Result<bool, E> {
    let (mut after, mut packs) = (0, 0);
    while let Some(mut candidates) = store.candidates(underway, after).map_err(Error::from)? {
        underway.note_values(look(store, users, &mut candidates)?);
        let how = (how.all, how.dry_run);
        let last = store.collect(underway, &candidates, how, collection, &mut || {
            packs += 1;
            step(packs)
        });
        after = last.map_err(Error::from)?;
        if after == u32::MAX {
            return Ok(false);
        }
    }
    Ok(true)
}
