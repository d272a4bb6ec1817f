//! sled, and everything that has to be known about it. No other module names it.
//!
//! - It may panic on damaged files: every call is caught, and a failure is an [`Error::Index`].
//! - Its `flush` is no fsync: that is [`Backing::sync`].
//! - After an I/O error it refuses everything until it is opened anew, as [`heal`](super::heal) does.
//! - Its iterators go forward only: going backward from a leaf to the one before, 0.34.7 never arrives where that
//!   one's first key has four bytes of 255 after what the first begins with, and panics in the end.
//! - It reads all that was written since it was last opened when it is opened: only then it notes where its pages
//!   are. See [`Backing::is_slow_to_open`].
//! - It follows symbolic links, so there must be none among its files.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::memtable::Value;
use crate::store::error::{Error, Result, chain};
use crate::store::layout::{make_dir, make_private, sync_dir};
use crate::store::plain;

/// Cache of sled, in bytes; the process grows by up to six times this.
const CACHE: u64 = 24 << 20;

/// How sled says that its files are locked. The store's own lock keeps other processes away, but a sled of
/// this one that was closed just now lets go only when its threads have ended.
const LOCKED: &str = "could not acquire lock";
/// How often, and after how long, such a lock is tried again.
const LOCK_TRIES: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// From as many changes on it takes long to open: some 0.1 s for these, about as long as all else of a mount.
const MANY: u64 = if cfg!(test) { 500 } else { 250_000 };

/// Keys and values of a range.
pub type Entries = Vec<(Box<[u8]>, Value)>;

/// An open sled.
#[derive(Debug)]
pub struct Backing {
    dir: PathBuf,
    /// There until it is dropped.
    db: Option<sled::Db>,
    /// Changes since it was opened.
    changes: AtomicU64,
}

impl Backing {
    /// Opens the index in `dir`, making it if it is not there.
    pub fn open(dir: &Path) -> Result<Backing> {
        let io = |e| failed(dir, "open", &e);
        if plain::is_dir(dir).map_err(io)? {
            make_private(dir).map_err(io)?;
            if !plain::is_plain_tree(dir).map_err(io)? {
                return Err(Error::Index("there is something else than files in its directory".into()));
            }
        } else {
            make_dir(dir, false).map_err(|e| Error::Index(chain(&e)))?;
        }
        let backing =
            Backing { dir: dir.to_owned(), db: Some(open_sled(dir)?), changes: AtomicU64::default() };
        backing.sync_files().map_err(|e| failed(dir, "sync", &e))?;
        Ok(backing)
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.call("read", |db| Ok(db.get(key)?.map(|v| Box::from(&*v))))
    }

