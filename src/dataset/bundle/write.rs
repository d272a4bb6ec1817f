//! Writing a bundle.

use std::collections::HashSet;

use super::given_up::{GivenUp, encode_left_out, given_up};
use super::output::{Out, Output};
use super::pins::pins;
use super::{MAGIC, MAGIC_AFTER, MAGIC_ANNOTATED, MAGIC_GIVEN_UP, MAGIC_PINNED, frame};
use crate::dataset::dataset::Dataset;
use crate::dataset::error::{Error, Result};
use crate::dataset::retention::live::Keeping;
use crate::dataset::retention::walk::Walker;
use crate::model::inode::Xattrs;
use crate::model::{
    Body, ChunkRef, Content, DatasetRecord, Ino, Inode, Kind, NodeHash, Op, Ops, Piece, Span, VersionId,
    VersionNo, codec,
};
use crate::store::manifest::{Items, Node, pieces_from};
use crate::store::{Error as StoreError, ObjectStore, ReadPart, Store};

/// zstd's level: what packs are compressed with.
const LEVEL: i32 = 1;

/// What was bundled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bundled {
    /// Number of chunks.
    pub chunks: u64,
    /// Number of tag records.
    pub tags: u64,
    /// Number of annotation records.
    pub annotations: u64,
    /// Number of pins.
    pub pins: u64,
    /// Number of versions that were pruned.
    pub pruned: u64,
    /// Number of purges.
    pub purges: u64,
    /// Bytes of the bundle.
    pub bytes: u64,
}

/// Writes the versions after `since` (all where that is 0) up to `last` to `out`. What the tree of `since`
/// holds is left out: who has that version has it. So is what only pruned versions had. `since` and `last` must
/// be kept, and stay so meanwhile, as must those between that are.
///
/// # Errors
/// Where something of them is damaged or lost.
pub fn bundle(
    store: &Store,
    dataset: &Dataset,
    since: VersionNo,
    last: VersionNo,
    out: Out<'_>,
) -> Result<Bundled> {
    let said = |version: VersionNo| version <= last;
    let annotations: Vec<_> =
        dataset.all_annotations()?.into_iter().filter(|record| said(record.version)).collect();
    let pins = pins(store, dataset.id(), last)?;
    // One without annotations and pins can be read by releases that know none in bundles.
    let pruned = dataset.pruned();
    let given_up = GivenUp::of(given_up(store, dataset.id(), Span { first: since.next(), last })?);
    let magic = match (annotations.is_empty(), since) {
        _ if !pins.is_empty() => MAGIC_PINNED,
        _ if !given_up.records().is_empty() => MAGIC_GIVEN_UP,
        (false, _) => MAGIC_ANNOTATED,
        (true, VersionNo::EMPTY) => MAGIC,
        (true, _) => MAGIC_AFTER,
    };
    let (out, seen) = (Output::new(magic, out), HashSet::new());
    let (pruned_count, purges) = given_up.counts();
    let done = Bundled { pruned: pruned_count, purges, ..Bundled::default() };
    let keeping = Keeping::new(dataset, pruned);
    let mut writer = Writer { store, dataset, keeping, out, seen, done };
    let record = DatasetRecord { archived: false, ..dataset.record() };
    writer.out.frame(frame::DATASET, &codec::encode(&record))?;
    if since > VersionNo::EMPTY {
        let (id, _) = dataset.version_reader(since)?;
        writer.out.frame(frame::AFTER, &[&since.0.to_be_bytes()[..], &id.0].concat())?;
        writer.leave_out(since)?;
    }
    for record in given_up.records() {
        writer.out.frame(frame::GIVEN_UP, &codec::encode(record))?;
    }
    for number in (since.0 + 1..=last.0).map(VersionNo) {
        writer.version(number).map_err(|error| {
            let why = crate::store::error::chain(&error);
            if matches!(error, Error::Invalid(_)) {
                error
            } else {
                Error::Invalid(format!("{number}: {why}"))
            }
        })?;
    }
    for tag in dataset.tag_history()?.iter().filter(|tag| tag.version.is_none_or(said)) {
        writer.out.frame(frame::TAG, &codec::encode(tag))?;
        writer.done.tags += 1;
    }
    for annotation in &annotations {
        writer.out.frame(frame::ANNOTATION, &codec::encode(annotation))?;
        writer.done.annotations += 1;
    }
    for pin in &pins {
        writer.out.frame(frame::PIN, &codec::encode(pin))?;
        writer.done.pins += 1;
    }
    Ok(Bundled { bytes: writer.out.finish()?, ..writer.done })
}

struct Writer<'a> {
    store: &'a Store,
    dataset: &'a Dataset,
    keeping: Keeping<'a>,
    out: Output<'a>,
    /// Chunks and nodes that are in it, or left out.
    seen: HashSet<[u8; 32]>,
    done: Bundled,
}

impl Writer<'_> {
    /// Leaves out what the tree of a version holds.
    fn leave_out(&mut self, version: VersionNo) -> Result<()> {
        let tree = self.dataset.frozen(version);
        let mut walker = Walker::new(self.store);
        let mut has = |ino: Ino| {
            walker.inode(&tree.inode(ino)?.1, &mut |hash, _| {
                self.seen.insert(*hash);
                Ok(())
            })
        };
        has(Ino::ROOT)?;
        let mut dirs = vec![Ino::ROOT];
        while let Some(dir) = dirs.pop() {
            for entry in tree.all_entries(dir)? {
                has(entry.ino)?;
                dirs.extend((entry.kind == Kind::Dir).then_some(entry.ino));
            }
        }
        Ok(())
    }

    fn version(&mut self, number: VersionNo) -> Result<()> {
        let (id, mut reader) = self.dataset.version_reader(number)?;
        let head = reader.head().clone();
        let (mut ops, mut left_out) = (Ops::default(), Vec::new());
        for op in &mut reader {
            let op =
                op.map_err(|source| StoreError::Decode { what: format!("record of {number}"), source })?;
            if let Op::Inode { ino, inode } = &op {
                match self.keeping.needs(*ino, number)? {
                    true => self.inode(inode)?,
                    false => left_out.push(*ino),
                }
            }
            ops.push(&op);
        }
        let record = head.with(ops);
        if VersionId::of(record.payload()) != id {
            return Err(Error::Lost(format!("the record of {number}")));
        }
        if !left_out.is_empty() {
            self.out.frame(frame::LEFT_OUT, &encode_left_out(&left_out))?;
        }
        self.out.frame(frame::VERSION, record.payload())
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
                self.out.frame(frame::NODE, &encoded)?;
                continue;
            }
            if !self.seen.insert(hash.0) || self.store.is_purged(&hash.0) {
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
        if !self.seen.insert(chunk.hash.0) || self.store.is_purged(&chunk.hash.0) {
            return Ok(());
        }
        let mut bytes = vec![0; chunk.len as usize];
        self.dataset.objects().read_parts(&mut [ReadPart { chunk, skip: 0, out: &mut bytes }])?;
        if crate::model::ChunkHash::of(&bytes) != chunk.hash {
            return Err(StoreError::Corrupt(format!("chunk {} is not what was stored", chunk.hash)).into());
        }
        self.done.chunks += 1;
        match zstd::bulk::compress(&bytes, LEVEL) {
            Ok(packed) if packed.len() < bytes.len() / 20 * 19 => {
                self.out.frame(frame::PACKED_CHUNK, &packed)
            }
            _ => self.out.frame(frame::CHUNK, &bytes),
        }
    }
}
