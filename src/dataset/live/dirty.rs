//! What changed in a live tree, and turning it into the operations of a record.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::model::{Body, Ino, Inode, Kind, Name, NameKey, Op, Ops, Place, TreeHash};
use crate::store::content_id;

use super::super::climb::Climb;
use super::super::error::{Error, Result};
use super::super::trie::{ChildId, Slot};
use super::Live;

/// Names and inodes that changed since some moment.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Places of changed names, with the name and what it named at that moment, if it named anything.
    slots: BTreeMap<Place, Option<Box<(Name, Ino)>>>,
    /// Names of that moment in directories that are gone, and never come back, and what they named.
    buried: BTreeMap<Place, Box<(Name, Ino)>>,
    inodes: BTreeSet<Ino>,
    /// Files whose content changed.
    contents: BTreeSet<Ino>,
    /// Inodes whose time of change was set by request.
    timed: BTreeSet<Ino>,
    /// Whether attributes were changed by request (and not as a by-product of other changes).
    attributes: bool,
}

impl Dirty {
    /// Whether nothing changed that asks for a version: no name, no content, no attribute by request.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.contents.is_empty() && !self.attributes
    }

    /// Whether nothing changed at all.
    pub fn is_empty(&self) -> bool {
        self.is_idle() && self.inodes.is_empty() && self.buried.is_empty()
    }

    /// Whether nothing but attributes changed.
    pub fn only_attributes(&self) -> bool {
        self.slots.is_empty() && self.contents.is_empty()
    }

    /// Whether the file's content changed.
    pub fn has_content(&self, ino: Ino) -> bool {
        self.contents.contains(&ino)
    }

    /// Whether names in the directory changed.
    pub fn has_names_in(&self, dir: Ino) -> bool {
        self.slots.range(names_in(dir)).next().is_some()
    }

    /// Whether the inode changed in any way.
    pub fn has_inode(&self, ino: Ino) -> bool {
        self.inodes.contains(&ino)
    }

    /// The inodes that changed, those that had a changed name at that moment, and may be gone, included.
    pub fn inodes(&self) -> impl Iterator<Item = Ino> {
        let named = self.slots.values().flatten().map(|was| was.1);
        self.inodes.iter().copied().chain(named).chain(self.buried.values().map(|was| was.1))
    }

    /// Forgets an inode that is gone, and if it is a directory, the names in it but for those that there were.
    fn forget_inode(&mut self, ino: Ino) {
        self.inodes.remove(&ino);
        self.contents.remove(&ino);
        self.timed.remove(&ino);
        let gone: Vec<Place> = self.slots.range(names_in(ino)).map(|(place, _)| *place).collect();
        for place in gone {
            if let Some(was) = self.slots.remove(&place).flatten() {
                self.buried.insert(place, was);
            }
        }
    }
}

/// All places there can be in a directory.
fn names_in(dir: Ino) -> RangeInclusive<Place> {
    Place { dir, key: NameKey([0; 16]) }..=Place { dir, key: NameKey([0xff; 16]) }
}

impl Live {
    /// Notes that the entry `name` of `dir` is about to change.
    pub(super) fn note_slot(&mut self, dir: Ino, name: &Name) -> Result<()> {
        let key = name.key();
        let was = self.entries(dir)?.trie.get(&key).map(|s| s.ino);
        let place = Place { dir, key };
        for dirty in std::iter::once(&mut self.dirty).chain(&mut self.unlogged) {
            dirty.slots.entry(place).or_insert_with(|| was.map(|was| Box::new((name.clone(), was))));
        }
        self.touch(place)
    }

    /// Notes that an inode changed; `by_request` if that was the purpose and not a by-product.
    pub(super) fn note_inode(&mut self, ino: Ino, by_request: bool) -> Result<()> {
        let node = self.node(ino)?;
        if node.held || node.unlinked {
            return Ok(());
        }
        let places = node.inode.places();
        for dirty in std::iter::once(&mut self.dirty).chain(&mut self.unlogged) {
            dirty.inodes.insert(ino);
            dirty.attributes |= by_request;
        }
        places.into_iter().try_for_each(|place| self.touch(place))
    }

    /// Notes that a file's content changed.
    pub(super) fn note_content(&mut self, ino: Ino) -> Result<()> {
        self.note_inode(ino, false)?;
        if self.dirty.has_inode(ino) {
            for dirty in std::iter::once(&mut self.dirty).chain(&mut self.unlogged) {
                dirty.contents.insert(ino);
            }
        }
        Ok(())
    }

