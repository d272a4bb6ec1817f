//! Large files of a version that the kernel reads by itself: `--at --passthrough`.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

use crate::harness::*;

const MIB: usize = 1 << 20;
/// How long a read that needs no daemon may take before it is taken to wait for one.
const PATIENCE: Duration = Duration::from_secs(20);

/// A dataset `d` with these files, mounted at its newest version with passthrough; false where that cannot be
/// had here, which is said.
#[track_caller]
fn mounted(m: &Mount, what: &str, fill: impl FnOnce(&Dataset<'_>)) -> bool {
    m.up(&[]);
    let d = m.dataset("d");
    fill(&d);
    let version = format!("v{}", d.versions());
    m.down();
    up(m, what, &version)
}

#[track_caller]
fn up(m: &Mount, what: &str, version: &str) -> bool {
    let ran = m.try_up(&["--at", version, "--passthrough"]);
    if ran.code == Some(0) {
        return true;
    }
    let known = ["no FUSE passthrough", "needs root"].iter().any(|why| ran.stderr.contains(why));
    assert!(known, "{}", ran.stderr);
    skipped(what, ran.stderr.trim());
    false
}

fn copy_bytes(m: &Mount) -> u64 {
    m.status()["copy_bytes"].as_u64().expect("status has copy_bytes")
}

/// Opens a file, so that it is copied, and waits until copies hold this much.
#[track_caller]
fn copied(m: &Mount, file: &str, bytes: usize) {
    drop(File::open(m.point().join(file)).expect("open"));
    poll("the copy is made", || copy_bytes(m) == bytes as u64);
}

/// Reads while the daemon stands still: gives the bytes if the kernel has them by itself.
fn read_without_daemon(m: &Mount, file: File, at: usize) -> Option<Vec<u8>> {
    let pid = m.daemon().expect("the daemon runs");
    let (done, read) = mpsc::channel();
    kill_process(pid, Signal::STOP).expect("stop the daemon");
    thread::spawn(move || {
        let mut bytes = vec![0; MIB];
        let _ = done.send(file.read_exact_at(&mut bytes, at as u64).map(|()| bytes));
    });
    let answer = read.recv_timeout(PATIENCE);
    kill_process(pid, Signal::CONT).expect("let the daemon go on");
    answer.ok().map(|read| read.expect("read"))
}

/// A large file has the same bytes before and after its copy is made, read, mapped and by seeks, and after
/// it the kernel reads it without the daemon. Equal files share a copy; small ones have none.
#[test]
fn large_files_are_read_by_the_kernel() {
    let m = Mount::unmounted();
    let (bytes, small) = (noise(1, 24 * MIB + 77), noise(2, 15 * MIB));
    let ready = mounted(&m, "passthrough", |d| {
        d.write("large", &bytes);
        d.write("same", &bytes);
        d.write("small", &small);
    });
    if !ready {
        return;
    }
    let large = m.point().join("large");
    let before = File::open(&large).expect("open");
    let mut part = vec![0; 5000];
    before.read_exact_at(&mut part, 1000).expect("read");
    assert!(part == bytes[1000..6000]);
    copied(&m, "large", bytes.len());
    // A handle of the other kind is open: this one is served as that is.
    assert!(fs::read(&large).expect("read") == bytes);
    drop(before);
    let open = File::open(m.point().join("same")).expect("open");
    assert!(fs::read(m.point().join("small")).expect("read") == small);
    let found = read_without_daemon(&m, open, 20 * MIB).expect("it is read without the daemon");
    assert!(found == bytes[20 * MIB..21 * MIB]);
    for name in ["large", "same"] {
        let path = m.point().join(name);
        assert!(fs::read(&path).expect("read") == bytes, "{name}");
        assert_eq!(fs::metadata(&path).expect("stat").len(), bytes.len() as u64);
        let mapped = "import mmap, sys\nf = open(sys.argv[1], 'rb')\n\
                      print(sum(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[1 << 20:2 << 20]))";
        let sum: u64 = bytes[MIB..2 * MIB].iter().map(|b| u64::from(*b)).sum();
        assert_eq!(python(mapped, &[path.as_os_str()]).trim(), sum.to_string());
        refused(fs::write(&path, "x"), Errno::ROFS);
    }
    assert_eq!(copy_bytes(&m), bytes.len() as u64, "one copy for both, none of the small one");
    assert!(m.strata(&["status"]).ok().contains("copies   24.0 MiB"));
    assert_eq!(fs::read_dir(m.store().join("scratch")).expect("list").count(), 0, "no copy has a name");
}

/// Processes that open and read a file again and again while it changes over to its copy see its bytes.
#[test]
fn readers_do_not_see_the_change_to_a_copy() {
    let m = Mount::unmounted();
    let bytes = noise(3, 48 * MIB);
    if !mounted(&m, "passthrough beside readers", |d| d.write("large", &bytes)) {
        return;
    }
    let plain = m.outside().join("plain");
    fs::write(&plain, &bytes).expect("write");
    let script = "for i in 1 2 3 4 5 6; do cmp \"$1\" \"$2\" || exit 1; done";
    let reader = || {
        let shown = m.point().join("large");
        thread::scope(|scope| {
            let readers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| shell(script, &[plain.as_path(), &shown]))).collect();
            readers.into_iter().for_each(|reader| assert_eq!(reader.join().expect("a reader"), ""));
        });
    };
    reader();
    poll("the copy is made", || copy_bytes(&m) == bytes.len() as u64);
    reader();
    let open = File::open(m.point().join("large")).expect("open");
    assert!(
        read_without_daemon(&m, open, 40 * MIB).expect("the copy is in use") == bytes[40 * MIB..41 * MIB]
    );
}

