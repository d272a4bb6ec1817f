//! The live view: what is in files.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::fs::{FallocateFlags, copy_file_range, fallocate, seek};
use rustix::io::Errno;

use crate::harness::*;

const MIB: usize = 1 << 20;

fn read_write(path: std::path::PathBuf) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).expect("open")
}

/// Bytes written at any offset are the bytes read, with zeros where nothing was written.
#[test]
fn bytes_written_are_bytes_read() {
    let m = Mount::new();
    let d = m.dataset("d");
    let file = read_write(d.path("f"));
    let (mut wanted, mut random) = (vec![0; 700_000], Random::new(1));
    for _ in 0..60 {
        let len = 1 + random.below(30_000);
        let (at, bytes) = (random.below(700_000 - len), random.bytes(len));
        file.write_all_at(&bytes, at as u64).expect("write");
        wanted[at..at + len].copy_from_slice(&bytes);
        let mut back = vec![0; len];
        file.read_exact_at(&mut back, at as u64).expect("read back");
        assert!(back == bytes, "bytes at {at}");
    }
    wanted.truncate(file.metadata().expect("stat").len() as usize);
    drop(file);
    assert!(d.bytes("f") == wanted);
    assert!(d.bytes("@latest/f") == wanted);
}

/// A file of many chunks reads back whole and in parts, live and in its version, after a remount too.
#[test]
fn a_large_file_reads_back_whole_and_in_parts() {
    let m = Mount::new();
    let wanted = noise(2, 40 * MIB + 12_345);
    m.dataset("d").write("big", &wanted);
    for again in [false, true] {
        if again {
            m.down();
            m.up(&[]);
        }
        let d = m.existing("d");
        for path in ["big", "@v1/big"] {
            assert!(d.bytes(path) == wanted, "{path}");
            let (file, mut random) = (File::open(d.path(path)).expect("open"), Random::new(3));
            for _ in 0..50 {
                let (at, mut part) = (random.below(40 * MIB), vec![0; 1 + random.below(300_000)]);
                let n = file.read_at(&mut part, at as u64).expect("read");
                assert!(n > 0 && part[..n] == wanted[at..at + n], "{path} at {at}");
            }
        }
    }
}

/// An edit within a large file changes the bytes it touches and no others; the version before keeps
/// its own, and the new one adds only chunks around the edit.
#[test]
fn an_edit_in_a_large_file_stores_only_what_it_touched() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut wanted = noise(4, 24 * MIB);
    d.write("big", &wanted);
    let (before, stored) = (wanted.clone(), m.unique_bytes());
    let at = 11 * MIB + 77;
    wanted[at] ^= 1;
    let file = OpenOptions::new().write(true).open(d.path("big")).expect("open");
    file.write_all_at(&wanted[at..=at], at as u64).expect("write");
    drop(file);
    let mut file = OpenOptions::new().append(true).open(d.path("big")).expect("open");
    file.write_all(b"tail").expect("append");
    drop(file);
    let added = m.unique_bytes() - stored;
    assert!(added < MIB as u64, "two edits of a few bytes added {added} bytes of chunks");
    assert!(d.bytes("@v1/big") == before);
    assert!(d.bytes("@v2/big") == wanted);
    wanted.extend_from_slice(b"tail");
    assert!(d.bytes("@v3/big") == wanted && d.bytes("big") == wanted);
}

/// O_APPEND writes go to the end, whichever handle they come through.
#[test]
fn appends_go_to_the_end() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "0");
    let open = || OpenOptions::new().append(true).open(d.path("f")).expect("open");
    let (a, b) = (open(), open());
    for (mut handle, text) in [(&a, "1"), (&b, "2"), (&a, "3"), (&b, "4")] {
        handle.write_all(text.as_bytes()).expect("append");
    }
    drop((a, b));
    assert_eq!(d.text("f"), "01234");
}

/// Truncation cuts, and extends with zeros: by path, by handle, at open.
#[test]
fn truncation_cuts_and_extends_with_zeros() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(5, 200_000);
    d.write("f", &bytes);
    rustix::fs::ftruncate(read_write(d.path("f")), 150_001).expect("ftruncate");
    assert!(d.bytes("f") == bytes[..150_001]);
    read_write(d.path("f")).set_len(160_000).expect("extend");
    let mut wanted = bytes[..150_001].to_vec();
    wanted.resize(160_000, 0);
    assert!(d.bytes("f") == wanted);
    tool("truncate", &["-s", "3", d.path("f").to_str().expect("path")]);
    assert!(d.bytes("f") == bytes[..3]);
    File::create(d.path("f")).expect("open with O_TRUNC");
    assert!(d.bytes("f").is_empty());
    assert!(d.bytes("@v1/f") == bytes);
}

