//! Bad input gets an error that says what is wrong, and loses nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use tempfile::TempDir;

use crate::harness::*;

#[track_caller]
fn says(message: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(message.to_lowercase().contains(&part.to_lowercase()), "'{part}' is not in: {message}");
    }
}

/// A mountpoint that is missing, a file, or not empty is refused by name.
#[test]
fn bad_mountpoints_are_refused() {
    let m = Mount::unmounted();
    fs::write(m.point().join("in the way"), "").expect("write");
    says(&m.try_up(&[]).fails(1), &[m.point().to_str().expect("path"), "not empty"]);
    fs::remove_file(m.point().join("in the way")).expect("unlink");
    let missing = m.outside().join("missing");
    let mount = |point: &std::path::Path| run(m.command(&["mount"]).arg(point)).fails(1);
    says(&mount(&missing), &[missing.to_str().expect("path")]);
    let file = m.outside().join("file");
    fs::write(&file, "").expect("write");
    says(&mount(&file), &[file.to_str().expect("path"), "director"]);
    m.up(&[]);
    m.dataset("d").write("f", "still works");
}

/// A mountpoint that is mounted already is refused, and what is mounted goes on.
#[test]
fn a_mounted_mountpoint_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let other = m.outside().join("other-store");
    let mut mount = m.command(&["mount"]);
    let message = run(mount.env("STRATA_STORE", &other).arg(m.point())).fails(1);
    says(&message, &[m.point().to_str().expect("path"), "mounted"]);
    assert_eq!(d.text("f"), "x");
}

/// A second daemon on one store is refused, naming the process that has it.
#[test]
fn a_second_daemon_is_refused_by_pid() {
    let m = Mount::new();
    let point = m.outside();
    let message = run(m.command(&["mount"]).arg(&point)).fails(1);
    let pid = m.daemon().expect("the daemon runs").as_raw_pid().to_string();
    says(&message, &[&pid]);
    m.dataset("d").write("f", "the first goes on");
}

/// A store path that is a file, a directory of other things, or unreadable is refused by name.
#[test]
fn bad_stores_are_refused() {
    let m = Mount::unmounted();
    let file = m.outside().join("file");
    fs::write(&file, "precious").expect("write");
    let foreign = m.outside().join("foreign");
    fs::create_dir(&foreign).and_then(|()| fs::write(foreign.join("thesis.txt"), "precious")).expect("write");
    for store in [&file, &foreign] {
        for command in ["init", "mount", "status"] {
            let mut strata = m.command(&[command]);
            strata.env("STRATA_STORE", store);
            if command == "mount" {
                strata.arg(m.point());
            }
            let ran = run(&mut strata);
            assert_eq!(ran.code, Some(1), "{}: {}{}", ran.what, ran.stderr, ran.text());
            says(&ran.stderr, &[store.to_str().expect("path")]);
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("read"), "precious");
    assert_eq!(fs::read_dir(&foreign).expect("list").count(), 1, "nothing was put into it");
}

/// A store of a newer format is refused, saying so, and not touched.
#[test]
fn a_newer_format_is_refused() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    let identity = m.store().join("strata.json");
    let text = fs::read_to_string(&identity).expect("read");
    let (before, after) = text.split_once("\"format\":").expect("the identity file tells the format");
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let newer = format!("{before}\"format\":99{after}");
    fs::write(&identity, &newer).expect("write");
    says(&m.try_up(&[]).fails(1), &["format 99", m.store().to_str().expect("path")]);
    m.strata(&["status"]).fails(1);
    assert_eq!(fs::read_to_string(&identity).expect("read"), newer);
    fs::write(&identity, &text).expect("write");
    m.up(&[]);
    assert_eq!(m.existing("d").text("f"), "x");
}

/// Without /dev/fuse the mount fails and says what is missing.
#[test]
fn a_missing_fuse_device_is_named() {
    let m = Mount::unmounted();
    let script = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec \"$1\" mount \"$2\"";
    let mut unshare = as_root("env");
    unshare.arg(format!("STRATA_STORE={}", m.store().display()));
    unshare.args(["unshare", "-m", "--propagation", "private", "sh", "-euc", script, "sh"]);
    says(&run(unshare.arg(binary()).arg(m.point())).fails(1), &["/dev/fuse"]);
}

