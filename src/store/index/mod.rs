//! The index: finds things in the packs. It holds nothing that a replay of the packs does not bring
//! back.
//!
//! What is appended is published in memory first (the `memtable`) and applied to sled in the
//! background (the `committer`), many small entries in one (`packed`); look-ups see all as one. A sled that fails
//! is replaced (`heal`).
//!
//! Invariants:
//! - sled never has more than the durable log: the log is synced before anything is applied.
//! - The watermark in sled says up to where in the log the index holds everything, and covers only
//!   what was durable in sled when it was written.
//! - The order of publication is the order of the log, but for versions of very many changes, which go to sled
//!   before they are published (`ahead`).

mod ahead;
mod aside;
mod backing;
pub mod change;
mod committer;
mod heal;
pub mod keys;
mod memtable;
mod packed;
mod range;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use self::change::Change;
use self::heal::{Cause, Slot, State};
use self::keys::{Key, PendingKey};
use self::memtable::{Frozen, Memtable};
use self::packed::Packed;
use crate::store::bell::Bell;
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::pack::LogPos;

pub use ahead::AHEAD_FROM;
pub use aside::{list_aside, move_aside, put_aside};
pub use backing::catches_panics;
pub use committer::Followers;
pub use heal::{Replay, Target};
pub use range::{Entry, Range};

/// Format of the index; one of another format is rebuilt.
const FORMAT: u32 = 4;
/// Those before that it goes on from: 1 has no blocks (`packed`), 2 only some kinds of them, 3 no runs of objects, and
/// every entry is as in this one.
const OLDER: [u32; 3] = [1, 2, 3];
/// How often what was applied is made durable.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// As many bytes of changes in memory make appends wait.
pub(super) const WAIT_AT: usize = 64 << 20;

/// Up to where in the log sled has everything.
#[derive(Debug)]
struct Applied {
    /// Flushed.
    flushed: LogPos,
    /// Durable: this may be the watermark.
    durable: LogPos,
    /// In it once, and since it was opened anew in memory again if not: what was published there may lack
    /// what it had already done to older records, or what went to it ahead of that.
    known: LogPos,
    /// When it was last made durable.
    synced: Instant,
    /// How often applying failed in a row.
    failures: u32,
    /// Whether what sled wrote may be lost.
    in_doubt: bool,
}

impl Applied {
    /// Up to where the log is read again where sled is replaced. Not only up to what the one that failed had:
    /// one before it may have had more, and then what is in memory of the rest takes that for granted.
    fn until(&self) -> LogPos {
        self.flushed.max(self.known)
    }
}

/// The index of a store.
#[derive(Debug)]
pub struct Index {
    dir: PathBuf,
    /// What it says it is.
    meta: Vec<u8>,
    mem: RwLock<Memtable>,
    slot: RwLock<Slot>,
    /// Held by who applies, and who replaces sled.
    applied: Mutex<Applied>,
    /// Reads the log again where sled fails; `None` where an index is only looked at, as it is.
    replay: Option<Arc<dyn Replay>>,
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
    pub fn open(dir: &Path, store: StoreId, replay: Arc<dyn Replay>) -> Result<(Index, LogPos)> {
        let meta = meta_of(store);
        let (backing, watermark) = open_backing(dir, &meta)?;
        let mem = Memtable::new(watermark, stored_pending(&backing)?);
        Ok((Index::new(dir, meta, mem, State::Sled(backing), watermark, Some(replay)), watermark))
    }

    /// Opens the index in `dir` as [`Index::open`] does, but leaves it as it is where it fails.
    pub fn open_as_is(dir: &Path, store: StoreId) -> Result<(Index, LogPos)> {
        let meta = meta_of(store);
        let (backing, watermark) = open_backing(dir, &meta)?;
        let mem = Memtable::new(watermark, stored_pending(&backing)?);
        Ok((Index::new(dir, meta, mem, State::Sled(backing), watermark, None), watermark))
    }

    /// An index in memory, empty: all records have to be published. It goes into `dir` when it is applied.
    pub fn in_memory(dir: &Path, store: StoreId, replay: Arc<dyn Replay>) -> Index {
        let start = LogPos::default();
        Index::new(dir, meta_of(store), Memtable::default(), State::Memory, start, Some(replay))
    }

