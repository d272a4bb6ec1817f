//! Recording a whole tree in a dataset that has nothing, without holding that tree in memory.

use crate::model::{Ino, Inode, Ops, TreeHash};

use super::super::error::Result;
use super::{Live, Node};

/// Everything that the next version is to record, and all that the live tree has then.
#[derive(Debug)]
pub struct Whole {
    /// The root directory.
    pub root: Inode,
    /// The changes against nothing, in the order of a record: names by place, then inodes by number.
    pub ops: Ops,
    /// The snapshot id.
    pub snapshot: TreeHash,
    /// The hashes of all other directories, by number.
    pub trees: Vec<(Ino, TreeHash)>,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Live {
    /// Whether there is nothing but an empty root, and nothing of it that no version holds.
    pub fn is_blank(&mut self) -> Result<bool> {
        let empty = self.entries(Ino::ROOT)?.is_empty();
        Ok(empty && self.nodes.len() == 1 && self.dirty.is_empty())
    }

    /// Has the next version record a whole tree, where there is [nothing](Live::is_blank). It must be cut at once, or
    /// the tree be [reset](Live::reset): until then, none of this is seen here.
    pub fn take_whole(&mut self, whole: Whole) {
        self.usage.note(0, whole.bytes);
        self.whole = Some(Box::new(whole));
    }

    /// Shows what was recorded. It is loaded when it is looked at.
    pub(super) fn show_whole(&mut self) {
        let Some(whole) = self.whole.take() else { return };
        let mut root = Node::new(whole.root);
        root.tree = Some(Box::new(whole.snapshot));
        let opens = self.nodes.remove(&Ino::ROOT).map_or(0, |node| node.opens);
        self.nodes.insert(Ino::ROOT, Box::new(Node { opens, ..root }));
        self.trimmed = true;
    }
}