    /// Notes whether a changed inode's time of change is one somebody asked for, or that of a write.
    pub(super) fn note_mtime(&mut self, ino: Ino, by_request: bool) {
        if by_request && self.dirty.has_inode(ino) {
            self.dirty.timed.insert(ino);
        } else {
            self.dirty.timed.remove(&ino);
        }
    }

    /// Takes an inode that lost its last name out of the changes.
    pub(super) fn forget_changes(&mut self, ino: Ino) {
        for dirty in std::iter::once(&mut self.dirty).chain(&mut self.unlogged) {
            dirty.forget_inode(ino);
        }
        self.stale.remove(&ino);
        self.rehashed.remove(&ino);
    }

    /// Forgets the hashes that depend on what is named at `place`.
    fn touch(&mut self, mut place: Place) -> Result<()> {
        loop {
            let node = self.node(place.dir)?;
            if node.unlinked {
                return Ok(());
            }
            node.tree = None;
            if let Some(entries) = &mut node.entries {
                entries.trie.touch(&place.key);
            }
            let above = node.inode.place;
            self.rehashed.insert(place.dir);
            let known = !self.stale.insert(place.dir);
            match above {
                Some(above) if !known => place = above,
                _ => return Ok(()),
            }
        }
    }

    /// Whether anything asks for a version.
    pub fn is_idle(&self) -> bool {
        self.dirty.is_idle()
    }