    fn new(
        dir: &Path,
        meta: Vec<u8>,
        mem: Memtable,
        state: State,
        end: LogPos,
        replay: Option<Arc<dyn Replay>>,
    ) -> Index {
        let applied = Applied {
            flushed: end,
            durable: end,
            known: end,
            synced: Instant::now(),
            failures: 0,
            in_doubt: false,
        };
        Index {
            dir: dir.to_owned(),
            meta,
            mem: RwLock::new(mem),
            slot: RwLock::new(Slot::new(state)),
            applied: Mutex::new(applied),
            replay,
            failing: AtomicBool::new(false),
            waiting: Mutex::new(()),
            freed: Condvar::new(),
            bell: Bell::default(),
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

    /// Applies what is in memory to sled, durably, after `sync` has made the log durable.
    pub fn apply(&self, sync: impl Fn() -> Result<LogPos>) -> Result<()> {
        let mut applied = self.applied.lock();
        self.mem.write().freeze();
        let result = self
            .check_room()
            .and_then(|()| self.leave_memory(&mut applied))
            .and_then(|()| self.apply_all(&mut applied, &sync));
        self.failing.store(result.is_err(), Ordering::Release);
        self.wake_waiting();
        match &result {
            Ok(()) => applied.failures = 0,
            Err(why @ Error::Index(_)) if self.replay.is_some() => self.heal_applying(&mut applied, why),
            Err(_) => {}
        }
        result
    }

    /// Refuses where what is in memory would hardly find room on the disk: trying costs a sled.
    fn check_room(&self) -> Result<()> {
        let mem = self.mem.read();
        if !mem.has_frozen() {
            return Ok(());
        }
        let bytes = mem.bytes();
        drop(mem);
        self.room_for(bytes)
    }

    fn room_for(&self, bytes: usize) -> Result<()> {
        let root = self.dir.parent().unwrap_or(&self.dir);
        let needed = (bytes.min(2 << 20) + (1 << 20)) as u64;
        match rustix::fs::statvfs(root) {
            Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) < needed => {
                Err(Error::NoSpace(root.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn apply_all(&self, applied: &mut Applied, sync: impl Fn() -> Result<LogPos>) -> Result<()> {
        while let Some(frozen) = self.oldest() {
            self.apply_one(&frozen, applied, &sync)?;
            self.failing.store(false, Ordering::Release);
            let done = self.mem.write().drop_oldest();
            drop(done);
            self.wake_waiting();
        }
        self.make_durable(applied)
    }

    /// Lets nobody wait for room any more: nothing will be applied.
    fn give_up(&self) {
        self.failing.store(true, Ordering::Release);
        self.wake_waiting();
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
        self.with_backing(|backing| {
            backing.put(keys::WATERMARK, &applied.durable.0.to_be_bytes())?;
            backing.apply(&frozen.changes)?;
            backing.flush()
        })?;
        applied.flushed = frozen.end;
        if applied.synced.elapsed() >= SYNC_EVERY { self.make_durable(applied) } else { Ok(()) }
    }

    fn make_durable(&self, applied: &mut Applied) -> Result<()> {
        if applied.durable < applied.flushed {
            self.with_backing(Packed::sync).inspect_err(|_| applied.in_doubt = true)?;
            (applied.durable, applied.synced) = (applied.flushed, Instant::now());
        }
        Ok(())
    }

    /// Applies everything and writes the watermark that says so: opening needs no replay, and takes no time for what
    /// was written.
    pub fn finish(&self, sync: impl Fn() -> Result<LogPos>) -> Result<()> {
        self.apply(sync)?;
        let durable = self.applied.lock().durable;
        self.with_backing(|backing| {
            let written = backing.get(keys::WATERMARK)?.as_deref().and_then(keys::tail8);
            if written == Some(durable.0) {
                return Ok(());
            }
            backing.put(keys::WATERMARK, &durable.0.to_be_bytes())?;
            backing.flush()?;
            backing.sync()
        })?;
        // It holds everything, whatever comes of this.
        if let Err(e) = self.reopen() {
            log::warn!("{e}; the store opens a little slower");
        }
        Ok(())
    }

    /// Opens a sled again that would be slow to open.
    fn reopen(&self) -> Result<()> {
        let mut slot = self.slot.write();
        if !matches!(&slot.state, State::Sled(backing) if backing.is_slow_to_open()) {
            return Ok(());
        }
        // Dropped first: it has its files locked.
        slot.state = State::Failed;
        slot.generation += 1;
        slot.state = State::Sled(open_backing(&self.dir, &self.meta)?.0);
        Ok(())
    }

    fn with_backing(&self, call: impl FnOnce(&Packed) -> Result<()>) -> Result<()> {
        match &self.slot.read().state {
            State::Sled(backing) => call(backing),
            _ => Err(Error::Index("it is not on disk".into())),
        }
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

    /// Looks something up, with another sled if this one fails.
    fn look<T>(&self, look: impl Fn(&Slot) -> Result<T>) -> Result<T> {
        /// First it is opened again, then made anew, then done without.
        const TRIES: u32 = 3;
        let mut tries = 0;
        loop {
            let slot = self.slot.read();
            let result = look(&slot);
            let generation = slot.generation;
            drop(slot);
            match result {
                Err(why @ Error::Index(_)) if tries < TRIES && self.replay.is_some() => {
                    tries += 1;
                    self.heal(&mut self.applied.lock(), generation, Cause::Read, &why)?;
                }
                result => return result,
            }
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.look(|slot| {
            let found = self.mem.read().get(key);
            found.map_or_else(|| slot.get(key), Ok)
        })
    }

    /// The first key that starts with `prefix` and is not before `start`, with its value.
    pub fn first(&self, start: &[u8], prefix: &[u8]) -> Result<Option<Entry>> {
        Range::with_page(self, start.to_vec(), keys::after_prefix(prefix), 1).next_entry()
    }

    /// The last key that starts with `prefix`, among keys that are never deleted.
    pub fn last(&self, prefix: &[u8]) -> Result<Option<Box<[u8]>>> {
        let end = keys::after_prefix(prefix);
        self.look(|slot| {
            let in_memory = self.mem.read().last(prefix, &end);
            Ok(in_memory.max(slot.last(prefix, &end)?))
        })
    }

    /// All that starts with `prefix`, in order.
    pub fn scan(&self, prefix: &[u8]) -> Range<'_> {
        Range::new(self, prefix.to_vec(), keys::after_prefix(prefix))
    }

    /// Keys of the live pending records that start with `prefix`.
    pub fn pending(&self, prefix: Key) -> Vec<PendingKey> {
        self.mem.read().pending(&prefix)
    }
}

/// A replay when the store is opened: the log is durable, that is what `prepare` is for.
impl Target for Index {
    fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        Index::get(self, key)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Box<[u8]>>> {
        Index::last(self, prefix)
    }

    fn take(&self, changes: Vec<Change>, end: LogPos) -> Result<()> {
        self.publish(changes, end);
        // Much at a time, since what is sorted before is applied faster.
        let in_memory = matches!(self.slot.read().state, State::Memory);
        if !in_memory && self.mem.read().bytes() >= WAIT_AT / 2 { self.apply(|| Ok(end)) } else { Ok(()) }
    }
}

fn meta_of(store: StoreId) -> Vec<u8> {
    let mut meta = FORMAT.to_be_bytes().to_vec();
    meta.extend_from_slice(&store.0);
    meta
}

/// Opens the sled in `dir`, or makes one, and gives its watermark.
fn open_backing(dir: &Path, meta: &[u8]) -> Result<(Packed, LogPos)> {
    let backing = Packed::open(dir)?;
    match backing.get(keys::META)? {
        Some(found) if *found == *meta => {}
        Some(found)
            if OLDER.iter().any(|format| found.strip_prefix(&format.to_be_bytes()) == meta.get(4..)) =>
        {
            backing.put(keys::META, meta)?;
        }
        None if backing.page(&[0], &[0xff], 1)?.is_empty() => backing.put(keys::META, meta)?,
        _ => return Err(Error::Index("it is of another store or format".into())),
    }
    backing.remove_left_over()?;
    let watermark = match backing.get(keys::WATERMARK)? {
        Some(value) => keys::tail8(&value).map(LogPos).ok_or_else(|| Error::Index("no watermark".into()))?,
        None => LogPos::default(),
    };
    Ok((backing, watermark))
}

fn stored_pending(backing: &Packed) -> Result<BTreeSet<PendingKey>> {
    let (mut start, end) = (keys::all_pending(), keys::after_prefix(&keys::all_pending()));
    let mut found = BTreeSet::new();
    loop {
        let page = backing.page(&start, &end, 1000)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        start = [last, &[0][..]].concat();
        for (key, _) in page {
            let unknown = || Error::Index("the key of a pending record has no known form".into());
            found.insert(keys::as_pending(&key).ok_or_else(unknown)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_an_older_format_is_gone_on_with_and_none_of_a_newer() {
        let dir = tempfile::TempDir::new().unwrap();
        let (dir, meta) = (dir.path().join("index"), meta_of(StoreId([7; 16])));
        let of = |format: u32| [&format.to_be_bytes()[..], &meta[4..]].concat();
        let (backing, _) = open_backing(&dir, &meta).unwrap();
        backing.put(b"k", b"v").unwrap();
        backing.put(keys::META, &of(OLDER[0])).unwrap();
        backing.flush().unwrap();
        drop(backing);
        let (mut backing, _) = open_backing(&dir, &meta).unwrap();
        assert_eq!(backing.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(backing.get(keys::META).unwrap().as_deref(), Some(&meta[..]));
        let other_store = [&OLDER[0].to_be_bytes()[..], &[8; 16]].concat();
        for wrong in [other_store, of(FORMAT + 1), of(0)] {
            backing.put(keys::META, &wrong).unwrap();
            backing.flush().unwrap();
            drop(backing);
            assert!(open_backing(&dir, &meta).is_err(), "{wrong:?}");
            backing = Packed::open(&dir).unwrap();
        }
    }
}
