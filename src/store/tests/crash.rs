//! The death of the process or the machine at any point leaves a prefix of what was written.

use proptest::prelude::*;

use super::*;
use crate::model::codec;

/// Copies the store in `from` as it is on disk.
pub fn copy(from: &Path) -> TempDir {
    fn copy_dir(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_dir(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let to = TempDir::new().unwrap();
    copy_dir(from, to.path());
    to
}

fn truncate(pack: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(pack).unwrap().set_len(len).unwrap();
}

fn flip(pack: &Path, at: u64) {
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[at as usize] ^= 0x10;
    std::fs::write(pack, bytes).unwrap();
}

/// As if the machine had gone down with the store open and its log durable up to `synced`.
fn lose_power(dir: &Path, synced: LogPos) {
    pack::PlaceNote::open(&dir.join("synced")).unwrap().0.write(synced);
    std::fs::write(dir.join("open"), "another boot").unwrap();
}

/// A store with `count` one-file versions; where the log ended before each and after the last.
fn with_versions(count: u64) -> (TempDir, Store, Vec<u64>) {
    let (dir, store) = new_store();
    store.append_dataset(&dataset(DS, "d")).unwrap();
    let mut history = History::new(DS);
    let mut ends = vec![store.stats().pack_bytes];
    for i in 1..=count {
        let chunk = put(&store, &noise(50, i));
        ends.push(store.stats().pack_bytes);
        history.add(&store, file_ops(&format!("f{i}"), Ino(i + 1), Content::One(chunk)));
        ends.push(store.stats().pack_bytes);
    }
    (dir, store, ends)
}

/// Asserts that the store has exactly versions 1 to `count`, all whole.
fn assert_versions(store: &Store, count: u64) {
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(count));
    let now = view(VersionNo(count));
    assert_eq!(store.entries(DS, Ino::ROOT, &now, None, 1000).unwrap().len() as u64, count);
    for i in 1..=count {
        let (_, record) = store.version(DS, VersionNo(i)).unwrap().unwrap();
        assert_eq!(record.number, VersionNo(i));
        let (_, inode) = store.inode(DS, Ino(i + 1), &now).unwrap().unwrap();
        let Some(Content::One(chunk)) = inode.content() else { panic!("{inode:?}") };
        assert_eq!(read(store, *chunk).unwrap(), noise(50, i));
    }
}

#[test]
fn a_killed_process_loses_nothing() {
    let (dir, store, _) = with_versions(30);
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    assert_versions(&store, 30);
    // And it goes on from there.
    store.index.apply(|| store.log.sync()).unwrap();
    kill(store);
    assert_versions(&Store::open(dir.path()).unwrap(), 30);
}

#[test]
fn a_tail_torn_at_any_byte_leaves_a_prefix_that_can_be_written_on() {
    let (dir, store, ends) = with_versions(4);
    kill(store);
    let (first, last) = (ends[4], ends[8]);
    for at in first..last {
        let copy = copy(dir.path());
        truncate(&packs_of(copy.path())[0], at);
        let store = Store::open(copy.path()).unwrap();
        let whole = ends.iter().filter(|end| **end <= at).count() as u64 - 1;
        assert_eq!(store.stats().pack_bytes, ends[whole as usize], "torn at {at}");
        assert_versions(&store, whole / 2);
        let mut history = History::new(DS);
        (history.id, _) = store.version(DS, VersionNo(whole / 2)).unwrap().unwrap();
        history.last = VersionNo(whole / 2);
        let i = history.last.0 + 1;
        let chunk = put(&store, &noise(50, i));
        history.add(&store, file_ops(&format!("f{i}"), Ino(i + 1), Content::One(chunk)));
        assert_versions(&store, i);
    }
}

#[test]
fn after_a_power_loss_all_from_the_first_bad_record_on_is_cut() {
    let (dir, store, ends) = with_versions(5);
    kill(store);
    flip(&packs_of(dir.path())[0], ends[6] + 10);
    lose_power(dir.path(), LogPos::new(1, ends[6] as u32));
    let store = Store::open(dir.path()).unwrap();
    assert_versions(&store, 3);
    assert_eq!(store.stats().pack_bytes, ends[6]);
}

#[test]
fn after_a_power_loss_damage_in_what_was_durable_is_not_cut() {
    let (dir, store, ends) = with_versions(5);
    kill(store);
    flip(&packs_of(dir.path())[0], ends[6] + 10);
    lose_power(dir.path(), LogPos::new(1, ends[7] as u32));
    refuses_until_repaired(dir.path(), "00000001.pack");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.stats().pack_bytes, ends[10]);
    assert_versions(&store, 5);
}

