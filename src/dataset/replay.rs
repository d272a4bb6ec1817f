//! A dataset's tree in memory, brought from version to version by what their records say.
//!
//! Of each inode only what goes into hashes is kept. What is changed can be noted, so that it can be taken back.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{Ino, Inode, Kind, Name, Op, Place, TreeHash};

use super::error::{Error, Result};
use super::frozen::Frozen;
use super::live::child_id;
use super::trie::{ChildId, Slot, Trie};

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

#[derive(Debug)]
struct Leaf {
    id: ChildId,
    /// One of its names.
    place: Option<Place>,
}

/// What changes took the place of, in their order.
#[derive(Debug, Default)]
pub struct Journal(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// What a name meant.
    Slot(Place, Option<Slot>),
    /// Where a directory was named.
    Place(Ino, Option<Place>),
    /// A directory as it was; `None` where there was none.
    Dir(Ino, Option<Dir>),
    /// Whether something of an inode was lacking.
    Lacking(Ino, bool),
    /// What else than a directory as it was, and the names that the change concerns.
    Leaf(Ino, Option<Leaf>, Vec<Place>),
}

/// What came of the changes of a version so far.
#[derive(Debug, Default)]
pub struct Turn {
    unlinked: Vec<Ino>,
    kept: HashSet<Ino>,
}

#[derive(Debug, Default)]
pub struct Replay {
    dirs: HashMap<Ino, Dir>,
    leaves: HashMap<Ino, Leaf>,
    stale: BTreeSet<Ino>,
    /// The inodes of which something is lacking.
    lacking: HashSet<Ino>,
    /// Where changes are noted, if they are.
    journal: Option<Journal>,
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
        let mut turn = Turn::default();
        ops.iter().for_each(|op| self.change(op, &mut turn));
        self.end(turn);
    }

    /// Applies one of the changes of a version.
    pub fn change(&mut self, op: &Op, turn: &mut Turn) {
        match op {
            Op::Link { dir, name, ino, kind } => {
                turn.unlinked.extend(self.link(*dir, name, *ino, *kind));
                turn.kept.insert(*ino);
            }
            Op::Unlink { dir, name } => turn.unlinked.extend(self.unlink(*dir, name)),
            Op::Inode { ino, inode } => {
                self.set_inode(*ino, inode);
                turn.kept.insert(*ino);
            }
        }
    }

    /// Ends the changes of a version.
    pub fn end(&mut self, turn: Turn) {
        // What lost a name and is not recorded anew has no name left.
        for ino in turn.unlinked.into_iter().filter(|ino| !turn.kept.contains(ino)) {
            self.set_lacking(ino, false);
            if self.leaves.contains_key(&ino) {
                self.put_leaf(ino, None, Vec::new());
            }
            if self.dirs.contains_key(&ino) {
                self.put_dir(ino, None);
            }
        }
    }

    /// Begins to note what is changed.
    pub fn note(&mut self) {
        self.journal = Some(Journal::default());
    }

    /// Ends that, and gives what was noted.
    pub fn noted(&mut self) -> Journal {
        self.journal.take().unwrap_or_default()
    }

    /// Takes back what was noted, where nothing that came after it stays; gives what does it again.
    pub fn take_back(&mut self, journal: Journal) -> Journal {
        self.note();
        for step in journal.0.into_iter().rev() {
            match step {
                Step::Slot(place, slot) => drop(self.put_slot(place, slot)),
                Step::Place(ino, place) => self.put_place(ino, place),
                Step::Lacking(ino, is_lacking) => self.set_lacking(ino, is_lacking),
                Step::Dir(ino, dir) => self.put_dir(ino, dir),
                Step::Leaf(ino, leaf, places) => self.put_leaf(ino, leaf, places),
            }
        }
        self.noted()
    }

    /// Notes whether something of an inode is lacking.
    pub fn set_lacking(&mut self, ino: Ino, is_lacking: bool) {
        let is_new = if is_lacking { self.lacking.insert(ino) } else { self.lacking.remove(&ino) };
        if is_new {
            self.note_step(|| Step::Lacking(ino, !is_lacking));
        }
    }

    /// The path of something in the tree of which something is lacking.
    pub fn lacking(&self) -> Option<Vec<Name>> {
        self.lacking.iter().find_map(|ino| self.path(*ino))
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
            self.make_dir(ino);
            self.put_place(ino, Some(place));
        }
        self.make_dir(dir);
        let slot = Slot { key: place.key, name: name.clone(), ino, kind };
        self.put_slot(place, Some(slot)).filter(|old| *old != ino)
    }

    fn unlink(&mut self, dir: Ino, name: &Name) -> Option<Ino> {
        self.put_slot(Place { dir, key: name.key() }, None)
    }

    fn set_inode(&mut self, ino: Ino, inode: &Inode) {
        if inode.kind() != Kind::Dir {
            let leaf = Leaf { id: child_id(&inode.body, inode.mode), place: inode.place };
            self.put_leaf(ino, Some(leaf), inode.places());
        }
    }

    fn note_step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(journal) = &mut self.journal {
            journal.0.push(step());
        }
    }

    /// Gives what the name meant before.
    fn put_slot(&mut self, place: Place, slot: Option<Slot>) -> Option<Ino> {
        self.touch(place.dir);
        let trie = &mut self.dirs.get_mut(&place.dir)?.trie;
        let old = match slot {
            Some(slot) => trie.insert(slot),
            None => trie.remove(&place.key),
        };
        let ino = old.as_ref().map(|old| old.ino);
        self.note_step(|| Step::Slot(place, old));
        ino
    }

    fn make_dir(&mut self, ino: Ino) {
        if !self.dirs.contains_key(&ino) {
            self.put_dir(ino, Some(Dir::default()));
        }
    }

    fn put_dir(&mut self, ino: Ino, dir: Option<Dir>) {
        let old = match dir {
            Some(dir) => self.dirs.insert(ino, dir),
            None => self.dirs.remove(&ino),
        };
        self.note_step(|| Step::Dir(ino, old));
        self.touch(ino);
    }

    fn put_place(&mut self, ino: Ino, place: Option<Place>) {
        if let Some(dir) = self.dirs.get_mut(&ino) {
            let old = std::mem::replace(&mut dir.place, place);
            self.note_step(|| Step::Place(ino, old));
        }
        self.touch(ino);
    }

    fn put_leaf(&mut self, ino: Ino, leaf: Option<Leaf>, places: Vec<Place>) {
        for place in &places {
            if let Some(dir) = self.dirs.get_mut(&place.dir) {
                dir.trie.touch(&place.key);
                self.touch(place.dir);
            }
        }
        let old = match leaf {
            Some(leaf) => self.leaves.insert(ino, leaf),
            None => self.leaves.remove(&ino),
        };
        self.note_step(|| Step::Leaf(ino, old, places));
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
