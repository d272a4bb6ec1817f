//! A generated text of any length: in memory while it is short, else in a file without a name.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::store::scratch::unnamed;

/// Bytes of a text kept in memory.
const IN_MEMORY: usize = 256 << 10;

/// A generated text.
#[derive(Debug)]
pub enum Text {
    /// A short one.
    Memory(Vec<u8>),
    /// A long one, and its length.
    File(File, u64),
}

impl Text {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Text::Memory(bytes) => bytes.len() as u64,
            Text::File(_, len) => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads at `offset` into `out`; gives the number of bytes, fewer than asked for only at the end.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = self.len().saturating_sub(offset).min(out.len() as u64) as usize;
        match self {
            Text::Memory(bytes) if rest > 0 => {
                let from = offset as usize;
                out[..rest].copy_from_slice(&bytes[from..from + rest]);
            }
            Text::Memory(_) => {}
            Text::File(file, _) => file.read_exact_at(&mut out[..rest], offset)?,
        }
        Ok(rest)
    }
}

/// A text that is being written.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
    len: u64,
}

impl Spool {
    /// An empty one; a file of it would be in `dir`.
    pub fn new(dir: &Path) -> Spool {
        Spool { dir: dir.to_owned(), memory: Vec::new(), file: None, len: 0 }
    }

    /// What was written.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(self) -> io::Result<Text> {
        match self.file {
            Some(file) => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Ok(Text::File(file, self.len))
            }
            None => Ok(Text::Memory(self.memory)),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        } else {
            self.memory.extend_from_slice(bytes);
            if self.memory.len() > IN_MEMORY {
                let file = unnamed(&self.dir).map_err(io::Error::other)?;
                let mut file = BufWriter::new(file);
                file.write_all(&std::mem::take(&mut self.memory))?;
                self.file = Some(file);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 10, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut spool = Spool::new(dir.path());
            bytes.chunks(1000).for_each(|part| spool.write_all(part).unwrap());
            let text = spool.finish().unwrap();
            assert_eq!((text.len(), matches!(text, Text::File(..))), (len as u64, len > IN_MEMORY));
            let mut out = vec![0; len + 5];
            assert_eq!(text.read_at(0, &mut out).unwrap(), len);
            assert_eq!(out[..len], bytes[..]);
            assert_eq!(text.read_at(len as u64 + 1, &mut out).unwrap(), 0);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
