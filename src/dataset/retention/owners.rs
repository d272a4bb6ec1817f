//! Whose objects are, where several things are purged at once.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::model::{Content, Inode, NodeHash, Piece};
use crate::store::manifest::Items;
use crate::store::{Error as StoreError, Store};

use super::super::error::{Error, Result};
use super::walk::{items, long_xattrs};

/// Numbers of what is purged.
pub type Numbers = BTreeSet<u32>;

/// Which of several things that are purged have an object, and so lose it or keep it.
#[derive(Debug, Default)]
pub struct Owners {
    /// Of a single one nothing has to be known.
    is_single: bool,
    of: HashMap<[u8; 32], Vec<u32>>,
}

impl Owners {
    /// Of so many things; none has anything yet.
    pub fn new(count: usize) -> Owners {
        Owners { is_single: count <= 1, of: HashMap::new() }
    }

    /// Notes the objects of the next one.
    pub fn add<'a>(&mut self, number: u32, objects: impl Iterator<Item = &'a [u8; 32]>) {
        if !self.is_single {
            objects.for_each(|hash| self.of.entry(*hash).or_default().push(number));
        }
    }
}

/// Finds out whose objects contents have. What it has gone through it goes through once.
pub struct Whose<'a> {
    store: &'a Store,
    owners: &'a Owners,
    known: HashMap<NodeHash, Rc<Numbers>>,
}

impl<'a> Whose<'a> {
    /// One that has seen nothing.
    pub fn new(store: &'a Store, owners: &'a Owners) -> Whose<'a> {
        Whose { store, owners, known: HashMap::new() }
    }

    /// Those that an inode, known to have an object of some, has any of.
    pub fn inode(&mut self, inode: &Inode) -> Result<Numbers> {
        let mut found = self.content(inode.content().unwrap_or(&Content::Empty))?;
        found.extend(long_xattrs(inode).into_iter().flat_map(|chunk| self.object(&chunk.hash.0)));
        Ok(found)
    }

    /// The same of a content.
    pub fn content(&mut self, content: &Content) -> Result<Numbers> {
        Ok(match content {
            _ if self.owners.is_single => Numbers::from([0]),
            Content::Empty => Numbers::new(),
            Content::One(chunk) => self.object(&chunk.hash.0).collect(),
            Content::Few(pieces) => self.pieces(pieces),
            Content::Tree(tree) => self.node(tree.root)?.as_ref().clone(),
        })
    }

    fn pieces(&self, pieces: &[Piece]) -> Numbers {
        match self.owners.is_single {
            true => Numbers::from([0]),
            false => {
                pieces.iter().filter_map(Piece::chunk).flat_map(|chunk| self.object(&chunk.hash.0)).collect()
            }
        }
    }

    fn object(&self, hash: &[u8; 32]) -> impl Iterator<Item = u32> + use<'a> {
        let owners: &'a Owners = self.owners;
        owners.of.get(hash).into_iter().flatten().copied()
    }

    fn node(&mut self, hash: NodeHash) -> Result<Rc<Numbers>> {
        if let Some(known) = self.known.get(&hash) {
            return Ok(known.clone());
        }
        let mut found: Numbers = self.object(&hash.0).collect();
        match items(self.store, &hash) {
            // It is not known what was below.
            Err(Error::Store(StoreError::Missing(_))) => {}
            Err(error) => return Err(error),
            Ok(Items::Pieces(pieces)) => found.extend(self.pieces(&pieces)),
            // Levels are at most a dozen, which decoding has checked.
            Ok(Items::Children(children)) => {
                for child in children {
                    found.extend(self.node(child.hash)?.iter());
                }
            }
        }
        let found = Rc::new(found);
        self.known.insert(hash, found.clone());
        Ok(found)
    }
}
