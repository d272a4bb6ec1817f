//! What goes in comes out, before and after closing.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::model::content::CHUNK_MAX;
use crate::model::{PendingRecord, TreeRef};
use crate::store::FORMAT;
use crate::store::pack::SEAL_SIZE;

#[test]
fn a_new_store_is_private_and_has_an_identity() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("a/store");
    Store::init(&root).unwrap();
    let store = Store::open(&root).unwrap();
    let text = std::fs::read_to_string(root.join("strata.json")).unwrap();
    let start = format!("{{\"format\":{FORMAT},\"id\":\"{}\",\"check\":\"", store.id());
    assert!(text.starts_with(&start) && text.len() == start.len() + 19, "{text}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("packs")), 0o700);
    assert_eq!(mode(&root.join("packs/00000001.pack")), 0o600);
    assert_eq!(mode(&root.join("strata.json")), 0o600);
}

#[test]
fn what_is_no_store_or_a_later_one_is_refused() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::NotAStore(_))));
    std::fs::write(dir.path().join("file"), b"").unwrap();
    assert!(matches!(Store::init(dir.path()), Err(Error::NotEmpty(_))));
    assert!(matches!(Store::open_or_init(dir.path()), Err(Error::NotEmpty(_))));
    assert!(matches!(Store::open(&dir.path().join("file")), Err(Error::NotAStore(_))));
    let newer = format!("{{\"format\":{},\"ids\":[]}}", FORMAT + 1);
    std::fs::write(dir.path().join("strata.json"), newer).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found, supported: FORMAT, .. } if found == FORMAT + 1));
    std::fs::write(dir.path().join("strata.json"), b"{\"format\":1,\"id\":\"zz\"}").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged { .. })));
}

/// What a store of an earlier release says of itself, and what one says that has lost packs.
#[test]
fn identities_keep_their_form() {
    let layout = Layout::new(&TempDir::new().unwrap().keep());
    let id = StoreId([0xab; 16]);
    let text = |text: &str| std::fs::write(layout.identity(), text).unwrap();
    std::fs::create_dir(layout.packs()).unwrap();
    text("{\"format\":1,\"id\":\"abababababababababababababababab\"}\n");
    let old = Identity::read(&layout).unwrap();
    assert_eq!((old.id, old.lost), (id, vec![]));
    text(
        "{\"format\":3,\"id\":\"abababababababababababababababab\",\"lost\":[2,5],\"check\":\"12292d5578d02290\"}\n",
    );
    assert_eq!(Identity::read(&layout).unwrap().lost, [2, 5]);
    Identity::new(id, vec![2, 5]).write(&layout).unwrap();
    assert_eq!(
        std::fs::read_to_string(layout.identity()).unwrap(),
        "{\"format\":9,\"id\":\"abababababababababababababababab\",\"lost\":[2,5],\"check\":\"1787b9256034d700\"}\n"
    );
    let good = std::fs::read(layout.identity()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(layout.identity(), &bad).unwrap();
        match Identity::read(&layout) {
            Ok(read) => assert_eq!((read.id, read.lost), (id, vec![2, 5]), "bit {bit} changes nothing"),
            Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => {}
            Err(e) => panic!("bit {bit}: {e}"),
        }
    }
    std::fs::remove_dir_all(layout.root()).unwrap();
}

