//! A file's content: which chunks it is made of, in order.
//!
//! The form of a [`Content`] follows from the bytes alone (chunk boundaries are content-defined, zero
//! runs and node boundaries too), so equal bytes give equal values however they were written.

use serde::{Deserialize, Serialize};

use super::hash::{ChunkHash, NodeHash};

/// Shortest chunk but for a file's last, in bytes (published Xet parameters).
pub const CHUNK_MIN: usize = 8 * 1024;
/// Longest chunk, in bytes.
pub const CHUNK_MAX: usize = 128 * 1024;
/// Most pieces a content keeps inline; one with more is a manifest tree.
pub const INLINE_PIECES: usize = 8;

/// A chunk by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Hash of the chunk's bytes.
    pub hash: ChunkHash,
    /// Length in bytes, 1 to [`CHUNK_MAX`].
    pub len: u32,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// A chunk that is not [`CHUNK_MAX`] zero bytes.
    Data(ChunkRef),
    /// This many (at least 1) chunks of [`CHUNK_MAX`] zero bytes, kept nowhere. Two such pieces are
    /// never neighbours.
    Zeros(u64),
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Piece::Data(chunk) => u64::from(chunk.len),
            Piece::Zeros(count) => count * CHUNK_MAX as u64,
        }
    }

    /// The chunk, where it is kept.
    pub fn chunk(&self) -> Option<&ChunkRef> {
        match self {
            Piece::Data(chunk) => Some(chunk),
            Piece::Zeros(_) => None,
        }
    }

    /// Whether the piece is of no length (a well-formed one never is).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A manifest tree by its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRef {
    /// Hash of the root node.
    pub root: NodeHash,
    /// Length of the file in bytes.
    pub size: u64,
    /// Levels of nodes, 1 where the root holds the pieces themselves.
    pub depth: u8,
}

/// A file's content, in the smallest of four forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// No bytes.
    #[default]
    Empty,
    /// One data chunk.
    One(ChunkRef),
    /// 2 to [`INLINE_PIECES`] pieces, or a single zero piece.
    Few(Box<[Piece]>),
    /// More pieces than that, in manifest nodes of the store.
    Tree(TreeRef),
}

impl Content {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Empty => 0,
            Content::One(chunk) => u64::from(chunk.len),
            Content::Few(pieces) => pieces.iter().map(Piece::len).sum(),
            Content::Tree(tree) => tree.size,
        }
    }
}
