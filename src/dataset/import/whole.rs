//! Recording a very large tree that is all of its dataset. Put into the live tree first, each of its files would take a
//! kilobyte of memory; here the changes that the version records are made from what was found outside, and take its
//! place.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Entry, SHRINK_EVERY, Source, Tree};
use crate::dataset::error::Result;
use crate::dataset::live::{Invalid, Live, NODES_MAX, Whole, child_id};
use crate::dataset::trie::{ChildId, hash_of};
use crate::model::{Body, Content, Ino, Inode, Kind, Op, Ops, Place, TreeHash};

/// Trees of fewer entries are kept in memory anyway once they are in the live tree, which makes the next change quick.
const FROM: usize = if cfg!(test) { 10 } else { NODES_MAX };

/// Has the next version record `tree`, as putting it into the live tree would. Gives it back where that has something
/// already, or the tree is small, or not one that a dataset can have.
pub fn take_whole(live: &mut Live, tree: Tree, invalid: &mut Invalid) -> Result<Option<Tree>> {
    if tree.entries.len() < FROM || !live.is_blank()? {
        return Ok(Some(tree));
    }
    let Some(inos) = Numbers::of(live, &tree.entries)? else { return Ok(Some(tree)) };
    let Some(places) = places(&tree.entries, &inos) else { return Ok(Some(tree)) };
    let root = live.root()?;
    live.take_whole(record(tree, root, inos, places, invalid));
    Ok(None)
}

/// The inode numbers of entries, each of which but a further name of another has one of its own, in their order.
struct Numbers(Vec<Ino>);

impl Numbers {
    fn of(live: &mut Live, entries: &[Entry]) -> Result<Option<Numbers>> {
        let is_dir = |at: usize| entries[at].inode.kind() == Kind::Dir;
        let is_whole = |at: usize, entry: &Entry| {
            entry.dir.is_none_or(|dir| dir < at && is_dir(dir))
                && !matches!(entry.source, Source::Link(first) if first >= at || is_dir(first) || is_dir(at))
        };
        if !entries.iter().enumerate().all(|(at, entry)| is_whole(at, entry)) {
            return Ok(None);
        }
        let own = entries.iter().filter(|entry| !matches!(entry.source, Source::Link(_)));
        let mut next = live.allocate_inos(own.count() as u64)?;
        let mut inos = Vec::with_capacity(entries.len());
        for entry in entries {
            let Source::Link(first) = entry.source else {
                inos.push(next);
                next.0 += 1;
                continue;
            };
            inos.push(inos[first]);
        }
        Ok(Some(Numbers(inos)))
    }

    fn dir(&self, entry: &Entry) -> Ino {
        entry.dir.map_or(Ino::ROOT, |dir| self.0[dir])
    }
}

/// The places of all entries in order, with which entry is there; `None` where two are at the same.
fn places(entries: &[Entry], inos: &Numbers) -> Option<Vec<(Place, usize)>> {
    let place = |entry: &Entry| Place { dir: inos.dir(entry), key: entry.name.key() };
    let mut places: Vec<_> = entries.iter().enumerate().map(|(at, entry)| (place(entry), at)).collect();
    places.sort_unstable();
    places.is_sorted_by(|(one, _), (next, _)| one < next).then_some(places)
}

fn record(
    tree: Tree,
    root: Inode,
    inos: Numbers,
    places: Vec<(Place, usize)>,
    invalid: &mut Invalid,
) -> Whole {
    let Tree { root: from, mut entries, .. } = tree;
    let mut root = Inode { nlink: 2, place: root.place, others: root.others, ..from };
    set_places(&mut entries, &mut root, &inos, &places);
    let (snapshot, trees) = hashes(&entries, &inos, &places);
    let mut ops = Ops::default();
    for (place, at) in places {
        let (name, kind) = (&entries[at].name, entries[original(&entries, at)].inode.kind());
        if place.dir == Ino::ROOT {
            invalid.names.insert((place.dir, name.clone()));
        }
        ops.push(&Op::Link { dir: place.dir, name: name.clone(), ino: inos.0[at], kind });
    }
    invalid.inodes.insert(Ino::ROOT);
    ops.push(&Op::Inode { ino: Ino::ROOT, inode: root.clone() });
    let (mut numbers, mut bytes) = (inos.0.into_iter(), 0_u64);
    // What was found goes as what is recorded of it comes: there is not room for both where they are large.
    entries.reverse();
    while let Some((Entry { inode, source, .. }, ino)) = entries.pop().zip(numbers.next()) {
        if entries.len().is_multiple_of(SHRINK_EVERY) {
            entries.shrink_to_fit();
        }
        if !matches!(source, Source::Link(_)) {
            bytes = bytes.saturating_add(inode.content().map_or(0, Content::size));
            ops.push(&Op::Inode { ino, inode });
        }
    }
    Whole { root, ops, snapshot, trees, bytes }
}

