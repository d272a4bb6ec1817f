//! Random operations on the mount beside a plain directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags, fallocate, linkat, renameat_with};

use crate::harness::*;

/// An operation on the tree.
#[derive(Debug)]
pub enum Op {
    Write(String, Vec<u8>),
    WriteAt(String, u64, Vec<u8>),
    Append(String, Vec<u8>),
    Truncate(String, u64),
    Punch(String, u64, u64),
    Mkdir(String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, RenameFlags),
    Link(String, String),
    Symlink(String, String),
    Chmod(String, u32),
}

/// A path among few, so that operations meet each other: `b`, `a/c`, `a/b/c`, ….
fn path(random: &mut Random) -> String {
    let names: Vec<_> = (0..1 + random.below(3)).map(|_| ["a", "b", "c", "d"][random.below(4)]).collect();
    names.join("/")
}

/// Some operation, which may well be refused.
pub fn op(random: &mut Random) -> Op {
    let at = path(random);
    let large = random.below(6) == 0;
    let len = if large { random.below(400_000) } else { random.below(3000) };
    match random.below(24) {
        0..=5 => Op::Write(at, random.bytes(len)),
        6..=7 => Op::WriteAt(at, random.below(500_000) as u64, random.bytes(len)),
        8..=9 => Op::Append(at, random.bytes(len)),
        10 => Op::Truncate(at, random.below(300_000) as u64),
        11 => Op::Punch(at, random.below(200_000) as u64, 1 + random.below(200_000) as u64),
        12..=14 => Op::Mkdir(at),
        15 => Op::Unlink(at),
        16 => Op::Rmdir(at),
        17..=18 => Op::Rename(at, path(random), RenameFlags::empty()),
        19 => Op::Rename(at, path(random), RenameFlags::NOREPLACE),
        20 => Op::Rename(at, path(random), RenameFlags::EXCHANGE),
        21 => Op::Link(at, path(random)),
        22 => Op::Symlink(at, path(random)),
        _ => Op::Chmod(at, 0o600 | (random.below(8) as u32) << 3 | random.below(8) as u32),
    }
}

/// Does the operation below `root`. Symlinks are never followed, so nothing leaves the tree.
pub fn apply(root: &Path, op: &Op) -> io::Result<()> {
    let at = |path: &str| {
        let full = root.join(path);
        let mut above = full.ancestors().take_while(|p| *p != root);
        match above.any(Path::is_symlink) {
            true => Err(io::Error::from(rustix::io::Errno::LOOP)),
            false => Ok(full),
        }
    };
    let open = |path: &str| OpenOptions::new().write(true).open(at(path)?);
    match op {
        Op::Write(p, bytes) => fs::write(at(p)?, bytes),
        Op::WriteAt(p, offset, bytes) => open(p)?.write_all_at(bytes, *offset),
        Op::Append(p, bytes) => OpenOptions::new().append(true).open(at(p)?)?.write_all(bytes),
        Op::Truncate(p, size) => open(p)?.set_len(*size),
        Op::Punch(p, offset, len) => {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            Ok(fallocate(open(p)?, punch, *offset, *len)?)
        }
        Op::Mkdir(p) => fs::create_dir(at(p)?),
        Op::Unlink(p) => fs::remove_file(root.join(p)),
        Op::Rmdir(p) => fs::remove_dir(root.join(p)),
        Op::Rename(from, to, flags) => Ok(renameat_with(CWD, root.join(from), CWD, root.join(to), *flags)?),
        Op::Link(from, to) => Ok(linkat(CWD, root.join(from), CWD, root.join(to), AtFlags::empty())?),
        Op::Symlink(p, target) => symlink(target, root.join(p)),
        Op::Chmod(p, mode) => File::open(at(p)?)?.set_permissions(fs::Permissions::from_mode(*mode)),
    }
}

fn timeless(mut tree: BTreeMap<PathBuf, Facts>) -> BTreeMap<PathBuf, Facts> {
    tree.values_mut().for_each(|f| f.mtime = (0, 0));
    tree
}

fn run_beside(seed: u64, policy: &str) {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy(policy);
    let plain = m.outside();
    fs::set_permissions(&plain, d.root().metadata().expect("stat").permissions()).expect("chmod");
    let (mut random, mut kept) = (Random::new(seed), Vec::new());
    for step in 0..500 {
        let op = op(&mut random);
        let (ours, theirs) = (apply(d.root(), &op), apply(&plain, &op));
        let errno = |r: io::Result<()>| r.err().map(|e| e.raw_os_error());
        assert_eq!(
            errno(ours),
            errno(theirs),
            "seed {seed}, step {step}: {op:?} here and on the plain directory"
        );
        if step % 25 == 24 {
            let version = d.versions();
            let now = facts(&d.path(&format!("@v{version}")));
            assert_same_facts(&timeless(facts(d.root())), &timeless(facts(&plain)));
            assert_same_facts(&timeless(now.clone()), &timeless(facts(&plain)));
            kept.push((version, now));
        }
        if step == 300 {
            m.kill();
            m.up(&[]);
        }
    }
    m.down();
    m.up(&[]);
    assert_same_facts(&timeless(facts(d.root())), &timeless(facts(&plain)));
    for (version, tree) in kept {
        assert_same_facts(&facts(&d.path(&format!("@v{version}"))), &tree);
    }
    m.strata(&["verify"]).ok();
}

/// Random operations give the results and the tree that they give in a plain directory; versions
/// stay what they were, across a kill and a remount.
#[test]
fn random_operations_match_a_plain_directory() {
    for seed in 1..=3 {
        run_beside(seed, "every-write");
    }
}

/// The same under the settle policy.
#[test]
fn random_operations_match_when_settling() {
    run_beside(4, "settle=60s");
}
