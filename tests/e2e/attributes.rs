//! The live view: owners, modes, times, extended attributes, locks.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, XattrFlags, fcntl_lock, flock, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use crate::harness::*;

/// Mode, times to the nanosecond, and owner are kept, across a remount and in the version.
#[test]
fn mode_times_and_owner_are_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o4751)).expect("chmod");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::open(d.path("f")).and_then(|f| f.set_modified(time)).expect("utimens");
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(d.path("f"), Some(1234), Some(4321)).expect("chown");
        fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o4751)).expect("chmod");
    }
    m.down();
    m.up(&[]);
    for path in ["f", "@latest/f"] {
        let meta = m.existing("d").path(path).metadata().expect("stat");
        assert_eq!(meta.mode() & 0o7777, 0o4751, "{path}");
        assert_eq!(meta.modified().expect("mtime"), time, "{path}");
        if root {
            assert_eq!((meta.uid(), meta.gid()), (1234, 4321), "{path}");
        }
    }
}

/// Changes of content move mtime and ctime, of attributes ctime alone, of entries the directory's.
#[test]
fn times_move_as_posix_says() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::OpenOptions::new().write(true).open(d.path("f")).expect("open");
    file.set_modified(past).expect("utimens");
    let before = file.metadata().expect("stat");
    fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o600)).expect("chmod");
    let after = file.metadata().expect("stat");
    assert_eq!(after.modified().expect("mtime"), past, "chmod leaves mtime alone");
    let ctime = |m: &fs::Metadata| (m.ctime(), m.ctime_nsec());
    assert!(ctime(&after) >= ctime(&before));
    drop(file);
    d.write("f", "y");
    assert!(d.path("f").metadata().and_then(|m| m.modified()).expect("mtime") > past);
    File::open(d.root()).and_then(|f| f.set_modified(past)).expect("utimens of a directory");
    d.write("g", "");
    assert!(d.root().metadata().and_then(|m| m.modified()).expect("mtime") > past);
}

/// Extended attributes are set, listed, read and removed; the version keeps its own.
#[test]
fn extended_attributes_are_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let (path, large) = (d.path("f"), noise(1, 20_000));
    setxattr(&path, "user.label", b"cat", XattrFlags::CREATE).expect("set");
    setxattr(&path, "user.large", &large, XattrFlags::empty()).expect("set a large one");
    refused(setxattr(&path, "user.label", b"dog", XattrFlags::CREATE), Errno::EXIST);
    refused(setxattr(&path, "user.none", b"", XattrFlags::REPLACE), Errno::NODATA);
    let mut buffer = vec![0; 65_536];
    for path in [&path, &d.path("@latest/f")] {
        let n = getxattr(path, "user.label", &mut buffer).expect("get");
        assert_eq!(&buffer[..n], b"cat");
        let n = getxattr(path, "user.large", &mut buffer).expect("get");
        assert!(buffer[..n] == large);
        let n = listxattr(path, &mut buffer).expect("list");
        let mut names: Vec<_> = buffer[..n].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        names.sort();
        assert_eq!(names, [b"user.label", b"user.large"]);
    }
    let version = d.versions();
    removexattr(&path, "user.label").expect("remove");
    refused(removexattr(&path, "user.label"), Errno::NODATA);
    refused(getxattr(&path, "user.label", &mut buffer), Errno::NODATA);
    assert_eq!(d.versions(), version + 1);
    let old = d.path(&format!("@v{version}/f"));
    assert_eq!(getxattr(old, "user.label", &mut buffer).expect("get the old version's"), 3);
}

/// flock locks exclude each other between open files.
#[test]
fn flock_excludes() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "");
    let open = || File::open(d.path("f")).expect("open");
    let (a, b) = (open(), open());
    flock(&a, FlockOperation::LockExclusive).expect("lock");
    refused(flock(&b, FlockOperation::NonBlockingLockShared), Errno::WOULDBLOCK);
    flock(&a, FlockOperation::Unlock).expect("unlock");
    flock(&b, FlockOperation::NonBlockingLockShared).expect("the lock is free");
}

/// POSIX record locks exclude between processes.
#[test]
fn record_locks_exclude_between_processes() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "0123456789");
    let file = fs::OpenOptions::new().read(true).write(true).open(d.path("f")).expect("open");
    let program = "
import fcntl, sys
with open(sys.argv[1], 'r+b') as f:
    try:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 2)
        print('got')
    except BlockingIOError:
        print('refused')
";
    fcntl_lock(&file, FlockOperation::LockExclusive).expect("lock");
    assert_eq!(python(program, &[d.path("f")]), "refused\n");
    fcntl_lock(&file, FlockOperation::Unlock).expect("unlock");
    assert_eq!(python(program, &[d.path("f")]), "got\n");
}

/// With allow_other, other users come in, and permission bits hold for them.
#[test]
fn permissions_hold_for_other_users() {
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    for dir in [m.point().parent().expect("parent"), d.root()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
        d.write(name, name);
        fs::set_permissions(d.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let nobody = |script: &str, path: &str| {
        let mut command = as_root("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script, "sh"]);
        run(command.arg(d.path(path))).code
    };
    for (path, wanted) in
        [("open", Some(0)), ("@latest/open", Some(0)), ("closed", Some(1)), ("@latest/closed", Some(1))]
    {
        assert_eq!(nobody("cat \"$1\"", path), wanted, "reading {path}");
    }
    assert_ne!(nobody("echo x > \"$1\"", "open"), Some(0), "writing another's file");
    assert_ne!(nobody("echo x > \"$1\"", "new"), Some(0), "creating in another's directory");
}
