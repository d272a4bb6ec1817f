//! What is damaged is restored where anything tells what it was, and nothing else is touched.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::model::content::CHUNK_MAX;
use crate::model::name::Name;
use crate::model::{
    Author, Body, ChunkRef, Content, DatasetId, DatasetName, DatasetRecord, Ino, Inode, Kind, Op,
    PendingRecord, Policy, Timestamp, TreeHash, VersionId, VersionNo, VersionRecord, View,
};
use crate::store::pack::{FooterEntry, RECORD_HEADER, RecordKind, SEAL_SIZE};
use crate::store::testing::noise;
use crate::store::{ObjectStore, ReadPart, Verdict};

const DS: DatasetId = DatasetId(1);

fn dataset() -> DatasetRecord {
    DatasetRecord {
        id: DS,
        name: DatasetName::new(b"d").unwrap(),
        created: Timestamp(1),
        archived: false,
        policy: Policy::Manual,
        root: inode(Body::Dir),
    }
}

fn inode(body: Body) -> Inode {
    let time = Timestamp(1);
    Inode {
        mode: 0o644,
        uid: 1,
        gid: 2,
        nlink: 1,
        atime: time,
        mtime: time,
        ctime: time,
        body,
        xattrs: None,
        place: None,
        others: None,
    }
}

fn chunk(n: u64) -> Vec<u8> {
    noise(n + 1, 700)
}

