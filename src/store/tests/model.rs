//! Random histories with rollbacks, and chunks that come and go, looked up in the store and in a naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::collect::{collect, is_there, put};
use super::*;
use crate::model::NameKey;

/// What one version does.
#[derive(Clone, Debug)]
enum Step {
    /// Writes these files, removes those (numbers of names).
    Change(Vec<u8>, Vec<u8>),
    /// Restores an earlier version, as a part (of 256) of the history so far.
    Rollback(u8),
    /// Records changes that no version holds, or that those so far do not count.
    Pending(bool),
    /// Puts a chunk; collects all but these.
    Put(u8),
    Collect(BTreeSet<u8>),
    /// Joins small packs: where that costs little, or all.
    Join(bool),
    /// Applies the index, or has it fail and be had in one of three ways, or kills and reopens the store,
    /// or rebuilds the index.
    Apply,
    Lose(u8),
    Kill,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || prop::collection::btree_set(0u8..12, 0..4).prop_map(|s| s.into_iter().collect());
    let step = prop_oneof![
        12 => (names(), names()).prop_map(|(a, b): (Vec<u8>, Vec<u8>)| Step::Change(a, b)),
        3 => any::<u8>().prop_map(Step::Rollback),
        2 => any::<bool>().prop_map(Step::Pending),
        4 => (0u8..6).prop_map(Step::Put),
        2 => prop::collection::btree_set(0u8..6, 0..5).prop_map(Step::Collect),
        2 => any::<bool>().prop_map(Step::Join),
        2 => Just(Step::Apply),
        2 => (0u8..3).prop_map(Step::Lose),
        1 => Just(Step::Kill),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..60)
}

/// A version as the model has it: each name's inode, and each inode's version.
type Tree = BTreeMap<NameKey, (Ino, VersionNo)>;

struct Model {
    trees: Vec<Tree>,
    rollbacks: Vec<(VersionNo, VersionNo)>,
    sequence: u64,
    /// How many pending records count.
    pending: usize,
    /// The chunks there are, by number.
    chunks: BTreeMap<u8, ChunkRef>,
    /// Those there were.
    gone: BTreeMap<u8, ChunkRef>,
}

/// A file's inode as version `v` wrote it.
fn inode_at(v: VersionNo) -> Inode {
    Inode { mtime: Timestamp(v.0 as i64), ..inode(Content::Empty) }
}

