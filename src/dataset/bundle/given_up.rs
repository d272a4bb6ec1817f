//! What was given up of a history, in a bundle and where it goes: which versions were pruned, and what was
//! purged.

use std::collections::HashSet;

use super::frame;
use super::read::Bundle;
use crate::dataset::error::Result;
use crate::dataset::retention::Retention;
use crate::model::{DatasetId, Ino, RetentionAction, RetentionRecord, Span, VersionSet, codec};
use crate::store::Store;

/// The prunes and purges of a dataset, as far as they concern these versions.
pub fn given_up(store: &Store, dataset: DatasetId, versions: Span) -> Result<Vec<RetentionRecord>> {
    let mut found = Vec::new();
    for record in store.retentions(dataset)? {
        found.extend(within(record?, versions));
    }
    Ok(found)
}

/// What of a record concerns these versions: of a prune, which of them it dropped; of a purge, all of it.
fn within(record: RetentionRecord, versions: Span) -> Option<RetentionRecord> {
    let action = match record.action {
        RetentionAction::Prune { versions: dropped, rules } => {
            let dropped = dropped.into_iter();
            let dropped = dropped.map(|(first, last)| (first.max(versions.first), last.min(versions.last)));
            let versions: Vec<_> = dropped.filter(|(first, last)| first <= last).collect();
            (!versions.is_empty()).then_some(RetentionAction::Prune { versions, rules })?
        }
        purge @ RetentionAction::Purge { .. } => purge,
        _ => return None,
    };
    Some(RetentionRecord { action, ..record })
}

/// What a bundle says was given up.
#[derive(Debug, Default)]
pub struct GivenUp {
    records: Vec<RetentionRecord>,
    /// The versions of which only the record is there.
    pub pruned: VersionSet,
    /// The chunks and nodes that were purged.
    pub purged: HashSet<[u8; 32]>,
}

impl GivenUp {
    /// What these records come to.
    pub fn of(records: Vec<RetentionRecord>) -> GivenUp {
        let mut given_up = GivenUp::default();
        records.into_iter().for_each(|record| given_up.take(record));
        given_up
    }

    fn take(&mut self, record: RetentionRecord) {
        match &record.action {
            RetentionAction::Prune { versions, .. } => {
                let dropped = versions.iter().map(|&(first, last)| Span { first, last });
                self.pruned = self.pruned.with(dropped);
            }
            RetentionAction::Purge { objects, .. } => self.purged.extend(objects),
            _ => {}
        }
        self.records.push(record);
    }

    /// The records.
    pub fn records(&self) -> &[RetentionRecord] {
        &self.records
    }

    /// Takes what a frame says, of a bundle of versions after `since`; or tells what is wrong with it.
    pub fn take_frame(&mut self, payload: &[u8]) -> std::result::Result<(), String> {
        let record = codec::decode_checked::<RetentionRecord>("record of what is kept", payload);
        let record = record.map_err(|e| e.to_string())?;
        match record.action {
            RetentionAction::Prune { .. } | RetentionAction::Purge { .. } => self.take(record),
            _ => return Err("what a store decided to keep is no part of a bundle".into()),
        }
        Ok(())
    }

    /// Number of versions pruned, and of purges.
    pub fn counts(&self) -> (u64, u64) {
        let pruned = self.pruned.spans().iter().map(|span| span.last.0 - span.first.0 + 1).sum();
        let is_purge = |record: &&RetentionRecord| matches!(record.action, RetentionAction::Purge { .. });
        (pruned, self.records.iter().filter(is_purge).count() as u64)
    }
}

/// As a frame has them: inodes of which what they hold is left out.
pub fn encode_left_out(inodes: &[Ino]) -> Vec<u8> {
    inodes.iter().flat_map(|ino| ino.0.to_be_bytes()).collect()
}

/// What [`encode_left_out`] wrote.
pub fn left_out(payload: &[u8]) -> HashSet<Ino> {
    let (numbers, _) = payload.as_chunks::<8>();
    numbers.iter().map(|number| Ino(u64::from_be_bytes(*number))).collect()
}

impl Bundle {
    /// Its records as far as they concern these versions, in frames.
    pub(super) fn given_up_frames(&self, versions: Span) -> impl Iterator<Item = (u8, Vec<u8>)> {
        let records =
            self.given_up.records().iter().filter_map(move |record| within(record.clone(), versions));
        records.map(|record| (frame::GIVEN_UP, codec::encode(&record)))
    }

    /// Appends to the log, for dataset `id`, what was given up of these versions, but for what is there already.
    /// What was purged elsewhere and is all in this store is not said to be purged.
    pub(super) fn append_given_up(&self, store: &Store, id: DatasetId, versions: Span) -> Result<()> {
        let here = |record: &RetentionRecord| RetentionRecord { dataset: id, ..record.clone() };
        let key =
            |record: &RetentionRecord| codec::encode(&RetentionRecord { sequence: 0, ..record.clone() });
        let there: HashSet<_> = store.retentions(id)?.iter().flatten().map(key).collect();
        let mut sequence = Retention::load(store, id)?.last();
        for record in self.given_up.records().iter().map(here) {
            let Some(record) = within(record, versions).filter(|record| !there.contains(&key(record))) else {
                continue;
            };
            if let RetentionAction::Purge { objects, .. } = &record.action {
                let mut is_there = objects.iter().map(|hash| store.has_object(hash));
                if is_there.try_fold(true, |all, one| one.map(|one| all && one))? {
                    continue;
                }
            }
            sequence += 1;
            store.append_retention(&RetentionRecord { sequence, ..record })?;
        }
        Ok(())
    }
}