    /// Up to `limit` entries from `start` up to `end`.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        self.call("scan", |db| {
            let entries = db.range(start..end).take(limit);
            entries.map(|e| e.map(|(k, v)| (Box::from(&*k), Some(Box::from(&*v))))).collect()
        })
    }

    /// The last key from `start` up to `end`. Found by looking forward alone.
    pub fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.call("scan", |db| {
            let first_from = |key: &[u8]| -> sled::Result<Option<sled::IVec>> {
                let mut range = db.range(key..key.max(end));
                Ok(range.next().transpose()?.map(|(key, _)| key))
            };
            let Some(mut last) = first_from(start)? else { return Ok(None) };
            // Byte by byte: no key in the range has a greater one after those before it.
            let mut settled = 0;
            while let Some(later) = first_from(&[&last[..], &[0]].concat())? {
                last = later;
                let Some(&byte) = last.get(settled) else { continue };
                let (mut there, mut beyond) = (u16::from(byte), 256);
                while there + 1 < beyond {
                    let middle = there.midpoint(beyond);
                    match first_from(&[&last[..settled], &[middle as u8]].concat())? {
                        Some(later) => {
                            there = u16::from(later[settled]);
                            last = later;
                        }
                        None => beyond = middle,
                    }
                }
                settled += 1;
            }
            Ok(Some(Box::from(&*last)))
        })
    }

    /// Applies changes one by one: half the time of sled's batches, which make reads wait too. What is
    /// applied halfway does no harm, since whatever is not durable is applied again.
    pub fn apply<'a, K>(&self, changes: impl IntoIterator<Item = (K, &'a Value)>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        changes.into_iter().try_for_each(|(key, value)| match value {
            Some(value) => self.put(key.as_ref(), value),
            None => self.change(|db| db.remove(key.as_ref()).map(drop)),
        })
    }

    /// Sets one key.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.change(|db| db.insert(key, value).map(drop))
    }

    /// Whether so much was written since it was opened that the next opening takes long, and the one after that does
    /// not.
    pub fn is_slow_to_open(&self) -> bool {
        self.changes.load(Ordering::Relaxed) >= MANY
    }

    /// Has sled write all that was applied: it survives the process and a reopening.
    pub fn flush(&self) -> Result<()> {
        self.call("flush", |db| db.flush().map(drop))
    }

    /// Makes all that was flushed durable.
    ///
    /// # Errors
    /// What it holds is in doubt then.
    pub fn sync(&self) -> Result<()> {
        let path = self.dir.join("db");
        File::open(&path).and_then(|f| f.sync_data()).map_err(|e| failed(&self.dir, "sync", &e))
    }

    /// Makes the files of a new index durable, names and all.
    fn sync_files(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.is_dir() {
                sync_dir(&path)?;
            } else {
                File::open(&path)?.sync_all()?;
            }
        }
        sync_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), sync_dir)
    }

    fn change(&self, f: impl FnOnce(&sled::Db) -> sled::Result<()>) -> Result<()> {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.call("write", f)
    }

    fn call<T>(&self, what: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        let db = self.db.as_ref().ok_or_else(|| Error::Index(format!("cannot {what}: it is closed")))?;
        guard(what, || f(db))
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        // It writes in going, and panics where it cannot.
        let db = self.db.take();
        let close = || {
            drop(db);
            Ok(())
        };
        if let Err(e) = guard("close", close) {
            log::debug!("{e}");
        }
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let mut tries = LOCK_TRIES;
    loop {
        let opened = guard("open", || match config.open() {
            Err(sled::Error::Io(e)) if tries > 0 && e.to_string().contains(LOCKED) => Ok(None),
            result => result.map(Some),
        })?;
        if let Some(db) = opened {
            return Ok(db);
        }
        tries -= 1;
        thread::sleep(LOCK_WAIT);
    }
}

/// A failed call on the files of the index in `dir`.
pub fn failed(dir: &Path, what: &str, error: &io::Error) -> Error {
    Error::Index(format!("cannot {what} {}: {error}", dir.display()))
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is where a panic becomes an error: nobody need be told of it otherwise.
pub fn catches_panics() -> bool {
    GUARDED.get()
}

/// Runs a call of sled; a panic is an error like others.
fn guard<T>(what: &str, f: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Error::Index(format!("cannot {what}: {e}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(Error::Index(format!("cannot {what}: it gave up: {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_reason() {
        let error = guard::<()>("read", || panic!("page {}", 7)).unwrap_err().to_string();
        assert!(error.contains("cannot read: it gave up: page 7"), "{error}");
        assert!(!catches_panics());
    }

    #[test]
    fn one_that_is_opened_again_has_what_was_flushed() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("index");
        let backing = Backing::open(&path).unwrap();
        backing.put(b"k", b"v").unwrap();
        backing.flush().unwrap();
        drop(backing);
        let backing = Backing::open(&path).unwrap();
        assert_eq!(backing.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
    }

    #[test]
    fn the_last_key_is_found_wherever_a_leaf_begins() {
        use crate::model::{DatasetId, Ino, VersionNo};
        use crate::store::index::keys;
        let inode = |ino| keys::inode(DatasetId(1), Ino(ino));
        // Versions of few inodes, whose keys differ after bytes of 255: leaves begin here and there among them.
        for count in (20..200).step_by(20) {
            let dir = tempfile::TempDir::new().unwrap();
            let backing = Backing::open(&dir.path().join("index")).unwrap();
            let mut all: Vec<_> = (1..count).map(|v| keys::at(inode(v % 7), VersionNo(v))).collect();
            all.iter().for_each(|key| backing.put(key, b"value").unwrap());
            all.sort();
            let mut bounds: Vec<Vec<u8>> = all.iter().step_by(9).cloned().collect();
            bounds.extend((0..8).map(inode).chain([vec![], vec![0xff]]));
            for start in bounds.iter().step_by(5) {
                for end in &bounds {
                    let wanted = all.iter().rfind(|key| *key >= start && *key < end);
                    let found = backing.last(start, end).unwrap();
                    assert_eq!(found.as_deref(), wanted.map(|key| &key[..]), "{start:?} to {end:?}");
                }
            }
        }
    }
}