    /// Whether nothing asks for a version but the making or emptying of files that are exempt.
    pub fn is_idle_but_for(&mut self, is_exempt: impl Fn(&Ino) -> bool) -> Result<bool> {
        if self.dirty.attributes || !self.dirty.contents.iter().all(&is_exempt) {
            return Ok(false);
        }
        let places: Vec<Place> = self.dirty.slots.keys().copied().collect();
        for place in places {
            let named = self.entries(place.dir)?.trie.get(&place.key).map(|slot| slot.ino);
            if !named.is_some_and(|ino| is_exempt(&ino)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The changes since the head version, as operations. `real`: inodes that are as the head version has
    /// them, times aside that change by themselves, are left out: setting attributes to what they are, or
    /// writing what was there, makes no version.
    pub fn changes(&mut self, real: bool) -> Result<Ops> {
        if let Some(whole) = &mut self.whole {
            return Ok(std::mem::take(&mut whole.ops));
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut ops = Ops::default();
        let mut names_changed_in = BTreeSet::new();
        // Names come first.
        let done = self.each_op(&dirty, true, &mut |live, op| {
            if real {
                names_changed_in.extend(op.names_in());
                if let Op::Inode { ino, inode } = &op
                    && let Some((_, stored)) = live.store.inode(live.dataset, *ino, &live.head.view)?
                {
                    let timed = dirty.timed.contains(ino) || names_changed_in.contains(ino);
                    if same_but_for_times(&stored, inode, timed) {
                        return Ok(());
                    }
                }
            }
            ops.push(&op);
            Ok(())
        });
        self.dirty = dirty;
        done.map(|()| ops)
    }

    /// The changes since the last pending record, as operations; they count as logged once
    /// [`Live::logged`] is called.
    pub fn unlogged_changes(&mut self) -> Result<Vec<Op>> {
        let Some(dirty) = self.unlogged.take() else { return Ok(Vec::new()) };
        let mut ops = Vec::new();
        let done = self.each_op(&dirty, false, &mut |_, op| {
            ops.push(op);
            Ok(())
        });
        self.unlogged = Some(dirty);
        done.map(|()| ops)
    }

    /// Forgets the unlogged changes: a record holds them now.
    pub fn logged(&mut self) {
        self.unlogged = Some(Dirty::default());
    }

    /// Has the changes from here on not noted as unlogged: at once, they become a version, or nothing.
    pub fn log_nothing(&mut self) {
        self.unlogged = None;
    }

    /// Forgets all changes: the head version holds them now.
    pub fn recorded(&mut self) {
        self.dirty = Dirty::default();
        self.unlogged = Some(Dirty::default());
        self.rehashed.clear();
        self.show_whole();
    }

    /// Calls `each` for every change, names first. `net`: leave out names that are again what they were.
    fn each_op(
        &mut self,
        dirty: &Dirty,
        net: bool,
        each: &mut dyn FnMut(&mut Live, Op) -> Result<()>,
    ) -> Result<()> {
        for (place, was) in &dirty.buried {
            each(self, Op::Unlink { dir: place.dir, name: was.0.clone() })?;
        }
        for (place, was) in &dirty.slots {
            let dir = place.dir;
            let now = self.entries(dir)?.trie.get(&place.key).cloned();
            let was = was.as_deref();
            let was_ino = was.map(|(_, ino)| *ino);
            match (now, was) {
                (Some(Slot { name, ino, kind, .. }), _) if !net || was_ino != Some(ino) => {
                    each(self, Op::Link { dir, name, ino, kind })?;
                }
                (None, Some((name, _))) => each(self, Op::Unlink { dir, name: name.clone() })?,
                _ => {}
            }
        }
        for &ino in &dirty.inodes {
            let inode = self.node(ino)?.inode.clone();
            each(self, Op::Inode { ino, inode })?;
        }
        Ok(())
    }

    /// The snapshot id of the live tree (held files aside), and the hashes of all other directories
    /// that changed since the head version.
    pub fn hashes(&mut self) -> Result<(TreeHash, Vec<(Ino, TreeHash)>)> {
        if let Some(whole) = &mut self.whole {
            return Ok((whole.snapshot, std::mem::take(&mut whole.trees)));
        }
        let mut stale = Vec::with_capacity(self.stale.len());
        for &dir in &self.stale.clone() {
            let mut depth = 0;
            let mut at = self.node(dir)?.inode.place;
            let mut climb = Climb::default();
            while let Some(place) = at {
                climb.step(place.dir)?;
                depth += 1;
                at = self.node(place.dir)?.inode.place;
            }
            stale.push((depth, dir));
        }
        // Deepest first, so that a directory finds its children's hashes done.
        stale.sort_unstable_by(|a, b| b.cmp(a));
        for (_, dir) in stale {
            self.hash_dir(dir)?;
        }
        let root = self.hash_dir(Ino::ROOT)?;
        self.stale.clear();
        let mut trees = Vec::new();
        for &dir in self.rehashed.clone().iter().filter(|&&dir| dir != Ino::ROOT) {
            trees.push((dir, self.hash_dir(dir)?));
        }
        Ok((root, trees))
    }

    fn hash_dir(&mut self, dir: Ino) -> Result<TreeHash> {
        if let Some(hash) = &self.node(dir)?.tree {
            return Ok(**hash);
        }
        let mut trie = std::mem::take(&mut self.entries(dir)?.trie);
        let hash = trie.hash(&mut |slot| self.child_id(slot));
        self.entries(dir)?.trie = trie;
        let hash = hash?;
        self.node(dir)?.tree = Some(Box::new(hash));
        Ok(hash)
    }

    fn child_id(&mut self, slot: &Slot) -> Result<ChildId> {
        if slot.kind == Kind::Dir {
            let known = self.nodes.get(&slot.ino).and_then(|n| n.tree.as_deref().copied());
            let hash = match known {
                Some(hash) => hash,
                None => self
                    .store
                    .tree(self.dataset, slot.ino, &self.head.view)?
                    .map(|(_, hash)| hash)
                    .ok_or_else(|| Error::NotFound(format!("the hash of directory {:?}", slot.name)))?,
            };
            return Ok(ChildId { tag: ChildId::TAG_DIR, hash: hash.0 });
        }
        match self.nodes.get(&slot.ino) {
            Some(node) => Ok(child_id(&node.inode.body, node.inode.mode)),
            None => {
                let inode = self.stored_inode(slot.ino)?;
                Ok(child_id(&inode.body, inode.mode))
            }
        }
    }
}

/// What an inode that is no directory contributes to its directory's hash.
pub fn child_id(body: &Body, mode: u32) -> ChildId {
    match body {
        Body::File(content) => {
            let executable = mode & 0o100 != 0;
            let tag = if executable { ChildId::TAG_EXECUTABLE } else { ChildId::TAG_FILE };
            ChildId { tag, hash: content_id(content).0 }
        }
        Body::Symlink(target) => {
            ChildId { tag: ChildId::TAG_SYMLINK, hash: *blake3::hash(target).as_bytes() }
        }
        Body::Special(kind, device) => {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&device.to_be_bytes());
            ChildId { tag: ChildId::TAG_SPECIAL + *kind as u8, hash }
        }
        Body::Dir => ChildId { tag: ChildId::TAG_DIR, hash: [0; 32] },
    }
}

fn same_but_for_times(a: &Inode, b: &Inode, timed: bool) -> bool {
    let mtime = if timed { a.mtime } else { b.mtime };
    let a = Inode { ctime: b.ctime, mtime, ..a.clone() };
    a == *b
}
