//! Mounting, unmounting, and telling the kernel what changed behind its back.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::thread;

use fuser::{BackgroundSession, Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use parking_lot::{Mutex, RwLock};
use rustix::mount::UnmountFlags;

use crate::dataset::{Invalid, in_shares};
use crate::model::{DatasetId, DatasetName, Ino, VersionNo};
use crate::view::FileSystem;

use super::adapter::Adapter;

/// Threads that serve the kernel's queue. Each request wakes another of them, which costs more than what
/// most requests do: copying in small files took 30 % longer with four threads than with two. What waits
/// for the disk has threads of its own.
const THREADS: usize = 2;

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Where; an existing directory.
    pub mountpoint: PathBuf,
    /// Whether users other than the mounting one may use it (their permissions are checked).
    pub allow_other: bool,
    /// Whether the kernel refuses all changes.
    pub read_only: bool,
    /// Whether the kernel runs no programs from it.
    pub no_exec: bool,
    /// Name of the source in the table of mounts.
    pub fs_name: String,
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    mountpoint: PathBuf,
    fs: Arc<FileSystem>,
    notifier: Notifier,
    /// Held shared by each request under way.
    gate: Arc<RwLock<()>>,
    session: Mutex<Option<BackgroundSession>>,
}

/// Mounts. Returns when the kernel has been answered and the mount can be used.
pub fn mount(fs: Arc<FileSystem>, options: &MountOptions) -> io::Result<Mount> {
    let gate = Arc::new(RwLock::new(()));
    let for_adapter = Arc::new(OnceLock::new());
    let adapter = Adapter::new(fs.clone(), gate.clone(), for_adapter.clone())?;
    let mut config = Config::default();
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    config.mount_options = vec![
        MountOption::FSName(options.fs_name.clone()),
        MountOption::Subtype("strata".into()),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    if options.no_exec {
        config.mount_options.push(MountOption::NoExec);
    }
    let session = Session::new(adapter, &options.mountpoint, &config)?;
    let notifier = session.notifier();
    for_adapter.get_or_init(|| notifier.clone());
    let session = Mutex::new(Some(session.spawn()?));
    Ok(Mount { mountpoint: options.mountpoint.clone(), fs, notifier, gate, session })
}

impl Mount {
    /// Tells the kernel to forget names and inodes that were changed by other means than through this
    /// mount. Nothing that was read before the change is cached after this returns. Must not be called
    /// from a request's handler.
    ///
    /// Name by name, which takes some microseconds for each: Linux 6.16 can let all names of a mount expire at once
    /// (`FUSE_NOTIFY_INC_EPOCH`), but then it also drops all pages of all files that are not open, of other datasets
    /// and of versions too, when they are next looked up.
    pub fn invalidate(&self, dataset: DatasetId, invalid: &Invalid) {
        // Requests under way may have read the old state and not answered yet: wait for them, lest
        // the kernel caches their answers after it was told.
        drop(self.gate.write());
        tell_each(&invalid.names, |(dir, name)| {
            let dir = INodeNo(self.fs.node_of(dataset, *dir).0);
            if let Err(error) = self.notifier.inval_entry(dir, name.as_os_str()) {
                log::debug!("kernel did not forget {name}: {error}");
            }
        });
        tell_each(&invalid.inodes, |ino| {
            let node = INodeNo(self.fs.node_of(dataset, *ino).0);
            if let Err(error) = self.notifier.inval_inode(node, 0, 0) {
                log::debug!("kernel did not forget inode {}: {error}", ino.0);
            }
        });
    }

    /// Makes the kernel forget the bytes of what versions recorded of files. Must not be called from a request's
    /// handler.
    pub fn forget_contents(&self, dataset: DatasetId, recorded: &[(VersionNo, Ino)]) {
        drop(self.gate.write());
        for (version, ino) in recorded {
            for node in self.fs.nodes_of_recorded(dataset, *version, *ino) {
                if let Err(error) = self.notifier.inval_inode(INodeNo(node.0), 0, 0) {
                    log::debug!("kernel did not forget inode {} of {version}: {error}", ino.0);
                }
            }
        }
    }

    /// Lets the kernel see a dataset that was made by other means than through this mount. Must not be called
    /// from a request's handler.
    pub fn dataset_made(&self, name: &DatasetName) {
        if !self.fs.note_dataset_made() {
            return;
        }
        drop(self.gate.write());
        let forgotten = self.notifier.inval_entry(INodeNo::ROOT, name.as_str().as_ref());
        if let Err(error) = forgotten.and_then(|()| self.notifier.inval_inode(INodeNo::ROOT, 0, 0)) {
            log::debug!("kernel did not see dataset {name}: {error}");
        }
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Unmounts: at once if nobody uses the mount, else as soon as the last user is done, while new
    /// ones find it gone already.
    pub fn unmount(&self) -> io::Result<()> {
        match unmount(&self.mountpoint, false) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                log::warn!("{} is in use: it goes away when its users are done", self.mountpoint.display());
                // Who waits for a text about a version may keep the daemon for long.
                self.fs.stop_texts();
                unmount(&self.mountpoint, true)
            }
            other => other,
        }
    }

    /// Waits until it is unmounted, from here or from outside.
    pub fn wait(&self) -> io::Result<()> {
        let Some(mut session) = self.session.lock().take() else { return Ok(()) };
        let none = thread::Builder::new().spawn(|| Ok(()))?;
        let serving = std::mem::replace(&mut session.guard, none);
        let ended =
            serving.join().unwrap_or_else(|_| Err(io::Error::other("the thread that serves panicked")));
        if ended.is_ok() {
            // A session that is dropped unmounts what is at its mountpoint, though itself it is unmounted already:
            // that would be what was mounted there since, or what waits below to mount it again (autofs).
            std::mem::forget(session);
        }
        ended
    }
}

/// Tells the kernel of each item of a set, on all processors: it is what takes time when very much is undone.
fn tell_each<T: Sync>(items: &BTreeSet<T>, tell: impl Fn(&T) + Sync) {
    let items: Vec<&T> = items.iter().collect();
    in_shares(&items, |share| share.iter().for_each(|item| tell(item)));
}

/// Unmounts what is mounted at `mountpoint`; `lazy`: even if it is in use. Whoever may not do so
/// directly does it by the set-user-id helper that comes with FUSE.
pub fn unmount(mountpoint: &Path, lazy: bool) -> io::Result<()> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => {
            let flags = if lazy { "-uz" } else { "-u" };
            let output = Command::new("fusermount3").arg(flags).arg("--").arg(mountpoint).output()?;
            if output.status.success() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if text.contains("busy") {
                return Err(io::Error::from_raw_os_error(libc::EBUSY));
            }
            Err(io::Error::other(text))
        }
        Err(error) => Err(error.into()),
    }
}
