//! Entries that come by the thousand, many of them in one of sled.
//!
//! sled takes about 200 bytes of its file for an entry, however short it is, and as many of memory for each page, which
//! has 8 to 16. What versions bring is never deleted and hardly ever changes. Where many entries are applied at once they
//! are packed; few at a time are entries by themselves, so that nothing has to be read and written again. Who reads
//! sees both as one, by the keys of [`keys`](super::keys). An entry by itself is newer than one in a block.
//!
//! Versions ([`versions`]), their hashes ([`hashes`]) and what they say of the [`tree`] are each packed in a way of their
//! own. Keys of blocks begin with the capital letter of those of their entries. [`objects`] are in files beside sled's.

mod hashes;
mod objects;
mod tree;
mod versions;

use std::cmp::Ordering;
use std::ops::Bound::{Excluded, Included};
use std::path::Path;

use self::objects::Objects;
use super::backing::{Backing, Entries};
use super::memtable::{Generation, Value};
use crate::store::error::{Error, Result};

/// Capital letters come before all others.
const BLOCKS_END: &[u8] = b"a";
/// Most blocks fetched at a time.
const PAGE: usize = 16;

/// An entry that is put, or deleted.
type Changed<'a> = (&'a [u8], &'a Value);

/// sled, and the packed entries in it.
#[derive(Debug)]
pub struct Packed {
    sled: Backing,
    objects: Objects,
}

impl Packed {
    /// Opens the index in `dir`, making it if it is not there.
    pub fn open(dir: &Path) -> Result<Packed> {
        let sled = Backing::open(dir)?;
        let objects = Objects::open(dir.join("objects"), &sled)?;
        Ok(Packed { sled, objects })
    }

    /// Removes files that are of no use.
    pub fn remove_left_over(&self) -> Result<()> {
        self.objects.remove_others()
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        if objects::is_key(key) {
            return self.objects.get(&self.sled, key);
        }
        let alone = self.sled.get(key)?;
        if alone.is_some() || !is_packed(key) {
            return Ok(alone);
        }
        let end = [key, &[0]].concat();
        Ok(self.packed(key, &end, 1)?.pop().and_then(|(_, value)| value))
    }

    /// Up to `limit` entries from `start` up to `end`.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        let alone = self.sled.page(start.max(BLOCKS_END), end, limit)?;
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

    /// The last key from `start` up to `end`, of keys that are no hashes and of no objects.
    pub fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Box<[u8]>>> {
        let mut last = self.sled.last(start.max(BLOCKS_END), end)?;
        for kind in [tree::NAMES, tree::INODES, tree::TREES] {
            last = last.max(tree::last(&self.sled, &kind, start, end)?.map(Box::from));
        }
        Ok(last.max(versions::last(&self.sled, start, end)?.map(Box::from)))
    }

    /// See [`Backing::is_slow_to_open`].
    pub fn is_slow_to_open(&self) -> bool {
        self.sled.is_slow_to_open()
    }

    /// Applies changes. What is applied halfway does no harm, since whatever is not durable is applied again.
    pub fn apply(&self, changes: &Generation) -> Result<()> {
        let range = |from: &[u8], to: &[u8]| {
            let range = changes.range::<[u8], _>((Included(from), Excluded(to)));
            range.map(|(key, value)| (&**key, value)).collect::<Vec<Changed<'_>>>()
        };
        let others = [(&b""[..], &b"c"[..]), (b"e", b"h"), (b"j", b"p"), (b"q", b"v"), (b"w", b"\xff")];
        others.iter().try_for_each(|(from, to)| self.sled.apply(range(from, to)))?;
        self.objects.apply(&self.sled, &range(b"c", b"d"))?;
        for kind in [tree::NAMES, tree::INODES, tree::TREES] {
            tree::apply(&self.sled, &kind, &range(kind.keys.0, kind.keys.1))?;
        }
        hashes::apply(&self.sled, &range(b"h", b"i"))?;
        versions::apply(&self.sled, &range(b"v", b"w"))
    }

