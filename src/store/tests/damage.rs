//! A flipped bit costs the bytes concerned, and is found.

use std::ops::ControlFlow;

use super::*;
use crate::model::NodeHash;
use crate::model::content::CHUNK_MAX;
use crate::store::pack::{RECORD_HEADER, SEAL_SIZE};

fn flip_payload(store: &Store, hash: &[u8; 32], at: u32) {
    let pos = store.object_pos(hash).unwrap().unwrap();
    let path = store.packs.path(pos.pack);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(pos.offset + at) as usize] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

fn verify(store: &Store) -> Vec<Damage> {
    let verdict = store.verify(|_| ControlFlow::Continue(())).unwrap();
    assert!(verdict.complete);
    verdict.damages
}

#[test]
fn a_flipped_bit_is_an_error_on_that_chunk_only() {
    let (dir, store) = new_store();
    let refs: Vec<ChunkRef> = (0..5).map(|i| put(&store, &noise(30_000, i))).collect();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    flip_payload(&store, &refs[2].hash.0, 29_999);
    // Bytes before the damage in the same chunk are refused too: a chunk is verified whole.
    let mut out = [0; 10];
    let error = store.read_parts(&mut [ReadPart { chunk: refs[2], skip: 5, out: &mut out }]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&refs[2].hash.to_hex()) && text.contains("00000001.pack"), "{text}");
    assert_eq!(out, [0; 10]);
    for i in [0, 1, 3, 4] {
        assert_eq!(read(&store, refs[i]).unwrap(), noise(30_000, i as u64));
    }
    let pos = store.object_pos(&refs[2].hash.0).unwrap().unwrap();
    let damage = Damage {
        pack: 1,
        offset: u64::from(pos.offset - RECORD_HEADER),
        kind: DamageKind::Payload(RecordKind::Chunk),
        hash: Some(refs[2].hash.0),
    };
    assert_eq!(verify(&store), [damage]);
}

#[test]
fn a_damaged_chunk_put_again_is_mended() {
    let (dir, store) = new_store();
    let chunk = put(&store, &noise(5000, 1));
    let node = store.put_node(b"node").unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    flip_payload(&store, &chunk.hash.0, 7);
    flip_payload(&store, &node.0, 2);
    assert!(matches!(read(&store, chunk), Err(Error::Corrupt(_))));
    assert!(matches!(store.node(&node), Err(Error::Corrupt(_))));
    assert_eq!(put(&store, &noise(5000, 1)), chunk);
    assert_eq!(store.put_node(b"node").unwrap(), node);
    assert_eq!(read(&store, chunk).unwrap(), noise(5000, 1));
    assert_eq!(store.node(&node).unwrap(), b"node");
    drop(store);
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(read(&store, chunk).unwrap(), noise(5000, 1));
    assert_eq!(store.node(&node).unwrap(), b"node");
}

#[test]
fn a_damaged_version_record_is_an_error_and_the_rest_goes_on() {
    let (dir, store) = new_store();
    let mut history = History::new(DS);
    for i in 1..=3 {
        history.add(&store, file_ops(&format!("f{i}"), Ino(i + 1), Content::Empty));
    }
    let pos = store.version_meta(DS, VersionNo(2)).unwrap().unwrap().record;
    drop(store);
    let pack = &packs_of(dir.path())[0];
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[pos.offset as usize + 8..][..2].fill(0xee);
    std::fs::write(pack, bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(store.version(DS, VersionNo(2)), Err(Error::Corrupt(_))));
    assert!(store.version(DS, VersionNo(3)).unwrap().is_some());
    assert_eq!(verify(&store)[0].kind, DamageKind::Payload(RecordKind::Version));
    drop(store);
    // Without its index, it is lost; what is after it is kept, and writing goes on with the next number.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.version_meta(DS, VersionNo(2)).unwrap(), None);
    assert_eq!(store.lost_versions(DS).unwrap(), [Span { first: VersionNo(2), last: VersionNo(2) }]);
    assert_eq!(verify(&store), []);
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(3));
    assert_eq!(store.version_at(DS, Timestamp(25)).unwrap(), VersionNo(1));
    assert_eq!(store.version_at(DS, Timestamp(30)).unwrap(), VersionNo(3));
    assert_eq!(history.add(&store, vec![]), VersionNo(4));
}

