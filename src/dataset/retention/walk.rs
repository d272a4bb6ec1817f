//! Walking contents down to their chunks.

use std::collections::{HashMap, HashSet};

use crate::model::inode::Xattrs;
use crate::model::{ChunkRef, Content, Inode, NodeHash, Piece, TreeRef};
use crate::store::manifest::{Items, Node};
use crate::store::{Error as StoreError, ObjectStore, Sought, Store};

use super::super::error::{Error, Result};

/// Takes the hash and length (0 for a manifest node) of an object.
pub type Each<'a> = &'a mut dyn FnMut(&[u8; 32], u32) -> Result<()>;

/// Walks contents down to their chunks.
pub struct Walker<'a> {
    store: &'a Store,
    seen: HashSet<NodeHash>,
}

impl<'a> Walker<'a> {
    /// One that has seen nothing.
    pub fn new(store: &'a Store) -> Walker<'a> {
        Walker { store, seen: HashSet::new() }
    }

    /// What an inode holds.
    pub fn inode(&mut self, inode: &Inode, each: Each<'_>) -> Result<()> {
        if let Some(chunk) = long_xattrs(inode) {
            each(&chunk.hash.0, chunk.len)?;
        }
        inode.content().map_or(Ok(()), |content| self.content(content, each))
    }

    /// A content; of what was walked before, manifest nodes are not walked again.
    pub fn content(&mut self, content: &Content, each: Each<'_>) -> Result<()> {
        match content {
            Content::Empty => Ok(()),
            Content::One(chunk) => each(&chunk.hash.0, chunk.len),
            Content::Few(list) => pieces(list, each),
            Content::Tree(tree) => self.node(tree.root, each),
        }
    }

    /// Whether an inode may hold one of these that was not met yet.
    pub fn may_hold(&self, inode: &Inode, sought: &(impl Sought + ?Sized)) -> bool {
        let is_open = |chunk: &ChunkRef| sought.is_open(&chunk.hash.0);
        long_xattrs(inode).is_some_and(is_open)
            || inode.content().is_some_and(|content| match content {
                Content::Empty => false,
                Content::One(chunk) => is_open(chunk),
                Content::Few(pieces) => pieces.iter().filter_map(Piece::chunk).any(is_open),
                Content::Tree(tree) => !self.seen.contains(&tree.root),
            })
    }

    fn node(&mut self, hash: NodeHash, each: Each<'_>) -> Result<()> {
        if !self.seen.insert(hash) {
            return Ok(());
        }
        // It is not known what was below, and nothing reads that any more.
        if self.store.is_purged(&hash.0) {
            return Ok(());
        }
        each(&hash.0, 0)?;
        match items(self.store, &hash)? {
            Items::Pieces(list) => pieces(&list, each),
            // Levels are at most a dozen, which decoding has checked.
            Items::Children(children) => children.iter().try_for_each(|child| self.node(child.hash, each)),
        }
    }
}

/// The chunk that an inode's extended attributes are in, where they are long.
pub fn long_xattrs(inode: &Inode) -> Option<&ChunkRef> {
    match inode.xattrs.as_deref() {
        Some(Xattrs::Chunk(chunk)) => Some(chunk),
        _ => None,
    }
}

/// Calls `each` with the chunks of pieces of a content.
pub fn pieces(pieces: &[Piece], each: Each<'_>) -> Result<()> {
    pieces.iter().filter_map(Piece::chunk).try_for_each(|chunk| each(&chunk.hash.0, chunk.len))
}

/// What a manifest node lists.
pub fn items(store: &Store, hash: &NodeHash) -> Result<Items> {
    let bytes = store.node(hash)?;
    let decoded = Node::decode(&bytes);
    Ok(decoded.map_err(|why| StoreError::Corrupt(format!("manifest node {hash}: {why}")))?.items)
}

/// Whether an object is one of those that are looked for.
type IsOne<'a> = dyn Fn(&[u8; 32]) -> bool + 'a;

/// Looks for whether contents have any of some objects. What it has gone through it goes through once.
pub struct Search<'a> {
    store: &'a Store,
    is_one: Box<IsOne<'a>>,
    /// What is taken to be below a manifest node that is missing.
    missing: bool,
    /// Manifest nodes, and whether they or what is below are such objects.
    known: HashMap<NodeHash, bool>,
}

