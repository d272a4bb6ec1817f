//! Files outside of any store: reached however long their path is, and told apart.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::model::Kind;

/// Longest path that is given to the kernel as it is: PATH_MAX, but for the NUL and what stands before the
/// rest of a longer one.
const PATH_MAX: usize = 4095 - 32;

/// A path that the kernel takes, for one of any length.
#[derive(Debug)]
pub struct Reach<'a> {
    path: Cow<'a, Path>,
    /// The directory that the path starts from, if not where `path` does.
    _from: Option<OwnedFd>,
}

impl<'a> Reach<'a> {
    /// Opens directories on the way, as far as needed.
    pub fn new(path: &'a Path) -> io::Result<Reach<'a>> {
        if path.as_os_str().len() <= PATH_MAX {
            return Ok(Reach { path: path.into(), _from: None });
        }
        let (mut from, mut rest) = (None, PathBuf::new());
        for part in path.components() {
            if rest.as_os_str().len() + 1 + part.as_os_str().len() > PATH_MAX {
                from = Some(step(from.as_ref().map_or(CWD, AsFd::as_fd), &rest)?);
                rest.clear();
            }
            rest.push(part);
        }
        let Some(from) = from else { return Ok(Reach { path: rest.into(), _from: None }) };
        let path = Path::new("/proc/self/fd").join(from.as_raw_fd().to_string()).join(rest);
        Ok(Reach { path: path.into(), _from: Some(from) })
    }

    /// The path, good as long as this is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn step(from: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(from, path, flags, Mode::empty())?)
}

/// What a file is.
pub fn kind_of(meta: &Metadata) -> Kind {
    let kind = meta.file_type();
    if kind.is_dir() {
        Kind::Dir
    } else if kind.is_symlink() {
        Kind::Symlink
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else if kind.is_char_device() {
        Kind::CharDevice
    } else if kind.is_block_device() {
        Kind::BlockDevice
    } else {
        Kind::File
    }
}

/// A device number in the 32 bits that the kernel gives it.
pub fn device_of(meta: &Metadata) -> u32 {
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
