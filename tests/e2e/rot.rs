//! Rot: each file of a store damaged in each way, one at a time.
//!
//! Whatever was done to it: the store opens, or is refused with the file's name and what to do; nothing that
//! is read is wrong; what cannot be read is EIO and named by `strata verify`; `strata fsck` restores what
//! anything else tells, and after it only what is lost is reported, once more by a second run that finds
//! nothing to do.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::harness::*;
use crate::rot_rig::{Damage, Key, Sample, copy, damages, files, packs, up, walk};

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| Sample::new(noise));
/// The same of bytes that get smaller, with its packs compressed.
static COMPRESSED: LazyLock<Sample> = LazyLock::new(|| Sample::new(digits).compressed());

/// The same with packs joined.
static JOINED: LazyLock<Sample> = LazyLock::new(|| Sample::new(digits).compressed().joined());

/// What is known beforehand of how a repair ends.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// Everything is as it was.
    Whole,
    /// Perhaps something is lost.
    Any,
}

struct Figures {
    sample: &'static Sample,
    rounds: u32,
    refused: u32,
    lost: u32,
}

/// Damages a copy of the sample and sees it through; says what became of it.
fn round(what: &str, after: After, damage: &dyn Fn(&Path), figures: &mut Figures) {
    let (m, sample) = (Mount::unmounted(), figures.sample);
    copy(&sample.store(), m.store());
    damage(m.store());
    let verify = m.strata(&["verify", "--json"]);
    figures.rounds += 1;
    match verify.code {
        Some(0 | 3) => {
            let named = damages(&serde_json::from_slice(&verify.stdout).expect("a report"));
            assert_eq!(named.is_empty(), verify.code == Some(0), "{what}");
            assert_eq!(up(&m).code, Some(0), "{what}: verified, and then not mounted");
            look(what, sample, &m, &named, &sample.with_unread_changes(&named));
            m.down();
        }
        Some(1) => {
            figures.refused += 1;
            assert!(verify.stderr.contains("strata fsck"), "{what}: {}", verify.stderr);
            let store = m.store().display().to_string();
            assert!(
                verify.stderr.contains(&store) || verify.stderr.contains("strata.json"),
                "{}",
                verify.stderr
            );
            let mount = up(&m).fails(1);
            assert!(mount.contains("strata fsck"), "{what}: {mount}");
        }
        _ => panic!("{what}: {verify:?}"),
    }
    let (report, code) = fsck(what, &m);
    let lost = damages(&report);
    let changes = lost_changes(&report);
    assert_eq!(code == 3, !(lost.is_empty() && changes.is_empty()), "{what}: {report:#}");
    let (again, code_again) = fsck(what, &m);
    assert_eq!(again["problems"], serde_json::json!([]), "{what}: a second run, after {report:#}");
    assert_eq!((code_again, damages(&again)), (if lost.is_empty() { 0 } else { 3 }, lost.clone()), "{what}");
    assert!(after == After::Any || code != 3, "{what}: {report:#}");
    figures.lost += u32::from(!(lost.is_empty() && changes.is_empty()));
    // Packs that are as they were, and an index that is what they give, need no second look.
    if lost.is_empty() && sample.has_same_packs(m.store()) {
        return;
    }
    up(&m).ok();
    let failed = look(what, sample, &m, &lost, &changes);
    let seen = lost.iter().any(|damage| sample.is_in_sight(damage.dataset.as_ref()));
    assert_eq!(failed.is_empty(), !seen, "{what}: {failed:?} {report:#}");
    for name in ["photos", "labels"] {
        let d = m.existing(name);
        d.write("written after it", "and on it goes");
        assert_eq!(d.text("written after it"), "and on it goes", "{what}");
    }
    m.down();
}

