//! The part of the index that sled does not have yet, in memory.
//!
//! There are two generations: changes go into the active one; to apply them the committer freezes it
//! and drops it only once sled has made everything in it durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::change::Change;
use super::keys::{self, Key};
use crate::store::pack::LogPos;

/// A value, or `None` where the key was deleted.
pub type Value = Option<Box<[u8]>>;

/// What an entry costs beside its key and value, in bytes.
const ENTRY_COST: usize = 64;

/// One generation of changes.
pub type Generation = BTreeMap<Box<[u8]>, Value>;

/// Changes that are being applied to sled.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// The changes.
    pub changes: Arc<Generation>,
    /// The place in the log up to which the index holds everything once they are applied.
    pub end: LogPos,
    bytes: usize,
}

/// Changes not yet in sled, and which pending records there are.
#[derive(Debug, Default)]
pub struct Memtable {
    active: Generation,
    active_bytes: usize,
    frozen: Option<Frozen>,
    /// Keys of all live pending records, in memory and in sled: few, and needed without I/O.
    pending: BTreeSet<Key>,
    end: LogPos,
}

impl Memtable {
    /// A memtable for an index that holds the log up to `end`, with these pending records.
    pub fn new(end: LogPos, pending: BTreeSet<Key>) -> Memtable {
        Memtable { pending, end, ..Memtable::default() }
    }

    /// Takes up the changes of records that end at `end`.
    pub fn publish(&mut self, changes: impl IntoIterator<Item = Change>, end: LogPos) {
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    if key.first() == keys::all_pending().first() {
                        self.pending.insert(key.clone());
                    }
                    self.set(key, Some(value.into()));
                }
                Change::ClearPending(ds) => {
                    for key in self.pending(keys::pendings(ds)) {
                        self.pending.remove(&key);
                        self.set(key, None);
                    }
                }
            }
        }
        self.end = self.end.max(end);
    }

    fn set(&mut self, key: Key, value: Value) {
        self.active_bytes += key.len() + value.as_ref().map_or(0, |v| v.len()) + ENTRY_COST;
        self.active.insert(key.into(), value);
    }

    /// Number of changes not yet frozen.
    pub fn active_len(&self) -> usize {
        self.active.len()
    }

    /// Memory used, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        self.active_bytes + self.frozen.as_ref().map_or(0, |f| f.bytes)
    }

    /// Keys of the live pending records that start with `prefix`.
    pub fn pending(&self, prefix: Key) -> Vec<Key> {
        let end = keys::after_prefix(&prefix);
        self.pending.range(prefix..end).cloned().collect()
    }

    /// What is known here of `key`: its value, its absence, or nothing.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.changes.get(key)).cloned()
    }

    /// Up to `limit` changes of each generation from `start` up to `end`, newest generation first.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> [Vec<(Box<[u8]>, Value)>; 2] {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let take = |generation: &Generation| {
            let entries = generation.range::<[u8], _>(range).take(limit);
            entries.map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        [take(&self.active), self.frozen.as_ref().map(|f| take(&f.changes)).unwrap_or_default()]
    }

    /// The last key from `start` up to `end` that has a value here (for keys that are never deleted).
    pub fn last(&self, start: &[u8], end: &[u8]) -> Option<Box<[u8]>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let last = |generation: &Generation| {
            generation.range::<[u8], _>(range).rev().find(|(_, v)| v.is_some()).map(|(k, _)| k.clone())
        };
        last(&self.active).max(self.frozen.as_ref().and_then(|f| last(&f.changes)))
    }

    /// What is to be applied to sled: what was frozen before and not dropped since, else all that is
    /// active, which is frozen by this. `None` if there is nothing.
    pub fn freeze(&mut self) -> Option<Frozen> {
        if self.frozen.is_none() && !self.active.is_empty() {
            self.frozen = Some(Frozen {
                changes: Arc::new(std::mem::take(&mut self.active)),
                end: self.end,
                bytes: std::mem::take(&mut self.active_bytes),
            });
        }
        self.frozen.clone()
    }

    /// Gives up what is frozen: sled has it, durably. (It is for the caller to drop, without a lock.)
    pub fn drop_frozen(&mut self) -> Option<Frozen> {
        self.frozen.take()
    }
}
