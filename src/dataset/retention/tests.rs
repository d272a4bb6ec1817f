//! What is given up at the same time as it is named or taken up.

use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::dataset::{NewInode, Repo};
use crate::model::{Body, Content, Ino, Name, TagName};

const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

/// A dataset with so many versions.
fn dataset(versions: u64) -> (tempfile::TempDir, Repo, Arc<Dataset>) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::open(&dir.path().join("store"), false).unwrap();
    let dataset = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
    (0..versions).for_each(|_| make_version(&dataset));
    (dir, repo, dataset)
}

fn make_version(dataset: &Dataset) {
    let name = Name::new(dataset.newest().to_string().as_bytes()).unwrap();
    let new = NewInode { mode: 0o644, uid: 0, gid: 0, body: Body::File(Content::Empty) };
    dataset.change(BY, |live| live.create(Ino::ROOT, &name, new, false)).unwrap();
}

fn plan(dataset: &Dataset) -> Plan {
    dataset.plan_prune(&Rules { last: 1, ..Rules::default() }).unwrap()
}

#[test]
fn a_pruned_version_gets_no_pin_and_is_not_taken_up() {
    let (_dir, _repo, dataset) = dataset(2);
    dataset.prune(BY, &plan(&dataset), None).unwrap();
    let pruned = |result: Result<()>| assert!(matches!(result, Err(Error::Pruned { .. })), "{result:?}");
    // As where the prune came after the pin had looked.
    pruned(dataset.note_retention(BY, None, RetentionAction::Pin(VersionNo(1))));
    assert!(!dataset.is_pinned(VersionNo(1)));
    pruned(dataset.rollback(BY, VersionNo(1), None, false, |_| ()).map(drop));
    assert_eq!(dataset.newest(), VersionNo(2));
}

/// A tag that was being given when a prune was recorded named a version that was no more.
#[test]
fn a_version_is_tagged_or_pruned_and_never_both() {
    let (_dir, _repo, dataset) = dataset(1);
    for round in 0..60 {
        let version = dataset.newest();
        make_version(&dataset);
        let name = TagName::new(&format!("t{round}")).unwrap();
        let start = Barrier::new(2);
        let (tagged, pruned) = thread::scope(|scope| {
            let tag = scope.spawn(|| {
                start.wait();
                dataset.set_tag(BY, name.clone(), version, None)
            });
            let plan = plan(&dataset);
            start.wait();
            let pruned = dataset.prune(BY, &plan, None);
            (tag.join().unwrap(), pruned)
        });
        assert_eq!(dataset.is_pruned(version), pruned.is_ok(), "{pruned:?}");
        assert_ne!(tagged.is_ok(), pruned.is_ok(), "{tagged:?}, {pruned:?}");
        assert!(matches!(pruned, Ok(()) | Err(Error::Named { .. })), "{pruned:?}");
    }
}
