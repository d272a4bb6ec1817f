//! Entries that come by the thousand, many of them in one of sled.
//!
//! sled takes about 200 bytes of its file for an entry, however short it is: of 100,000 versions of a small file,
//! a third of the store was keys of versions and of their hashes. These are never deleted and hardly ever
//! change. Where many are applied at once they are packed; few at a time are entries by themselves, so that
//! nothing has to be read and written again. Who reads sees both as one, by the keys of [`keys`](super::keys).
//!
//! ```text
//! V ds4 block8                -> 32 versions, from 32 * block on: of each, its length in a byte and its value
//! H ds4 first8 bits1 bucket2  -> hashes of a run of versions, whose first bits are `bucket`: hash12, then in
//!                                4 bytes (version - first) * 2 + tag
//! ```
//!
//! An entry by itself is newer than one in a block. Runs overlap where the log was applied again, and then say
//! the same twice.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Bound::{Excluded, Included};

use super::backing::{Backing, Entries};
use super::keys::{self, HASH_PREFIX, Key};
use super::memtable::{Generation, Value};
use crate::store::error::{Error, Result};

/// Versions in a block.
const BLOCK: u64 = 32;
/// As many hashes of a dataset at a time are worth a run: to look one up, each run is looked into.
const RUN_FROM: usize = if cfg!(test) { 6 } else { 4096 };
/// About as many are in a bucket: sled is slow with values of over 4 KiB.
const BUCKET: usize = if cfg!(test) { 3 } else { 96 };
/// Bytes of a hash in a bucket.
const HASH: usize = HASH_PREFIX + 4;
/// Most blocks fetched at a time.
const PAGE: usize = 16;

/// Capital letters begin keys of blocks, which come before all others.
const BLOCKS_END: &[u8] = b"a";

/// The key of a version: `v ds4 v8`.
type VersionKey = [u8; 13];
/// The key of a hash: `h ds4 hash12 tag1 v8`.
type HashKey = [u8; 26];

/// sled, and the packed entries in it.
#[derive(Debug)]
pub struct Packed(Backing);

impl Packed {
    /// On this sled.
    pub fn new(backing: Backing) -> Packed {
        Packed(backing)
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        let alone = self.0.get(key)?;
        if alone.is_some() || !is_packed(key) {
            return Ok(alone);
        }
        let end = [key, &[0]].concat();
        Ok(self.packed(key, &end, 1)?.pop().and_then(|(_, value)| value))
    }

    /// Up to `limit` entries from `start` up to `end`.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        let alone = self.0.page(start.max(BLOCKS_END), end, limit)?;
        let until = alone.last().filter(|_| alone.len() == limit).map_or(end, |(key, _)| key);
        let packed = self.packed(start, until, limit)?;
        if packed.is_empty() {
            return Ok(alone);
        }
        let mut page = Entries::new();
        let (mut alone, mut packed) = (alone.into_iter().peekable(), packed.into_iter().peekable());
        while page.len() < limit {
            let of_both = match (alone.peek(), packed.peek()) {
                (Some((key, _)), Some((other, _))) => key.cmp(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            if of_both.is_ge() {
                let older = packed.next();
                page.extend(older.filter(|_| of_both.is_gt()));
            }
            if of_both.is_le() {
                page.extend(alone.next());
            }
        }
        Ok(page)
    }

    /// The last key from `start` up to `end`, of keys that are no hashes.
    pub fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Box<[u8]>>> {
        let alone = self.0.last(start.max(BLOCKS_END), end)?;
        let Some((start, end)) = within::<13>(b'v', start, end) else { return Ok(alone) };
        let Some(block) = self.0.last(&block_of(&start), &blocks_until(&end))? else { return Ok(alone) };
        // A block is of all its versions: where it goes beyond the end, the one before that is in it.
        let last = block_keys(&block)?.filter(|key| (start..end).contains(key)).last();
        Ok(alone.max(last.map(|key| Box::from(&key[..]))))
    }

    /// See [`Backing::is_slow_to_open`].
    pub fn is_slow_to_open(&self) -> bool {
        self.0.is_slow_to_open()
    }

    /// Applies changes. What is applied halfway does no harm, since whatever is not durable is applied again.
    pub fn apply(&self, changes: &Generation) -> Result<()> {
        let range =
            |from: &'static [u8], to: &'static [u8]| changes.range::<[u8], _>((Included(from), Excluded(to)));
        self.0.apply(range(b"", b"h").chain(range(b"i", b"v")).chain(range(b"w", b"\xff")))?;
        let hashes: Vec<_> = range(b"h", b"i").map(|(key, value)| (&**key, value)).collect();
        for run in hashes.chunk_by(|(key, _), (next, _)| key.get(..5) == next.get(..5)) {
            match buckets(run) {
                Some(buckets) => buckets.iter().try_for_each(|(key, hashes)| self.put_bucket(key, hashes))?,
                None => self.0.apply(run.iter().copied())?,
            }
        }
        let versions: Vec<_> = range(b"v", b"w").map(|(key, value)| (&**key, value)).collect();
        for block in versions.chunk_by(|(key, _), (next, _)| block_of(key) == block_of(next)) {
            match block_value(block) {
                Some(value) => self.put_block(&block_of(block[0].0), &value)?,
                None => self.0.apply(block.iter().copied())?,
            }
        }
        Ok(())
    }

    /// Puts hashes into a bucket, beside what it has: another run may begin with the same version, where the log
    /// was applied again in other parts or a version was recorded anew.
    fn put_bucket(&self, bucket: &[u8], hashes: &[u8]) -> Result<()> {
        match self.0.get(bucket)? {
            Some(known) => self.0.put(bucket, &united(&known, hashes)),
            None => self.0.put(bucket, hashes),
        }
    }

    fn put_block(&self, block: &[u8], value: &[u8]) -> Result<()> {
        self.0.put(block, value)?;
        // Those by themselves would count as newer.
        let keys: Vec<VersionKey> = block_keys(block)?.collect();
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
        let older = self.0.page(first, &[&last[..], &[0]].concat(), keys.len())?;
        self.0.apply(older.iter().map(|(key, _)| (key, &None)))
    }

    /// Sets one key, which is never packed.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.put(key, value)
    }

