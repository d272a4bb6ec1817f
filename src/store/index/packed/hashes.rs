//! Runs of hashes.
//!
//! ```text
//! H ds4 first8 bits1 bucket2 -> hashes of a run of versions, whose first bits are `bucket`: hash12, then in
//!                               4 bytes (version - first) * 2 + tag
//! ```
//!
//! Runs overlap where the log was applied again, and then say the same twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::backing::{Backing, Entries};
use super::super::keys::{self, HASH_PREFIX, Key};
use super::{Changed, damaged, within};
use crate::store::error::Result;

/// As many hashes of a dataset at a time are worth a run: to look one up, each run is looked into.
const RUN_FROM: usize = if cfg!(test) { 6 } else { 4096 };
/// About as many are in a bucket: sled is slow with values of over 4 KiB.
const BUCKET: usize = if cfg!(test) { 3 } else { 96 };
/// Bytes of a hash in a bucket.
const HASH: usize = HASH_PREFIX + 4;

/// The key of a hash: `h ds4 hash12 tag1 v8`.
type HashKey = [u8; 26];

/// Whether a key is of such an entry.
pub fn is_key(key: &[u8]) -> bool {
    key.len() == 26
}

/// Applies changes of hashes, in the order of their keys.
pub fn apply(sled: &Backing, changes: &[Changed<'_>]) -> Result<()> {
    for run in changes.chunk_by(|(key, _), (next, _)| key.get(..5) == next.get(..5)) {
        match buckets(run) {
            Some(buckets) => buckets.iter().try_for_each(|(key, hashes)| put(sled, key, hashes))?,
            None => sled.apply(run.iter().copied())?,
        }
    }
    Ok(())
}

/// Puts hashes into a bucket, beside what it has: another run may begin with the same version, where the log
/// was applied again in other parts or a version was recorded anew.
fn put(sled: &Backing, bucket: &[u8], hashes: &[u8]) -> Result<()> {
    match sled.get(bucket)? {
        Some(known) => sled.put(bucket, &united(&known, hashes)),
        None => sled.put(bucket, hashes),
    }
}

/// Adds hashes that are in runs, from `start` up to `end`, until there are `limit` altogether.
pub fn page(sled: &Backing, start: &[u8], end: &[u8], limit: usize, found: &mut Entries) -> Result<()> {
    let Some((start, end)) = within::<26>(b'h', start, end) else { return Ok(()) };
    // All runs of one dataset after the other; what they have is merged.
    let (mut from, to) = (run_start(&start), [&run_start(&end)[..], &[0xff; 12]].concat().min(b"I".to_vec()));
    while found.len() < limit
        && let Some((first, _)) = sled.page(&from, &to, 1)?.pop()
    {
        from = keys::after_prefix(&first[..first.len().min(5)]);
        let mut runs =
            runs(sled, &first)?.into_iter().map(|run| Run::new(run, &start, &end)).collect::<Vec<_>>();
        let mut heap = BinaryHeap::new();
        for (nth, run) in runs.iter_mut().enumerate() {
            heap.extend(run.next(sled)?.map(|key| Reverse((key, nth))));
        }
        let mut last = None;
        while found.len() < limit
            && let Some(Reverse((key, nth))) = heap.pop()
        {
            if last != Some(key) {
                found.push((Box::from(&key[..]), Some(Box::default())));
                last = Some(key);
            }
            heap.extend(runs[nth].next(sled)?.map(|key| Reverse((key, nth))));
        }
    }
    Ok(())
}

/// What the keys of each run start with, of the dataset that a bucket is of.
fn runs(sled: &Backing, bucket: &[u8]) -> Result<Vec<Key>> {
    let dataset = bucket.get(..5).ok_or_else(damaged)?;
    let (mut from, to) = (dataset.to_vec(), keys::after_prefix(dataset));
    let mut runs = Vec::new();
    while let Some((bucket, _)) = sled.page(&from, &to, 1)?.pop() {
        let run = bucket.get(..14).ok_or_else(damaged)?.to_vec();
        from = keys::after_prefix(&run);
        runs.push(run);
    }
    Ok(runs)
}

/// A run of hashes that is walked.
struct Run<'a> {
    /// Where the next bucket may be, and where there is none any more.
    from: Key,
    to: Key,
    /// Those of the last bucket, from the last to the next.
    ready: Vec<HashKey>,
    start: &'a HashKey,
    end: &'a HashKey,
}

