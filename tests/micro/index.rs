//! The index, as versions of one small file change it: in memory, as it is just after a write, and on disk.

use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use stratafs::model::{DatasetId, Ino, VersionNo};
use stratafs::store::measuring::{Change, Index, LogPos, Replay, Target, keys};
use stratafs::store::{Result, StoreId};

const DATASET: DatasetId = DatasetId(1);
const VERSIONS: u64 = 20_000;
/// Inodes that get versions in turn.
const INODES: u64 = 1000;

/// Of a log that nobody wrote, nothing can be read again.
#[derive(Debug)]
struct Nothing;

impl Replay for Nothing {
    fn replay(&self, _: LogPos, _: LogPos, _: &dyn Target) -> Result<()> {
        Ok(())
    }
}

/// What a version of one file changes.
fn changes(version: u64) -> [Change; 3] {
    let (v, ino) = (VersionNo(version), Ino(version % INODES));
    [
        Change::Put(keys::at(keys::inode(DATASET, ino), v), vec![1; 100]),
        Change::Put(keys::at(keys::tree(DATASET, Ino(1)), v), vec![2; 32]),
        Change::Put(keys::version(DATASET, v), vec![3; 60]),
    ]
}

fn fill(index: &Index) {
    for version in 0..VERSIONS {
        index.publish(changes(version), LogPos(version + 1));
    }
}

/// Looks up inodes as of versions in the middle.
fn look_ups(criterion: &mut Criterion, name: &str, index: &Index) {
    let mut group = criterion.benchmark_group(name);
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 7919) % VERSIONS;
        turn
    };
    group.bench_function("get", |bencher| {
        bencher.iter(|| index.get(&keys::version(DATASET, VersionNo(next()))).expect("an index that works"))
    });
    group.bench_function("inode as of a version", |bencher| {
        bencher.iter(|| {
            let version = next();
            let prefix = keys::inode(DATASET, Ino(version % INODES));
            index.first(&keys::at(prefix.clone(), VersionNo(version)), &prefix).expect("an index that works")
        })
    });
}

pub fn memory(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let index = Index::in_memory(dir.path(), StoreId([0; 16]), Arc::new(Nothing));
    fill(&index);
    look_ups(criterion, "index in memory", &index);
    let mut version = VERSIONS;
    criterion.benchmark_group("index in memory").bench_function("publish", |bencher| {
        bencher.iter_batched(
            || {
                version += 1;
                changes(version)
            },
            |changes| index.publish(changes, LogPos(u64::MAX)),
            BatchSize::SmallInput,
        )
    });
}

pub fn disk(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let (index, _) = Index::open(dir.path(), StoreId([0; 16]), Arc::new(Nothing)).expect("a new index");
    fill(&index);
    index.apply(|| Ok(LogPos(VERSIONS))).expect("an index that works");
    look_ups(criterion, "index on disk", &index);
}
