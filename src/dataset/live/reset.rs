//! Putting another version's tree in the place of the live one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Content, Ino, Name, Op};

use super::super::error::{Error, Result};
use super::super::open_file::OpenFile;
use super::super::trie::Slot;
use super::{Dirty, Head, Live, Node};

/// Names and inodes the kernel may have cached and that are no longer as they were.
#[derive(Debug, Default)]
pub struct Invalid {
    /// Names, by directory.
    pub names: BTreeSet<(Ino, Name)>,
    /// Inodes whose attributes or content changed.
    pub inodes: BTreeSet<Ino>,
    /// Directories that are so new that the kernel knows of nothing in them.
    pub(super) unheard: BTreeSet<Ino>,
}

/// An open file and the content it must now have.
pub type Reopened = (Arc<OpenFile>, Content);

impl Invalid {
    /// This and what is in another.
    pub fn and(mut self, other: Invalid) -> Invalid {
        self.names.extend(other.names);
        self.inodes.extend(other.inodes);
        self.unheard.extend(other.unheard);
        self
    }

    /// Adds what `op` changed.
    pub fn add(&mut self, op: Op) {
        match op {
            Op::Link { dir, name, .. } | Op::Unlink { dir, name } => {
                self.names.insert((dir, name));
            }
            Op::Inode { ino, .. } => {
                self.inodes.insert(ino);
            }
        }
    }
}

impl Live {
    /// How many inodes are in memory.
    pub fn in_memory(&self) -> usize {
        self.nodes.len()
    }

    /// Everything in memory, which is all that the kernel can have cached unless something was dropped.
    pub fn everything(&self) -> Invalid {
        let mut invalid = Invalid::default();
        for (ino, node) in &self.nodes {
            invalid.inodes.insert(*ino);
            if let Some(entries) = &node.entries {
                entries.trie.scan(0, &mut |slot| {
                    invalid.names.insert((*ino, slot.name.clone()));
                    true
                });
            }
        }
        invalid
    }

    /// Takes up the tree of `head`; there must be no changes. Files that are open stay open: one that
    /// is not named any more lives on until it is closed, and for one that is, or is again, the open state
    /// and the content it must now have are returned, to be set once the tree's lock is released.
    pub fn reset(&mut self, head: Head) -> Result<Vec<Reopened>> {
        self.head = head;
        self.usage.forget();
        // A head that comes from elsewhere may have inodes of its own.
        self.next_ino = self.next_ino.max(self.store.max_ino(self.dataset)?.0 + 1);
        self.dirty = Dirty::default();
        self.unlogged = Some(Dirty::default());
        self.stale.clear();
        self.rehashed.clear();
        self.whole = None;
        let nodes = std::mem::take(&mut self.nodes);
        self.trimmed = true;
        let held: Vec<(Ino, Slot)> = nodes.iter().flat_map(|(&dir, node)| held_in(dir, node)).collect();
        let mut changed = Vec::new();
        for (ino, mut node) in nodes.into_iter().filter(|(_, node)| node.opens > 0) {
            node.entries = None;
            node.tree = None;
            if !node.held {
                match self.stored_named(ino)? {
                    Some(Node { inode: stored, uncertain, .. }) => {
                        (node.uncertain, node.unlinked) = (uncertain, false);
                        if let (Some(file), Some(content)) = (&node.file, stored.content()) {
                            changed.push((file.clone(), content.clone()));
                        }
                        node.inode = stored;
                    }
                    None => node.unlink(),
                }
            }
            self.nodes.insert(ino, node);
        }
        for (dir, slot) in held {
            self.put_back_held(dir, slot);
        }
        Ok(changed)
    }

    /// The inode as the head version has it, if that has it under some name.
    fn stored_named(&mut self, ino: Ino) -> Result<Option<Node>> {
        match self.stored_node(ino) {
            Ok(stored) => Ok(self.is_named(ino, stored.inode.place)?.then_some(stored)),
            Err(Error::Stale) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a file that is being made back into its directory, if that is there and the name free; if
    /// not, the file is one without a name.
    fn put_back_held(&mut self, dir: Ino, slot: Slot) {
        if let Ok(entries) = self.entries(dir)
            && entries.get(&slot.key).is_none()
        {
            entries.held.insert(slot.key, slot);
            return;
        }
        if let Some(node) = self.nodes.get_mut(&slot.ino) {
            node.held = false;
            node.unlink();
        }
    }
}

fn held_in(dir: Ino, node: &Node) -> Vec<(Ino, Slot)> {
    let entries = node.entries.iter();
    entries.flat_map(|entries| entries.held.values()).map(|slot| (dir, slot.clone())).collect()
}
