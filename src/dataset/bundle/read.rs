//! Reading a bundle.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::given_up::{GivenUp, left_out};
use super::{
    HEADER, MAGIC, MAGIC_AFTER, MAGIC_ANNOTATED, MAGIC_GIVEN_UP, MAGIC_PINNED, frame, may_have, pins,
};
use crate::dataset::dataset::Rollback;
use crate::dataset::error::{Error, Result};
use crate::model::content::CHUNK_MAX;
use crate::model::inode::Xattrs;
use crate::model::{
    AnnotationRecord, Body, Content, DatasetRecord, Inode, Op, Piece, RetentionRecord, Span, TagRecord,
    VersionId, VersionNo, VersionReader, codec,
};
use crate::store::manifest::{Node, pieces_from};
use crate::store::{Error as StoreError, ObjectStore, Objects, Store};

/// Chunks go to the store together up to as many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// No version has a higher number.
const SINCE_MAX: VersionNo = VersionNo(1 << 60);
/// The kinds of frames that hold what files are made of.
pub(super) const CONTENT: &[u8] = &[frame::CHUNK, frame::PACKED_CHUNK, frame::NODE];
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Bytes by which a bundle is known.
pub const KNOWN_BY: usize = 14;

/// Whether these first bytes are those of a bundle, of whatever version.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC[..KNOWN_BY])
}

/// Whether the file at `path` is a bundle, of whatever version.
pub fn is_one(path: &Path) -> Result<bool> {
    let io = |e: io::Error| Error::Store(StoreError::io("read", path, e));
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        _ => return Ok(false),
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(KNOWN_BY as u64).read_to_end(&mut start)).map_err(io)?;
    Ok(begins(&start))
}

/// A bundle that is whole: its checksum fits.
pub struct Bundle {
    path: PathBuf,
    file: File,
    record: DatasetRecord,
    pub(super) len: u64,
    /// The version it begins after.
    pub(super) since: (VersionNo, VersionId),
    /// The ids of its versions.
    pub(super) ids: Vec<VersionId>,
    /// Its rollbacks: the version made and the version restored.
    pub(super) rollbacks: Vec<Rollback>,
    /// What was given up.
    pub(super) given_up: GivenUp,
    /// Its pins, each with the version.
    pub(super) pins: Vec<(VersionNo, RetentionRecord)>,
}

/// A frame as it was read.
pub(super) type Frame = (u8, Vec<u8>);

