//! Building a manifest from its pieces, in order, in little memory.

use super::node::{Child, Item, NODE_MAX, NODE_MIN};
use super::objects::Objects;
use crate::model::content::INLINE_PIECES;
use crate::model::{Content, Piece, TreeRef};
use crate::store::error::Result;

/// One level of a manifest in the making: cuts a sequence of items into nodes.
///
/// A node ends after an item that says so, from [`NODE_MIN`] items on, and at [`NODE_MAX`]. Nothing
/// before a node has a say, so the same items from a node's begin on give the same nodes.
pub(super) struct Level<T> {
    level: u8,
    items: Vec<T>,
    /// The last item, while the one that follows may yet become one with it.
    held: Option<T>,
}

impl<T: Item> Level<T> {
    pub(super) fn new(level: u8) -> Level<T> {
        Level { level, items: Vec::new(), held: None }
    }

    /// Whether the last item ended a node (or there was none).
    pub(super) fn at_cut(&self) -> bool {
        self.items.is_empty() && self.held.is_none()
    }

    /// Adds an item, and to `done` the nodes that are complete.
    pub(super) fn push(&mut self, objects: &Objects, item: T, done: &mut Vec<Child>) -> Result<()> {
        if self.held.as_mut().is_some_and(|held| held.absorb(&item)) {
            return Ok(());
        }
        self.release(objects, done)?;
        if item.absorbs() {
            self.held = Some(item);
            return Ok(());
        }
        self.add(objects, item, done)
    }

    /// Ends the node begun, if there is one.
    pub(super) fn cut(&mut self, objects: &Objects, done: &mut Vec<Child>) -> Result<()> {
        self.release(objects, done)?;
        match std::mem::take(&mut self.items) {
            items if items.is_empty() => Ok(()),
            items => {
                done.push(objects.put_node(T::node(self.level, items))?);
                Ok(())
            }
        }
    }

    fn release(&mut self, objects: &Objects, done: &mut Vec<Child>) -> Result<()> {
        self.held.take().map_or(Ok(()), |held| self.add(objects, held, done))
    }

    fn add(&mut self, objects: &Objects, item: T, done: &mut Vec<Child>) -> Result<()> {
        self.items.push(item);
        match self.items.len() {
            NODE_MAX => self.cut(objects, done),
            len if len >= NODE_MIN && item.ends_node() => self.cut(objects, done),
            _ => Ok(()),
        }
    }

    /// All items of the node begun.
    fn begun(&self) -> Vec<T> {
        self.items.iter().chain(&self.held).copied().collect()
    }
}

/// The levels above given nodes, up to the root.
pub(super) struct Upper<'a> {
    objects: &'a Objects,
    /// Level of the nodes given.
    below: u8,
    levels: Vec<Level<Child>>,
}

impl<'a> Upper<'a> {
    pub(super) fn new(objects: &'a Objects, below: u8) -> Upper<'a> {
        Upper { objects, below, levels: Vec::new() }
    }

    /// Adds a node.
    pub(super) fn push(&mut self, child: Child) -> Result<()> {
        self.push_at(0, child)
    }

    /// The root over all nodes given and the number of levels from the leaves to it; `None` if there
    /// were no nodes.
    pub(super) fn finish(mut self) -> Result<Option<(Child, u8)>> {
        let mut at = 0;
        while at < self.levels.len() {
            let top = at + 1 == self.levels.len();
            let level = &mut self.levels[at];
            // Nothing was ever cut from the top level: what it holds is all there is below it.
            if let [root] = level.items[..]
                && top
            {
                return Ok(Some((root, self.below + at as u8 + 1)));
            }
            let mut done = Vec::new();
            level.cut(self.objects, &mut done)?;
            at += 1;
            done.into_iter().try_for_each(|node| self.push_at(at, node))?;
        }
        Ok(None)
    }

    fn push_at(&mut self, mut at: usize, child: Child) -> Result<()> {
        let mut nodes = vec![child];
        while !nodes.is_empty() {
            if at == self.levels.len() {
                self.levels.push(Level::new(self.below + at as u8 + 1));
            }
            let mut done = Vec::new();
            for node in nodes {
                self.levels[at].push(self.objects, node, &mut done)?;
            }
            nodes = done;
            at += 1;
        }
        Ok(())
    }
}

/// Builds the content that pieces make, given one after the other; stores nodes as they are complete.
/// Keeps one unfinished node of each level in memory.
pub struct TreeBuilder<'a> {
    objects: &'a Objects,
    leaves: Level<Piece>,
    upper: Upper<'a>,
}

impl<'a> TreeBuilder<'a> {
    /// Without any pieces yet.
    pub fn new(objects: &'a Objects) -> TreeBuilder<'a> {
        TreeBuilder { objects, leaves: Level::new(0), upper: Upper::new(objects, 0) }
    }

    /// Adds a piece; zero pieces may follow each other.
    pub fn push(&mut self, piece: Piece) -> Result<()> {
        let mut done = Vec::new();
        self.leaves.push(self.objects, piece, &mut done)?;
        done.into_iter().try_for_each(|node| self.upper.push(node))
    }

    /// The content of all pieces.
    pub fn finish(mut self) -> Result<Content> {
        let begun = self.leaves.begun();
        if self.upper.levels.is_empty() && begun.len() <= INLINE_PIECES {
            return Ok(super::inline(&begun));
        }
        let mut done = Vec::new();
        self.leaves.cut(self.objects, &mut done)?;
        done.into_iter().try_for_each(|node| self.upper.push(node))?;
        Ok(match self.upper.finish()? {
            Some((root, depth)) => Content::Tree(TreeRef { root: root.hash, size: root.size, depth }),
            None => Content::Empty,
        })
    }
}