fn check(store: &Store, model: &Model) {
    let last = VersionNo(model.trees.len() as u64 - 1);
    assert_eq!(store.last_version(DS).unwrap(), last);
    assert_eq!(store.rollbacks(DS).unwrap(), model.rollbacks);
    assert_eq!(store.pending(DS).count(), model.pending);
    for (n, chunk) in &model.chunks {
        assert!(is_there(store, *chunk, *n), "chunk {n}");
    }
    for (n, chunk) in &model.gone {
        assert!(!store.has_object(&chunk.hash.0).unwrap(), "chunk {n} was collected");
    }
    for (n, tree) in model.trees.iter().enumerate() {
        let view = View::of(VersionNo(n as u64), &model.rollbacks);
        // By pages of an odd size.
        let mut listed = Vec::new();
        loop {
            let after = listed.last().map(|(key, _): &(NameKey, Dirent)| *key);
            let page = store.entries(DS, Ino::ROOT, &view, after, 5).unwrap();
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        let found: Vec<_> = listed.iter().map(|(key, entry)| (*key, entry.ino)).collect();
        let wanted: Vec<_> = tree.iter().map(|(key, (ino, _))| (*key, *ino)).collect();
        assert_eq!(found, wanted, "v{n}");
        for i in 0..12 {
            let key = key_of(i);
            let found = store.entry(DS, Ino::ROOT, key, &view).unwrap().map(|(_, entry)| entry);
            assert_eq!(found.map(|e| e.ino), tree.get(&key).map(|(ino, _)| *ino), "v{n} name {i}");
        }
        for (ino, written) in tree.values() {
            let found = store.inode(DS, *ino, &view).unwrap();
            assert_eq!(found, Some((*written, inode_at(*written))), "v{n}");
        }
    }
}

fn key_of(i: u8) -> NameKey {
    name(&format!("name {i}")).key()
}

fn ino_of(i: u8) -> Ino {
    Ino(u64::from(i) + 2)
}

/// Takes a step; gives the store, which may be another.
fn take(step: &Step, dir: &Path, store: Store, model: &mut Model, history: &mut History) -> Store {
    let number = VersionNo(model.trees.len() as u64);
    match step {
        Step::Change(written, removed) => {
            let mut tree = model.trees.last().cloned().unwrap_or_default();
            let mut ops = Vec::new();
            for &i in removed.iter().filter(|i| !written.contains(i)) {
                ops.push(unlink(&format!("name {i}")));
                tree.remove(&key_of(i));
            }
            for &i in written {
                let ino = ino_of(i);
                ops.push(Op::Link {
                    dir: Ino::ROOT,
                    name: name(&format!("name {i}")),
                    ino,
                    kind: Kind::File,
                });
                ops.push(Op::Inode { ino, inode: inode_at(number) });
                tree.insert(key_of(i), (ino, number));
            }
            history.add(&store, ops);
            model.pending = 0;
            model.trees.push(tree);
        }
        Step::Rollback(part) => {
            let base = VersionNo(u64::from(*part) * number.0 / 256);
            let record = history.next(base, vec![]);
            history.append(&store, &record).unwrap();
            model.pending = 0;
            if base.next() != number {
                model.rollbacks.push((number, base));
            }
            model.trees.push(model.trees[base.0 as usize].clone());
        }
        Step::Pending(discard) => {
            model.sequence += 1;
            let ops = if *discard { vec![] } else { vec![unlink("nothing")] };
            let sequence = model.sequence;
            store.append_pending(&PendingRecord { dataset: DS, sequence, discard: *discard, ops }).unwrap();
            model.pending = if *discard { 0 } else { model.pending + 1 };
        }
        Step::Put(n) => {
            model.gone.remove(n);
            model.chunks.insert(*n, put(&store, *n));
        }
        Step::Collect(kept) => {
            let (kept, gone) =
                std::mem::take(&mut model.chunks).into_iter().partition(|(n, _)| kept.contains(n));
            model.chunks = kept;
            model.gone.extend::<BTreeMap<_, _>>(gone);
            let needed: Vec<ChunkRef> = model.chunks.values().copied().collect();
            let mut underway = store.begin_collection(true).unwrap();
            collect(&store, &mut underway, 0, &needed);
        }
        Step::Join(all) => {
            store.log.seal(1).unwrap();
            store.sync().unwrap();
            store.join_packs(*all, &mut || ControlFlow::Continue(())).unwrap();
        }
        Step::Lose(how) => store.index.lose(*how),
        Step::Apply => store.index.apply(|| store.log.sync()).unwrap(),
        Step::Kill => {
            kill(store);
            return Store::open(dir).unwrap();
        }
        Step::Rebuild => {
            drop(store);
            Store::rebuild_index(dir).unwrap();
            return Store::open(dir).unwrap();
        }
    }
    store
}

/// Everything the index of a closed store holds, but its watermark.
fn dump(dir: &Path) -> Vec<index::Entry> {
    let store = Store::open(dir).unwrap();
    let mut all = Vec::new();
    for prefix in b"cdhiprvw" {
        let mut range = store.index.scan(&[*prefix]);
        while let Some(entry) = range.next_entry().unwrap() {
            all.push(entry);
        }
    }
    all
}

/// Takes the steps, and checks all that must then be so.
fn follow(steps: &[Step]) {
    let (dir, mut store) = new_store();
    let (chunks, gone) = Default::default();
    let mut model =
        Model { trees: vec![Tree::new()], rollbacks: vec![], sequence: 0, pending: 0, chunks, gone };
    let mut history = History::new(DS);
    for step in steps {
        store = take(step, dir.path(), store, &mut model, &mut history);
    }
    check(&store, &model);
    drop(store);
    let followed = dump(dir.path());
    Store::rebuild_index(dir.path()).unwrap();
    let rebuilt = dump(dir.path());
    let only = |a: &[index::Entry], b: &[index::Entry]| a.iter().find(|e| !b.contains(e)).cloned();
    let difference = (only(&followed, &rebuilt), only(&rebuilt, &followed));
    assert_eq!(difference, (None, None), "a replay comes to the same");
    check(&Store::open(dir.path()).unwrap(), &model);
}

/// An index that was opened again and then lost brought back changes that a version had taken up.
#[test]
fn an_index_replaced_twice_is_still_what_a_replay_gives() {
    let change = || Step::Change(vec![], vec![]);
    for how in [[0, 1], [0, 0], [0, 2], [1, 1], [2, 0]] {
        let [first, second] = how.map(Step::Lose);
        follow(&[Step::Pending(false), Step::Apply, change(), Step::Apply, first, second]);
    }
}

/// What a collection leaves of a pack may reach from before the place that the index has it up to beyond.
#[test]
fn an_index_is_replaced_after_a_collection() {
    let changes = [Step::Change(vec![0, 8, 10], vec![]), Step::Change(vec![2, 8], vec![6, 8])];
    for how in [0, 1, 2] {
        let then = [Step::Lose(how), Step::Put(4), Step::Put(1), Step::Collect([3].into()), Step::Lose(how)];
        follow(&[&changes[..], &then].concat());
        let then = [Step::Put(4), Step::Apply, Step::Put(1), Step::Collect([].into()), Step::Lose(how)];
        follow(&[&changes[..], &then].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_version_stays_what_it_was(steps in steps()) {
        follow(&steps);
    }
}

#[test]
fn many_versions_of_a_name_are_passed_over_quickly_and_rightly() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    for v in 1..=300 {
        let i = if v % 100 == 0 { 1 } else { 0 };
        history.add(&store, file_ops(&format!("name {i}"), Ino(v), Content::Empty));
    }
    for (n, wanted) in [(50, vec![50]), (150, vec![150, 100]), (300, vec![299, 300])] {
        let found = store.entries(DS, Ino::ROOT, &view(VersionNo(n)), None, 10).unwrap();
        let mut found: Vec<u64> = found.into_iter().map(|(_, e)| e.ino.0).collect();
        found.sort_unstable();
        let mut wanted = wanted;
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }
    // Half of the versions hidden by a rollback.
    let record = history.next(VersionNo(150), vec![]);
    history.append(&store, &record).unwrap();
    let rollbacks = store.rollbacks(DS).unwrap();
    let view = View::of(VersionNo(301), &rollbacks);
    let found = store.entries(DS, Ino::ROOT, &view, None, 10).unwrap();
    let mut found: Vec<u64> = found.into_iter().map(|(_, e)| e.ino.0).collect();
    found.sort_unstable();
    assert_eq!(found, [100, 150]);
    let key = name("name 0").key();
    assert_eq!(store.entry(DS, Ino::ROOT, key, &view).unwrap().unwrap().1.ino, Ino(150));
}

#[test]
fn versions_are_found_by_time_and_hash() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    let mut ids = Vec::new();
    for v in 1..=20u8 {
        let mut record = history.next(history.last, vec![]);
        // Two snapshots share their first 17 hexadecimal digits; one snapshot comes three times.
        record.snapshot = TreeHash([v; 32]);
        if v == 7 {
            record.snapshot = TreeHash([6; 32]);
            record.snapshot.0[8] = 0x07;
        }
        if v >= 18 {
            record.snapshot = TreeHash([18; 32]);
        }
        ids.push(history.append(&store, &record).unwrap());
    }
    for (time, wanted) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (200, 20), (1000, 20)] {
        assert_eq!(store.version_at(DS, Timestamp(time)).unwrap(), VersionNo(wanted), "{time}");
    }
    let snapshot =
        |v: u64, hash: [u8; 32]| HashMatch { version: VersionNo(v), hash, kind: HashKind::Snapshot };
    let find = |digits: &str| store.by_hash_prefix(DS, digits).unwrap();
    let mut seven = [6; 32];
    seven[8] = 7;
    assert_eq!(find("0606060606060606"), [snapshot(6, [6; 32]), snapshot(7, seven)]);
    assert_eq!(find("06060606060606060"), [snapshot(6, [6; 32]), snapshot(7, seven)]);
    assert_eq!(find("060606060606060606"), [snapshot(6, [6; 32])]);
    assert_eq!(find(&"06".repeat(32)), [snapshot(6, [6; 32])]);
    assert_eq!(find(&format!("{}07", "06".repeat(31))), []);
    assert_eq!(find("12121212"), [snapshot(18, [18; 32])]);
    assert_eq!(find("0A0A0A0A0"), [snapshot(10, [10; 32])]);
    for none in ["0606060", "0606060g", "é606060606", &"06".repeat(33), "ffffffff"] {
        assert_eq!(find(none), [], "{none}");
    }
    let id = ids[4];
    let wanted = HashMatch { version: VersionNo(5), hash: id.0, kind: HashKind::Version };
    assert_eq!(find(&id.to_hex()[..11]), [wanted]);
}

