//! What tests of the content layer share: object stores in memory, and bytes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::chunker::next_cut;
use super::error::{Error, Result};
use super::manifest::{Objects, TreeBuilder};
use super::objects::{ObjectStore, ReadPart};
use crate::model::content::CHUNK_MAX;
use crate::model::{ChunkHash, ChunkRef, Content, NodeHash, Piece};

/// `len` bytes that look random and follow from `seed` alone (xorshift64*).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes of all the sorts that chunking tells apart: noise, zeros, repeats; up to some 1 MiB.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let run = prop_oneof![
        4 => (0..40_u64, 0..200_000_usize).prop_map(|(seed, len)| noise(seed, len)),
        2 => (0..400_000_usize).prop_map(|len| vec![0; len]),
        1 => (1..4_usize).prop_map(|chunks| vec![0; chunks * CHUNK_MAX]),
        1 => (any::<u8>(), 0..300_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => (0..500_usize).prop_map(|len| noise(7, len)),
    ];
    prop::collection::vec(run, 0..7).prop_map(|runs| runs.concat())
}

/// The content of `bytes`, chunked by the book.
pub fn content_of(objects: &Objects, bytes: &[u8]) -> Content {
    let mut builder = TreeBuilder::new(objects);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(next_cut(rest));
        rest = after;
        builder
            .push(match chunk {
                zeros if zeros == [0; CHUNK_MAX] => Piece::Zeros(1),
                data => Piece::Data(objects.put_chunks(&[data]).unwrap()[0]),
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

/// An [`ObjectStore`] in memory that counts what is asked of it and can be made to run full.
#[derive(Default)]
pub struct MemObjects {
    chunks: Mutex<HashMap<ChunkHash, Vec<u8>>>,
    nodes: Mutex<HashMap<NodeHash, Vec<u8>>>,
    /// Puts left until one fails, as with a full disk; negative: none ever does.
    puts_left: AtomicI64,
    /// Bytes of chunks given to be stored, known ones included.
    pub bytes_put: AtomicU64,
    /// Bytes of chunks read.
    pub bytes_read: AtomicU64,
    /// Calls of `read_parts`.
    pub reads: AtomicU64,
}

impl MemObjects {
    /// An empty store, and the same one as the content layer wants it.
    pub fn new() -> (Arc<MemObjects>, Objects) {
        let store = Arc::new(MemObjects { puts_left: AtomicI64::new(-1), ..Default::default() });
        (store.clone(), Objects::new(store))
    }

    /// Lets `puts` more puts succeed and the one after them fail.
    pub fn fail_after(&self, puts: u32) {
        self.puts_left.store(i64::from(puts), Relaxed);
    }

    /// Lets all puts succeed.
    pub fn never_fail(&self) {
        self.puts_left.store(-1, Relaxed);
    }

    /// Starts counting anew.
    pub fn reset_counts(&self) {
        for count in [&self.bytes_put, &self.bytes_read, &self.reads] {
            count.store(0, Relaxed);
        }
    }

    /// Forgets everything stored.
    pub fn clear(&self) {
        self.chunks.lock().clear();
        self.nodes.lock().clear();
    }

    /// How many distinct chunks and nodes are stored.
    pub fn len(&self) -> (usize, usize) {
        (self.chunks.lock().len(), self.nodes.lock().len())
    }

    fn count_put(&self) -> Result<()> {
        match self.puts_left.load(Relaxed) {
            0 => {
                self.puts_left.store(-1, Relaxed);
                Err(Error::NoSpace(PathBuf::from("memory")))
            }
            left if left > 0 => {
                self.puts_left.store(left - 1, Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl ObjectStore for MemObjects {
    fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>> {
        self.count_put()?;
        let mut stored = self.chunks.lock();
        let refs = chunks.iter().map(|bytes| {
            assert!(!bytes.is_empty() && bytes.len() <= CHUNK_MAX);
            self.bytes_put.fetch_add(bytes.len() as u64, Relaxed);
            let hash = ChunkHash::of(bytes);
            stored.entry(hash).or_insert_with(|| bytes.to_vec());
            ChunkRef { hash, len: bytes.len() as u32 }
        });
        Ok(refs.collect())
    }

    fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()> {
        self.reads.fetch_add(1, Relaxed);
        let stored = self.chunks.lock();
        for part in parts {
            let hash = part.chunk.hash;
            let bytes = stored.get(&hash).ok_or_else(|| Error::Missing(format!("chunk {hash}")))?;
            assert_eq!(bytes.len(), part.chunk.len as usize);
            self.bytes_read.fetch_add(part.out.len() as u64, Relaxed);
            part.out.copy_from_slice(&bytes[part.skip as usize..][..part.out.len()]);
        }
        Ok(())
    }

    fn put_node(&self, encoded: &[u8]) -> Result<NodeHash> {
        self.count_put()?;
        let hash = NodeHash::of(encoded);
        self.nodes.lock().insert(hash, encoded.to_vec());
        Ok(hash)
    }

    fn node(&self, hash: &NodeHash) -> Result<Vec<u8>> {
        self.nodes.lock().get(hash).cloned().ok_or_else(|| Error::Missing(format!("manifest node {hash}")))
    }
}
