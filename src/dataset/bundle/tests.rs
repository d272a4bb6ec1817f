//! Whatever history a dataset has, its bundles are found to be what they say.

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dataset::{Caller, Dataset, NewInode, RenameMode, Repo};
use crate::model::{
    Body, Content, DatasetName, Ino, Kind, Name, RetentionAction, RetentionRecord, Rules, VersionNo, codec,
};

const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

/// Something done to a dataset. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) enum Step {
    Dir(usize, u8),
    Leaf(usize, u8, u8),
    Further(usize, u8),
    Remove(usize),
    Rename(usize, usize, u8),
    Mode(usize),
    Rollback(usize),
}

pub(in crate::dataset) fn step() -> impl Strategy<Value = Step> {
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
pub(in crate::dataset) fn entries(dataset: &Dataset) -> Vec<(Ino, Name, Ino, Kind)> {
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
pub(in crate::dataset) fn take(dataset: &Dataset, step: Step) {
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

/// Prunes those of the versions, but for the newest, of which the bit in `which` is set.
fn prune(dataset: &Dataset, which: u64) {
    let rules = Rules { last: 1, ..Rules::default() };
    let mut plan = dataset.plan_prune(&rules).unwrap();
    for planned in plan.versions.iter_mut().filter(|planned| which >> (planned.version.0 % 64) & 1 == 0) {
        planned.keep.push("by chance".into());
    }
    dataset.prune(BY, &plan, None).unwrap();
}

/// The bundle with each of these frames changed, or left out.
fn changed(
    bundle: &Bundle,
    dir: &std::path::Path,
    change: impl Fn(u8, Vec<u8>) -> Option<Vec<u8>>,
) -> crate::dataset::Result<Bundle> {
    let mut bytes = Vec::new();
    let mut out = |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok(())
    };
    let mut frames = bundle.frames().unwrap();
    let mut output = output::Output::new(frames.magic, &mut out);
    while let Some((kind, payload)) = frames.next_frame().unwrap() {
        if let Some(payload) = change(kind, payload).filter(|_| kind != frame::END) {
            output.frame(kind, &payload).unwrap();
        }
    }
    output.finish().unwrap();
    let path = dir.join("changed");
    fs::write(&path, bytes).unwrap();
    Bundle::open(&path, &mut |_, _| Ok(()))
}

/// What a version that is kept has cannot be left out: of a pruned one that wrote it, or of its own.
#[test]
fn what_a_kept_version_has_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::open(&dir.path().join("store"), false).unwrap();
    let dataset: Arc<Dataset> = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
    // Of four files, one goes before the last version.
    for n in 0..4 {
        take(&dataset, Step::Leaf(0, n, 0));
        dataset.seal().unwrap();
    }
    dataset.unlink(BY, Ino::ROOT, &Name::new(b"b").unwrap()).unwrap();
    dataset.seal().unwrap();
    let newest = dataset.newest();
    prune(&dataset, u64::MAX);
    let whole = in_file(dir.path(), &dataset, &repo, 0);
    let lacks = |ino: Ino| {
        let left_out = given_up::encode_left_out(&[ino]);
        let change = |kind, payload| Some(if kind == frame::LEFT_OUT { left_out.clone() } else { payload });
        changed(&whole, dir.path(), change).unwrap().check(None, &mut |_, _| Ok(()))
    };
    let all = entries(&dataset);
    assert_eq!(all.len(), 3);
    for (_, name, ino, _) in all {
        let error = lacks(ino).unwrap_err().to_string();
        assert!(error.contains(&format!("/{name} was left out")), "{error}");
    }
    lacks(Ino(1 << 40)).unwrap();
    // Nor can the last version be pruned, or one that is not in it.
    let last = |first: u64, last: u64| {
        let change = |kind, payload: Vec<u8>| {
            let mut record: RetentionRecord = match kind {
                frame::GIVEN_UP => codec::decode("record", &payload).unwrap(),
                _ => return Some(payload),
            };
            let versions = vec![(VersionNo(first), VersionNo(last))];
            record.action = RetentionAction::Prune { versions, rules: Rules::default() };
            Some(codec::encode(&record))
        };
        changed(&whole, dir.path(), change).map(drop)
    };
    last(1, newest.0 - 1).unwrap();
    for (from, to) in [(1, newest.0), (newest.0 + 1, newest.0 + 1)] {
        assert!(last(from, to).unwrap_err().to_string().contains("cannot have been pruned"));
    }
    // And one that says nothing of prunes leaves nothing out.
    let change = |kind, payload| (kind != frame::GIVEN_UP).then_some(payload);
    let unsaid = changed(&whole, dir.path(), change).unwrap();
    assert!(unsaid.check(None, &mut |_, _| Ok(())).unwrap_err().to_string().contains("was left out"));
}

/// Pins are part of an import that is broken off and finished, and only of versions that are there can one be.
#[test]
fn pins_come_with_an_import_that_is_finished_later() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::open(&dir.path().join("store"), false).unwrap();
    let dataset: Arc<Dataset> = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
    let take_leaf = |n: u8| {
        take(&dataset, Step::Leaf(0, n, 0));
        dataset.seal().unwrap();
    };
    (0..2).for_each(take_leaf);
    let first = in_file(dir.path(), &dataset, &repo, 0);
    let other = Repo::open(&dir.path().join("other"), false).unwrap();
    let there =
        other.adopt(first.record().clone(), |store, id| first.append(store, id, VersionNo::EMPTY)).unwrap();
    (2..4).for_each(take_leaf);
    for version in [1, 3] {
        dataset.pin(BY, VersionNo(version), true, Some(format!("run {version}"))).unwrap();
    }
    let more = in_file(dir.path(), &dataset, &repo, 2);
    let named = |named: u64| {
        let change = |kind, payload: Vec<u8>| {
            let mut record: RetentionRecord = match kind {
                frame::PIN => codec::decode("record", &payload).unwrap(),
                _ => return Some(payload),
            };
            record.action = RetentionAction::Pin(VersionNo(named));
            Some(codec::encode(&record))
        };
        changed(&more, dir.path(), change).map(drop)
    };
    named(4).unwrap();
    assert!(named(5).unwrap_err().to_string().contains("a pin is one of v5, which is not in it"));
    named(0).unwrap_err();
    more.note(other.store(), there.id(), VersionNo(2)).unwrap();
    drop(there);
    drop(other);
    let other = Repo::open(&dir.path().join("other"), false).unwrap();
    let there = other.dataset("d").unwrap();
    assert_eq!(there.newest(), VersionNo(4));
    for version in (1..=4).map(VersionNo) {
        assert_eq!(there.pinned_by(version), dataset.pinned_by(version), "{version}");
    }
    assert_eq!(there.pinned_by(VersionNo(3)).unwrap().message.as_deref(), Some("run 3"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_bundle_of_a_sound_history_is_refused(
        steps in prop::collection::vec(step(), 1..60),
        at in 1..20u64,
        pruned in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        let dataset: Arc<Dataset> = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
        steps.into_iter().for_each(|step| take(&dataset, step));
        dataset.seal().unwrap();
        let newest = dataset.newest().0;
        prop_assume!(newest > 0);
        prune(&dataset, pruned);
        in_file(dir.path(), &dataset, &repo, 0).check(None, &mut |_, _| Ok(())).unwrap();
        let kept = (1..newest).filter(|version| !dataset.is_pruned(VersionNo(*version)));
        for since in kept.step_by(at as usize) {
            let bundle = in_file(dir.path(), &dataset, &repo, since);
            bundle.check(Some(&dataset), &mut |_, _| Ok(())).unwrap();
        }
    }
}
