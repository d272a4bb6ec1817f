//! The seam between file content and where its chunks and manifest nodes are kept.

use crate::model::{ChunkRef, NodeHash};

use super::error::Result;

/// A part of a chunk to read.
#[derive(Debug)]
pub struct ReadPart<'a> {
    /// The chunk.
    pub chunk: ChunkRef,
    /// Bytes of the chunk to skip; `skip + out.len()` is at most the chunk's length.
    pub skip: u32,
    /// Where the bytes go; filled whole.
    pub out: &'a mut [u8],
}

/// Content-addressed chunks and manifest nodes.
///
/// What was put can be read at once by everyone, and survives the death of the process. It is
/// durable after the next sync of the store. Reads give the bytes that were put or an error, never
/// other bytes.
pub trait ObjectStore: Send + Sync {
    /// Stores chunks (each 1 to [`crate::model::content::CHUNK_MAX`] bytes) next to each other in the
    /// order given, but for those already there.
    fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>>;

    /// Fills the parts, in any order; neighbours in the store are read together.
    fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()>;

    /// Stores an encoded manifest node, but for one already there.
    fn put_node(&self, encoded: &[u8]) -> Result<NodeHash>;

    /// The encoded bytes of a manifest node.
    fn node(&self, hash: &NodeHash) -> Result<Vec<u8>>;
}