/// A store of one sealed pack and a second, with their chunks.
fn two_packs() -> (TempDir, Vec<ChunkRef>) {
    let (dir, store) = new_store();
    let count = u64::from(SEAL_SIZE) / CHUNK_MAX as u64 + 3;
    let refs = (0..count).map(|i| put(&store, &noise(CHUNK_MAX, i))).collect();
    let mut history = History::new(DS);
    history.add(&store, vec![]);
    drop(store);
    assert_eq!(packs_of(dir.path()).len(), 2);
    (dir, refs)
}

#[test]
fn a_sealed_pack_without_its_footer_is_searched_and_never_cut() {
    let (dir, refs) = two_packs();
    let pack = &packs_of(dir.path())[0];
    let mut bytes = std::fs::read(pack).unwrap();
    let len = bytes.len();
    // The footer's magic, and the header of the second chunk.
    bytes[len - 1] ^= 1;
    bytes[40 + 56 + CHUNK_MAX + 3] ^= 1;
    std::fs::write(pack, &bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let kinds: Vec<DamageKind> = verify(&store).into_iter().map(|d| d.kind).collect();
    let gap = DamageKind::NoRecord(56 + CHUNK_MAX as u64);
    assert_eq!(kinds, [gap, DamageKind::Payload(RecordKind::Footer), DamageKind::Footer]);
    drop(store);
    assert!(std::fs::read(pack).unwrap() == bytes);
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (i, r) in refs.iter().enumerate() {
        assert_eq!(read(&store, *r).unwrap(), noise(CHUNK_MAX, i as u64));
    }
    assert_eq!(verify(&store), []);
    assert_eq!(std::fs::metadata(pack).unwrap().len(), len as u64);
    assert!(std::fs::read(dir.path().join("damaged/00000001.pack")).unwrap() == bytes);
}

#[test]
fn a_pack_cut_short_or_missing_costs_what_was_in_it() {
    let (dir, refs) = two_packs();
    let packs = packs_of(dir.path());
    let store = Store::open(dir.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&packs[0]).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(read(&store, refs[0]).unwrap(), noise(CHUNK_MAX, 0));
    assert!(matches!(read(&store, refs[12]), Err(Error::Corrupt(_))));
    assert!(!verify(&store).is_empty());
    drop(store);
    std::fs::remove_file(&packs[0]).unwrap();
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(1));
    assert!(matches!(read(&store, refs[0]), Err(Error::Missing(_))));
    let last = refs.len() - 1;
    assert_eq!(read(&store, refs[last]).unwrap(), noise(CHUNK_MAX, last as u64));
}

#[test]
fn verification_can_be_broken_off_and_names_a_bad_pack_header() {
    let (dir, store) = new_store();
    put(&store, b"x");
    let verdict = store.verify(|_| ControlFlow::Break(())).unwrap();
    assert!(!verdict.complete);
    let pack = &packs_of(dir.path())[0];
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[9] ^= 1;
    std::fs::write(pack, bytes).unwrap();
    assert_eq!(verify(&store)[0].kind, DamageKind::PackHeader);
}

#[test]
fn records_can_be_walked() {
    let (_dir, store) = new_store();
    put(&store, b"x");
    let node = store.put_node(b"n").unwrap();
    let mut seen = Vec::new();
    let want = |kind| kind == RecordKind::Node;
    store
        .each_record(want, |header, _, payload| {
            seen.push((header.kind, payload == Payload::Intact(b"n")));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [(RecordKind::Chunk, false), (RecordKind::Node, true)]);
    assert_eq!(node, NodeHash::of(b"n"));
}