/// Sets where each inode is named, and how often.
fn set_places(entries: &mut [Entry], root: &mut Inode, inos: &Numbers, places: &[(Place, usize)]) {
    for (place, at) in places {
        let inode = &mut entries[*at].inode;
        (inode.nlink, inode.place, inode.others) =
            (if inode.kind() == Kind::Dir { 2 } else { 1 }, Some(*place), None);
    }
    let mut named: BTreeMap<Ino, (usize, Vec<Place>)> = BTreeMap::new();
    for at in 0..entries.len() {
        if entries[at].inode.kind() == Kind::Dir {
            let above = entries[at].dir.map_or(&mut *root, |dir| &mut entries[dir].inode);
            above.nlink = above.nlink.saturating_add(1);
        }
        if let Source::Link(first) = entries[at].source {
            let (_, places) = named.entry(inos.0[at]).or_insert_with(|| (first, Vec::new()));
            places.extend(entries[at].inode.place);
        }
    }
    for (first, others) in named.into_values() {
        let first = original(entries, first);
        let inode = &mut entries[first].inode;
        let all: Vec<Place> = inode.place.into_iter().chain(others).collect();
        inode.nlink = all.len() as u32;
        inode.set_places(&all);
    }
}

/// The entry that the one at `at` is another name of, or itself.
fn original(entries: &[Entry], mut at: usize) -> usize {
    while let Source::Link(first) = entries[at].source {
        at = first;
    }
    at
}

/// The hash of the tree, and those of all other directories.
fn hashes(entries: &[Entry], inos: &Numbers, places: &[(Place, usize)]) -> (TreeHash, Vec<(Ino, TreeHash)>) {
    let hash = |dir: Ino, trees: &BTreeMap<Ino, TreeHash>| {
        let child = |at: usize| {
            let inode = &entries[original(entries, at)].inode;
            match &inode.body {
                Body::Dir => ChildId { tag: ChildId::TAG_DIR, hash: trees[&inos.0[at]].0 },
                body => child_id(body, inode.mode),
            }
        };
        let here = &places[range_of(places, dir)];
        hash_of(here, &|(place, _)| place.key, &|(_, at)| (child(*at), &entries[*at].name))
    };
    let mut trees = BTreeMap::new();
    // What is in a directory comes after it.
    for (entry, dir) in entries.iter().zip(&inos.0).rev() {
        if entry.inode.kind() == Kind::Dir {
            trees.insert(*dir, hash(*dir, &trees));
        }
    }
    (hash(Ino::ROOT, &trees), trees.into_iter().collect())
}

