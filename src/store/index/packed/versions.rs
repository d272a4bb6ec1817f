//! Blocks of versions.
//!
//! ```text
//! V ds4 block8 -> 32 versions, from 32 * block on: of each, its length in a byte and its value
//! ```

use super::super::backing::{Backing, Entries};
use super::super::keys::{self, Key};
use super::{Changed, PAGE, damaged, within};
use crate::store::error::Result;

/// Versions in a block.
const BLOCK: u64 = 32;

/// The key of a version: `v ds4 v8`.
type VersionKey = [u8; 13];

/// Whether a key is of such an entry.
pub fn is_key(key: &[u8]) -> bool {
    key.len() == 13
}

/// Applies changes of versions, in the order of their keys.
pub fn apply(sled: &Backing, changes: &[Changed<'_>]) -> Result<()> {
    for block in changes.chunk_by(|(key, _), (next, _)| block_of(key) == block_of(next)) {
        match block_value(block) {
            Some(value) => put(sled, &block_of(block[0].0), &value)?,
            None => sled.apply(block.iter().copied())?,
        }
    }
    Ok(())
}

fn put(sled: &Backing, block: &[u8], value: &[u8]) -> Result<()> {
    sled.put(block, value)?;
    // Those by themselves would count as newer.
    let keys: Vec<VersionKey> = block_keys(block)?.collect();
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
    let older = sled.page(first, &[&last[..], &[0]].concat(), keys.len())?;
    sled.apply(older.iter().map(|(key, _)| (key, &None)))
}

/// Adds versions that are in blocks, from `start` up to `end`, until there are `limit` altogether.
pub fn page(sled: &Backing, start: &[u8], end: &[u8], limit: usize, found: &mut Entries) -> Result<()> {
    let Some((start, end)) = within::<13>(b'v', start, end) else { return Ok(()) };
    let (mut from, to) = (block_of(&start), blocks_until(&end));
    // One more, as the first is seldom begun with.
    let page = limit.div_ceil(BLOCK as usize).saturating_add(1).min(PAGE);
    while from < to {
        let blocks = sled.page(&from, &to, page)?;
        let Some((last, _)) = blocks.last() else { return Ok(()) };
        from = [last, &[0][..]].concat();
        for (block, value) in &blocks {
            let mut rest = value.as_deref().unwrap_or_default();
            for key in block_keys(block)? {
                let (value, after) = rest
                    .split_first()
                    .and_then(|(&len, rest)| rest.split_at_checked(len.into()))
                    .ok_or_else(damaged)?;
                rest = after;
                if (start..end).contains(&key) {
                    if found.len() >= limit {
                        return Ok(());
                    }
                    found.push((Box::from(&key[..]), Some(value.into())));
                }
            }
        }
    }
    Ok(())
}

/// The last version that is in a block, from `start` up to `end`.
pub fn last(sled: &Backing, start: &[u8], end: &[u8]) -> Result<Option<Key>> {
    let Some((start, end)) = within::<13>(b'v', start, end) else { return Ok(None) };
    let Some(block) = sled.last(&block_of(&start), &blocks_until(&end))? else { return Ok(None) };
    // A block is of all its versions: where it goes beyond the end, the one before that is in it.
    Ok(block_keys(&block)?.filter(|key| (start..end).contains(key)).last().map(Key::from))
}

/// The key of the block that a version is in (of what is after all versions: one after all blocks).
pub(super) fn block_of(version: &[u8]) -> Key {
    let mut key = version.to_vec();
    key[0] = key[0].to_ascii_uppercase();
    let number = keys::tail8(version).unwrap_or_default() / BLOCK;
    key.truncate(5);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Where the blocks end that have versions before this one.
fn blocks_until(end: &VersionKey) -> Key {
    let mut until = block_of(end);
    if keys::tail8(end).is_some_and(|number| number % BLOCK > 0) {
        until.push(0);
    }
    until
}

/// The keys of the versions in a block.
fn block_keys(block: &[u8]) -> Result<impl Iterator<Item = VersionKey> + use<>> {
    let mut key = VersionKey::try_from(block).map_err(|_| damaged())?;
    let number = keys::tail8(block).and_then(|number| number.checked_mul(BLOCK)).ok_or_else(damaged)?;
    key[0] = b'v';
    Ok((number..=number | (BLOCK - 1)).map(move |number| {
        key[5..].copy_from_slice(&number.to_be_bytes());
        key
    }))
}

/// The value of a block, if these are all its versions.
fn block_value(versions: &[Changed<'_>]) -> Option<Vec<u8>> {
    let whole = versions.len() as u64 == BLOCK && versions[0].0.len() == 13;
    let mut block = Vec::new();
    for (_, value) in versions.iter().filter(|_| whole) {
        let value = value.as_deref()?;
        block.push(u8::try_from(value.len()).ok()?);
        block.extend_from_slice(value);
    }
    whole.then_some(block)
}