    /// Has sled write all that was applied: it survives the process and a reopening.
    pub fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    /// Makes all that was flushed durable.
    ///
    /// # Errors
    /// What it holds is in doubt then.
    pub fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    /// Up to `limit` packed entries from `start` up to `end`.
    fn packed(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        let mut found = Entries::new();
        if let Some((start, end)) = within::<26>(b'h', start, end) {
            self.hashes(&start, &end, limit, &mut found)?;
        }
        if let Some((start, end)) = within::<13>(b'v', start, end) {
            self.versions(&start, &end, limit, &mut found)?;
        }
        Ok(found)
    }

    fn versions(
        &self,
        start: &VersionKey,
        end: &VersionKey,
        limit: usize,
        found: &mut Entries,
    ) -> Result<()> {
        let (mut from, to) = (block_of(start), blocks_until(end));
        // One more, as the first is seldom begun with.
        let page = limit.div_ceil(BLOCK as usize).saturating_add(1).min(PAGE);
        while from < to {
            let blocks = self.0.page(&from, &to, page)?;
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
                    if (*start..*end).contains(&key) {
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

    fn hashes(&self, start: &HashKey, end: &HashKey, limit: usize, found: &mut Entries) -> Result<()> {
        // All runs of one dataset after the other; what they have is merged.
        let (mut from, to) = (run_start(start), [&run_start(end)[..], &[0xff; 12]].concat());
        while found.len() < limit
            && let Some((first, _)) = self.0.page(&from, &to, 1)?.pop()
        {
            from = keys::after_prefix(&first[..first.len().min(5)]);
            let mut runs =
                self.runs(&first)?.into_iter().map(|run| Run::new(run, start, end)).collect::<Vec<_>>();
            let mut heap = BinaryHeap::new();
            for (nth, run) in runs.iter_mut().enumerate() {
                heap.extend(run.next(&self.0)?.map(|key| Reverse((key, nth))));
            }
            let mut last = None;
            while found.len() < limit
                && let Some(Reverse((key, nth))) = heap.pop()
            {
                if last != Some(key) {
                    found.push((Box::from(&key[..]), Some(Box::default())));
                    last = Some(key);
                }
                heap.extend(runs[nth].next(&self.0)?.map(|key| Reverse((key, nth))));
            }
        }
        Ok(())
    }

    /// What the keys of each run start with, of the dataset that a bucket is of.
    fn runs(&self, bucket: &[u8]) -> Result<Vec<Key>> {
        let dataset = bucket.get(..5).ok_or_else(damaged)?;
        let (mut from, to) = (dataset.to_vec(), keys::after_prefix(dataset));
        let mut runs = Vec::new();
        while let Some((bucket, _)) = self.0.page(&from, &to, 1)?.pop() {
            let run = bucket.get(..14).ok_or_else(damaged)?.to_vec();
            from = keys::after_prefix(&run);
            runs.push(run);
        }
        Ok(runs)
    }
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

fn damaged() -> Error {
    Error::Index("a block of entries has no known form".into())
}

fn is_packed(key: &[u8]) -> bool {
    matches!((key.first(), key.len()), (Some(b'v'), 13) | (Some(b'h'), 26))
}

/// The part of a range that keys with this tag and of this length can be in.
fn within<const LEN: usize>(tag: u8, start: &[u8], end: &[u8]) -> Option<([u8; LEN], [u8; LEN])> {
    let tags = [tag, tag + 1];
    let (start, end) = (start.max(&tags[..1]), end.min(&tags[1..]));
    // The first such key from there on.
    let first = |bound: &[u8]| {
        let mut key = [0; LEN];
        let whole = bound.len().min(LEN);
        key[..whole].copy_from_slice(&bound[..whole]);
        if bound.len() > LEN {
            let carried = key.iter_mut().rev().find_map(|byte| {
                *byte = byte.wrapping_add(1);
                (*byte != 0).then_some(())
            });
            debug_assert!(carried.is_some(), "the tag is less than the last byte");
        }
        key
    };
    let (start, end) = (first(start), first(end));
    (start < end).then_some((start, end))
}

/// The key of the block that a version is in (of what is after all versions: one after all blocks).
fn block_of(version: &[u8]) -> Key {
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
fn block_value(versions: &[(&[u8], &Value)]) -> Option<Vec<u8>> {
    let whole = versions.len() as u64 == BLOCK && versions[0].0.len() == 13;
    let mut block = Vec::new();
    for (_, value) in versions.iter().filter(|_| whole) {
        let value = value.as_deref()?;
        block.push(u8::try_from(value.len()).ok()?);
        block.extend_from_slice(value);
    }
    whole.then_some(block)
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
fn buckets(hashes: &[(&[u8], &Value)]) -> Option<Vec<(Key, Vec<u8>)>> {
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

/// The hashes that are in either of two values of a bucket, in the order of their keys.
fn united(one: &[u8], other: &[u8]) -> Vec<u8> {
    let in_order = |hash: &&[u8]| {
        let (prefix, number) = hash.split_at(HASH_PREFIX);
        let number = number.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
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
        let (prefix, number) = hash.split_at(HASH_PREFIX);
        let number = number.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        key[5..17].copy_from_slice(prefix);
        key[17] = (number & 1) as u8;
        let version = first.checked_add(u64::from(number >> 1)).ok_or_else(damaged)?;
        key[18..].copy_from_slice(&version.to_be_bytes());
        Ok(key)
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{DatasetId, Ino, VersionNo};

    fn open() -> (tempfile::TempDir, Packed) {
        let dir = tempfile::TempDir::new().unwrap();
        let packed = Packed::new(Backing::open(&dir.path().join("index")).unwrap());
        (dir, packed)
    }

    /// What a version `v` puts into the index, with hashes that come from `salt`.
    fn version(ds: u32, v: u64, salt: u8) -> Vec<(Box<[u8]>, Value)> {
        let (id, number) = (DatasetId(ds), VersionNo(v));
        // Some have a hash of another version.
        let hash = |tag: u8| *blake3::hash(&[tag, (v / 2) as u8, salt]).as_bytes();
        let own = |tag: u8| *blake3::hash(&[tag, v as u8, (v >> 8) as u8, salt]).as_bytes();
        let value = vec![salt; v as usize % 5 + 1];
        let all = [
            (keys::version(id, number), value.clone()),
            (keys::hash(id, &hash(0), keys::TAG_SNAPSHOT, number), Vec::new()),
            (keys::hash(id, &own(1), keys::TAG_VERSION, number), Vec::new()),
            (keys::at(keys::inode(id, Ino(v % 7)), number), value),
        ];
        all.into_iter().map(|(key, value)| (Box::from(key), Some(Box::from(value)))).collect()
    }

    /// Bounds of ranges: whole keys, parts of them, and what is between and around them.
    fn bound() -> impl Strategy<Value = Vec<u8>> {
        let key = (0..3u32, 0..140u64, 0..3u8, 0..4usize, 0..30usize, any::<bool>());
        let key = key.prop_map(|(ds, v, salt, which, len, longer)| {
            let mut key = version(ds, v, salt)[which].0.to_vec();
            key.truncate(len.max(1));
            key.extend(longer.then_some(0));
            key
        });
        prop_oneof![key, Just(vec![0]), Just(vec![0xff]), Just(b"h".to_vec()), Just(b"w".to_vec())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever is applied, in runs and one by one, and again after others: all that is read is what a map has.
        #[test]
        fn all_is_as_in_a_map(
            generations in vec((0..3u32, 0..100u64, 1..80u64, 0..3u8), 1..8),
            bounds in vec((bound(), bound(), 1..90usize), 40),
        ) {
            let (_dir, packed) = open();
            let mut map = BTreeMap::new();
            for (ds, first, count, salt) in generations {
                let generation: Generation = (first..first + count).flat_map(|v| version(ds, v, salt)).collect();
                packed.apply(&generation).unwrap();
                map.extend(generation);
            }
            for (key, value) in &map {
                prop_assert_eq!(&packed.get(key).unwrap(), value);
            }
            let all = packed.page(&[0], &[0xff], usize::MAX >> 1).unwrap();
            prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
            for (start, end, limit) in bounds {
                // A map takes no range of nothing.
                let end = if end > start { end } else { [&start[..], &[0]].concat() };
                let range = map.range::<[u8], _>((Included(start.as_slice()), Excluded(end.as_slice())));
                let wanted: Entries = range.clone().take(limit).map(|(k, v)| (k.clone(), v.clone())).collect();
                prop_assert_eq!(packed.page(&start, &end, limit).unwrap(), wanted);
                let last = packed.last(&start, &end).unwrap();
                let hashes = within::<26>(b'h', &start, &end).is_some();
                prop_assert!(hashes || last.as_ref() == range.clone().next_back().map(|(key, _)| key));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Blocks that are none are an error, or say something else: no panic, and no end that does not come.
        #[test]
        fn damaged_blocks_are_errors(
            blocks in vec((any::<bool>(), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..80)), 1..6),
            bounds in vec((bound(), bound()), 10),
        ) {
            let (_dir, packed) = open();
            packed.apply(&(1..40).flat_map(|v| version(1, v, 0)).collect()).unwrap();
            for (version, rest, value) in blocks {
                let key = [if version { &b"V\0\0\0\x01\0\0\0\0\0\0\0"[..] } else { b"H\0\0\0\x01" }, &rest].concat();
                packed.put(&key, &value).unwrap();
            }
            for (start, end) in bounds {
                let _ = (packed.page(&start, &end, 100), packed.last(&start, &end), packed.get(&start));
            }
        }
    }

    #[test]
    fn a_block_cut_short_is_an_error() {
        let (_dir, packed) = open();
        packed.apply(&(1..70).flat_map(|v| version(1, v, 0)).collect()).unwrap();
        let key = keys::version(DatasetId(1), VersionNo(33));
        assert!(packed.get(&key).unwrap().is_some());
        packed.put(&block_of(&key), &[200]).unwrap();
        assert!(packed.get(&key).unwrap_err().to_string().contains("a block of entries has no known form"));
        packed.put(&block_of(&key), &[&[0, 0][..], &[0; 30]].concat()).unwrap();
        assert_eq!(packed.get(&key).unwrap().as_deref(), Some(&[][..]));
    }

    #[test]
    fn runs_that_begin_with_the_same_version_keep_the_hashes_of_both() {
        let (_dir, packed) = open();
        let mut map = BTreeMap::new();
        // The third is part of the first again.
        for (versions, salt) in [(77..109, 0), (77..109, 1), (77..100, 0)] {
            let generation: Generation = versions.flat_map(|v| version(0, v, salt)).collect();
            packed.apply(&generation).unwrap();
            map.extend(generation);
        }
        let hashes: Entries = map.into_iter().filter(|(key, _)| key[0] == b'h').collect();
        assert!(hashes.iter().all(|(key, value)| packed.get(key).unwrap() == *value));
        assert_eq!(packed.page(b"h", b"i", 1000).unwrap(), hashes);
    }

    /// What makes packing worth it: far fewer entries of sled than versions and their hashes.
    #[test]
    fn many_versions_at_once_take_few_entries() {
        let (_dir, packed) = open();
        packed.apply(&(1..1025).flat_map(|v| version(1, v, 0)).collect()).unwrap();
        let count = |start: &[u8], end: &[u8]| packed.0.page(start, end, 10_000).unwrap().len();
        // The first 31 and the last are no whole block.
        assert_eq!((count(b"v", b"w"), count(b"V", b"W"), count(b"h", b"i")), (32, 31, 0));
        assert!(count(b"H", b"I") <= 2048 / 2);
    }
}
