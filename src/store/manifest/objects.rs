//! An object store as content uses it: with its manifest nodes decoded, checked and cached.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::node::{Child, LEVEL_MAX, Node};
use crate::model::{ChunkHash, ChunkRef, NodeHash, TreeRef};
use crate::store::error::{Error, Result};
use crate::store::objects::{ObjectStore, ReadPart};

/// Decoded nodes kept: some 4 KiB each, so 8 MiB, enough for the paths into 200,000 chunks.
const CACHED_NODES: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// An object store and a cache of its manifest nodes.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    nodes: Mutex<LruCache<NodeHash, Arc<Node>>>,
}

impl Objects {
    /// With an empty cache.
    pub fn new(store: Arc<dyn ObjectStore>) -> Objects {
        Objects { store, nodes: Mutex::new(LruCache::new(CACHED_NODES)) }
    }

    /// An object store that keeps nothing, for learning a content's id.
    pub fn hash_only() -> Objects {
        Objects::new(Arc::new(HashOnly))
    }

    /// The store itself.
    pub fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// The store itself, to be taken to another thread.
    pub(in crate::store) fn share_store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// See [`ObjectStore::put_chunks`].
    pub fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>> {
        self.store.put_chunks(chunks)
    }

    /// See [`ObjectStore::read_parts`].
    pub fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()> {
        self.store.read_parts(parts)
    }

    /// Stores a node.
    pub(super) fn put_node(&self, node: Node) -> Result<Child> {
        let child = Child { hash: self.store.put_node(&node.encode())?, size: node.size() };
        self.nodes.lock().put(child.hash, Arc::new(node));
        Ok(child)
    }

    /// The node that `child` names, which is to be of this level and of its size.
    pub(super) fn node(&self, child: &Child, level: u8) -> Result<Arc<Node>> {
        let cached = self.nodes.lock().get(&child.hash).cloned();
        let node = match cached {
            Some(node) => node,
            None => {
                let bytes = self.store.node(&child.hash)?;
                let node = Node::decode(&bytes)
                    .map_err(|reason| Error::Corrupt(format!("manifest node {}: {reason}", child.hash)))?;
                let node = Arc::new(node);
                self.nodes.lock().put(child.hash, node.clone());
                node
            }
        };
        if node.level != level || node.size() != child.size {
            return Err(Error::Corrupt(format!(
                "manifest node {} is of level {} and {} bytes, level {level} and {} bytes were wanted",
                child.hash,
                node.level,
                node.size(),
                child.size
            )));
        }
        Ok(node)
    }

    /// The node of this level that `offset` (less than the tree's size) lies in, and the offset it
    /// starts at. `level` is less than the tree's depth.
    pub(super) fn node_at(&self, tree: &TreeRef, level: u8, offset: u64) -> Result<(Arc<Node>, u64)> {
        let mut start = 0;
        let mut child = Child { hash: tree.root, size: tree.size };
        let mut at = match tree.depth {
            depth @ 1.. if depth - 1 <= LEVEL_MAX => depth - 1,
            depth => return Err(Error::Corrupt(format!("manifest {} of depth {depth}", tree.root))),
        };
        loop {
            let node = self.node(&child, at)?;
            if at == level {
                return Ok((node, start));
            }
            child = super::walk::find::<Child>(&node, &mut start, offset)?.1;
            at -= 1;
        }
    }
}

/// An [`ObjectStore`] that hashes what it is given and keeps nothing.
pub struct HashOnly;

impl ObjectStore for HashOnly {
    fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>> {
        Ok(chunks.iter().map(|c| ChunkRef { hash: ChunkHash::of(c), len: c.len() as u32 }).collect())
    }

    fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()> {
        match parts.first() {
            Some(part) => Err(Error::Missing(format!("chunk {}", part.chunk.hash))),
            None => Ok(()),
        }
    }

    fn put_node(&self, encoded: &[u8]) -> Result<NodeHash> {
        Ok(NodeHash::of(encoded))
    }

    fn node(&self, hash: &NodeHash) -> Result<Vec<u8>> {
        Err(Error::Missing(format!("manifest node {hash}")))
    }
}
