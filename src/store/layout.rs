//! The directory of a store: its identity, its lock, and whether it was last left in order.
//!
//! ```text
//! strata.json  which store this is (see `identity`)
//! lock         locked while open; holds the pid of the process that has it
//! open         there while open: the machine's boot id, removed by a clean close
//! synced       how far the log is known to be durable (see `pack`)
//! packs/       the log (see `pack`)
//! index/       rebuilt from the packs where it is missing or in doubt (see `index`)
//! scratch/     content of files being written; emptied on open
//! damaged/     files as they were before `strata fsck` repaired them
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::error::{Error, Result};
use super::identity::{Identity, StoreId};
use super::pack::SyncedNote;
use super::plain;

/// Most bytes of the small files.
const SMALL: u64 = 4096;

/// Where the parts of a store are.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the store in `root`.
    pub fn new(root: &Path) -> Layout {
        Layout { root: root.to_owned() }
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of packs.
    pub fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    /// Directory of the index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Directory of content being written.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// The note of how far the log is durable.
    pub fn synced(&self) -> PathBuf {
        self.root.join("synced")
    }

    /// What says which store this is.
    pub fn identity(&self) -> PathBuf {
        self.root.join("strata.json")
    }

    /// Directory of files as they were before they were repaired.
    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    fn marker(&self) -> PathBuf {
        self.root.join("open")
    }

    /// Makes the directories and identity of a new store.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] where there is something in the directory already.
    pub fn create(&self) -> Result<StoreId> {
        make_dir(&self.root, true)?;
        let mut entries = fs::read_dir(&self.root).map_err(|e| Error::io("list", &self.root, e))?;
        if entries.next().is_some() {
            return Err(Error::NotEmpty(self.root.clone()));
        }
        for dir in [self.packs(), self.scratch()] {
            make_dir(&dir, false)?;
        }
        SyncedNote::create(&self.synced())?;
        let id = StoreId::random()?;
        // The identity comes last: a directory with one is a whole store.
        Identity::new(id, Vec::new()).write(self)?;
        Ok(id)
    }

    /// Checks that the directories of the store are such, and its own.
    pub fn check_dirs(&self) -> Result<()> {
        for dir in [self.packs(), self.index(), self.scratch(), self.damaged()] {
            plain::is_dir(&dir).map_err(|e| Error::io("use", &dir, e))?;
        }
        Ok(())
    }

    /// Takes the store for this process until the file is dropped.
    ///
    /// # Errors
    /// [`Error::InUse`] where another has it.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let io = |e| Error::io("lock", &path, e);
        let mut file = plain::open(&path, private_file().read(true).create(true)).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = Vec::new();
                (&file).take(SMALL).read_to_end(&mut text).map_err(io)?;
                let pid = String::from_utf8_lossy(&text).trim().parse().unwrap_or(0);
                return Err(Error::InUse { path: self.root.clone(), pid });
            }
            Err(e) => return Err(io(e.into())),
        }
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // The pid is a courtesy: a full disk must not keep the store from opening.
        if let Err(e) = write_pid(&mut file) {
            log::warn!("cannot write the pid to {}: {e}", path.display());
        }
        Ok(file)
    }

    /// How the last session ended.
    pub fn last_session(&self) -> Result<LastSession> {
        let path = self.marker();
        match plain::read(&path, SMALL) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(LastSession::Closed),
            Ok(text) if !text.is_empty() && text == boot_id() => Ok(LastSession::Killed),
            Ok(_) => Ok(LastSession::PowerLoss),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(LastSession::PowerLoss),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Marks the store as open, durably, where the last session ended like this.
    pub fn begin_session(&self, last: LastSession) -> Result<()> {
        if last == LastSession::Closed { self.renew_session() } else { Ok(()) }
    }

    /// Notes the present boot in the marker; to be called once an index that a power loss may have
    /// torn is done with.
    pub fn renew_session(&self) -> Result<()> {
        let path = self.marker();
        let write = || {
            let mut file = plain::open(&path, private_file().create(true).truncate(true))?;
            file.write_all(&boot_id())?;
            file.sync_all()?;
            sync_dir(&self.root)
        };
        write().map_err(|e| Error::io("write", &path, e))
    }

    /// Marks the store as closed in order: all that was written is durable, the index too.
    pub fn end_session(&self) -> Result<()> {
        let path = self.marker();
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))
    }

    /// Empties the scratch directory, making it if it is gone.
    pub fn clear_scratch(&self) -> Result<()> {
        let dir = self.scratch();
        if !plain::is_dir(&dir).map_err(|e| Error::io("empty", &dir, e))? {
            make_dir(&dir, false)?;
        }
        let clear = || {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|e| Error::io("empty", &dir, e))
    }
}

/// How the session before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSession {
    /// By a clean close, or there was none.
    Closed,
    /// By the death of its process; what it wrote is in the system's cache at least.
    Killed,
    /// Perhaps by the death of the machine: what was not synced may be missing or torn anywhere.
    PowerLoss,
}

/// Makes a directory for the owner alone.
pub(super) fn make_dir(path: &Path, may_exist: bool) -> Result<()> {
    let made = DirBuilder::new().recursive(may_exist).mode(0o700).create(path);
    made.map_err(|e| Error::io("make directory", path, e))
}

/// Options for a file of the owner alone, opened for writing.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Closes a directory to all but its owner.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// What tells this run of the system from others.
fn boot_id() -> Vec<u8> {
    fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
