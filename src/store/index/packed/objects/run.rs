//! A file of objects in the order of their hashes, written once.
//!
//! ```text
//! blocks    4096 bytes each: number of entries (1 byte), entries, zeros, check (8 bytes)
//! fences    of each block, the first 8 bytes of its first hash
//! filter    see `filter`
//! trailer   magic (8 bytes), number of entries, of blocks, of bytes of the filter (8 bytes each), check (16 bytes)
//! entry     hash (32 bytes), length of the value (1 byte: 0 or 17), value (17 bytes)
//! ```
//!
//! A check is the start of the BLAKE3 hash of what is before it: of the block's number and its bytes, or of all from the
//! fences on. Fences and filter stay in memory, 11 bits for each entry; a look-up reads one block.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::filter::Filter;
use crate::store::error::{Error, Result};
use crate::store::index::backing::failed;
use crate::store::layout::private_file;
use crate::store::pack::Pos;
use crate::store::plain;

const MAGIC: [u8; 8] = *b"objects1";
const HASH: usize = 32;
/// Bytes of an entry.
const ENTRY: usize = HASH + 1 + Pos::BYTES;
/// Entries in a block, at most.
const EACH: usize = if cfg!(test) { 3 } else { (BLOCK - 1 - CHECK) / ENTRY };
/// Bytes of a block.
const BLOCK: usize = 4096;
/// Bytes of a block's check.
const CHECK: usize = 8;
/// Bytes of the trailer, and of the check at its end.
const TRAILER: usize = 48;
const TRAILER_CHECK: usize = 16;

/// What the index has of an object: its hash, and where it lies, or that it was reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry([u8; ENTRY]);

impl Entry {
    /// Of an object with this hash and value; `None` where the value has no such form.
    pub fn new(hash: &[u8], value: &[u8]) -> Option<Entry> {
        if hash.len() != HASH || !(value.is_empty() || value.len() == Pos::BYTES) {
            return None;
        }
        let mut entry = [0; ENTRY];
        entry[..HASH].copy_from_slice(hash);
        entry[HASH] = value.len() as u8;
        entry[HASH + 1..][..value.len()].copy_from_slice(value);
        Some(Entry(entry))
    }

    /// The object's hash.
    pub fn hash(&self) -> &[u8; HASH] {
        self.0.first_chunk().expect("an entry is longer than a hash")
    }

    /// The value of its key.
    pub fn value(&self) -> &[u8] {
        let length = usize::from(self.0[HASH]).min(Pos::BYTES);
        &self.0[HASH + 1..][..length]
    }
}

/// An open run.
#[derive(Debug)]
pub struct Run {
    /// Which it is of those of an index.
    pub number: u64,
    /// How many entries it has.
    pub count: u64,
    file: File,
    fences: Vec<u64>,
    filter: Filter,
}

impl Run {
    /// Writes the run `number` of up to `most` entries, which come in the order of their hashes, and makes its content
    /// durable, not its name.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where there is no room; nothing is left of it where it fails.
    pub fn write(
        dir: &Path,
        number: u64,
        most: u64,
        entries: impl Iterator<Item = Result<Entry>>,
    ) -> Result<Run> {
        let path = dir.join(number.to_string());
        let write_failed = |e| unwritten(Error::io("write", &path, e));
        let written = Writer::new(&path, most).and_then(|mut writer| {
            for entry in entries {
                writer.add(entry?).map_err(write_failed)?;
            }
            writer.finish(number).map_err(write_failed)
        });
        if written.is_err() {
            // What is left would be removed when the index is opened next.
            drop(std::fs::remove_file(&path));
        }
        written
    }

    /// Opens the run `number` in `dir`.
    ///
    /// # Errors
    /// [`Error::Index`] where it is not there or not what was written.
    pub fn open(dir: &Path, number: u64) -> Result<Run> {
        let path = dir.join(number.to_string());
        let read = || -> io::Result<Option<Run>> {
            let file = plain::open(&path, OpenOptions::new().read(true))?;
            Run::read(file, number)
        };
        read()
            .map_err(|e| failed(&path, "open", &e))?
            .ok_or_else(|| Error::Index(format!("{} is damaged", path.display())))
    }

