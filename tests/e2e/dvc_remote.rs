//! `@dvc`: content by MD5, as DVC fetches it. That DVC does is in `tests/judges/dvc.rs`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use crate::harness::*;

/// A `strata` that runs in a directory outside of the mount.
fn strata_in(m: &Mount, dir: &Path, arguments: &[&str]) -> Ran {
    run(m.command(arguments).current_dir(dir))
}

/// The md5 that md5sum prints.
fn md5(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("f"), bytes).expect("write");
    tool("md5sum", &[dir.path().join("f")]).split_whitespace().next().expect("a sum").to_owned()
}

/// `@dvc` has the layout of a remote of DVC: what was pointed to with `--dvc`, of any version, by MD5; nothing
/// else, and to read alone. It outlives a remount, a kill and a lost index.
#[test]
fn dvc_finds_what_was_pointed_to() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    d.mkdir("sub");
    d.write("sub/f", "one");
    d.write("sub.x", "two");
    d.mkdir("none");
    m.strata(&["commit", "d"]).ok();
    d.write("sub/f", "three");
    m.strata(&["commit", "d"]).ok();
    assert_eq!(d.list("@dvc/files"), ["md5"]);
    assert!(d.list("@dvc/files/md5").is_empty() && !d.list("").contains(&"@dvc".to_owned()));
    let out = m.outside();
    let ran = strata_in(&m, &out, &["pointer", "d@v1", "--dvc", "-o", "data set.dvc"]);
    assert!(ran.stderr.contains("1 of them will not be there"), "{}", ran.stderr);
    ran.ok();
    // As DVC sorts: by the whole path, where '.' comes before '/'.
    let list = format!(
        "[{{\"md5\": \"{}\", \"relpath\": \"sub.x\"}}, {{\"md5\": \"{}\", \"relpath\": \"sub/f\"}}]",
        md5(b"two"),
        md5(b"one")
    );
    let of_list = md5(list.as_bytes());
    assert_eq!(
        fs::read_to_string(out.join("data set.dvc")).expect("read"),
        format!("outs:\n- md5: {of_list}.dir\n  size: 6\n  nfiles: 2\n  hash: md5\n  path: \"data set\"\n")
    );
    let object = |md5: &str| d.path(&format!("@dvc/files/md5/{}/{}", &md5[..2], &md5[2..]));
    let check = |when: &str| {
        assert_eq!(fs::read(object(&format!("{of_list}.dir"))).expect(when), list.as_bytes());
        assert_eq!(fs::read(object(&md5(b"one"))).expect(when), b"one");
        assert_eq!(fs::metadata(object(&md5(b"one"))).expect(when).mode(), 0o100_444);
        assert_eq!(d.list("@dvc/files/md5").len(), 3, "{when}");
        let below = format!("@dvc/files/md5/{}", &of_list[..2]);
        assert_eq!(d.list(&below), [format!("{}.dir", &of_list[2..])], "{when}");
    };
    check("at once");
    refused(fs::metadata(object(&md5(b"three"))), Errno::NOENT);
    for odd in ["@dvc/files/md5/AA", "@dvc/files/md5/a", "@dvc/files/sha", "@dvc/x"] {
        refused(fs::metadata(d.path(odd)), Errno::NOENT);
    }
    refused(fs::create_dir(d.path("@dvc/files/md5/zz")), Errno::ROFS);
    refused(fs::write(object(&md5(b"one")), "x"), Errno::ROFS);
    refused(fs::remove_file(object(&md5(b"one"))), Errno::ROFS);
    m.kill();
    fs::remove_dir_all(m.store().join("index")).expect("lose the index");
    m.up(&[]);
    check("after a kill and without an index");
    // Another version, by a daemon or without one, adds to it.
    m.down();
    strata_in(&m, &out, &["pointer", "d", "sub/f", "--dvc", "--json"]).ok();
    assert_eq!(
        fs::read_to_string(out.join("f.dvc")).expect("read"),
        format!("outs:\n- md5: {}\n  size: 5\n  hash: md5\n  path: f\n", md5(b"three"))
    );
    m.up(&[]);
    assert_eq!(fs::read(object(&md5(b"three"))).expect("read"), b"three");
    assert_eq!(fs::read(object(&md5(b"one"))).expect("read"), b"one");
    // What is damaged is not believed, and there again when it is pointed to again.
    for name in ["md5-1", "place-1", &format!("{of_list}.dir")] {
        let path = m.store().join("dvc/1").join(name);
        let mut bytes = fs::read(&path).expect("read");
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes).expect("write");
    }
    refused(fs::read(object(&md5(b"one"))), Errno::IO);
    refused(fs::read(object(&format!("{of_list}.dir"))), Errno::IO);
    strata_in(&m, &out, &["pointer", "d@v1", "--dvc", "-o", "data set.dvc"]).ok();
    strata_in(&m, &out, &["pointer", "d", "sub/f", "--dvc", "-o", "f.dvc"]).ok();
    assert_eq!(d.list("@dvc/files/md5").len(), 4);
    assert_eq!(fs::read(object(&md5(b"one"))).expect("read"), b"one");
    assert_eq!(fs::read(object(&format!("{of_list}.dir"))).expect("read"), list.as_bytes());
}

