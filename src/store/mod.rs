//! The store: append-only packs are the truth, the index is what a replay of them rebuilds.
//!
//! - What was put or appended can be read at once by everyone and survives the death of the process;
//!   it is durable after the next [`Store::sync`], and within a second without one.
//! - What is durable of the log is a prefix of it.
//! - Reads give the bytes that were stored or an error.
//! - One process has a store at a time.

mod bell;
mod checks;
pub mod chunker;
pub mod content;
pub mod error;
mod history;
mod index;
mod layout;
pub mod manifest;
mod media;
pub mod objects;
mod pack;
mod put;
mod query;
mod read;
mod recovery;
pub mod scratch;
mod space;
mod verify;
pub mod working;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::index::{Followers, Index};
use self::layout::{LastSession, Layout, sync_dir};
use self::media::{Disk, Media};
use self::pack::{Log, LogPos, Packs, SyncedNote};
use self::recovery::{Recovered, Recovery};

pub use content::{b3sum, for_each_block, next_data, next_hole, read_at, sha256};
pub use error::{Error, Result};
pub use history::{HashKind, HashMatch};
pub use index::change::VersionMeta;
pub use layout::{FORMAT, StoreId};
pub use manifest::{Objects, content_id, data_size};
pub use media::Room;
pub use objects::{ObjectStore, ReadPart};
pub use pack::{Payload, Pos, RecordHeader, RecordKind};
pub use space::reserve;
pub use verify::{Damage, DamageKind, Progress, Totals, Verdict};
pub use working::WorkingFile;

/// A store, open. Dropping it closes it.
pub struct Store {
    layout: Layout,
    id: StoreId,
    packs: Arc<Packs>,
    log: Arc<Log>,
    index: Arc<Index>,
    heads: Mutex<put::Heads>,
    verified: read::Verified,
    plenty: checks::Plenty,
    /// Objects found damaged; put again, they are stored again.
    damaged: Mutex<HashSet<[u8; 32]>>,
    followers: Option<Followers>,
    /// Held while the store is open.
    _lock: File,
}

/// Sizes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoreStats {
    /// Bytes in packs: all data and history, deduplicated.
    pub pack_bytes: u64,
    /// Bytes of the index, which can be rebuilt.
    pub index_bytes: u64,
    /// Bytes not yet durable.
    pub unsynced_bytes: u64,
}

impl Store {
    /// Makes a store in `dir`, which is missing or empty.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] where it is neither.
    pub fn init(dir: &Path) -> Result<()> {
        Layout::new(dir).create().map(drop)
    }

    /// Opens the store in `dir`, bringing it in order after a crash and rebuilding its index where
    /// that is missing or damaged.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::InUse`]; [`Error::Io`] where the disk
    /// fails.
    pub fn open(dir: &Path) -> Result<Store> {
        Store::open_on(dir, Arc::new(Disk), false)
    }

    /// Opens the store in `dir`, making it first if the directory is missing or empty.
    pub fn open_or_init(dir: &Path) -> Result<Store> {
        match Store::open(dir) {
            Err(Error::NotAStore(_)) => {
                Store::init(dir)?;
                Store::open(dir)
            }
            result => result,
        }
    }

    /// Rebuilds the index of the closed store in `dir` from its packs; the old one is kept aside.
    pub fn rebuild_index(dir: &Path) -> Result<()> {
        Store::open_on(dir, Arc::new(Disk), true)?.close()
    }

    fn open_on(dir: &Path, media: Arc<dyn Media>, rebuild: bool) -> Result<Store> {
        let layout = Layout::new(dir);
        let id = layout.read_identity()?;
        let lock = layout.lock()?;
        layout.clear_scratch()?;
        if rebuild {
            set_aside(&layout)?;
        }
        let session = layout.begin_session()?;
        let packs = Arc::new(Packs::new(layout.packs()));
        let (note, synced) = SyncedNote::open(&layout.synced())?;
        let end = recovery::prepare(&layout, id, &packs, &*media, synced)?;
        let (index, recovered) = open_index(&layout, id, &packs, session, synced, end)?;
        if session == LastSession::PowerLoss {
            layout.renew_session()?;
        }
        let Recovered { tail, sealed_bytes, damaged } = recovered;
        let log = Arc::new(Log::new(layout.clone(), id, packs.clone(), media, note, tail, sealed_bytes));
        let index = Arc::new(index);
        let followers =
            Followers::start(&log, &index).map_err(|e| Error::io("start a thread for", dir, e))?;
        Ok(Store {
            layout,
            id,
            packs,
            log,
            index,
            heads: Mutex::default(),
            verified: read::Verified::default(),
            plenty: checks::Plenty::default(),
            damaged: Mutex::new(damaged),
            followers: Some(followers),
            _lock: lock,
        })
    }