/// Versions, hashes, dates, paths and datasets that do not exist are named in the error.
#[test]
fn what_does_not_exist_is_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    for (arguments, wanted) in [
        (["cat", "d@v9/f"], "v9"),
        (["cat", "d@0123456789ab/f"], "0123456789ab"),
        (["cat", "d@2001-01-01/f"], "2001-01-01"),
        (["cat", "d/none"], "none"),
        (["ls", "none"], "none"),
        (["ls", "d@v1/none"], "none"),
        (["show", "d@v7"], "v7"),
        (["log", "none"], "none"),
        (["commit", "none"], "none"),
        (["hash", "/no/such/dir"], "/no/such/dir"),
        (["umount", "/no/such/dir"], "/no/such/dir"),
    ] {
        says(&m.strata(&arguments).fails(1), &[wanted]);
    }
    for path in ["@v9", "@0123456789ab", "@2001-01-01", "@v1/none"] {
        refused(d.path(path).metadata(), Errno::NOENT);
    }
}

/// A disk of its own for a store.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    pub fn new(mib: u32) -> SmallDisk {
        let disk = SmallDisk(TempDir::with_prefix("strata-disk-").expect("make a temporary directory"));
        let size = format!("size={mib}m,mode=777");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(disk.0.path())).ok();
        disk
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// On a full disk the writer gets ENOSPC; reading and history go on; nothing is torn; when space is
/// freed, writing works again without a restart.
#[test]
fn a_full_disk_is_survived() {
    let disk = SmallDisk::new(96);
    let at = disk.0.path();
    fs::write(at.join("ballast"), noise(1, 40 << 20)).expect("write the ballast");
    let m = Mount::unmounted().store_at(at.join("store"));
    m.up(&[]);
    let d = m.dataset("d");
    d.write("early", "kept");
    let mut written = 0;
    let full = (0..2000).find_map(|n| {
        // Written by hand, to see the error of close(2) as well.
        let program = "
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
try:
    try:
        data = os.urandom(1 << 20)
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)
except OSError as e:
    print(e.errno)
";
        let said = python(program, &[d.path(&format!("fill{n}"))]);
        written += usize::from(said.is_empty());
        (!said.is_empty()).then_some(said)
    });
    assert_eq!(full.as_deref(), Some(format!("{}\n", Errno::NOSPC.raw_os_error()).as_str()));
    assert!(written > 5, "{written} MiB fitted");
    assert_eq!((d.text("early"), d.text("@v1/early")), ("kept".to_owned(), "kept".to_owned()));
    for n in 0..written {
        assert_eq!(d.bytes(&format!("fill{n}")).len(), 1 << 20, "files written before are whole");
    }
    fs::remove_file(d.path("fill0")).expect("unlinking works on a full disk");
    fs::remove_file(at.join("ballast")).expect("free some space");
    let bytes = noise(2, 8 << 20);
    poll("writing works again", || fs::write(d.path("late"), &bytes).is_ok());
    assert!(d.bytes("late") == bytes && d.bytes("@latest/late") == bytes);
    m.strata(&["verify"]).ok();
    m.down();
    m.up(&[]);
    assert!(d.bytes("late") == bytes);
}

