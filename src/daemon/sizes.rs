//! Logical sizes: the bytes of all files of a dataset's newest version.
//!
//! The first time they are counted by walking the tree, after that by what changed since.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use crate::dataset::{Dataset, Error, Frozen, Result};
use crate::model::{DatasetId, Ino, Kind, Op, VersionNo};

/// Most versions whose changes are followed rather than the tree walked anew.
const FOLLOW_MAX: u64 = 10_000;
/// Entries read from the index at a time.
const PAGE: usize = 1024;

/// Sizes counted so far, of one version of each dataset.
#[derive(Debug, Default)]
pub struct Sizes(HashMap<DatasetId, (VersionNo, u64)>);

impl Sizes {
    /// The logical bytes of the dataset's newest version. `None`: they could not be counted until
    /// `deadline`.
    pub fn of(&mut self, dataset: &Dataset, deadline: Option<Instant>) -> Result<Option<u64>> {
        let newest = dataset.newest();
        let counted = match self.0.get(&dataset.id()) {
            Some(&(version, bytes)) if version == newest => Some(bytes),
            Some(&(version, bytes))
                if can_follow(dataset, version, newest)
                    && let Ok(bytes) = follow(dataset, (version, bytes), newest) =>
            {
                Some(bytes)
            }
            _ => count(&dataset.frozen(newest), deadline)?,
        };
        if let Some(bytes) = counted {
            self.0.insert(dataset.id(), (newest, bytes));
        }
        Ok(counted)
    }
}

fn can_follow(dataset: &Dataset, from: VersionNo, to: VersionNo) -> bool {
    from <= to
        && to.0 - from.0 <= FOLLOW_MAX
        && !dataset.rollbacks().iter().any(|&(at, _)| from < at && at <= to)
}

fn follow(dataset: &Dataset, (from, bytes): (VersionNo, u64), to: VersionNo) -> Result<u64> {
    let (before, after) = (dataset.frozen(from), dataset.frozen(to));
    let mut touched = BTreeSet::new();
    for number in from.0 + 1..=to.0 {
        for op in dataset.version(VersionNo(number))?.1.ops {
            match op {
                Op::Link { dir, name, ino, .. } => {
                    touched.insert(ino);
                    touched.extend(before.lookup(dir, &name)?.map(|entry| entry.ino));
                }
                Op::Unlink { dir, name } => touched.extend(before.lookup(dir, &name)?.map(|entry| entry.ino)),
                Op::Inode { ino, .. } => drop(touched.insert(ino)),
            }
        }
    }
    let (mut gone, mut come) = (0_u64, 0_u64);
    for ino in touched {
        gone = size_in(&before, ino)?.saturating_add(gone);
        come = size_in(&after, ino)?.saturating_add(come);
    }
    Ok(bytes.saturating_add(come).saturating_sub(gone))
}

/// A file's size in a tree; 0 where it has no name there.
fn size_in(tree: &Frozen, ino: Ino) -> Result<u64> {
    let inode = match tree.inode(ino) {
        Ok((_, inode)) if inode.kind() == Kind::File => inode,
        Ok(_) | Err(Error::Stale) => return Ok(0),
        Err(error) => return Err(error),
    };
    Ok(tree.path_of(ino, &inode)?.map_or(0, |_| inode.size()))
}

fn count(tree: &Frozen, deadline: Option<Instant>) -> Result<Option<u64>> {
    let mut bytes = 0_u64;
    let mut linked = HashSet::new();
    let mut seen = HashSet::from([Ino::ROOT]);
    let mut dirs = vec![Ino::ROOT];
    while let Some(dir) = dirs.pop() {
        let mut after = None;
        loop {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Ok(None);
            }
            let page = tree.entries(dir, after, PAGE)?;
            let Some(&(last, _)) = page.last() else { break };
            after = Some(last);
            for (_, entry) in page {
                match entry.kind {
                    Kind::Dir if seen.insert(entry.ino) => dirs.push(entry.ino),
                    Kind::File => {
                        let inode = match tree.inode(entry.ino) {
                            Ok((_, inode)) => inode,
                            Err(Error::Stale) => continue,
                            Err(error) => return Err(error),
                        };
                        if inode.nlink <= 1 || linked.insert(entry.ino) {
                            bytes = bytes.saturating_add(inode.size());
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(Some(bytes))
}
