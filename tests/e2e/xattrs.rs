//! The virtual extended attributes of files.

use std::fs;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use crate::harness::*;

fn get(path: &std::path::Path, name: &str) -> String {
    let mut buffer = [0; 256];
    let n = getxattr(path, name, &mut buffer).unwrap_or_else(|e| panic!("{name} of {}: {e}", path.display()));
    String::from_utf8(buffer[..n].to_vec()).expect("text")
}

/// `user.strata.b3sum` and `user.strata.sha256` are what b3sum and sha256sum print, of files of any
/// size, live and in versions.
#[test]
fn file_hashes_equal_the_tools() {
    let m = Mount::new();
    let d = m.dataset("d");
    for (n, len) in [0, 1, 5000, 100_000, 3_000_001, 20 << 20].into_iter().enumerate() {
        d.write(&format!("f{n}"), noise(n as u64, len));
        for path in [d.path(&format!("f{n}")), d.path(&format!("@latest/f{n}"))] {
            for (tool, name) in [("b3sum", "user.strata.b3sum"), ("sha256sum", "user.strata.sha256")] {
                let printed = run(Command::new(tool).arg(&path)).ok();
                let wanted = printed.split_whitespace().next().expect("a hash");
                assert_eq!(get(&path, name), wanted, "{name} of {len} bytes at {}", path.display());
            }
        }
    }
    d.write("f2", "changed");
    assert_eq!(get(&d.path("f2"), "user.strata.b3sum"), blake3::hash(b"changed").to_hex().to_string());
}

/// Virtual attributes can be read but are not listed, so that copies do not carry them, and cannot
/// be set.
#[test]
fn virtual_attributes_are_not_listed_or_set() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let mut buffer = [0; 4096];
    for path in ["", "f", "@v1", "@v1/f"] {
        let n = listxattr(d.path(path), &mut buffer[..]).expect("listxattr");
        assert_eq!(n, 0, "{path} lists {:?}", String::from_utf8_lossy(&buffer[..n]));
    }
    for name in ["user.strata.version", "user.strata.b3sum", "user.strata.anything"] {
        let set = setxattr(d.path("f"), name, b"v", XattrFlags::empty());
        let errno = set.expect_err("virtual attributes cannot be set");
        assert!(matches!(errno, Errno::PERM | Errno::INVAL | Errno::ACCESS | Errno::OPNOTSUPP), "{errno}");
    }
    assert_eq!(d.versions(), 1);
}

/// Access control lists, of files and directories and for what is made in those, are refused, read or
/// set, and not half kept: modes and what a new file inherits stay as without.
#[test]
fn access_control_lists_are_refused() {
    use std::os::unix::fs::MetadataExt;
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    d.mkdir("dir");
    // Owner rw, user 1 r, group r, mask r, others none.
    let acl =
        acl(&[(0x01, 6, NOBODY), (0x02, 4, 1), (0x04, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]);
    let mode = |path: &str| d.path(path).metadata().expect("stat").mode();
    let (before, versions) = ((mode("f"), mode("dir")), d.versions());
    for path in ["f", "dir", "", "@v1/f", "@v2/dir"] {
        for name in ["system.posix_acl_access", "system.posix_acl_default"] {
            if path.starts_with('@') {
                setxattr(d.path(path), name, &acl, XattrFlags::empty()).expect_err("versions do not change");
            } else if name.ends_with("access") || path != "f" {
                refused(setxattr(d.path(path), name, &acl, XattrFlags::empty()), Errno::OPNOTSUPP);
            }
            refused(getxattr(d.path(path), name, &mut [0; 64][..]), Errno::OPNOTSUPP);
        }
    }
    assert_eq!((mode("f"), mode("dir")), before);
    d.write("dir/f", "x");
    assert_eq!(mode("dir/f"), before.0);
    assert_eq!(d.versions(), versions + 1);
}

const NOBODY: u32 = u32::MAX;

/// An access control list as the kernel takes it (version 2): tags, permissions, ids.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry = |(tag, granted, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &granted.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [&2u32.to_le_bytes()[..], &entries.iter().flat_map(entry).collect::<Vec<u8>>()].concat()
}

