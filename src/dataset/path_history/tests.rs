//! The history of any path in any history is what a look at all that was ever recorded on the way to it gives.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::dataset::bundle::tests::{Step, entries, step, take};
use crate::dataset::{Caller, Repo};
use crate::model::{Content, DatasetName};
use crate::store::ObjectStore;

/// All versions in which anything was recorded of what the path ever named are looked at, and compared.
fn by_all_that_was_recorded(dataset: &Dataset, path: &[Name]) -> Option<Vec<VersionNo>> {
    let (store, id, newest) = (&dataset.store, dataset.id(), dataset.newest());
    let mut candidates: BTreeSet<VersionNo> =
        dataset.rollbacks().iter().map(|(version, _)| *version).collect();
    let mut named = BTreeSet::from([(Ino::ROOT, Kind::Dir)]);
    for name in path {
        let mut next = BTreeSet::new();
        for (dir, _) in named.into_iter().filter(|(_, kind)| *kind == Kind::Dir) {
            for (version, entry) in store.entry_versions(id, dir, name.key(), newest, usize::MAX).unwrap() {
                candidates.insert(version);
                next.extend(entry.map(|entry| (entry.ino, entry.kind)));
            }
        }
        named = next;
    }
    if named.is_empty() {
        return None;
    }
    let mut in_tree = BTreeSet::new();
    for (ino, kind) in named {
        if kind == Kind::Dir {
            let changes = store.tree_versions(id, ino, newest, usize::MAX).unwrap();
            in_tree.extend(changes.into_iter().map(|(version, _)| (version, ino)));
        }
        let changes = store.inode_versions(id, ino, newest, usize::MAX).unwrap();
        candidates.extend(changes.into_iter().map(|(version, _)| version));
    }
    candidates.extend(in_tree.iter().map(|(version, _)| *version));
    let (mut versions, mut before) = (Vec::new(), None);
    for version in candidates {
        let after = state_at(&dataset.frozen(version), path).unwrap();
        let touched = matches!(&after, Some(State::Dir(ino, ..)) if in_tree.contains(&(version, *ino)));
        if touched || differ(before.as_ref(), after.as_ref()) {
            versions.push(version);
        }
        before = after;
    }
    Some(versions)
}

/// The same followed back through renames: at each, on with all of the path before.
fn followed(dataset: &Dataset, path: &[Name]) -> Option<Vec<(VersionNo, Option<Vec<Name>>)>> {
    let (mut versions, mut path) = (by_all_that_was_recorded(dataset, path)?, path.to_vec());
    let (mut log, mut was) = (Vec::new(), None);
    while let Some(version) = versions.pop() {
        log.push((version, was.clone()));
        if let Some(from) = dataset.came_from(version, &path).unwrap() {
            versions = by_all_that_was_recorded(dataset, &from).unwrap_or_default();
            versions.retain(|older| *older < version);
            was = Some(from.clone());
            path = from;
        }
    }
    Some(log)
}

/// Something done to a dataset, or a file of it gets a content.
#[derive(Clone, Copy, Debug)]
enum Change {
    Step(Step),
    Content(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => step().prop_map(Change::Step),
        2 => (any::<usize>(), 0..4u8).prop_map(|(of, content)| Change::Content(of, content)),
    ]
}

fn write(dataset: &Dataset, of: usize, content: u8) {
    let files = entries(dataset).into_iter().filter(|(.., kind)| *kind == Kind::File);
    let files: Vec<Ino> = files.map(|(.., ino, _)| ino).collect();
    if !files.is_empty() {
        let chunks = dataset.store.put_chunks(&[&[content]]).unwrap();
        let (ino, content) = (files[of % files.len()], Content::One(chunks[0]));
        drop(dataset.change(Caller::default(), |live| live.set_content(ino, content, None)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn histories_of_paths_are_what_was_recorded(changes in prop::collection::vec(change(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        let dataset = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
        for change in changes {
            match change {
                Change::Step(step) => take(&dataset, step),
                Change::Content(of, content) => write(&dataset, of, content),
            }
        }
        dataset.seal().unwrap();
        let names: Vec<Name> = (b'a'..=b'f').map(|byte| Name::new(&[byte]).unwrap()).collect();
        let mut paths: Vec<Vec<Name>> = vec![Vec::new()];
        for len in 0..3 {
            let above: Vec<Vec<Name>> = paths.iter().filter(|path| path.len() == len).cloned().collect();
            let below = |path: &Vec<Name>| {
                let longer = |name: &Name| [&path[..], std::slice::from_ref(name)].concat();
                names.iter().map(longer).collect::<Vec<_>>()
            };
            paths.extend(above.iter().flat_map(below));
        }
        for path in paths.iter().skip(1) {
            let expected = by_all_that_was_recorded(&dataset, path);
            prop_assert_eq!(dataset.path_versions(path).unwrap(), expected, "{:?}", path);
            let mut log = dataset.path_log(path, true).unwrap();
            let told = log.as_mut().map(|log| {
                std::iter::from_fn(|| log.next_version().unwrap()).collect::<Vec<_>>()
            });
            prop_assert_eq!(told, followed(&dataset, path), "{:?}", path);
        }
    }
}
