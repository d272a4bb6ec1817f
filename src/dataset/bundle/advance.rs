//! Bringing a dataset that is there up to date with a bundle.

use super::read::Bundle;
use crate::dataset::annotations::Annotations;
use crate::dataset::dataset::{Dataset, State};
use crate::dataset::error::{Error, Result};
use crate::dataset::live::{Invalid, Reopened};
use crate::dataset::retention::Retention;
use crate::dataset::tags::Tags;
use crate::model::{DatasetId, Ops, Policy, VersionId, VersionNo};
use crate::store::error::chain;

impl Bundle {
    /// Whether it has versions that `dataset` lacks, and that follow those there are.
    ///
    /// # Errors
    /// Where the version that it begins after is not there, or the dataset went on in another way.
    pub fn is_ahead_of(&self, dataset: &Dataset) -> Result<bool> {
        let (name, newest, since, last) = (dataset.name(), dataset.newest(), self.since(), self.last());
        let lacks = || {
            let id = &self.since.1;
            self.bad(&format!(
                "it begins after {since} ({id}), which {name} does not have: import a bundle first that ends at \
                 that version or later"
            ))
        };
        if newest < since {
            return Err(lacks());
        }
        let common = newest.min(last);
        let here = dataset.id_as(self.record().id, common)?;
        let in_it = |number: VersionNo| match number.0 - since.0 {
            0 => self.since.1,
            n => self.ids[n as usize - 1],
        };
        if here != in_it(common) {
            if since > VersionNo::EMPTY && dataset.id_as(self.record().id, since)? != self.since.1 {
                return Err(lacks());
            }
            return Err(self.bad(&format!(
                "the history of {name} is another: its {common} is not the one in the bundle; import that under \
                 the name of a new dataset"
            )));
        }
        let mut new = self.rollbacks.iter().filter(|(version, _)| *version > newest);
        if let Some((version, restored)) = new.find(|(_, restored)| dataset.is_pruned(*restored)) {
            return Err(self.bad(&format!("{version} restores {restored}, which was pruned from {name}")));
        }
        Ok(last > newest)
    }
}

impl Dataset {
    /// The id that a version has in a store that knows the dataset by the number `id`.
    fn id_as(&self, id: DatasetId, number: VersionNo) -> Result<VersionId> {
        if id == self.id() {
            let found = self.store.version_id(id, number)?;
            return found.ok_or_else(|| Error::Lost(format!("the record of {number} of {}", self.name())));
        }
        let mut previous = VersionId::ROOT;
        for number in (1..=number.0).map(VersionNo) {
            let (_, mut reader) = self.version_reader(number)?;
            let mut head = reader.head().clone();
            (head.dataset, head.previous) = (id, previous);
            let mut ops = Ops::default();
            for op in &mut reader {
                ops.push(&op.map_err(|_| Error::Lost(format!("the record of {number} of {}", self.name())))?);
            }
            previous = VersionId::of(head.with(ops).payload());
        }
        Ok(previous)
    }

    /// Adds the versions of a bundle whose [objects](Bundle::put_objects) are in the store, and what was said
    /// of them, durably.
    /// What waited for a cut is cut first. Gives the newest version, or `None` where all of them are there.
    /// `forget` is told what the kernel must forget, as [`Dataset::rollback`] does.
    ///
    /// # Errors
    /// The dataset is as it was, see [`Bundle::is_ahead_of`]; also where it holds something that no version does.
    /// Where the store fails in the midst, the dataset takes no changes until the store is opened anew, which
    /// finishes what was begun.
    pub fn advance(&self, bundle: &Bundle, forget: impl FnOnce(&Invalid)) -> Result<Option<VersionNo>> {
        self.store.check_can_grow()?;
        let mut state = self.lock();
        if state.in_batch {
            return Err(Error::Invalid(format!("a batch on {} is under way", self.name())));
        }
        if !state.live.is_idle() && self.policy() == Policy::Manual {
            return Err(Error::Invalid(format!(
                "{} has changes that no version holds: `strata commit` makes one of them",
                self.name()
            )));
        }
        if !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        let newest = self.newest();
        if !bundle.is_ahead_of(self)? {
            self.append(bundle, newest)?;
            self.store.sync()?;
            return Ok(None);
        }
        if state.live.has_unrecorded_file()? {
            return Err(Error::Invalid(format!(
                "a file is open in {} that no version has: import again when it is closed",
                self.name()
            )));
        }
        self.store.sync()?;
        bundle.note(&self.store, self.id(), newest)?;
        self.append(bundle, newest)?;
        let (head, files, invalid) = self.take_up_stored(&mut state)?;
        drop(state);
        self.restore(files);
        forget(&invalid);
        self.store.sync()?;
        self.store.end_import(self.id())?;
        Ok(Some(head))
    }

    /// Appends what is new after `newest`, and knows the tags and annotations of it, and what was given up.
    fn append(&self, bundle: &Bundle, newest: VersionNo) -> Result<()> {
        let mut retention = self.retention.write();
        let (mut tags, mut annotations) = (self.tags.write(), self.annotations.write());
        bundle.append(&self.store, self.id(), newest)?;
        *retention = Retention::load(&self.store, self.id())?;
        *tags = Tags::load(&self.store, self.id())?;
        *annotations = Annotations::load(&self.store, self.id())?;
        Ok(())
    }

    /// Makes the newest version that the store has the live tree.
    fn take_up_stored(&self, state: &mut State) -> Result<(VersionNo, Vec<Reopened>, Invalid)> {
        let before = self.frozen(state.live.head.number);
        let head = Dataset::stored_head(&self.store, &self.record())?;
        let number = head.number;
        state.live.head = head.clone();
        self.publish_history(&state.live);
        let invalid = self.changed_between(state, [before, self.frozen(number)]).unwrap_or_else(|error| {
            log::warn!("what changed in {} is not known: {}", self.name(), chain(&error));
            state.live.everything()
        });
        let files = state.live.reset(head)?;
        Ok((number, files, invalid))
    }
}
