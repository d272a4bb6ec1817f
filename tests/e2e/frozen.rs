//! Versions cannot be written, and are told apart from the live tree.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;

use crate::harness::*;

/// Every write below `@` is EROFS: creating, opening for writing, unlinking, making and removing
/// directories, renaming, linking, truncating, changing modes, times, and extended attributes.
#[test]
fn versions_refuse_every_write() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "x");
    let wanted = facts(&d.path("@v2"));
    for below in ["@v2/dir", "dir/@v2", "@latest/dir"] {
        let path = |name: &str| d.path(&format!("{below}/{name}"));
        refused(File::create(path("new")), Errno::ROFS);
        refused(OpenOptions::new().write(true).open(path("f")), Errno::ROFS);
        refused(OpenOptions::new().append(true).open(path("f")), Errno::ROFS);
        refused(OpenOptions::new().write(true).truncate(true).open(path("f")), Errno::ROFS);
        refused(fs::remove_file(path("f")), Errno::ROFS);
        refused(fs::create_dir(path("new")), Errno::ROFS);
        refused(fs::rename(path("f"), path("g")), Errno::ROFS);
        refused(fs::hard_link(path("f"), path("g")), Errno::ROFS);
        refused(std::os::unix::fs::symlink("f", path("s")), Errno::ROFS);
        refused(fs::set_permissions(path("f"), fs::Permissions::from_mode(0o600)), Errno::ROFS);
        refused(
            File::open(path("f")).and_then(|f| f.set_modified(std::time::SystemTime::now())),
            Errno::ROFS,
        );
        refused(setxattr(path("f"), "user.x", b"x", XattrFlags::empty()), Errno::ROFS);
    }
    refused(fs::remove_dir(d.path("@v2/dir")), Errno::ROFS);
    assert_same_facts(&facts(&d.path("@v2")), &wanted);
    assert_eq!(d.versions(), 2);
}

/// What leads to versions cannot be removed or replaced either.
#[test]
fn the_grammar_itself_cannot_be_removed() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    for name in ["@latest", "@history/v1", "@history/log.jsonl"] {
        fs::remove_file(d.path(name)).expect_err("not removable");
        assert!(d.has(name), "{name}");
    }
    for name in ["@v1", "@history"] {
        fs::remove_dir(d.path(name)).expect_err("not removable");
        fs::rename(d.path(name), d.path("x")).expect_err("not movable");
        fs::rename(d.path("f"), d.path(name)).expect_err("not replaceable");
        assert!(d.has(name), "{name}");
    }
    assert_eq!((d.list(""), d.text("@v1/f")), (vec!["f".to_owned()], "x".to_owned()));
}

/// Linking or renaming out of a version is EXDEV, so that tools copy instead.
#[test]
fn leaving_a_version_is_exdev() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "x");
    refused(fs::hard_link(d.path("@v2/dir/f"), d.path("g")), Errno::XDEV);
    refused(fs::rename(d.path("@v2/dir/f"), d.path("g")), Errno::XDEV);
    refused(fs::rename(d.path("@v2/dir"), d.path("dir2")), Errno::XDEV);
    assert_eq!(d.list(""), ["dir"]);
}

/// A file has another inode in a version than live (else cp calls them the same file); equal content
/// in two versions shares one; all are on one device.
#[test]
fn inodes_tell_live_and_versions_apart() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "same in both");
    d.write("g", "1");
    d.write("g", "2");
    let stat = |path: &str| d.path(path).symlink_metadata().expect("stat");
    assert_ne!(stat("f").ino(), stat("@v3/f").ino());
    assert_eq!(stat("@v1/f").ino(), stat("@v3/f").ino());
    assert_ne!(stat("@v2/g").ino(), stat("@v3/g").ino());
    assert_ne!(d.root().metadata().expect("stat").ino(), stat("@v3").ino());
    for path in ["f", "@v1", "@v1/f", "@history", "@latest"] {
        assert_eq!(stat(path).dev(), stat("").dev(), "{path}");
    }
    tool("cp", &[d.path("@v2/g"), d.path("g")]);
    assert_eq!(d.text("g"), "1");
}

/// st_blocks is the size in 512-byte blocks, live and in versions: fewer would have copy programs look for
/// holes. While a file is written it counts what was written.
#[test]
fn blocks_follow_the_size() {
    let m = Mount::new();
    let d = m.dataset("d");
    for (name, size) in [("a", 1), ("b", 512), ("c", 513), ("d", 100_000), ("e", 40 << 20)] {
        let mut file = std::fs::File::create(d.path(name)).expect("create");
        std::io::Write::write_all(&mut file, &noise(1, size)).expect("write");
        let blocks = size.div_ceil(512) as u64;
        assert_eq!(file.metadata().expect("stat").blocks(), blocks, "{name} while it is written");
        drop(file);
        for path in [name.to_owned(), format!("@latest/{name}")] {
            assert_eq!(d.path(&path).metadata().expect("stat").blocks(), blocks, "{path}");
        }
    }
}

/// Hard links within a version show as such: one inode, its count.
#[test]
fn hard_links_are_links_in_versions() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "x");
    fs::hard_link(d.path("a"), d.path("b")).expect("link");
    let stat = |path: &str| d.path(path).metadata().expect("stat");
    assert_eq!((stat("@v2/a").ino(), stat("@v2/a").nlink()), (stat("@v2/b").ino(), 2));
    assert_eq!(stat("@v1/a").nlink(), 1);
}