/// Asserts that the store does not open before it was repaired, and names the file; then repairs it.
fn refuses_until_repaired(dir: &Path, file: &str) {
    let before = std::fs::read(&packs_of(dir)[0]).unwrap();
    for _ in 0..2 {
        let error = Store::open(dir).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Damaged { .. }) && text.contains(file), "{text}");
        assert!(text.contains("strata fsck"), "{text}");
    }
    assert_eq!(std::fs::read(&packs_of(dir)[0]).unwrap(), before, "a refused store is left as it is");
    Store::rebuild_index(dir).unwrap();
}

/// A store of three packs, with a version in each; where in the first pack its footer begins.
fn three_packs() -> (TempDir, u64) {
    let (dir, store) = new_store();
    let mut history = History::new(DS);
    for i in 1..=3 {
        let chunk = put(&store, &noise(50, i));
        history.add(&store, file_ops(&format!("f{i}"), Ino(i + 1), Content::One(chunk)));
        let filler = noise(pack::SEAL_SIZE as usize, i);
        let filler: Vec<&[u8]> = filler.chunks(100_000).collect();
        if i < 3 {
            store.put_chunks(&filler).unwrap();
        }
    }
    kill(store);
    let packs = packs_of(dir.path());
    assert_eq!(packs.len(), 3);
    let file = std::fs::read(&packs[0]).unwrap();
    let (_, trailer) = file.split_at(file.len() - 8);
    (dir, u64::from(u32::from_be_bytes(trailer[..4].try_into().unwrap())))
}

#[test]
fn after_a_power_loss_packs_behind_a_torn_one_are_removed() {
    let (whole, footer) = three_packs();
    let first = |dir: &TempDir| packs_of(dir.path())[0].clone();
    type Tear<'a> = &'a dyn Fn(&TempDir);
    // The torn place, and how many versions are left.
    let tears: [(Tear<'_>, u64, usize); 5] = [
        (&|dir| truncate(&first(dir), footer), 1, 1),
        (&|dir| truncate(&first(dir), footer + 100), 1, 1),
        (&|dir| flip(&first(dir), 1000), 1, 1),
        (&|dir| std::fs::remove_file(&packs_of(dir.path())[1]).unwrap(), 1, 1),
        (&|_| {}, 3, 3),
    ];
    for (i, (tear, versions, packs)) in tears.into_iter().enumerate() {
        let dir = copy(whole.path());
        tear(&dir);
        lose_power(dir.path(), LogPos::new(1, 300));
        let store = Store::open(dir.path()).unwrap();
        assert_versions(&store, versions);
        assert_eq!(packs_of(dir.path()).len(), packs, "tear {i}");
        put(&store, b"more");
        let verdict = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
        assert_eq!(verdict.damages, [], "tear {i}");
        assert_eq!(verdict.bytes, store.stats().pack_bytes);
    }
}

#[test]
fn without_a_power_loss_good_records_behind_bad_ones_are_kept() {
    let (dir, store, ends) = with_versions(5);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    // The header of the chunk of v4.
    flip(&packs_of(dir.path())[0], ends[6] + 10);
    refuses_until_repaired(dir.path(), "00000001.pack");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.stats().pack_bytes, ends[10]);
    assert_versions(&store, 5);
}

#[test]
fn the_last_records_of_a_log_that_was_durable_are_not_taken_for_torn() {
    let (dir, store, ends) = with_versions(5);
    drop(store);
    for ruin in [&[0u8; 60][..], &[0xff; 3]] {
        let dir = copy(dir.path());
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        let mut bytes = std::fs::read(&packs_of(dir.path())[0]).unwrap();
        bytes[ends[9] as usize..][..ruin.len()].copy_from_slice(ruin);
        std::fs::write(&packs_of(dir.path())[0], bytes).unwrap();
        refuses_until_repaired(dir.path(), "00000001.pack");
        assert_eq!(Store::open(dir.path()).unwrap().stats().pack_bytes, ends[10]);
    }
}

#[test]
fn a_torn_pack_header_is_written_again() {
    let (dir, store) = new_store();
    kill(store);
    for len in [0, 13] {
        truncate(&packs_of(dir.path())[0], len);
        lose_power(dir.path(), LogPos(0));
        let store = Store::open(dir.path()).unwrap();
        let chunk = put(&store, b"abc");
        assert_eq!(read(&store, chunk).unwrap(), b"abc");
        assert_eq!(store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap().damages, []);
        kill(store);
    }
}

