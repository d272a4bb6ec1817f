//! What the log asks of the disk, behind a trait so that tests can make it fail.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Size in bytes.
    pub total: u64,
    /// Free for an ordinary user, in bytes.
    pub free: u64,
}

/// System calls of the log's writing side.
pub trait Media: Send + Sync {
    /// As pwritev(2): may write less than asked.
    fn write_at(&self, file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// As fdatasync(2).
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Room on the file system of `path`.
    fn room(&self, path: &Path) -> io::Result<Room>;
}

/// The disk itself.
#[derive(Debug)]
pub struct Disk;

impl Media for Disk {
    fn write_at(&self, file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, bufs, offset)?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Room {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// Writes all of `bufs` at `offset`.
pub fn write_all_at(
    media: &dyn Media,
    file: &File,
    mut bufs: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    /// Most buffers Linux takes in one call.
    const IOV_MAX: usize = 1024;
    while !bufs.is_empty() {
        let part = &bufs[..bufs.len().min(IOV_MAX)];
        match media.write_at(file, part, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                IoSlice::advance_slices(&mut bufs, n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