/// The datasets whose changes that no version held are lost, as a repair says.
fn lost_changes(report: &Value) -> Vec<String> {
    let problems = report["problems"].as_array().expect("a report has problems");
    let lost = problems.iter().filter(|problem| problem["outcome"] == "lost");
    lost.map(|problem| {
        let what = problem["what"].as_str().expect("a problem says what it is");
        let name = what.strip_prefix("changes of dataset '").and_then(|rest| rest.split_once('\''));
        name.unwrap_or_else(|| panic!("something else is lost: {problem:#}")).0.to_owned()
    })
    .collect()
}

/// Looks at everything in a mounted store: what is EIO is named, and what is named is EIO. Of live trees of which
/// changes are lost, nothing is known.
fn look(what: &str, sample: &Sample, m: &Mount, named: &[Damage], changes: &[String]) -> BTreeSet<Key> {
    let failed = sample.compare(what, m, &walk(m), changes);
    for (dataset, version, path) in &failed {
        let names = |damage: &Damage| {
            damage.dataset.as_ref() == Some(dataset)
                && damage.path.as_ref().is_none_or(|named| is_same_file(named, path))
                && (*version == 0 || damage.version.is_none_or(|v| v <= *version))
        };
        assert!(named.iter().any(names), "{what}: {dataset}@v{version}/{} not in {named:#?}", path.display());
    }
    for damage in named {
        // A record whose header alone is damaged can still be read, through the index.
        let header = damage.what.contains("no record");
        if let Damage { dataset: Some(dataset), version: Some(version), path: Some(path), .. } = damage
            && !header
            && sample.is_in_sight(Some(dataset))
        {
            let key = (dataset.clone(), *version, path.clone());
            assert!(failed.contains(&key), "{what}: {damage:?} was read; {failed:?}");
        }
    }
    if !failed.is_empty() {
        let log = fs::read_to_string(m.store().join("daemon.log")).expect("read the log");
        assert!(log.contains("ERROR"), "{what}: the log does not tell of {failed:?}");
    }
    failed
}

/// Whether two paths of the sample are the same file: at another path before, or under its other name.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().replace(" too", ""));
    name(a) == name(b)
}

fn fsck(what: &str, m: &Mount) -> (Value, i32) {
    let ran = m.strata(&["fsck", "--json"]);
    let code = ran.code.filter(|code| matches!(code, 0 | 3 | 4));
    let code = code.unwrap_or_else(|| panic!("{what}: {ran:?}"));
    (serde_json::from_slice(&ran.stdout).expect("a report"), code)
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("open");
    file.write_all_at(bytes, at).expect("write");
}

fn flip(path: &Path, at: u64, bit: u8) {
    let bytes = fs::read(path).expect("read");
    write_at(path, at, &[bytes[at as usize] ^ (1 << bit)]);
}

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("truncate");
}

/// Runs rounds, and says how many and what became of them.
fn rounds(what: &str, sample: &'static Sample, cases: Cases) {
    let mut figures = Figures { sample, rounds: 0, refused: 0, lost: 0 };
    for (name, after, damage) in cases {
        round(&name, after, &*damage, &mut figures);
    }
    let Figures { rounds, refused, lost, .. } = figures;
    eprintln!("{what}: {rounds} rounds, refused before the repair {refused}, something lost {lost}");
}

/// Whether there is time: more places are damaged then.
fn long() -> bool {
    std::env::var_os("STRATA_SOAK").is_some()
}

/// The records of a pack: offset, kind, payload length.
fn records(pack: &Path) -> Vec<(u64, u8, u64)> {
    let bytes = fs::read(pack).expect("read a pack");
    let mut found = Vec::new();
    let mut at = 40;
    while bytes.get(at..at + 4) == Some(b"sRec") {
        let len = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().expect("4 bytes"));
        found.push((at as u64, bytes[at + 4], u64::from(len)));
        at += 56 + len as usize;
    }
    assert_eq!(at, bytes.len(), "{} is records to its end", pack.display());
    found
}

