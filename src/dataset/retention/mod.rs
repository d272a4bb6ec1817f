//! What is kept of a dataset's history: pins, prunes, and the rules that the daemon applies.
//!
//! A pruned version keeps its record: its number, ids and changes stay part of the log, so that the hash chain
//! can be checked and the trees of later versions, which are sums of changes, stay what they are. What is given
//! up is that it can be looked at, and with that the content that no version that is kept, no pending change
//! and no open file needs ([`live`]); `strata gc` gives its space back.

pub mod collect;
pub mod dropped;
mod elsewhere;
mod ever;
pub mod freed;
pub mod gone;
#[cfg(test)]
mod histories;
mod holders;
pub mod live;
mod owners;
mod plan;
mod purge;
#[cfg(test)]
mod tests;
pub mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use parking_lot::RwLockReadGuard;
use serde::{Deserialize, Serialize};

use crate::model::{
    Author, DatasetId, DatasetName, JsonName, RetentionAction, RetentionRecord, Rules, Span, Timestamp,
    VersionNo, VersionSet, purged_paths,
};
use crate::store::Store;
use crate::store::error::chain;

use super::author::Caller;
use super::dataset::Dataset;
use super::error::{Error, Result};

pub use ever::{Ever, Found};
pub use holders::Place;
pub use plan::{Plan, Planned};
pub use purge::{Losing, PurgedFile, Purging, Staying, Target};

/// When a version was pruned, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// User id of who did it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// What was to be kept.
    pub rules: String,
    /// What they said of it.
    #[serde(default)]
    pub message: Option<String>,
}

/// When a version was pinned, by whom, and what they said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// User id of who did it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// What they said of it.
    pub message: Option<String>,
}

/// What was removed for good, when, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// User id of who did it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// The path whose content it was; not UTF-8, with replacements.
    pub path: String,
    /// The path in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// Why.
    pub reason: String,
    /// Number of chunks and manifest nodes of all that was purged with it.
    pub objects: u64,
}

/// Most lost records in a row that are told apart.
const LOST_MAX: usize = 1 << 16;
/// What the message of rules begins with that were set while records were lost; their sequences follow.
const MADE_UP_FOR: &str = "made up for lost records ";

/// The lost records that a message says are made up for.
fn made_up_for(message: &str) -> impl Iterator<Item = u64> {
    let list = message.strip_prefix(MADE_UP_FOR).unwrap_or_default();
    list.split(' ').filter_map(|sequence| sequence.parse().ok())
}

/// What the retention records of a dataset come to.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Sequence of the last record.
    last: u64,
    pins: BTreeMap<VersionNo, Pin>,
    pruned: VersionSet,
    /// The prunes, oldest first: what each dropped, and what is told of it.
    prunes: Vec<(VersionSet, Pruned)>,
    /// The purges, oldest first: the paths of each, and what is told of it, without one.
    purges: Vec<(Vec<Vec<u8>>, Tombstone)>,
    rules: Option<Rules>,
    quota: Option<u64>,
    /// Sequences of the records that are lost: versions that they pruned are taken for kept, and pins are not known.
    lost: BTreeSet<u64>,
    /// Those of which somebody said that what they pinned is pinned again.
    made_up_for: BTreeSet<u64>,
    /// When a prune, or the setting of rules, was last recorded.
    acted: Option<Timestamp>,
}

impl Retention {
    /// What the records of a dataset come to; what was purged is made known to the store.
    pub fn load(store: &Store, dataset: DatasetId) -> Result<Retention> {
        let mut retention = Retention::default();
        for record in store.retentions(dataset)? {
            match record {
                Ok(record) => {
                    retention.lost.extend((retention.last + 1..record.sequence).take(LOST_MAX));
                    retention.take(store, record);
                }
                Err(error) if error.is_shortage() => return Err(error.into()),
                // What it pruned shows again, as damaged: that is told of, nothing is made up.
                Err(error) => {
                    log::error!("a record of what is kept cannot be read: {}", chain(&error));
                    // The next one does not take its number: that it is missing stays to be seen.
                    retention.last += 1;
                    retention.lost.insert(retention.last);
                }
            }
        }
        Ok(retention)
    }

    /// Sequence of the last record.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The quota, if there is one.
    pub fn quota(&self) -> Option<u64> {
        self.quota
    }

