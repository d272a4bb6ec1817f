//! Reading a bundle.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::{HEADER, MAGIC, frame};
use crate::dataset::error::{Error, Result};
use crate::model::content::CHUNK_MAX;
use crate::model::inode::Xattrs;
use crate::model::{
    Body, DatasetId, DatasetRecord, Inode, Op, Ops, Piece, TagRecord, VersionId, VersionNo, VersionReader,
    codec,
};
use crate::store::manifest::{Node, pieces_from};
use crate::store::{Error as StoreError, ObjectStore, Objects, Store};

/// Chunks go to the store together up to as many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Whether the file at `path` is a bundle, of whatever version.
pub fn is_one(path: &Path) -> Result<bool> {
    let io = |e: io::Error| Error::Store(StoreError::io("read", path, e));
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        _ => return Ok(false),
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(14).read_to_end(&mut start)).map_err(io)?;
    Ok(start == MAGIC[..14])
}

/// A bundle that is whole: its checksum fits.
pub struct Bundle {
    path: PathBuf,
    file: File,
    record: DatasetRecord,
    len: u64,
}

/// A frame as it was read.
type Frame = (u8, Vec<u8>);

impl Bundle {
    /// Opens the bundle at `path` and reads it once; `watch` is told how many bytes were read, of how many.
    ///
    /// # Errors
    /// Where it cannot be read, is of an unknown version, altered or truncated.
    pub fn open(path: &Path, watch: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Bundle> {
        let io = |e: io::Error| Error::Store(StoreError::io("read", path, e));
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let bad = |why: &str| Error::Invalid(format!("cannot import {}: {why}", path.display()));
        let mut frames = Frames::new(&file, path)?;
        let (mut record, mut hasher) = (None, blake3::Hasher::new());
        hasher.update(MAGIC);
        while let Some((kind, payload)) = frames.next_frame()? {
            if kind == frame::END {
                let whole = payload == hasher.finalize().as_bytes() && frames.at == len;
                let record =
                    record.filter(|_| whole).ok_or_else(|| bad("the bundle was altered or damaged"))?;
                return Ok(Bundle { path: path.to_owned(), file, record, len });
            }
            if kind == frame::DATASET {
                let decoded = codec::decode_checked::<DatasetRecord>("dataset record", &payload);
                record = Some(decoded.map_err(|e| bad(&e.to_string()))?);
            }
            hasher.update(&[kind]);
            hasher.update(&(payload.len() as u64).to_be_bytes());
            hasher.update(&payload);
            watch(frames.at, 2 * len)?;
        }
        Err(bad("the bundle is truncated"))
    }

    /// What the dataset was.
    pub fn record(&self) -> &DatasetRecord {
        &self.record
    }

    /// Puts all chunks and nodes into the store, and checks that the versions follow one another and need nothing
    /// else. Gives how many there are.
    ///
    /// # Errors
    /// Where they do not, or the store cannot take them.
    pub fn put_objects(
        &self,
        objects: &Objects,
        store: &Store,
        watch: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<VersionNo> {
        let mut frames = self.frames()?;
        let (mut last, mut last_id) = (VersionNo::EMPTY, VersionId::ROOT);
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while let Some((kind, payload)) = frames.next_frame()? {
            let chunk = match kind {
                frame::CHUNK => Some(payload.clone()),
                frame::PACKED_CHUNK => {
                    Some(zstd::bulk::decompress(&payload, CHUNK_MAX).map_err(|e| self.bad(&e.to_string()))?)
                }
                _ => None,
            };
            if let Some(chunk) = chunk {
                bytes += chunk.len();
                chunks.push(chunk);
            }
            if !chunks.is_empty() && (bytes >= BATCH_BYTES || kind == frame::VERSION) {
                let all: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
                store.put_chunks(&all)?;
                (chunks, bytes) = (Vec::new(), 0);
            }
            match kind {
                frame::NODE => {
                    Node::decode(&payload).map_err(|e| self.bad(&e.to_string()))?;
                    store.put_node(&payload)?;
                }
                frame::VERSION => {
                    let id = VersionId::of(&payload);
                    let reader = self.reader(payload)?;
                    let head = reader.head();
                    let follows = head.number == last.next() && head.previous == last_id && head.base <= last;
                    if !follows || head.dataset != self.record.id {
                        return Err(self.bad(&format!("{} does not follow {last}", head.number)));
                    }
                    (last, last_id) = (head.number, id);
                    for op in reader {
                        let op = op.map_err(|e| self.bad(&e.to_string()))?;
                        if let Op::Inode { inode, .. } = op {
                            self.needs(objects, store, &inode, last)?;
                        }
                    }
                }
                frame::TAG => {
                    let tag = self.tag(&payload)?;
                    if tag.version.is_some_and(|version| version > last || version == VersionNo::EMPTY) {
                        return Err(self.bad(&format!("tag {} names no version of it", tag.name)));
                    }
                }
                _ => {}
            }
            watch(self.len + frames.at, 2 * self.len)?;
        }
        match last {
            VersionNo::EMPTY => Err(self.bad("it has no version")),
            last => Ok(last),
        }
    }

    /// Appends all versions and tags to the log, for the dataset with number `id`, but for those that are there
    /// already. Where that is the number they had, the version ids stay; if not, they are others.
    ///
    /// # Errors
    /// Where the store cannot take them, or has others.
    pub fn append(&self, store: &Store, id: DatasetId) -> Result<()> {
        let mut frames = self.frames()?;
        let (had, mut last_id) = (store.last_version(id)?, VersionId::ROOT);
        let tags_had = store.tags(id)?.len() as u64;
        while let Some((kind, payload)) = frames.next_frame()? {
            match kind {
                frame::VERSION => {
                    let own = VersionId::of(&payload);
                    let mut reader = self.reader(payload)?;
                    let mut head = reader.head().clone();
                    (head.dataset, head.previous) = (id, last_id);
                    if head.number <= had {
                        let there = store.version_id(id, head.number)?;
                        let same = there.filter(|there| id != self.record.id || *there == own);
                        last_id = same.ok_or_else(|| self.bad("an attempt before had other versions"))?;
                        continue;
                    }
                    let mut ops = Ops::default();
                    for op in &mut reader {
                        ops.push(&op.map_err(|e| self.bad(&e.to_string()))?);
                    }
                    last_id = store.append_version(&head, ops)?;
                }
                frame::TAG => {
                    let tag = TagRecord { dataset: id, ..self.tag(&payload)? };
                    if tag.sequence > tags_had {
                        store.append_tag(&tag)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that all that a file is made of is in the store.
    fn needs(&self, objects: &Objects, store: &Store, inode: &Inode, version: VersionNo) -> Result<()> {
        let has = |hash: &[u8; 32]| match store.has_object(hash)? {
            true => Ok(()),
            false => Err(self.bad(&format!("a chunk of {version} is not in it"))),
        };
        if let Some(Xattrs::Chunk(chunk)) = inode.xattrs.as_deref() {
            has(&chunk.hash.0)?;
        }
        let Body::File(content) = &inode.body else { return Ok(()) };
        for piece in pieces_from(objects, content, 0) {
            if let (_, Piece::Data(chunk)) = piece? {
                has(&chunk.hash.0)?;
            }
        }
        Ok(())
    }

    fn reader(&self, payload: Vec<u8>) -> Result<VersionReader> {
        VersionReader::new(payload, 0).map_err(|e| self.bad(&e.to_string()))
    }

    fn tag(&self, payload: &[u8]) -> Result<TagRecord> {
        codec::decode("tag record", payload).map_err(|e| self.bad(&e.to_string()))
    }

    fn frames(&self) -> Result<Frames<'_>> {
        (&self.file).rewind().map_err(|e| StoreError::io("read", &self.path, e))?;
        Frames::new(&self.file, &self.path)
    }

    fn bad(&self, why: &str) -> Error {
        Error::Invalid(format!("cannot import {}: {why}", self.path.display()))
    }
}

/// The frames of a bundle.
struct Frames<'a> {
    from: BufReader<&'a File>,
    path: &'a Path,
    /// Bytes read.
    at: u64,
}

impl<'a> Frames<'a> {
    fn new(file: &'a File, path: &'a Path) -> Result<Frames<'a>> {
        let mut frames =
            Frames { from: BufReader::with_capacity(BUFFER, file), path, at: MAGIC.len() as u64 };
        let mut start = [0; MAGIC.len()];
        match frames.from.read_exact(&mut start) {
            Ok(()) if start == *MAGIC => Ok(frames),
            _ => Err(Error::Invalid(format!(
                "cannot import {}: it is a bundle of a version that this release does not know",
                path.display()
            ))),
        }
    }

    /// The next frame; `None` after the end. Memory is taken for bytes that are there, whatever a length says.
    fn next_frame(&mut self) -> Result<Option<Frame>> {
        let io = |e: io::Error| Error::Store(StoreError::io("read", self.path, e));
        let mut header = [0; HEADER];
        let mut payload = Vec::new();
        match self.from.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(io(e)),
        }
        let mut len = [0; 8];
        len.copy_from_slice(&header[1..]);
        let len = u64::from_be_bytes(len);
        (&mut self.from).take(len).read_to_end(&mut payload).map_err(io)?;
        if payload.len() as u64 != len {
            return Ok(None);
        }
        self.at += HEADER as u64 + len;
        Ok(Some((header[0], payload)))
    }
}