    /// The store's identity.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The store's directory.
    pub fn path(&self) -> &Path {
        self.layout.root()
    }

    /// Directory for content being written; it is emptied when the store is opened.
    pub fn scratch_dir(&self) -> PathBuf {
        self.layout.scratch()
    }

    /// Makes everything put and appended so far durable. Callers at the same time share the cost.
    ///
    /// # Errors
    /// After a failure the store is read-only until it is opened anew.
    pub fn sync(&self) -> Result<()> {
        self.log.sync().map(drop)
    }

    /// Whether a sync failed, so that nothing more is written.
    pub fn is_read_only(&self) -> bool {
        self.log.is_read_only()
    }

    /// The store's sizes.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            pack_bytes: self.log.bytes(),
            index_bytes: dir_bytes(&self.layout.index()),
            unsynced_bytes: self.log.unsynced(),
        }
    }

    /// Room on the store's disk.
    pub fn room(&self) -> Result<Room> {
        self.log.room()
    }

    /// Closes the store in order: everything durable, and the next open needs no recovery.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        let Some(mut followers) = self.followers.take() else { return Ok(()) };
        followers.stop();
        drop(followers);
        self.log.sync()?;
        self.index.finish(|| self.log.sync())?;
        self.layout.end_session()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(e) = self.shut() {
            log::error!("closing the store in {}: {e}", self.layout.root().display());
        }
    }
}

/// Opens the index and brings it up to the log; one that fails is put aside and rebuilt.
fn open_index(
    layout: &Layout,
    id: StoreId,
    packs: &Packs,
    session: LastSession,
    synced: LogPos,
    end: LogPos,
) -> Result<(Index, Recovered)> {
    let power_loss = session == LastSession::PowerLoss;
    let attempt = |index: Index, from: LogPos| -> Result<(Index, Recovered)> {
        if from > end {
            return Err(Error::Index("it knows more than the packs hold".into()));
        }
        let trusted = if power_loss { synced } else { LogPos(u64::MAX) };
        let recovered = Recovery::new(layout, id, packs, &index, trusted).run(from)?;
        Ok((index, recovered))
    };
    if power_loss && layout.index().exists() {
        // sled may have lost any part of its files without noticing.
        log::warn!("the machine went down with {} open: rebuilding its index", layout.root().display());
        remove_dir(&layout.index())?;
    }
    let is_new = !layout.index().exists();
    match Index::open(&layout.index(), id).and_then(|(index, from)| attempt(index, from)) {
        Err(e @ (Error::Index(_) | Error::Decode { .. })) if !is_new => {
            log::error!("{e}; rebuilding the index of {}", layout.root().display());
            set_aside(layout)?;
            Index::open(&layout.index(), id).and_then(|(index, from)| attempt(index, from))
        }
        result => result,
    }
}

/// Moves the index to `index.bad-<n>`, removing older ones.
fn set_aside(layout: &Layout) -> Result<()> {
    let (root, index) = (layout.root(), layout.index());
    if !index.exists() {
        return Ok(());
    }
    let names = fs::read_dir(root).map_err(|e| Error::io("list", root, e))?;
    let number = |name: &str| name.strip_prefix("index.bad-")?.parse::<u32>().ok();
    let old: Vec<u32> =
        names.filter_map(|e| e.ok()).filter_map(|e| number(e.file_name().to_str()?)).collect();
    let aside = |n: u32| root.join(format!("index.bad-{n}"));
    let next = old.iter().max().map_or(1, |n| n.saturating_add(1));
    fs::rename(&index, aside(next)).map_err(|e| Error::io("move aside", &index, e))?;
    sync_dir(root).map_err(|e| Error::io("sync", root, e))?;
    old.into_iter().try_for_each(|n| remove_dir(&aside(n)))
}

fn remove_dir(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|e| Error::io("remove", path, e))
}

/// Bytes of the files in a directory, as far as they can be seen.
fn dir_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => dir_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(|e| e.ok()).map(size).sum()
}
