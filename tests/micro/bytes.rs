//! Chunking and hashing.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use stratafs::model::{ChunkHash, NodeHash, TreeHash};
use stratafs::store::chunker::next_cut;

/// Bytes that do not repeat, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

pub fn chunker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunker");
    let len = 8 << 20;
    group.throughput(Throughput::Bytes(len as u64));
    for (name, bytes) in [("noise", noise(len)), ("zeros", vec![0; len])] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rest = &bytes[..];
                let mut cuts = 0;
                while !rest.is_empty() {
                    rest = &rest[next_cut(black_box(rest))..];
                    cuts += 1;
                }
                cuts
            })
        });
    }
}

pub fn hashing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hashing");
    for (name, len) in [("chunk, 100 B", 100), ("chunk, 8 KiB", 8 << 10), ("chunk, 64 KiB", 64 << 10)] {
        let bytes = noise(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| bencher.iter(|| ChunkHash::of(black_box(&bytes))));
    }
    let node = noise(1200);
    group.throughput(Throughput::Bytes(node.len() as u64));
    group.bench_function("tree node", |bencher| bencher.iter(|| TreeHash::of(black_box(&node))));
    group.bench_function("manifest node", |bencher| bencher.iter(|| NodeHash::of(black_box(&node))));
}
