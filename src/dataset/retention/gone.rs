//! Whether contents were purged, as a whole or in part.

use std::collections::HashMap;

use crate::model::{Content, NodeHash, Piece};
use crate::store::manifest::{Items, Node};
use crate::store::{ObjectStore, Store};

/// Finds out which contents were purged. What it has gone through it goes through once.
pub struct Gone<'a> {
    store: &'a Store,
    /// Whether there is anything that was purged.
    any: bool,
    known: HashMap<NodeHash, bool>,
}

impl<'a> Gone<'a> {
    /// One for a store.
    pub fn new(store: &'a Store) -> Gone<'a> {
        Gone { store, any: store.has_purged(), known: HashMap::new() }
    }

    /// Whether a content, or a part of it, was purged. What cannot be read for another reason was not.
    pub fn is_of(&mut self, content: &Content) -> bool {
        self.any
            && match content {
                Content::Empty => false,
                Content::One(chunk) => self.store.is_purged(&chunk.hash.0),
                Content::Few(pieces) => self.pieces(pieces),
                Content::Tree(tree) => self.node(tree.root),
            }
    }

    fn pieces(&self, pieces: &[Piece]) -> bool {
        pieces.iter().any(|piece| match piece {
            Piece::Data(chunk) => self.store.is_purged(&chunk.hash.0),
            Piece::Zeros(_) => false,
        })
    }

    fn node(&mut self, hash: NodeHash) -> bool {
        if let Some(known) = self.known.get(&hash) {
            return *known;
        }
        let gone = self.store.is_purged(&hash.0) || self.below(hash);
        self.known.insert(hash, gone);
        gone
    }

    fn below(&mut self, hash: NodeHash) -> bool {
        let node = self.store.node(&hash).ok().and_then(|bytes| Node::decode(&bytes).ok());
        match node.map(|node| node.items) {
            None => false,
            Some(Items::Pieces(pieces)) => self.pieces(&pieces),
            // Levels are at most a dozen, which decoding has checked.
            Some(Items::Children(children)) => children.iter().any(|child| self.node(child.hash)),
        }
    }
}
