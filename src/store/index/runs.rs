//! The keys of hashes on disk. They come in no order, and single ones cost sled a page each; so those of a
//! generation are written as a sorted run, in blocks, and runs are merged as there come to be many.
//!
//! A run of level n is merged of [`FAN`] of level n - 1, so that each key is written, and each look-up asks,
//! a number of times that grows with the logarithm of all. The new run is written whole before those it is
//! made of are removed, and a key that several runs hold counts once: what a crash leaves of a merge does no harm.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;

use super::keys::{self, HASH_PREFIX, HashKey, Key};
use crate::model::codec;
use crate::store::error::{Error, Result};

/// First byte of a block's key: beyond all other keys of the index.
const TAG: u8 = 0xff;
/// As many runs of a level become one of the next.
const FAN: usize = if cfg!(test) { 2 } else { 4 };
/// Most keys in a block: sled is slow with values of over 4 KiB.
const BLOCK: usize = if cfg!(test) { 4 } else { 128 };

/// The key of a block, and what is in it.
pub type Block = (Box<[u8]>, Box<[u8]>);

/// Keeps blocks in the order of their keys.
pub trait Blocks {
    /// The first block from `start` up to `end`.
    fn first_block(&self, start: &[u8], end: &[u8]) -> Result<Option<Block>>;
    /// The last block from `start` up to `end`.
    fn last_block(&self, start: &[u8], end: &[u8]) -> Result<Option<Block>>;
    /// Sets a block.
    fn put_block(&self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Removes a block.
    fn remove_block(&self, key: &[u8]) -> Result<()>;
}

/// Which run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    level: u8,
    number: u32,
}

impl Run {
    /// The key of its block that begins with a key of a hash (here without its first byte, or the start of one).
    fn block(self, first: &[u8]) -> Key {
        [&[TAG, self.level][..], &self.number.to_be_bytes(), first].concat()
    }

    fn of(block: &[u8]) -> Result<Run> {
        let run = block.get(1).zip(block.get(2..6).and_then(|number| number.first_chunk()));
        let run = run.map(|(level, number)| Run { level: *level, number: u32::from_be_bytes(*number) });
        run.ok_or_else(damaged)
    }

    fn end(self) -> Key {
        keys::after_prefix(&self.block(&[]))
    }
}

/// The runs there are.
#[derive(Debug, Default)]
pub struct Runs {
    /// Held while blocks are read: those of a run on this list are all there.
    list: RwLock<Vec<Run>>,
    next: AtomicU32,
}

impl Runs {
    /// The runs in `blocks`.
    pub fn load(blocks: &impl Blocks) -> Result<Runs> {
        let (mut list, mut start) = (Vec::new(), vec![TAG]);
        while let Some((key, _)) = blocks.first_block(&start, &[TAG; 8])? {
            let run = Run::of(&key)?;
            start = run.end();
            list.push(run);
        }
        let next = list.iter().map(|run| run.number.wrapping_add(1)).max().unwrap_or_default();
        Ok(Runs { list: RwLock::new(list), next: AtomicU32::new(next) })
    }