/// A file with holes has them in its copy, which takes no more space than its data.
#[test]
fn holes_take_no_space_in_a_copy() {
    let m = Mount::unmounted();
    let (head, tail) = (noise(4, MIB), noise(5, MIB));
    let ready = mounted(&m, "passthrough of holes", |d| {
        let file = File::create(d.path("holes")).expect("create");
        file.write_all_at(&head, 0).expect("write");
        file.write_all_at(&tail, 63 * MIB as u64).expect("write");
        file.set_len(80 * MIB as u64).expect("truncate");
    });
    if !ready {
        return;
    }
    let path = m.point().join("holes");
    let mut whole = head.clone();
    whole.resize(63 * MIB, 0);
    whole.extend_from_slice(&tail);
    whole.resize(80 * MIB, 0);
    assert!(fs::read(&path).expect("read") == whole);
    poll("the copy is made", || copy_bytes(&m) >= 2 * MIB as u64);
    assert!(copy_bytes(&m) < 3 * MIB as u64, "{}", copy_bytes(&m));
    assert!(fs::read(&path).expect("read") == whole);
    assert_eq!(fs::metadata(&path).expect("stat").size(), whole.len() as u64);
    let open = File::open(&path).expect("open");
    let seek = |to| rustix::fs::seek(&open, to).expect("seek");
    let data = seek(rustix::fs::SeekFrom::Data(10 * MIB as u64)) as usize;
    assert!((62 * MIB..=63 * MIB).contains(&data), "{data}");
    assert!(read_without_daemon(&m, open, 63 * MIB).expect("the copy is in use") == tail);
}

/// Without `--at`, `--passthrough` is refused as a wrong call.
#[test]
fn passthrough_is_for_pinned_mounts_alone() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    assert!(m.try_up(&["--passthrough"]).fails(2).contains("--at"));
    assert_eq!(fs::read_dir(m.point()).expect("nothing is mounted").count(), 0);
}

/// Killed while it makes copies or has some, the daemon leaves no file behind, and the next mount works.
#[test]
fn a_killed_daemon_leaves_no_copy() {
    let m = Mount::unmounted();
    let (first, second) = (noise(6, 20 * MIB), noise(7, 64 * MIB));
    let ready = mounted(&m, "passthrough and a killed daemon", |d| {
        d.write("first", &first);
        d.write("second", &second);
    });
    if !ready {
        return;
    }
    copied(&m, "first", first.len());
    drop(File::open(m.point().join("second")).expect("open"));
    m.kill();
    assert_eq!(fs::read_dir(m.store().join("scratch")).expect("list").count(), 0);
    assert!(up(&m, "passthrough again", "v2"));
    assert_eq!(copy_bytes(&m), 0);
    copied(&m, "first", first.len());
    assert!(fs::read(m.point().join("first")).expect("read") == first);
    assert!(fs::read(m.point().join("second")).expect("read") == second);
}

