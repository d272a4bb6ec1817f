//! What packs are read from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that can be read anywhere.
pub trait ReadAt {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `out` from byte `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where there are not as many.
    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(out, at)
    }
}

impl<R: ReadAt> ReadAt for &R {
    fn size(&self) -> io::Result<u64> {
        R::size(self)
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        R::fill_at(self, out, at)
    }
}

impl<R: ReadAt> ReadAt for Arc<R> {
    fn size(&self) -> io::Result<u64> {
        R::size(self)
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        R::fill_at(self, out, at)
    }
}

/// Reads from a place on, up to an end.
#[derive(Debug)]
pub struct Cursor<R> {
    of: R,
    at: u64,
    end: u64,
}

impl<R: ReadAt> Cursor<R> {
    /// Reads `of` from its beginning to what its end now is.
    pub fn new(of: R) -> io::Result<Cursor<R>> {
        let end = of.size()?;
        Ok(Cursor { of, at: 0, end })
    }

    /// What it reads.
    pub fn of(&self) -> &R {
        &self.of
    }
}

impl<R: ReadAt> Read for Cursor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.end.saturating_sub(self.at).min(out.len() as u64) as usize;
        self.of.fill_at(&mut out[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<R: ReadAt> Seek for Cursor<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