type Cases = Vec<(String, After, Box<dyn Fn(&Path)>)>;

/// A bit flipped in a pack, in its header, and in header and payload of records of each kind, the first and the
/// last of it: all of it is restored, bit for bit.
#[test]
fn a_flipped_bit_in_any_kind_of_record_is_restored() {
    let mut cases: Cases = Vec::new();
    let mut kinds = BTreeSet::new();
    for (n, pack) in SAMPLE.packs().iter().enumerate() {
        let all = records(pack);
        let mut at = if n == 0 { vec![(0, 3), (0, 30)] } else { vec![] };
        for kind in 1..=6 {
            let ends = [all.iter().find(|r| r.1 == kind), all.iter().rfind(|r| r.1 == kind)];
            for (which, record) in ends.into_iter().enumerate() {
                let Some(&(offset, kind, len)) = record else { continue };
                // Each kind once from its beginning and once from its end.
                if kinds.insert((kind, which)) {
                    at.extend([(offset, 2), (offset, 13), (offset, 40), (offset, 56), (offset, 55 + len)]);
                }
            }
        }
        for (place, (base, more)) in at.into_iter().enumerate() {
            let (path, at) = (format!("packs/{:08}.pack", n + 1), base + more);
            let damage = move |store: &Path| flip(&store.join(&path), at, (place % 8) as u8);
            cases.push((format!("bit flipped in pack {} at {at}", n + 1), After::Whole, Box::new(damage)));
        }
    }
    assert_eq!(kinds.len(), 12, "the sample has records of all kinds: {kinds:?}");
    rounds("flipped bits in packs", &SAMPLE, cases);
}

/// Packs with pages of zeros, cut short, deleted, exchanged, or of another store.
#[test]
fn ruined_packs_cost_no_more_than_what_was_in_them() {
    let count = SAMPLE.packs().len();
    assert!(count >= 4, "{count} packs");
    let name = |n: usize| format!("packs/{n:08}.pack");
    rounds("ruined packs", &SAMPLE, ruined(&SAMPLE, [1, 2, count].map(name)));
}

fn ruined(sample: &Sample, packs: impl IntoIterator<Item = String>) -> Cases {
    let mut cases: Cases = Vec::new();
    for (n, path) in packs.into_iter().enumerate() {
        let len = fs::metadata(sample.store().join(&path)).expect("stat").len();
        let mut case = |what: &str, damage: Box<dyn Fn(&Path)>| {
            let path = path.clone();
            let what = format!("{what} of {path}");
            cases.push((what, After::Any, Box::new(move |store| damage(&store.join(&path)))));
        };
        case("first page of zeros", Box::new(|path| write_at(path, 0, &[0; 4096])));
        if n == 1 || long() {
            case("a page of zeros", Box::new(move |path| write_at(path, len / 2 / 4096 * 4096, &[0; 4096])));
        }
        case(
            "last page of zeros",
            Box::new(move |path| {
                let at = len.saturating_sub(1) / 4096 * 4096;
                write_at(path, at, &vec![0; (len - at) as usize]);
            }),
        );
        case("nothing but zeros", Box::new(move |path| write_at(path, 0, &vec![0; len as usize])));
        for at in [0, len / 2, len - 3] {
            case(&format!("end at byte {at}"), Box::new(move |path| truncate(path, at)));
        }
        case("loss", Box::new(|path| fs::remove_file(path).expect("remove")));
    }
    cases
}

/// The same of compressed packs.
#[test]
fn ruined_compressed_packs_cost_no_more_than_what_was_in_them() {
    let packs = [1, 2].map(|n| format!("packs/{n:08}.pack"));
    rounds("ruined compressed packs", &COMPRESSED, ruined(&COMPRESSED, packs));
}

