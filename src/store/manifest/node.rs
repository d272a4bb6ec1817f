//! Manifest nodes and their bytes.
//!
//! ```text
//! node:  version 1 u8, level u8 (0: leaf), number of items u16, items; numbers are little-endian
//! leaf item:   length u32 (1 to CHUNK_MAX), hash 32 bytes         a data chunk
//!              0 u32, count u64 (at least 1)                      zero chunks
//! inner item:  hash 32 bytes, bytes of file below it u64          a node one level down
//! ```

use thiserror::Error;

use crate::model::content::CHUNK_MAX;
use crate::model::{ChunkHash, ChunkRef, NodeHash, Piece};

/// Fewest items of a node, but for a level's last.
pub const NODE_MIN: usize = 32;
/// Most items of a node.
pub const NODE_MAX: usize = 256;
/// Past [`NODE_MIN`], one item in this many ends its node: 96 items on average.
const NODE_SPREAD: u8 = 64;
/// Highest level of a node: far more than any file size needs.
pub const LEVEL_MAX: u8 = 12;

const VERSION: u8 = 1;

/// Bytes that are not a manifest node.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NodeError {
    /// Written by a later release.
    #[error("manifest node of version {0}")]
    Version(u8),
    /// Shorter or longer than its header says.
    #[error("manifest node of the wrong length")]
    Length,
    /// A number that no well-formed node has.
    #[error("manifest node with an impossible {0}")]
    Impossible(&'static str),
}

/// A node and the bytes of file below it, as its parent lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The node.
    pub hash: NodeHash,
    /// Bytes of file.
    pub size: u64,
}

/// What a node lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// Pieces of the file, of a leaf.
    Pieces(Vec<Piece>),
    /// Nodes one level down.
    Children(Vec<Child>),
}

/// A manifest node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Levels below it: 0 for a leaf.
    pub level: u8,
    /// What it lists: pieces at level 0, children above.
    pub items: Items,
}

/// What the levels of a manifest have in common: a sequence of items, cut into nodes.
pub trait Item: Copy {
    /// Bytes of file it stands for.
    fn size(&self) -> u64;
    /// Whether a node that is long enough ends after it.
    fn ends_node(&self) -> bool;
    /// The `len` bytes after the first `skip` as an item of their own, where that is possible.
    fn part(self, skip: u64, len: u64) -> Option<Self> {
        (skip == 0 && len == self.size()).then_some(self)
    }
    /// Whether items that follow may become one with this one.
    fn absorbs(&self) -> bool {
        false
    }
    /// Becomes one with the item that follows, if such as these do; says whether.
    fn absorb(&mut self, _next: &Self) -> bool {
        false
    }
    /// A node of such items.
    fn node(level: u8, items: Vec<Self>) -> Node;
    /// The items of a node, none if they are of the other sort.
    fn of(node: &Node) -> &[Self];
}

impl Item for Piece {
    fn size(&self) -> u64 {
        self.len()
    }

    fn ends_node(&self) -> bool {
        matches!(self, Piece::Data(chunk) if chunk.hash.0[0].is_multiple_of(NODE_SPREAD))
    }

    fn part(self, skip: u64, len: u64) -> Option<Piece> {
        const UNIT: u64 = CHUNK_MAX as u64;
        match self {
            Piece::Data(_) => (skip == 0 && len == self.len()).then_some(self),
            Piece::Zeros(_) => {
                (skip.is_multiple_of(UNIT) && len.is_multiple_of(UNIT)).then_some(Piece::Zeros(len / UNIT))
            }
        }
    }

    fn absorbs(&self) -> bool {
        matches!(self, Piece::Zeros(_))
    }

    fn absorb(&mut self, next: &Piece) -> bool {
        match (self, next) {
            (Piece::Zeros(count), Piece::Zeros(more)) => {
                *count += more;
                true
            }
            _ => false,
        }
    }

    fn node(level: u8, items: Vec<Piece>) -> Node {
        Node { level, items: Items::Pieces(items) }
    }

    fn of(node: &Node) -> &[Piece] {
        match &node.items {
            Items::Pieces(pieces) => pieces,
            Items::Children(_) => &[],
        }
    }
}

impl Item for Child {
    fn size(&self) -> u64 {
        self.size
    }

    fn ends_node(&self) -> bool {
        self.hash.0[0].is_multiple_of(NODE_SPREAD)
    }

    fn node(level: u8, items: Vec<Child>) -> Node {
        Node { level, items: Items::Children(items) }
    }

    fn of(node: &Node) -> &[Child] {
        match &node.items {
            Items::Children(children) => children,
            Items::Pieces(_) => &[],
        }
    }
}

impl Node {
    /// Bytes of file below the node.
    pub fn size(&self) -> u64 {
        match &self.items {
            Items::Pieces(pieces) => pieces.iter().map(Piece::len).sum(),
            Items::Children(children) => children.iter().map(|child| child.size).sum(),
        }
    }

