use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::dataset::{Caller, NewInode, RenameMode, Repo};
use crate::model::{Author, DatasetName, Timestamp};
use crate::store::{Damage, DamageKind, RecordKind};

struct Fixture {
    _dir: tempfile::TempDir,
    repo: Repo,
    dataset: Arc<Dataset>,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("store"), false).unwrap();
        let dataset = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
        Fixture { _dir: dir, repo, dataset }
    }

    fn make(&self, dir: Ino, name: &str, body: Body) -> Ino {
        let new = NewInode { mode: 0o755, uid: 0, gid: 0, body };
        self.dataset.change(by(), |live| live.create(dir, &named(name), new, false)).unwrap()
    }

    fn write(&self, ino: Ino, bytes: &[u8]) {
        let file = self.dataset.open(ino).unwrap().unwrap();
        {
            let mut edit = file.edit();
            edit.write().truncate(self.dataset.objects(), 0).unwrap();
            edit.write().write_at(self.dataset.objects(), 0, bytes).unwrap();
        }
        self.dataset.flush(by(), ino, &file).unwrap();
        self.dataset.close(ino);
    }

    fn rollback(&self, to: u64) {
        self.dataset.rollback(by(), VersionNo(to), None, false, |_| ()).unwrap().unwrap();
    }

    fn findings(&self, damaged: HashSet<(u32, u64)>) -> Vec<Finding> {
        let mut all = Vec::new();
        let kind = DamageKind::Payload(RecordKind::Chunk);
        let damages: Vec<Damage> =
            damaged.into_iter().map(|(pack, offset)| Damage { pack, offset, kind, hash: None }).collect();
        let damaged = Damaged::new(&damages);
        let known = Known::new(self.repo.store(), &damaged);
        let versions = verify_dataset(&self.dataset, known, &mut |finding| {
            all.push(finding);
            Ok::<_, crate::dataset::Error>(())
        });
        assert_eq!(versions.unwrap(), self.dataset.newest().0);
        all
    }
}

fn by() -> Caller {
    Caller { uid: 1, gid: 2, pid: 0 }
}

fn named(name: &str) -> Name {
    Name::new(name.as_bytes()).unwrap()
}

/// Versions of all kinds: files written anew, moved and removed directories, links, rollbacks, one to
/// a version that a rollback had left behind.
fn busy() -> Fixture {
    let f = Fixture::new();
    let (a, b) = (f.make(Ino::ROOT, "a", Body::Dir), f.make(Ino::ROOT, "b", Body::Dir));
    let deep = f.make(a, "deep", Body::Dir);
    for n in 0..60 {
        let ino = f.make(deep, &format!("f{n}"), Body::File(Content::Empty));
        f.write(ino, format!("content {n}").as_bytes());
    }
    let linked = f.make(b, "link", Body::Symlink(b"f1"[..].into()));
    f.dataset.link(by(), linked, a, &named("again")).unwrap();
    f.dataset.rename(by(), (a, &named("deep")), (b, &named("moved")), RenameMode::Replace).unwrap();
    let before = f.dataset.newest().0;
    f.dataset.unlink(by(), b, &named("link")).unwrap();
    for n in 0..60 {
        f.dataset.unlink(by(), deep, &named(&format!("f{n}"))).unwrap();
    }
    f.dataset.change(by(), |live| live.rmdir(b, &named("moved"))).unwrap();
    let bare = f.dataset.newest().0;
    f.rollback(before);
    f.make(deep, "new", Body::Symlink(b"x"[..].into()));
    f.rollback(bare);
    f.rollback(3);
    f.make(deep, "newer", Body::Dir);
    f.rollback(before + 5);
    f
}

#[test]
fn a_busy_history_is_sound() {
    let f = busy();
    assert!(f.dataset.newest().0 > 180);
    assert_eq!(f.findings(HashSet::new()), []);
}

#[test]
fn a_replay_from_the_index_is_the_one_from_the_records() {
    let f = busy();
    for number in (1..=f.dataset.newest().0).step_by(7).map(VersionNo) {
        let snapshot = f.dataset.snapshot(number).unwrap();
        assert_eq!(
            Replay::load(&f.dataset.frozen(number)).unwrap().snapshot().unwrap(),
            snapshot,
            "{number}"
        );
    }
}

#[test]
fn records_that_lie_are_found() {
    let f = busy();
    let last = f.dataset.newest();
    let (id, newest) = f.dataset.version(last).unwrap();
    let record = |number: VersionNo, previous| VersionRecord {
        number,
        previous,
        base: last,
        snapshot: TreeHash([7; 32]),
        time: Timestamp::now(),
        author: Author::default(),
        message: None,
        trees: vec![(Ino(2), TreeHash([8; 32]))],
        ops: Vec::new(),
        dataset: newest.dataset,
    };
    let store = f.repo.store();
    let false_tree = record(last.next(), id);
    store.append_record(&false_tree).unwrap();
    let reopened = Dataset::load(store.clone(), f.repo.objects().clone(), f.dataset.record(), false).unwrap();
    let f = Fixture { dataset: Arc::new(reopened), ..f };
    let all = f.findings(HashSet::new());
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|finding| finding.version == Some(last.next())));
    assert!(all[0].what.contains("its record says 0707"), "{all:?}");
    assert!(all[1].what.contains("hash of directory 2"), "{all:?}");
}

#[test]
fn damaged_content_is_named_where_it_first_appears() {
    let f = Fixture::new();
    let dir = f.make(Ino::ROOT, "dir", Body::Dir);
    let ino = f.make(dir, "file", Body::File(Content::Empty));
    f.write(ino, b"soon damaged");
    let bad = f.dataset.newest();
    let other = f.make(dir, "copy", Body::File(Content::Empty));
    f.write(other, b"soon damaged");
    f.write(ino, b"fine");
    let hash = crate::model::ChunkHash::of(b"soon damaged");
    let place = f.repo.store().locate(&hash.0).unwrap().unwrap();
    let all = f.findings(HashSet::from([place]));
    let seen: Vec<_> = all.iter().map(|f| (f.version, f.path.clone().unwrap(), f.newest)).collect();
    let path = |name| vec![named("dir"), named(name)];
    let copied = VersionNo(bad.0 + 2);
    assert_eq!(
        seen,
        [(Some(bad), path("file"), Some(false)), (Some(copied), path("copy"), Some(true))],
        "{all:?}"
    );
    assert!(all.iter().all(|f| f.place == Some(place) && f.what.contains(&hash.to_hex())));
}

#[test]
fn missing_content_is_found() {
    let f = Fixture::new();
    let ghost = crate::model::ChunkRef { hash: crate::model::ChunkHash::of(b"never stored"), len: 12 };
    f.make(Ino::ROOT, "ghost", Body::File(Content::One(ghost)));
    let all = f.findings(HashSet::new());
    assert_eq!(all.len(), 1);
    assert!(all[0].what.contains("missing") && all[0].newest == Some(true), "{all:?}");
}
