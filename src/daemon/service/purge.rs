//! Purges.

mod targets;
#[cfg(test)]
mod tests;
mod told;

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::dataset::retention::collect::How;
use crate::dataset::retention::{Losing, Purging, Target};
use crate::dataset::{Caller, Dataset};
use crate::model::purged_text;
use crate::store::error::chain;
use crate::store::{Collection, Underway, UnfinishedPurge, show_paths};

use super::super::failure::Failure;
use super::super::object::path_bytes;
use super::{Nowhere, Service, Sink};
use told::Outcome;

/// How a purge is to be done.
pub(super) struct Wanted {
    pub reason: String,
    pub everywhere: bool,
    pub dry_run: bool,
}

/// What is to go, and the collection that takes it.
struct Planned<'a> {
    underway: Underway<'a>,
    targets: Vec<Target>,
    purging: Purging,
}

impl Service {
    /// Removes what was ever at or below paths from all versions, for good; the paths follow as `input` has
    /// them.
    pub(super) fn purge_from(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        wanted: Wanted,
        input: &mut dyn Read,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let paths = targets::read_paths(input)?;
        if wanted.reason.trim().is_empty() && !wanted.dry_run {
            return Err(Failure::usage("a purge needs a reason: --reason TEXT"));
        }
        let _alone = self.retaining.lock();
        dataset.seal()?;
        let underway = self.repo.store().begin_collection(true)?;
        let datasets = self.every_dataset()?;
        let targets = targets::find(dataset, &paths)?;
        let purging = dataset.plan_purge(&targets, &datasets, wanted.everywhere)?;
        let unfinished = UnfinishedPurge {
            dataset: dataset.id(),
            paths: targets.iter().map(|target| target.path.clone()).collect(),
            everywhere: wanted.everywhere,
            reason: wanted.reason,
        };
        if wanted.dry_run {
            let outcome = Outcome { removed: fresh(&purging), aside: &[], dry_run: true };
            return told::tell(dataset, &targets, &purging, outcome, sink);
        }
        let planned = Planned { underway, targets, purging };
        self.carry_purge_out(by, dataset, unfinished, planned, sink)
    }

    /// Finishes the purges that were begun and not finished: of some the process died, and some found no room.
    pub fn finish_purges(&self) {
        let store = self.repo.store();
        if store.is_read_only() || self.host.as_ref().is_some_and(|host| host.is_read_only()) {
            return;
        }
        let unfinished = store.unfinished_purges().unwrap_or_else(|error| {
            log::error!("purges that are not finished: {}", chain(&error));
            Vec::new()
        });
        for purge in unfinished {
            let shown = purge.shown();
            match self.finish_purge(purge) {
                Ok(true) => log::info!("finished the purge of {shown}"),
                Ok(false) => {
                    log::warn!("the purge of {shown} was cut off before it began: nothing was removed");
                }
                Err(failure) => log::error!("the purge of {shown}: {}", failure.message),
            }
        }
    }

    /// Finishes one; gives whether it had begun.
    fn finish_purge(&self, purge: UnfinishedPurge) -> Result<bool, Failure> {
        let store = self.repo.store();
        let _alone = self.retaining.lock();
        let datasets = self.every_dataset()?;
        let Some(dataset) = datasets.iter().find(|dataset| dataset.id() == purge.dataset) else {
            store.end_purge(&purge)?;
            return Ok(false);
        };
        let underway = store.begin_collection(true)?;
        // What is in use again has to be purged anew by whoever wants it to go; the rest goes.
        let (targets, live) = dataset.but_live(targets::find(dataset, &purge.paths)?)?;
        match live {
            Some(error) if targets.is_empty() => {
                store.end_purge(&purge)?;
                return Err(error.into());
            }
            Some(error) => log::error!("of the purge of {}: {}", purge.shown(), chain(&error)),
            None => {}
        }
        let mut purging = dataset.plan_purge(&targets, &datasets, purge.everywhere)?;
        if !purging.objects.keys().any(|hash| store.was_purged(hash)) {
            // Nobody was told of it.
            store.end_purge(&purge)?;
            return Ok(false);
        }
        purging.fresh.retain(|hash| !store.was_purged(hash));
        let planned = Planned { underway, targets, purging };
        self.carry_purge_out(Caller::default(), dataset, purge, planned, &mut Nowhere)?;
        Ok(true)
    }

    fn carry_purge_out(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        unfinished: UnfinishedPurge,
        planned: Planned<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let Planned { mut underway, targets, purging } = planned;
        let (store, reason) = (self.repo.store(), &unfinished.reason);
        let objects: HashSet<[u8; 32]> = purging.objects.keys().copied().collect();
        let mut collection = Collection::default();
        if !objects.is_empty() {
            store.begin_purge(&unfinished)?;
        }
        // What has a tombstone needs no second one, but may be there still: one that failed half-way left it.
        if !purging.fresh.is_empty() {
            // First the tombstones: what is missing from here on is no damage.
            let own: Vec<Vec<u8>> = targets.iter().map(|target| path_bytes(&target.path)).collect();
            for Losing { dataset: other, paths, objects: lost } in &purging.others {
                let paths: Vec<Vec<u8>> = paths.iter().map(|path| path_bytes(path)).collect();
                let paths = if paths.is_empty() { &own } else { &paths };
                other.note_purge(by, purged_text(paths), reason.clone(), lost)?;
            }
            dataset.note_purge(by, purged_text(&own), reason.clone(), &purging.fresh)?;
        }
        let shown = show_paths(targets.iter().map(|target| target.path.as_slice()));
        if !objects.is_empty() {
            let removed = store.remove_objects(&mut underway, &objects, &mut collection);
            removed.map_err(|error| told::not_finished(&shown, &error))?;
        }
        drop(underway);
        let removed = match purging.fresh.is_empty() {
            true => (collection.objects, collection.dead),
            false => fresh(&purging),
        };
        if purging.is_garbage {
            let rest = self.collect(How { all: true, dry_run: false }, &mut |_| ControlFlow::Continue(()))?;
            collection.damaged += rest.damaged;
        }
        let aside = store.purge_aside(&objects)?;
        if collection.damaged == 0 {
            store.end_purge(&unfinished)?;
        }
        if let Some(host) = &self.host {
            purging.recorded.iter().for_each(|(id, recorded)| host.forget_contents(*id, recorded));
        }
        told::check_removed(dataset, &shown, &collection)?;
        told::tell(
            dataset,
            &targets,
            &purging,
            Outcome { removed, aside: &aside.removed, dry_run: false },
            sink,
        )?;
        told::check_aside(&shown, &aside)?;
        told::check_nothing_stays(&targets, &purging.stays, removed.0 > 0)
    }
}

/// How many objects no purge removed before, and the bytes of the chunks among them.
fn fresh(purging: &Purging) -> (u64, u64) {
    let lens = purging.fresh.iter().filter_map(|hash| purging.objects.get(hash));
    (purging.fresh.len() as u64, lens.map(|len| u64::from(*len)).sum())
}