    /// The node's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let count = match &self.items {
            Items::Pieces(pieces) => pieces.len(),
            Items::Children(children) => children.len(),
        };
        let mut out = Vec::with_capacity(4 + 40 * count);
        out.extend([VERSION, self.level]);
        out.extend((count as u16).to_le_bytes());
        match &self.items {
            Items::Pieces(pieces) => pieces.iter().for_each(|piece| match piece {
                Piece::Data(chunk) => {
                    out.extend(chunk.len.to_le_bytes());
                    out.extend(chunk.hash.0);
                }
                Piece::Zeros(count) => {
                    out.extend([0; 4]);
                    out.extend(count.to_le_bytes());
                }
            }),
            Items::Children(children) => children.iter().for_each(|child| {
                out.extend(child.hash.0);
                out.extend(child.size.to_le_bytes());
            }),
        }
        out
    }

    /// The node that `bytes` are, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Node, NodeError> {
        let mut rest = bytes;
        let [version, level] = take(&mut rest)?;
        if version != VERSION {
            return Err(NodeError::Version(version));
        }
        if level > LEVEL_MAX {
            return Err(NodeError::Impossible("level"));
        }
        let count = usize::from(u16::from_le_bytes(take(&mut rest)?));
        if !(1..=NODE_MAX).contains(&count) {
            return Err(NodeError::Impossible("number of items"));
        }
        let node = match level {
            0 => Piece::node(0, decode_items(count, &mut rest, decode_piece)?),
            _ => Child::node(level, decode_items(count, &mut rest, decode_child)?),
        };
        match rest {
            [] => Ok(node),
            _ => Err(NodeError::Length),
        }
    }
}

/// Reads `count` items whose sizes add up to a possible file size.
fn decode_items<T: Item>(
    count: usize,
    rest: &mut &[u8],
    decode: impl Fn(&mut &[u8]) -> Result<T, NodeError>,
) -> Result<Vec<T>, NodeError> {
    let mut size = 0_u64;
    let mut items: Vec<T> = Vec::with_capacity(count);
    for _ in 0..count {
        let item = decode(rest)?;
        size = size
            .checked_add(item.size())
            .filter(|&size| size <= i64::MAX as u64)
            .ok_or(NodeError::Impossible("size"))?;
        items.push(item);
    }
    Ok(items)
}

fn decode_piece(rest: &mut &[u8]) -> Result<Piece, NodeError> {
    match u32::from_le_bytes(take(rest)?) {
        0 => match u64::from_le_bytes(take(rest)?) {
            count if (1..=i64::MAX as u64 / CHUNK_MAX as u64).contains(&count) => Ok(Piece::Zeros(count)),
            _ => Err(NodeError::Impossible("number of zero chunks")),
        },
        len if len as usize <= CHUNK_MAX => Ok(Piece::Data(ChunkRef { len, hash: ChunkHash(take(rest)?) })),
        _ => Err(NodeError::Impossible("chunk length")),
    }
}

fn decode_child(rest: &mut &[u8]) -> Result<Child, NodeError> {
    let child = Child { hash: NodeHash(take(rest)?), size: u64::from_le_bytes(take(rest)?) };
    match child.size {
        1.. => Ok(child),
        0 => Err(NodeError::Impossible("size")),
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], NodeError> {
    let (head, tail) = rest.split_first_chunk().ok_or(NodeError::Length)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Node {
        let chunk = ChunkRef { hash: ChunkHash([7; 32]), len: 0x01_2345 };
        Piece::node(0, vec![Piece::Data(chunk), Piece::Zeros(0x0102)])
    }

    #[test]
    fn the_bytes_of_a_leaf_stay_as_they_are() {
        let mut bytes = vec![1, 0, 2, 0, 0x45, 0x23, 0x01, 0];
        bytes.extend([7; 32]);
        bytes.extend([0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(leaf().encode(), bytes);
        assert_eq!(Node::decode(&bytes).unwrap(), leaf());
        assert_eq!(leaf().size(), 0x01_2345 + 0x0102 * CHUNK_MAX as u64);
    }

    #[test]
    fn the_bytes_of_an_inner_node_stay_as_they_are() {
        let node = Child::node(3, vec![Child { hash: NodeHash([9; 32]), size: 0x0a0b }]);
        let mut bytes = vec![1, 3, 1, 0];
        bytes.extend([9; 32]);
        bytes.extend([0x0b, 0x0a, 0, 0, 0, 0, 0, 0]);
        assert_eq!(node.encode(), bytes);
        assert_eq!(Node::decode(&bytes).unwrap(), node);
    }

    #[test]
    fn what_is_no_node_is_refused() {
        let good = leaf().encode();
        for cut in 0..good.len() {
            assert_eq!(Node::decode(&good[..cut]), Err(NodeError::Length));
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            Node::decode(&bad)
        };
        assert_eq!(Node::decode(&[&good[..], &[0]].concat()), Err(NodeError::Length));
        assert_eq!(with(0, &[2]), Err(NodeError::Version(2)));
        assert_eq!(with(1, &[200]), Err(NodeError::Impossible("level")));
        assert_eq!(with(2, &[0]), Err(NodeError::Impossible("number of items")));
        assert_eq!(with(2, &[1, 1]), Err(NodeError::Impossible("number of items")));
        assert_eq!(with(6, &[3]), Err(NodeError::Impossible("chunk length")));
        assert_eq!(with(44, &[0, 0]), Err(NodeError::Impossible("number of zero chunks")));
        assert_eq!(with(51, &[1]), Err(NodeError::Impossible("number of zero chunks")));
    }
}