/// The files of several packs of the sample.
fn joined() -> Vec<String> {
    let names = JOINED.packs().into_iter().map(|path| path.file_name().expect("a name").to_owned());
    let names = names.map(|name| name.into_string().expect("UTF-8")).filter(|name| name.contains('-'));
    let names: Vec<String> = names.map(|name| format!("packs/{name}")).collect();
    assert!(names.len() >= 2, "{names:?}");
    names
}

/// The same of files of several packs: the packs in them that were not damaged are all there.
#[test]
fn ruined_files_of_several_packs_cost_no_more_than_what_was_in_them() {
    let two = joined().into_iter().take(2);
    let mut cases = ruined(&JOINED, two);
    // Both lists of the packs, which are in frames of their own.
    let name = joined()[0].clone();
    let bytes = fs::read(JOINED.store().join(&name)).expect("read");
    let frames: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"sFrm")).collect();
    let (first, last) = (frames[0] as u64, frames[frames.len() / 2 - 1] as u64);
    let no_list = move |store: &Path| {
        [first, last].iter().for_each(|at| write_at(&store.join(&name), at + 64, &[0xff; 16]));
    };
    cases.push(("both lists damaged".into(), After::Whole, Box::new(no_list)));
    rounds("ruined files of several packs", &JOINED, cases);
}

/// A bit flipped anywhere in a file of several packs is flipped back.
#[test]
fn a_flipped_bit_in_a_file_of_several_packs_is_restored() {
    rounds("flipped bits in files of several packs", &JOINED, flips(&JOINED, joined(), b"STRATAPJ"));
}

/// Files of several packs under each other's names, and one of a name that is none of its packs'.
#[test]
fn files_of_several_packs_under_other_names_are_put_right() {
    let [one, other] = [joined()[0].clone(), joined()[1].clone()];
    let exchange = move |store: &Path| {
        let [one, other, aside] = [&one, &other, "x"].map(|name| store.join(name));
        fs::rename(&one, &aside).and_then(|()| fs::rename(&other, &one)).expect("rename");
        fs::rename(&aside, &other).expect("rename");
    };
    let (first, name) = (joined()[0].clone(), "packs/00009000-00009001.pack");
    let renamed = move |store: &Path| fs::rename(store.join(&first), store.join(name)).expect("rename");
    let cases: Cases = vec![
        ("exchanged".into(), After::Whole, Box::new(exchange)),
        ("another name".into(), After::Whole, Box::new(renamed)),
    ];
    rounds("misplaced files of several packs", &JOINED, cases);
}

/// A bit flipped anywhere in a compressed pack is flipped back: in its header, in headers and payloads of frames,
/// in its table and trailer.
#[test]
fn a_flipped_bit_in_a_compressed_pack_is_restored() {
    let packs = [1, 2].map(|n| format!("packs/{n:08}.pack"));
    rounds("flipped bits in compressed packs", &COMPRESSED, flips(&COMPRESSED, packs, b"STRATAPZ"));
}

fn flips(sample: &Sample, packs: impl IntoIterator<Item = String>, magic: &[u8; 8]) -> Cases {
    let mut cases: Cases = Vec::new();
    for path in packs.into_iter().take(2) {
        let bytes = fs::read(sample.store().join(&path)).expect("read a pack");
        assert!(bytes.starts_with(magic), "{path} is of the form looked for");
        let frames: Vec<usize> =
            (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"sFrm")).collect();
        let len = bytes.len();
        // Each frame's header is there, and once more in the table.
        let (first, table) = (frames[0], frames[frames.len() / 2]);
        let mut places =
            vec![0, 20, first + 2, first + 30, first + 70, (first + table) / 2, table - 1, table + 5];
        places.extend([table + 60, len - 47, len - 20, len - 1]);
        for (place, at) in places.into_iter().enumerate() {
            let (what, path) = (format!("bit flipped in {path} at {at}"), path.clone());
            let damage = move |store: &Path| flip(&store.join(&path), at as u64, (place % 8) as u8);
            cases.push((what, After::Whole, Box::new(damage)));
        }
    }
    cases
}