/// A store of two sealed packs and one under way, with versions 1 to 6 in the first and 7 to 12 in the last,
/// each with a file of one chunk; the last also has a manifest node and a pending record.
fn sample() -> TempDir {
    let dir = TempDir::new().unwrap();
    Store::init(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.append_dataset(&dataset()).unwrap();
    let mut previous = VersionId::ROOT;
    let mut version = |number: u64| {
        let chunk = store.put_chunks(&[&chunk(number)]).unwrap()[0];
        let name = Name::new(format!("f{number}").as_bytes()).unwrap();
        let ino = Ino(number + 1);
        let mut ops = vec![
            Op::Link { dir: Ino::ROOT, name, ino, kind: Kind::File },
            Op::Inode { ino, inode: inode(Body::File(Content::One(chunk))) },
        ];
        if number == 4 {
            let name = Name::new(b"f1").unwrap();
            ops.push(Op::Unlink { dir: Ino::ROOT, name });
        }
        let record = VersionRecord {
            dataset: DS,
            number: VersionNo(number),
            previous,
            base: VersionNo(if number == 5 { 3 } else { number - 1 }),
            snapshot: TreeHash([number as u8; 32]),
            time: Timestamp(number as i64),
            author: Author { uid: 7, gid: 8, pid: 9, command: "make it".into() },
            message: None,
            trees: vec![(Ino(100), TreeHash([number as u8; 32]))],
            ops,
        };
        previous = store.append_record(&record).unwrap();
    };
    (1..=6).for_each(&mut version);
    let filler = noise(99, 2 * SEAL_SIZE as usize);
    for chunks in filler.chunks(4 * CHUNK_MAX) {
        store.put_chunks(&chunks.chunks(CHUNK_MAX).collect::<Vec<_>>()).unwrap();
    }
    (7..=12).for_each(&mut version);
    store.put_node(b"a node").unwrap();
    let ops = vec![Op::Inode { ino: Ino(50), inode: inode(Body::Dir) }];
    store.append_pending(&PendingRecord { dataset: DS, sequence: 1, discard: false, ops }).unwrap();
    store.close().unwrap();
    assert_eq!(pack_files(dir.path()).len(), 3);
    dir
}

fn pack_files(dir: &Path) -> Vec<PathBuf> {
    (1..9).map(|n| dir.join(format!("packs/{n:08}.pack"))).filter(|path| path.exists()).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Runs a check and gives what it says.
fn check(dir: &Path, dry_run: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let options = FsckOptions { dry_run, ..FsckOptions::default() };
    let count = fsck(dir, options, &mut |problem| {
        problems.push(problem);
        Ok(())
    });
    assert_eq!(count.unwrap(), problems.len() as u64);
    problems
}

fn verify(store: &Store) -> Verdict {
    store.verify(|_| ControlFlow::Continue(())).unwrap()
}

/// The files of a store but for those that say how it is used.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = pack_files(dir).into_iter().chain([dir.join("strata.json"), dir.join("synced")]);
    files.map(|path| (path.clone(), std::fs::read(path).unwrap_or_default())).collect()
}

/// The places of the records of a pack by kind.
fn places(dir: &Path, pack: u32) -> Vec<FooterEntry> {
    let id = Identity::read(&Layout::new(dir)).unwrap().id;
    PackScan::read(&Packs::new(dir.join("packs"), id), id, pack, true, LogPos(0)).unwrap().entries
}

fn read_version(store: &Store, number: u64) -> Result<Vec<u8>> {
    let view = View::of(VersionNo(number), &store.rollbacks(DS).unwrap());
    let (_, inode) = store.inode(DS, Ino(number + 1), &view)?.unwrap();
    let Some(Content::One(chunk)) = inode.content() else { panic!("{inode:?}") };
    read(store, *chunk)
}

fn read(store: &Store, chunk: ChunkRef) -> Result<Vec<u8>> {
    let mut out = vec![0; chunk.len as usize];
    store.read_parts(&mut [ReadPart { chunk, skip: 0, out: &mut out }])?;
    Ok(out)
}

/// Damages a copy of the store, checks that a dry run changes nothing and says as much as the repair, that
/// a second repair finds nothing, and that the packs are then well-formed. Gives the copy and what was said.
fn repair(whole: &TempDir, damage: impl Fn(&Path)) -> (TempDir, Vec<Problem>) {
    let dir = TempDir::new().unwrap();
    copy(whole.path(), dir.path());
    damage(dir.path());
    let before = contents(dir.path());
    let dry = check(dir.path(), true);
    assert_eq!(contents(dir.path()), before, "a dry run changes nothing");
    let problems = check(dir.path(), false);
    assert!(!problems.is_empty());
    assert!(dry.iter().all(|problem| problems.contains(problem)), "{dry:#?}\n{problems:#?}");
    assert_eq!(check(dir.path(), false), [], "a second run finds nothing to do after {problems:#?}");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(verify(&store).damages, [], "after {problems:#?}");
    drop(store);
    (dir, problems)
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let mut all = std::fs::read(path).unwrap();
    all[at as usize..][..bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, all).unwrap();
}

fn flip(path: &Path, at: u64) {
    let all = std::fs::read(path).unwrap();
    write_at(path, at, &[all[at as usize] ^ 2]);
}

fn is_whole(whole: &TempDir, dir: &TempDir) -> bool {
    let bytes =
        |dir: &TempDir| pack_files(dir.path()).iter().map(|p| std::fs::read(p).unwrap()).collect::<Vec<_>>();
    bytes(whole) == bytes(dir)
}

#[test]
fn a_sound_store_is_left_as_it_is() {
    let whole = sample();
    let before = contents(whole.path());
    assert_eq!(check(whole.path(), true), []);
    assert_eq!(check(whole.path(), false), []);
    assert_eq!(contents(whole.path()), before);
    assert!(!whole.path().join("damaged").exists());
    let store = Store::open(whole.path()).unwrap();
    assert!(matches!(check_error(whole.path()), Error::InUse { .. }));
    drop(store);
    let none = TempDir::new().unwrap();
    assert!(matches!(check_error(none.path()), Error::NotAStore(_)));
}

fn check_error(dir: &Path) -> Error {
    fsck(dir, FsckOptions::default(), &mut |_| Ok(())).unwrap_err()
}

/// A bit flipped anywhere in a pack is flipped back: in headers, payloads of all kinds, footers.
#[test]
fn a_flipped_bit_is_flipped_back_wherever_it_is() {
    let whole = sample();
    let mut at: Vec<(usize, u64)> = Vec::new();
    for pack in [1, 3] {
        at.extend([(pack, 2), (pack, 37)]);
        let mut seen = Vec::new();
        for entry in places(whole.path(), pack as u32) {
            if !seen.contains(&entry.header.kind) {
                seen.push(entry.header.kind);
                let offset = u64::from(entry.offset);
                at.extend([1, 4, 10, 20, 50, 58].map(|part| (pack, offset + part)));
            }
        }
    }
    let first = std::fs::read(&pack_files(whole.path())[0]).unwrap();
    let footer =
        first.len() as u64 - u64::from(u32::from_be_bytes(*first[first.len() - 8..].first_chunk().unwrap()));
    at.extend([1, 3, 20, footer - 30, footer].map(|back| (1, first.len() as u64 - back)));
    at.push((3, std::fs::metadata(&pack_files(whole.path())[2]).unwrap().len() - 1));
    for (pack, offset) in at {
        let (dir, problems) = repair(&whole, |dir| flip(&pack_files(dir)[pack - 1], offset));
        assert!(is_whole(&whole, &dir), "pack {pack} byte {offset}: {problems:#?}");
        assert!(problems.iter().all(|p| p.outcome == Outcome::Repaired), "{problems:#?}");
        let kept = std::fs::read(dir.path().join(format!("damaged/{pack:08}.pack"))).unwrap();
        let mut damaged = std::fs::read(&pack_files(whole.path())[pack - 1]).unwrap();
        damaged[offset as usize] ^= 2;
        assert!(kept == damaged, "what was damaged is kept");
    }
}

/// What cannot be restored is given up, and costs nothing but itself: with the index at hand, versions whose
/// records are gone are restored but for who made them, contents are missing.
#[test]
fn a_zeroed_page_costs_the_contents_in_it_and_no_version() {
    let whole = sample();
    for (pack, versions) in [(1, 1..=6), (3, 7..=12)] {
        let (dir, problems) = repair(&whole, |dir| write_at(&pack_files(dir)[pack - 1], 0, &[0; 4096]));
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(12));
        assert_eq!(store.lost_versions(DS).unwrap(), [], "{problems:#?}");
        assert_eq!(store.datasets().unwrap(), [dataset()]);
        let mut missing = Vec::new();
        for number in 1..=12 {
            let (id, record) = store.version(DS, VersionNo(number)).unwrap().unwrap();
            let old = Store::open(whole.path()).unwrap();
            let (old_id, old_record) = old.version(DS, VersionNo(number)).unwrap().unwrap();
            // Of an id the index has 24 digits, and the record after it, where there is one, all.
            let known = if number == 6 { 32 } else { 12 };
            assert_eq!(id.0[..known], old_id.0[..known], "v{number}");
            assert_eq!(record.previous.0[..12], old_record.previous.0[..12], "v{number}");
            let unordered = |record: &VersionRecord| {
                let mut ops: Vec<String> = record.ops.iter().map(|op| format!("{op:?}")).collect();
                ops.sort();
                ops
            };
            assert_eq!(unordered(&record), unordered(&old_record), "v{number}");
            let rest = |record: VersionRecord| VersionRecord {
                author: Author::default(),
                ops: vec![],
                previous: VersionId::ROOT,
                ..record
            };
            assert_eq!(rest(record), rest(old_record), "v{number}");
            match read_version(&store, number) {
                Ok(bytes) => assert!(bytes == chunk(number)),
                Err(Error::Missing(_)) => missing.push(number),
                Err(e) => panic!("v{number}: {e}"),
            }
        }
        assert!(!missing.is_empty() && missing.iter().all(|n| versions.contains(n)), "{missing:?}");
        assert!(problems.iter().any(|p| p.outcome != Outcome::Repaired));
        assert!(store.pending(DS).next().unwrap().unwrap().1.is_ok());
    }
}