    /// Whether a version is kept, and not pinned.
    pub fn takes_pin(&self, version: VersionNo) -> bool {
        !self.pruned.contains(version) && !self.pins.contains_key(&version)
    }

    fn take(&mut self, store: &Store, record: RetentionRecord) {
        self.last = record.sequence;
        let RetentionRecord { time, author, action, message, .. } = record;
        match action {
            RetentionAction::Pin(version) => {
                let Author { uid, command, .. } = author;
                self.pins.insert(version, Pin { time: time.to_string(), uid, command, message });
            }
            RetentionAction::Unpin(version) => drop(self.pins.remove(&version)),
            RetentionAction::Prune { versions, rules } => {
                let spans = versions.into_iter().map(|(first, last)| Span { first, last });
                let dropped = VersionSet::of(spans);
                self.pruned = self.pruned.with(dropped.spans().iter().copied());
                let Author { uid, command, .. } = author;
                let (at, rules) = (time.to_string(), rules.to_string());
                let told = Pruned { time: at, uid, command, rules, message };
                self.prunes.push((dropped, told));
                self.acted = Some(time);
            }
            RetentionAction::Rules(rules) => {
                self.rules = rules;
                self.acted = None;
                self.made_up_for.extend(message.as_deref().into_iter().flat_map(made_up_for));
            }
            RetentionAction::Quota(quota) => self.quota = quota,
            RetentionAction::Purge { what, objects } => {
                store.note_purged(&objects);
                let Author { uid, command, .. } = author;
                let told = Tombstone {
                    time: time.to_string(),
                    uid,
                    command,
                    path: String::new(),
                    path_bytes: None,
                    reason: message.unwrap_or_default(),
                    objects: objects.len() as u64,
                };
                self.purges.push((purged_paths(&what), told));
            }
        }
    }

    fn pruned_by(&self, version: VersionNo) -> Option<&Pruned> {
        self.prunes.iter().find(|(set, _)| set.contains(version)).map(|(_, told)| told)
    }