/// What is pruned makes room on a disk that is too full for a copy of a pack.
#[test]
fn a_full_disk_is_freed_by_a_collection() {
    let disk = SmallDisk::new(160);
    let at = disk.0.path();
    let m = Mount::unmounted().store_at(at.join("store"));
    m.up(&[]);
    let d = m.dataset("d");
    d.write("kept", "kept");
    d.write("old", noise(1, 100 << 20));
    d.write("new", "new");
    fs::remove_file(d.path("old")).expect("remove");
    let stat = rustix::fs::statvfs(at).expect("statvfs");
    let free = stat.f_bavail * stat.f_frsize;
    fs::write(at.join("ballast"), vec![1; usize::try_from(free).expect("a size") - (12 << 20)])
        .expect("fill");
    let write = |seed| {
        let mut late = fs::File::create(d.path("late"))?;
        late.write_all(&noise(seed, 40 << 20)).and_then(|()| late.sync_all())
    };
    refused(write(2), Errno::NOSPC);
    drop(fs::remove_file(d.path("late")));
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    let told: serde_json::Value = serde_json::from_str(&m.strata(&["gc", "--json"]).ok()).expect("JSON");
    assert!(told["freed"].as_u64().expect("a number") > 90 << 20, "{told}");
    poll("writing works again", || write(3).is_ok());
    assert_eq!(d.bytes("late"), noise(3, 40 << 20));
    assert_eq!((d.text("kept"), d.text("new")), ("kept".into(), "new".into()));
    m.strata(&["verify"]).ok();
}

/// A read-only mount refuses every write, and reads.
#[test]
fn a_read_only_mount_refuses_writes() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    m.up(&["--read-only"]);
    let d = m.existing("d");
    assert_eq!((d.text("f"), d.text("@v1/f")), ("x".to_owned(), "x".to_owned()));
    refused(fs::write(d.path("f"), "y"), Errno::ROFS);
    refused(fs::create_dir(d.path("dir")), Errno::ROFS);
    refused(fs::create_dir(m.point().join("e")), Errno::ROFS);
    refused(fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o600)), Errno::ROFS);
    assert_eq!(m.status()["read_only"], true);
}

/// Unmounting while files are in use is refused, saying so, and works when they are closed.
#[test]
fn a_busy_mount_is_not_unmounted() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let file = fs::File::open(d.path("f")).expect("open");
    says(&run(m.command(&["umount"]).arg(m.point())).fails(1), &["busy"]);
    assert_eq!(d.text("f"), "x");
    drop(file);
    m.down();
}

/// Another user's command is told so where it may not read the store.
#[test]
fn an_unreadable_store_is_named() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    run(as_root("chown").args(["-R", "0:0"]).arg(m.store())).ok();
    fs::set_permissions(m.store(), fs::Permissions::from_mode(0o700)).expect("chmod");
    fs::set_permissions(m.point().parent().expect("parent"), fs::Permissions::from_mode(0o755))
        .expect("chmod");
    let here = m.outside().join("strata");
    fs::copy(binary(), &here).expect("copy the binary to where everybody may run it");
    let mut command: Command = as_root("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(here);
    let ran = run(command.args(["status", "--store"]).arg(m.store()));
    says(&ran.fails(1), &[m.store().to_str().expect("path"), "permission denied"]);
}

/// A dataset that is archived, or has no version yet, is said to be that.
#[test]
fn archived_and_empty_datasets_are_named_as_that() {
    let m = Mount::new();
    let d = m.dataset("ar");
    d.write("f", "x");
    fs::remove_file(d.path("f")).expect("remove");
    fs::remove_dir(d.root()).expect("rmdir");
    for command in
        [&["log", "ar"][..], &["tags", "ar"], &["prune", "ar", "--keep-last", "1"], &["cat", "ar/f"]]
    {
        says(&m.strata(command).fails(1), &["'ar' is archived", "mkdir"]);
    }
    m.dataset("ar");
    assert_eq!(m.strata(&["cat", "ar@v1/f"]).ok(), "x", "mkdir brings it back");
    m.dataset("none");
    for command in ["show", "blame"] {
        says(&m.strata(&[command, "none"]).fails(1), &["none has no version yet"]);
    }
    let target = m.outside().join("out.tar");
    let target = target.to_str().expect("text");
    says(&m.strata(&["export", "none@latest", target]).fails(1), &["none has no version yet"]);
    let tar = m.outside().join("empty.tar");
    tool("tar", &["-cf".as_ref(), tar.as_os_str(), "-T".as_ref(), "/dev/null".as_ref()]);
    for command in [&["commit", "none"][..], &["import", tar.to_str().expect("text"), "none"]] {
        let ran = m.strata(command);
        assert!(ran.stderr.contains("no version yet") && !ran.stderr.contains("v0"), "{}", ran.stderr);
        ran.ok();
    }
}
