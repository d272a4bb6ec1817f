//! Paths longer than a system call takes.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{Dir, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::harness::*;

/// Directories below each other: names of 255 bytes, 10,200 in all.
const DEPTH: usize = 40;

fn name(level: usize) -> String {
    format!("{level:03}{}", "n".repeat(252))
}

/// Goes down from `root` by the names of each level.
fn descend(root: PathBuf, levels: usize) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).expect("open the root");
    for level in 0..levels {
        at = openat(&at, name(level), flags, Mode::empty()).unwrap_or_else(|e| panic!("level {level}: {e}"));
    }
    at
}

fn read_at(dir: &OwnedFd, name: &str) -> Vec<u8> {
    let file = openat(dir, name, OFlags::RDONLY, Mode::empty()).expect("open");
    let mut bytes = vec![0; 100];
    let n = rustix::io::read(&file, &mut bytes[..]).expect("read");
    bytes.truncate(n);
    bytes
}

/// Directories nest deeper than any path a system call takes: reached step by step, they are made, listed,
/// renamed, read in versions, hashed, verified, removed and brought back.
#[test]
fn directories_nest_beyond_any_path() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    for level in 0..DEPTH {
        let at = descend(d.root().to_owned(), level);
        mkdirat(&at, name(level), Mode::from(0o755)).expect("mkdir");
    }
    let bottom = descend(d.root().to_owned(), DEPTH);
    let create = |name: &str| {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = openat(&bottom, name, flags, Mode::from(0o644)).expect("create");
        rustix::io::write(&file, b"deep down").expect("write");
    };
    create("f");
    create("g");
    m.strata(&["commit", "d"]).ok();
    rustix::fs::renameat(&bottom, "g", &bottom, "h").expect("rename");
    fs::rename(d.path(&name(0)), d.path("top")).expect("rename all of it");
    fs::rename(d.path("top"), d.path(&name(0))).expect("rename it back");
    assert_eq!(read_at(&bottom, "h"), b"deep down");
    m.strata(&["commit", "d"]).ok();
    for (version, second) in [("@v1", "g"), ("@v2", "h")] {
        let bottom = descend(d.path(version), DEPTH);
        assert_eq!(read_at(&bottom, "f"), b"deep down");
        let listed = Dir::read_from(&bottom).expect("list").map(|e| e.expect("entry").file_name().to_owned());
        let mut listed: Vec<_> = listed.map(|n| n.into_string().expect("UTF-8")).collect();
        listed.sort();
        assert_eq!(listed, [".", "..", "f", second], "{version}");
    }
    // A version of a directory below, and its own history.
    let below = descend(d.root().to_owned(), DEPTH);
    let versions =
        openat(&below, "@v1", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open @v1");
    assert_eq!(read_at(&versions, "g"), b"deep down");
    let history = openat(&below, "@history", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    let listed = Dir::read_from(history.expect("open @history")).expect("list").flatten().count();
    assert_eq!(listed, 2 + 2 + 1, "two versions and their log");
    let hash = |path: PathBuf| {
        let hashed = m.strata(&["hash", path.to_str().expect("UTF-8")]).ok();
        hashed.split_whitespace().next().map(str::to_owned)
    };
    assert_eq!(hash(d.path("@v1")).as_deref(), d.log()[1]["snapshot"].as_str());
    m.strata(&["verify"]).ok();
    m.strata(&["show", "d@v1"]).ok();
    drop((bottom, below, versions));
    m.down();
    m.up(&[]);
    let d = m.existing("d");
    assert_eq!(read_at(&descend(d.root().to_owned(), DEPTH), "h"), b"deep down");
    shell("rm -r \"$1\"/*", &[d.root()]);
    assert!(d.list("").is_empty());
    m.strata(&["rollback", "d", "v2"]).ok();
    assert_eq!(read_at(&descend(d.root().to_owned(), DEPTH), "h"), b"deep down");
}

/// A path of 4095 bytes, the longest there is, works live and through a version; one more is
/// ENAMETOOLONG.
#[test]
fn the_longest_path_works() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    let fill = |root: PathBuf, length: usize| {
        let mut path = root;
        loop {
            let left = length - path.as_os_str().len() - 1;
            if left <= 255 {
                return path.join("f".repeat(left));
            }
            // Not so long that nothing is left for the last name.
            path.push("d".repeat(200));
        }
    };
    let live = fill(d.root().to_owned(), 4095);
    assert_eq!(live.as_os_str().len(), 4095);
    fs::create_dir_all(live.parent().expect("parent")).expect("mkdir");
    fs::write(&live, "far").expect("write");
    assert_eq!(fs::read(&live).expect("read"), b"far");
    let longer = live
        .parent()
        .expect("parent")
        .join(format!("{}x", live.file_name().and_then(|n| n.to_str()).expect("name")));
    refused(fs::write(longer, "too far"), Errno::NAMETOOLONG);
    m.strata(&["commit", "d"]).ok();
    // The same file by way of its version is further away: from within the dataset it can be reached.
    let inside = live.strip_prefix(d.root()).expect("below the root");
    let mut cat = Command::new("cat");
    assert_eq!(run(cat.current_dir(d.path("@v1")).arg(inside)).ok(), "far");
    let through = fill(d.path("@v1"), 4095);
    assert!(fs::read(&through).is_err(), "another file's name");
    fs::write(d.root().join(through.strip_prefix(d.path("@v1")).expect("below")), "near").expect("write");
    m.strata(&["commit", "d"]).ok();
    let through = fill(d.path("@v2"), 4095);
    assert_eq!(fs::read(&through).expect("read through a version"), b"near");
    let object = format!("d@v1/{}", inside.to_str().expect("UTF-8"));
    assert_eq!(m.strata(&["cat", &object]).ok(), "far");
    let log = m.strata(&["log", "d", inside.to_str().expect("UTF-8"), "--json"]).ok();
    assert_eq!(log.lines().count(), 1, "{log}");
}
