//! Blocks of what versions say of a tree: names, inodes and tree hashes.
//!
//! Of what is applied at once, entries that come next to each other make a block. Its key is that of its last entry,
//! so that an entry is in the first block from its key on, if it is in one. No two blocks overlap: what would lie
//! among the entries of another stays by itself. Such are the few changes of a version in a large tree; those of
//! files that are put in are not, nor those that ever more versions bring of the same directory, each before the last.

use super::super::backing::{Backing, Entries};
use super::super::keys::Key;
use super::super::memtable::Value;
use super::{Changed, PAGE, damaged};
use crate::store::error::Result;

/// A kind of such entries, whose keys all end with a version.
#[derive(Debug)]
pub struct Kind {
    /// What their keys begin with, and what is after all of them.
    pub keys: (&'static [u8], &'static [u8]),
    /// What is after all keys of their blocks.
    blocks_end: &'static [u8],
}

pub const NAMES: Kind = Kind { keys: (b"d", b"e"), blocks_end: b"E" };
pub const INODES: Kind = Kind { keys: (b"i", b"j"), blocks_end: b"J" };
pub const TREES: Kind = Kind { keys: (b"p", b"q"), blocks_end: b"Q" };

/// Bytes of a block's value, at most. sled reads a page of up to sixteen blocks for one.
const BLOCK: usize = if cfg!(test) { 120 } else { 1536 };
/// Fewer are not worth a block.
const FROM: usize = if cfg!(test) { 3 } else { 8 };
/// Longer values stay by themselves.
const VALUE: usize = if cfg!(test) { 60 } else { 512 };
/// About as many entries are in a block.
const EACH: usize = 16;

/// Whether a key is of such an entry.
pub fn is_key(key: &[u8]) -> bool {
    key.len() > 13 && key.len() < 0x100
}

/// Applies changes of entries of one kind, in the order of their keys.
pub fn apply(sled: &Backing, kind: &Kind, changes: &[Changed<'_>]) -> Result<()> {
    let fits =
        |(key, value): &Changed<'_>| is_key(key) && value.as_ref().is_some_and(|value| value.len() <= VALUE);
    let (fitting, others): (Vec<_>, Vec<_>) = changes.iter().partition(|change| fits(change));
    sled.apply(others)?;
    for stretch in stretches(&fitting) {
        for block in blocks(stretch) {
            if block.len() < FROM || !put(sled, kind, block)? {
                sled.apply(block.iter().copied())?;
            }
        }
    }
    Ok(())
}

/// Parts that blocks may be made of. Of what has many versions, the next ones come right before these: they are not
/// to lie in a block that goes on from something else.
fn stretches<'a, 'b>(changes: &'b [Changed<'a>]) -> Vec<&'b [Changed<'a>]> {
    let of = |key: &[u8]| key.len() - 8;
    let mut stretches = Vec::new();
    let (mut start, mut at) = (0, 0);
    for same in changes.chunk_by(|(key, _), (next, _)| key[..of(key)] == next[..of(next)]) {
        let end = at + same.len();
        if same.len() >= FROM || changes[start].0[1..5] != same[0].0[1..5] {
            stretches.push(&changes[start..at]);
            start = at;
        }
        if same.len() >= FROM {
            stretches.push(same);
            start = end;
        }
        at = end;
    }
    stretches.push(&changes[start..]);
    stretches
}

/// Cuts a part into blocks.
fn blocks<'a, 'b>(mut stretch: &'b [Changed<'a>]) -> impl Iterator<Item = &'b [Changed<'a>]> {
    std::iter::from_fn(move || {
        let (mut bytes, mut before) = (0, &[][..]);
        let count = stretch.iter().take_while(|(key, value)| {
            bytes += 4 + key.len() - shared(before, key) + value.as_ref().map_or(0, |value| value.len());
            before = *key;
            bytes <= BLOCK
        });
        let (block, rest) = stretch.split_at(count.count().max(1).min(stretch.len()));
        stretch = rest;
        (!block.is_empty()).then_some(block)
    })
}

