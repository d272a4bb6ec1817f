//! Reading a tree ahead of those who will want it.

use std::fs::{self, File, OpenOptions};
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use serde_json::{Value, json};

use crate::harness::*;
use crate::rot_rig::packs;

fn prefetch(m: &Mount, object: &str) -> Value {
    serde_json::from_str(&m.strata(&["prefetch", object, "--json"]).ok()).expect("JSON")
}

/// How many of a file's pages are in the system's cache; `None` where that cannot be told.
fn cached(path: &Path) -> Option<u64> {
    let file = File::open(path).expect("open");
    let pages = file.metadata().expect("stat").len() / 4096;
    let mut count = 0;
    for page in 0..pages {
        match preadv2(&file, &mut [IoSliceMut::new(&mut [0])], page * 4096, ReadWriteFlags::NOWAIT) {
            Ok(_) => count += 1,
            Err(Errno::AGAIN) => {}
            Err(Errno::OPNOTSUPP) => return None,
            Err(error) => panic!("{error}"),
        }
    }
    Some(count)
}

fn forget(path: &Path) {
    let file = File::open(path).expect("open");
    file.sync_all().expect("sync");
    fadvise(&file, 0, None, Advice::DontNeed).expect("advise");
}

/// What is named is read, live or of a version, compressed or not, and is in the system's cache then; what is
/// not is left.
#[test]
fn what_is_prefetched_is_in_the_cache() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("train");
    d.mkdir("train/a");
    d.mkdir("test");
    for n in 0..30 {
        d.write(&format!("train/{n}"), noise(n, 20_000));
        d.write(&format!("train/a/{n}"), noise(100 + n, 10_000));
    }
    d.write("train/large", noise(500, 3_000_000));
    d.write("train/sparse", vec![0; 1_000_000]);
    d.write("test/large", noise(501, 2_000_000));
    m.strata(&["commit", "d"]).ok();
    let version = d.versions();
    assert_eq!(
        prefetch(&m, "d@latest/train/7"),
        json!({"files": 1, "bytes": 20_000, "lost_bytes": 0, "purged_bytes": 0})
    );
    let train = json!({"files": 62, "bytes": 3_900_000 + zeros(&m), "lost_bytes": 0, "purged_bytes": 0});
    for object in ["d/train".to_owned(), format!("d@v{version}/train")] {
        let pack = &packs(m.store())[0];
        forget(pack);
        let Some(before) = cached(pack) else { return skipped("what is cached", "the disk does not tell") };
        assert_eq!(prefetch(&m, &object), train, "{object}");
        let after = cached(pack).expect("as before");
        let pages = 3_900_000 / 4096;
        assert!(after - before > pages * 9 / 10, "{object}: {before} to {after} pages");
    }
    assert_eq!(prefetch(&m, "d")["files"], 63);
    assert_eq!(m.strata(&["prefetch", "d@latest/train/7"]).ok(), "1 file, 19.5 KiB read\n");
    m.strata(&["compact"]).ok();
    assert_eq!(prefetch(&m, "d@latest/train"), train);
}

/// Bytes of chunks that a megabyte of zeros has beside its holes.
fn zeros(m: &Mount) -> u64 {
    prefetch(m, "d/train/sparse")["bytes"].as_u64().expect("a number")
}

/// Damaged chunks are passed over and counted, and cost no other; what does not exist is named.
#[test]
fn damage_is_counted_and_what_does_not_exist_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    let text = noise(1, 9000);
    d.write("bad", &text);
    d.write("good", noise(2, 50_000));
    m.down();
    let pack = packs(m.store()).remove(0);
    let bytes = fs::read(&pack).expect("read");
    let at = bytes.windows(100).position(|part| part == &text[..100]).expect("it is there");
    let file = OpenOptions::new().write(true).open(&pack).expect("open");
    file.write_all_at(&[text[5000] ^ 1], (at + 5000) as u64).expect("write");
    m.up(&[]);
    let ran = m.strata(&["prefetch", "d@latest", "--json"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let report: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(report["bytes"], 59_000);
    let lost = report["lost_bytes"].as_u64().expect("a number");
    assert!((1..=9000).contains(&lost), "{report}");
    let ran = m.strata(&["prefetch", "d"]);
    assert!(ran.code == Some(3) && ran.text().contains("strata verify"), "{ran:?}");
    assert!(m.strata(&["prefetch", "d@latest/none"]).fails(1).contains("none"));
    assert!(m.strata(&["prefetch", "other"]).fails(1).contains("other"));
}
