//! The live view: names and where they lead.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::harness::*;

/// rename replaces what is there, and moves directories with all that is in them.
#[test]
fn rename_replaces_and_moves() {
    let m = Mount::new();
    let d = m.dataset("d");
    for dir in ["a", "a/deep", "b", "empty"] {
        d.mkdir(dir);
    }
    d.write("a/f", "moved");
    d.write("a/deep/g", "inside");
    d.write("b/f", "replaced");
    fs::rename(d.path("a/f"), d.path("b/f")).expect("rename over a file in another directory");
    assert_eq!(d.text("b/f"), "moved");
    assert!(!d.has("a/f"));
    fs::rename(d.path("a"), d.path("empty")).expect("rename over an empty directory");
    assert_eq!(d.text("empty/deep/g"), "inside");
    refused(fs::rename(d.path("empty"), d.path("b")), Errno::NOTEMPTY);
    refused(fs::rename(d.path("empty"), d.path("empty/deep/x")), Errno::INVAL);
    refused(fs::rename(d.path("b"), d.path("b/f")), Errno::INVAL);
    fs::rename(d.path("b/f"), d.path("b/f")).expect("rename to itself");
    assert_eq!(d.list(""), ["b", "empty"]);
}

/// RENAME_NOREPLACE refuses to replace.
#[test]
fn noreplace_refuses_to_replace() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "a");
    d.write("b", "b");
    let rename = |to| renameat_with(CWD, d.path("a"), CWD, d.path(to), RenameFlags::NOREPLACE);
    refused(rename("b"), Errno::EXIST);
    rename("c").expect("a free name");
    assert_eq!((d.text("b"), d.text("c")), ("b".to_owned(), "a".to_owned()));
}

/// RENAME_EXCHANGE swaps two names, of different kinds too.
#[test]
fn exchange_swaps_two_names() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/in", "in");
    d.mkdir("other");
    d.write("other/f", "file");
    renameat_with(CWD, d.path("dir"), CWD, d.path("other/f"), RenameFlags::EXCHANGE).expect("exchange");
    assert_eq!((d.text("dir"), d.text("other/f/in")), ("file".to_owned(), "in".to_owned()));
    let missing = renameat_with(CWD, d.path("dir"), CWD, d.path("no"), RenameFlags::EXCHANGE);
    refused(missing, Errno::NOENT);
}

/// Hard links are one file with several names, until the last is gone.
#[test]
fn hard_links_are_one_file() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "one");
    d.mkdir("dir");
    fs::hard_link(d.path("a"), d.path("dir/b")).expect("link");
    let stat = |path: &str| d.path(path).metadata().expect("stat");
    assert_eq!((stat("a").ino(), stat("a").nlink()), (stat("dir/b").ino(), 2));
    d.write("dir/b", "both");
    assert_eq!(d.text("a"), "both");
    assert_eq!(d.text("@latest/a"), "both", "a change through one name is in the version under both");
    fs::remove_file(d.path("a")).expect("unlink");
    assert_eq!((d.text("dir/b").as_str(), stat("dir/b").nlink()), ("both", 1));
    refused(fs::hard_link(d.path("dir"), d.path("x")), Errno::PERM);
    refused(fs::hard_link(d.path("dir/b"), d.path("dir/b")), Errno::EXIST);
}

/// Symlinks keep their target byte for byte and lead where it says.
#[test]
fn symlinks_keep_their_target() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "found");
    symlink("f", d.path("short")).expect("symlink");
    assert_eq!(d.text("short"), "found");
    let long = OsStr::from_bytes(&[b'x'; 4095]);
    symlink(long, d.path("long")).expect("symlink");
    assert_eq!(fs::read_link(d.path("long")).expect("readlink"), long);
    assert_eq!(fs::read_link(d.path("@latest/short")).expect("readlink"), OsStr::new("f"));
    let size = d.path("long").symlink_metadata().expect("lstat").len();
    assert_eq!(size, 4095);
}

/// Names are any bytes but '/' and NUL, 255 at most; a longer one is ENAMETOOLONG.
#[test]
fn names_are_any_bytes_up_to_255() {
    let m = Mount::new();
    let d = m.dataset("d");
    let longest = [b'n'; 255];
    let names: [&[u8]; 7] = [b"\xff\xfe\x80", b"new\nline", b" ", b"-rf", b"a\\b", b"\xe2\x98\x83", &longest];
    for name in names {
        fs::write(d.root().join(OsStr::from_bytes(name)), name).expect("write");
    }
    let listed = fs::read_dir(d.root()).expect("list").map(|e| e.expect("entry").file_name());
    let mut listed: Vec<_> = listed.map(|n| n.as_bytes().to_vec()).collect();
    let mut wanted: Vec<_> = names.iter().map(|n| n.to_vec()).collect();
    listed.sort();
    wanted.sort();
    assert_eq!(listed, wanted);
    for name in names {
        let frozen = d.path("@latest").join(OsStr::from_bytes(name));
        assert_eq!(fs::read(frozen).expect("read the version's"), name);
    }
    refused(fs::write(d.path(&"n".repeat(256)), ""), Errno::NAMETOOLONG);
    refused(fs::create_dir(d.path(&"n".repeat(256))), Errno::NAMETOOLONG);
}

