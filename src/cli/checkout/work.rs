//! The directory beside a target in which what is to be there is made, to be moved as a whole.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};

use crate::daemon::Failure;
use crate::daemon::pointer::Pointer;

use super::is_content;

/// Where something is to be put.
pub struct Target(PathBuf);

impl Target {
    /// A place that the pointer `file` and the store are not part of, and that is no part of the store.
    pub fn new(target: &Path, file: &Path, store: &Path) -> Result<Target, Failure> {
        let parent = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{} cannot be replaced: name another target",
                target.display()
            )));
        };
        let parent = parent.canonicalize();
        let target = parent.map_err(|e| failed(target, &e))?.join(name);
        let within = |path: io::Result<PathBuf>| path.is_ok_and(|path| path.starts_with(&target));
        if within(file.canonicalize()) || within(std::env::current_dir()) {
            return Err(Failure::usage(format!(
                "{} holds the pointer or is where you are: name another target",
                target.display()
            )));
        }
        let in_store = store.canonicalize().is_ok_and(|store| target.starts_with(store));
        if in_store || within(store.canonicalize()) {
            return Err(Failure::usage(format!(
                "{} is, holds or is in the store: name another target",
                target.display()
            )));
        }
        Ok(Target(target))
    }

    /// Whether there is what the pointer points to.
    pub fn is(&self, pointer: &Pointer) -> Result<bool, Failure> {
        match fs::symlink_metadata(&self.0) {
            Ok(meta) if meta.is_dir() || meta.is_file() => is_content(&self.0, pointer),
            _ => Ok(false),
        }
    }

    /// Whether there is a symbolic link to this.
    pub fn is_link(&self, to: &Path) -> bool {
        fs::read_link(&self.0).is_ok_and(|there| there == to)
    }

    /// Refuses to go on where there is something else.
    pub fn may_replace(&self, force: bool) -> Result<(), Failure> {
        match fs::symlink_metadata(&self.0) {
            // Putting a file in the place of /dev/null would harm all there is.
            Ok(meta) if !(meta.is_dir() || meta.is_file() || meta.is_symlink()) => {
                let what = format!("{} is neither a directory nor an ordinary file", self.0.display());
                Err(Failure::new(what).hint("name another target"))
            }
            Ok(_) if !force => {
                Err(Failure::new(format!("{} is there already, and differs", self.0.display()))
                    .hint("--force replaces it"))
            }
            _ => Ok(()),
        }
    }
}

/// A directory beside a target that is this process's own as long as this is.
pub struct Work<'a> {
    target: &'a Target,
    dir: PathBuf,
    lock: File,
}

impl Work<'_> {
    /// Makes the directory. What was left of an attempt that was broken off is removed.
    pub fn begin(target: &Target) -> Result<Work<'_>, Failure> {
        // Of a length that every name leaves room for.
        let hash = blake3::hash(target.0.file_name().unwrap_or_default().as_bytes()).to_hex();
        let dir = target.0.with_file_name(format!(".strata-checkout-{}", &hash[..16]));
        let lock = lock(&dir).map_err(|e| failed(&target.0, &e))?.ok_or_else(|| {
            Failure::new(format!("another checkout to {} is under way", target.0.display()))
                .hint("wait for it to end")
        })?;
        let work = Work { target, dir, lock };
        for left in [work.content(), work.old()] {
            remove(&left).map_err(|e| work.failed(&e))?;
        }
        Ok(work)
    }

    /// Where the content is made.
    pub fn content(&self) -> PathBuf {
        self.dir.join("content")
    }

    /// Where what it replaces goes.
    fn old(&self) -> PathBuf {
        self.dir.join("old")
    }

    /// Whether what was made is what the pointer points to.
    pub fn holds(&self, pointer: &Pointer) -> Result<bool, Failure> {
        is_content(&self.content(), pointer)
    }

    /// Makes what was made durable.
    pub fn sync(&self) -> Result<(), Failure> {
        syncfs(&self.lock).map_err(|e| self.failed(&e.into()))
    }

    /// Puts what was made at the target.
    pub fn put(&self, force: bool) -> Result<(), Failure> {
        let (content, target) = (self.content(), &self.target.0);
        let free = renameat_with(CWD, &content, CWD, target, RenameFlags::NOREPLACE);
        match free {
            // Something came there meanwhile, or was there.
            Err(rustix::io::Errno::EXIST) => self.target.may_replace(force)?,
            // A file system that cannot tell.
            Err(rustix::io::Errno::INVAL) => {
                self.target.may_replace(force)?;
                if !target.exists() {
                    return fs::rename(&content, target).map_err(|e| self.failed(&e));
                }
            }
            other => return other.map_err(|e| self.failed(&e.into())),
        }
        match renameat_with(CWD, &content, CWD, target, RenameFlags::EXCHANGE) {
            Err(rustix::io::Errno::INVAL) => {
                let old = self.old();
                fs::rename(target, &old).map_err(|e| self.failed(&e))?;
                fs::rename(&content, target).map_err(|e| {
                    // Back again, if that can be: the first failure is the one to tell.
                    let _ = fs::rename(&old, target);
                    self.failed(&e)
                })
            }
            other => other.map_err(|e| self.failed(&e.into())),
        }
    }

    /// Puts a symbolic link at the target.
    pub fn link(&self, to: &Path, force: bool) -> Result<(), Failure> {
        symlink(to, self.content()).map_err(|e| self.failed(&e))?;
        self.put(force)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failed(&self.target.0, error)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next checkout.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Makes and takes a directory; `None` where another process has it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    loop {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let flags =
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let lock = match rustix::fs::open(dir, flags, rustix::fs::Mode::empty()) {
            // Another has just removed it.
            Err(rustix::io::Errno::NOENT) => continue,
            opened => File::from(opened?),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        let same = |meta: fs::Metadata| lock.metadata().is_ok_and(|mine| mine.ino() == meta.ino());
        if fs::symlink_metadata(dir).is_ok_and(same) {
            return Ok(Some(lock));
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn failed(target: &Path, error: &io::Error) -> Failure {
    Failure::because(format!("cannot check out to {}", target.display()), error)
}