/// Flips a bit of the store's only copy of `piece`.
#[track_caller]
fn flip(store: &Path, piece: &[u8]) {
    for entry in fs::read_dir(store.join("packs")).expect("list the packs") {
        let path = entry.expect("read an entry").path();
        let bytes = fs::read(&path).expect("read a pack");
        if let Some(at) = bytes.windows(piece.len()).position(|w| w == piece) {
            let file = File::options().write(true).open(&path).expect("open a pack");
            return file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("flip a bit");
        }
    }
    panic!("the piece is not in the packs");
}

/// A file with a damaged chunk gets no copy, which the log says; its bytes stay EIO, the others are read.
#[test]
fn damage_is_not_copied() {
    let m = Mount::unmounted();
    let (bytes, whole) = (noise(8, 32 * MIB), noise(9, 16 * MIB));
    let ready = mounted(&m, "passthrough of damage", |d| {
        d.write("damaged", &bytes);
        d.write("whole", &whole);
    });
    if !ready {
        return;
    }
    m.down();
    flip(m.store(), &bytes[30 * MIB..30 * MIB + 64]);
    assert!(up(&m, "passthrough of damage", "v2"));
    drop(File::open(m.point().join("damaged")).expect("open"));
    copied(&m, "whole", whole.len());
    let log = fs::read_to_string(m.store().join("daemon.log")).expect("read the log");
    assert!(log.contains("no plain copy of content"), "{log}");
    for _ in 0..2 {
        let file = File::open(m.point().join("damaged")).expect("open");
        let mut part = vec![0; MIB];
        file.read_exact_at(&mut part, 10 * MIB as u64).expect("read");
        assert!(part == bytes[10 * MIB..11 * MIB]);
        refused(file.read_exact_at(&mut part, 30 * MIB as u64), Errno::IO);
    }
    assert_eq!(copy_bytes(&m), whole.len() as u64);
}

/// A small disk of its own for a store, so that its free space is not others' too.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<SmallDisk> {
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("none", &at, "tmpfs", flags, Some(c"size=100m")) {
            Ok(()) => Some(SmallDisk(at)),
            Err(error) => {
                skipped("passthrough on a small disk", &format!("cannot mount it: {error}"));
                None
            }
        }
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).expect("statvfs");
        stat.f_bfree * stat.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Where a copy would leave the disk short, there is none; the file is served as without, and the log says so.
#[test]
fn a_full_disk_gets_no_copy() {
    let m = Mount::unmounted();
    let Some(disk) = SmallDisk::mount(m.outside()) else { return };
    let m = m.store_at(disk.0.join("store"));
    let bytes = noise(10, 60 * MIB);
    if !mounted(&m, "passthrough on a full disk", |d| d.write("large", &bytes)) {
        return;
    }
    let log = || fs::read_to_string(m.store().join("daemon.log")).expect("read the log");
    for _ in 0..2 {
        assert!(fs::read(m.point().join("large")).expect("read") == bytes);
        poll("the log says why", || log().contains("no plain copy of content"));
    }
    assert_eq!(log().matches("no plain copy of content").count(), 1);
    assert_eq!(copy_bytes(&m), 0);
    m.down();
}

/// The space of copies is given back by the unmount, and after a killed daemon once the dead mount is cleared.
#[test]
fn the_space_of_copies_is_given_back() {
    let m = Mount::unmounted();
    let Some(disk) = SmallDisk::mount(m.outside()) else { return };
    let m = m.store_at(disk.0.join("store"));
    let bytes = noise(11, 24 * MIB);
    if !mounted(&m, "the space of copies", |d| d.write("large", &bytes)) {
        return;
    }
    let (size, slack) = (bytes.len() as u64, 4 << 20);
    let before = disk.free();
    for killed in [true, false] {
        copied(&m, "large", bytes.len());
        drop(File::open(m.point().join("large")).expect("open the copy"));
        assert!(disk.free() < before - size + slack, "the copy takes space");
        if killed {
            m.kill();
            assert!(up(&m, "passthrough again", "v1"));
        } else {
            m.down();
        }
        poll("the space is free", || disk.free() > before - slack);
    }
}