    fn read(file: File, number: u64) -> io::Result<Option<Run>> {
        let length = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        let Some(end) = length.checked_sub(TRAILER as u64) else { return Ok(None) };
        file.read_exact_at(&mut trailer, end)?;
        let word =
            |nth: usize| trailer[nth * 8..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let (count, blocks, filter) = (word(1), word(2), word(3));
        let fences = blocks.checked_mul(8);
        let tail = fences.and_then(|fences| fences.checked_add(filter)).filter(|tail| *tail <= end);
        let all = tail.and_then(|tail| blocks.checked_mul(BLOCK as u64)?.checked_add(tail));
        let Some(tail) = tail.filter(|_| all == Some(end) && trailer[..8] == MAGIC) else { return Ok(None) };
        let mut bytes = vec![0; tail as usize];
        file.read_exact_at(&mut bytes, end - tail)?;
        if tail_check(&bytes, &trailer)[..] != trailer[TRAILER - TRAILER_CHECK..] {
            return Ok(None);
        }
        let (fences, filter) = bytes.split_at(blocks as usize * 8);
        let fences = fences.as_chunks().0.iter().map(|fence| u64::from_be_bytes(*fence)).collect();
        Ok(Filter::from_bytes(filter).map(|filter| Run { number, count, file, fences, filter }))
    }

    /// What the run has of an object.
    pub fn get(&self, hash: &[u8; HASH]) -> Result<Option<Entry>> {
        if !self.filter.may_have(hash) {
            return Ok(None);
        }
        let fence = fence(hash);
        for nth in self.block_of(fence)..self.fences.len() {
            // Most often the hash is in the first of these, and always before one that begins after it.
            if self.fences[nth] > fence {
                break;
            }
            let block = self.block(nth)?;
            let entries = block.entries();
            if let Ok(at) = entries.binary_search_by(|entry| entry[..HASH].cmp(hash)) {
                return Ok(Some(Entry(entries[at])));
            }
        }
        Ok(None)
    }

    /// Walks the entries from the first whose hash is not before `start`.
    pub fn walk(&self, start: &[u8; HASH]) -> Walk<'_> {
        Walk { run: self, next: self.block_of(fence(start)), start: *start, block: None, at: 0 }
    }

    /// The first block that can have hashes with this fence.
    fn block_of(&self, fence: u64) -> usize {
        self.fences.partition_point(|other| *other < fence).saturating_sub(1)
    }

    fn block(&self, nth: usize) -> Result<Block> {
        let mut block = Block([0; BLOCK]);
        let damaged =
            |what: &str| Error::Index(format!("block {nth} of run {} of objects {what}", self.number));
        self.file
            .read_exact_at(&mut block.0, nth as u64 * BLOCK as u64)
            .map_err(|e| damaged(&format!("cannot be read: {e}")))?;
        block.is_whole(nth).then_some(block).ok_or_else(|| damaged("is damaged"))
    }
}

/// What a failure to write means: that there is no room, or that the index failed.
pub fn unwritten(e: Error) -> Error {
    match e {
        full @ Error::NoSpace(_) => full,
        other => Error::Index(crate::store::error::chain(&other)),
    }
}

fn fence(hash: &[u8; HASH]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// A block of entries.
struct Block([u8; BLOCK]);

impl Block {
    fn entries(&self) -> &[[u8; ENTRY]] {
        &self.0[1..].as_chunks().0[..usize::from(self.0[0])]
    }

    fn check(&self, nth: usize) -> [u8; CHECK] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(nth as u64).to_be_bytes()).update(&self.0[..BLOCK - CHECK]);
        let mut check = [0; CHECK];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
        check
    }

    fn is_whole(&self, nth: usize) -> bool {
        self.0[BLOCK - CHECK..] == self.check(nth) && (1..=EACH).contains(&self.0[0].into())
    }
}

fn tail_check(tail: &[u8], trailer: &[u8; TRAILER]) -> [u8; TRAILER_CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tail).update(&trailer[..TRAILER - TRAILER_CHECK]);
    let mut check = [0; TRAILER_CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..TRAILER_CHECK]);
    check
}

/// Walks the entries of a run.
pub struct Walk<'a> {
    run: &'a Run,
    /// The block after this one.
    next: usize,
    start: [u8; HASH],
    block: Option<Block>,
    /// Which entry of the block is next.
    at: usize,
}

impl Walk<'_> {
    /// The next entry.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.block.as_ref().and_then(|block| block.entries().get(self.at)) {
                self.at += 1;
                return Ok(Some(Entry(*entry)));
            }
            if self.next == self.run.fences.len() {
                return Ok(None);
            }
            let block = self.run.block(self.next)?;
            self.next += 1;
            self.at = block.entries().partition_point(|entry| entry[..HASH] < self.start[..]);
            self.block = Some(block);
        }
    }
}

/// Writes a run.
struct Writer {
    /// Read as well, once it is whole.
    file: BufWriter<File>,
    block: Block,
    count: u64,
    fences: Vec<u64>,
    filter: Filter,
}

impl Writer {
    fn new(path: &Path, most: u64) -> Result<Writer> {
        // One of that name was left by a process that died, or whose disk was full.
        drop(std::fs::remove_file(path));
        let file = private_file()
            .read(true)
            .create_new(true)
            .open(path)
            .map_err(|e| unwritten(Error::io("make", path, e)))?;
        Ok(Writer {
            file: BufWriter::with_capacity(16 * BLOCK, file),
            block: Block([0; BLOCK]),
            count: 0,
            fences: Vec::new(),
            filter: Filter::new(most),
        })
    }

