//! Damaged packs: found, named, contained.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::harness::*;

/// The store's files of content.
fn packs_and_blobs(store: &Path) -> Vec<PathBuf> {
    let listed = ["packs", "blobs"].map(|dir| fs::read_dir(store.join(dir)));
    let entries = listed.into_iter().flatten().flatten();
    entries.map(|e| e.expect("read an entry").path()).collect()
}

/// Flips one bit of `piece`, wherever in the store's packs and blobs it lies.
#[track_caller]
fn flip(store: &Path, piece: &[u8]) {
    for path in packs_and_blobs(store) {
        let bytes = fs::read(&path).expect("read a pack");
        if let Some(at) = bytes.windows(piece.len()).position(|w| w == piece) {
            let file = OpenOptions::new().write(true).open(&path).expect("open a pack");
            return file.write_all_at(&[bytes[at] ^ 0x10], at as u64).expect("flip a bit");
        }
    }
    panic!("the piece is not in the packs");
}

/// A flipped bit in a pack is EIO on the bytes of its chunk and no others; `strata verify` exits
/// with 3 and names dataset, version and path.
#[test]
fn a_flipped_bit_is_contained_and_named() {
    let m = Mount::new();
    let d = m.dataset("photos");
    d.mkdir("dir");
    let bytes = noise(1, 4 << 20);
    d.write("dir/damaged", &bytes);
    d.write("whole", noise(2, 100_000));
    m.strata(&["verify"]).ok();
    m.down();
    flip(m.store(), &bytes[2_000_000..2_000_064]);
    m.up(&[]);
    for path in ["dir/damaged", "@v2/dir/damaged"] {
        let file = File::open(d.path(path)).expect("open");
        let mut part = vec![0; 65_536];
        let read = |part: &mut Vec<u8>, at: usize| file.read_exact_at(part, at as u64);
        refused(read(&mut part, 2_000_000 - 30_000), Errno::IO);
        for at in [0, 1_000_000, 3_000_000] {
            read(&mut part, at).unwrap_or_else(|e| panic!("{path} at {at}: {e}"));
            assert!(part == bytes[at..at + part.len()], "{path} at {at}");
        }
    }
    assert!(d.bytes("whole") == noise(2, 100_000));
    for again in [false, true] {
        let ran = m.strata(&["verify"]);
        assert_eq!(ran.code, Some(3), "{}{}", ran.stderr, ran.text());
        let said = ran.text() + &ran.stderr;
        for name in ["photos", "v2", "dir/damaged"] {
            assert!(said.contains(name), "'{name}' is not in: {said}");
        }
        assert!(!said.contains("whole"), "{said}");
        if !again {
            m.down();
        }
    }
    m.up(&[]);
    d.write("dir/damaged", "written anew");
    assert_eq!(d.text("@latest/dir/damaged"), "written anew", "the dataset goes on");
}

/// Damage that is written over by good data again heals: the same bytes stored anew are read.
#[test]
fn damage_heals_by_storing_the_bytes_again() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(3, 50_000);
    d.write("f", &bytes);
    m.down();
    flip(m.store(), &bytes[40_000..40_064]);
    m.up(&[]);
    refused(fs::read(d.path("f")), Errno::IO);
    d.write("again", &bytes);
    assert!(d.bytes("again") == bytes);
}