/// Directories are removed only when empty; their link count tells their sub-directories.
#[test]
fn directories_are_removed_only_when_empty() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("a");
    d.mkdir("a/b");
    d.write("a/f", "");
    refused(fs::remove_dir(d.path("a")), Errno::NOTEMPTY);
    refused(fs::create_dir(d.path("a")), Errno::EXIST);
    refused(fs::create_dir(d.path("none/b")), Errno::NOENT);
    assert_eq!(d.path("a").metadata().expect("stat").nlink(), 3);
    fs::remove_dir(d.path("a/b")).expect("rmdir");
    fs::remove_file(d.path("a/f")).expect("unlink");
    assert_eq!(d.path("a").metadata().expect("stat").nlink(), 2);
    fs::remove_dir(d.path("a")).expect("rmdir");
    assert!(d.list("").is_empty());
}

/// Ends the other thread's loop also when this one fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A listing of 20,000 entries shows each exactly once while others come and go beside them.
#[test]
fn a_long_listing_is_stable_under_change() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.mkdir("many");
    for n in 0..20_000 {
        fs::File::create(d.path(&format!("many/stays-{n}"))).expect("create");
    }
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                d.write(&format!("many/comes-{n}"), "");
                fs::rename(d.path(&format!("many/comes-{n}")), d.path(&format!("many/goes-{n}")))
                    .expect("rename");
                if n > 50 {
                    fs::remove_file(d.path(&format!("many/goes-{}", n - 50))).expect("unlink");
                    ready.store(true, Ordering::SeqCst);
                }
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let _stop = SetOnDrop(&stop);
        poll("names change", || ready.load(Ordering::SeqCst));
        for round in 0..3 {
            let mut seen = BTreeMap::<_, u32>::new();
            for name in d.list("many").into_iter().filter(|n| n.starts_with("stays-")) {
                *seen.entry(name).or_default() += 1;
            }
            let twice = seen.values().filter(|n| **n > 1).count();
            assert_eq!((seen.len(), twice), (20_000, 0), "entries seen, and seen twice, in round {round}");
        }
    });
}

/// The top level of the mount holds datasets: directories alone, made, renamed and removed as such.
#[test]
fn the_top_level_holds_datasets() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    refused(fs::write(m.point().join("file"), ""), Errno::PERM);
    refused(symlink("d", m.point().join("link")), Errno::PERM);
    refused(fs::remove_dir(d.root()), Errno::NOTEMPTY);
    fs::rename(d.root(), m.point().join("e")).expect("rename a dataset");
    let e = m.existing("e");
    assert_eq!((e.text("f").as_str(), e.versions()), ("x", 1));
    assert!(!m.point().join("d").exists());
    let listed = fs::read_dir(m.point()).expect("list").map(|e| e.expect("entry").file_name());
    assert_eq!(listed.collect::<Vec<_>>(), ["e"]);
}

/// Removing an empty dataset archives it: making a directory of its name brings its history back.
#[test]
fn a_removed_dataset_comes_back_with_its_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "kept");
    fs::remove_file(d.path("f")).expect("unlink");
    fs::remove_dir(d.root()).expect("remove the dataset");
    assert!(!d.root().exists());
    m.down();
    m.up(&[]);
    assert!(!m.point().join("d").exists());
    let d = m.dataset("d");
    assert_eq!(d.text("@v1/f"), "kept");
    assert!(d.list("").is_empty());
}

/// Files do not move between datasets by rename or link: EXDEV, so that mv copies.
#[test]
fn datasets_are_apart() {
    let m = Mount::new();
    let (a, b) = (m.dataset("a"), m.dataset("b"));
    a.write("f", "x");
    refused(fs::rename(a.path("f"), b.path("f")), Errno::XDEV);
    refused(fs::hard_link(a.path("f"), b.path("f")), Errno::XDEV);
    tool("mv", &[a.path("f"), b.path("f")]);
    assert_eq!((a.has("f"), b.text("f").as_str()), (false, "x"));
}
