//! Quotas of datasets.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;

use rustix::fs::{FallocateFlags, copy_file_range, fallocate, statvfs};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::harness::*;

/// The bytes of all files below a directory, of each once.
fn bytes_below(dir: &Path) -> u64 {
    fn go(dir: &Path, sizes: &mut HashMap<u64, u64>) {
        for entry in fs::read_dir(dir).expect("list") {
            let entry = entry.expect("entry");
            let meta = fs::symlink_metadata(entry.path()).expect("stat");
            if meta.is_dir() {
                go(&entry.path(), sizes);
            } else if meta.is_file() {
                sizes.insert(meta.ino(), meta.len());
            }
        }
    }
    let mut sizes = HashMap::new();
    go(dir, &mut sizes);
    sizes.values().sum()
}

/// What status tells of a dataset.
fn told(m: &Mount, name: &str) -> Value {
    let status = m.status();
    let all = status["datasets"].as_array().expect("datasets");
    all.iter().find(|d| d["name"] == name).expect("the dataset").clone()
}

fn set(m: &Mount, quota: &str) {
    m.strata(&["set", "d", &format!("quota={quota}")]).ok();
}

fn open(d: &Dataset<'_>, path: &str) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(d.path(path)).expect("open")
}

/// Whatever makes a file grow is refused at the quota, to the byte, and works again as soon as there is room;
/// the rest of the dataset, and other datasets, go on. The quota stays across a kill, a remount and a new index.
#[test]
fn growth_beyond_the_quota_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", noise(1, 600_000));
    set(&m, "1M");
    let check = |when: &str| {
        let (mib, left) = (1 << 20, (1 << 20) - 600_000);
        refused(fs::write(d.path("b"), noise(2, left + 1)), Errno::DQUOT);
        assert_eq!(fs::metadata(d.path("b")).expect("stat").len(), 0, "{when}");
        let b = open(&d, "b");
        refused(b.set_len(left as u64 + 1), Errno::DQUOT);
        refused(fallocate(&b, FallocateFlags::empty(), 0, left as u64 + 1), Errno::DQUOT);
        let a = open(&d, "a");
        refused(copy_file_range(&a, Some(&mut 0), &b, Some(&mut 1), left), Errno::DQUOT);
        drop(b);
        let by_path = format!(
            "import errno, os
try: os.truncate({:?}, {})
except OSError as e: print(e.errno == errno.EDQUOT)",
            d.path("b"),
            left + 1
        );
        assert_eq!(python::<&str>(&by_path, &[]).trim(), "True", "{when}");
        d.write("b", noise(2, left));
        let mut b = open(&d, "b");
        b.seek(SeekFrom::End(0)).expect("seek");
        refused(b.write(b"x"), Errno::DQUOT);
        b.seek(SeekFrom::Start(0)).expect("seek");
        b.write_all(b"others, in place").expect("what does not grow is taken");
        drop(b);
        assert_eq!(bytes_below(d.root()), mib, "{when}");
        let info = told(&m, "d");
        assert_eq!((&info["quota_bytes"], &info["used_bytes"]), (&json!(mib), &json!(mib)), "{when}");
        m.existing("other").write("f", noise(3, 2_000_000));
        d.mkdir("sub");
        d.write("sub/empty", "");
        fs::rename(d.path("b"), d.path("sub/b")).expect("rename");
        fs::hard_link(d.path("a"), d.path("sub/a")).expect("a further name costs nothing");
        let before = fs::read(d.path("@latest/sub/b")).expect("read");
        assert_eq!((&before[..16], before.len()), (&b"others, in place"[..], left), "{when}");
        fs::remove_dir_all(d.path("sub")).expect("remove");
        d.write("b", noise(4, left));
        fs::remove_file(d.path("b")).expect("remove");
    };
    m.dataset("other");
    m.lasts(check);
    let table = m.strata(&["datasets"]).ok();
    assert!(table.contains("quota") && table.contains("1.0 MiB"), "{table}");
    m.strata(&["verify"]).ok();
    set(&m, "none");
    d.write("b", noise(2, 2_000_000));
    assert_eq!(told(&m, "d")["quota_bytes"], Value::Null);
    assert!(!m.strata(&["datasets"]).ok().contains("quota"));
}

/// statfs within a dataset shows its quota, and elsewhere the disk.
#[test]
fn statfs_shows_the_quota() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", noise(1, 1 << 20));
    set(&m, "4M");
    let space = statvfs(d.root()).expect("statvfs");
    let bytes = |blocks: u64| blocks * space.f_frsize;
    assert_eq!((bytes(space.f_blocks), bytes(space.f_bavail)), (4 << 20, 3 << 20));
    assert!(bytes(statvfs(m.point()).expect("statvfs").f_blocks) > 4 << 20);
}

