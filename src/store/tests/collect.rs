//! Collections: what is used while one is under way stays.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::*;
use crate::store::collect::{Need, Sought, Underway};

fn chunk(n: u8) -> Vec<u8> {
    vec![n; 70_000]
}

pub fn put(store: &Store, n: u8) -> ChunkRef {
    store.put_chunks(&[&chunk(n)]).unwrap()[0]
}

/// Whether a chunk is what it was.
pub fn is_there(store: &Store, chunk: ChunkRef, n: u8) -> bool {
    let mut out = vec![0; chunk.len as usize];
    let mut parts = [ReadPart { chunk, skip: 0, out: &mut out }];
    store.read_parts(&mut parts).is_ok() && out == self::chunk(n)
}

/// Collects all that is not marked from the packs after `after`; gives the last of them.
pub fn collect(store: &Store, underway: &mut Underway<'_>, after: u32, needed: &[ChunkRef]) -> Option<u32> {
    let mut candidates = store.candidates(underway, after).unwrap()?;
    needed.iter().for_each(|chunk| candidates.mark(&chunk.hash.0, Need::Version));
    let mut collection = Collection::default();
    let step = &mut || ControlFlow::Continue(());
    Some(store.collect(underway, &candidates, (true, false), &mut collection, step).unwrap())
}

/// What an import put in packs that were sealed while a collection of earlier ones was under way was taken for
/// garbage by its next turn.
#[test]
fn what_is_put_during_a_collection_is_not_collected() {
    let (_dir, store) = new_store();
    let garbage = put(&store, 1);
    let mut underway = store.begin_collection(true).unwrap();
    let (new, again) = (put(&store, 2), put(&store, 3));
    store.log.seal(1).unwrap();
    let mut after = 0;
    let mut turns = 0;
    while let Some(last) = collect(&store, &mut underway, after, &[]) {
        (after, turns) = (last, turns + 1);
        assert_eq!(put(&store, 3), again);
        store.log.seal(1).unwrap();
    }
    assert_eq!(turns, 1, "what came later is not looked at");
    assert!(!is_there(&store, garbage, 1) && is_there(&store, new, 2) && is_there(&store, again, 3));
    drop(underway);
    let mut underway = store.begin_collection(true).unwrap();
    collect(&store, &mut underway, 0, &[again]);
    assert!(!is_there(&store, new, 2) && is_there(&store, again, 3), "by the next it is");
}

#[test]
fn what_is_put_again_during_a_collection_stays() {
    let (dir, store) = new_store();
    let (found, gone) = (put(&store, 1), put(&store, 2));
    let mut underway = store.begin_collection(true).unwrap();
    assert_eq!(put(&store, 1), found);
    collect(&store, &mut underway, 0, &[]);
    assert!(is_there(&store, found, 1) && !is_there(&store, gone, 2));
    assert_eq!(put(&store, 2), gone);
    assert!(is_there(&store, gone, 2), "it is stored anew");
    drop(underway);
    drop(store);
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(is_there(&store, found, 1) && is_there(&store, gone, 2), "also by a replay");
}

/// What died between forgetting and rewriting is found by the next; what was put again in between stays.
#[test]
fn a_collection_that_was_cut_off_is_done_by_the_next() {
    let (dir, store) = new_store();
    let (again, gone) = (put(&store, 1), put(&store, 2));
    let objects = [again, gone].map(|chunk| chunk.hash.0).to_vec();
    store.append_reclaim(&crate::model::ReclaimRecord { objects }).unwrap();
    store.sync().unwrap();
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(!is_there(&store, again, 1) && !is_there(&store, gone, 2));
    assert_eq!(put(&store, 1), again);
    let before = store.stats().pack_bytes;
    let mut underway = store.begin_collection(true).unwrap();
    collect(&store, &mut underway, 0, &[again]);
    assert!(store.stats().pack_bytes + 60_000 < before, "the bytes of what is gone are given back");
    drop(underway);
    assert!(is_there(&store, again, 1) && !is_there(&store, gone, 2));
    drop(store);
    Store::rebuild_index(dir.path()).unwrap();
    assert!(is_there(&Store::open(dir.path()).unwrap(), again, 1));
}

#[test]
fn collections_and_what_is_in_flight_exclude_each_other() {
    let (_dir, store) = new_store();
    let held = store.hold();
    assert!(matches!(store.begin_collection(true), Err(Error::Refused(_))));
    drop(held);
    let underway = store.begin_collection(true).unwrap();
    assert!(matches!(store.begin_collection(true), Err(Error::Refused(_))));
    drop(underway);
    drop(store.begin_collection(true).unwrap());
}

#[test]
fn what_was_copied_during_a_collection_is_told() {
    let (_dir, store) = new_store();
    let content = Content::One(put(&store, 1));
    store.note_copied(&content);
    assert_eq!(store.copied(), [], "none is under way");
    let underway = store.begin_collection(true).unwrap();
    (0..3).for_each(|_| store.note_copied(&content));
    assert_eq!(store.copied(), [content]);
    drop(underway);
    assert_eq!(store.copied(), []);
}

/// A damaged pack is left as it is, and that is told: who removes something for good must not say that it is gone.
#[test]
fn a_damaged_pack_is_not_taken_for_done() {
    let (dir, store) = new_store();
    let (secret, other) = (put(&store, 1), put(&store, 2));
    let mut underway = store.begin_collection(true).unwrap();
    let pack = &packs_of(dir.path())[0];
    let mut bytes = std::fs::read(pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(pack, &bytes).unwrap();
    let mut collection = Collection::default();
    store.remove_objects(&mut underway, &HashSet::from([secret.hash.0]), &mut collection).unwrap();
    assert_eq!((collection.rewritten, collection.damaged), (0, 1));
    assert!(is_there(&store, secret, 1) && is_there(&store, other, 2));
}
