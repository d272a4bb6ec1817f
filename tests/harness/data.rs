//! Seeded data, and the comparison of directory trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// A small generator of repeatable pseudo-random numbers (xorshift64*).
pub struct Random(u64);

impl Random {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((self.number() >> 33) as usize) % limit
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

/// Bytes that do not compress, by seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// Hexadecimal digits, which compress to half, by seed.
pub fn digits(seed: u64, len: usize) -> Vec<u8> {
    let digit = |byte: u8| b"0123456789abcdef"[usize::from(byte & 15)];
    noise(seed, len).into_iter().map(digit).collect()
}

/// What must be equal in two trees: kind, mode, owner, times and content of each path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// File type and permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Time of last change of content: seconds, nanoseconds.
    pub mtime: (i64, i64),
    /// Number of names (regular files only).
    pub links: u64,
    /// Size, and the content's BLAKE3 (regular files), or a symlink's target.
    pub content: (u64, Vec<u8>),
}

/// The facts of everything below `root`, and of itself under the empty path.
///
/// What is read for a directory is its listing, so names that only resolve do not appear.
pub fn facts(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        if full.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            let entries = fs::read_dir(&full).unwrap_or_else(|e| panic!("list {}: {e}", full.display()));
            todo.extend(entries.map(|e| path.join(e.expect("read a directory entry").file_name())));
        }
        let of = facts_of(&full);
        assert!(found.insert(path, of).is_none(), "{} is listed twice", full.display());
    }
    found
}

fn facts_of(full: &Path) -> Facts {
    let meta = full.symlink_metadata().unwrap_or_else(|e| panic!("stat {}: {e}", full.display()));
    let content = if meta.is_file() {
        let bytes = fs::read(full).unwrap_or_else(|e| panic!("read {}: {e}", full.display()));
        assert_eq!(bytes.len() as u64, meta.len(), "size of {}", full.display());
        (meta.len(), blake3::hash(&bytes).as_bytes().to_vec())
    } else if meta.is_symlink() {
        (0, fs::read_link(full).expect("read a symlink").as_os_str().as_bytes().to_vec())
    } else {
        assert!(meta.is_dir() || meta.file_type().is_fifo(), "kind of {}", full.display());
        (0, Vec::new())
    };
    Facts {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        links: if meta.is_file() { meta.nlink() } else { 0 },
        content,
    }
}

/// Asserts that two trees hold the same, and says the first paths that differ.
#[track_caller]
pub fn assert_same_tree(left: &Path, right: &Path) {
    assert_same_facts(&facts(left), &facts(right));
}

/// Asserts that two trees' facts are equal, and says the first paths that differ.
#[track_caller]
pub fn assert_same_facts(left: &BTreeMap<PathBuf, Facts>, right: &BTreeMap<PathBuf, Facts>) {
    let paths = left.keys().chain(right.keys().filter(|p| !left.contains_key(*p)));
    let differing: Vec<_> = paths.filter(|p| left.get(*p) != right.get(*p)).take(5).collect();
    let show = |p: &&PathBuf| format!("{}: {:?} / {:?}", p.display(), left.get(*p), right.get(*p));
    assert!(
        differing.is_empty(),
        "trees differ:\n{}",
        differing.iter().map(show).collect::<Vec<_>>().join("\n")
    );
}

/// A tree of `files` small files (1 byte to 20 KiB) in nested directories, with symlinks, a hard
/// link, an executable, an empty file and an empty directory.
pub fn sample_tree(root: &Path, seed: u64, files: usize) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mut random = Random::new(seed);
    fs::create_dir_all(root.join("empty dir")).expect("make a directory");
    for n in 0..files {
        let dir = root.join(format!("part-{}/{}", n % 7, n % 3));
        fs::create_dir_all(&dir).expect("make a directory");
        let len = 1 + random.below(20 << 10);
        fs::write(dir.join(format!("{n:05}.bin")), random.bytes(len)).expect("write a file");
    }
    fs::write(root.join("empty"), "").expect("write a file");
    fs::write(root.join("script"), "#!/bin/sh\n").expect("write a file");
    fs::set_permissions(root.join("script"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::hard_link(root.join("script"), root.join("part-0/script too")).expect("link");
    symlink("part-0/0", root.join("link")).expect("make a symlink");
    symlink("nowhere", root.join("dangling")).expect("make a symlink");
    age(root);
}

/// Sets times of the past with nanoseconds, each its own, as files that are copied have them (rsync
/// takes files of the same size and second for equal).
pub fn age(root: &Path) {
    // Reversed, so that a directory comes after all that is in it.
    for (n, path) in facts(root).into_keys().rev().enumerate() {
        let time = Timespec { tv_sec: 1_000_000_000 + n as i64, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).expect("set times");
    }
}