/// Where the entries of a directory are.
fn range_of(places: &[(Place, usize)], dir: Ino) -> Range<usize> {
    let start = places.partition_point(|(place, _)| place.dir < dir);
    start..start + places[start..].partition_point(|(place, _)| place.dir == dir)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Placement;
    use super::super::place::place_each;
    use super::*;
    use crate::dataset::{Caller, Dataset, Error, Repo};
    use crate::model::{ChunkHash, ChunkRef, DatasetName, Name, Timestamp};

    const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

    fn inode(n: usize, body: Body) -> Inode {
        let mode = 0o640 | (n % 2 * 0o100) as u32;
        Inode { nlink: 1, body, ..Inode::root(mode, n as u32, 7, Timestamp(1_000_000 + n as i64)) }
    }

    /// A tree of these entries: where each is, and what it is.
    fn tree(shape: &[(usize, u8)]) -> Tree {
        let mut entries: Vec<Entry> = Vec::new();
        for (n, (dir, kind)) in shape.iter().enumerate() {
            let of = |kind: Kind| (0..n).filter(|at| entries[*at].inode.kind() == kind).collect::<Vec<_>>();
            let dirs = of(Kind::Dir);
            let dir = dirs.get(dir % (dirs.len() + 1)).copied();
            let files = of(Kind::File);
            let hash = ChunkHash(*blake3::hash(&[n as u8]).as_bytes());
            let (body, source) = match kind {
                0 | 1 => (Body::Dir, Source::Known),
                2 => (Body::Symlink(vec![b'x'; n + 1].into()), Source::Known),
                3 => (Body::Special(Kind::Fifo, 0), Source::Known),
                4 if !files.is_empty() => {
                    let first = files[n % files.len()];
                    (entries[first].inode.body.clone(), Source::Link(first))
                }
                _ => (Body::File(Content::One(ChunkRef { hash, len: 5 + n as u32 })), Source::Read(0)),
            };
            let name = Name::new(format!("name {n}").as_bytes()).unwrap();
            entries.push(Entry { dir, name, inode: inode(n, body), source });
        }
        Tree { root: inode(999, Body::Dir), entries, bared: 0 }
    }

    fn dataset(name: &str) -> (tempfile::TempDir, Repo, Arc<Dataset>) {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        let dataset = repo.create(DatasetName::new(name.as_bytes()).unwrap(), 0o755, 0, 0).unwrap();
        (dir, repo, dataset)
    }

    /// What a version would record of what is put into a new dataset.
    fn recorded(
        put: impl FnOnce(&mut Live, &mut Invalid) -> Result<()>,
    ) -> (Vec<Op>, TreeHash, Vec<(Ino, TreeHash)>) {
        let (_dir, _repo, dataset) = dataset("d");
        let mut found = None;
        let taken = dataset.take_in_by(
            BY,
            None,
            |_| (),
            |live, invalid| {
                put(live, invalid)?;
                let ops = live.changes(false)?;
                let (snapshot, trees) = live.hashes()?;
                // A further name is given now, and not when the entry was made.
                let timeless = ops.iter().map(|op| match op {
                    Op::Inode { ino, inode } if inode.kind() != Kind::Dir && inode.nlink > 1 => {
                        Op::Inode { ino, inode: Inode { ctime: Timestamp(0), ..inode } }
                    }
                    op => op,
                });
                found = Some((timeless.collect(), snapshot, trees));
                Err(Error::Invalid("this was all".into()))
            },
        );
        assert!(taken.is_err());
        // Nothing is left of it.
        let tree = tree(&[(0, 9); 3]);
        let how = Placement { root: Path::new("/outside"), delete: false, message: None };
        dataset.take_in(BY, tree, how, |_| ()).unwrap();
        assert_eq!(dataset.read(|live| live.list(Ino::ROOT, 0, 100)).unwrap().len(), 3);
        found.unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn a_whole_tree_is_recorded_as_one_put_in_by_and_by(shape in vec((0..40usize, 0..9u8), FROM..120)) {
            let one_by_one = recorded(|live, invalid| {
                place_each(live, tree(&shape), Path::new("/outside"), false, invalid)
            });
            let at_once = recorded(|live, invalid| {
                assert!(take_whole(live, tree(&shape), invalid).unwrap().is_none());
                Ok(())
            });
            prop_assert_eq!(one_by_one, at_once);
        }
    }

    #[test]
    fn what_was_taken_in_whole_is_there_and_goes_on() {
        let (_dir, repo, dataset) = dataset("d");
        let shape: Vec<(usize, u8)> = (0..100).map(|n| (n * 7, (n % 9) as u8)).collect();
        let how = || Placement { root: Path::new("/outside"), delete: false, message: None };
        let mut told = 0;
        let version = dataset.take_in(BY, tree(&shape), how(), |invalid| told = invalid.names.len()).unwrap();
        let listed = dataset.read(|live| live.list(Ino::ROOT, 0, 1000)).unwrap();
        assert_eq!((version, told), (Some(dataset.newest()), listed.len()));
        assert!(dataset.read(|live| Ok(live.in_memory())).unwrap() < 20);
        // The same again is no version, and something else is the next.
        assert_eq!(dataset.take_in(BY, tree(&shape), how(), |_| ()).unwrap(), None);
        let mut other = tree(&shape);
        other.entries.truncate(50);
        let how = Placement { delete: true, ..how() };
        assert_eq!(dataset.take_in(BY, other, how, |_| ()).unwrap(), Some(version.unwrap().next()));
        let same = repo.create(DatasetName::new(b"same").unwrap(), 0o755, 0, 0).unwrap();
        let how = Placement { root: Path::new("/outside"), delete: false, message: None };
        same.take_in(BY, tree(&shape[..50]), how, |_| ()).unwrap();
        let snapshot = |dataset: &Dataset| dataset.read(|live| live.hashes()).unwrap().0;
        assert_eq!(snapshot(&dataset), snapshot(&same));
    }

    #[test]
    fn names_are_found_in_a_directory_that_is_not_loaded_and_once_it_is() {
        let (_dir, _repo, dataset) = dataset("d");
        let how = Placement { root: Path::new("/outside"), delete: false, message: None };
        dataset.take_in(BY, tree(&[(0, 9); 20]), how, |_| ()).unwrap();
        let name = |n: usize| Name::new(format!("name {n}").as_bytes()).unwrap();
        let is_there = |n| dataset.read(|live| live.lookup(Ino::ROOT, &name(n))).unwrap().is_some();
        assert!(is_there(7) && !is_there(20));
        dataset.unlink(BY, Ino::ROOT, &name(7)).unwrap();
        for _ in 0..3 {
            assert!((0..25).all(|n| is_there(n) == (n < 20 && n != 7)));
        }
    }

    #[test]
    fn trees_that_are_none_are_left_to_be_refused() {
        let (_dir, _repo, dataset) = dataset("d");
        let files = || tree(&[(0, 9); 20]);
        let taken = |tree: Tree| {
            dataset.read(|live| Ok(take_whole(live, tree, &mut Invalid::default())?.is_none())).unwrap()
        };
        let broken = |how: fn(&mut Vec<Entry>)| {
            let mut tree = files();
            how(&mut tree.entries);
            taken(tree)
        };
        assert!(!broken(|entries| entries[7].name = entries[3].name.clone()));
        assert!(!broken(|entries| entries[7].dir = Some(3)));
        assert!(!broken(|entries| entries[7].source = Source::Link(8)));
        assert!(!broken(|entries| entries.truncate(FROM - 1)));
        assert!(taken(files()));
    }
}