/// Packs under each other's names, one of another store, and an index of before.
#[test]
fn files_that_are_not_where_they_belong_are_put_right() {
    let count = SAMPLE.packs().len();
    let exchange = |a: usize, b: usize| {
        move |store: &Path| {
            let packs = packs(store);
            fs::rename(&packs[a], store.join("x")).expect("rename");
            fs::rename(&packs[b], &packs[a]).expect("rename");
            fs::rename(store.join("x"), &packs[b]).expect("rename");
        }
    };
    let foreign = |store: &Path| {
        let other = Mount::unmounted();
        up(&other).ok();
        other.dataset("d").write("f", noise(1, 500_000));
        other.down();
        let pack = &packs(store)[1];
        fs::copy(&packs(other.store())[0], pack).expect("copy");
    };
    let old_index = |store: &Path| {
        fs::remove_dir_all(store.join("index")).expect("remove");
        copy(&SAMPLE.old_index(), &store.join("index"));
    };
    rounds(
        "misplaced files",
        &SAMPLE,
        vec![
            ("packs 1 and 2 exchanged".into(), After::Whole, Box::new(exchange(0, 1))),
            ("the first and last pack exchanged".into(), After::Whole, Box::new(exchange(0, count - 1))),
            ("a pack of another store".into(), After::Any, Box::new(foreign)),
            ("an older index".into(), After::Whole, Box::new(old_index)),
        ],
    );
}

/// Every other file of a store, damaged in every way, costs nothing.
#[test]
fn damage_to_any_other_file_costs_nothing() {
    let store = SAMPLE.store();
    let mut small: Vec<PathBuf> = fs::read_dir(&store)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_file())
        .collect();
    small.sort();
    assert!(small.len() >= 5, "{small:?}");
    let index = files(&store.join("index"));
    assert!(index.len() >= 2, "{index:?}");
    let mut cases: Cases = Vec::new();
    for path in small.iter().chain(&index) {
        let relative = path.strip_prefix(&store).expect("in the store").to_owned();
        let len = fs::metadata(path).expect("stat").len();
        let mut case = |what: String, damage: Box<dyn Fn(&Path)>| {
            let (name, relative) = (format!("{}: {what}", relative.display()), relative.clone());
            cases.push((name, After::Whole, Box::new(move |store| damage(&store.join(&relative)))));
        };
        case("deleted".into(), Box::new(|path| fs::remove_file(path).expect("remove")));
        if len == 0 {
            continue;
        }
        case("cut to nothing".into(), Box::new(|path| truncate(path, 0)));
        case("cut by a few bytes".into(), Box::new(move |path| truncate(path, len - len.min(3))));
        case("zeros".into(), Box::new(move |path| write_at(path, 0, &vec![0; len as usize])));
        let places = if relative.starts_with("index") { 6 } else { 3 };
        for n in 0..places {
            let at = (len - 1) * n / (places - 1);
            case(format!("bit flipped at {at}"), Box::new(move |path| flip(path, at, 1)));
        }
        if len > 8192 {
            case("cut in the middle".into(), Box::new(move |path| truncate(path, len / 2)));
            case(
                "a page of zeros".into(),
                Box::new(move |path| write_at(path, len / 8192 * 4096, &[0; 4096])),
            );
        }
    }
    cases.push((
        "no index".into(),
        After::Whole,
        Box::new(|store| fs::remove_dir_all(store.join("index")).expect("remove")),
    ));
    cases.push((
        "no scratch, and left-overs".into(),
        After::Whole,
        Box::new(|store| {
            fs::remove_dir(store.join("scratch")).expect("remove");
            fs::write(store.join("control.sock"), "no socket").expect("write");
            fs::write(store.join("packs/00000001.pack.new"), "left").expect("write");
        }),
    ));
    rounds("other files", &SAMPLE, cases);
}