/// A quota below the use takes nothing away: what is there can be read, changed in place, shrunk and removed,
/// and history is as it was.
#[test]
fn a_quota_below_the_use_loses_nothing() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", noise(1, 3_000_000));
    d.write("a", noise(2, 2_000_000));
    set(&m, "1M");
    assert_eq!(told(&m, "d")["used_bytes"], 2_000_000);
    assert_eq!((d.bytes("a"), d.bytes("@v1/a")), (noise(2, 2_000_000), noise(1, 3_000_000)));
    let mut a = open(&d, "a");
    a.write_all(b"in place").expect("write");
    drop(a);
    refused(fs::write(d.path("b"), "more"), Errno::DQUOT);
    open(&d, "a").set_len(1 << 20).expect("shrink");
    refused(fs::write(d.path("b"), "more"), Errno::DQUOT);
    open(&d, "a").set_len((1 << 20) - 4).expect("shrink");
    d.write("b", "more");
    fs::remove_file(d.path("a")).expect("remove");
    assert_eq!(told(&m, "d")["used_bytes"], 4);
    m.strata(&["verify"]).ok();
}

/// A removed file counts until it is closed.
#[test]
fn a_removed_file_counts_until_it_is_closed() {
    let m = Mount::new();
    let d = m.dataset("d");
    set(&m, "1000");
    d.write("a", noise(1, 900));
    let mut a = open(&d, "a");
    fs::remove_file(d.path("a")).expect("remove");
    refused(fs::write(d.path("b"), noise(2, 200)), Errno::DQUOT);
    let mut read = Vec::new();
    a.read_to_end(&mut read).expect("read");
    assert_eq!(read, noise(1, 900));
    drop(a);
    // The kernel tells of the last close when it likes.
    poll("room for another", || fs::write(d.path("b"), noise(2, 200)).is_ok());
    assert_eq!(told(&m, "d")["used_bytes"], 200);
}

/// Writers together do not exceed the quota by a byte, and what fits is taken.
#[test]
fn writers_together_stay_within_the_quota() {
    const WRITERS: u64 = 6;
    let m = Mount::new();
    let d = m.dataset("d");
    set(&m, "300000");
    let start = Barrier::new(WRITERS as usize);
    std::thread::scope(|scope| {
        for n in 0..WRITERS {
            let (d, start) = (&d, &start);
            scope.spawn(move || {
                let mut file = open(d, &format!("f{n}"));
                start.wait();
                (0..100).take_while(|k| file.write_all(&noise(n * 100 + k, 1000)).is_ok()).count()
            });
        }
    });
    let written = bytes_below(d.root());
    // The kernel may have split the last write of each.
    assert!((300_000 - 1000 * WRITERS..=300_000).contains(&written), "{written}");
    assert_eq!(told(&m, "d")["used_bytes"], written);
    let left = (300_000 - written) as usize;
    refused(fs::write(d.path("rest"), noise(1, left + 1)), Errno::DQUOT);
    d.write("rest", noise(1, left));
    assert_eq!(told(&m, "d")["used_bytes"], 300_000);
}

/// The use that is kept count of is what stat(2) tells of all files, whatever was done: under every policy, with
/// hard links, open files, directories that went as a whole, batches that were taken back, rollbacks and
/// restarts; and so is the one that is counted when a quota is set in the middle of changes.
#[test]
fn the_use_is_what_the_files_have() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut random = Random::new(7);
    for policy in ["every-write", "manual", "settle=1h"] {
        d.policy(policy);
        for step in 0..60 {
            let (dir, name) =
                (format!("d{}", random.below(4)), format!("d{}/f{}", random.below(4), random.below(5)));
            let other = format!("d{}/f{}", random.below(4), random.below(5));
            // Many of these fail where there is nothing to do them to: that is as good.
            match random.below(9) {
                0..=2 => drop((
                    fs::create_dir(d.path(&dir)),
                    fs::write(d.path(&name), noise(step, random.below(50_000))),
                )),
                3 => drop(fs::rename(d.path(&name), d.path(&other))),
                4 => drop(fs::hard_link(d.path(&name), d.path(&other))),
                5 => drop(fs::remove_file(d.path(&name))),
                6 => drop(fs::remove_dir_all(d.path(&dir))),
                7 => drop(fs::rename(d.path(&dir), d.path(&format!("d{}/moved{step}", random.below(4))))),
                _ => {
                    let file = OpenOptions::new().write(true).open(d.path(&name));
                    drop(file.and_then(|file| file.set_len(random.below(80_000) as u64)));
                }
            }
            if step % 20 == 7 {
                set(&m, "none");
                set(&m, "1G");
            }
            if step % 20 == 11 {
                m.strata(&[
                    "batch",
                    "--rollback-on-error",
                    "--dataset",
                    "d",
                    "--",
                    "sh",
                    "-c",
                    "head -c 70000 /dev/zero > \"$0\"; exit 1",
                    d.path("x").to_str().expect("a path"),
                ])
                .fails(1);
            }
            if step % 20 == 17 {
                m.kill();
                m.up(&[]);
            }
            if step % 20 == 19 && d.versions() > 3 {
                m.strata(&["rollback", "d", &format!("v{}", d.versions() - 2)]).ok();
            }
            if step % 5 == 0 {
                let mut held = open(&d, "open");
                held.write_all(&noise(step, 10_000)).expect("write");
                check(&m, &d, &format!("{policy}, {step}, an open file"));
            }
            check(&m, &d, &format!("{policy}, {step}"));
        }
    }

    fn check(m: &Mount, d: &Dataset<'_>, when: &str) {
        let info = told(m, "d");
        if info["quota_bytes"].is_u64() {
            assert_eq!(info["used_bytes"], bytes_below(d.root()), "{when}");
        }
    }
}