#[test]
fn a_store_in_use_names_the_process() {
    let (dir, store) = new_store();
    match Store::open(dir.path()) {
        Err(Error::InUse { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{:?}", other.map(|s| s.id())),
    }
    store.close().unwrap();
    Store::open(dir.path()).unwrap();
}

/// What was written to a store is not gone through when that is opened next, if it was much.
#[test]
fn a_store_that_took_much_in_opens_at_once() {
    let (dir, store) = new_store();
    let rollback = |n| index::keys::rollback(DatasetId(9), VersionNo(n));
    let changes = (0..600).map(|n| index::change::Change::Put(rollback(n), vec![0; 8]));
    store.index.publish(changes, store.log.end());
    store.close().unwrap();
    // Where sled's pages are, as of the place in its log that the name has.
    let noted = || {
        let entries = std::fs::read_dir(dir.path().join("index")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("snap.")).collect::<Vec<_>>()
    };
    let before = noted();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.index.get(&rollback(599)).unwrap().is_some());
    store.close().unwrap();
    assert_eq!((noted(), before.len()), (before, 1));
}

#[test]
fn scratch_is_emptied_on_open() {
    let (dir, store) = new_store();
    std::fs::create_dir(store.scratch_dir().join("d")).unwrap();
    std::fs::write(store.scratch_dir().join("d/f"), b"x").unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(std::fs::read_dir(store.scratch_dir()).unwrap().count(), 0);
}

#[test]
fn chunks_are_stored_once_and_read_back_in_any_parts() {
    let (dir, store) = new_store();
    let chunks: Vec<Vec<u8>> = (0..20).map(|i| noise(1 + i as usize * 5000, i)).collect();
    let mut slices: Vec<&[u8]> = chunks.iter().map(|c| &c[..]).collect();
    slices.push(&chunks[3]);
    let refs = store.put_chunks(&slices).unwrap();
    let size = store.stats().pack_bytes;
    assert_eq!(store.put_chunks(&slices).unwrap(), refs);
    assert_eq!(store.stats().pack_bytes, size, "known chunks add nothing");
    assert_eq!(store.totals().unwrap().chunks, 20);
    let check = |store: &Store| {
        for round in 0..2 {
            // All parts at once, in reverse order, cut at both sides.
            let mut outs: Vec<Vec<u8>> = refs.iter().map(|r| vec![0; r.len as usize * 2 / 3]).collect();
            let parts = refs.iter().zip(&mut outs).rev();
            let mut parts: Vec<ReadPart<'_>> =
                parts.map(|(&chunk, out)| ReadPart { chunk, skip: chunk.len / 4, out }).collect();
            store.read_parts(&mut parts).unwrap();
            for ((out, bytes), r) in outs.iter().zip(&slices).zip(&refs) {
                let skip = r.len as usize / 4;
                assert_eq!(out[..], bytes[skip..skip + out.len()], "round {round}");
            }
            for (r, bytes) in refs.iter().zip(&slices) {
                assert_eq!(read(store, *r).unwrap(), *bytes);
            }
        }
    };
    check(&store);
    store.close().unwrap();
    check(&Store::open(dir.path()).unwrap());
}

#[test]
fn impossible_chunks_and_parts_are_refused() {
    let (_dir, store) = new_store();
    assert!(matches!(store.put_chunks(&[b""]), Err(Error::Refused(_))));
    assert!(matches!(store.put_chunks(&[&noise(CHUNK_MAX + 1, 0)]), Err(Error::Refused(_))));
    let chunk = put(&store, b"abc");
    let mut out = [0; 3];
    let parts = &mut [ReadPart { chunk, skip: 1, out: &mut out }];
    assert!(matches!(store.read_parts(parts), Err(Error::Corrupt(_))));
    let other = ChunkRef { len: 4, ..chunk };
    assert!(matches!(read(&store, other), Err(Error::Corrupt(_))));
    let missing = ChunkRef { hash: crate::model::ChunkHash([9; 32]), len: 1 };
    assert!(matches!(read(&store, missing), Err(Error::Missing(_))));
}

#[test]
fn nodes_and_records_come_back() {
    let (dir, store) = new_store();
    let node = store.put_node(b"a node").unwrap();
    assert_eq!(store.put_node(b"a node").unwrap(), node);
    let set = dataset(DS, "first");
    store.append_dataset(&dataset(DS, "old name")).unwrap();
    store.append_dataset(&set).unwrap();
    let mut history = History::new(DS);
    let content = Content::Tree(TreeRef { root: node, size: 5, depth: 1 });
    let record = history.next(VersionNo(0), file_ops("f", Ino(2), content.clone()));
    let id = history.append(&store, &record).unwrap();
    let check = |store: &Store| {
        assert_eq!(store.node(&node).unwrap(), b"a node");
        assert_eq!(store.datasets().unwrap(), std::slice::from_ref(&set));
        assert_eq!(store.version(DS, VersionNo(1)).unwrap(), Some((id, record.clone())));
        assert_eq!(store.version(DS, VersionNo(2)).unwrap(), None);
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(1));
        assert_eq!(store.max_ino(DS).unwrap(), Ino(2));
        let found = store.inode(DS, Ino(2), &view(VersionNo(1))).unwrap();
        assert_eq!(found, Some((VersionNo(1), inode(content.clone()))));
        assert_eq!(entry(store, "f", VersionNo(1)).unwrap().ino, Ino(2));
        assert_eq!(entry(store, "f", VersionNo(0)), None);
    };
    check(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    check(&store);
    assert!(matches!(store.node(&crate::model::NodeHash([1; 32])), Err(Error::Missing(_))));
}

#[test]
fn versions_that_do_not_follow_are_refused() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    history.add(&store, vec![]);
    let good = history.next(VersionNo(1), vec![]);
    let wrong = [
        VersionRecord { number: VersionNo(1), ..good.clone() },
        VersionRecord { number: VersionNo(3), ..good.clone() },
        VersionRecord { previous: VersionId::ROOT, ..good.clone() },
        VersionRecord { base: VersionNo(2), ..good.clone() },
    ];
    let size = store.stats().pack_bytes;
    for record in wrong {
        assert!(matches!(store.append_record(&record), Err(Error::Refused(_))), "{record:?}");
    }
    assert_eq!(store.stats().pack_bytes, size);
    store.append_record(&good).unwrap();
}

fn pending_of(store: &Store, ds: DatasetId) -> Vec<(u64, Vec<Op>)> {
    store.pending(ds).map(Result::unwrap).map(|(sequence, ops)| (sequence, ops.unwrap())).collect()
}

