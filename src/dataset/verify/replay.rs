//! A dataset's tree in memory, brought from version to version by what their records say.
//!
//! Of each inode only what goes into hashes is kept.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{Ino, Kind, Name, Op, Place, TreeHash};

use super::super::error::{Error, Result};
use super::super::frozen::Frozen;
use super::super::live::child_id;
use super::super::trie::{ChildId, Slot, Trie};

/// Entries read from the index at a time.
const PAGE: usize = 1024;

#[derive(Debug, Default)]
struct Dir {
    trie: Trie,
    /// Where it is named; `None` for the root.
    place: Option<Place>,
    /// Its hash, as long as it holds.
    tree: Option<TreeHash>,
}

#[derive(Debug, Default)]
pub struct Replay {
    dirs: HashMap<Ino, Dir>,
    leaves: HashMap<Ino, Leaf>,
    stale: BTreeSet<Ino>,
}

#[derive(Debug)]
struct Leaf {
    id: ChildId,
    /// One of its names.
    place: Option<Place>,
}

impl Replay {
    /// The tree of a version as the index has it.
    pub fn load(tree: &Frozen) -> Result<Replay> {
        let mut replay = Replay::default();
        replay.load_below(Ino::ROOT, tree)?;
        Ok(replay)
    }

    /// Adds all that is below a directory of `tree`.
    fn load_below(&mut self, dir: Ino, tree: &Frozen) -> Result<()> {
        let mut dirs = vec![dir];
        let mut seen = HashSet::from([dir]);
        while let Some(dir) = dirs.pop() {
            let mut after = None;
            loop {
                let page = tree.entries(dir, after, PAGE)?;
                let Some(&(last, _)) = page.last() else { break };
                after = Some(last);
                for (_, entry) in page {
                    self.link(dir, &entry.name, entry.ino, entry.kind);
                    if entry.kind == Kind::Dir {
                        if !seen.insert(entry.ino) {
                            return Err(Error::Invalid(format!("directory {} has two names", entry.ino.0)));
                        }
                        dirs.push(entry.ino);
                    } else {
                        self.set_inode(entry.ino, &tree.inode(entry.ino)?.1);
                    }
                }
            }
        }
        Ok(())
    }

    /// Applies the changes of a version.
    pub fn apply(&mut self, ops: &[Op]) {
        let mut unlinked = Vec::new();
        let mut kept = HashSet::new();
        for op in ops {
            match op {
                Op::Link { dir, name, ino, kind } => {
                    unlinked.extend(self.link(*dir, name, *ino, *kind));
                    kept.insert(*ino);
                }
                Op::Unlink { dir, name } => unlinked.extend(self.unlink(*dir, name)),
                Op::Inode { ino, inode } => {
                    self.set_inode(*ino, inode);
                    kept.insert(*ino);
                }
            }
        }
        // What lost a name and is not recorded anew has no name left.
        for ino in unlinked.into_iter().filter(|ino| !kept.contains(ino)) {
            self.leaves.remove(&ino);
            self.dirs.remove(&ino);
        }
    }

    /// Makes what `op` touched as it is in `tree`.
    pub fn take_over(&mut self, op: &Op, tree: &Frozen) -> Result<()> {
        let (dir, name) = match op {
            Op::Link { dir, name, .. } | Op::Unlink { dir, name } => (*dir, name),
            Op::Inode { ino, .. } => {
                match tree.inode(*ino) {
                    Ok((_, inode)) => self.set_inode(*ino, &inode),
                    // It came to be after the version restored.
                    Err(Error::Stale) => {}
                    Err(error) => return Err(error),
                }
                return Ok(());
            }
        };
        match tree.lookup(dir, name)? {
            Some(entry) => {
                let is_new = entry.kind == Kind::Dir && !self.dirs.contains_key(&entry.ino);
                self.link(dir, name, entry.ino, entry.kind);
                if entry.kind != Kind::Dir {
                    self.set_inode(entry.ino, &tree.inode(entry.ino)?.1);
                }
                // In stores of old, no record says what went with a directory.
                if is_new {
                    self.load_below(entry.ino, tree)?;
                }
            }
            None => drop(self.unlink(dir, name)),
        }
        Ok(())
    }

    /// Gives what the name meant before.
    fn link(&mut self, dir: Ino, name: &Name, ino: Ino, kind: Kind) -> Option<Ino> {
        let place = Place { dir, key: name.key() };
        if kind == Kind::Dir {
            self.dirs.entry(ino).or_default().place = Some(place);
            self.touch(ino);
        }
        self.touch(dir);
        let slot = Slot { key: place.key, name: name.clone(), ino, kind };
        let old = self.dirs.entry(dir).or_default().trie.insert(slot)?.ino;
        (old != ino).then_some(old)
    }

