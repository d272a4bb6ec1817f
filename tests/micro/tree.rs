//! The tree of a directory's entries, and the manifest tree of a large file.

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use stratafs::dataset::trie::{ChildId, Slot, Trie};
use stratafs::model::{ChunkHash, ChunkRef, Content, Ino, Kind, Name, Piece};
use stratafs::store::Objects;
use stratafs::store::manifest::{Edit, TreeBuilder, locate, splice};

/// Entries of the directory.
const ENTRIES: u64 = 10_000;
/// Pieces of the file: it has some 600 MB.
const PIECES: u32 = 10_000;
const PIECE_LEN: u32 = 60_000;

fn slot(n: u64) -> Slot {
    let name = Name::new(format!("image-{n:06}.jpg").as_bytes()).expect("a valid name");
    Slot { key: name.key(), name, ino: Ino(n + 2), kind: Kind::File }
}

fn filled() -> Trie {
    let mut trie = Trie::default();
    for n in 0..ENTRIES {
        trie.insert(slot(n));
    }
    trie
}

fn hash(trie: &mut Trie) -> [u8; 32] {
    let id = |slot: &Slot| {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&slot.ino.0.to_le_bytes());
        Ok::<_, Infallible>(ChildId { tag: ChildId::TAG_FILE, hash })
    };
    let Ok(hash) = trie.hash(&mut { id });
    hash.0
}

pub fn trie(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trie");
    let mut trie = filled();
    hash(&mut trie);
    let keys: Vec<_> = (0..ENTRIES).map(|n| slot(n * 7919 % ENTRIES).key).collect();
    let mut turns = keys.iter().cycle();
    let mut next = move || turns.next().expect("an endless cycle");
    group.bench_function("get", |bencher| bencher.iter(|| trie.get(black_box(next())).is_some()));
    group.bench_function("touch and hash", |bencher| {
        bencher.iter(|| {
            trie.touch(next());
            hash(&mut trie)
        })
    });
    group.bench_function("insert and remove", |bencher| {
        bencher.iter_batched(
            || slot(ENTRIES),
            |slot| {
                let key = slot.key;
                trie.insert(slot);
                trie.remove(&key)
            },
            BatchSize::SmallInput,
        )
    });
    group.bench_function("fill and hash 10000", |bencher| bencher.iter(|| hash(&mut filled())));
}

fn piece(n: u32) -> Piece {
    Piece::Data(ChunkRef { hash: ChunkHash::of(&n.to_le_bytes()), len: PIECE_LEN })
}

fn build(objects: &Objects, pieces: &[Piece]) -> Content {
    let mut builder = TreeBuilder::new(objects);
    for &piece in pieces {
        builder.push(piece).expect("nodes are only hashed");
    }
    builder.finish().expect("nodes are only hashed")
}

pub fn manifest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manifest");
    let objects = Objects::hash_only();
    let pieces: Vec<_> = (0..PIECES).map(piece).collect();
    let content = build(&objects, &pieces);
    group.bench_function("build 10000 pieces", |bencher| bencher.iter(|| build(&objects, &pieces)));
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 7919) % PIECES;
        u64::from(turn) * u64::from(PIECE_LEN)
    };
    group.bench_function("locate", |bencher| {
        bencher.iter(|| locate(&objects, &content, next()).expect("all nodes are in the cache"))
    });
    group.bench_function("replace a piece", |bencher| {
        bencher.iter(|| {
            let start = next();
            let edit = Edit { range: start..start + u64::from(PIECE_LEN), items: vec![piece(PIECES)] };
            splice(&objects, &content, vec![edit]).expect("all nodes are in the cache")
        })
    });
}
