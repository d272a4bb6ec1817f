//! Files of sorted records of 32 bytes, each followed by 8 bytes of its BLAKE3: looked up by their first
//! bytes where they lie, and merged with others into a new file, so that memory does not grow with them.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::store::error::{Error, Result};
use crate::store::layout::{private_file, sync_dir};
use crate::store::plain;

/// A record without its check.
pub type Record = [u8; 32];

const CHECK: usize = 8;
const STORED: usize = 32 + CHECK;

/// A file of sorted records.
#[derive(Debug)]
pub struct Sorted {
    file: File,
    path: PathBuf,
    count: u64,
}

impl Sorted {
    /// Opens the file; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Sorted>> {
        let file = match plain::open(path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let size = file.metadata().map_err(|e| Error::io("inspect", path, e))?.len();
        Ok(Some(Sorted { file, path: path.to_owned(), count: size / STORED as u64 }))
    }

    fn get(&self, number: u64) -> Result<Record> {
        let mut stored = [0; STORED];
        let read = self.file.read_exact_at(&mut stored, number * STORED as u64);
        read.map_err(|e| Error::io("read", &self.path, e))?;
        checked(&stored).ok_or_else(|| Error::Corrupt(format!("record {number} of {}", self.path.display())))
    }

    /// The number of the first record that does not sort before `prefix`.
    fn from(&self, prefix: &[u8]) -> Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?[..prefix.len()].cmp(prefix) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first record that begins with `prefix`.
    pub fn first(&self, prefix: &[u8]) -> Result<Option<Record>> {
        let at = self.from(prefix)?;
        let record = (at < self.count).then(|| self.get(at)).transpose()?;
        Ok(record.filter(|record| record.starts_with(prefix)))
    }

    /// All records that begin with `prefix`.
    pub fn all(&self, prefix: &[u8]) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        for at in self.from(prefix)?..self.count {
            match self.get(at)? {
                record if record.starts_with(prefix) => found.push(record),
                _ => break,
            }
        }
        Ok(found)
    }
}

/// Adds records to a file, durably and as a whole. Those of the file that are damaged are dropped.
pub fn merge(path: &Path, mut new: Vec<Record>) -> Result<()> {
    new.sort_unstable();
    new.dedup();
    let failed = |e| Error::io("write", path, e);
    let fresh = path.with_extension("new");
    let file = plain::open(&fresh, private_file().create(true).truncate(true)).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let mut put = |record: &Record| {
        let stored = out.write_all(record).and_then(|()| out.write_all(&check_of(record)));
        stored.map_err(failed)
    };
    let mut new = new.into_iter().peekable();
    if let Some(old) = Sorted::open(path)? {
        let mut last = None;
        let mut reader = BufReader::with_capacity(1 << 18, old.file);
        for _ in 0..old.count {
            let mut stored = [0; STORED];
            reader.read_exact(&mut stored).map_err(|e| Error::io("read", path, e))?;
            let Some(record) = checked(&stored).filter(|record| last < Some(*record)) else {
                log::warn!("{} has damaged records: they are dropped", path.display());
                continue;
            };
            while let Some(before) = new.next_if(|new| *new < record) {
                put(&before)?;
            }
            new.next_if_eq(&record);
            put(&record)?;
            last = Some(record);
        }
    }
    new.try_for_each(|record| put(&record))?;
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    path.parent().map_or(Ok(()), sync_dir).map_err(failed)
}

fn check_of(record: &Record) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&blake3::hash(record).as_bytes()[..CHECK]);
    check
}

fn checked(stored: &[u8; STORED]) -> Option<Record> {
    let (record, check) = stored.split_first_chunk::<32>()?;
    (check == check_of(record)).then_some(*record)
}
