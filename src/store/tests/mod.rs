//! Tests of the store as a whole. Each works in a directory of its own.

mod ahead;
mod basics;
mod collect;
mod crash;
mod damage;
mod faults;
mod joined;
mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::pack::LogPos;
use super::*;
use crate::model::name::Name;
use crate::model::{
    Author, Body, ChunkRef, Content, DatasetId, DatasetName, DatasetRecord, Dirent, Ino, Inode, Kind, Op,
    PendingRecord, Policy, Span, Timestamp, TreeHash, VersionId, VersionNo, VersionRecord, View,
};

const DS: DatasetId = DatasetId(1);

/// Stores are shared between threads.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
};

fn new_store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open_or_init(dir.path()).unwrap();
    (dir, store)
}

/// Lets a store go as the death of its process would: nothing is synced or applied any more.
fn kill(mut store: Store) {
    drop(store.followers.take());
}

fn packs_of(dir: &Path) -> Vec<PathBuf> {
    let packs = Packs::new(dir.join("packs"), StoreId([0; 16]));
    packs.numbers().unwrap().into_iter().map(|n| packs.path(n)).collect()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn inode(content: Content) -> Inode {
    Inode {
        mode: 0o644,
        uid: 1,
        gid: 2,
        nlink: 1,
        atime: Timestamp(1),
        mtime: Timestamp(2),
        ctime: Timestamp(3),
        body: Body::File(content),
        xattrs: None,
        place: None,
        others: None,
    }
}

fn dataset(id: DatasetId, text: &str) -> DatasetRecord {
    DatasetRecord {
        id,
        name: DatasetName::new(text.as_bytes()).unwrap(),
        created: Timestamp(1),
        archived: false,
        policy: Policy::EveryWrite,
        root: Inode { body: Body::Dir, ..inode(Content::Empty) },
    }
}

/// Makes version records of one dataset that follow each other.
struct History {
    ds: DatasetId,
    last: VersionNo,
    id: VersionId,
}

impl History {
    fn new(ds: DatasetId) -> History {
        History { ds, last: VersionNo::EMPTY, id: VersionId::ROOT }
    }

    fn next(&self, base: VersionNo, ops: Vec<Op>) -> VersionRecord {
        let number = self.last.next();
        VersionRecord {
            dataset: self.ds,
            number,
            previous: self.id,
            base,
            snapshot: TreeHash([number.0 as u8; 32]),
            time: Timestamp(number.0 as i64 * 10),
            author: Author::default(),
            message: None,
            trees: Vec::new(),
            ops,
        }
    }

    fn append(&mut self, store: &Store, record: &VersionRecord) -> Result<VersionId> {
        self.id = store.append_record(record)?;
        self.last = record.number;
        Ok(self.id)
    }

    fn add(&mut self, store: &Store, ops: Vec<Op>) -> VersionNo {
        let record = self.next(self.last, ops);
        self.append(store, &record).unwrap();
        self.last
    }
}

/// The operations that make a file in the root.
fn file_ops(text: &str, ino: Ino, content: Content) -> Vec<Op> {
    vec![
        Op::Link { dir: Ino::ROOT, name: name(text), ino, kind: Kind::File },
        Op::Inode { ino, inode: inode(content) },
    ]
}

fn unlink(text: &str) -> Op {
    Op::Unlink { dir: Ino::ROOT, name: name(text) }
}

fn view(n: VersionNo) -> View {
    View::of(n, &[])
}

fn entry(store: &Store, text: &str, n: VersionNo) -> Option<Dirent> {
    store.entry(DS, Ino::ROOT, name(text).key(), &view(n)).unwrap().map(|(_, entry)| entry)
}

fn read(store: &Store, chunk: ChunkRef) -> Result<Vec<u8>> {
    let mut out = vec![0; chunk.len as usize];
    store.read_parts(&mut [ReadPart { chunk, skip: 0, out: &mut out }])?;
    Ok(out)
}

fn put(store: &Store, bytes: &[u8]) -> ChunkRef {
    store.put_chunks(&[bytes]).unwrap()[0]
}

/// Bytes that do not repeat, different for each seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}
