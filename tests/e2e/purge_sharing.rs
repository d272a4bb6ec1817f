//! Purges of content that something else has too: what stays is told, with what has it, and goes once nothing has.

use std::fs;
use std::path::Path;

use rustix::io::Errno;
use serde_json::Value;

use crate::harness::*;

fn purge(m: &Mount, more: &[&str]) -> Ran {
    m.strata(&[&["purge", "--reason", "law"], more].concat())
}

/// Whether a file in a directory of the store has these bytes.
fn has(m: &Mount, dir: &str, bytes: &[u8]) -> bool {
    let files = fs::read_dir(m.store().join(dir)).expect("list").flatten();
    files.into_iter().any(|file| {
        let held = fs::read(file.path()).expect("read");
        held.windows(bytes.len()).any(|window| window == bytes)
    })
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// What was purged of a path before does not have a purge pass for one that removes nothing.
#[test]
fn a_second_content_that_is_in_use_is_not_said_to_be_gone() {
    let m = Mount::new();
    let (d, other) = (m.dataset("mx"), m.dataset("mx2"));
    d.write("o", "FIRST secret");
    fs::remove_file(d.path("o")).expect("remove");
    purge(&m, &["mx", "o"]).ok();
    d.write("o", "SECOND secret");
    other.write("copy", "SECOND secret");
    let open = fs::File::open(d.path("o")).expect("open");
    fs::remove_file(d.path("o")).expect("remove");
    let ran = purge(&m, &["mx", "o"]);
    assert_eq!(ran.text(), "", "nothing was removed");
    let failed = ran.fails(1);
    for part in ["nothing of o was removed", "mx2/copy", "mx/o, which was removed but is open"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert_eq!(d.text("@v3/o"), "SECOND secret");
    assert_eq!(m.strata(&["purge", "mx", "--list"]).ok().lines().count(), 1);
    fs::remove_file(other.path("copy")).expect("remove");
    let failed = purge(&m, &["mx", "o"]).fails(1);
    assert!(failed.contains("open") && failed.contains("mx2@v1/copy"), "{failed}");
    drop(open);
    poll("it is closed", || !purge(&m, &["mx", "o"]).fails(1).contains("open"));
    purge(&m, &["mx", "o", "--everywhere"]).ok();
    refused(fs::read(d.path("@v3/o")), Errno::IO);
    refused(fs::read(other.path("@v1/copy")), Errno::IO);
    assert!(!has(&m, "packs", b"SECOND secret"));
}

/// What is left of a content that a live file has a part of goes with the same purge once that file is gone.
#[test]
fn a_purge_in_part_is_finished_by_the_next() {
    let m = Mount::new();
    let d = m.dataset("d");
    let secret = noise(1, 3_000_000);
    d.write("secret", &secret);
    d.write("derived", [&noise(2, 200_000), &secret[1_000_000..]].concat());
    fs::remove_file(d.path("secret")).expect("remove");
    let sample = |n: usize| &secret[n * 64_000..][..64];
    let ran = purge(&m, &["d", "secret", "--json"]);
    let told = json(&ran.text());
    assert!(told["bytes"].as_u64() > Some(500_000) && told["shared"].as_u64() > Some(10), "{told}");
    assert_eq!(told["holders"], Value::from(vec!["d/derived"]));
    let failed = ran.fails(1);
    assert!(failed.contains("not all of secret was removed") && failed.contains("d/derived"), "{failed}");
    assert!((0..14).all(|n| !has(&m, "packs", sample(n))) && has(&m, "packs", sample(40)));
    refused(fs::read(d.path("@v1/secret")), Errno::IO);
    assert_eq!(d.bytes("derived")[200_000..], secret[1_000_000..]);
    // A version has it still.
    fs::remove_file(d.path("derived")).expect("remove");
    let failed = purge(&m, &["d", "secret"]).fails(1);
    assert!(failed.contains("d@v2/derived") && failed.contains("--everywhere"), "{failed}");
    assert!(has(&m, "packs", sample(40)));
    m.kill();
    m.up(&[]);
    assert_eq!(d.bytes("@v2/derived")[200_000..], secret[1_000_000..]);
    purge(&m, &["d", "derived"]).fails(1);
    purge(&m, &["d", "secret", "--everywhere"]).ok();
    assert!((0..46).all(|n| !has(&m, "packs", sample(n))));
    assert!(purge(&m, &["d", "secret"]).ok().contains("nothing of it is left"));
    m.strata(&["verify"]).ok();
    let failed = m.strata(&["rollback", "d", "v2"]).fails(1);
    assert!(failed.contains("derived") && failed.contains("was purged"), "{failed}");
}

/// Without --everywhere the versions of others keep a content, and are named; with it all lose it, archived datasets
/// too, and tell of it.
#[test]
fn a_purge_everywhere_takes_it_from_all_histories() {
    let m = Mount::new();
    let secret = noise(1, 400_000);
    let d = m.dataset("d");
    d.write("secret", &secret);
    d.write("longer", [&secret[..], b"and more"].concat());
    let (other, old, kept) = (m.dataset("other"), m.dataset("old"), noise(2, 300_000));
    for dataset in [&other, &old] {
        dataset.write("copy", &secret);
        dataset.write("kept", &kept);
    }
    for path in [d.path("secret"), d.path("longer"), other.path("copy"), old.path("copy"), old.path("kept")] {
        fs::remove_file(path).expect("remove");
    }
    fs::remove_dir(old.root()).expect("archive");
    let failed = purge(&m, &["d", "secret"]).fails(1);
    for part in ["d@v2/longer", "other@v1/copy", "old@v1/copy (archived)", "--everywhere"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    // A reader of the other dataset has it in its cache.
    assert_eq!(other.bytes("@v1/copy"), secret);
    let would = json(&m.strata(&["purge", "d", "secret", "--everywhere", "--dry-run", "--json"]).ok());
    assert_eq!(would["also"], serde_json::json!(["d@v2/longer", "other@v1/copy", "old@v1/copy (archived)"]));
    let told = m.strata(&["purge", "d", "secret", "--dry-run"]).ok();
    assert!(told.contains("keeps what it has of it: other@v1/copy"), "{told}");
    assert_eq!((d.bytes("@v1/secret"), other.bytes("@v1/copy")), (secret.clone(), secret.clone()));
    let told = json(&purge(&m, &["d", "secret", "--everywhere", "--json"]).ok());
    let others: Vec<&str> =
        told["others"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(others.len() == 2 && others.contains(&"other") && others.contains(&"old"), "{told}");
    assert_eq!((&told["also"], &told["objects"]), (&would["also"], &would["objects"]));
    let check = |when: &str| {
        assert!((0..6).all(|n| !has(&m, "packs", &secret[n * 64_000..][..64])), "{when}");
        for path in [d.path("@v1/secret"), d.path("@v2/longer"), other.path("@v1/copy")] {
            refused(fs::read(path), Errno::IO);
        }
        assert_eq!((other.bytes("kept"), other.bytes("@v2/kept")), (kept.clone(), kept.clone()), "{when}");
        let told = json(&m.strata(&["purge", "other", "--list", "--json"]).ok());
        assert_eq!((&told["path"], &told["reason"]), (&"copy".into(), &"law".into()), "{when}");
        m.strata(&["verify"]).ok();
    };
    m.lasts(check);
    let back = m.dataset("old");
    refused(fs::read(back.path("@v1/copy")), Errno::IO);
    assert_eq!(back.bytes("@v2/kept"), kept);
    assert_eq!(m.strata(&["purge", "old", "--list"]).ok().lines().count(), 1);
}

/// Another file of the dataset that had the same content loses it too, and that is told, before and after; what it
/// keeps since another dataset has it is not told as lost.
#[test]
fn what_another_file_of_the_dataset_loses_is_told() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("kept", "0, as others have it");
    fs::remove_file(d.path("kept")).expect("remove");
    d.mkdir("secret");
    d.write("secret/label", "0, as others have it");
    fs::remove_file(d.path("secret/label")).expect("remove");
    let would = |more: &[&str]| {
        json(&m.strata(&[&["purge", "d", "secret", "--dry-run", "--json"], more].concat()).ok())
    };
    for more in [&[][..], &["--everywhere"]] {
        assert_eq!(would(more)["also"], serde_json::json!(["d@v1/kept"]));
    }
    let other = m.dataset("other");
    other.write("copy", "0, as others have it");
    fs::remove_file(other.path("copy")).expect("remove");
    assert_eq!(would(&[])["also"], serde_json::json!([]));
    assert_eq!(would(&["--everywhere"])["also"], serde_json::json!(["d@v1/kept", "other@v1/copy"]));
    let told = purge(&m, &["d", "secret", "--everywhere"]).ok();
    assert!(told.contains("can be read no more: d@v1/kept\n"), "{told}");
    refused(fs::read(d.path("@v1/kept")), Errno::IO);
}

/// What is purged does not stay in the packs that a repair put aside: those that have it go, and of what cannot be
/// read it is said that it may have it.
#[test]
fn a_purge_looks_into_what_a_repair_put_aside() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (secret, kept) = (noise(1, 60_000), noise(2, 60_000));
    d.write("secret", &secret);
    d.write("kept", &kept);
    fs::remove_file(d.path("secret")).expect("remove");
    m.down();
    let pack = pack_with(&m, &kept[1000..1064]);
    let whole = fs::read(&pack).expect("read");
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&pack, bytes).expect("write");
        m.strata(&["fsck"]).fails(4);
    };
    let at = |what: &[u8]| whole.windows(what.len()).position(|window| window == what).expect("there");
    flip(at(&kept[1000..1064]));
    assert!(has(&m, "damaged", &secret[100..164]));
    m.up(&[]);
    let told = json(&purge(&m, &["d", "secret", "--json"]).ok());
    assert_eq!(told["aside"].as_array().expect("files").len(), 1, "{told}");
    assert!(!has(&m, "packs", &secret[100..164]) && !has(&m, "damaged", &secret[100..164]));
    assert_eq!(d.bytes("kept"), kept);
    m.strata(&["verify"]).ok();
    // One that cannot be read.
    let unreadable = m.store().join("damaged").join("00000009.pack");
    fs::write(&unreadable, noise(3, 5000)).expect("write");
    d.write("short", "another");
    fs::remove_file(d.path("short")).expect("remove");
    let failed = purge(&m, &["d", "short"]).fails(1);
    assert!(failed.contains("00000009.pack") && failed.contains("remove them"), "{failed}");
    fs::remove_file(unreadable).expect("remove");
    purge(&m, &["d", "short"]).ok();
}