/// A file unlinked while open can be read and written until it is closed.
#[test]
fn an_unlinked_open_file_stays_usable() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "before");
    let mut file = read_write(d.path("f"));
    fs::remove_file(d.path("f")).expect("unlink");
    assert!(!d.has("f"));
    file.seek(SeekFrom::End(0)).expect("seek");
    file.write_all(b" and after").expect("write");
    file.rewind().expect("seek");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "before and after");
    drop(file);
    assert!(d.list("").is_empty());
}

/// A file replaced by rename while open stays what it was for its holder.
#[test]
fn a_replaced_open_file_stays_what_it_was() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "old");
    d.write("g", "new");
    let mut file = File::open(d.path("f")).expect("open");
    fs::rename(d.path("g"), d.path("f")).expect("rename");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    assert_eq!((text.as_str(), d.text("f").as_str()), ("old", "new"));
}

/// fallocate extends, keeps the size where asked, punches holes and zeroes ranges.
#[test]
fn fallocate_extends_punches_and_zeroes() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut wanted = noise(6, MIB);
    d.write("f", &wanted);
    let file = read_write(d.path("f"));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 100_001, 300_000).expect("punch a hole");
    wanted[100_001..400_001].fill(0);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 900_000, 200_000).expect("zero a range past the end");
    wanted.resize(1_100_000, 0);
    wanted[900_000..].fill(0);
    fallocate(&file, FallocateFlags::empty(), 1_100_000, 1000).expect("extend");
    wanted.resize(1_101_000, 0);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 2_000_000, 1000).expect("allocate beyond the end");
    drop(file);
    assert!(d.bytes("f") == wanted);
    assert!(d.bytes("@latest/f") == wanted);
}

/// SEEK_HOLE and SEEK_DATA find the holes of a sparse file, live and in its version.
#[test]
fn holes_are_found() {
    let m = Mount::new();
    let d = m.dataset("d");
    let file = read_write(d.path("f"));
    file.write_all_at(&noise(7, MIB), 0).expect("write");
    file.write_all_at(&noise(8, MIB), 9 * MIB as u64).expect("write");
    drop(file);
    for path in ["f", "@latest/f"] {
        let file = File::open(d.path(path)).expect("open");
        let hole = seek(&file, rustix::fs::SeekFrom::Hole(0)).expect("find a hole") as usize;
        let data = seek(&file, rustix::fs::SeekFrom::Data(hole as u64)).expect("find data") as usize;
        assert!((MIB..2 * MIB).contains(&hole), "{path}: hole at {hole}");
        assert!((8 * MIB..=9 * MIB).contains(&data), "{path}: data at {data}");
        let end = seek(&file, rustix::fs::SeekFrom::Hole(9 * MIB as u64)).expect("find the end");
        assert_eq!(end as usize, 10 * MIB, "{path}: there is a hole at the end of every file");
        refused(seek(&file, rustix::fs::SeekFrom::Data(10 * MIB as u64)), Errno::NXIO);
    }
}

/// copy_file_range within the mount shares chunks instead of copying bytes, at any offsets.
#[test]
fn copy_file_range_moves_no_data() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(9, 8 * MIB);
    d.write("from", &bytes);
    let stored = m.unique_bytes();
    let (from, to) = (File::open(d.path("@v1/from")).expect("open"), read_write(d.path("to")));
    let (mut at, mut into, mut left) = (1001, 77, 7 * MIB);
    while left > 0 {
        let n = copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left).expect("copy_file_range");
        assert!(n > 0, "copy_file_range ended {left} bytes early");
        left -= n;
    }
    drop(to);
    let mut wanted = vec![0; 77];
    wanted.extend_from_slice(&bytes[1001..1001 + 7 * MIB]);
    assert!(d.bytes("to") == wanted);
    let added = m.unique_bytes() - stored;
    assert!(added < MIB as u64, "copying 7 MiB added {added} bytes of chunks");
}

