//! Checksums in the form that sha256sum(1) writes and checks.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::dataset::error::Result;
use crate::model::hash::hex;
use crate::store::Error;
use crate::store::scratch::unnamed;

/// As many bytes stay in memory.
const MEMORY: usize = 1 << 20;

/// Lines of checksums, beyond some in a file without a name: there is one for each file of a dataset.
pub struct Sums {
    dir: PathBuf,
    lines: Vec<u8>,
    spilled: Option<std::fs::File>,
    len: u64,
}

impl Sums {
    /// None yet; scratch files are made in `dir`.
    pub fn new(dir: &Path) -> Sums {
        Sums { dir: dir.to_owned(), lines: Vec::new(), spilled: None, len: 0 }
    }

    /// Adds a file.
    pub fn push(&mut self, sum: &[u8; 32], path: &[u8]) -> Result<()> {
        let line = sum_line(&hex(sum), path);
        self.len += line.len() as u64;
        self.lines.extend(line);
        if self.lines.len() > MEMORY {
            let file = match &mut self.spilled {
                Some(file) => file,
                None => self.spilled.insert(unnamed(&self.dir)?),
            };
            let written = file.write_all(&self.lines);
            written.map_err(|e| Error::io("write checksums to", &self.dir, e))?;
            self.lines.clear();
        }
        Ok(())
    }

    /// Bytes of all lines.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Gives `each` all lines, some at a time.
    pub fn give(mut self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Some(mut file) = self.spilled.take() {
            let failed = |e: io::Error| Error::io("read checksums from", &self.dir, e);
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut buffer = vec![0; MEMORY];
            loop {
                match file.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    read => each(&buffer[..read])?,
                }
            }
        }
        each(&self.lines)
    }
}

/// A line as sha256sum(1) writes it: with a backslash before it where the name has one, or an end of line, in it.
pub fn sum_line(digest: &str, path: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    if path.iter().any(|b| b"\\\n\r".contains(b)) {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.as_bytes());
    line.extend_from_slice(b"  ");
    if path == b"-" {
        // That alone would mean standard input.
        line.extend_from_slice(b"./");
    }
    for byte in path {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_come_out_as_they_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sums, mut expected) = (Sums::new(dir.path()), Vec::<u8>::new());
        for n in 0..30_000 {
            let path = format!("dir/{n}\n");
            sums.push(&[n as u8; 32], path.as_bytes()).unwrap();
            expected.extend(sum_line(&hex(&[n as u8; 32]), path.as_bytes()));
        }
        assert_eq!(sums.len(), expected.len() as u64);
        let mut given = Vec::<u8>::new();
        sums.give(&mut |bytes| {
            given.extend(bytes);
            Ok(())
        })
        .unwrap();
        assert!(given == expected);
    }

    #[test]
    fn odd_names_are_escaped_as_sha256sum_does() {
        for (path, line) in [
            (&b"a b"[..], &b"d  a b\n"[..]),
            (b"-", b"d  ./-\n"),
            (b"a\nb\\", b"\\d  a\\nb\\\\\n"),
            (b"\r\xff", b"\\d  \\r\xff\n"),
        ] {
            assert_eq!(sum_line("d", path), line);
        }
    }
}