    fn unlink(&mut self, dir: Ino, name: &Name) -> Option<Ino> {
        self.touch(dir);
        Some(self.dirs.get_mut(&dir)?.trie.remove(&name.key())?.ino)
    }

    fn set_inode(&mut self, ino: Ino, inode: &crate::model::Inode) {
        if inode.kind() == Kind::Dir {
            return;
        }
        for place in inode.places() {
            if let Some(dir) = self.dirs.get_mut(&place.dir) {
                dir.trie.touch(&place.key);
                self.touch(place.dir);
            }
        }
        self.leaves.insert(ino, Leaf { id: child_id(&inode.body, inode.mode), place: inode.place });
    }

    /// Notes that a directory's hash, and those above it, no longer hold.
    fn touch(&mut self, dir: Ino) {
        let mut at = Some(dir);
        while let Some(ino) = at {
            if !self.stale.insert(ino) {
                return;
            }
            let place = self.dirs.get(&ino).and_then(|dir| dir.place);
            if let Some(above) = place.and_then(|place| self.dirs.get_mut(&place.dir).zip(Some(place.key))) {
                above.0.trie.touch(&above.1);
            }
            at = place.map(|place| place.dir);
        }
    }

    /// The snapshot id.
    pub fn snapshot(&mut self) -> Result<TreeHash> {
        let mut stale = Vec::new();
        // A directory may have been moved since it was noted: those above it now changed as well.
        for dir in std::mem::take(&mut self.stale) {
            self.touch(dir);
        }
        for dir in std::mem::take(&mut self.stale) {
            if let Some(depth) = self.depth(dir) {
                stale.push((depth, dir));
            }
        }
        stale.push((0, Ino::ROOT));
        stale.sort_unstable_by(|a, b| b.cmp(a));
        for &(_, dir) in &stale {
            if let Some(dir) = self.dirs.get_mut(&dir) {
                dir.tree = None;
            }
        }
        for (_, dir) in stale {
            self.hash(dir)?;
        }
        self.tree(Ino::ROOT).ok_or_else(|| Error::NotFound("the root directory".into()))
    }

    /// A directory's hash, if it is part of the tree.
    pub fn tree(&self, dir: Ino) -> Option<TreeHash> {
        self.dirs.get(&dir)?.tree
    }

    /// Steps to the root; `None` where a directory is not part of the tree.
    fn depth(&self, dir: Ino) -> Option<usize> {
        let mut depth = 0;
        let mut at = dir;
        while at != Ino::ROOT {
            let place = self.dirs.get(&at)?.place?;
            let slot = self.dirs.get(&place.dir)?.trie.get(&place.key)?;
            if slot.ino != at || depth > self.dirs.len() {
                return None;
            }
            depth += 1;
            at = place.dir;
        }
        Some(depth)
    }

    fn hash(&mut self, dir: Ino) -> Result<()> {
        let found = self.dirs.entry(dir).or_default();
        if found.tree.is_some() {
            return Ok(());
        }
        let mut trie = std::mem::take(&mut found.trie);
        let hash = trie.hash(&mut |slot| self.child(slot));
        let found = self.dirs.entry(dir).or_default();
        found.trie = trie;
        found.tree = Some(hash?);
        Ok(())
    }

    fn child(&self, slot: &Slot) -> Result<ChildId> {
        let id = match slot.kind {
            Kind::Dir => self.tree(slot.ino).map(|tree| ChildId { tag: ChildId::TAG_DIR, hash: tree.0 }),
            _ => self.leaves.get(&slot.ino).map(|leaf| leaf.id),
        };
        id.ok_or_else(|| Error::NotFound(format!("what the name {:?} stands for", slot.name)))
    }

    /// One of the paths of an inode.
    pub fn path(&self, ino: Ino) -> Option<Vec<Name>> {
        let mut path = Vec::new();
        let mut place = match self.leaves.get(&ino) {
            Some(leaf) => leaf.place,
            None => self.dirs.get(&ino)?.place,
        };
        while let Some(at) = place {
            let dir = self.dirs.get(&at.dir)?;
            path.push(dir.trie.get(&at.key)?.name.clone());
            if path.len() > self.dirs.len() {
                return None;
            }
            place = dir.place;
        }
        path.reverse();
        Some(path)
    }
}
