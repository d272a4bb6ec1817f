//! Finding and listing the pieces of a content.

use std::borrow::Cow;
use std::sync::Arc;

use super::node::{Child, Item, Items, NODE_MAX, Node};
use super::objects::Objects;
use crate::model::content::CHUNK_MAX;
use crate::model::{Content, Piece};
use crate::store::error::{Error, Result};

/// The item of `node` that `offset` lies in and its place in the list; moves `start` from where the
/// node begins to where the item does.
pub(super) fn find<T: Item>(node: &Node, start: &mut u64, offset: u64) -> Result<(usize, T)> {
    find_in(T::of(node), start, offset)
        .ok_or_else(|| Error::Corrupt(format!("manifest node without the offset {offset} it should cover")))
}

fn find_in<T: Item>(items: &[T], start: &mut u64, offset: u64) -> Option<(usize, T)> {
    for (index, item) in items.iter().enumerate() {
        let end = *start + item.size();
        if offset < end {
            return Some((index, *item));
        }
        *start = end;
    }
    None
}

/// The piece that `offset` lies in and the offset it starts at; `None` from the end of the file on.
pub fn locate(objects: &Objects, content: &Content, offset: u64) -> Result<Option<(u64, Piece)>> {
    pieces_from(objects, content, offset).next().transpose()
}

/// The pieces of a content in order, each with the offset it starts at, from the one that `offset`
/// lies in. Leaves are read as the iteration comes to them.
pub fn pieces_from<'a>(objects: &'a Objects, content: &'a Content, offset: u64) -> Pieces<'a> {
    let leaf = match content {
        Content::Empty => Leaf::Inline(Cow::Borrowed(&[])),
        Content::One(chunk) => Leaf::Inline(Cow::Owned(vec![Piece::Data(*chunk)])),
        Content::Few(pieces) => Leaf::Inline(Cow::Borrowed(pieces)),
        Content::Tree(_) => return Pieces { objects, content, leaf: Leaf::None, index: 0, next: offset },
    };
    let mut next = 0;
    let found = find_in(leaf.pieces(), &mut next, offset);
    let index = found.map_or(leaf.pieces().len(), |(index, _)| index);
    Pieces { objects, content, leaf, index, next }
}

/// See [`pieces_from`].
pub struct Pieces<'a> {
    objects: &'a Objects,
    content: &'a Content,
    leaf: Leaf<'a>,
    /// Place in the leaf of the next piece.
    index: usize,
    /// Offset of the next piece; before the first leaf is read, one within it.
    next: u64,
}

enum Leaf<'a> {
    None,
    Inline(Cow<'a, [Piece]>),
    Node(Arc<Node>),
}

impl Leaf<'_> {
    fn pieces(&self) -> &[Piece] {
        match self {
            Leaf::None => &[],
            Leaf::Inline(pieces) => pieces,
            Leaf::Node(node) => Piece::of(node),
        }
    }
}

impl Pieces<'_> {
    /// Goes to the leaf that the next piece is in; `false` at the end of the file.
    fn enter_leaf(&mut self) -> Result<bool> {
        let Content::Tree(tree) = self.content else { return Ok(false) };
        if self.next >= tree.size {
            return Ok(false);
        }
        let (leaf, mut start) = self.objects.node_at(tree, 0, self.next)?;
        self.index = find::<Piece>(&leaf, &mut start, self.next)?.0;
        self.next = start;
        self.leaf = Leaf::Node(leaf);
        Ok(true)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<(u64, Piece)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.leaf.pieces().get(self.index).is_none() {
            match self.enter_leaf() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // Not tried again: the iteration ends after an error.
                    self.next = u64::MAX;
                    self.leaf = Leaf::None;
                    return Some(Err(error));
                }
            }
        }
        let piece = *self.leaf.pieces().get(self.index)?;
        let start = self.next;
        self.index += 1;
        self.next += piece.len();
        Some(Ok((start, piece)))
    }
}

/// Most bytes of data below a node of this level.
fn data_max(level: u8) -> u64 {
    (NODE_MAX as u64).saturating_pow(u32::from(level) + 1).saturating_mul(CHUNK_MAX as u64)
}

fn is_data(piece: &Piece) -> bool {
    matches!(piece, Piece::Data(_))
}

/// Bytes that are not in holes, at a cost that does not depend on the size: exact for the smallest
/// contents, else the most there can be, going by the root node. A content that one node of data could
/// hold counts as all data.
pub fn data_size(objects: &Objects, content: &Content) -> Result<u64> {
    let data = |pieces: &[Piece]| pieces.iter().filter(|piece| is_data(piece)).map(Piece::len).sum();
    let tree = match content {
        Content::Empty | Content::One(_) => return Ok(content.size()),
        Content::Few(pieces) => return Ok(data(pieces)),
        Content::Tree(tree) if tree.size <= data_max(0) => return Ok(tree.size),
        Content::Tree(tree) => tree,
    };
    let (root, _) = objects.node_at(tree, tree.depth.saturating_sub(1), 0)?;
    Ok(match &root.items {
        Items::Pieces(pieces) => data(pieces),
        Items::Children(children) => {
            let most = data_max(root.level.saturating_sub(1));
            children.iter().map(|child: &Child| child.size.min(most)).sum()
        }
    })
}