/// Puts a block, unless it would overlap with another, or lie among as many entries by themselves.
fn put(sled: &Backing, kind: &Kind, block: &[Changed<'_>]) -> Result<bool> {
    let (Some((first, _)), Some((last, _))) = (block.first(), block.last()) else { return Ok(false) };
    if let Some((_, other)) = sled.page(&block_key(first), kind.blocks_end, 1)?.pop() {
        let mut other = Walk::new(&other);
        other.next()?.ok_or_else(damaged)?;
        if other.key[..] <= **last {
            return Ok(false);
        }
    }
    let alone = sled.page(first, &[last, &[0][..]].concat(), block.len())?;
    if alone.len() == block.len() {
        return Ok(false);
    }
    sled.put(&block_key(last), &encoded(block))?;
    // Those by themselves would count as newer.
    let is_in = |key: &[u8]| block.binary_search_by(|(other, _)| (*other).cmp(key)).is_ok();
    sled.apply(alone.iter().filter(|(key, _)| is_in(key)).map(|(key, _)| (key, &None)))?;
    Ok(true)
}

/// Adds entries of a kind that are in blocks, from `start` up to `end`, until there are `limit` altogether.
pub fn page(
    sled: &Backing,
    kind: &Kind,
    start: &[u8],
    end: &[u8],
    limit: usize,
    found: &mut Entries,
) -> Result<()> {
    let Some((start, end)) = within(kind, start, end) else { return Ok(()) };
    let mut from = block_key(start);
    let at_once = limit.div_ceil(EACH).min(PAGE);
    loop {
        let blocks = sled.page(&from, kind.blocks_end, at_once)?;
        let Some((last, _)) = blocks.last() else { return Ok(()) };
        from = [last, &[0][..]].concat();
        for (_, value) in &blocks {
            let mut block = Walk::new(value);
            while let Some(value) = block.next()? {
                if block.key[..] >= *end || found.len() >= limit {
                    return Ok(());
                }
                if block.key[..] >= *start {
                    found.push((block.key[..].into(), Some(value.into())));
                }
            }
        }
    }
}

/// The last key of a kind that is in a block, from `start` up to `end`.
pub fn last(sled: &Backing, kind: &Kind, start: &[u8], end: &[u8]) -> Result<Option<Key>> {
    let Some((start, end)) = within(kind, start, end) else { return Ok(None) };
    // The block that the end is in, if it is in one, and else the one before.
    if let Some((_, value)) = sled.page(&block_key(end), kind.blocks_end, 1)?.pop() {
        let (mut block, mut before) = (Walk::new(&value), Key::new());
        while block.next()?.is_some() && block.key[..] < *end {
            before.clone_from(&block.key);
        }
        if !before.is_empty() {
            return Ok((before[..] >= *start).then_some(before));
        }
    }
    let block = sled.last(&block_key(start), &block_key(end))?;
    Ok(block.map(|mut key| {
        key[..1].make_ascii_lowercase();
        key.into()
    }))
}

/// The part of a range that keys of a kind are in.
fn within<'a>(kind: &Kind, start: &'a [u8], end: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (start, end) = (start.max(kind.keys.0), end.min(kind.keys.1));
    (start < end).then_some((start, end))
}

/// The key of the block whose last entry has this key.
fn block_key(key: &[u8]) -> Key {
    let mut key = key.to_vec();
    key[..1].make_ascii_uppercase();
    key
}

fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// The value of a block: of each entry, how many bytes its key has in common with the one before it and how many
/// follow, each in a byte, those, and its value's length in two bytes and its value.
fn encoded(block: &[Changed<'_>]) -> Vec<u8> {
    let (mut bytes, mut before) = (Vec::with_capacity(BLOCK), &[][..]);
    for (key, value) in block {
        let (shared, value) = (shared(before, key), value.as_deref().unwrap_or_default());
        bytes.extend([shared as u8, (key.len() - shared) as u8]);
        bytes.extend_from_slice(&key[shared..]);
        bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        bytes.extend_from_slice(value);
        before = *key;
    }
    bytes
}

/// Walks the entries of a block, whose keys get ever larger.
struct Walk<'a> {
    rest: &'a [u8],
    /// Of the entry that was walked to last.
    key: Key,
}

impl<'a> Walk<'a> {
    fn new(block: &'a Value) -> Walk<'a> {
        Walk { rest: block.as_deref().unwrap_or_default(), key: Key::new() }
    }

    /// Goes on to the next entry and gives its value.
    fn next(&mut self) -> Result<Option<&'a [u8]>> {
        if self.rest.is_empty() { Ok(None) } else { self.take().map(Some).ok_or_else(damaged) }
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let ([shared, own], after) = self.rest.split_first_chunk()?;
        let (own, after) = after.split_at_checked(usize::from(*own))?;
        let (length, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        let shared = usize::from(*shared);
        if own <= self.key.get(shared..)? {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(own);
        self.rest = after;
        Some(value)
    }
}
