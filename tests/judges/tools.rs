//! Real tools at work in the mount.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{SeekFrom, XattrFlags, getxattr, seek, setxattr};

use crate::harness::*;

/// cp -a into the mount and out of a version keeps everything.
#[test]
fn cp_keeps_everything() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    sample_tree(&source, 11, 150);
    setxattr(source.join("script"), "user.note", b"kept", XattrFlags::empty()).expect("setxattr");
    shell("cp -a \"$1\"/. \"$2\"/", &[source.as_path(), d.root()]);
    assert_same_tree(&source, d.root());
    let back = m.outside().join("back");
    shell("cp -a \"$1\" \"$2\"", &[d.path("@latest/."), back.clone()]);
    assert_same_tree(&source, &back);
    let mut note = [0; 10];
    assert_eq!(getxattr(back.join("script"), "user.note", &mut note), Ok(4));
}

/// rsync -aHAX in, and a second time without a thing to do; with --delete it follows the source.
#[test]
fn rsync_follows_its_source() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside();
    sample_tree(&source, 12, 150);
    let sync =
        || shell("rsync -aHAX --delete --itemize-changes \"$1\"/ \"$2\"/", &[source.as_path(), d.root()]);
    assert!(!sync().is_empty());
    assert_same_tree(&source, d.root());
    let versions = d.versions();
    assert_eq!(sync(), "", "the second run finds nothing to do");
    assert_eq!(d.versions(), versions);
    fs::remove_dir_all(source.join("part-3")).expect("remove");
    fs::write(source.join("empty"), "full").expect("write");
    // rsync compares seconds, and all this may happen within one.
    tool("touch", &["-d".as_ref(), "@1100000000".as_ref(), source.as_os_str()]);
    sync();
    assert_same_tree(&source, d.root());
    // And out of a version, to where access control lists exist.
    let back = m.outside().with_extension("back");
    let out = || {
        let from = d.path("@latest/.");
        shell("rsync -aHAX --delete --itemize-changes \"$1\" \"$2\"/", &[from.as_path(), back.as_path()])
    };
    assert!(!out().is_empty());
    assert_same_tree(d.root(), &back);
    assert_eq!(out(), "", "the second run finds nothing to do");
}

/// tar packs and unpacks in the mount without loss.
#[test]
fn tar_round_trips() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(&m.outside(), 13, 100);
    d.mkdir("unpacked");
    shell(
        "tar -C \"$1\" --format=posix -cf \"$2/all.tar\" . && tar -C \"$2/unpacked\" -xpf \"$2/all.tar\"",
        &[m.outside().as_path(), d.root()],
    );
    assert_same_tree(&m.outside(), &d.path("unpacked"));
    shell("tar -C \"$1/unpacked\" -df \"$1/@latest/all.tar\"", &[d.root()]);
}

/// mv moves across directories, and between the mount and elsewhere.
#[test]
fn mv_moves_in_and_out() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (first, again) = (m.outside().join("first"), m.outside().join("again"));
    sample_tree(&first, 14, 40);
    sample_tree(&again, 14, 40);
    tool("touch", &["-r", first.to_str().expect("path"), again.to_str().expect("path")]);
    shell(
        "cp -a \"$1\"/. \"$2\"/ && mv \"$1\" \"$3/in\" && mkdir \"$3/sub\" && mv \"$3/in\" \"$3/sub/\" && mv \"$3/sub/in\" \"$1\"",
        &[first.as_path(), again.as_path(), d.root()],
    );
    assert_same_tree(&again, &first);
    assert_eq!(d.list(""), ["sub"]);
}

/// Extents of data and of holes as SEEK_DATA and SEEK_HOLE find them, each where it begins.
fn data_in(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).expect("open");
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(data) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(data)).expect("data ends in a hole");
        found.push((data, at));
    }
    found
}

/// cp --sparse=always makes holes of zeros, in the mount and out of a version; the content is the same.
#[test]
fn cp_makes_and_keeps_holes() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mib = 1 << 20;
    let mut bytes = vec![0; 48 * mib];
    bytes[4 * mib..5 * mib].copy_from_slice(&noise(21, mib));
    bytes[40 * mib..40 * mib + 100].copy_from_slice(&noise(22, 100));
    let (plain, back) = (m.outside().join("plain"), m.outside().join("back"));
    fs::write(&plain, &bytes).expect("write");
    for how in ["--sparse=always", "--sparse=auto", "--sparse=never"] {
        tool("cp", &[how.as_ref(), plain.as_os_str(), d.path("sparse").as_os_str()]);
        for path in [d.path("sparse"), d.path("@latest/sparse")] {
            assert!(fs::read(&path).expect("read") == bytes, "cp {how}");
            let data: u64 = data_in(&path).iter().map(|(from, to)| to - from).sum();
            assert!(data < 3 * mib as u64, "cp {how}: {data} bytes of data in {}", path.display());
        }
    }
    let stored = m.unique_bytes();
    assert!(stored < 3 * mib as u64, "1 MiB of data takes {stored} bytes");
    for how in ["--sparse=always", "--sparse=auto"] {
        tool("cp", &[how.as_ref(), d.path("@v1/sparse").as_os_str(), back.as_os_str()]);
        let on_disk = back.metadata().expect("stat").blocks() * 512;
        assert!(on_disk < 3 * mib as u64, "cp {how} out of a version: {on_disk} bytes on disk");
        assert!(fs::read(&back).expect("read") == bytes);
        fs::remove_file(&back).expect("remove");
    }
}

/// Where files carry access control lists, which the mount does not have, copying says so and copies all
/// the rest.
#[test]
fn copying_access_control_lists_is_refused_aloud() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside();
    sample_tree(&source, 17, 10);
    tool("setfacl", &["-m".as_ref(), "u:nobody:rw".as_ref(), source.join("script").as_os_str()]);
    let said = run(Command::new("rsync").args(["-aHAX"]).arg(source.join(".")).arg(d.root())).fails(23);
    assert!(said.contains("Operation not supported"), "{said}");
    let (from, to) = (facts(&source), facts(d.root()));
    assert!(from.keys().eq(to.keys()), "all is there");
    let said = run(Command::new("cp").arg("-a").arg(source.join("script")).arg(d.path("copy"))).fails(1);
    assert!(said.contains("Operation not supported"), "{said}");
    assert_eq!(d.text("copy"), d.text("script"));
    let said = run(Command::new("setfacl").args(["-m", "u:nobody:rw"]).arg(d.path("script"))).fails(1);
    assert!(said.contains("Operation not supported"), "{said}");
    assert!(tool("getfacl", &["-cn".as_ref(), d.path("script").as_os_str()]).starts_with("user::rwx\n"));
}
