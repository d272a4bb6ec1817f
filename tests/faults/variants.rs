//! What a disk may hold once power failed: of all that was not synced, any part.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::Random;

use super::disk::{Disk, FileOp, FileState, Id, Names, Object, apply, range_of};

/// Files by path; `None` for a directory.
pub type Snapshot = BTreeMap<String, Option<Vec<u8>>>;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing but what was synced.
    Synced,
    /// Everything.
    All,
    /// Everything, but of the last write only the first half.
    LastTorn,
    /// Everything but what the index did.
    IndexLost,
    /// Everything but what the log did: the index is ahead of it.
    LogLost,
    /// What was synced, and the log.
    LogOnly,
    /// Of each file and directory what was synced, and the last thing done to it, though not what was
    /// done to it before.
    LastFirst,
    /// Any part, by seed.
    Some(u64),
    /// Everything: the daemon was killed, the machine lives.
    Killed,
    /// The same, in the middle of its last write.
    KilledTorn,
}

/// Of one object.
#[derive(Clone, Copy)]
enum Kept {
    Synced,
    All,
    Last,
    Part,
}

impl Variant {
    /// Whether the machine went down.
    pub fn power_failed(self) -> bool {
        !matches!(self, Variant::Killed | Variant::KilledTorn)
    }

    fn kept(self, path: &str, random: &mut Random) -> Kept {
        let (index, log) = (path.contains("/index"), path.contains("/packs"));
        let kept = |all: bool| if all { Kept::All } else { Kept::Synced };
        match self {
            Variant::Synced => Kept::Synced,
            Variant::LastFirst => Kept::Last,
            Variant::All | Variant::Killed | Variant::LastTorn | Variant::KilledTorn => Kept::All,
            Variant::IndexLost => kept(!index),
            Variant::LogLost => kept(!log),
            Variant::LogOnly => kept(log),
            Variant::Some(_) => match random.below(6) {
                0 => Kept::Synced,
                1 => Kept::All,
                _ => Kept::Part,
            },
        }
    }

    /// What is found on the disk. `last`: the file that the last thing that happened was a write to.
    pub fn of(self, disk: &Disk, last: Option<Id>) -> Snapshot {
        let seed = if let Variant::Some(seed) = self { seed } else { 0 };
        let mut random = Random::new(seed);
        let torn = last.filter(|_| matches!(self, Variant::LastTorn | Variant::KilledTorn));
        let mut snapshot = Snapshot::new();
        let mut todo = vec![(String::new(), 0)];
        while let Some((path, id)) = todo.pop() {
            let kept = self.kept(&path, &mut random);
            let found = match &disk.objects[id] {
                Object::File(file) if torn == Some(id) => Some(all_but_half(file)),
                Object::File(file) => Some(match kept {
                    Kept::Synced => file.durable.clone(),
                    Kept::All if self.power_failed() => file.written(),
                    Kept::All => file.now(),
                    Kept::Last => {
                        let mut bytes = file.durable.clone();
                        file.ops.last().iter().for_each(|op| apply(op, &mut bytes));
                        bytes
                    }
                    Kept::Part => part(file, &mut random),
                }),
                Object::Dir(dir) => {
                    let names: Names = match kept {
                        Kept::Synced => dir.durable.clone(),
                        Kept::All => dir.now(),
                        Kept::Last => {
                            let mut names = dir.durable.clone();
                            dir.ops.last().iter().for_each(|op| op.apply(&mut names));
                            names
                        }
                        Kept::Part => {
                            let mut names = dir.durable.clone();
                            let ops = dir.ops.iter().filter(|_| random.below(2) == 0);
                            ops.for_each(|op| op.apply(&mut names));
                            names
                        }
                    };
                    let below =
                        |name: &str| if path.is_empty() { name.into() } else { format!("{path}/{name}") };
                    todo.extend(names.iter().map(|(name, id)| (below(name), *id)));
                    None
                }
            };
            if !path.is_empty() {
                snapshot.insert(path, found);
            }
        }
        snapshot
    }
}

/// The file without the second half of the last write to it.
fn all_but_half(file: &FileState) -> Vec<u8> {
    let Some((FileOp::Write(at, new), before)) = file.ops.split_last() else { return file.now() };
    let before = FileState { durable: file.durable.clone(), ops: before.to_vec(), cached: None };
    let mut bytes = before.written();
    apply(&FileOp::Write(*at, new[..new.len() / 2].to_vec()), &mut bytes);
    bytes
}

/// The file with some of what was done to it: each page as of some moment since the last sync, some pages
/// torn between sectors, and the size as of some moment.
fn part(file: &FileState, random: &mut Random) -> Vec<u8> {
    const SECTOR: usize = 512;
    let moments = file.ops.len() + 1;
    let mut sizes = vec![file.durable.len()];
    for op in &file.ops {
        let last = sizes[sizes.len() - 1];
        sizes.push(match op {
            FileOp::Size(size) => *size as usize,
            FileOp::Write(at, new) => last.max(range_of(*at, new).end),
        });
    }
    let longest = sizes.iter().copied().max().unwrap_or(0);
    let mut until = vec![0; longest.div_ceil(SECTOR)];
    for page in until.chunks_mut(4096 / SECTOR) {
        page.fill(random.below(moments));
        if random.below(4) == 0 {
            let (cut, other) = (random.below(page.len()), random.below(moments));
            page[cut..].fill(other);
        }
    }
    let mut bytes = file.durable.clone();
    bytes.resize(longest, 0);
    for (n, op) in file.ops.iter().enumerate() {
        let range = match op {
            FileOp::Write(at, new) => range_of(*at, new),
            FileOp::Size(size) => *size as usize..longest,
        };
        let mut from = range.start;
        while from < range.end {
            let sector = from / SECTOR;
            let to = ((sector + 1) * SECTOR).min(range.end);
            if n < until[sector] {
                match op {
                    FileOp::Write(_, new) => {
                        bytes[from..to].copy_from_slice(&new[from - range.start..to - range.start]);
                    }
                    FileOp::Size(_) => bytes[from..to].fill(0),
                }
            }
            from = to;
        }
    }
    bytes.resize(sizes[random.below(moments)], 0);
    bytes
}

/// What tells a snapshot from others.
pub fn hash(snapshot: &Snapshot) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (path, bytes) in snapshot {
        hasher.update(path.as_bytes()).update(&[0, u8::from(bytes.is_some())]);
        let bytes = bytes.as_deref().unwrap_or_default();
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hasher.finalize().into()
}

/// Makes a directory of a snapshot.
pub fn write(snapshot: &Snapshot, dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).expect("make a directory");
    for (path, bytes) in snapshot {
        match bytes {
            Some(bytes) => fs::write(dir.join(path), bytes),
            None => fs::create_dir(dir.join(path)),
        }
        .unwrap_or_else(|e| panic!("make {path}: {e}"));
    }
}
