use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proptest::prelude::*;

use super::super::backing::Backing;
use super::super::change::Change;
use super::super::{FORMAT, FORMAT_OF_HASH_KEYS, Index, Range, meta_of};
use super::*;
use crate::model::{DatasetId, VersionNo};
use crate::store::identity::StoreId;
use crate::store::pack::LogPos;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Blocks in memory, as sled keeps them; it takes so many more changes.
struct Kept {
    blocks: RefCell<Map>,
    changes: Cell<u32>,
}

impl Kept {
    fn new() -> Kept {
        Kept { blocks: RefCell::default(), changes: Cell::new(u32::MAX) }
    }

    fn count(&self) -> Result<()> {
        let left = self.changes.get().checked_sub(1).ok_or_else(|| Error::Index("it is gone".into()))?;
        self.changes.set(left);
        Ok(())
    }
}

fn owned((key, value): (&Vec<u8>, &Vec<u8>)) -> Block {
    (key.as_slice().into(), value.as_slice().into())
}

impl Blocks for Kept {
    fn first_block(&self, start: &[u8], end: &[u8]) -> Result<Option<Block>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        Ok(self.blocks.borrow().range::<[u8], _>(range).next().map(owned))
    }

    fn last_block(&self, start: &[u8], end: &[u8]) -> Result<Option<Block>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        Ok(self.blocks.borrow().range::<[u8], _>(range).next_back().map(owned))
    }

    fn put_block(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.count()?;
        self.blocks.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }

    fn remove_block(&self, key: &[u8]) -> Result<()> {
        self.count()?;
        self.blocks.borrow_mut().remove(key);
        Ok(())
    }
}

fn key((ds, hash, tag, version): (u8, u8, bool, u8)) -> HashKey {
    let hash = keys::hash(DatasetId(ds.into()), &[hash; 32], tag.into(), VersionNo(version.into()));
    keys::as_hash(&hash).unwrap()
}

fn hashes() -> impl Strategy<Value = BTreeSet<HashKey>> {
    prop::collection::btree_set((0u8..3, 0u8..8, any::<bool>(), 0u8..8).prop_map(key), 1..20)
}

/// What `runs` gives is what is in `all`: whole, from each key on, and one by one.
fn check(runs: &Runs, kept: &Kept, all: &BTreeSet<HashKey>) {
    let wanted: Vec<HashKey> = all.iter().copied().collect();
    assert_eq!(runs.page(kept, &[0], &[0xff], usize::MAX).unwrap(), wanted);
    for at in [key((0, 0, false, 0)), key((1, 3, true, 4)), key((2, 7, true, 7))] {
        let from: Vec<HashKey> = all.range(at..).take(3).copied().collect();
        assert_eq!(runs.page(kept, &at, b"i", 3).unwrap(), from);
        let before: Vec<HashKey> = all.range(..at).copied().collect();
        assert_eq!(runs.page(kept, b"h", &at, usize::MAX).unwrap(), before);
        let prefix = &at[..17];
        let alike: Vec<HashKey> = all.iter().filter(|key| key.starts_with(prefix)).copied().collect();
        assert_eq!(runs.page(kept, prefix, &keys::after_prefix(prefix), usize::MAX).unwrap(), alike);
        assert_eq!(runs.holds(kept, &at).unwrap(), all.contains(&at));
    }
    assert!(all.iter().all(|key| runs.holds(kept, key).unwrap()));
    assert!(runs.page(kept, b"i", &[0xff], usize::MAX).unwrap().is_empty());
    assert!(runs.page(kept, &[0], b"h", usize::MAX).unwrap().is_empty());
}

