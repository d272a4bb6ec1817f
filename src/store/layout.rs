//! The directory of a store: its identity, its lock, and whether it was last left in order.
//!
//! ```text
//! strata.json  {"format":1,"id":"<32 hexadecimal digits>"}
//! lock         locked while open; holds the pid of the process that has it
//! open         while open, the machine's boot id and the mount of the file system; "closed" after a clean
//!              close
//! synced       how far the log is known to be durable (see `pack`)
//! packs/       the log (see `pack`)
//! index/       rebuilt from the packs where it is missing or in doubt (see `index`)
//! scratch/     content of files being written; emptied on open
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// What the marker says of a store that was closed in order.
const CLOSED: &str = "closed";

/// The format of stores written by this release, and the newest it reads.
pub const FORMAT: u32 = 1;

/// A store's identity: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for StoreId {
    type Error = String;
    fn try_from(s: String) -> Result<StoreId, String> {
        let digits = s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u128::from_str_radix(&s, 16).ok().filter(|_| digits);
        value.map(|v| StoreId(v.to_be_bytes())).ok_or_else(|| format!("'{s}' is not a store id"))
    }
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    id: StoreId,
}

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

    fn identity(&self) -> PathBuf {
        self.root.join("strata.json")
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
        for dir in [self.packs(), self.scratch()] {
            make_dir(&dir, true)?;
        }
        let id = random_id()?;
        // The identity comes last: a directory with one is a whole store.
        self.write_identity(id).map_err(|e| Error::io("write", &self.identity(), e))?;
        Ok(id)
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
                Some("lock" | "strata.json.new") => true,
                Some("packs" | "scratch") => is_empty(&entry.path()),
                _ => false,
            };
            if !left_over {
                return Err(Error::NotEmpty(self.root.clone()));
            }
        }
        Ok(())
    }

    fn write_identity(&self, id: StoreId) -> io::Result<()> {
        sync_dir(&self.root)?;
        let text = serde_json::to_string(&Identity { format: FORMAT, id })?;
        let temp = self.root.join("strata.json.new");
        let mut file = private_file().create(true).truncate(true).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temp, self.identity())?;
        sync_dir(&self.root)
    }

    /// Reads the store's identity.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none, [`Error::NewerFormat`] where it is too new.
    pub fn read_identity(&self) -> Result<StoreId> {
        let path = self.identity();
        let text = fs::read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotAStore(self.root.clone()),
            _ => Error::io("read", &path, e),
        })?;
        // The format is looked at first: a newer one may have other fields.
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| Error::Corrupt(format!("{}: {e}", path.display())))?;
        let found = value.get("format").and_then(|f| f.as_u64()).unwrap_or(0);
        if found > u64::from(FORMAT) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Error::NewerFormat { path: self.root.clone(), found, supported: FORMAT });
        }
        let identity: Identity =
            serde_json::from_value(value).map_err(|e| Error::Corrupt(format!("{}: {e}", path.display())))?;
        Ok(identity.id)
    }

    /// Takes the store for this process until the file is dropped.
    ///
    /// # Errors
    /// [`Error::InUse`] where another has it.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let io = |e| Error::io("lock", &path, e);
        let mut file = private_file().read(true).create(true).open(&path).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(io)?;
                let pid = text.trim().parse().unwrap_or(0);
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

    /// Marks the store as open, durably, and says how the last session ended.
    ///
    /// # Errors
    /// Where it cannot be marked, of which nothing may be written to it.
    pub fn begin_session(&self) -> Result<LastSession> {
        let path = self.marker();
        let uptime = self.uptime();
        let last = match fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => LastSession::Closed,
            Err(e) => return Err(Error::io("read", &path, e)),
            Ok(text) if text.trim() == CLOSED => LastSession::Closed,
            Ok(text) if uptime.as_deref() == Some(text.trim()) => return Ok(LastSession::Killed),
            Ok(_) => LastSession::PowerLoss,
        };
        if last == LastSession::Closed {
            self.write_marker(&uptime.unwrap_or_default(), true)?;
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
            let file = private_file().create(true).truncate(false).open(&path)?;
            file.write_all_at(format!("{text:<60}\n").as_bytes(), 0)?;
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
        make_dir(&dir, true)?;
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

/// The number of the mount that `path` is on, which is never given out twice during a boot; from kernels
/// before 6.8 one that can be.
fn mount_of(path: &Path) -> Option<u64> {
    const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    [MNT_ID_UNIQUE, StatxFlags::MNT_ID].into_iter().find_map(|wanted| {
        let stat = statx(CWD, path, AtFlags::empty(), wanted).ok()?;
        (stat.stx_mask & wanted.bits() != 0).then_some(stat.stx_mnt_id)
    })
}

fn random_id() -> Result<StoreId> {
    let path = Path::new("/dev/urandom");
    let mut id = [0; 16];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut id));
    read.map_err(|e| Error::io("read", path, e))?;
    Ok(StoreId(id))
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