/// A damaged object of which the log has another copy is restored from that.
#[test]
fn a_copy_elsewhere_in_the_log_restores_what_is_damaged() {
    let whole = sample();
    let entry = places(whole.path(), 1).into_iter().find(|e| e.header.kind == RecordKind::Chunk).unwrap();
    let body = u64::from(entry.offset + RECORD_HEADER);
    let good = std::fs::read(&pack_files(whole.path())[0]).unwrap();
    let ruin = |dir: &Path| write_at(&pack_files(dir)[0], body, &[0xdd; 300]);
    // Read, found damaged, and stored again: twice in the log.
    ruin(whole.path());
    let store = Store::open(whole.path()).unwrap();
    assert!(read_version(&store, 1).is_err());
    store.put_chunks(&[&chunk(1)]).unwrap();
    assert!(read_version(&store, 1).unwrap() == chunk(1));
    store.close().unwrap();
    let (dir, problems) = repair(&whole, |_| {});
    assert!(problems[0].action.contains("copy"), "{problems:#?}");
    assert!(std::fs::read(&pack_files(dir.path())[0]).unwrap() == good);
    // The copy of a header that is gone too, as the footer or the index knows of it.
    for footer in [true, false] {
        let (dir, problems) = repair(&whole, |dir| {
            let pack = &pack_files(dir)[0];
            write_at(pack, u64::from(entry.offset), &[0; 200]);
            if !footer {
                write_at(pack, good.len() as u64 - 8, &[0; 8]);
            }
        });
        let store = Store::open(dir.path()).unwrap();
        assert!(read_version(&store, 1).unwrap() == chunk(1));
        // The index knows of the copy that counts alone.
        assert_eq!(std::fs::read(&pack_files(dir.path())[0]).unwrap() == good, footer, "{problems:#?}");
    }
}

