//! Manifests: the pieces of a large file as a tree of nodes that follows from its bytes alone.
//!
//! A leaf lists pieces, an inner node lists nodes with the bytes of file below each. Which items share
//! a node is decided by the items' hashes (as in a prolly tree), so equal files have equal trees
//! whatever edits led to them, and an edit changes the nodes on its path and hardly any beside it.
//!
//! Invariants:
//! - two zero pieces are never neighbours, not even across leaves;
//! - the root is the first level, from the leaves up, that is a single node;
//! - up to [`INLINE_PIECES`](crate::model::content::INLINE_PIECES) pieces make no tree but stay in the
//!   [`Content`](crate::model::Content) itself.

mod build;
mod node;
mod objects;
mod splice;
mod walk;

pub use build::TreeBuilder;
pub use node::{Child, Items, Node, NodeError};
pub use objects::{HashOnly, Objects};
pub use splice::{Edit, splice};
pub use walk::{Pieces, data_size, locate, pieces_from};

use crate::model::{Content, ContentId, NodeHash, Piece};

/// The identity of a content's bytes: BLAKE3 of them where they are none or a single chunk, else the
/// hash of the manifest's root.
pub fn content_id(content: &Content) -> ContentId {
    match content {
        Content::Empty => ContentId(*blake3::hash(b"").as_bytes()),
        Content::One(chunk) => ContentId(chunk.hash.0),
        Content::Few(pieces) => {
            ContentId(NodeHash::of(&Node { level: 0, items: Items::Pieces(pieces.to_vec()) }.encode()).0)
        }
        Content::Tree(tree) => ContentId(tree.root.0),
    }
}

/// The content of at most [`INLINE_PIECES`](crate::model::content::INLINE_PIECES) pieces.
fn inline(pieces: &[Piece]) -> Content {
    match *pieces {
        [] => Content::Empty,
        [Piece::Data(chunk)] => Content::One(chunk),
        _ => Content::Few(pieces.into()),
    }
}

#[cfg(test)]
mod tests;