#[test]
fn a_missing_or_ruined_index_costs_a_rebuild_and_nothing_else() {
    let (dir, store, _) = with_versions(30);
    drop(store);
    let index = dir.path().join("index");
    let ruin: [&dyn Fn(); 4] = [
        &|| std::fs::remove_dir_all(&index).unwrap(),
        &|| std::fs::write(index.join("db"), noise(100_000, 1)).unwrap(),
        &|| std::fs::write(index.join("conf"), b"garbage").unwrap(),
        &|| {
            let len = std::fs::metadata(index.join("db")).unwrap().len();
            truncate(&index.join("db"), len / 3);
        },
    ];
    for (i, ruin) in ruin.iter().enumerate() {
        ruin();
        let store = Store::open(dir.path()).unwrap_or_else(|e| panic!("ruin {i}: {e}"));
        assert_versions(&store, 30);
        drop(store);
        assert_versions(&Store::open(dir.path()).unwrap(), 30);
    }
    let aside = std::fs::read_dir(dir.path()).unwrap();
    let aside = aside.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("index.bad"));
    assert!(aside.count() <= 1, "older ones are removed");
}

#[test]
fn an_index_of_another_store_is_rebuilt() {
    let (dir, store, _) = with_versions(6);
    drop(store);
    let (other, other_store, _) = with_versions(20);
    drop(other_store);
    let index = dir.path().join("index");
    std::fs::remove_dir_all(&index).unwrap();
    std::fs::rename(other.path().join("index"), &index).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_versions(&store, 6);
}

/// A log that is shorter than it was is not taken for a younger one: by the note of what was durable, or by
/// the index.
#[test]
fn a_log_that_lost_its_end_is_refused_and_its_numbers_are_not_given_out_again() {
    let (whole, store, ends) = with_versions(6);
    drop(store);
    for keep_note in [true, false] {
        let dir = copy(whole.path());
        truncate(&packs_of(dir.path())[0], ends[8]);
        if !keep_note {
            std::fs::remove_file(dir.path().join("synced")).unwrap();
        }
        refuses_until_repaired(dir.path(), "packs");
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(6), "the index knew of it");
        let (_, inode) = store.inode(DS, Ino(7), &view(VersionNo(6))).unwrap().unwrap();
        let Some(Content::One(chunk)) = inode.content() else { panic!("{inode:?}") };
        assert!(matches!(read(&store, *chunk), Err(Error::Missing(_))));
        let mut history = History { ds: DS, last: VersionNo(6), id: VersionId::ROOT };
        (history.id, _) = store.version(DS, VersionNo(6)).unwrap().unwrap();
        assert_eq!(history.add(&store, vec![]), VersionNo(7));
    }
}

#[test]
fn a_record_copied_into_a_payload_is_not_taken_for_one() {
    let (dir, store, ends) = with_versions(2);
    let pack = std::fs::read(&packs_of(dir.path())[0]).unwrap();
    // The whole pack as a chunk, then a version behind it; then the chunk's header is ruined.
    let chunk = put(&store, &pack);
    let mut history = History { ds: DS, last: VersionNo(2), id: VersionId::ROOT };
    (history.id, _) = store.version(DS, VersionNo(2)).unwrap().unwrap();
    history.add(&store, file_ops("f3", Ino(4), Content::One(chunk)));
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let mut bytes = std::fs::read(&packs_of(dir.path())[0]).unwrap();
    bytes[*ends.last().unwrap() as usize..][..56].fill(0x55);
    std::fs::write(&packs_of(dir.path())[0], bytes).unwrap();
    refuses_until_repaired(dir.path(), "00000001.pack");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(3));
    assert_eq!(store.totals().unwrap().records, 4, "three versions and the dataset");
    assert!(matches!(read(&store, chunk), Err(Error::Missing(_))));
}

#[test]
fn hostile_payloads_are_damage_not_panics() {
    let (dir, store, _) = with_versions(2);
    let payload = [codec::encode(&u64::MAX), vec![0xff; 40]].concat();
    for kind in [RecordKind::Version, RecordKind::Dataset, RecordKind::Pending, RecordKind::Other(200)] {
        let record = pack::NewRecord { kind, hash: kind.hash(&payload), payload: &payload };
        store.log.append(space::Claim::Record, &[record], |_, _| {}).unwrap();
    }
    kill(store);
    assert_versions(&Store::open(dir.path()).unwrap(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_at_the_end_are_cut_off(garbage in prop::collection::vec(any::<u8>(), 1..300)) {
        let (dir, store, ends) = with_versions(2);
        kill(store);
        let pack = &packs_of(dir.path())[0];
        let mut bytes = std::fs::read(pack).unwrap();
        bytes.extend(garbage);
        std::fs::write(pack, bytes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_versions(&store, 2);
        prop_assert_eq!(store.stats().pack_bytes, ends[4]);
    }
}