#[test]
fn lists_of_versions_go_from_newest_back() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    let dir = Ino(9);
    for v in 1..=6u64 {
        let ops = if v == 4 { vec![unlink("f")] } else { file_ops("f", Ino(v + 10), Content::Empty) };
        let mut record = history.next(history.last, ops);
        record.trees = if v % 2 == 0 { vec![(dir, TreeHash([v as u8; 32]))] } else { vec![] };
        record.ops.push(Op::Inode { ino: Ino(2), inode: inode_at(VersionNo(v)) });
        history.append(&store, &record).unwrap();
    }
    let key = name("f").key();
    let all = store.entry_versions(DS, Ino::ROOT, key, VersionNo(5), 3).unwrap();
    let all: Vec<_> = all.into_iter().map(|(v, e)| (v.0, e.map(|e| e.ino.0))).collect();
    assert_eq!(all, [(5, Some(15)), (4, None), (3, Some(13))]);
    let all = store.inode_versions(DS, Ino(2), VersionNo(2), 10).unwrap();
    assert_eq!(all, [(VersionNo(2), inode_at(VersionNo(2))), (VersionNo(1), inode_at(VersionNo(1)))]);
    let all = store.tree_versions(DS, dir, VersionNo(6), 2).unwrap();
    assert_eq!(all, [(VersionNo(6), TreeHash([6; 32])), (VersionNo(4), TreeHash([4; 32]))]);
    let all = store.tree_versions(DS, Ino::ROOT, VersionNo(100), 2).unwrap();
    assert_eq!(all, [(VersionNo(6), TreeHash([6; 32])), (VersionNo(5), TreeHash([5; 32]))]);
    assert_eq!(store.tree(DS, dir, &view(VersionNo(5))).unwrap().map(|t| t.1), Some(TreeHash([4; 32])));
    assert_eq!(store.tree(DS, dir, &view(VersionNo(1))).unwrap(), None);
    assert_eq!(
        store.tree(DS, Ino::ROOT, &view(VersionNo(5))).unwrap(),
        Some((VersionNo(5), TreeHash([5; 32])))
    );
    assert_eq!(store.tree(DS, Ino::ROOT, &view(VersionNo(0))).unwrap(), None);
    assert_eq!(store.max_ino(DS).unwrap(), Ino(16));
    assert_eq!(store.max_ino(DatasetId(7)).unwrap(), Ino(0));
}
