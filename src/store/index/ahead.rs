//! Publishing a version of very many changes. A million files are 700 MB of changes in memory; they go to sled
//! in slices instead, and last what makes the version one.
//!
//! Until then nobody sees them: a look-up is of a version, and sees nothing of those after it. Should the
//! process die in between, the log is replayed from before the record on, and brings the same.

use parking_lot::MutexGuard;

use super::change::Change;
use super::memtable::Generation;
use super::{Applied, Index};
use crate::store::error::{Error, Result};
use crate::store::pack::LogPos;

/// Versions of as many changes go to sled ahead.
pub const AHEAD_FROM: u64 = if cfg!(test) { 6 } else { 200_000 };
/// As many changes at a time.
const SLICE: usize = if cfg!(test) { 4 } else { 30_000 };
/// How often it is begun again where sled is replaced under it.
const TRIES: u32 = 3;

impl Index {
    /// Notes that the record that was appended last is published later, by
    /// [`publish_ahead`](Index::publish_ahead). To be called before any after it is published.
    pub fn hold(&self) -> LogPos {
        self.mem.write().hold()
    }

    /// Publishes a record that ends at `end` and was held at `held`: first its changes to the `tree`, which
    /// nobody sees yet, then the `rest`.
    pub fn publish_ahead<T: Iterator<Item = Change>>(
        &self,
        tree: impl Fn() -> T,
        rest: impl Iterator<Item = Change>,
        (held, end): (LogPos, LogPos),
        sync: impl Fn() -> Result<LogPos>,
    ) {
        // Held until all is published: a sled that replaces this one is given the record again.
        let ahead = self.apply_ahead(&tree, end, sync);
        let (_applied, in_memory) = match ahead {
            Ok(applied) => (Some(applied), None),
            Err(error) => {
                log::debug!("{error}; a large version is indexed as others are");
                (None, Some(tree()))
            }
        };
        let mut mem = self.mem.write();
        mem.release(held);
        mem.publish(in_memory.into_iter().flatten().chain(rest), end);
    }

    fn apply_ahead<T: Iterator<Item = Change>>(
        &self,
        tree: &impl Fn() -> T,
        end: LogPos,
        sync: impl Fn() -> Result<LogPos>,
    ) -> Result<MutexGuard<'_, Applied>> {
        sync()?;
        for _ in 0..TRIES {
            let generation = self.slot.read().generation;
            self.apply_slices(tree())?;
            let mut applied = self.applied.lock();
            if self.slot.read().generation == generation {
                applied.known = applied.known.max(end);
                return Ok(applied);
            }
        }
        Err(Error::Index("it was replaced again and again".into()))
    }

    fn apply_slices(&self, mut changes: impl Iterator<Item = Change>) -> Result<()> {
        loop {
            let puts = changes.by_ref().filter_map(|change| match change {
                Change::Put(key, value) => Some((key.into(), Some(value.into()))),
                Change::ClearPending(..) => None,
            });
            let slice: Generation = puts.take(SLICE).collect();
            if slice.is_empty() {
                return Ok(());
            }
            let _applied = self.applied.lock();
            self.room_for(usize::MAX)?;
            self.with_backing(|backing| backing.apply(&slice).and_then(|()| backing.flush()))?;
        }
    }
}
