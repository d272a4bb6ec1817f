//! The directory of a store: its identity, its lock, and whether it was last left in order.
//!
//! ```text
//! strata.json  which store this is (see `identity`)
//! lock         locked while open; holds the pid of the process that has it
//! open         while open, the machine's boot id and the mount of the file system; "closed" after a clean
//!              close
//! synced       how far the log is known to be durable (see `pack`)
//! compacted    which pack is to be compressed next (see `compact`)
//! compacted-best  the same of compressing as far as possible
//! collected    what the last collection found (see `collect`)
//! purges       the purges that are not finished (see `purging`)
//! purging      the same of releases that purged one path at a time
//! packs/       the log (see `pack`)
//! index/       rebuilt from the packs where it is missing or in doubt (see `index`)
//! scratch/     content of files being written; emptied on open
//! damaged/     files as they were before `strata fsck` repaired them
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, statx};

use super::error::{Error, Result};
use super::identity::{Identity, StoreId};
use super::pack::{PlaceNote, packs_of};
use super::plain;

/// Most bytes of the small files.
const SMALL: u64 = 4096;
/// What the marker says of a store that was closed in order.
const CLOSED: &str = "closed";

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

    /// The note of which pack is to be compressed next.
    pub fn compacted(&self) -> PathBuf {
        self.root.join("compacted")
    }

    /// The note of which pack is to be compressed next as far as possible.
    pub fn compacted_best(&self) -> PathBuf {
        self.root.join("compacted-best")
    }

    /// The note of what the last collection found.
    pub fn collected(&self) -> PathBuf {
        self.root.join("collected")
    }

    /// The note of the purges that are not finished.
    pub fn purging(&self) -> PathBuf {
        self.root.join("purges")
    }

    /// The same of releases that purged one path at a time.
    pub fn purging_one(&self) -> PathBuf {
        self.root.join("purging")
    }

    /// What says which store this is.
    pub fn identity(&self) -> PathBuf {
        self.root.join("strata.json")
    }

    /// Directory of files as they were before they were repaired.
    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Directory of what DVC is told of the store's content.
    pub fn dvc(&self) -> PathBuf {
        self.root.join("dvc")
    }

    /// Directory of imports into datasets that are under way.
    pub fn imports(&self) -> PathBuf {
        self.root.join("imports")
    }

    fn marker(&self) -> PathBuf {
        self.root.join("open")
    }

    /// Makes the directories and identity of a new store. What an attempt left that was broken off, by a
    /// failing disk or failing power, is taken up.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] where there is something else in the directory already.
    pub fn create(&self) -> Result<StoreId> {
        self.make_root()?;
        self.check_unused()?;
        let _lock = self.lock()?;
        self.check_unused()?;
        self.keep_private();
        for dir in [self.packs(), self.scratch()] {
            make_dir(&dir, true)?;
        }
        PlaceNote::create(&self.synced())?;
        let id = StoreId::random()?;
        // The identity comes last: a directory with one is a whole store.
        Identity::new(id, Vec::new()).write(self)?;
        Ok(id)
    }

    /// Closes the store's directory to all but its owner, if somebody opened it: what is in it is theirs alone,
    /// whatever permissions are given to files in the mount.
    pub fn keep_private(&self) {
        let root = &self.root;
        let open = fs::metadata(root).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
        match open.then(|| make_private(root)) {
            Some(Ok(())) => log::warn!("closed {} to other users", root.display()),
            Some(Err(e)) => log::warn!("other users can get at {}: closing it failed: {e}", root.display()),
            None => {}
        }
    }

    /// Makes the store's directory, durably.
    fn make_root(&self) -> Result<()> {
        let missing = self.root.ancestors().take_while(|dir| !dir.exists()).count();
        make_dir(&self.root, true)?;
        for parent in self.root.ancestors().skip(1).take(missing.max(1)) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match sync_dir(parent) {
                // Not ours to read. Whose it is made it durable long ago, if not our name in it.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    log::warn!("cannot sync {}: {e}", parent.display());
                }
                result => result.map_err(|e| Error::io("sync", parent, e))?,
            }
        }
        Ok(())
    }

    /// Whether there is nothing in the directory but what [`Layout::create`] puts there before the identity.
    fn check_unused(&self) -> Result<()> {
        let is_empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        let entries = fs::read_dir(&self.root).map_err(|e| Error::io("list", &self.root, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &self.root, e))?;
            let left_over = match entry.file_name().to_str() {
                Some("lock" | "synced" | "strata.json.new") => true,
                Some("packs" | "scratch") => is_empty(&entry.path()),
                _ => false,
            };
            if !left_over {
                return Err(Error::NotEmpty(self.root.clone()));
            }
        }
        Ok(())
    }

    /// Whether there is a store, be it damaged.
    pub fn look_for(&self) -> Result<()> {
        let path = self.identity();
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(()),
            Err(_) if self.has_packs() => Ok(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Error::NotAStore(self.root.clone()))
            }
            Err(e) => Err(Error::io("open", &path, e)),
        }
    }

    /// Whether there are packs.
    pub fn has_packs(&self) -> bool {
        let entries = fs::read_dir(self.packs());
        entries.is_ok_and(|entries| entries.flatten().any(|e| packs_of(&e.file_name()).is_some()))
    }

    /// Checks that the directories of the store are such, and its own.
    pub fn check_dirs(&self) -> Result<()> {
        for dir in [self.packs(), self.index(), self.scratch(), self.damaged(), self.dvc(), self.imports()] {
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
        match plain::read(&path, SMALL).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(LastSession::Closed),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(LastSession::PowerLoss),
            Err(e) => Err(Error::io("read", &path, e)),
            Ok(text) if text.trim() == CLOSED => Ok(LastSession::Closed),
            Ok(text) if self.uptime().as_deref() == Some(text.trim()) => Ok(LastSession::Killed),
            Ok(_) => Ok(LastSession::PowerLoss),
        }
    }

    /// Marks the store as open, durably, and says how the last session ended.
    ///
    /// # Errors
    /// Where it cannot be marked, of which nothing may be written to it.
    pub fn begin_session(&self) -> Result<LastSession> {
        let last = self.last_session()?;
        if last == LastSession::Closed {
            self.renew_session()?;
        }
        Ok(last)
    }

    /// Notes the present boot and mount in the marker; to be called once an index that a power loss may
    /// have torn is done with.
    pub fn renew_session(&self) -> Result<()> {
        self.write_marker(&self.uptime().unwrap_or_default(), true)
    }

    /// What stays the same for as long as the system's cache of the store's files does: the machine's boot,
    /// and the mount of the file system they are on, which a disk that was pulled out or failed, and came
    /// back, has a new one of. `None` where that cannot be told.
    fn uptime(&self) -> Option<String> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(format!("{} {}", boot.trim(), mount_of(&self.root)?))
    }

    /// Marks the store as closed in order: all that was written is durable, the index too.
    pub fn end_session(&self) -> Result<()> {
        self.write_marker(CLOSED, false)
    }

    /// Overwrites the marker. It is always as long, so that a full disk has room for it.
    fn write_marker(&self, text: &str, durably: bool) -> Result<()> {
        let path = self.marker();
        let write = || {
            let file = plain::open(&path, private_file().create(true).truncate(false))?;
            let text = format!("{text:<60}\n");
            file.write_all_at(text.as_bytes(), 0)?;
            if file.metadata()?.len() != text.len() as u64 {
                file.set_len(text.len() as u64)?;
            }
            if durably {
                file.sync_all()?;
                sync_dir(&self.root)?;
            }
            Ok(())
        };
        write().map_err(|e| Error::io("write", &path, e))
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

/// The number of the mount that `path` is on, which is never given out twice during a boot; from kernels
/// before 6.8 one that can be.
fn mount_of(path: &Path) -> Option<u64> {
    const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    [MNT_ID_UNIQUE, StatxFlags::MNT_ID].into_iter().find_map(|wanted| {
        let stat = statx(CWD, path, AtFlags::empty(), wanted).ok()?;
        (stat.stx_mask & wanted.bits() != 0).then_some(stat.stx_mnt_id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that did not end counts as killed, with the system's cache kept, only while machine and
    /// mount are the same: a disk can be pulled out, or its file system fail, while the machine runs on.
    #[test]
    fn another_boot_or_mount_counts_as_a_power_loss() {
        let dir = tempfile::TempDir::new().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(layout.begin_session().unwrap(), LastSession::Closed);
        assert_eq!(layout.begin_session().unwrap(), LastSession::Killed);
        let marker = fs::read_to_string(layout.marker()).unwrap();
        let (boot, mount) = marker.trim_end().split_once(' ').unwrap();
        for other in [format!("{boot} {mount}1\n"), format!("x{marker}"), boot.into(), String::new()] {
            fs::write(layout.marker(), other).unwrap();
            assert_eq!(layout.begin_session().unwrap(), LastSession::PowerLoss);
            layout.renew_session().unwrap();
            assert_eq!(layout.begin_session().unwrap(), LastSession::Killed);
        }
        layout.end_session().unwrap();
        assert_eq!(layout.begin_session().unwrap(), LastSession::Closed);
    }
}