/// A list of owner, group and others alone, which is how `cp -a` brings permissions, sets them: everybody sees that at
/// once, and the version that records it has no list.
#[test]
fn an_access_control_list_that_is_a_mode_sets_it() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    d.mkdir("dir");
    for (path, special) in [("f", 0o4000), ("dir", 0o3000)] {
        fs::set_permissions(d.path(path), fs::Permissions::from_mode(special | 0o700)).expect("chmod");
        let open = fs::File::open(d.path(path)).expect("open");
        assert_eq!(open.metadata().expect("stat").mode() & 0o7777, special | 0o700);
        let plain = acl(&[(0x01, 6, NOBODY), (0x04, 4, NOBODY), (0x20, 1, NOBODY)]);
        setxattr(d.path(path), "system.posix_acl_access", &plain, XattrFlags::empty()).expect("set");
        assert_eq!(open.metadata().expect("stat").mode() & 0o7777, special | 0o641, "{path}");
        assert_eq!(d.path(path).metadata().expect("stat").mode() & 0o7777, special | 0o641, "{path}");
        refused(getxattr(d.path(path), "system.posix_acl_access", &mut [0; 64][..]), Errno::OPNOTSUPP);
        let newest = format!("@v{}/{path}", d.versions());
        assert_eq!(d.path(&newest).metadata().expect("stat").mode() & 0o7777, special | 0o641, "{newest}");
    }
    // A list that is not there can be removed, as cp does where the source has none.
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        removexattr(d.path("dir"), name).expect("remove");
        removexattr(d.path("@v1"), name).expect_err("versions do not change");
    }
    assert_eq!(d.path("dir").metadata().expect("stat").mode() & 0o7777, 0o3641);
    // The top of a store is not anybody's to change.
    let plain = acl(&[(0x01, 7, NOBODY), (0x04, 7, NOBODY), (0x20, 7, NOBODY)]);
    refused(setxattr(m.point(), "system.posix_acl_access", &plain, XattrFlags::empty()), Errno::OPNOTSUPP);
}

/// What a dataset cannot have is left out by an import, of a directory or of an archive by GNU tar, which says of how
/// many paths. Everything else goes from a dataset through an archive into another, and nothing is said then.
#[test]
fn imports_say_what_attributes_are_left_out() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir_all(source.join("dir")).expect("mkdir");
    for name in ["plain", "listed", "also listed", "dir/marked"] {
        fs::write(source.join(name), name).expect("write");
    }
    let path = |name: &str| source.join(name).display().to_string();
    tool("setfacl", &["-m", "u:12345:r", &path("listed"), &path("also listed")]);
    tool("setfacl", &["-d", "-m", "g:12345:rx", &path("dir")]);
    setxattr(source.join("dir/marked"), "user.label=%25", b"cat\0", XattrFlags::empty()).expect("setxattr");
    setxattr(source.join("dir/marked"), "user.long", &noise(1, 3000), XattrFlags::empty()).expect("setxattr");
    let tar = |name: &str, options: &[&str]| {
        let file = m.outside().join(name).display().to_string();
        let all = ["--format=pax", "-C", &path(""), "-cf", &file, "."];
        tool("tar", &[options, &all].concat());
        file
    };
    let with = tar("with.tar", &["--acls", "--xattrs", "--xattrs-include=*"]);
    let without = tar("without.tar", &["--xattrs", "--xattrs-include=user.*"]);
    let said = "attributes that a dataset cannot have are left out, of 3 paths\n";
    for (from, told) in [(path(""), true), (with, true), (without, false)] {
        let name = if told { format!("d{}", from.len()) } else { "whole".into() };
        let ran = m.strata(&["import", &from, &name]);
        assert_eq!(ran.stderr.contains(said), told, "{from}: {}", ran.stderr);
        ran.ok();
        let again = m.strata(&["import", "--json", &from, &name]).ok();
        assert_eq!(again.contains("\"attributes_left_out\":3"), told, "{again}");
        let d = m.existing(&name);
        assert_eq!(get(&d.path("dir/marked"), "user.label=%25"), "cat\0");
        let archive = m.outside().join(format!("{name}.tar")).display().to_string();
        m.strata(&["export", "--preserve", &name, &archive]).ok();
        let ran = m.strata(&["import", &archive, &format!("{name}-again")]);
        assert!(!ran.stderr.contains("left out"), "{}", ran.stderr);
        ran.ok();
        let again = m.existing(&format!("{name}-again"));
        let value = |d: &Dataset<'_>, name: &str| {
            let mut buffer = vec![0; 4096];
            let len = getxattr(d.path("dir/marked"), name, &mut buffer[..]).expect("getxattr");
            buffer[..len].to_vec()
        };
        for name in ["user.label=%25", "user.long"] {
            assert_eq!(value(&d, name), value(&again, name));
        }
        assert_eq!(value(&d, "user.long"), noise(1, 3000));
        assert_same_tree(&d.path("dir"), &again.path("dir"));
    }
}
