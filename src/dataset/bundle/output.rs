//! Frames as they are written, with the checksum at their end.

use super::{HEADER, frame};
use crate::dataset::error::Result;

/// As many bytes are handed on at a time.
const BUFFER: usize = 256 << 10;

/// What takes the bytes of a bundle, at most 1 MiB at a time.
pub type Out<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// A bundle that is being written.
pub struct Output<'a> {
    out: Out<'a>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> Output<'a> {
    /// One that begins with `magic`.
    pub fn new(magic: &[u8], out: Out<'a>) -> Output<'a> {
        Output { out, buffer: magic.to_vec(), hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// Writes a frame.
    pub fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let mut header = [0; HEADER];
        header[0] = kind;
        header[1..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        self.buffer.extend(header);
        self.buffer.extend(payload);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.chunks(1 << 20).try_for_each(&mut *self.out)?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the end, and gives how many bytes it all is.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        let sum = *self.hasher.finalize().as_bytes();
        self.frame(frame::END, &sum)?;
        self.flush()?;
        Ok(self.bytes)
    }
}