impl<'a> Search<'a> {
    /// A search for the objects of which `is_one` says so. `missing`: whether a manifest node that is missing is
    /// taken to have any below it, unless it was purged.
    pub fn new(store: &'a Store, missing: bool, is_one: impl Fn(&[u8; 32]) -> bool + 'a) -> Search<'a> {
        Search { store, is_one: Box::new(is_one), missing, known: HashMap::new() }
    }

    /// Whether an inode has any.
    pub fn inode(&mut self, inode: &Inode) -> Result<bool> {
        match long_xattrs(inode) {
            Some(chunk) if (self.is_one)(&chunk.hash.0) => Ok(true),
            _ => inode.content().map_or(Ok(false), |content| self.content(content)),
        }
    }

    /// Whether a content has any.
    pub fn content(&mut self, content: &Content) -> Result<bool> {
        match content {
            Content::Empty => Ok(false),
            Content::One(chunk) => Ok((self.is_one)(&chunk.hash.0)),
            Content::Few(pieces) => Ok(self.pieces(pieces)),
            Content::Tree(tree) => self.node(tree.root),
        }
    }

    /// Whether any of these pieces is one.
    pub fn pieces(&self, pieces: &[Piece]) -> bool {
        pieces.iter().filter_map(Piece::chunk).any(|chunk| (self.is_one)(&chunk.hash.0))
    }

    fn node(&mut self, hash: NodeHash) -> Result<bool> {
        if let Some(known) = self.known.get(&hash) {
            return Ok(*known);
        }
        let found = (self.is_one)(&hash.0) || self.below(hash)?;
        self.known.insert(hash, found);
        Ok(found)
    }

    fn below(&mut self, hash: NodeHash) -> Result<bool> {
        if self.store.is_purged(&hash.0) {
            return Ok(false);
        }
        match items(self.store, &hash) {
            Err(Error::Store(StoreError::Missing(_))) => Ok(self.missing),
            Err(error) => Err(error),
            Ok(Items::Pieces(pieces)) => Ok(self.pieces(&pieces)),
            // Levels are at most a dozen, which decoding has checked.
            Ok(Items::Children(children)) => {
                for child in children {
                    if self.node(child.hash)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Tells what contents have that those in their place do not have. What is missing from the store is passed over:
/// nothing that is kept has it.
pub struct Difference<'a> {
    store: &'a Store,
    /// Manifest nodes of which all that is below was told.
    told: HashSet<NodeHash>,
    /// Trees that were compared, old and new.
    compared: HashSet<(NodeHash, NodeHash)>,
}

impl<'a> Difference<'a> {
    /// One that has seen nothing.
    pub fn new(store: &'a Store) -> Difference<'a> {
        Difference { store, told: HashSet::new(), compared: HashSet::new() }
    }

    /// Calls `each` with what the old inode holds and the new one does not, and perhaps with some of what both do.
    pub fn inode(&mut self, old: &Inode, new: Option<&Inode>, each: Each<'_>) -> Result<()> {
        if let Some(chunk) = long_xattrs(old)
            && new.and_then(long_xattrs) != Some(chunk)
        {
            each(&chunk.hash.0, chunk.len)?;
        }
        let (old, new) = (old.content().unwrap_or(&Content::Empty), new.and_then(Inode::content));
        if Some(old) == new {
            return Ok(());
        }
        let mut stays = HashSet::new();
        match new {
            Some(Content::One(chunk)) => drop(stays.insert(chunk.hash.0)),
            Some(Content::Few(list)) => note(list, &mut stays)?,
            _ => {}
        }
        match (old, new) {
            (Content::Empty, _) => Ok(()),
            (Content::One(chunk), _) if stays.contains(&chunk.hash.0) => Ok(()),
            (Content::One(chunk), _) => each(&chunk.hash.0, chunk.len),
            (Content::Few(list), _) => but(list, &stays, each),
            (Content::Tree(old), Some(Content::Tree(new))) => self.trees(old, new, each),
            (Content::Tree(old), _) => self.tree(old, each),
        }
    }

    /// All of a tree.
    fn tree(&mut self, tree: &TreeRef, each: Each<'_>) -> Result<()> {
        let mut level = Level::top(tree);
        loop {
            level.nodes.retain(|node| self.told.insert(*node));
            level.nodes.iter().try_for_each(|node| each(&node.0, 0))?;
            if level.height == 0 {
                return pieces(&level.pieces, each);
            }
            level = level.below(self.store)?;
        }
    }

    /// Goes down both trees level by level, where their nodes are not the same. What is told of a node depends on both,
    /// so that it may have more to be told another time.
    fn trees(&mut self, old: &TreeRef, new: &TreeRef, each: Each<'_>) -> Result<()> {
        if !self.compared.insert((old.root, new.root)) {
            return Ok(());
        }
        let (mut olds, mut news) = (Level::top(old), Level::top(new));
        while olds.height > 0 {
            if news.height > olds.height {
                news = news.below(self.store)?;
                continue;
            }
            if news.height == olds.height {
                let same: Vec<NodeHash> = olds.nodes.intersection(&news.nodes).copied().collect();
                for node in &same {
                    olds.nodes.remove(node);
                    news.nodes.remove(node);
                }
                news = news.below(self.store)?;
            }
            olds.nodes.retain(|node| !self.told.contains(node));
            olds.nodes.iter().try_for_each(|node| each(&node.0, 0))?;
            olds = olds.below(self.store)?;
        }
        let mut stays = HashSet::new();
        note(&news.pieces, &mut stays)?;
        but(&olds.pieces, &stays, each)
    }
}

/// Notes the chunks of pieces.
fn note(list: &[Piece], chunks: &mut HashSet<[u8; 32]>) -> Result<()> {
    pieces(list, &mut |hash, _| {
        chunks.insert(*hash);
        Ok(())
    })
}

/// Calls `each` with the chunks of pieces but for those that stay.
fn but(list: &[Piece], stays: &HashSet<[u8; 32]>, each: Each<'_>) -> Result<()> {
    pieces(list, &mut |hash, len| if stays.contains(hash) { Ok(()) } else { each(hash, len) })
}

/// Nodes of a tree that are as high above its pieces.
struct Level {
    nodes: HashSet<NodeHash>,
    height: u8,
    /// Of height 0.
    pieces: Vec<Piece>,
}

impl Level {
    /// That of the root.
    fn top(tree: &TreeRef) -> Level {
        Level { nodes: HashSet::from([tree.root]), height: tree.depth, pieces: Vec::new() }
    }

    fn below(self, store: &Store) -> Result<Level> {
        let (mut nodes, mut all) = (HashSet::new(), Vec::new());
        for node in &self.nodes {
            match items(store, node) {
                Ok(Items::Children(children)) => nodes.extend(children.iter().map(|child| child.hash)),
                Ok(Items::Pieces(pieces)) => all.extend(pieces),
                Err(Error::Store(StoreError::Missing(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Level { nodes, height: self.height.saturating_sub(1), pieces: all })
    }
}