    fn check_kept(&self, dataset: &DatasetName, version: VersionNo) -> Result<()> {
        match self.pruned_by(version) {
            Some(Pruned { time, message, .. }) => Err(Error::Pruned {
                dataset: dataset.to_string(),
                version,
                time: time.clone(),
                message: message.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Dataset {
    /// Whether a version was pruned: it is there no more, though its record is.
    pub fn is_pruned(&self, version: VersionNo) -> bool {
        self.retention.read().pruned.contains(version)
    }

    /// The versions that were pruned.
    pub fn pruned(&self) -> VersionSet {
        self.retention.read().pruned.clone()
    }

    /// Who pruned a version, if it was.
    pub fn pruned_by(&self, version: VersionNo) -> Option<Pruned> {
        self.retention.read().pruned_by(version).cloned()
    }

    /// What was purged, oldest first: a tombstone for each path.
    pub fn tombstones(&self) -> Vec<Tombstone> {
        let retention = self.retention.read();
        let of_path = |path: &Vec<u8>, told: &Tombstone| {
            let name = JsonName::of(path);
            Tombstone { path: name.text.into_owned(), path_bytes: name.bytes, ..told.clone() }
        };
        let purges = retention.purges.iter();
        purges.flat_map(|(paths, told)| paths.iter().map(|path| of_path(path, told))).collect()
    }

    /// How many purges there were.
    pub fn purge_count(&self) -> usize {
        self.retention.read().purges.len()
    }

    /// Whether a record of what is kept is lost, so that what it pruned shows again, and pins, purges and
    /// settings of it are not known.
    pub fn has_lost_retention(&self) -> bool {
        !self.retention.read().lost.is_empty()
    }

    /// Whether it is not known what is pinned: a record is lost, and the rules were not set since that is known.
    pub fn is_unsure_of_pins(&self) -> bool {
        let retention = self.retention.read();
        !retention.lost.is_subset(&retention.made_up_for)
    }

    /// Whether a version is pinned.
    pub fn is_pinned(&self, version: VersionNo) -> bool {
        self.retention.read().pins.contains_key(&version)
    }

    /// Who pinned a version, if it is.
    pub fn pinned_by(&self, version: VersionNo) -> Option<Pin> {
        self.retention.read().pins.get(&version).cloned()
    }

    /// The rules that the daemon applies, if any.
    pub fn retention_rules(&self) -> Option<Rules> {
        self.retention.read().rules.clone()
    }

    /// Whether the rules are due to be applied.
    pub fn is_retention_due(&self, now: Timestamp) -> bool {
        /// How often, where the rules do not say.
        const EVERY: u64 = 3600;
        let retention = self.retention.read();
        let Some(rules) = &retention.rules else { return false };
        let every =
            i64::try_from(rules.every.unwrap_or(EVERY)).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        // What was done by a clock that is ahead, here or where a bundle is from, puts off nothing.
        retention.acted.is_none_or(|last| last > now || now.0.saturating_sub(last.0) >= every)
    }

    /// Notes that the rules were applied, and dropped nothing.
    pub fn note_retention_applied(&self, now: Timestamp) {
        self.retention.write().acted = Some(now);
    }

    /// Keeps a version whatever rules say, or no longer; durably. Gives whether that is new.
    ///
    /// # Errors
    /// [`Error::Pruned`] where it is there no more.
    pub fn pin(&self, by: Caller, version: VersionNo, pin: bool, message: Option<String>) -> Result<bool> {
        self.check_kept(version)?;
        if self.is_pinned(version) == pin {
            return Ok(false);
        }
        let action = if pin { RetentionAction::Pin(version) } else { RetentionAction::Unpin(version) };
        self.note_retention(by, message, action).map(|()| true)
    }

    /// Gives up the versions that a plan drops, durably.
    ///
    /// # Errors
    /// [`Error::Named`] where one of them got a tag or a pin since: nothing is done then.
    pub fn prune(&self, by: Caller, plan: &Plan, message: Option<String>) -> Result<()> {
        let versions = plan.dropped().spans().iter().map(|span| (span.first, span.last)).collect();
        self.note_retention(by, message, RetentionAction::Prune { versions, rules: plan.rules.clone() })
    }

    /// Sets the rules that the daemon applies, durably. Records that are lost are taken for made up for from then on:
    /// which, the record says, since one that is lost later may be of before.
    pub fn set_retention_rules(&self, by: Caller, rules: Option<Rules>) -> Result<()> {
        let lost: Vec<String> = self.retention.read().lost.iter().map(u64::to_string).collect();
        let message = (!lost.is_empty()).then(|| format!("{MADE_UP_FOR}{}", lost.join(" ")));
        self.note_retention(by, message, RetentionAction::Rules(rules))
    }

    /// Refuses where a version was pruned.
    ///
    /// # Errors
    /// [`Error::Pruned`].
    pub fn check_kept(&self, version: VersionNo) -> Result<()> {
        self.keeping(version).map(drop)
    }

    /// The same, and lets no version be pruned before what it gives is dropped. The dataset's lock must not be
    /// asked for meanwhile.
    pub(super) fn keeping(&self, version: VersionNo) -> Result<RwLockReadGuard<'_, Retention>> {
        let retention = self.retention.read();
        retention.check_kept(&self.name(), version)?;
        Ok(retention)
    }

    pub(super) fn note_retention(
        &self,
        by: Caller,
        message: Option<String>,
        action: RetentionAction,
    ) -> Result<()> {
        // A prune is how a full disk gets room again: it makes do with what is kept from all else.
        if !matches!(action, RetentionAction::Prune { .. }) {
            self.store.check_writable()?;
        }
        let author = self.lock().authors.author(by);
        // No version may get a tag or a pin while it is decided that nothing names it, or lose its content while
        // it is given one: see `keeping`.
        let mut retention = self.retention.write();
        if let RetentionAction::Pin(version) = action {
            retention.check_kept(&self.name(), version)?;
        }
        let (dataset, sequence) = (self.id(), retention.last + 1);
        let record = RetentionRecord { dataset, sequence, time: Timestamp::now(), author, message, action };
        if let RetentionAction::Prune { versions, .. } = &record.action {
            let dropped = VersionSet::of(versions.iter().map(|&(first, last)| Span { first, last }));
            let tagged: HashSet<VersionNo> = self.tags().into_values().map(|tag| tag.version).collect();
            let mut named = tagged.iter().chain(retention.pins.keys());
            if let Some(version) = named.find(|version| dropped.contains(**version)) {
                return Err(Error::Named { dataset: self.name().to_string(), version: *version });
            }
        }
        self.store.append_retention(&record)?;
        retention.take(&self.store, record);
        drop(retention);
        Ok(self.store.sync()?)
    }
}