fn pack_with(m: &Mount, bytes: &[u8]) -> std::path::PathBuf {
    let packs = fs::read_dir(m.store().join("packs")).expect("list").flatten();
    let holds =
        |path: &Path| fs::read(path).expect("read").windows(bytes.len()).any(|window| window == bytes);
    packs.map(|pack| pack.path()).find(|path| holds(path)).expect("a pack")
}

/// Under a policy of manual commits, the removal is to be committed first, which is said.
#[test]
fn a_purge_says_that_a_removal_is_to_be_committed() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("f", "a secret");
    m.strata(&["commit", "d"]).ok();
    fs::remove_file(d.path("f")).expect("remove");
    let failed = purge(&m, &["d", "f"]).fails(1);
    assert!(failed.contains("strata commit d"), "{failed}");
    m.strata(&["commit", "d"]).ok();
    purge(&m, &["d", "f"]).ok();
    refused(fs::read(d.path("@v1/f")), Errno::IO);
}

/// What was purged is not promised to come back from a prune.
#[test]
fn a_forecast_leaves_out_what_was_purged() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 200_000));
    fs::remove_file(d.path("f")).expect("remove");
    d.write("g", noise(2, 50_000));
    fs::remove_file(d.path("g")).expect("remove");
    let forecast = || {
        let told = m.strata(&["prune", "d", "--keep-last", "1", "--dry-run", "--json"]).ok();
        json(told.lines().last().expect("a line"))["bytes"].as_u64().expect("a number")
    };
    assert_eq!(forecast(), 250_000);
    purge(&m, &["d", "f"]).ok();
    assert_eq!(forecast(), 50_000);
}

