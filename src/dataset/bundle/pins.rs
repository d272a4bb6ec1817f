//! Pins, in a bundle and where it goes.
//!
//! A pin says of a version that something names it, a run or a pointer, and that holds wherever the version is.
//! So it goes with it, by whom and when it was set and with what was said of it. That a version is pinned no
//! longer is for the store to decide that has it: no bundle says it, and a pin that was taken away there does
//! not come back.

use std::collections::{BTreeMap, HashSet};

use super::read::Bundle;
use crate::dataset::error::Result;
use crate::dataset::retention::Retention;
use crate::model::{DatasetId, RetentionAction, RetentionRecord, VersionNo, codec};
use crate::store::Store;

/// The pins of versions of a dataset up to `last`, by version.
pub fn pins(store: &Store, dataset: DatasetId, last: VersionNo) -> Result<Vec<RetentionRecord>> {
    let mut pins = BTreeMap::new();
    for record in store.retentions(dataset)? {
        let record = record?;
        match record.action {
            RetentionAction::Pin(version) if version <= last => drop(pins.insert(version, record)),
            RetentionAction::Unpin(version) => drop(pins.remove(&version)),
            _ => {}
        }
    }
    Ok(pins.into_values().collect())
}

/// Reads what a frame says, or tells what is wrong with it.
pub fn decode(payload: &[u8]) -> std::result::Result<(VersionNo, RetentionRecord), String> {
    let record = codec::decode_checked::<RetentionRecord>("pin", payload).map_err(|e| e.to_string())?;
    match record.action {
        RetentionAction::Pin(version) => Ok((version, record)),
        _ => Err("what is said to be a pin is none".into()),
    }
}

impl Bundle {
    /// Checks that the pins are of versions that are in it, or before it, and are kept.
    pub(super) fn check_pins(&self) -> Result<()> {
        let is_there = |version: VersionNo| {
            version > VersionNo::EMPTY && version <= self.last() && !self.given_up.pruned.contains(version)
        };
        match self.pins.iter().find(|(version, _)| !is_there(*version)) {
            Some((version, _)) => Err(self.bad(&format!("a pin is one of {version}, which is not in it"))),
            None => Ok(()),
        }
    }

    /// Appends the pins to the log, for dataset `id`, but for those that are there or ever were, and those of
    /// versions that are pinned already or were pruned.
    pub(super) fn append_pins(&self, store: &Store, id: DatasetId) -> Result<()> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let key =
            |record: &RetentionRecord| codec::encode(&RetentionRecord { sequence: 0, ..record.clone() });
        let there: HashSet<_> = store.retentions(id)?.iter().flatten().map(key).collect();
        let retention = Retention::load(store, id)?;
        let mut sequence = retention.last();
        for (version, record) in &self.pins {
            let record = RetentionRecord { dataset: id, ..record.clone() };
            if retention.takes_pin(*version) && !there.contains(&key(&record)) {
                sequence += 1;
                store.append_retention(&RetentionRecord { sequence, ..record })?;
            }
        }
        Ok(())
    }
}
