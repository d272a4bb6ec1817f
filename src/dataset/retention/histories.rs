//! Random histories with prunes and collections: what the records tell of garbage misses none, what is needed stays,
//! and what a prune frees is what it was said to free.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use super::collect::{How, Users, collect, suspects};
use super::freed::freed_by;
use super::live::find_needed;
use super::walk::Walker;
use super::*;
use crate::dataset::{NewInode, RenameMode, Repo};
use crate::model::{Body, Content, ContentId, DatasetName, Ino, Kind, Name, Op, Piece, Policy, VersionHead};
use crate::store::content_id;
use crate::store::manifest::TreeBuilder;

const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

/// What happens, to the dataset of a number.
#[derive(Clone, Debug)]
enum Step {
    /// A file of a directory gets a content, and is made if it is not there.
    Write(u8, u8, u8),
    Remove(u8, u8),
    Rename((u8, u8), (u8, u8)),
    Link((u8, u8), (u8, u8)),
    /// A directory trades places with another, or one is moved into it and out again.
    Swap(u8, u8),
    /// A directory goes with all that is in it, in one version.
    RemoveDir(u8),
    /// What of the other dataset's file is taken over.
    Copy((u8, u8), (u8, u8)),
    Rollback(u8),
    /// Versions are cut by hand from here on, or no longer; or one is.
    Manual(bool),
    Commit,
    /// Versions are dropped whose number and this one say so.
    Prune(u8),
    Collect,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let file = || (0u8..4, 0u8..3);
    let step = prop_oneof![
        10 => (0u8..4, 0u8..3, any::<u8>()).prop_map(|(d, f, c)| Step::Write(d, f, c)),
        3 => file().prop_map(|(d, f)| Step::Remove(d, f)),
        3 => (file(), file()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (file(), file()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => (0u8..4, 0u8..4).prop_map(|(a, b)| Step::Swap(a, b)),
        2 => (0u8..4).prop_map(Step::RemoveDir),
        2 => (file(), file()).prop_map(|(a, b)| Step::Copy(a, b)),
        3 => any::<u8>().prop_map(Step::Rollback),
        1 => any::<bool>().prop_map(Step::Manual),
        2 => Just(Step::Commit),
        4 => any::<u8>().prop_map(Step::Prune),
        4 => Just(Step::Collect),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec((any::<bool>(), step), 1..80)
}

struct World {
    dir: tempfile::TempDir,
    repo: Option<Repo>,
    /// All objects that ever were, and their lengths.
    objects: HashMap<[u8; 32], u32>,
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn new(body: Body) -> NewInode {
    NewInode { mode: 0o755, uid: 0, gid: 0, body }
}

fn remove_dir(dataset: &Dataset, above: Ino, name: &Name, dir: Ino) {
    for entry in dataset.read(|live| live.list(dir, 0, 100)).unwrap() {
        match entry.kind {
            Kind::Dir => remove_dir(dataset, dir, &entry.name, entry.ino),
            _ => drop(dataset.unlink(BY, dir, &entry.name).unwrap()),
        }
    }
    dataset.rmdir(BY, above, name).unwrap();
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        for dataset in ["a", "b"] {
            repo.create(DatasetName::new(dataset.as_bytes()).unwrap(), 0o755, 0, 0).unwrap();
        }
        World { dir, repo: Some(repo), objects: HashMap::new() }
    }

    fn repo(&self) -> &Repo {
        self.repo.as_ref().unwrap()
    }

    fn dataset(&self, of: bool) -> Arc<Dataset> {
        self.repo().dataset(if of { "b" } else { "a" }).unwrap()
    }

    /// A content of a number: of one chunk, of some, or with manifests of one or two levels, some of which differ
    /// in a single chunk only.
    fn content(&mut self, number: u8) -> Content {
        let objects = self.repo().objects().clone();
        let chunk = |text: String| {
            // Of different lengths, so that some packs have much garbage and some little.
            let bytes = text.repeat(1 + text.len() % 3 * 50);
            objects.put_chunks(&[bytes.as_bytes()]).unwrap()[0]
        };
        let content = match number % 4 {
            0 => Content::One(chunk(format!("one {}", number / 16))),
            1 => {
                Content::Few((0..4).map(|n| Piece::Data(chunk(format!("few {}", number / 16 + n)))).collect())
            }
            kind => {
                let mut tree = TreeBuilder::new(&objects);
                for n in 0..if kind == 2 { 40 } else { 600 } {
                    let own = n == u64::from(number / 8) * 13;
                    let text = if own { format!("{n} of {number}") } else { format!("{n}") };
                    tree.push(Piece::Data(chunk(text))).unwrap();
                }
                tree.finish().unwrap()
            }
        };
        let store = self.repo().store().clone();
        let mut walker = Walker::new(&store);
        let note = &mut |hash: &[u8; 32], len| {
            self.objects.insert(*hash, len);
            Ok(())
        };
        walker.content(&content, note).unwrap();
        content
    }

    fn dir(&self, dataset: &Dataset, number: u8) -> Ino {
        let dir = name(&format!("d{number}"));
        match dataset.read(|live| live.lookup(Ino::ROOT, &dir)).unwrap() {
            Some(ino) => ino,
            None => dataset.change(BY, |live| live.create(Ino::ROOT, &dir, new(Body::Dir), false)).unwrap(),
        }
    }

    /// A file's directory, name, and itself if it is there.
    fn file(&self, dataset: &Dataset, (dir, number): (u8, u8)) -> (Ino, Name, Option<Ino>) {
        let (dir, name) = (self.dir(dataset, dir), name(&format!("f{number}")));
        let found = dataset.read(|live| live.lookup(dir, &name)).unwrap();
        (dir, name, found)
    }

    fn write(&mut self, dataset: &Dataset, at: (u8, u8), content: Content) {
        let (dir, name, found) = self.file(dataset, at);
        let made = dataset.change(BY, |live| match found {
            Some(ino) => live.set_content(ino, content, None).map(drop),
            None => live.create(dir, &name, new(Body::File(content)), false).map(drop),
        });
        made.unwrap();
    }

    fn reopen(&mut self) {
        self.repo = None;
        self.repo = Some(Repo::open(&self.dir.path().join("store"), false).unwrap());
    }

    fn step(&mut self, of: bool, step: Step) {
        let dataset = self.dataset(of);
        match step {
            Step::Write(dir, file, content) => {
                let content = self.content(content);
                self.write(&dataset, (dir, file), content);
            }
            Step::Remove(dir, file) => {
                let (dir, name, found) = self.file(&dataset, (dir, file));
                found.map(|_| dataset.unlink(BY, dir, &name).unwrap());
            }
            Step::Rename(a, b) => {
                let ((from, name, found), (to, new_name, _)) =
                    (self.file(&dataset, a), self.file(&dataset, b));
                if found.is_some() {
                    dataset.rename(BY, (from, &name), (to, &new_name), RenameMode::Replace).unwrap();
                }
            }
            Step::Link(a, b) => {
                let ((.., found), (to, name, taken)) = (self.file(&dataset, a), self.file(&dataset, b));
                if let (Some(ino), None) = (found, taken) {
                    dataset.link(BY, ino, to, &name).unwrap();
                }
            }
            Step::Swap(a, b) => {
                let (first, second) = (self.dir(&dataset, a), self.dir(&dataset, b));
                let (a, b) = (name(&format!("d{a}")), name(&format!("d{b}")));
                // A rollback may have left one within the other.
                let into = (second, &a);
                if first != second && dataset.rename(BY, (Ino::ROOT, &a), into, RenameMode::NoReplace).is_ok()
                {
                    dataset.rename(BY, into, (Ino::ROOT, &a), RenameMode::NoReplace).unwrap();
                    dataset.rename(BY, (Ino::ROOT, &a), (Ino::ROOT, &b), RenameMode::Exchange).unwrap();
                }
            }
            Step::RemoveDir(number) => {
                let dir = self.dir(&dataset, number);
                dataset.begin_batch().unwrap();
                remove_dir(&dataset, Ino::ROOT, &name(&format!("d{number}")), dir);
                dataset.end_batch(BY, None).unwrap();
            }
            Step::Copy(a, b) => {
                let other = self.dataset(!of);
                if let (.., Some(ino)) = self.file(&other, a) {
                    let content = other.read(|live| live.content(ino)).unwrap();
                    self.write(&dataset, b, content);
                }
            }
            Step::Rollback(part) => {
                let target = VersionNo(dataset.newest().0 * u64::from(part) / 256);
                if target > VersionNo::EMPTY && !dataset.is_pruned(target) {
                    dataset.rollback(BY, target, None, false, |_| ()).unwrap();
                }
            }
            Step::Manual(manual) => {
                dataset.set_policy(if manual { Policy::Manual } else { Policy::EveryWrite }).unwrap();
            }
            Step::Commit => drop(dataset.commit(BY, None).unwrap()),
            Step::Prune(part) => {
                let mut plan = dataset.plan_prune(&Rules { last: 1, ..Rules::default() }).unwrap();
                let stays = |planned: &&mut Planned| {
                    planned.version.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(8) as u8 > part
                };
                plan.versions.iter_mut().filter(stays).for_each(|planned| planned.keep.push("kept".into()));
                let dropped = plan.dropped();
                if !dropped.is_empty() {
                    let before = self.garbage();
                    let freed = freed_by(&dataset, &dropped, &self.repo().datasets(), &[]).unwrap();
                    dataset.prune(BY, &plan, None).unwrap();
                    let more = self.garbage().into_iter().filter(|hash| !before.contains(hash));
                    assert_eq!(freed.bytes, more.map(|hash| u64::from(self.objects[&hash])).sum::<u64>());
                    assert_eq!(freed.bytes, freed.paths.iter().map(|(_, bytes)| bytes).sum::<u64>());
                }
            }
            Step::Collect => self.collect(false),
            Step::Reopen => {
                drop(dataset);
                self.reopen();
            }
        }
    }

    /// The objects that are there and not needed.
    fn garbage(&self) -> HashSet<[u8; 32]> {
        let store = self.repo().store();
        let there = self.objects.keys().filter(|hash| store.has_object(hash).unwrap());
        let mut sought: HashMap<[u8; 32], ()> = there.map(|hash| (*hash, ())).collect();
        find_needed(store, &self.repo().datasets(), None, &[], &mut sought).unwrap();
        sought.into_keys().collect()
    }

    fn collect(&mut self, all: bool) {
        let store = self.repo().store().clone();
        let (garbage, datasets) = (self.garbage(), self.repo().datasets());
        let needed: Vec<[u8; 32]> =
            self.objects.keys().copied().filter(|hash| !garbage.contains(hash)).collect();
        let there: Vec<bool> = needed.iter().map(|hash| store.has_object(hash).unwrap()).collect();
        // All that there is is in packs that are looked at.
        let underway = store.begin_collection(true).unwrap();
        if let Some(mut suspects) = suspects(&store, &datasets, &underway).unwrap() {
            for hash in &garbage {
                assert!(suspects.clear(hash), "garbage that nothing tells of");
            }
        }
        drop(underway);
        let users = Users::<Error> { datasets: &|| Ok(datasets.clone()), open: &Vec::new };
        let collected =
            collect(&store, &users, How { all, dry_run: false }, &mut |_| ControlFlow::Continue(()));
        let collected = collected.unwrap();
        for (hash, there) in needed.iter().zip(there) {
            assert_eq!(store.has_object(hash).unwrap(), there, "what is needed stays");
        }
        let left = self.garbage();
        assert!(left.is_subset(&garbage) && (!all || left.is_empty()));
        assert!(left.is_empty() || collected.left + collected.unsure > 0);
        assert_eq!(collected.put_again, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_garbage_is_missed_and_nothing_that_is_needed_goes(steps in steps()) {
        let mut world = World::new();
        for (of, step) in steps {
            world.step(of, step);
        }
        world.collect(false);
        world.collect(true);
    }
}

/// All that files at or below `path` held, by a look at every version.
fn held_below(dataset: &Dataset, path: &[Name]) -> (bool, HashSet<ContentId>) {
    let (mut is_there, mut held) = (false, HashSet::new());
    for version in (1..=dataset.newest().0).map(VersionNo) {
        let tree = dataset.frozen(version);
        let Some(found) = tree.walk(path).unwrap() else { continue };
        is_there = true;
        let mut todo = vec![found];
        while let Some((ino, kind)) = todo.pop() {
            match kind {
                Kind::Dir => todo.extend(tree.all_entries(ino).unwrap().iter().map(|e| (e.ino, e.kind))),
                _ => held.extend(tree.inode(ino).unwrap().1.content().map(content_id)),
            }
        }
    }
    (is_there, held)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_ever_below_a_path_is_what_its_versions_show(steps in steps()) {
        let mut world = World::new();
        for (of, step) in steps {
            world.step(of, step);
        }
        let names: Vec<Name> = (0..4).map(|n| name(&format!("d{n}"))).chain([name("f0"), name("f1")]).collect();
        for of in [false, true] {
            let dataset = world.dataset(of);
            let ever = Ever::new(&dataset);
            let mut paths: Vec<Vec<Name>> = vec![Vec::new()];
            for len in 0..3 {
                let longer = paths.iter().filter(|path| path.len() == len);
                let longer = longer.flat_map(|path| names.iter().map(|name| [&path[..], std::slice::from_ref(name)].concat()));
                paths.extend(longer.collect::<Vec<_>>());
            }
            for path in paths.iter().skip(1) {
                let found = ever.at(path).unwrap();
                let held = found.as_ref().map(|found| found.contents.iter().map(content_id).collect());
                prop_assert_eq!((found.is_some(), held.unwrap_or_default()), held_below(&dataset, path), "{:?}", path);
            }
        }
    }
}

/// Records of old name a directory that went, and not what was in it.
#[test]
fn what_went_with_its_directory_may_be_garbage() {
    let mut world = World::new();
    world.step(false, Step::Write(0, 0, 2));
    world.step(false, Step::Write(1, 0, 0));
    world.collect(false);
    let (id, record) = world.dataset(false).version(VersionNo(4)).unwrap();
    world.repo = None;
    let store = Store::open(&world.dir.path().join("store")).unwrap();
    let head = VersionHead { number: VersionNo(5), previous: id, base: VersionNo(4), ..record.head() };
    let gone = Op::Unlink { dir: Ino::ROOT, name: name("d0") };
    store.append_version(&head, [gone].iter().collect()).unwrap();
    store.close().unwrap();
    world.reopen();
    world.step(false, Step::Prune(255));
    assert!(world.garbage().len() > 40, "the chunks and the manifest of the file that went");
    world.collect(false);
    assert!(world.garbage().is_empty());
}

/// What a value has in common with the next is left to that one's end, also where that has it in common with the first
/// again.
#[test]
fn what_a_file_had_again_may_be_garbage() {
    let mut world = World::new();
    for content in [2, 3, 2, 0] {
        world.step(false, Step::Write(0, 0, content));
    }
    world.collect(false);
    world.step(false, Step::Prune(255));
    assert!(world.garbage().len() > 600);
    world.collect(false);
    assert!(world.garbage().is_empty());
}
