//! sled, and everything that has to be known about it. No other module names it.
//!
//! - It may panic on damaged files: every call is caught, and a failure is an [`Error::Index`].
//! - Its `flush` is no fsync; [`Backing::make_durable`] adds the fdatasync.
//! - After an I/O error it refuses everything until it is opened anew: see [`Backing::reopen`].

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use super::memtable::{Generation, Value};
use crate::store::error::{Error, Result};
use crate::store::layout::sync_dir;

/// Cache of sled, in bytes; the process grows by up to six times this.
const CACHE: u64 = 32 << 20;
/// Changes applied at once: reads wait meanwhile.
const BATCH: usize = 256;

/// Keys and values of a range.
pub type Entries = Vec<(Box<[u8]>, Value)>;

/// An open sled.
#[derive(Debug)]
pub struct Backing {
    dir: PathBuf,
    db: RwLock<Option<sled::Db>>,
}

impl Backing {
    /// Opens the index in `dir`, making it if it is not there.
    pub fn open(dir: &Path) -> Result<Backing> {
        let backing = Backing { dir: dir.to_owned(), db: RwLock::new(None) };
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
        guard("open", || config.open())
    }

    /// Closes and opens sled again, after it failed.
    pub fn reopen(&self) -> Result<()> {
        let mut slot = self.db.write();
        // The old one has to be gone before the new one can lock its files; it may fail in going.
        let old = slot.take();
        guard("close", || {
            drop(old);
            Ok(())
        })?;
        *slot = Some(self.open_sled()?);
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

    /// Applies changes, in batches of their own.
    pub fn apply(&self, changes: &Generation) -> Result<()> {
        let mut changes = changes.iter().peekable();
        while changes.peek().is_some() {
            let mut batch = sled::Batch::default();
            for (key, value) in changes.by_ref().take(BATCH) {
                match value {
                    Some(value) => batch.insert(&**key, &**value),
                    None => batch.remove(&**key),
                }
            }
            self.call("write", |db| db.apply_batch(batch))?;
        }
        Ok(())
    }

    /// Sets one key.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.call("write", |db| db.insert(key, value).map(drop))
    }

    /// Makes all that was applied durable.
    pub fn make_durable(&self) -> Result<()> {
        self.call("flush", |db| db.flush().map(drop))?;
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
        guard(what, || f(db))
    }
}

/// Runs a call of sled; a panic is an error like others.
fn guard<T>(what: &str, f: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Error::Index(format!("cannot {what}: {e}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(Error::Index(format!("cannot {what}: it panicked: {text}")))
        }
    }
}
