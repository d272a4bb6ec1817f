//! Records of one size, partitioned by their hash into a scratch file without a name.
//!
//! Each of the 256 partitions has a block in memory; full ones are written to the one file, and where they lie
//! is kept. A table that fits into the blocks never touches the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use crate::store::scratch::unnamed;

/// Partitions: one for each value of a byte of the hash.
pub const PARTITIONS: usize = 256;
/// Bytes of a block, at most.
const BLOCK: usize = 16 << 10;

/// Bytes of a hash that records begin with.
pub const HASH: usize = 16;

/// Records, partitioned by one of the bytes of their hash.
pub struct Spill {
    dir: PathBuf,
    file: Option<File>,
    end: u64,
    /// Bytes of a record.
    size: usize,
    /// Which byte of the hash tells the partition.
    level: usize,
    parts: Vec<Part>,
}

#[derive(Clone, Default)]
struct Part {
    block: Vec<u8>,
    /// Where the blocks that were written lie, and how long they are.
    written: Vec<(u64, u32)>,
}

impl Spill {
    /// Of records of `size` bytes, [`HASH`] at least, that are partitioned by byte `level` of their hash; what
    /// memory does not hold goes to `dir`.
    pub fn new(dir: &Path, size: usize, level: usize) -> Spill {
        let parts = vec![Part::default(); PARTITIONS];
        Spill { dir: dir.to_owned(), file: None, end: 0, size, level, parts }
    }

    /// Which byte of the hash tells the partition.
    pub fn level(&self) -> usize {
        self.level
    }

    /// How many records a partition has.
    pub fn count(&self, partition: usize) -> usize {
        let part = &self.parts[partition];
        let written: usize = part.written.iter().map(|(_, len)| *len as usize).sum();
        (written + part.block.len()) / self.size
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        debug_assert_eq!(record.len(), self.size);
        let part = &mut self.parts[usize::from(record[self.level])];
        if !part.block.is_empty() && part.block.len() + record.len() > BLOCK {
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(unnamed(&self.dir)?),
            };
            file.write_all_at(&part.block, self.end).map_err(|e| failed(&self.dir, e))?;
            part.written.push((self.end, part.block.len() as u32));
            self.end += part.block.len() as u64;
            part.block.clear();
        }
        part.block.extend_from_slice(record);
        Ok(())
    }

    /// Hands out the records of a partition, in the order in which they were added.
    pub fn each(&self, partition: usize, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let part = &self.parts[partition];
        let mut block = Vec::new();
        for (at, len) in &part.written {
            let Some(file) = &self.file else { break };
            block.resize(*len as usize, 0);
            file.read_exact_at(&mut block, *at).map_err(|e| failed(&self.dir, e))?;
            block.chunks_exact(self.size).try_for_each(&mut take)?;
        }
        part.block.chunks_exact(self.size).try_for_each(take)
    }

    /// The records of a partition, partitioned by the next byte of their hash.
    pub fn finer(&self, partition: usize) -> Result<Spill> {
        let mut finer = Spill::new(&self.dir, self.size, self.level + 1);
        self.each(partition, |record| finer.push(record))?;
        Ok(finer)
    }
}

fn failed(dir: &Path, source: std::io::Error) -> Error {
    Error::Scratch { dir: dir.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_by_partition() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path(), 24, 0);
        for n in 0..300_000_u64 {
            let mut record = blake3::hash(&n.to_le_bytes()).as_bytes()[..16].to_vec();
            record.extend(n.to_le_bytes());
            spill.push(&record).unwrap();
        }
        assert!(spill.end > 1 << 20, "some went to the disk");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "without a name");
        let mut seen = 0;
        for partition in 0..PARTITIONS {
            let (mut last, mut here) = (None, 0);
            spill
                .each(partition, |record| {
                    let n = u64::from_le_bytes(record[16..].try_into().unwrap());
                    assert_eq!(record[..16], blake3::hash(&n.to_le_bytes()).as_bytes()[..16]);
                    assert!(usize::from(record[0]) == partition && last < Some(n));
                    last = Some(n);
                    here += 1;
                    Ok(())
                })
                .unwrap();
            let (finer, mut again) = (spill.finer(partition).unwrap(), 0);
            for part in 0..PARTITIONS {
                let count = |record: &[u8]| {
                    again += 1;
                    assert_eq!(usize::from(record[1]), part);
                    Ok(())
                };
                finer.each(part, count).unwrap();
            }
            assert_eq!(here, again);
            seen += here;
        }
        assert_eq!(seen, 300_000);
    }

    #[test]
    fn scratch_that_cannot_be_had_is_named() {
        let mut spill = Spill::new(Path::new("/nonexistent/dir"), 16, 0);
        let filled = (0..2000).try_for_each(|_| spill.push(&[0; 16]));
        assert!(filled.unwrap_err().to_string().contains("/nonexistent/dir"));
    }
}