    /// Sets one key, which is never packed.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.sled.put(key, value)
    }

    /// Has sled write all that was applied: it survives the process and a reopening.
    pub fn flush(&self) -> Result<()> {
        self.sled.flush()
    }

    /// Makes all that was flushed durable.
    ///
    /// # Errors
    /// What it holds is in doubt then.
    pub fn sync(&self) -> Result<()> {
        self.sled.sync()?;
        self.objects.synced();
        Ok(())
    }

    /// Up to `limit` packed entries from `start` up to `end`.
    fn packed(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        let (sled, mut found) = (&self.sled, Entries::new());
        // In the order of their tags.
        self.objects.page(start, end, limit, &mut found)?;
        tree::page(sled, &tree::NAMES, start, end, limit, &mut found)?;
        hashes::page(sled, start, end, limit, &mut found)?;
        tree::page(sled, &tree::INODES, start, end, limit, &mut found)?;
        tree::page(sled, &tree::TREES, start, end, limit, &mut found)?;
        versions::page(sled, start, end, limit, &mut found)?;
        Ok(found)
    }
}

fn damaged() -> Error {
    Error::Index("a block of entries has no known form".into())
}

fn is_packed(key: &[u8]) -> bool {
    match key.first() {
        Some(b'v') => versions::is_key(key),
        Some(b'h') => hashes::is_key(key),
        Some(b'd' | b'i' | b'p') => tree::is_key(key),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::keys;
    use super::*;
    use crate::model::{DatasetId, Ino, NameKey, VersionNo};
    use crate::store::pack::Pos;

    fn open() -> (tempfile::TempDir, Packed) {
        let dir = tempfile::TempDir::new().unwrap();
        let packed = Packed::open(&dir.path().join("index")).unwrap();
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
            (keys::at(keys::inode(id, Ino(v % 7)), number), value.clone()),
            (keys::at(keys::inode(id, Ino(v + 7)), number), value),
            (
                keys::at(keys::entry(id, Ino(v / 30), NameKey(own(2)[..16].try_into().unwrap())), number),
                vec![salt],
            ),
            (keys::at(keys::tree(id, Ino(v / 30)), number), own(3).to_vec()),
            (keys::object(&hash(4)), vec![v as u8; Pos::BYTES]),
            (keys::object(&own(5)), if v.is_multiple_of(9) { vec![] } else { vec![salt; Pos::BYTES] }),
        ];
        all.into_iter().map(|(key, value)| (Box::from(key), Some(Box::from(value)))).collect()
    }

    /// Bounds of ranges: whole keys, parts of them, and what is between and around them.
    fn bound() -> impl Strategy<Value = Vec<u8>> {
        let key = (0..3u32, 0..140u64, 0..3u8, 0..9usize, 0..40usize, any::<bool>());
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
            let runs = packed.sled.get(keys::OBJECT_RUNS).unwrap();
            map.extend(runs.map(|runs| (keys::OBJECT_RUNS.into(), Some(runs))));
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
                let hashes = within::<26>(b'h', &start, &end).is_some() || within::<33>(b'c', &start, &end).is_some();
                prop_assert!(hashes || last.as_ref() == range.clone().next_back().map(|(key, _)| key));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Blocks that are none are an error, or say something else: no panic, and no end that does not come.
        #[test]
        fn damaged_blocks_are_errors(
            blocks in vec((0..5usize, vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..80)), 1..6),
            bounds in vec((bound(), bound()), 10),
        ) {
            let (_dir, packed) = open();
            packed.apply(&(1..40).flat_map(|v| version(1, v, 0)).collect()).unwrap();
            for (kind, rest, value) in blocks {
                let start: &[u8] = [&b"V\0\0\0\x01\0\0\0\0\0\0\0"[..], b"H\0\0\0\x01", b"D\0\0\0\x01", b"I", b"P"][kind];
                let key = [start, &rest].concat();
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
        packed.put(&versions::block_of(&key), &[200]).unwrap();
        assert!(packed.get(&key).unwrap_err().to_string().contains("a block of entries has no known form"));
        packed.put(&versions::block_of(&key), &[&[0, 0][..], &[0; 30]].concat()).unwrap();
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
        let count = |start: &[u8], end: &[u8]| packed.sled.page(start, end, 10_000).unwrap().len();
        // The first 31 and the last are no whole block.
        assert_eq!((count(b"v", b"w"), count(b"V", b"W"), count(b"h", b"i")), (32, 31, 0));
        assert!(count(b"H", b"I") <= 2048 / 2);
        // Of each inode that has one version, and of those that have many: all but a few are in blocks.
        assert!((count(b"d", b"e"), count(b"i", b"j"), count(b"p", b"q")) <= (4, 4, 4));
        assert!(count(b"D", b"Q") - count(b"H", b"I") <= 4096 / 3);
    }
}