impl<'a> Run<'a> {
    fn new(run: Key, start: &'a HashKey, end: &'a HashKey) -> Run<'a> {
        let to = keys::after_prefix(&run);
        let bits = run.last().copied().unwrap_or(0);
        let bucket = if run[1..5] == start[1..5] { bucket_of(&start[5..], bits) } else { 0 };
        let from = [&run[..], &bucket.to_be_bytes()].concat();
        Run { from, to, ready: Vec::new(), start, end }
    }

    /// The next hash.
    fn next(&mut self, sled: &Backing) -> Result<Option<HashKey>> {
        loop {
            if let Some(key) = self.ready.pop() {
                return Ok((key < *self.end).then_some(key));
            }
            let Some((bucket, value)) = sled.page(&self.from, &self.to, 1)?.pop() else { return Ok(None) };
            self.from = [&bucket[..], &[0]].concat();
            self.ready = bucket_keys(&bucket, value.as_deref().unwrap_or_default())?;
            self.ready.reverse();
            let before = self.ready.partition_point(|key| key >= self.start);
            self.ready.truncate(before);
        }
    }
}

/// Where the runs begin of the dataset of a hash.
fn run_start(hash: &HashKey) -> Key {
    let mut key = hash[..5].to_vec();
    key[0] = key[0].to_ascii_uppercase();
    key
}

fn bucket_of(hash: &[u8], bits: u8) -> u16 {
    let first = hash.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    (u32::from(first) >> (16 - u32::from(bits.min(16)))) as u16
}

/// The hashes of a dataset as a run, if they are worth one: its buckets.
fn buckets(hashes: &[Changed<'_>]) -> Option<Vec<(Key, Vec<u8>)>> {
    if hashes.len() < RUN_FROM {
        return None;
    }
    let keys: Option<Vec<HashKey>> = hashes.iter().map(|(key, _)| (*key).try_into().ok()).collect();
    let keys = keys?;
    let first = keys.iter().filter_map(|key| keys::tail8(key)).min()?;
    let bits = (0..16).find(|bits| keys.len() >> bits <= BUCKET).unwrap_or(16);
    let run = [&run_start(&keys[0]), &first.to_be_bytes()[..], &[bits]].concat();
    keys.chunk_by(|key, next| bucket_of(&key[5..], bits) == bucket_of(&next[5..], bits))
        .map(|keys| {
            let mut value = Vec::with_capacity(keys.len() * HASH);
            for key in keys {
                let number = u32::try_from(keys::tail8(key)? - first).ok()?.checked_mul(2)?;
                value.extend_from_slice(&key[5..5 + HASH_PREFIX]);
                value.extend_from_slice(&(number + u32::from(key[17] & 1)).to_be_bytes());
            }
            Some(([&run[..], &bucket_of(&keys[0][5..], bits).to_be_bytes()].concat(), value))
        })
        .collect()
}

/// A hash in a bucket: its prefix, and what follows that.
fn parts(hash: &[u8]) -> (&[u8], u32) {
    let (prefix, number) = hash.split_at(HASH_PREFIX);
    (prefix, number.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}

/// The hashes that are in either of two values of a bucket, in the order of their keys.
fn united(one: &[u8], other: &[u8]) -> Vec<u8> {
    let in_order = |hash: &&[u8]| {
        let (prefix, number) = parts(hash);
        (prefix.to_vec(), number & 1, number >> 1)
    };
    let mut hashes: Vec<&[u8]> = one.chunks_exact(HASH).chain(other.chunks_exact(HASH)).collect();
    hashes.sort_by_cached_key(in_order);
    hashes.dedup();
    hashes.concat()
}

/// The keys of the hashes in a bucket.
fn bucket_keys(bucket: &[u8], value: &[u8]) -> Result<Vec<HashKey>> {
    let first = bucket.get(5..13).and_then(keys::tail8).filter(|_| bucket.len() == 16);
    let first = first.filter(|_| value.len().is_multiple_of(HASH)).ok_or_else(damaged)?;
    let mut key: HashKey = [0; 26];
    key[0] = b'h';
    key[1..5].copy_from_slice(&bucket[1..5]);
    let keys = value.chunks_exact(HASH).map(|hash| {
        let (prefix, number) = parts(hash);
        key[5..17].copy_from_slice(prefix);
        key[17] = (number & 1) as u8;
        let version = first.checked_add(u64::from(number >> 1)).ok_or_else(damaged)?;
        key[18..].copy_from_slice(&version.to_be_bytes());
        Ok(key)
    });
    keys.collect()
}
