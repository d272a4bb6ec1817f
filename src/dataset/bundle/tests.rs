//! Whatever history a dataset has, its bundles are found to be what they say.

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dataset::{Caller, Dataset, NewInode, RenameMode, Repo};
use crate::model::{Body, Content, DatasetName, Ino, Kind, Name, VersionNo};

const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

/// Something done to a dataset. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Dir(usize, u8),
    Leaf(usize, u8, u8),
    Further(usize, u8),
    Remove(usize),
    Rename(usize, usize, u8),
    Mode(usize),
    Rollback(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<usize>(), 0..6u8).prop_map(|(dir, name)| Step::Dir(dir, name)),
        4 => (any::<usize>(), 0..6u8, any::<u8>()).prop_map(|(dir, name, to)| Step::Leaf(dir, name, to)),
        2 => (any::<usize>(), 0..6u8).prop_map(|(of, name)| Step::Further(of, name)),
        3 => any::<usize>().prop_map(Step::Remove),
        4 => (any::<usize>(), any::<usize>(), 0..6u8).prop_map(|(of, dir, name)| Step::Rename(of, dir, name)),
        1 => any::<usize>().prop_map(Step::Mode),
        3 => any::<usize>().prop_map(Step::Rollback),
    ]
}

/// All entries of the live tree: where each is, what it is and of which kind.
fn entries(dataset: &Dataset) -> Vec<(Ino, Name, Ino, Kind)> {
    let tree = dataset.frozen(dataset.newest());
    let (mut all, mut dirs) = (Vec::new(), vec![Ino::ROOT]);
    while let Some(dir) = dirs.pop() {
        for entry in tree.all_entries(dir).unwrap() {
            dirs.extend((entry.kind == Kind::Dir).then_some(entry.ino));
            all.push((dir, entry.name, entry.ino, entry.kind));
        }
    }
    all
}

/// Does it, as far as it can be done.
fn take(dataset: &Dataset, step: Step) {
    let all = entries(dataset);
    let named = |name: u8| Name::new(&[b'a' + name]).unwrap();
    let dir = |n: usize| {
        let dirs = all.iter().filter(|(.., kind)| *kind == Kind::Dir).map(|(.., ino, _)| *ino);
        let dirs: Vec<Ino> = std::iter::once(Ino::ROOT).chain(dirs).collect();
        dirs[n % dirs.len()]
    };
    let of = |n: usize| (!all.is_empty()).then(|| all[n % all.len()].clone());
    let make = |at: usize, name: u8, body: Body| {
        let new = NewInode { mode: 0o755, uid: 0, gid: 0, body };
        drop(dataset.change(BY, |live| live.create(dir(at), &named(name), new, false)));
    };
    match step {
        Step::Dir(at, name) => make(at, name, Body::Dir),
        Step::Leaf(at, name, to) if to % 2 == 0 => make(at, name, Body::File(Content::Empty)),
        Step::Leaf(at, name, to) => make(at, name, Body::Symlink([to][..].into())),
        Step::Further(n, name) => {
            if let Some((dir, _, ino, _)) = of(n).filter(|(.., kind)| *kind != Kind::Dir) {
                drop(dataset.link(BY, ino, dir, &named(name)));
            }
        }
        Step::Remove(n) => match of(n) {
            Some((dir, name, _, Kind::Dir)) => drop(dataset.change(BY, |live| live.rmdir(dir, &name))),
            Some((dir, name, ..)) => drop(dataset.unlink(BY, dir, &name)),
            None => {}
        },
        Step::Rename(n, to, new) => {
            if let Some((from, name, ..)) = of(n) {
                let to = (dir(to), &named(new));
                drop(dataset.rename(BY, (from, &name), to, RenameMode::Replace));
            }
        }
        Step::Mode(n) => {
            if let Some((.., ino, _)) = of(n) {
                let change =
                    crate::dataset::SetAttr { mode: Some(0o600 | (n as u32 & 0o100)), ..Default::default() };
                drop(dataset.adjust(BY, |live| live.set_attr(ino, &change)));
            }
        }
        Step::Rollback(n) => {
            let newest = dataset.newest().0;
            if newest > 0 {
                let target = VersionNo(1 + n as u64 % newest);
                dataset.rollback(BY, target, None, false, |_| ()).unwrap();
            }
        }
    }
}

fn in_file(dir: &std::path::Path, dataset: &Dataset, repo: &Repo, since: u64) -> Bundle {
    let mut bytes = Vec::new();
    let last = dataset.newest();
    bundle(repo.store(), dataset, VersionNo(since), last, &mut |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    let path = dir.join("bundle");
    fs::write(&path, bytes).unwrap();
    Bundle::open(&path, &mut |_, _| Ok(())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_bundle_of_a_sound_history_is_refused(steps in prop::collection::vec(step(), 1..60), at in 1..20u64) {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        let dataset: Arc<Dataset> = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
        steps.into_iter().for_each(|step| take(&dataset, step));
        dataset.seal().unwrap();
        let newest = dataset.newest().0;
        prop_assume!(newest > 0);
        in_file(dir.path(), &dataset, &repo, 0).check(None, &mut |_, _| Ok(())).unwrap();
        for since in (1..newest).step_by(at as usize) {
            let bundle = in_file(dir.path(), &dataset, &repo, since);
            bundle.check(Some(&dataset), &mut |_, _| Ok(())).unwrap();
        }
    }
}
