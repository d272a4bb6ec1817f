//! Writing a bundle.

use std::collections::HashSet;

use super::{HEADER, MAGIC, frame};
use crate::dataset::dataset::Dataset;
use crate::dataset::error::{Error, Result};
use crate::model::inode::Xattrs;
use crate::model::{
    Body, ChunkRef, Content, DatasetRecord, Inode, NodeHash, Op, Ops, Piece, VersionId, VersionNo, codec,
};
use crate::store::manifest::{Items, Node, pieces_from};
use crate::store::{Error as StoreError, ObjectStore, ReadPart, Store};

/// As many bytes are handed on at a time.
const BUFFER: usize = 256 << 10;
/// zstd's level: what packs are compressed with.
const LEVEL: i32 = 1;

/// What was bundled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bundled {
    /// Number of chunks.
    pub chunks: u64,
    /// Number of tags.
    pub tags: u64,
    /// Bytes of the bundle.
    pub bytes: u64,
}

/// Writes all versions up to `last` to `out`, which is given at most 1 MiB at a time.
///
/// # Errors
/// Where something of them is damaged or lost.
pub fn bundle(
    store: &Store,
    dataset: &Dataset,
    last: VersionNo,
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Bundled> {
    let mut writer = Writer {
        store,
        dataset,
        out,
        buffer: MAGIC.to_vec(),
        hasher: blake3::Hasher::new(),
        seen: HashSet::new(),
        done: Bundled::default(),
    };
    let record = DatasetRecord { archived: false, ..dataset.record() };
    writer.frame(frame::DATASET, &codec::encode(&record))?;
    for number in (1..=last.0).map(VersionNo) {
        writer.version(number).map_err(|error| {
            let why = crate::store::error::chain(&error);
            if matches!(error, Error::Invalid(_)) {
                error
            } else {
                Error::Invalid(format!("{number}: {why}"))
            }
        })?;
    }
    for tag in dataset.tag_history()?.iter().filter(|tag| tag.version.is_none_or(|version| version <= last)) {
        writer.frame(frame::TAG, &codec::encode(tag))?;
        writer.done.tags += 1;
    }
    writer.finish()
}

struct Writer<'a> {
    store: &'a Store,
    dataset: &'a Dataset,
    out: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    /// Chunks and nodes that are in it.
    seen: HashSet<[u8; 32]>,
    done: Bundled,
}

impl Writer<'_> {
    fn version(&mut self, number: VersionNo) -> Result<()> {
        let (id, mut reader) = self.dataset.version_reader(number)?;
        let head = reader.head().clone();
        let mut ops = Ops::default();
        for op in &mut reader {
            let op =
                op.map_err(|source| StoreError::Decode { what: format!("record of {number}"), source })?;
            if let Op::Inode { inode, .. } = &op {
                self.inode(inode)?;
            }
            ops.push(&op);
        }
        let record = head.with(ops);
        if VersionId::of(record.payload()) != id {
            return Err(Error::Lost(format!("the record of {number}")));
        }
        self.frame(frame::VERSION, record.payload())
    }

    fn inode(&mut self, inode: &Inode) -> Result<()> {
        if let Some(Xattrs::Chunk(chunk)) = inode.xattrs.as_deref() {
            self.chunk(*chunk)?;
        }
        let Body::File(content) = &inode.body else { return Ok(()) };
        if let Content::Tree(tree) = content {
            return self.node(&tree.root);
        }
        for piece in pieces_from(self.dataset.objects(), content, 0) {
            if let Piece::Data(chunk) = piece?.1 {
                self.chunk(chunk)?;
            }
        }
        Ok(())
    }

    /// A node with all below it, these first.
    fn node(&mut self, root: &NodeHash) -> Result<()> {
        let mut todo: Vec<(NodeHash, Option<Vec<u8>>)> = vec![(*root, None)];
        while let Some((hash, encoded)) = todo.pop() {
            if let Some(encoded) = encoded {
                self.frame(frame::NODE, &encoded)?;
                continue;
            }
            if !self.seen.insert(hash.0) {
                continue;
            }
            let encoded = self.store.node(&hash)?;
            let node =
                Node::decode(&encoded).map_err(|e| StoreError::Corrupt(format!("node {hash}: {e}")))?;
            todo.push((hash, Some(encoded)));
            match node.items {
                Items::Children(children) => todo.extend(children.iter().map(|child| (child.hash, None))),
                Items::Pieces(pieces) => {
                    for piece in pieces {
                        if let Piece::Data(chunk) = piece {
                            self.chunk(chunk)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: ChunkRef) -> Result<()> {
        if !self.seen.insert(chunk.hash.0) {
            return Ok(());
        }
        let mut bytes = vec![0; chunk.len as usize];
        self.dataset.objects().read_parts(&mut [ReadPart { chunk, skip: 0, out: &mut bytes }])?;
        if crate::model::ChunkHash::of(&bytes) != chunk.hash {
            return Err(StoreError::Corrupt(format!("chunk {} is not what was stored", chunk.hash)).into());
        }
        self.done.chunks += 1;
        match zstd::bulk::compress(&bytes, LEVEL) {
            Ok(packed) if packed.len() < bytes.len() / 20 * 19 => self.frame(frame::PACKED_CHUNK, &packed),
            _ => self.frame(frame::CHUNK, &bytes),
        }
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let mut header = [0; HEADER];
        header[0] = kind;
        header[1..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        self.buffer.extend(header);
        self.buffer.extend(payload);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        self.done.bytes += self.buffer.len() as u64;
        self.buffer.chunks(1 << 20).try_for_each(&mut *self.out)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Bundled> {
        self.flush()?;
        let sum = *self.hasher.finalize().as_bytes();
        self.frame(frame::END, &sum)?;
        self.flush()?;
        Ok(self.done)
    }
}