    fn add(&mut self, entry: Entry) -> io::Result<()> {
        let in_block = usize::from(self.block.0[0]);
        if in_block == 0 {
            self.fences.push(fence(entry.hash()));
        }
        self.block.0[1 + in_block * ENTRY..][..ENTRY].copy_from_slice(&entry.0);
        self.block.0[0] += 1;
        self.filter.add(entry.hash());
        self.count += 1;
        if in_block + 1 == EACH { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let check = self.block.check(self.fences.len() - 1);
        self.block.0[BLOCK - CHECK..].copy_from_slice(&check);
        self.file.write_all(&self.block.0)?;
        self.block = Block([0; BLOCK]);
        Ok(())
    }

    fn finish(mut self, number: u64) -> io::Result<Run> {
        if self.block.0[0] > 0 {
            self.end_block()?;
        }
        let mut tail: Vec<u8> = self.fences.iter().flat_map(|fence| fence.to_be_bytes()).collect();
        let filter = self.filter.to_bytes();
        tail.extend_from_slice(&filter);
        let mut trailer = [0; TRAILER];
        trailer[..8].copy_from_slice(&MAGIC);
        let words = [self.count, self.fences.len() as u64, filter.len() as u64];
        for (slot, word) in trailer[8..].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_be_bytes());
        }
        let check = tail_check(&tail, &trailer);
        trailer[TRAILER - TRAILER_CHECK..].copy_from_slice(&check);
        self.file.write_all(&tail)?;
        self.file.write_all(&trailer)?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        Ok(Run { number, count: self.count, file, fences: self.fences, filter: self.filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        let value = if n.is_multiple_of(5) { &[][..] } else { &[n as u8; Pos::BYTES] };
        Entry::new(blake3::hash(&n.to_be_bytes()).as_bytes(), value).unwrap()
    }

    fn sorted(numbers: std::ops::Range<u32>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = numbers.map(entry).collect();
        entries.sort_by_key(|entry| *entry.hash());
        entries
    }

    fn walked(mut walk: Walk<'_>) -> Vec<Entry> {
        std::iter::from_fn(|| walk.next().unwrap()).collect()
    }

    #[test]
    fn a_run_has_what_was_written() {
        let dir = tempfile::TempDir::new().unwrap();
        for count in [1, 2, 3, 4, 100] {
            let entries = sorted(0..count);
            let written = Run::write(dir.path(), 7, 200, entries.iter().copied().map(Ok)).unwrap();
            for run in [written, Run::open(dir.path(), 7).unwrap()] {
                assert_eq!((run.number, run.count), (7, count.into()));
                assert!(entries.iter().all(|entry| run.get(entry.hash()).unwrap() == Some(*entry)));
                assert!((count..count + 500).all(|n| run.get(entry(n).hash()).unwrap().is_none()));
                for (nth, from) in entries.iter().enumerate() {
                    assert_eq!(walked(run.walk(from.hash())), entries[nth..]);
                    let mut after = *from.hash();
                    after[31] = after[31].wrapping_add(1).max(1);
                    assert_eq!(walked(run.walk(&after)), entries[nth + 1..]);
                }
                assert!(walked(run.walk(&[0xff; 32])).is_empty());
            }
        }
    }

    #[test]
    fn hashes_that_begin_alike_are_told_apart() {
        let dir = tempfile::TempDir::new().unwrap();
        let entries: Vec<Entry> = (0..20)
            .map(|n| Entry::new(&[&[7; 8][..], &[n; 24]].concat(), &[n; Pos::BYTES]).unwrap())
            .collect();
        let run = Run::write(dir.path(), 1, 20, entries.iter().copied().map(Ok)).unwrap();
        assert!(entries.iter().all(|entry| run.get(entry.hash()).unwrap() == Some(*entry)));
        assert_eq!(walked(run.walk(entries[11].hash())), entries[11..]);
    }

    #[test]
    fn a_damaged_run_says_nothing_wrong() {
        let dir = tempfile::TempDir::new().unwrap();
        let entries = sorted(0..40);
        drop(Run::write(dir.path(), 1, 40, entries.iter().copied().map(Ok)).unwrap());
        let path = dir.path().join("1");
        let whole = std::fs::read(&path).unwrap();
        let mut errors = 0;
        for at in (0..whole.len()).step_by(97).chain(whole.len() - 200..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let Ok(run) = Run::open(dir.path(), 1) else {
                errors += 1;
                continue;
            };
            for entry in &entries {
                match run.get(entry.hash()) {
                    Ok(found) => assert_eq!(found, Some(*entry), "byte {at}"),
                    Err(_) => errors += 1,
                }
            }
        }
        // Each of the blocks' bytes is of one entry's block, each of those after them of all.
        assert!(errors > 500, "{errors}");
        for length in [0, 47, 48, 4096, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Run::open(dir.path(), 1).is_err());
        }
        std::fs::write(&path, [&whole[4096..], &whole[..4096]].concat()).unwrap();
        assert!(Run::open(dir.path(), 1).is_err());
    }
}
