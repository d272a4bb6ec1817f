//! The store: append-only packs are the truth, the index is what a replay of them rebuilds.
//!
//! - What was put or appended can be read at once by everyone and survives the death of the process;
//!   it is durable after the next [`Store::sync`], and within a second without one.
//! - What is durable of the log is a prefix of it.
//! - Reads give the bytes that were stored or an error.
//! - One process has a store at a time.

mod aside;
mod bell;
mod checks;
pub mod chunker;
mod collect;
mod compact;
pub mod content;
pub mod dvc;
pub mod error;
mod fsck;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod identity;
mod imports;
mod index;
mod intact;
mod layout;
pub mod manifest;
#[doc(hidden)]
pub mod measuring;
mod media;
mod note;
pub mod objects;
mod pack;
mod plain;
mod prefetch;
mod purging;
mod put;
mod query;
mod read;
mod rebuild;
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
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use self::compact::{Background, Compactor};
use self::identity::Identity;
use self::index::{Followers, Index};
use self::layout::{LastSession, Layout};
use self::media::{Disk, Media};
use self::pack::{Log, Packs, PlaceNote};
use self::rebuild::Opening;
use self::recovery::Recovered;

pub use aside::Aside;
pub use collect::{Candidates, Collection, Need, Sought, Suspects, Underway, Weighed};
pub use compact::Compacted;
pub use content::{b3sum, for_each_block, md5, next_data, next_hole, read_at, sha256, write_out};
pub use error::{Error, Result};
pub use fsck::{FsckOptions, Outcome, Problem, fsck};
pub use history::{HashKind, HashMatch};
pub use identity::{FORMAT, StoreId};
pub use imports::ImportOf;
pub use index::catches_panics;
pub use index::change::{Summary, VersionMeta};
pub use manifest::{Objects, content_id, data_size};
pub use media::Room;
pub use objects::{ObjectStore, ReadPart};
pub use pack::Effort;
pub use pack::{FileDamage, Payload, Pos, RecordHeader, RecordKind};
pub use purging::{UnfinishedPurge, show_paths};
pub use query::Written;
pub use space::reserve;
pub use verify::{Damage, DamageKind, Progress, Totals, Verdict, name_file_damage};
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
    /// Packs that `strata fsck` has gone on without.
    lost: Vec<u32>,
    /// Objects found damaged; put again, they are stored again.
    damaged: Mutex<HashSet<[u8; 32]>>,
    /// Objects that were purged: that they are missing is no damage.
    purged: RwLock<HashSet<[u8; 32]>>,
    collecting: collect::Collecting,
    followers: Option<Followers>,
    compactor: Arc<Compactor>,
    background: Option<Background>,
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

    /// Looks whether there is a store in `dir`, be it damaged.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none.
    pub fn look_for(dir: &Path) -> Result<()> {
        Layout::new(dir).look_for()
    }

    /// Whether the store in `dir` was left in order, or never opened: opening it repairs nothing then.
    pub fn was_closed(dir: &Path) -> bool {
        Layout::new(dir).last_session().is_ok_and(|last| last == LastSession::Closed)
    }

    /// Opens the store in `dir`, bringing it in order after a crash and rebuilding its index where
    /// that is missing or damaged.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::InUse`]; [`Error::Io`] where the disk
    /// fails.
    pub fn open(dir: &Path) -> Result<Store> {
        Store::open_on(dir, Arc::new(Disk))
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

    /// Makes the index of the closed store in `dir` anew; the old one is kept aside. What else is wrong is
    /// repaired, as by [`fsck`].
    pub fn rebuild_index(dir: &Path) -> Result<()> {
        let options = FsckOptions { rebuild_index: true, ..FsckOptions::default() };
        let problem = &mut |problem: Problem| {
            log::warn!("{}: {}: {}", problem.file, problem.what, problem.action);
            Ok(())
        };
        fsck(dir, options, problem).map(drop)
    }

    fn open_on(dir: &Path, media: Arc<dyn Media>) -> Result<Store> {
        let layout = Layout::new(dir);
        let identity = Identity::read(&layout)?;
        let lock = layout.lock()?;
        Store::open_locked(layout, identity, lock, media)
    }

    fn open_locked(layout: Layout, identity: Identity, lock: File, media: Arc<dyn Media>) -> Result<Store> {
        let id = identity.id;
        let packs = Arc::new(Packs::new(layout.packs(), id));
        intact::check(&layout, &identity, &packs, layout.last_session()?)?;
        layout.keep_private();
        layout.clear_scratch()?;
        let (session, mut unmarked) = match layout.begin_session() {
            Ok(last) => (last, None),
            Err(e @ Error::NoSpace(_)) => (LastSession::Closed, Some(e.to_string())),
            Err(e) => return Err(e),
        };
        let (note, synced) = PlaceNote::open(&layout.synced())?;
        let durable = synced.unwrap_or_default();
        let prepare = |cached| recovery::prepare(&layout, id, &packs, &*media, durable, cached);
        let end = match prepare(session == LastSession::Killed) {
            Err(e @ Error::NoSpace(_)) => {
                unmarked = Some(e.to_string());
                prepare(false)?
            }
            end => end?,
        };
        let opening = Opening { layout: &layout, id, packs: &packs, session, synced, end };
        let (index, recovered) = if unmarked.is_some() { opening.in_memory() } else { opening.index() }?;
        if session == LastSession::PowerLoss
            && let Err(e) = layout.renew_session()
        {
            // Opened after the next crash, it would be looked at as after a power loss: slower, not worse.
            log::warn!("{e}");
        }
        let Recovered { tail, sealed_bytes, damaged } = recovered;
        let log = Arc::new(Log::new(layout.clone(), id, packs.clone(), media, note, tail, sealed_bytes));
        let index = Arc::new(index);
        let compactor = Arc::new(Compactor::new(layout.clone(), id, packs.clone(), log.clone())?);
        let (followers, background) = match unmarked {
            Some(why) => {
                log.fail(&why);
                (None, None)
            }
            None => {
                packs.clear_left_over()?;
                let started =
                    Followers::start(&log, &index).and_then(|f| Ok((f, Background::start(&compactor)?)));
                let (f, b) = started.map_err(|e| Error::io("start a thread for", layout.root(), e))?;
                (Some(f), Some(b))
            }
        };
        Ok(Store {
            layout,
            id,
            packs,
            log,
            index,
            heads: Mutex::default(),
            verified: read::Verified::default(),
            plenty: checks::Plenty::default(),
            lost: identity.lost,
            damaged: Mutex::new(damaged),
            purged: RwLock::default(),
            collecting: collect::Collecting::default(),
            followers,
            compactor,
            background,
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

    /// What DVC is told of a dataset's content.
    pub fn dvc(&self, dataset: crate::model::DatasetId) -> dvc::Told {
        dvc::Told::new(&self.layout.dvc().join(dataset.0.to_string()), self.layout.scratch())
    }

    /// Makes everything put and appended so far durable. Callers at the same time share the cost.
    ///
    /// # Errors
    /// After a failure the store is read-only until it is opened anew.
    pub fn sync(&self) -> Result<()> {
        self.log.sync().map(drop)
    }

    /// Whether nothing more is written.
    pub fn is_read_only(&self) -> bool {
        self.read_only().is_some()
    }

    /// Why nothing more is written, if so: after a failed sync, and where the disk was too full for a store
    /// to be opened otherwise.
    pub fn read_only(&self) -> Option<&str> {
        self.log.read_only()
    }

    /// Seals the last pack and compresses all that can be compressed, which else is done in the background.
    /// `step` is called with how many bytes are done, and of how many, and may break off.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where there is no room for both forms of a pack; [`Error::ReadOnly`].
    pub fn compact(
        &self,
        effort: Effort,
        step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Compacted> {
        self.compactor.compact(effort, step)
    }

    /// The store's sizes.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            pack_bytes: self.compactor.pack_bytes(),
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
        drop(self.background.take());
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
