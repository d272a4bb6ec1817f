//! Logical sizes: the bytes of all files of a version.
//!
//! The first time they are counted by walking the tree, after that by what changed since.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use crate::model::{Dirent, Ino, Inode, Kind, Op, VersionNo};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::history::common_past;

/// Most versions whose changes are followed rather than the tree walked anew.
const FOLLOW_MAX: usize = 10_000;
/// Entries read from the index at a time.
const PAGE: usize = 1024;

impl Dataset {
    /// The bytes of all files of a version, of each once however many names it has. `None`: they could not be
    /// counted until `deadline`.
    pub fn size_of(&self, version: VersionNo, deadline: Option<Instant>) -> Result<Option<u64>> {
        // Held all the time: who comes meanwhile has no need to count the same.
        let mut known = self.counted.lock();
        let followed = match *known {
            // Where a record cannot be read, the tree still can.
            Some((from, bytes)) => follow(self, (from, bytes), version).unwrap_or_default(),
            None => None,
        };
        let counted = match followed {
            Some(bytes) => Some(bytes),
            None => count(&self.frozen(version), deadline)?,
        };
        if let Some(bytes) = counted {
            *known = Some((version, bytes));
        }
        Ok(counted)
    }
}

/// The bytes of `to`, where `from` has `bytes`; `None` where too much lies between them.
fn follow(dataset: &Dataset, (from, bytes): (VersionNo, u64), to: VersionNo) -> Result<Option<u64>> {
    if from == to {
        return Ok(Some(bytes));
    }
    let (before, after) = (dataset.frozen(from), dataset.frozen(to));
    let common = common_past(&before, &after);
    let far = |tree: &Frozen| tree.versions_after(common).nth(FOLLOW_MAX).is_some();
    if far(&before) || far(&after) {
        return Ok(None);
    }
    let (mut touched, mut dirs) = (BTreeSet::new(), BTreeSet::new());
    for number in before.versions_after(common).chain(after.versions_after(common)) {
        for op in dataset.version(number)?.1.ops {
            match op {
                Op::Link { dir, name, .. } | Op::Unlink { dir, name } => {
                    let named = [before.lookup(dir, &name)?, after.lookup(dir, &name)?];
                    for entry in named.into_iter().flatten() {
                        touched.insert(entry.ino);
                        dirs.extend((entry.kind == Kind::Dir).then_some(entry.ino));
                    }
                }
                Op::Inode { ino, .. } => drop(touched.insert(ino)),
            }
        }
    }
    let (mut gone, mut come) = (Sizer::new(&before), Sizer::new(&after));
    for dir in dirs {
        // In stores of old, what was below a directory that went or came as a whole is not recorded by itself.
        let tree = match (gone.is_reached(dir)?, come.is_reached(dir)?) {
            (true, false) => &before,
            (false, true) => &after,
            _ => continue,
        };
        each_file(tree, dir, || true, &mut |_, entry, _| touched.extend([entry.ino]))?;
    }
    let mut bytes = bytes;
    for ino in touched {
        bytes = bytes.saturating_add(come.size(ino)?).saturating_sub(gone.size(ino)?);
    }
    Ok(Some(bytes))
}

/// Sizes of single files in a tree.
#[derive(Debug)]
pub(super) struct Sizer<'a> {
    tree: &'a Frozen,
    /// Directories, and whether they have a path from the root: with a directory all below it is gone.
    reached: HashMap<Ino, bool>,
}

impl<'a> Sizer<'a> {
    /// In this tree.
    pub fn new(tree: &'a Frozen) -> Sizer<'a> {
        Sizer { tree, reached: HashMap::new() }
    }

    /// A file's size; 0 of what is no file, or has no path.
    pub fn size(&mut self, ino: Ino) -> Result<u64> {
        let inode = match self.tree.inode(ino) {
            Ok((_, inode)) if inode.kind() == Kind::File => inode,
            Ok(_) | Err(Error::Stale) => return Ok(0),
            Err(error) => return Err(error),
        };
        for place in inode.places() {
            let entry = self.tree.entry(place.dir, place.key)?;
            if entry.is_some_and(|entry| entry.ino == ino) && self.is_reached(place.dir)? {
                return Ok(inode.size());
            }
        }
        Ok(0)
    }

    /// Whether a directory has a path from the root.
    fn is_reached(&mut self, dir: Ino) -> Result<bool> {
        Ok(match self.reached.entry(dir) {
            Occupied(known) => *known.get(),
            Vacant(unknown) => *unknown.insert(self.tree.dir_path(dir)?.is_some()),
        })
    }
}

fn count(tree: &Frozen, deadline: Option<Instant>) -> Result<Option<u64>> {
    let mut bytes = 0_u64;
    let mut linked = HashSet::new();
    let in_time = || deadline.is_none_or(|deadline| Instant::now() <= deadline);
    let all = each_file(tree, Ino::ROOT, in_time, &mut |_, entry, inode| {
        if inode.nlink <= 1 || linked.insert(entry.ino) {
            bytes = bytes.saturating_add(inode.size());
        }
    })?;
    Ok(all.then_some(bytes))
}

/// Calls `each` for every name of a file below `dir`, with the directory that it is in, as long as `go_on` says.
/// Gives whether that were all.
pub(super) fn each_file(
    tree: &Frozen,
    dir: Ino,
    go_on: impl Fn() -> bool,
    each: &mut dyn FnMut(Ino, Dirent, Inode),
) -> Result<bool> {
    let mut seen = HashSet::from([dir]);
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        let mut after = None;
        loop {
            if !go_on() {
                return Ok(false);
            }
            let page = tree.entries(dir, after, PAGE)?;
            let Some(&(last, _)) = page.last() else { break };
            after = Some(last);
            for (_, entry) in page {
                match entry.kind {
                    Kind::Dir if seen.insert(entry.ino) => dirs.push(entry.ino),
                    Kind::File => match tree.inode(entry.ino) {
                        Ok((_, inode)) => each(dir, entry, inode),
                        Err(Error::Stale) => {}
                        Err(error) => return Err(error),
                    },
                    _ => {}
                }
            }
        }
    }
    Ok(true)
}