/// A version of which a file was purged is described without it, and what cannot be made of it is refused by name.
#[test]
fn a_version_with_a_purged_file_is_told_of_without_it() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("kept", "what is kept");
    d.write("secret.csv", "a,b\n1,2\n");
    fs::remove_file(d.path("secret.csv")).expect("remove");
    let text = |name: &str| d.text(&format!("@v2/@meta/{name}"));
    assert!(text("sha256sums").contains("secret.csv") && text("croissant.json").contains("secret.csv"));
    purge(&m, &["d", "secret.csv"]).ok();
    assert_eq!(text("sha256sums").lines().count(), 1);
    assert!(!text("croissant.json").contains("secret.csv") && text("croissant.json").contains("kept"));
    assert_eq!(json(&text("stats.json"))["purged"], 1);
    assert_eq!(text("manifest.jsonl"), m.strata(&["meta", "d@v2", "manifest"]).ok());
    let lines: Vec<Value> = text("manifest.jsonl").lines().map(json).collect();
    let [kept, secret] = &lines[..] else { panic!("{lines:?}") };
    assert!(kept.get("purged").is_none() && kept["sha256"].is_string(), "{kept}");
    assert_eq!((&secret["purged"], &secret["size"]), (&Value::from(true), &Value::from(8)));
    assert!(secret["sha256"].is_null() && secret.get("b3sum").is_some() && secret["content"].is_string());
    let (pointer, archive) = (m.outside().join("p"), m.outside().join("a.tar"));
    let (pointer, archive) = (pointer.to_str().expect("a path"), archive.to_str().expect("a path"));
    for refused in [
        &["pointer", "d@v2", "-o", pointer][..],
        &["pointer", "--dvc", "d@v2", "-o", &format!("{pointer}.dvc")],
        &["export", "d@v2", archive],
    ] {
        let failed = m.strata(refused).fails(1);
        assert!(failed.contains("secret.csv") && failed.contains("purged"), "{failed}");
    }
    assert!(!Path::new(pointer).exists() && !Path::new(archive).exists());
    assert!(d.log().iter().all(|version| version.get("pin").is_none()), "nothing is pinned");
    m.strata(&["pointer", "d@v2/kept", "-o", pointer]).ok();
    let told = json(&m.strata(&["prefetch", "d@v2", "--json"]).ok());
    assert_eq!(
        (&told["files"], &told["lost_bytes"], &told["purged_bytes"]),
        (&1.into(), &0.into(), &8.into())
    );
}