impl Bundle {
    /// Opens the bundle at `path` and reads it once; `watch` is told how many bytes were read, of how many.
    ///
    /// # Errors
    /// Where it cannot be read, is of an unknown version, altered or truncated, or where its versions are no chain
    /// of hashes.
    pub fn open(path: &Path, watch: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Bundle> {
        let file = File::open(path).map_err(|e| StoreError::io("read", path, e))?;
        Bundle::of(file, path, watch)
    }

    /// The same of an open file, which errors are to name `path`.
    pub fn of(mut file: File, path: &Path, watch: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Bundle> {
        let io = |e: io::Error| Error::Store(StoreError::io("read", path, e));
        file.rewind().map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let bad = |why: &str| bad(path, why);
        let mut frames = Frames::new(&file, path)?;
        let mut record: Option<DatasetRecord> = None;
        let mut since = (VersionNo::EMPTY, VersionId::ROOT);
        let (mut ids, mut rollbacks, mut given_up) = (Vec::new(), Vec::new(), GivenUp::default());
        let mut pins = Vec::new();
        let mut hasher = blake3::Hasher::new();
        hasher.update(frames.magic);
        while let Some((kind, payload)) = frames.next_frame()? {
            match kind {
                frame::END => {
                    let whole = payload == hasher.finalize().as_bytes() && frames.at == len;
                    let begins_after = since.0 > VersionNo::EMPTY;
                    let fits = may_have(frames.magic, frame::ANNOTATION)
                        || begins_after == (frames.magic == MAGIC_AFTER);
                    let record = record.filter(|_| whole && fits);
                    let record =
                        record.ok_or_else(|| bad("its checksum does not fit: it was altered or damaged"))?;
                    if ids.is_empty() {
                        return Err(bad("it has no version"));
                    }
                    let path = path.to_owned();
                    let bundle = Bundle { path, file, record, len, since, ids, rollbacks, given_up, pins };
                    let (since, last) = (bundle.since(), bundle.last());
                    let mut pruned = bundle.given_up.pruned.spans().iter();
                    if let Some(span) = pruned.find(|span| span.first <= since || span.last >= last) {
                        let Span { first, last } = span;
                        return Err(bundle.bad(&format!("{first} to {last} cannot have been pruned of it")));
                    }
                    return bundle.check_pins().map(|()| bundle);
                }
                frame::DATASET if record.is_none() => {
                    let decoded = codec::decode_checked::<DatasetRecord>("dataset record", &payload);
                    record = Some(decoded.map_err(|e| bad(&e.to_string()))?);
                }
                frame::AFTER if ids.is_empty() && since.0 == VersionNo::EMPTY => {
                    let split = payload.split_first_chunk::<8>();
                    let split = split.and_then(|(number, id)| Some((*number, id.try_into().ok()?)));
                    let (number, id) = split.ok_or_else(|| bad("where it begins is not told"))?;
                    since = (VersionNo(u64::from_be_bytes(number)), VersionId(id));
                    if since.0 > SINCE_MAX {
                        return Err(bad("it begins after a version of no possible number"));
                    }
                }
                frame::GIVEN_UP if ids.is_empty() && may_have(frames.magic, kind) => {
                    given_up.take_frame(&payload).map_err(|e| bad(&e))?;
                }
                frame::VERSION => {
                    let id = VersionId::of(&payload);
                    let reader = VersionReader::new(payload.clone(), 0).map_err(|e| bad(&e.to_string()))?;
                    let head = reader.head();
                    let last = VersionNo(since.0.0 + ids.len() as u64);
                    let wrong = match head {
                        _ if head.number != last.next() => Some(format!("{} is due", last.next())),
                        _ if head.previous != *ids.last().unwrap_or(&since.1) => {
                            Some(format!("the version before it is not the {last} that it names"))
                        }
                        _ if head.base > last => Some(format!("it restores {}", head.base)),
                        _ if record.as_ref().is_none_or(|record| record.id != head.dataset) => {
                            Some("it is of another dataset".into())
                        }
                        _ => None,
                    };
                    if let Some(wrong) = wrong {
                        let (number, begins) = (head.number, frames.begins);
                        return Err(bad(&format!("{number} (at byte {begins}) does not fit: {wrong}")));
                    }
                    if head.base < last {
                        rollbacks.push((head.number, head.base));
                    }
                    ids.push(id);
                }
                frame::PIN if may_have(frames.magic, kind) => {
                    pins.push(pins::decode(&payload).map_err(|e| bad(&e))?);
                }
                frame::CHUNK | frame::PACKED_CHUNK | frame::NODE | frame::TAG => {}
                frame::ANNOTATION | frame::LEFT_OUT if may_have(frames.magic, kind) => {}
                _ => return Err(bad(&format!("what is at byte {} does not belong there", frames.begins))),
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

    /// Its last version.
    pub fn last(&self) -> VersionNo {
        VersionNo(self.since.0.0 + self.ids.len() as u64)
    }

    /// The version that it begins after; 0 where it has all up to its last.
    pub fn since(&self) -> VersionNo {
        self.since.0
    }

    /// Puts all chunks and nodes into the store, and checks that the versions need nothing else.
    ///
    /// # Errors
    /// Where they do, or the store cannot take them.
    pub fn put_objects(
        &self,
        objects: &Objects,
        store: &Store,
        watch: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut frames = self.frames()?;
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let mut lacks = HashSet::new();
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
                frame::LEFT_OUT => lacks = left_out(&payload),
                frame::VERSION => {
                    let lacks = std::mem::take(&mut lacks);
                    let reader = self.reader(payload)?;
                    let number = reader.head().number;
                    for op in reader {
                        let op = op.map_err(|e| self.bad(&e.to_string()))?;
                        if let Op::Inode { ino, inode } = op
                            && !lacks.contains(&ino)
                        {
                            self.needs(objects, store, &inode, number)?;
                        }
                    }
                }
                _ => {}
            }
            watch(self.len + frames.at, 2 * self.len)?;
        }
        Ok(())
    }

    /// Checks that all that a file is made of is in the store, but for what was purged.
    fn needs(&self, objects: &Objects, store: &Store, inode: &Inode, version: VersionNo) -> Result<()> {
        let is_purged = |hash: &[u8; 32]| self.given_up.purged.contains(hash);
        let has = |hash: &[u8; 32]| match store.has_object(hash)? || is_purged(hash) {
            true => Ok(()),
            false => Err(self.bad(&format!("a chunk of {version} is not in it"))),
        };
        if let Some(Xattrs::Chunk(chunk)) = inode.xattrs.as_deref() {
            has(&chunk.hash.0)?;
        }
        let Body::File(content) = &inode.body else { return Ok(()) };
        if let Content::Tree(tree) = content
            && is_purged(&tree.root.0)
            && !store.has_object(&tree.root.0)?
        {
            return Ok(());
        }
        for piece in pieces_from(objects, content, 0) {
            if let (_, Piece::Data(chunk)) = piece? {
                has(&chunk.hash.0)?;
            }
        }
        Ok(())
    }

    pub(super) fn reader(&self, payload: Vec<u8>) -> Result<VersionReader> {
        VersionReader::new(payload, 0).map_err(|e| self.bad(&e.to_string()))
    }

    pub(super) fn tag(&self, payload: &[u8]) -> Result<TagRecord> {
        codec::decode("tag record", payload).map_err(|e| self.bad(&e.to_string()))
    }

    pub(super) fn annotation(&self, payload: &[u8]) -> Result<AnnotationRecord> {
        let record = codec::decode_checked::<AnnotationRecord>("annotation record", payload);
        let record = record.map_err(|e| self.bad(&e.to_string()))?;
        record.remark.check().map_err(|e| self.bad(&e.to_string()))?;
        Ok(record)
    }

    pub(super) fn frames(&self) -> Result<Frames<'_>> {
        (&self.file).rewind().map_err(|e| StoreError::io("read", &self.path, e))?;
        Frames::new(&self.file, &self.path)
    }

    pub(super) fn bad(&self, why: &str) -> Error {
        bad(&self.path, why)
    }
}

fn bad(path: &Path, why: &str) -> Error {
    Error::Invalid(format!("cannot import {}: {why}", path.display()))
}

/// The frames of a bundle.
pub(super) struct Frames<'a> {
    /// How the bundle begins.
    pub magic: &'static [u8; 16],
    from: BufReader<&'a File>,
    path: &'a Path,
    /// Where the last frame read begins.
    pub begins: u64,
    /// Where it ends.
    at: u64,
}

impl<'a> Frames<'a> {
    fn new(file: &'a File, path: &'a Path) -> Result<Frames<'a>> {
        let mut from = BufReader::with_capacity(BUFFER, file);
        let mut start = [0; MAGIC.len()];
        let read = from.read_exact(&mut start);
        let known = [MAGIC, MAGIC_AFTER, MAGIC_ANNOTATED, MAGIC_GIVEN_UP, MAGIC_PINNED]
            .into_iter()
            .find(|magic| read.is_ok() && **magic == start);
        let magic =
            known.ok_or_else(|| bad(path, "it is a bundle of a version that this release does not know"))?;
        let at = MAGIC.len() as u64;
        Ok(Frames { magic, from, path, begins: at, at })
    }

    /// The next frame; `None` after the end. Memory is taken for bytes that are there, whatever a length says.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        self.next_frame_but(&[])
    }

    /// The next frame that is of none of these kinds.
    pub fn next_frame_but(&mut self, skipped: &[u8]) -> Result<Option<Frame>> {
        let io = |e: io::Error| Error::Store(StoreError::io("read", self.path, e));
        loop {
            let mut header = [0; HEADER];
            match self.from.read_exact(&mut header) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(io(e)),
            }
            let mut len = [0; 8];
            len.copy_from_slice(&header[1..]);
            let len = u64::from_be_bytes(len);
            self.begins = self.at;
            self.at = self.at.saturating_add(HEADER as u64).saturating_add(len);
            if let (true, Ok(len)) = (skipped.contains(&header[0]), i64::try_from(len)) {
                self.from.seek_relative(len).map_err(io)?;
                continue;
            }
            let mut payload = Vec::new();
            (&mut self.from).take(len).read_to_end(&mut payload).map_err(io)?;
            return Ok((payload.len() as u64 == len).then_some((header[0], payload)));
        }
    }
}
