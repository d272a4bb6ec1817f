//! The part of the index that sled does not have yet, in memory.
//!
//! Changes go into the active generation. A full one is frozen; the committer applies frozen ones,
//! oldest first, and drops each once sled has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::change::Change;
use super::keys::{self, Key, PendingKey};
use crate::store::pack::LogPos;

/// A value, or `None` where the key was deleted.
pub type Value = Option<Box<[u8]>>;

/// A generation of as many changes is frozen. The more are applied in order at once, the fewer pages of sled are
/// written for each: of versions made one by one, the index is a sixth smaller with this than with a third of it.
/// It is small enough that who waits for one to be applied does not wait long.
const FREEZE_AT: usize = 100_000;

/// What an entry costs beside its key and value, in bytes.
const ENTRY_COST: usize = 96;

/// One generation of changes.
pub type Generation = BTreeMap<Box<[u8]>, Value>;

/// Changes that are to be applied to sled.
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
    /// Newest first.
    frozen: VecDeque<Frozen>,
    /// Keys of all live pending records, in memory and in sled: needed without I/O.
    pending: BTreeSet<PendingKey>,
    end: LogPos,
    /// Places in the log from which records are still to be published, by who held there.
    held: Vec<LogPos>,
}

impl Memtable {
    /// A memtable for an index that holds the log up to `end`, with these pending records.
    pub fn new(end: LogPos, pending: BTreeSet<PendingKey>) -> Memtable {
        Memtable { pending, end, ..Memtable::default() }
    }

    /// Takes up the changes of records that end at `end`. All changes of a record are in one generation,
    /// which stays until sled has it whole: a sled that is replaced is given the log again up to whole records.
    pub fn publish(&mut self, changes: impl IntoIterator<Item = Change>, end: LogPos) {
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    self.pending.extend(keys::as_pending(&key));
                    self.set(key, Some(value.into()));
                }
                Change::ClearPending(ds, below) => {
                    let taken = |key: &PendingKey| keys::tail8(key).is_none_or(|sequence| sequence < below);
                    for key in self.pending(&keys::pendings(ds)).into_iter().filter(taken) {
                        self.pending.remove(&key);
                        self.set(key.into(), None);
                    }
                }
            }
        }
        self.end = self.end.max(end);
        if self.active.len() >= FREEZE_AT {
            self.freeze();
        }
    }

    fn set(&mut self, key: Key, value: Value) {
        self.active_bytes += key.len() + value.as_ref().map_or(0, |v| v.len()) + ENTRY_COST;
        self.active.insert(key.into(), value);
    }

    /// Memory used, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        self.active_bytes + self.frozen.iter().map(|f| f.bytes).sum::<usize>()
    }

    /// Whether a full generation waits to be applied.
    pub fn has_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.frozen.iter().map(|f| &*f.changes))
    }

    /// Keys of the live pending records that start with `prefix`.
    pub fn pending(&self, prefix: &[u8]) -> Vec<PendingKey> {
        let end = keys::after_prefix(prefix);
        let range = (Bound::Included(prefix), Bound::Excluded(&end[..]));
        self.pending.range::<[u8], _>(range).copied().collect()
    }

    /// What is known here of `key`: its value, its absence, or nothing.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.generations().find_map(|g| g.get(key)).cloned()
    }

    /// Up to `limit` changes of each generation from `start` up to `end`, newest generation first.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> Vec<Vec<(Box<[u8]>, Value)>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let take = |generation: &Generation| {
            let entries = generation.range::<[u8], _>(range).take(limit);
            entries.map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        self.generations().map(take).collect()
    }

    /// The last key from `start` up to `end` that has a value here (for keys that are never deleted).
    pub fn last(&self, start: &[u8], end: &[u8]) -> Option<Box<[u8]>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let last =
            |generation: &Generation| generation.range::<[u8], _>(range).next_back().map(|(k, _)| k.clone());
        self.generations().filter_map(last).max()
    }

    /// Notes that the record that now ends the log is published later than those after it: the index does not
    /// hold everything beyond the place this gives until [`release`](Memtable::release).
    pub fn hold(&mut self) -> LogPos {
        self.held.push(self.end);
        self.end
    }

    /// What was held at this place is published next.
    pub fn release(&mut self, held: LogPos) {
        if let Some(at) = self.held.iter().position(|place| *place == held) {
            self.held.swap_remove(at);
        }
    }

    /// Freezes what is active.
    pub fn freeze(&mut self) {
        if !self.active.is_empty() {
            self.frozen.push_front(Frozen {
                changes: Arc::new(std::mem::take(&mut self.active)),
                end: self.held.iter().copied().min().unwrap_or(self.end),
                bytes: std::mem::take(&mut self.active_bytes),
            });
        }
    }

    /// All frozen generations, newest first.
    pub fn into_frozen(self) -> VecDeque<Frozen> {
        self.frozen
    }

    /// Takes up generations, newest first, that are older than all there are.
    pub fn add_older(&mut self, older: VecDeque<Frozen>) {
        self.frozen.extend(older);
    }

    /// The frozen generation to apply next.
    pub fn oldest(&self) -> Option<Frozen> {
        self.frozen.back().cloned()
    }

    /// Gives up the oldest frozen generation: sled has it. (It is for the caller to drop, without a
    /// lock.)
    pub fn drop_oldest(&mut self) -> Option<Frozen> {
        self.frozen.pop_back()
    }
}
