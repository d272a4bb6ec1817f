//! Purges that were cut off.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::dataset::{Caller, Dataset, NewInode, Repo};
use crate::model::{Body, Content, DatasetName, Ino, Name};
use crate::store::{ObjectStore, UnfinishedPurge};

use super::super::Service;

const BY: Caller = Caller { uid: 1, gid: 2, pid: 0 };

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn write(dataset: &Dataset, file: &str, content: &Content) {
    let new = NewInode { mode: 0o644, uid: 0, gid: 0, body: Body::File(content.clone()) };
    dataset.change(BY, |live| live.create(Ino::ROOT, &name(file), new, false)).unwrap();
}

/// Of a purge of two files that was cut off when it was recorded, one of which is in use again, the other is
/// removed.
#[test]
fn what_is_in_use_again_is_not_in_the_way_of_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Arc::new(Repo::open(&dir.path().join("store"), false).unwrap());
    let dataset = repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
    let chunks = repo.store().put_chunks(&[b"first secret", b"second secret"]).unwrap();
    let contents: Vec<Content> = chunks.iter().map(|chunk| Content::One(*chunk)).collect();
    for (file, content) in ["first", "second"].iter().zip(&contents) {
        write(&dataset, file, content);
        dataset.unlink(BY, Ino::ROOT, &name(file)).unwrap();
    }
    let paths = ["first", "second"].map(|file| vec![name(file)]);
    let purge = UnfinishedPurge {
        dataset: dataset.id(),
        paths: BTreeSet::from(paths),
        everywhere: false,
        reason: "law".into(),
    };
    repo.store().begin_purge(&purge).unwrap();
    let objects: HashSet<[u8; 32]> = chunks.iter().map(|chunk| chunk.hash.0).collect();
    dataset.note_purge(BY, "\"first\" \"second\"".into(), "law".into(), &objects).unwrap();
    write(&dataset, "again", &contents[0]);
    Service::new(repo.clone(), None).finish_purges();
    let has = |n: usize| repo.store().has_object(&chunks[n].hash.0).unwrap();
    assert_eq!((has(0), has(1)), (true, false));
    assert_eq!(repo.store().unfinished_purges().unwrap(), []);
    let told: Vec<String> = dataset.tombstones().into_iter().map(|told| told.path).collect();
    assert_eq!((told, dataset.purge_count()), (vec!["first".to_owned(), "second".to_owned()], 1));
}
