//! Files that are mostly holes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};

use crate::harness::*;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Bytes read, written and seconds of processor time of the daemon so far.
fn effort(m: &Mount) -> (u64, u64, f64) {
    let pid = m.daemon().expect("the daemon runs").as_raw_pid();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("read what the daemon reads");
    let field = |name: &str| -> u64 {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).expect("a field of /proc/PID/io");
        line.trim().parse().expect("a number")
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read the daemon's times");
    let times: Vec<u64> =
        stat.rsplit(") ").next().expect("fields").split(' ').filter_map(|f| f.parse().ok()).collect();
    // Fields 14 and 15 of proc(5), in hundredths of a second; the third is a letter.
    let ticks = times[10] + times[11];
    (field("rchar:"), field("wchar:"), ticks as f64 / 100.0)
}

/// Does `act` and asserts that the daemon moved little data and computed little for it.
#[track_caller]
fn cheaply<T>(m: &Mount, what: &str, act: impl FnOnce() -> T) -> T {
    let before = effort(m);
    let out = act();
    let after = effort(m);
    let moved = (after.0 - before.0) + (after.1 - before.1);
    assert!(moved < 16 * MIB, "{what} moved {moved} bytes");
    assert!(after.2 - before.2 < 5.0, "{what} took {:.2} s of processor time", after.2 - before.2);
    out
}

/// Where the data of a file is.
fn data_of(file: &File) -> Vec<(u64, u64)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(data) = seek(file, SeekFrom::Data(at)) {
        at = seek(file, SeekFrom::Hole(data)).expect("data ends in a hole");
        found.push((data, at));
    }
    found
}

fn last_byte(path: &Path) -> Vec<u8> {
    let mut bytes = [0xff; 2];
    File::open(path).and_then(|f| f.read_exact_at(&mut bytes, TIB - 2)).expect("read");
    bytes.to_vec()
}

/// A file of 1 TiB with one byte at its end costs what its data does: to make, to have versions of, to
/// read in a version, to search for holes, to copy by any means, to verify, to hash, to remount.
#[test]
fn a_tebibyte_of_hole_costs_next_to_nothing() {
    let m = Mount::new();
    let d = m.dataset("d");
    let write =
        || OpenOptions::new().write(true).create(true).truncate(false).open(d.path("big")).expect("open");
    cheaply(&m, "making the file", || write().write_all_at(b"!", TIB - 1).expect("write the last byte"));
    let meta = d.path("big").metadata().expect("stat");
    assert_eq!(meta.len(), TIB);
    assert!((1..4096).contains(&meta.blocks()), "{} blocks", meta.blocks());
    cheaply(&m, "a version more", || write().write_all_at(b"middle", TIB / 2).expect("write in the middle"));
    let versions = d.versions();
    cheaply(&m, "reading versions", || {
        assert_eq!(last_byte(&d.path("@v1/big")), [0, b'!']);
        let (mut middle, file) = ([0; 6], File::open(d.path("@v1/big")).expect("open"));
        file.read_exact_at(&mut middle, TIB / 2).expect("read");
        assert_eq!(middle, [0; 6]);
        let file = File::open(d.path(&format!("@v{versions}/big"))).expect("open");
        file.read_exact_at(&mut middle, TIB / 2).expect("read");
        assert_eq!(&middle, b"middle");
    });
    cheaply(&m, "searching for holes", || {
        for path in ["big", "@latest/big"] {
            let found = data_of(&File::open(d.path(path)).expect("open"));
            assert_eq!((found.len(), found[1].1), (2, TIB), "{path}: {found:?}");
            assert!(found.iter().all(|(from, to)| to - from <= MIB), "{path}: {found:?}");
        }
    });
    cheaply(&m, "copying by copy_file_range", || {
        let (from, to) =
            (File::open(d.path("@v1/big")).expect("open"), File::create(d.path("range")).expect("create"));
        let mut left = TIB;
        while left > 0 {
            let n = copy_file_range(&from, None, &to, None, left as usize).expect("copy_file_range");
            assert!(n > 0, "copy_file_range ended {left} bytes early");
            left -= n as u64;
        }
    });
    for how in ["--sparse=always", "--sparse=auto"] {
        let (inside, outside) = (d.path("copy"), m.outside().join("copy"));
        cheaply(&m, &format!("cp {how} in the mount"), || {
            tool("cp", &[how.as_ref(), d.path("@latest/big").as_os_str(), inside.as_os_str()]);
        });
        cheaply(&m, &format!("cp {how} out of the mount"), || {
            tool("cp", &[how.as_ref(), d.path("big").as_os_str(), outside.as_os_str()]);
        });
        let meta = outside.metadata().expect("stat");
        assert!(meta.len() == TIB && meta.blocks() < 4096, "{} blocks outside", meta.blocks());
        assert_eq!((last_byte(&inside), last_byte(&outside)), (vec![0, b'!'], vec![0, b'!']));
        fs::remove_file(inside).and_then(|()| fs::remove_file(outside)).expect("remove");
    }
    assert_eq!(last_byte(&d.path("range")), [0, b'!']);
    cheaply(&m, "truncating, allocating and punching", || {
        let file = write();
        file.set_len(2 * TIB).expect("extend");
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, MIB, TIB - 2 * MIB).expect("punch a hole");
        file.set_len(TIB).expect("cut");
    });
    cheaply(&m, "looking at it all", || {
        m.strata(&["show", "d"]).ok();
        m.strata(&["verify"]).ok();
        let of = |path: &str| m.strata(&["hash", d.path(path).to_str().expect("UTF-8")]).ok();
        let id = |line: String| line.split_whitespace().next().map(str::to_owned);
        assert_eq!(id(of("@v1/big")), id(of("range")));
        assert_eq!(id(of("@v1")).as_deref(), d.log().last().expect("a version")["snapshot"].as_str());
    });
    assert!(m.pack_bytes() < 4 * MIB, "the store has {} bytes", m.pack_bytes());
    m.down();
    m.up(&[]);
    cheaply(&m, "a remount", || assert_eq!(last_byte(&m.existing("d").path("@v1/big")), [0, b'!']));
}

/// A file of many holes, among data too large for one manifest node, reads back right, and st_blocks is
/// between its data and its size.
#[test]
fn many_holes_read_back_right() {
    let m = Mount::new();
    let d = m.dataset("d");
    let parts = 1500;
    let file = File::create(d.path("f")).expect("create");
    for n in 0..parts {
        file.write_all_at(&noise(n, 1000), n * 5 * MIB).expect("write");
    }
    drop(file);
    let (data, size) = (parts * 1000, (parts - 1) * 5 * MIB + 1000);
    for path in ["f", "@latest/f"] {
        let file = File::open(d.path(path)).expect("open");
        let meta = file.metadata().expect("stat");
        assert_eq!(meta.len(), size);
        let bytes = meta.blocks() * 512;
        assert!(bytes >= data && bytes < size, "{path}: {bytes} bytes in blocks");
        assert_eq!(data_of(&file).len() as u64, parts, "{path}");
        for n in [0, 1, parts / 2, parts - 1] {
            let mut back = vec![0; 1000];
            file.read_exact_at(&mut back, n * 5 * MIB).expect("read");
            assert!(back == noise(n, 1000), "{path}: part {n}");
        }
    }
}