proptest! {
    #[test]
    fn runs_hold_what_was_added(batches in prop::collection::vec(hashes(), 0..20)) {
        let (kept, mut all) = (Kept::new(), BTreeSet::new());
        let runs = Runs::load(&kept).unwrap();
        for batch in batches {
            all.extend(&batch);
            runs.add(&kept, batch.into_iter().collect()).unwrap();
            check(&runs, &kept, &all);
        }
        let opened = Runs::load(&kept).unwrap();
        let mut listed = runs.list.read().clone();
        listed.sort_unstable_by_key(|run| (run.level, run.number));
        prop_assert_eq!(&*opened.list.read(), &listed, "no run is left over");
        check(&opened, &kept, &all);
    }

    /// Wherever the process dies, nothing that was there is gone, and the batch can be added again.
    #[test]
    fn what_a_crash_leaves_does_no_harm(
        batches in prop::collection::vec((hashes(), 0u32..12), 1..12),
    ) {
        let (kept, mut all) = (Kept::new(), BTreeSet::new());
        for (batch, changes) in batches {
            let keys: Vec<HashKey> = batch.iter().copied().collect();
            kept.changes.set(changes);
            let added = Runs::load(&kept).unwrap().add(&kept, keys.clone());
            kept.changes.set(u32::MAX);
            let runs = Runs::load(&kept).unwrap();
            if added.is_err() {
                prop_assert!(all.iter().all(|key| runs.holds(&kept, key).unwrap()));
                runs.add(&kept, keys).unwrap();
            }
            all.extend(batch);
            check(&runs, &kept, &all);
        }
    }
}

#[test]
fn the_runs_of_many_batches_are_few() {
    let kept = Kept::new();
    let runs = Runs::load(&kept).unwrap();
    for n in 0..=255 {
        runs.add(&kept, vec![key((0, n, false, n))]).unwrap();
        assert!(runs.list.read().len() <= 9, "{:?}", runs.list);
    }
}

#[test]
fn a_damaged_block_is_an_error() {
    let kept = Kept::new();
    let run = Run { level: 0, number: 1 };
    let at = key((1, 2, true, 3));
    kept.put_block(&run.block(&at[1..]), &[0xfb]).unwrap();
    let runs = Runs::load(&kept).unwrap();
    assert!(matches!(runs.holds(&kept, &at), Err(Error::Index(_))));
    assert!(matches!(runs.page(&kept, b"h", b"i", 1), Err(Error::Index(_))));
    kept.put_block(&[TAG, 0], &[]).unwrap();
    assert!(matches!(Runs::load(&kept), Err(Error::Index(_))));
}

/// An index as it was when each hash had a key in sled is not rebuilt: its keys are found beside runs, and
/// a release that knows no runs does not take it for one of its own any more.
#[test]
fn an_index_with_a_key_for_each_hash_is_read_and_added_to() {
    let dir = tempfile::TempDir::new().unwrap();
    let (path, store) = (dir.path().join("index"), StoreId([7; 16]));
    let [first, second, third] = [1, 2, 3].map(|n| key((1, n, true, n)).to_vec());
    let backing = Backing::open(&path).unwrap();
    backing.put(keys::META, &meta_of(FORMAT_OF_HASH_KEYS, store)).unwrap();
    [&first, &third].into_iter().for_each(|key| backing.put(key, &[]).unwrap());
    backing.flush().unwrap();
    drop(backing);
    for new in [&second, &first] {
        let (index, _) = Index::open_as_is(&path, store).unwrap();
        index.publish([Change::Put(new.clone(), vec![])], LogPos(9));
        index.apply(|| Ok(LogPos(9))).unwrap();
    }
    let (index, _) = Index::open_as_is(&path, store).unwrap();
    let mut all = Range::new(&index, vec![0], vec![0xff]);
    let mut found = Vec::new();
    while let Some((key, _)) = all.next_entry().unwrap() {
        found.extend(keys::as_hash(&key).map(Vec::from));
    }
    assert_eq!(found, [&first[..], &second, &third]);
    assert!(found.iter().all(|key| index.get(key).unwrap().is_some()));
    assert_eq!(index.get(keys::META).unwrap().as_deref(), Some(&meta_of(FORMAT, store)[..]));
}