/// An import and a rollback that would go beyond the quota are refused with all that is to know, and leave the
/// dataset as it was; an import that removes enough is taken.
#[test]
fn imports_and_rollbacks_keep_to_the_quota() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("big", noise(1, 800_000));
    d.write("big", noise(2, 100_000));
    let source = m.outside();
    fs::write(source.join("new"), noise(3, 600_000)).expect("write");
    set(&m, "600000");
    let before = (d.versions(), d.snapshot());
    let path = source.to_str().expect("a path");
    let failed = m.strata(&["import", path, "d"]).fails(1);
    for part in ["dataset d", "100000 bytes", "quota of 600000", "700000", "strata set d quota=SIZE"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let failed = m.strata(&["rollback", "d", "v1"]).fails(1);
    assert!(failed.contains("quota of 600000") && failed.contains("800000"), "{failed}");
    fs::write(source.join("more"), "x").expect("write");
    let failed = m.strata(&["import", "--delete", path, "d"]).fails(1);
    assert!(failed.contains("600001"), "{failed}");
    assert_eq!((d.versions(), d.snapshot()), before);
    assert_eq!(d.bytes("big"), noise(2, 100_000));
    fs::remove_file(source.join("more")).expect("remove");
    m.strata(&["import", "--delete", path, "d"]).ok();
    assert_eq!((d.list(""), told(&m, "d")["used_bytes"].clone()), (vec!["new".to_owned()], json!(600_000)));
    set(&m, "1M");
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!(told(&m, "d")["used_bytes"], 800_000);
    // Without a mount too.
    m.down();
    set(&m, "700K");
    let failed = m.strata(&["import", path, "d"]).fails(1);
    assert!(failed.contains("quota of 716800"), "{failed}");
}

/// A store of the format before has no quota, and becomes one of the format that has them with the first.
#[test]
fn a_store_of_the_older_format_is_taken_along() {
    let m = Mount::new();
    m.dataset("d").write("f", noise(1, 1000));
    m.down();
    let identity = m.store().join("strata.json");
    let text = fs::read_to_string(&identity).expect("read");
    let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    fs::write(&identity, format!("{{\"format\":4,\"id\":\"{id}\"}}\n")).expect("write");
    m.up(&[]);
    let d = m.existing("d");
    d.write("f", noise(2, 2000));
    assert!(fs::read_to_string(&identity).expect("read").starts_with("{\"format\":4,"));
    set(&m, "2000");
    assert!(fs::read_to_string(&identity).expect("read").starts_with("{\"format\":5,"));
    refused(fs::write(d.path("g"), "x"), Errno::DQUOT);
    assert_eq!(d.bytes("@v1/f"), noise(1, 1000));
}

/// What is no size, and a dataset that is not there, are refused.
#[test]
fn sizes_are_read_strictly() {
    let m = Mount::new();
    m.dataset("d");
    for bad in ["", "0", "-1", "1.5G", "10X", "G", "99999999999T", "1 G", "off"] {
        let failed = m.strata(&["set", "d", &format!("quota={bad}")]).fails(2);
        assert!(failed.contains("no size"), "{bad}: {failed}");
    }
    m.strata(&["set", "nothing", "quota=1G"]).fails(1);
    for (text, bytes) in [("7", 7_u64), ("3K", 3 << 10), ("2M", 2 << 20), ("1G", 1 << 30), ("5T", 5 << 40)] {
        set(&m, text);
        let all: Value = serde_json::from_str(&m.strata(&["datasets", "--json"]).ok()).expect("JSON");
        assert_eq!(all[0]["quota_bytes"], bytes);
    }
}