/// Stores through a shared mapping are read by others, and are in the version of the close.
#[test]
fn a_shared_mapping_is_seen_by_readers() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", vec![b'.'; 100_000]);
    let program = "
import mmap, sys
with open(sys.argv[1], 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
    m[70000:70005] = b'store'
    m.flush()
    with open(sys.argv[1], 'rb') as g:
        g.seek(70000)
        assert g.read(5) == b'store', 'a reader sees the store after msync'
    m[10:14] = b'late'
";
    python(program, &[d.path("f")]);
    let mut wanted = vec![b'.'; 100_000];
    wanted[70_000..70_005].copy_from_slice(b"store");
    wanted[10..14].copy_from_slice(b"late");
    assert!(d.bytes("f") == wanted);
    assert!(d.bytes("@latest/f") == wanted);
}

/// Threads that write different files, and different parts of one file, do not disturb each other.
#[test]
fn concurrent_writers_do_not_disturb_each_other() {
    let m = Mount::new();
    let d = m.dataset("d");
    let shared = noise(10, 4 * MIB);
    let file = read_write(d.path("shared"));
    thread::scope(|scope| {
        for n in 0..4u64 {
            let (d, file, part) = (&d, &file, &shared[n as usize * MIB..][..MIB]);
            scope.spawn(move || {
                for (i, piece) in part.chunks(50_000).enumerate() {
                    file.write_all_at(piece, n * MIB as u64 + i as u64 * 50_000).expect("write");
                    d.write(&format!("own-{n}-{i}"), piece);
                }
            });
        }
    });
    drop(file);
    assert!(d.bytes("shared") == shared);
    for n in 0..4 {
        for (i, piece) in shared[n * MIB..][..MIB].chunks(50_000).enumerate() {
            assert!(d.bytes(&format!("own-{n}-{i}")) == piece, "file {i} of thread {n}");
        }
    }
}

/// A fifo passes bytes from one process to another.
#[test]
fn a_fifo_connects_two_processes() {
    let m = Mount::new();
    let d = m.dataset("d");
    let said = shell("mkfifo \"$1\"; echo through > \"$1\" & cat \"$1\"; wait", &[d.path("pipe")]);
    assert_eq!(said, "through\n");
    assert!(d.has("@latest/pipe"), "the version has the fifo too");
}

/// Where root makes device nodes they are kept, live and in the version.
#[test]
fn device_nodes_are_kept() {
    use std::os::unix::fs::MetadataExt;
    let m = Mount::with(if rustix::process::geteuid().is_root() { &[] } else { &["--allow-other"] });
    let d = m.dataset("d");
    run(as_root("mknod").arg(d.path("null")).args(["c", "1", "3"])).ok();
    for path in ["null", "@latest/null"] {
        let meta = d.path(path).metadata().expect("stat");
        assert_eq!((meta.mode() & 0o170_000, meta.rdev()), (0o020_000, 0x103), "{path}");
    }
}

/// statfs tells the size and free space of the disk the store is on.
#[test]
fn statfs_tells_the_truth_of_the_disk() {
    let m = Mount::new();
    let (ours, disk) = (rustix::fs::statvfs(m.point()), rustix::fs::statvfs(m.store()));
    let (ours, disk) = (ours.expect("statvfs"), disk.expect("statvfs"));
    assert_eq!(ours.f_blocks * ours.f_frsize, disk.f_blocks * disk.f_frsize, "size of the disk");
    let (free, wanted) = (ours.f_bavail * ours.f_frsize, disk.f_bavail * disk.f_frsize);
    assert!(free.abs_diff(wanted) < wanted / 10 + (1 << 30), "{free} bytes free instead of {wanted}");
    assert_eq!(ours.f_namemax, 255);
}

/// A directory cannot be read as a file, nor a missing file opened.
#[test]
fn wrong_kinds_are_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("f", "x");
    refused(fs::read(d.path("dir")), Errno::ISDIR);
    refused(fs::read(d.path("missing")), Errno::NOENT);
    refused(fs::read(d.path("f/x")), Errno::NOTDIR);
    refused(fs::remove_file(d.path("dir")), Errno::ISDIR);
    assert_eq!(fs::remove_dir(d.path("f")).map_err(|e| e.kind()), Err(ErrorKind::NotADirectory));
}