    /// Whether some run holds `key`.
    pub fn holds(&self, blocks: &impl Blocks, key: &HashKey) -> Result<bool> {
        for run in self.list.read().iter() {
            let end = [&run.block(&key[1..])[..], &[0]].concat();
            if let Some(block) = blocks.last_block(&run.block(&[]), &end)?
                && decode(&block)?.contains(key)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Up to `limit` keys from `start` up to `end`, in order.
    pub fn page(&self, blocks: &impl Blocks, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<HashKey>> {
        let hashes = keys::all_hashes();
        if end <= &*hashes || start >= &*keys::after_prefix(&hashes) {
            return Ok(Vec::new());
        }
        let start = start.max(&hashes);
        let list = self.list.read();
        let cursors = list.iter().map(|run| Cursor::new(blocks, *run, start)).collect::<Result<_>>()?;
        let mut merge = Merge { cursors };
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(key) = merge.next_key()?.filter(|key| key[..] < *end)
        {
            found.push(key);
        }
        Ok(found)
    }

    /// Adds a run of these keys, which are in order, merged with those there are already where they are many.
    /// One thread at a time does.
    pub fn add(&self, blocks: &impl Blocks, keys: Vec<HashKey>) -> Result<()> {
        let (mut level, mut merged) = (0, Vec::new());
        loop {
            let list = self.list.read();
            let mut here = list.iter().filter(|run| run.level == level);
            if here.clone().count() + 1 < FAN {
                break;
            }
            merged.extend(here.by_ref().copied());
            level += 1;
        }
        let run = Run { level, number: self.next.fetch_add(1, Ordering::Relaxed) };
        let first = Ok(Cursor { blocks, rest: None, ready: keys.into_iter().peekable() });
        let older = merged.iter().map(|run| Cursor::new(blocks, *run, &keys::all_hashes()));
        let cursors = std::iter::once(first).chain(older).collect::<Result<_>>()?;
        write(blocks, run, Merge { cursors })?;
        let mut list = self.list.write();
        list.retain(|run| !merged.contains(run));
        list.push(run);
        drop(list);
        for run in merged {
            let (mut start, end) = (run.block(&[]), run.end());
            while let Some((key, _)) = blocks.first_block(&start, &end)? {
                blocks.remove_block(&key)?;
                start = key.into();
            }
        }
        Ok(())
    }
}

fn write(blocks: &impl Blocks, run: Run, mut merge: Merge<'_, impl Blocks>) -> Result<()> {
    let mut block: Vec<HashKey> = Vec::new();
    loop {
        let next = merge.next_key()?;
        let full = |key: &HashKey| block.len() == BLOCK || block.first().is_some_and(|b| b[..5] != key[..5]);
        if next.as_ref().is_none_or(full)
            && let Some(first) = block.first()
        {
            blocks.put_block(&run.block(&first[1..]), &encode(&block))?;
            block.clear();
        }
        match next {
            Some(key) => block.push(key),
            None => return Ok(()),
        }
    }
}

/// What a block keeps of a key: all but its dataset, which the block's key tells.
type Kept = ([u8; HASH_PREFIX], u8, u64);

fn encode(block: &[HashKey]) -> Vec<u8> {
    let kept = block.iter().filter_map(|key| {
        let (hash, rest) = key[5..].split_first_chunk()?;
        Some((*hash, rest[0], keys::tail8(rest)?))
    });
    codec::encode::<Vec<Kept>>(&kept.collect())
}

fn decode((key, value): &Block) -> Result<Vec<HashKey>> {
    let kept: Vec<Kept> = codec::decode("block of hashes", value).map_err(|_| damaged())?;
    let dataset = key.get(6..10).ok_or_else(damaged)?;
    let whole = |(hash, tag, version): &Kept| {
        [&keys::all_hashes(), dataset, hash, &[*tag], &version.to_be_bytes()].concat()
    };
    kept.iter().map(|kept| keys::as_hash(&whole(kept)).ok_or_else(damaged)).collect()
}

fn damaged() -> Error {
    Error::Index("a block of hashes has no known form".into())
}

/// A place in a run.
struct Cursor<'a, B> {
    blocks: &'a B,
    /// Where its next block is, if there can be one.
    rest: Option<(Key, Key)>,
    ready: std::iter::Peekable<std::vec::IntoIter<HashKey>>,
}

impl<'a, B: Blocks> Cursor<'a, B> {
    /// In `run`, before the first key from `start` on.
    fn new(blocks: &'a B, run: Run, start: &[u8]) -> Result<Self> {
        let from = run.block(start.get(1..).unwrap_or_default());
        let before = blocks.last_block(&run.block(&[]), &from)?.map(|(key, _)| key.into());
        let rest = Some((before.unwrap_or(from), run.end()));
        let mut cursor = Cursor { blocks, rest, ready: Vec::new().into_iter().peekable() };
        while cursor.peek()?.is_some_and(|key| key[..] < *start) {
            cursor.ready.next();
        }
        Ok(cursor)
    }

    fn peek(&mut self) -> Result<Option<HashKey>> {
        while self.ready.peek().is_none()
            && let Some((start, end)) = self.rest.take()
        {
            if let Some(block) = self.blocks.first_block(&start, &end)? {
                self.ready = decode(&block)?.into_iter().peekable();
                self.rest = Some(([&*block.0, &[0]].concat(), end));
            }
        }
        Ok(self.ready.peek().copied())
    }
}

/// The keys of several runs, in order, each once.
struct Merge<'a, B> {
    cursors: Vec<Cursor<'a, B>>,
}

impl<B: Blocks> Merge<'_, B> {
    fn next_key(&mut self) -> Result<Option<HashKey>> {
        let mut first: Option<HashKey> = None;
        for cursor in &mut self.cursors {
            first = [first, cursor.peek()?].into_iter().flatten().min();
        }
        for cursor in &mut self.cursors {
            cursor.ready.next_if(|key| Some(*key) == first);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests;
