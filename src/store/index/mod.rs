//! The index: finds things in the packs. It holds nothing that a replay of the packs does not bring
//! back.
//!
//! What is appended is published in memory first (the `memtable`) and applied to sled in the
//! background (the `committer`); look-ups see both as one.
//!
//! Invariants:
//! - sled never has more than the durable log: the log is synced before anything is applied.
//! - The watermark in sled says up to where in the log the index holds everything, and covers only
//!   what was durable in sled when it was written.
//! - The order of publication is the order of the log.

mod backing;
pub mod change;
mod committer;
pub mod keys;
mod memtable;
mod range;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use self::backing::Backing;
use self::change::Change;
use self::keys::Key;
use self::memtable::{Frozen, Memtable};
use crate::store::bell::Bell;
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::pack::LogPos;

pub use committer::Followers;
pub use range::{Entry, Range};

/// Format of the index; one of another format is rebuilt.
const FORMAT: u32 = 1;
/// How often what was applied is made durable.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// As many bytes of changes in memory make appends wait.
pub(super) const WAIT_AT: usize = 32 << 20;

/// Up to where in the log sled has everything.
#[derive(Debug)]
struct Applied {
    /// Flushed.
    flushed: LogPos,
    /// Durable: this may be the watermark.
    durable: LogPos,
    /// When it was last made durable.
    synced: Instant,
}

/// The index of a store.
#[derive(Debug)]
pub struct Index {
    mem: RwLock<Memtable>,
    backing: Backing,
    /// Held by who applies.
    applied: Mutex<Applied>,
    failing: AtomicBool,
    waiting: Mutex<()>,
    freed: Condvar,
    bell: Bell,
}

impl Index {
    /// Opens the index in `dir`, a new one if there is none, and gives the place in the log from which
    /// records have to be published again.
    ///
    /// # Errors
    /// [`Error::Index`] where it does not open or is of another store or format.
    pub fn open(dir: &Path, store: StoreId) -> Result<(Index, LogPos)> {
        let backing = Backing::open(dir)?;
        let mut meta = FORMAT.to_be_bytes().to_vec();
        meta.extend_from_slice(&store.0);
        match backing.get(keys::META)? {
            Some(found) if *found == *meta => {}
            None if backing.page(&[0], &[0xff], 1)?.is_empty() => backing.put(keys::META, &meta)?,
            _ => return Err(Error::Index("it is of another store or format".into())),
        }
        let watermark = match backing.get(keys::WATERMARK)? {
            Some(value) => {
                keys::tail8(&value).map(LogPos).ok_or_else(|| Error::Index("no watermark".into()))?
            }
            None => LogPos::default(),
        };
        let pending = Self::stored_pending(&backing)?;
        let index = Index {
            mem: RwLock::new(Memtable::new(watermark, pending)),
            backing,
            applied: Mutex::new(Applied { flushed: watermark, durable: watermark, synced: Instant::now() }),
            failing: AtomicBool::new(false),
            waiting: Mutex::new(()),
            freed: Condvar::new(),
            bell: Bell::default(),
        };
        Ok((index, watermark))
    }

    fn stored_pending(backing: &Backing) -> Result<BTreeSet<Key>> {
        let (mut start, end) = (keys::all_pending(), keys::after_prefix(&keys::all_pending()));
        let mut found = BTreeSet::new();
        loop {
            let page = backing.page(&start, &end, 1000)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            start = [last, &[0][..]].concat();
            found.extend(page.into_iter().map(|(key, _)| key.into_vec()));
        }
    }

    /// Takes up the changes of records that end at `end` in the log.
    pub fn publish(&self, changes: impl IntoIterator<Item = Change>, end: LogPos) {
        let mut mem = self.mem.write();
        mem.publish(changes, end);
        let full = mem.has_frozen();
        drop(mem);
        if full {
            self.bell.ring();
        }
    }

    /// Waits while too much is not applied yet.
    ///
    /// # Errors
    /// [`Error::Index`] where it cannot be applied at present.
    pub fn wait_for_room(&self) -> Result<()> {
        if self.mem.read().bytes() < WAIT_AT {
            return Ok(());
        }
        self.bell.ring();
        let mut waiting = self.waiting.lock();
        while self.mem.read().bytes() >= WAIT_AT {
            if self.failing.load(Ordering::Acquire) {
                return Err(Error::Index("it does not take up new records".into()));
            }
            self.freed.wait(&mut waiting);
        }
        Ok(())
    }