/// Packs that were exchanged get their names back; one of another store is put aside and missed.
#[test]
fn exchanged_packs_are_put_right_and_foreign_ones_aside() {
    let whole = sample();
    for (a, b) in [(0, 1), (0, 2)] {
        let (dir, problems) = repair_moved(&whole, |dir| {
            let packs = pack_files(dir);
            std::fs::rename(&packs[a], dir.join("x")).unwrap();
            std::fs::rename(&packs[b], &packs[a]).unwrap();
            std::fs::rename(dir.join("x"), &packs[b]).unwrap();
            let error = Store::open(dir).and_then(|store| {
                read_version(&store, 1)?;
                read_version(&store, 12)
            });
            let text = error.unwrap_err().to_string();
            assert!(text.contains("is pack") && text.contains("strata fsck"), "{text}");
        });
        assert!(is_whole(&whole, &dir), "{problems:#?}");
    }
    let other = sample();
    let (dir, problems) = repair_moved(&whole, |dir| {
        std::fs::copy(&pack_files(other.path())[1], &pack_files(dir)[1]).unwrap();
    });
    assert!(problems[0].what.contains("another store"), "{problems:#?}");
    assert!(problems[1].what.contains("missing"), "{problems:#?}");
    let store = Store::open(dir.path()).unwrap();
    assert!((1..=12).all(|number| read_version(&store, number).unwrap() == chunk(number)));
}

/// As [`repair`], but where a dry run cannot see what is behind names that are wrong.
fn repair_moved(whole: &TempDir, damage: impl Fn(&Path)) -> (TempDir, Vec<Problem>) {
    let dir = TempDir::new().unwrap();
    copy(whole.path(), dir.path());
    damage(dir.path());
    let problems = check(dir.path(), false);
    assert_eq!(check(dir.path(), false), [], "after {problems:#?}");
    assert_eq!(verify(&Store::open(dir.path()).unwrap()).damages, []);
    (dir, problems)
}

/// A pack that is missing keeps the store from opening until `fsck` went on without it; it is taken up again
/// when it is back. The last one is missed too, and its number never used again.
#[test]
fn missing_packs_are_missed_and_may_come_back() {
    let whole = sample();
    for (lost, versions) in [(1, 1..7), (2, 1..1), (3, 7..13)] {
        let (dir, problems) = repair(&whole, |dir| {
            std::fs::remove_file(dir.join(format!("packs/{lost:08}.pack"))).unwrap();
            let text = Store::open(dir).unwrap_err().to_string();
            assert!(text.contains(&format!("{lost:08}.pack is missing")), "{text}");
        });
        assert_eq!((problems[0].what.as_str(), problems[0].outcome), ("missing", Outcome::GivenUp));
        let identity = Identity::read(&Layout::new(dir.path())).unwrap();
        assert_eq!(identity.lost, [lost]);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(12));
        for number in 1..=12 {
            let (read, lost) = (read_version(&store, number), versions.contains(&number));
            assert_eq!(read.is_err(), lost, "v{number} of {lost}");
        }
        drop(store);
        let name = format!("packs/{lost:08}.pack");
        std::fs::copy(whole.path().join(&name), dir.path().join(&name)).unwrap();
        let problems = check(dir.path(), false);
        assert!(problems[0].what.contains("back"), "{problems:#?}");
        let store = Store::open(dir.path()).unwrap();
        assert!((1..=12).all(|number| read_version(&store, number).unwrap() == chunk(number)));
        let (_, record) = store.version(DS, VersionNo(6)).unwrap().unwrap();
        assert_eq!(record.author.command, "make it");
    }
}

