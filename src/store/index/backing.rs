//! sled, and everything that has to be known about it. No other module names it.
//!
//! - It may panic on damaged files: every call is caught, and a failure is an [`Error::Index`].
//! - Its `flush` is no fsync: that is [`Backing::sync`].
//! - After an I/O error it refuses everything until it is opened anew:
//!   [`Backing::reopen_if_failed`].
//! - It reads most of its files only when they are needed. When it then finds damage, a mark is left, so
//!   that the index is rebuilt when it is next opened.
//! - It follows symbolic links, so there must be none among its files.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::RwLock;

use super::memtable::{Generation, Value};
use crate::store::error::{Error, Result};
use crate::store::layout::{make_dir, make_private, private_file, sync_dir};
use crate::store::plain;

/// Cache of sled, in bytes; the process grows by up to six times this.
const CACHE: u64 = 24 << 20;

/// How sled says that its files are locked. The store's own lock keeps other processes away, but a sled of
/// this one that was closed just now lets go only when its threads have ended.
const LOCKED: &str = "could not acquire lock";
/// The mark of an index that was found damaged, in its directory.
const SUSPECT: &str = "suspect";

/// How often, and after how long, such a lock is tried again.
const LOCK_TRIES: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Keys and values of a range.
pub type Entries = Vec<(Box<[u8]>, Value)>;

/// An open sled.
#[derive(Debug)]
pub struct Backing {
    dir: PathBuf,
    db: RwLock<Option<sled::Db>>,
    failed: AtomicBool,
}

impl Backing {
    /// Opens the index in `dir`, making it if it is not there.
    pub fn open(dir: &Path) -> Result<Backing> {
        let io = |e| Error::io("open", dir, e);
        if plain::is_dir(dir).map_err(io)? {
            make_private(dir).map_err(io)?;
            if !plain::is_plain_tree(dir).map_err(io)? {
                return Err(Error::Index("there is something else than files in its directory".into()));
            }
            if dir.join(SUSPECT).exists() {
                return Err(Error::Index("it was found damaged".into()));
            }
        } else {
            make_dir(dir, false)?;
        }
        let backing = Backing { dir: dir.to_owned(), db: RwLock::new(None), failed: AtomicBool::new(false) };
        let db = backing.open_sled()?;
        backing.sync_files().map_err(|e| Error::io("sync", dir, e))?;
        *backing.db.write() = Some(db);
        Ok(backing)
    }

    fn open_sled(&self) -> Result<sled::Db> {
        let config = sled::Config::new()
            .path(&self.dir)
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

    /// Closes and opens sled again if a call of it failed.
    pub fn reopen_if_failed(&self) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut slot = self.db.write();
        // The old one has to be gone before the new one can lock its files; it may fail in going.
        let old = slot.take();
        guard("close", || {
            drop(old);
            Ok(())
        })?;
        *slot = Some(self.open_sled()?);
        self.failed.store(false, Ordering::Release);
        log::warn!("the index in {} was opened anew", self.dir.display());
        Ok(())
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

    /// The last key from `start` up to `end`.
    pub fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.call("scan", |db| Ok(db.range(start..end).next_back().transpose()?.map(|(k, _)| Box::from(&*k))))
    }

    /// Applies changes one by one: half the time of sled's batches, which make reads wait too. What is
    /// applied halfway does no harm, since whatever is not durable is applied again.
    pub fn apply(&self, changes: &Generation) -> Result<()> {
        changes.iter().try_for_each(|(key, value)| match value {
            Some(value) => self.put(key, value),
            None => self.call("write", |db| db.remove(&**key).map(drop)),
        })
    }

    /// Sets one key.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.call("write", |db| db.insert(key, value).map(drop))
    }

    /// Has sled write all that was applied: it survives the process and a reopening.
    pub fn flush(&self) -> Result<()> {
        self.call("flush", |db| db.flush().map(drop))
    }

    /// Makes all that was flushed durable.
    pub fn sync(&self) -> Result<()> {
        let path = self.dir.join("db");
        let synced = File::open(&path).and_then(|f| f.sync_data());
        synced.map_err(|e| Error::io("sync", &path, e))
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

    fn call<T>(&self, what: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        let slot = self.db.read();
        let db = slot.as_ref().ok_or_else(|| Error::Index(format!("cannot {what}: it is closed")))?;
        let result = guard(what, || f(db));
        if let Err(failure) = &result {
            self.failed.store(true, Ordering::Release);
            if failure.damage {
                self.mark_suspect();
            }
        }
        Ok(result?)
    }

    fn mark_suspect(&self) {
        let path = self.dir.join(SUSPECT);
        match private_file().create_new(true).open(&path).and_then(|_| sync_dir(&self.dir)) {
            Ok(()) => log::error!("{}: damaged, to be rebuilt when it is next opened", self.dir.display()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => log::error!("cannot make {}: {e}", path.display()),
        }
    }
}

/// A failed call of sled.
struct Failure {
    error: Error,
    /// Whether its files are damaged.
    damage: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

/// Runs a call of sled; a panic is an error like others.
fn guard<T>(what: &str, f: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    let failed = |why: &dyn std::fmt::Display, damage| {
        Err(Failure { error: Error::Index(format!("cannot {what}: {why}")), damage })
    };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => failed(&e, is_damage(&e)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            failed(&format_args!("it panicked: {text}"), true)
        }
    }
}

/// Whether an error of sled tells of damaged files, and not of a failing or full disk.
fn is_damage(error: &sled::Error) -> bool {
    match error {
        sled::Error::Io(e) => e.kind() == io::ErrorKind::UnexpectedEof,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_reason() {
        let error = guard::<()>("read", || panic!("page {}", 7)).err().unwrap().error.to_string();
        assert!(error.contains("cannot read: it panicked: page 7"), "{error}");
    }

    #[test]
    fn a_failed_one_is_opened_anew_and_has_what_was_flushed() {
        let dir = tempfile::TempDir::new().unwrap();
        let backing = Backing::open(&dir.path().join("index")).unwrap();
        backing.put(b"k", b"v").unwrap();
        backing.flush().unwrap();
        let failed: Result<()> = backing.call("read", |_| Err(sled::Error::ReportableBug("x".into())));
        assert!(failed.is_err());
        assert!(backing.failed.load(Ordering::Acquire));
        backing.reopen_if_failed().unwrap();
        assert!(!backing.failed.load(Ordering::Acquire));
        assert_eq!(backing.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
        drop(backing);
        let error = Backing::open(&dir.path().join("index")).unwrap_err().to_string();
        assert!(error.contains("found damaged"), "{error}");
    }
}
