//! The bytes of a table, wherever they are.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// Bytes that can be read at any place and do not change.
pub trait Bytes: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// Reads some at `offset` into `out`; gives how many, 0 at the end alone.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
}

impl Bytes for File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |meta| meta.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, out, offset)
    }
}

impl Bytes for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Fills `out` from `offset` on as far as there are bytes; gives how many there were.
pub(super) fn fill(bytes: &dyn Bytes, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match bytes.read_at(offset + filled as u64, &mut out[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Reads bytes one after another, by blocks.
pub(super) struct Stream {
    bytes: Arc<dyn Bytes>,
    block: Vec<u8>,
    /// Where in the block reading is.
    at: usize,
    /// Where the bytes after the block are.
    next: u64,
}

impl Stream {
    /// From `offset` on.
    pub fn new(bytes: Arc<dyn Bytes>, offset: u64) -> Stream {
        Stream { bytes, block: Vec::new(), at: 0, next: offset }
    }

    /// From the start on, but for a mark that says that what follows is UTF-8.
    pub fn after_mark(bytes: Arc<dyn Bytes>) -> io::Result<Stream> {
        let mut start = [0; 3];
        let read = fill(&*bytes, 0, &mut start)?;
        let skip = if start[..read] == *b"\xef\xbb\xbf" { 3 } else { 0 };
        Ok(Stream::new(bytes, skip))
    }

    /// The next byte, without passing over it.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.fill_buf()?.first().copied())
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.block.len() {
            self.block.resize(BLOCK, 0);
            let read = self.bytes.read_at(self.next, &mut self.block);
            self.block.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            self.next += read? as u64;
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.block.len());
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = there.len().min(out.len());
        out[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}
