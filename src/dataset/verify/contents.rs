//! Whether contents are there and intact, by what is known to be damaged in the packs.

use std::collections::{BTreeMap, HashSet};

use crate::model::inode::Xattrs;
use crate::model::{Content, ContentId, Ino, NodeHash, Piece};
use crate::store::manifest::{Items, Node};
use crate::store::{Damage, DamageKind, Error, ObjectStore, Store, content_id};

/// Where packs are damaged: from which byte up to which.
#[derive(Debug, Default)]
pub struct Damaged(BTreeMap<(u32, u64), u64>);

impl Damaged {
    /// What a look at the packs found.
    pub fn new(damages: &[Damage]) -> Damaged {
        let end = |damage: &Damage| match damage.kind {
            DamageKind::NoRecord(bytes) => Some(damage.offset + bytes),
            DamageKind::Payload(_) | DamageKind::Nonsense(_) => Some(damage.offset + 1),
            // A footer that is missing may have been cut off with what was before it.
            DamageKind::Pack | DamageKind::Footer => Some(u64::MAX),
            DamageKind::PackHeader | DamageKind::File(_) => None,
        };
        Damaged(damages.iter().filter_map(|d| Some(((d.pack, d.offset), end(d)?))).collect())
    }

    /// The place of the damage that a record, by pack and offset, is hit by.
    fn at(&self, place: (u32, u64)) -> Option<(u32, u64)> {
        let (&from, &to) = self.0.range(..=place).next_back()?;
        (from.0 == place.0 && place.1 < to).then_some(from)
    }
}

/// What is known of a store's objects.
pub struct Known<'a> {
    store: &'a Store,
    damaged: &'a Damaged,
    /// Manifest nodes found to be sound, with all below them.
    sound: HashSet<NodeHash>,
    /// Damaged contents that have been told of.
    told: HashSet<(Ino, ContentId)>,
}

/// A damaged or missing part of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub what: String,
    pub place: Option<(u32, u64)>,
    /// Whether nothing can be said, because the index failed.
    pub index_failed: bool,
}

impl Bad {
    fn of(what: String, error: &Error) -> Bad {
        Bad { what: format!("{what}: {error}"), place: None, index_failed: matches!(error, Error::Index(_)) }
    }
}

impl<'a> Known<'a> {
    /// Of `store`, in which this is damaged.
    pub fn new(store: &'a Store, damaged: &'a Damaged) -> Known<'a> {
        Known { store, damaged, sound: HashSet::new(), told: HashSet::new() }
    }

    /// The first damage of a file's content that has not been told of yet.
    pub(super) fn check(&mut self, ino: Ino, content: &Content) -> Option<Bad> {
        let bad = match content {
            Content::Empty => None,
            Content::One(chunk) => self.object("chunk", &chunk.hash.0),
            Content::Few(pieces) => self.pieces(pieces),
            Content::Tree(tree) => self.node(tree.root),
        }?;
        self.told.insert((ino, content_id(content))).then_some(bad)
    }

    pub(super) fn check_xattrs(&self, xattrs: &Xattrs) -> Option<Bad> {
        match xattrs {
            Xattrs::Inline(_) => None,
            Xattrs::Chunk(chunk) => self.object("chunk of extended attributes", &chunk.hash.0),
        }
    }

    fn pieces(&self, pieces: &[Piece]) -> Option<Bad> {
        pieces.iter().find_map(|piece| match piece {
            Piece::Data(chunk) => self.object("chunk", &chunk.hash.0),
            Piece::Zeros(_) => None,
        })
    }

    /// Goes through a manifest; what is shared with a sound one is not looked at again.
    fn node(&mut self, hash: NodeHash) -> Option<Bad> {
        if self.sound.contains(&hash) {
            return None;
        }
        if let Some(bad) = self.object("manifest node", &hash.0) {
            return Some(bad);
        }
        let what = || format!("manifest node {hash}");
        if self.store.is_purged(&hash.0) {
            return None;
        }
        let node = match self.store.node(&hash) {
            Ok(bytes) => Node::decode(&bytes),
            Err(e) => return Some(Bad::of(what(), &e)),
        };
        let bad = match node {
            Err(e) => Some(Bad { what: format!("{}: {e}", what()), place: None, index_failed: false }),
            Ok(Node { items: Items::Pieces(pieces), .. }) => self.pieces(&pieces),
            // Levels are at most a dozen, which decoding has checked.
            Ok(Node { items: Items::Children(children), .. }) => {
                children.iter().find_map(|child| self.node(child.hash))
            }
        };
        if bad.is_none() {
            self.sound.insert(hash);
        }
        bad
    }

    fn object(&self, what: &str, hash: &[u8; 32]) -> Option<Bad> {
        let hex = || crate::model::ChunkHash(*hash).to_hex();
        match self.store.locate(hash) {
            Ok(Some(place)) => {
                let damage = self.damaged.at(place)?;
                let what = format!("{what} {} is damaged", hex());
                Some(Bad { what, place: Some(damage), index_failed: false })
            }
            Ok(None) if self.store.is_purged(hash) => None,
            Ok(None) => {
                let why = match self.store.was_reclaimed(hash) {
                    true => ": it was reclaimed, since no version that was kept needed it",
                    false => "",
                };
                let what = format!("{what} {} is missing{why}", hex());
                Some(Bad { what, place: None, index_failed: false })
            }
            Err(e) => Some(Bad::of(format!("{what} {}", hex()), &e)),
        }
    }
}
