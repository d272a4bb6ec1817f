//! `strata bundle`: a dataset's history goes to another store.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::*;

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A history of all sorts: files of every size, links, attributes, renames, rollbacks, tags.
fn history(m: &Mount) {
    let d = m.dataset("d");
    let source = m.outside().join("source");
    sample_tree(&source, 3, 60);
    fs::write(source.join("large"), noise(1, 6 << 20)).expect("write");
    fs::write(source.join("holes"), vec![0; 3 << 20]).expect("write");
    m.strata(&["import", text(&source), "d", "-m", "first"]).ok();
    tool("setfattr", &["-n", "user.long", "-v", &"x".repeat(3000), text(&d.path("large"))]);
    for n in 0..8 {
        d.write("f", format!("{n}").repeat(1000));
    }
    d.write("large", noise(1, 7 << 20));
    fs::rename(d.path("part-1"), d.path("moved")).expect("rename");
    m.strata(&["tag", "d@v2", "base", "-m", "to compare with"]).ok();
    m.strata(&["rollback", "d", "v3", "-m", "back"]).ok();
    d.write("f", "after");
    m.strata(&["tag", "d", "base"]).ok();
    m.strata(&["tag", "d", "1.0.0"]).ok();
}

/// The log without what follows from the store's number of the dataset.
fn without_ids(log: Vec<Value>) -> Vec<Value> {
    let strip = |mut entry: Value| {
        entry.as_object_mut().expect("an object").remove("id");
        entry
    };
    log.into_iter().map(strip).collect()
}

/// In another store the history is the same to the version ids: every version, author, message and tag, and what
/// is stored twice is in the bundle once.
#[test]
fn a_bundle_carries_history_to_another_store() {
    let m = Mount::new();
    history(&m);
    let file = m.outside().join("d.bundle");
    let said: Value =
        serde_json::from_str(&m.strata(&["bundle", "--json", "d", "-o", text(&file)]).ok()).expect("JSON");
    let log = m.existing("d").log();
    assert_eq!((&said["id"], &said["version"]), (&log[0]["id"], &log[0]["version"]));
    let len = fs::metadata(&file).expect("stat").len();
    assert_eq!(said["bytes"], len);
    assert!(len < 9 << 20, "8 MB of content, most of it in every version: {len}");
    for mounted in [true, false] {
        let other = Mount::new();
        if !mounted {
            other.down();
        }
        let made = other.strata(&["import", text(&file), "e"]).ok();
        assert_eq!(made, format!("e: {}\n", said["version"].as_str().expect("a version")));
        if !mounted {
            other.up(&[]);
        }
        let e = other.existing("e");
        assert_eq!(e.log(), log, "hash by hash");
        let tags = |m: &Mount, name: &str| m.strata(&["tags", "--history", "--json", name]).ok();
        assert_eq!(tags(&other, "e"), tags(&m, "d"));
        for version in ["@v1", "@v3", "@v9", "@prev", "@latest", "@base"] {
            assert_same_tree(&m.existing("d").path(version), &e.path(version));
        }
        assert_same_tree(m.existing("d").root(), e.root());
        other.strata(&["verify"]).ok();
        e.write("f", "goes on");
        assert_eq!(e.versions(), log.len() as u64 + 1);
        other.kill();
        other.up(&[]);
        assert_eq!(other.existing("e").log()[1..], log);
        other.down();
        other.strata(&["fsck", "--rebuild-index"]).ok();
        other.up(&[]);
        assert_eq!(other.existing("e").log()[1..], log);
    }
}