/// Makes something at a path.
type Make = dyn Fn(&Path);

/// What DVC does not know is refused and named, and no pointer is written.
#[test]
fn what_dvc_does_not_know_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    let out = m.outside();
    let make: [(&str, &Make); 4] = [
        ("link", &|path| symlink("f", path).expect("symlink")),
        ("fifo", &|path| {
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("mkfifo");
        }),
        (".dvcignore", &|path| fs::write(path, "x").expect("write")),
        ("odd", &|path| {
            let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
            fs::write(path.with_file_name(odd), "x").expect("write");
        }),
    ];
    d.mkdir("sub");
    d.write("sub/f", "x");
    for (name, make) in make {
        make(&d.path(&format!("sub/{name}")));
        let said = strata_in(&m, &out, &["pointer", "d", "--dvc"]).fails(1);
        assert!(said.contains("cannot be told to DVC") && said.contains(&format!("sub/{name}")), "{said}");
        tool(
            "find",
            &[
                d.root().as_os_str(),
                "-mindepth".as_ref(),
                "2".as_ref(),
                "!".as_ref(),
                "-name".as_ref(),
                "f".as_ref(),
                "-delete".as_ref(),
            ],
        );
    }
    assert!(!out.join("d.dvc").exists());
    strata_in(&m, &out, &["pointer", "d", "--dvc"]).ok();
    assert!(strata_in(&m, &out, &["pointer", "d", "--dvc", "-o", "x.yaml"]).fails(2).contains(".dvc"));
    assert!(strata_in(&m, &out, &["pointer", "d", "--json", "-o", "-"]).fails(2).contains("-o FILE"));
}

/// `@dvc` shows files without the directories they were in: it is for the mount's user alone.
#[test]
fn dvc_is_for_the_mounts_user_alone() {
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    for dir in [m.point().parent().expect("parent"), d.root()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    d.mkdir("closed");
    d.write("closed/f", "secret");
    fs::set_permissions(d.path("closed"), fs::Permissions::from_mode(0o700)).expect("chmod");
    strata_in(&m, &m.outside(), &["pointer", "d", "--dvc"]).ok();
    let sum = md5(b"secret");
    let object = d.path(&format!("@dvc/files/md5/{}/{}", &sum[..2], &sum[2..]));
    assert_eq!(fs::read(&object).expect("read"), b"secret");
    let nobody = |program: &str, path: &Path| {
        let mut command = as_root("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        run(command.arg(path)).code
    };
    assert_eq!(nobody("ls", d.root()), Some(0));
    assert_ne!(nobody("cat", &object), Some(0));
    assert_ne!(nobody("ls", &d.path("@dvc")), Some(0));
}

/// The MD5 of a file that a version recorded is computed once: then the file need not even be sound.
#[test]
fn md5s_are_computed_once() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(7, 200_000);
    d.write("f", &bytes);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "d", "--dvc"]).ok();
    let first = fs::read(out.join("d.dvc")).expect("read");
    m.down();
    let pack = m.store().join("packs/00000001.pack");
    let mut stored = fs::read(&pack).expect("read the pack");
    let at = stored.windows(32).position(|window| *window == bytes[100_000..100_032]);
    stored[at.expect("it is stored as it is")] ^= 1;
    fs::write(&pack, stored).expect("write the pack");
    strata_in(&m, &out, &["pointer", "d", "--dvc"]).ok();
    assert_eq!(fs::read(out.join("d.dvc")).expect("read"), first);
    fs::remove_dir_all(m.store().join("dvc")).expect("forget it");
    assert!(strata_in(&m, &out, &["pointer", "d", "--dvc"]).fails(1).contains("damaged"));
}