/// Packs cut short at any place: what was cut off is missed, and no place in the log is used twice.
#[test]
fn packs_cut_short_are_closed_where_they_end() {
    let whole = sample();
    for pack in [1, 3] {
        let path = pack_files(whole.path())[pack - 1].clone();
        let len = std::fs::metadata(&path).unwrap().len();
        for at in [0, 13, 2000, len / 2, len - 1] {
            let (dir, problems) = repair(&whole, |dir| {
                let file = std::fs::OpenOptions::new().write(true).open(&pack_files(dir)[pack - 1]).unwrap();
                file.set_len(at).unwrap();
            });
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(store.last_version(DS).unwrap(), VersionNo(12), "{problems:#?}");
            for number in 1..=12 {
                match read_version(&store, number) {
                    Ok(bytes) => assert!(bytes == chunk(number)),
                    Err(Error::Missing(_)) => assert_eq!(number <= 6, pack == 1, "v{number}"),
                    Err(e) => panic!("pack {pack} at {at}: v{number}: {e}"),
                }
            }
            store.put_chunks(&[b"and on it goes"]).unwrap();
        }
    }
}

/// `strata.json` is restored from the packs, with the store's own identity, and not by those of another.
#[test]
fn a_lost_identity_comes_from_the_packs() {
    let whole = sample();
    let id = Identity::read(&Layout::new(whole.path())).unwrap().id;
    let texts: [&dyn Fn(&Path); 5] = [
        &|path| std::fs::remove_file(path).unwrap(),
        &|path| std::fs::write(path, "").unwrap(),
        &|path| std::fs::write(path, [0; 4096]).unwrap(),
        &|path| flip(path, 10),
        &|path| {
            let text = std::fs::read_to_string(path).unwrap().replace(&id.to_string(), &"7".repeat(32));
            std::fs::write(path, text.split_once(",\"check\"").unwrap().0.to_owned() + "}").unwrap();
        },
    ];
    for damage in texts {
        let (dir, problems) = repair(&whole, |dir| {
            damage(&dir.join("strata.json"));
            let text = Store::open_or_init(dir).unwrap_err().to_string();
            let named = text.contains("strata.json") || text.contains("format");
            assert!(named && text.contains("strata fsck"), "{text}");
        });
        assert_eq!((problems.len(), problems[0].file.as_str()), (1, "strata.json"));
        assert_eq!(Identity::read(&Layout::new(dir.path())).unwrap().id, id);
    }
    let newer = format!("{{\"format\":{}}}", crate::store::FORMAT + 1);
    std::fs::write(whole.path().join("strata.json"), newer).unwrap();
    assert!(matches!(check_error(whole.path()), Error::NewerFormat { .. }), "a newer store is not touched");
}

/// What the index says is compared with what the packs give, entry by entry.
#[test]
fn an_index_that_says_something_else_is_made_anew() {
    let whole = sample();
    let (dir, problems) = repair(&whole, |dir| {
        let id = Identity::read(&Layout::new(dir)).unwrap().id;
        let (index, _) = crate::store::index::Index::open_as_is(&dir.join("index"), id).unwrap();
        let wrong = super::super::index::change::Change::Put(keys::object(&[9; 32]), vec![0; 17]);
        index.publish([wrong], LogPos(0));
        index.finish(|| Ok(LogPos(0))).unwrap();
    });
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].what.contains("1 are too many"), "{problems:#?}");
    assert!(is_whole(&whole, &dir));
}