    /// Whether so much is in memory that a replay should apply it: much at a time, since what is sorted
    /// before is applied faster.
    pub fn is_full(&self) -> bool {
        self.mem.read().bytes() >= WAIT_AT / 2
    }

    /// Applies what is in memory to sled, durably, after `sync` has made the log durable.
    pub fn apply(&self, sync: impl Fn() -> Result<LogPos>) -> Result<()> {
        let mut applied = self.applied.lock();
        self.mem.write().freeze();
        let mut result = self.backing.reopen_if_failed();
        while result.is_ok()
            && let Some(frozen) = self.oldest()
        {
            result = self.apply_one(&frozen, &mut applied, &sync);
            self.failing.store(false, Ordering::Release);
            let done = if result.is_ok() { self.mem.write().drop_oldest() } else { None };
            drop(done);
            self.wake_waiting();
        }
        if result.is_err() {
            self.failing.store(true, Ordering::Release);
            self.wake_waiting();
        }
        result?;
        self.make_durable(&mut applied)
    }

    fn wake_waiting(&self) {
        let _waiting = self.waiting.lock();
        self.freed.notify_all();
    }

    fn oldest(&self) -> Option<Frozen> {
        self.mem.read().oldest()
    }

    fn apply_one(
        &self,
        frozen: &Frozen,
        applied: &mut Applied,
        sync: impl Fn() -> Result<LogPos>,
    ) -> Result<()> {
        sync()?;
        self.backing.put(keys::WATERMARK, &applied.durable.0.to_be_bytes())?;
        self.backing.apply(&frozen.changes)?;
        self.backing.flush()?;
        applied.flushed = frozen.end;
        if applied.synced.elapsed() >= SYNC_EVERY { self.make_durable(applied) } else { Ok(()) }
    }

    fn make_durable(&self, applied: &mut Applied) -> Result<()> {
        if applied.durable < applied.flushed {
            self.backing.sync()?;
            (applied.durable, applied.synced) = (applied.flushed, Instant::now());
        }
        Ok(())
    }

    /// Applies everything and writes the watermark that says so: opening needs no replay.
    pub fn finish(&self, sync: impl Fn() -> Result<LogPos>) -> Result<()> {
        self.apply(sync)?;
        let durable = self.applied.lock().durable;
        let written = self.backing.get(keys::WATERMARK)?.as_deref().and_then(keys::tail8);
        if written == Some(durable.0) {
            return Ok(());
        }
        self.backing.put(keys::WATERMARK, &durable.0.to_be_bytes())?;
        self.backing.flush()?;
        self.backing.sync()
    }

    /// Memory used by what is not applied yet, in bytes, roughly.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.mem.read().bytes()
    }

    /// What wakes the thread that applies.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        let found = self.mem.read().get(key);
        match found {
            Some(value) => Ok(value),
            None => self.backing.get(key),
        }
    }

    /// The first key that starts with `prefix` and is not before `start`, with its value.
    pub fn first(&self, start: &[u8], prefix: &[u8]) -> Result<Option<Entry>> {
        Range::with_page(self, start.to_vec(), keys::after_prefix(prefix), 1).next_entry()
    }

    /// The last key that starts with `prefix`, among keys that are never deleted.
    pub fn last(&self, prefix: &[u8]) -> Result<Option<Box<[u8]>>> {
        let end = keys::after_prefix(prefix);
        let in_memory = self.mem.read().last(prefix, &end);
        Ok(in_memory.max(self.backing.last(prefix, &end)?))
    }

    /// All that starts with `prefix`, in order.
    pub fn scan(&self, prefix: &[u8]) -> Range<'_> {
        Range::new(self, prefix.to_vec(), keys::after_prefix(prefix))
    }

    /// Keys of the live pending records that start with `prefix`.
    pub fn pending(&self, prefix: Key) -> Vec<Key> {
        self.mem.read().pending(prefix)
    }
}
