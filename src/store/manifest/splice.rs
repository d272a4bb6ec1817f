//! Replacing stretches of a content's pieces, at a cost that follows the edits and not the file.
//!
//! Level by level: the nodes that an edit touches are taken apart and cut anew, and so are the nodes
//! after them until a cut falls where an old node ended; from there on the old nodes stand. The nodes
//! replaced are the edit of the level above.

use std::ops::Range;

use super::build::{Level, TreeBuilder, Upper};
use super::node::{Child, Item, Items, Node};
use super::objects::Objects;
use super::walk::{find, pieces_from};
use crate::model::content::INLINE_PIECES;
use crate::model::{Content, Piece, TreeRef};
use crate::store::error::{Error, Result};

/// A stretch of a file and the items that replace it.
#[derive(Clone, Debug)]
pub struct Edit<T = Piece> {
    /// Bytes of the old file, between old items' ends (a zero piece may be split between chunks).
    pub range: Range<u64>,
    /// What comes in their place, of any length.
    pub items: Vec<T>,
}

/// The content that results from `edits`, which are in order and do not overlap; the same as if all
/// its pieces were given to a [`TreeBuilder`].
pub fn splice(objects: &Objects, base: &Content, edits: Vec<Edit>) -> Result<Content> {
    if edits.is_empty() {
        return Ok(base.clone());
    }
    let Content::Tree(tree) = base else { return splice_inline(objects, base, &edits) };
    let mut edits = splice_level(objects, tree, 0, edits)?;
    for level in 1..tree.depth {
        edits = splice_level(objects, tree, level, edits)?;
    }
    // The root itself was replaced, so the edits are but one, of the whole file.
    let mut upper = Upper::new(objects, tree.depth - 1);
    for root in edits.into_iter().flat_map(|edit| edit.items) {
        upper.push(root)?;
    }
    match upper.finish()? {
        Some((root, depth)) => lower(objects, root, depth),
        None => Ok(Content::Empty),
    }
}

/// [`splice`] for a content without nodes.
fn splice_inline(objects: &Objects, base: &Content, edits: &[Edit]) -> Result<Content> {
    let old: Vec<(u64, Piece)> = pieces_from(objects, base, 0).collect::<Result<_>>()?;
    let mut builder = TreeBuilder::new(objects);
    let keep = |builder: &mut TreeBuilder<'_>, range: Range<u64>| -> Result<()> {
        for &(start, piece) in &old {
            let part = start.max(range.start)..(start + piece.len()).min(range.end);
            if part.start < part.end {
                builder.push(part_of(piece, start, part)?)?;
            }
        }
        Ok(())
    };
    let mut at = 0;
    for edit in edits {
        keep(&mut builder, at..edit.range.start)?;
        edit.items.iter().try_for_each(|&piece| builder.push(piece))?;
        at = edit.range.end;
    }
    keep(&mut builder, at..base.size())?;
    builder.finish()
}

/// The content with this root, were it not for levels and nodes that it can do without.
fn lower(objects: &Objects, mut root: Child, mut depth: u8) -> Result<Content> {
    loop {
        let node = objects.node(&root, depth - 1)?;
        match &node.items {
            Items::Children(children) if let [only] = children[..] => {
                root = only;
                depth -= 1;
            }
            Items::Pieces(pieces) if pieces.len() <= INLINE_PIECES => return Ok(super::inline(pieces)),
            _ => return Ok(Content::Tree(TreeRef { root: root.hash, size: root.size, depth })),
        }
    }
}

/// Applies edits to a level of the tree; gives the edits of the level above that result.
fn splice_level<T: Item>(
    objects: &Objects,
    tree: &TreeRef,
    level: u8,
    edits: Vec<Edit<T>>,
) -> Result<Vec<Edit<Child>>> {
    let mut out = Vec::new();
    let mut edits = edits.into_iter().peekable();
    while let Some(first) = edits.peek() {
        // From the node before an edit at a node's begin: the node may have been cut short by the end
        // of the file, or end in zeros that the edit adds to.
        let (mut node, mut node_start) = objects.node_at(tree, level, first.range.start.saturating_sub(1))?;
        let start = node_start;
        // What is old up to here has been dealt with.
        let mut at = start;
        let mut edited = false;
        let mut cutter = Level::new(level);
        let mut done = Vec::new();
        loop {
            if let Some(edit) = edits.next_if(|edit| edit.range.start == at) {
                for item in edit.items {
                    cutter.push(objects, item, &mut done)?;
                }
                at = edit.range.end;
                edited = true;
                continue;
            }
            if at == tree.size {
                break;
            }
            if at < node_start || at - node_start >= node.size() {
                (node, node_start) = objects.node_at(tree, level, at)?;
            }
            if edited && at == node_start && cutter.at_cut() {
                break;
            }
            let until = edits.peek().map_or(u64::MAX, |edit| edit.range.start);
            at = keep(objects, &node, node_start, at..until, &mut cutter, &mut done)?;
        }
        cutter.cut(objects, &mut done)?;
        out.push(Edit { range: start..at, items: done });
    }
    Ok(out)
}

/// Gives the old items of a node within `range` to the cutter; returns how far they go.
fn keep<T: Item>(
    objects: &Objects,
    node: &Node,
    node_start: u64,
    range: Range<u64>,
    cutter: &mut Level<T>,
    done: &mut Vec<Child>,
) -> Result<u64> {
    let Range { start: mut at, end: until } = range;
    let mut start = node_start;
    let (index, _) = find::<T>(node, &mut start, at)?;
    for item in &T::of(node)[index..] {
        let end = start + item.size();
        cutter.push(objects, part_of(*item, start, at..end.min(until))?, done)?;
        (at, start) = (end.min(until), end);
        if at == until {
            break;
        }
    }
    Ok(at)
}

/// The part of an item at `start` that is in `range`, which is within the item.
fn part_of<T: Item>(item: T, start: u64, range: Range<u64>) -> Result<T> {
    range.end.checked_sub(range.start).and_then(|len| item.part(range.start - start, len)).ok_or_else(|| {
        Error::Corrupt(format!("chunk at {start} does not end at {} or {}", range.start, range.end))
    })
}