/// Where the dataset's number is taken, all but the version ids stays; a part of a history is one too.
#[test]
fn a_bundle_finds_room_beside_other_datasets() {
    let m = Mount::new();
    history(&m);
    let (file, part) = (m.outside().join("d.bundle"), m.outside().join("part.bundle"));
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    m.strata(&["bundle", "d@v4", "-o", text(&part)]).ok();
    m.strata(&["import", text(&file), "copy"]).ok();
    m.strata(&["import", text(&part), "part"]).ok();
    let (d, copy) = (m.existing("d"), m.existing("copy"));
    assert_eq!(without_ids(copy.log()), without_ids(d.log()));
    assert_ne!(copy.newest()["id"], d.newest()["id"]);
    assert_same_tree(d.root(), copy.root());
    assert_eq!(m.existing("part").versions(), 4);
    assert_same_tree(&d.path("@v4"), m.existing("part").root());
    let said = m.strata(&["import", text(&file), "d"]).fails(1);
    assert!(said.contains("d exists already") && said.contains("d.bundle"), "{said}");
    m.strata(&["import", "-m", "x", text(&file), "new"]).fails(2);
    assert!(m.strata(&["bundle", "d", "-o", text(&file)]).fails(1).contains("--force"));
    assert!(m.strata(&["bundle", "d@v99", "-o", text(&m.outside().join("x"))]).fails(1).contains("v99"));
    m.strata(&["verify"]).ok();
}

/// A bundle that was altered or cut short anywhere is refused, and nothing lands.
#[test]
fn a_bundle_that_was_altered_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 300_000));
    d.write("g", "second");
    m.strata(&["tag", "d", "base"]).ok();
    let file = m.outside().join("d.bundle");
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    let whole = fs::read(&file).expect("read");
    let other = Mount::new();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).expect("write");
        let said = other.strata(&["import", text(&file), "e"]).fails(1);
        assert!(said.contains("d.bundle"), "{what}: {said}");
        assert!(!other.point().join("e").exists(), "{what}");
        assert_eq!(other.status()["datasets"].as_array().map(Vec::len), Some(0));
    };
    for at in (0..whole.len()).step_by(whole.len() / 40).chain(whole.len() - 50..whole.len()).skip(1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        refused(&bytes, &format!("byte {at}"));
    }
    for len in [20, 100, whole.len() / 2, whole.len() - 41, whole.len() - 1] {
        refused(&whole[..len], &format!("{len} bytes"));
    }
    refused(&[&whole[..], b"more"].concat(), "something behind it");
    // One that was made to fit: without its chunks.
    let mut frames = vec![whole[..16].to_vec()];
    let mut at = 16;
    while at < whole.len() {
        let len = u64::from_be_bytes(whole[at + 1..at + 9].try_into().expect("8 bytes")) as usize;
        frames.push(whole[at..at + 9 + len].to_vec());
        at += 9 + len;
    }
    frames.pop();
    frames.retain(|frame| !matches!(frame[0], b'C' | b'Z'));
    let body = frames.concat();
    let end = [&b"E\0\0\0\0\0\0\0\x20"[..], blake3::hash(&body).as_bytes()].concat();
    refused(&[body, end].concat(), "no chunks");
    fs::write(&file, &whole).expect("write");
    other.strata(&["import", text(&file), "e"]).ok();
    assert_eq!(other.existing("e").log(), m.existing("d").log());
}

/// An import of a bundle that is killed leaves nothing in sight, and the same import then goes on and is whole.
#[test]
fn an_import_of_a_bundle_goes_on_after_a_kill() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..400 {
        d.write(&format!("f{}", n % 50), format!("{n}"));
    }
    m.strata(&["tag", "d", "base"]).ok();
    let file = m.outside().join("d.bundle");
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    let other = Mount::unmounted();
    other.strata(&["init"]).ok();
    let mut begun = 0;
    for round in 0..40 {
        let mut import = other.command(&["import", text(&file), "e"]).spawn().expect("start");
        thread::sleep(Duration::from_millis(10 + 5 * round));
        // It may be done already.
        let _ = import.kill();
        import.wait().expect("wait");
        let status = other.status();
        begun += usize::from(status["archived"].as_array().is_some_and(|all| !all.is_empty()));
        if status["datasets"].as_array().is_some_and(|all| !all.is_empty()) {
            break;
        }
    }
    if other.status()["datasets"].as_array().is_some_and(Vec::is_empty) {
        other.strata(&["import", text(&file), "e"]).ok();
    }
    eprintln!("{begun} imports were killed in the midst");
    other.up(&[]);
    assert_eq!(other.existing("e").log(), d.log());
    assert_eq!(other.status()["archived"].as_array().map(Vec::len), Some(0));
    other.strata(&["verify"]).ok();
}
