//! Versions of very many changes, which go to sled before they are published.

use std::cell::Cell;

use super::*;
use crate::store::index::change::{head_changes, tree_changes};
use crate::store::pack::NewRecord;
use crate::store::space::Claim;

const FILES: u64 = 30;

/// A store with a version, and a second one of many changes in its log that is held.
struct Half {
    dir: TempDir,
    store: Store,
    id: VersionId,
    record: VersionRecord,
    pos: Pos,
    ends: (LogPos, LogPos),
}

impl Half {
    fn new() -> Half {
        let (dir, store) = new_store();
        let mut history = History::new(DS);
        history.add(&store, file_ops("before", Ino(2), Content::Empty));
        let files = (0..FILES).flat_map(|i| file_ops(&format!("f{i}"), Ino(10 + i), Content::Empty));
        let record = history.next(VersionNo(1), files.collect());
        let encoded = record.head().with(record.ops.iter().collect());
        let id = VersionId::of(encoded.payload());
        let new = NewRecord { kind: RecordKind::Version, hash: id.0, payload: encoded.payload() };
        let mut ends = None;
        let placed = store.log.append(Claim::Record, &[new], |_, end| ends = Some((store.index.hold(), end)));
        let pos = placed.unwrap()[0];
        Half { dir, store, id, record, pos, ends: ends.unwrap() }
    }

    /// Publishes it, and has `meanwhile` done when so many changes have been asked for.
    fn publish(&self, at: u64, meanwhile: impl Fn(&Store)) {
        let (asked, head) = (Cell::new(0), self.record.head());
        let tree = || {
            tree_changes(&head, self.record.ops.iter().cloned(), self.pos).inspect(|_| {
                asked.set(asked.get() + 1);
                if asked.get() == at {
                    meanwhile(&self.store);
                }
            })
        };
        let rest = head_changes(self.id, &head, self.record.ops.len() as u64, self.pos, u64::MAX);
        self.store.index.publish_ahead(tree, rest, self.ends, || self.store.log.sync());
    }
}

fn check(store: &Store) {
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(2));
    for i in 0..FILES {
        assert!(entry(store, &format!("f{i}"), VersionNo(2)).is_some(), "f{i}");
        assert!(entry(store, &format!("f{i}"), VersionNo(1)).is_none(), "f{i}");
        assert!(store.inode(DS, Ino(10 + i), &view(VersionNo(2))).unwrap().is_some(), "f{i}");
    }
    assert!(entry(store, "before", VersionNo(2)).is_some());
}

/// Wherever sled is replaced meanwhile, and again afterwards, nothing of it is missing.
#[test]
fn a_sled_that_is_replaced_meanwhile_has_it_all() {
    for how in 0..3 {
        for at in [1, 5, FILES, 2 * FILES] {
            let half = Half::new();
            half.publish(at, |store| store.index.lose(how));
            check(&half.store);
            half.store.index.lose(how);
            check(&half.store);
            half.store.index.apply(|| half.store.log.sync()).unwrap();
            half.store.index.lose(1);
            check(&half.store);
            let Half { dir, store, .. } = half;
            drop(store);
            check(&Store::open(dir.path()).unwrap());
        }
    }
}

/// What others publish and have applied meanwhile moves no watermark past it: a death then loses nothing.
#[test]
fn a_death_before_it_is_published_loses_nothing() {
    let half = Half::new();
    let other = DatasetId(9);
    let mut history = History::new(other);
    let meanwhile = |store: &Store| {
        store.append_dataset(&dataset(other, "other")).unwrap();
        store.index.apply(|| store.log.sync()).unwrap();
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(1));
        assert!(entry(store, "f0", VersionNo(1)).is_none());
    };
    let dies = std::panic::AssertUnwindSafe(|| {
        half.publish(2 * FILES, |store| {
            meanwhile(store);
            std::panic::resume_unwind(Box::new("the process dies"));
        });
    });
    assert!(std::panic::catch_unwind(dies).is_err());
    history.add(&half.store, file_ops("g", Ino(2), Content::Empty));
    half.store.index.finish(|| half.store.log.sync()).unwrap();
    let Half { dir, store, .. } = half;
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    check(&store);
    assert_eq!(store.last_version(other).unwrap(), VersionNo(1));
}