#[test]
fn pending_changes_count_until_a_version() {
    let (dir, store) = new_store();
    let mut history = History::new(DS);
    let pending = |ds, sequence| PendingRecord {
        dataset: ds,
        sequence,
        discard: false,
        ops: file_ops(&format!("p{sequence}"), Ino(100 + sequence), Content::Empty),
    };
    let other = DatasetId(2);
    store.append_pending(&pending(DS, 1)).unwrap();
    store.append_pending(&pending(other, 1)).unwrap();
    store.append_pending(&pending(DS, 2)).unwrap();
    assert_eq!(pending_of(&store, DS), [(1, pending(DS, 1).ops), (2, pending(DS, 2).ops)]);
    assert_eq!(store.max_ino(DS).unwrap(), Ino(102));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(pending_of(&store, DS).len(), 2);
    history.add(&store, vec![]);
    store.append_pending(&pending(DS, 3)).unwrap();
    assert_eq!(pending_of(&store, DS), [(3, pending(DS, 3).ops)]);
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(pending_of(&store, DS), [(3, pending(DS, 3).ops)]);
    assert_eq!(pending_of(&store, other).len(), 1);
    drop(store);
    Store::rebuild_index(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(pending_of(&store, DS), [(3, pending(DS, 3).ops)]);
    assert_eq!(pending_of(&store, other).len(), 1);
}

#[test]
fn full_packs_are_sealed_and_the_next_begun() {
    let (dir, store) = new_store();
    let chunk = |i: u64| noise(CHUNK_MAX, i);
    let count = u64::from(SEAL_SIZE) / CHUNK_MAX as u64 + 10;
    let refs: Vec<ChunkRef> = (0..count).map(|i| put(&store, &chunk(i))).collect();
    let mut history = History::new(DS);
    history.add(&store, file_ops("f", Ino(2), Content::One(refs[0])));
    assert_eq!(packs_of(dir.path()).len(), 2);
    let sealed = std::fs::metadata(&packs_of(dir.path())[0]).unwrap().len();
    assert!((u64::from(SEAL_SIZE)..u64::from(SEAL_SIZE) + (1 << 20)).contains(&sealed));
    let verdict = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((verdict.damages, verdict.complete), (vec![], true));
    assert_eq!(verdict.bytes, store.stats().pack_bytes);
    assert_eq!(store.totals().unwrap().chunks, count);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (i, r) in refs.iter().enumerate() {
        assert_eq!(read(&store, *r).unwrap(), chunk(i as u64));
    }
    assert!(entry(&store, "f", VersionNo(1)).is_some());
    assert_eq!(store.stats().pack_bytes, verdict.bytes);
}

/// Verifying beside a writer who fills and seals the pack meanwhile that was the last when it began finds
/// no fault with it.
#[test]
fn a_pack_sealed_while_the_store_is_verified_is_sound() {
    let (dir, store) = new_store();
    let mut next = 0;
    let mut fill = || {
        let count = u64::from(SEAL_SIZE) / CHUNK_MAX as u64 + 10;
        for i in next..next + count {
            put(&store, &noise(CHUNK_MAX, i));
        }
        next += count;
    };
    fill();
    let mut filled = false;
    let verdict = store.verify(|_| {
        if !std::mem::replace(&mut filled, true) {
            fill();
        }
        std::ops::ControlFlow::Continue(())
    });
    let verdict = verdict.unwrap();
    assert!(packs_of(dir.path()).len() > 2, "the pack was sealed meanwhile");
    assert_eq!((verdict.damages, verdict.complete), (vec![], true));
}

#[test]
fn long_inodes_are_read_from_their_version() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    let long = Inode { body: Body::Symlink(vec![b'x'; 4095].into()), ..inode(Content::Empty) };
    let op = Op::Inode { ino: Ino(3), inode: long.clone() };
    let mut ops = file_ops("a", Ino(2), Content::Empty);
    ops.push(op);
    let v = history.add(&store, ops);
    assert_eq!(store.inode(DS, Ino(3), &view(v)).unwrap(), Some((v, long)));
}

#[test]
fn what_is_said_of_a_version_of_many_changes_is_what_its_record_says() {
    let (_dir, store) = new_store();
    let mut history = History::new(DS);
    for count in [999, 1000, 1001] {
        let unlink = |n: u64| Op::Unlink { dir: Ino(n + 2), name: crate::model::Name::new(b"gone").unwrap() };
        let number = history.add(&store, (0..count).map(unlink).collect());
        let (id, record) = store.version(DS, number).unwrap().unwrap();
        let (summary_id, summary) = store.summary(DS, number).unwrap().unwrap();
        assert_eq!((summary_id, summary.changes), (id, count));
        assert_eq!((summary.author, summary.message), (record.author, record.message));
        let apart = store.index.get(&crate::store::index::keys::summary(DS, number)).unwrap();
        assert_eq!(apart.is_some(), count >= 1000);
    }
}
