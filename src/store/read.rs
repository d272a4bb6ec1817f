//! Reading chunks and records out of packs.
//!
//! A chunk is verified whole the first time it is read after the store was opened; later reads take
//! only the bytes asked for. Neighbours in a pack are read with one call.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};

use parking_lot::Mutex;

use super::Store;
use super::error::{Error, Result};
use super::index::change::{decode_pos, is_reclaimed};
use super::index::keys;
use super::objects::ReadPart;
use super::pack::{
    CODEC_RAW, InPack, LogPos, Pack, Place, Pos, RECORD_HEADER, ReadAt, RecordHeader, RecordKind,
    open_record, read_record,
};
use crate::model::{ChunkHash, NodeHash};

/// Bytes between two parts that are rather read than skipped.
const GAP_MAX: u64 = 4096;
/// Most parts read with one call, so that these and the gaps between stay under Linux's 1024.
const GROUP_MAX: usize = 500;
/// Most verified chunks kept in mind.
const VERIFIED_MAX: usize = 1 << 20;

/// Which chunks have been verified since the store was opened, by where they are.
#[derive(Debug, Default)]
pub struct Verified(Mutex<HashSet<LogPos>>);

impl Verified {
    fn contains(&self, at: LogPos) -> bool {
        self.0.lock().contains(&at)
    }

    fn insert(&self, at: LogPos) {
        let mut set = self.0.lock();
        if set.len() >= VERIFIED_MAX {
            // Forgetting costs no more than verifying again.
            set.clear();
        }
        set.insert(at);
    }
}

/// A stretch of a pack to read.
struct Segment<'a> {
    hash: ChunkHash,
    chunk: Pos,
    /// Where in the pack it begins.
    from: u64,
    verify: bool,
    into: Target<'a>,
}

enum Target<'a> {
    Direct(&'a mut [u8]),
    /// The whole chunk is read, to verify it; then `out` gets what is after `skip`.
    Whole {
        bytes: Vec<u8>,
        skip: usize,
        out: &'a mut [u8],
    },
}

impl Segment<'_> {
    fn buffer(&mut self) -> &mut [u8] {
        match &mut self.into {
            Target::Direct(out) => out,
            Target::Whole { bytes, .. } => bytes,
        }
    }

    fn end(&mut self) -> u64 {
        self.from + self.buffer().len() as u64
    }
}

impl Store {
    /// Fills the parts; see [`super::ObjectStore::read_parts`].
    pub(super) fn read_chunk_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()> {
        let mut segments = parts
            .iter_mut()
            .filter(|part| !part.out.is_empty())
            .map(|part| self.segment(part))
            .collect::<Result<Vec<_>>>()?;
        segments.sort_unstable_by_key(|s| (s.chunk.pack, s.from));
        let mut rest = &mut segments[..];
        while !rest.is_empty() {
            let len = group_len(rest);
            let (group, others) = rest.split_at_mut(len);
            self.read_group(group)?;
            rest = others;
        }
        segments.into_iter().try_for_each(|segment| self.deliver(segment))
    }

    fn segment<'b>(&self, part: &'b mut ReadPart<'_>) -> Result<Segment<'b>> {
        let hash = part.chunk.hash;
        let chunk =
            self.object_pos(&hash.0)?.ok_or_else(|| self.missing(format!("chunk {hash}"), &hash.0))?;
        if chunk.codec != CODEC_RAW || chunk.raw != chunk.stored {
            return Err(Error::Corrupt(format!("chunk {hash} has the unknown codec {}", chunk.codec)));
        }
        let skip = part.skip as usize;
        let whole = chunk.stored as usize;
        if chunk.raw != part.chunk.len || skip.checked_add(part.out.len()).is_none_or(|end| end > whole) {
            return Err(Error::Corrupt(format!(
                "chunk {hash} is of {whole} bytes; {} at {skip} of {} were asked for",
                part.out.len(),
                part.chunk.len
            )));
        }
        let verify = !self.verified.contains(chunk.start());
        let (from, into) = if verify && part.out.len() < whole {
            let into = Target::Whole { bytes: vec![0; whole], skip, out: &mut *part.out };
            (u64::from(chunk.offset), into)
        } else {
            (u64::from(chunk.offset) + skip as u64, Target::Direct(&mut *part.out))
        };
        Ok(Segment { hash, chunk, from, verify, into })
    }

    fn read_group(&self, group: &mut [Segment<'_>]) -> Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let (hash, chunk) = (first.hash, first.chunk);
        let file = self.packs.file(chunk.pack)?;
        read_segments(&file, group).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                let path = self.packs.path(chunk.pack);
                Error::Corrupt(format!("{} ends before chunk {hash} does, or one after", path.display()))
            }
            _ => Error::io("read", &self.packs.path(chunk.pack), e),
        })
    }

    fn deliver(&self, mut segment: Segment<'_>) -> Result<()> {
        let (hash, chunk) = (segment.hash, segment.chunk);
        if segment.verify {
            if ChunkHash::of(segment.buffer()) != hash {
                self.damaged.lock().insert(hash.0);
                return Err(self.damaged_error(&format!("chunk {hash}"), chunk));
            }
            self.verified.insert(chunk.start());
        }
        if let Target::Whole { bytes, skip, out } = segment.into {
            out.copy_from_slice(&bytes[skip..skip + out.len()]);
        }
        Ok(())
    }

    /// An encoded manifest node.
    pub(super) fn read_node(&self, hash: &NodeHash) -> Result<Vec<u8>> {
        let pos = self
            .object_pos(&hash.0)?
            .ok_or_else(|| self.missing(format!("manifest node {hash}"), &hash.0))?;
        let (header, payload) = self.read_at(pos, || format!("manifest node {hash}"))?;
        if header.kind != RecordKind::Node || header.hash != hash.0 {
            self.damaged.lock().insert(hash.0);
            return Err(self.damaged_error(&format!("manifest node {hash}"), pos));
        }
        Ok(payload)
    }

    /// The record whose payload lies at `pos`, verified; `what` names it in errors.
    pub(super) fn read_at(&self, pos: Pos, what: impl Fn() -> String) -> Result<(RecordHeader, Vec<u8>)> {
        self.record_at(pos, what, |pack, len, place| read_record(&pack, len, place))
    }

    /// The same record, of whose payload a part is read at a time.
    pub(super) fn open_at(
        &self,
        pos: Pos,
        what: impl Fn() -> String,
    ) -> Result<(RecordHeader, InPack<Pack>)> {
        self.record_at(pos, what, open_record)
    }

    fn record_at<P>(
        &self,
        pos: Pos,
        what: impl Fn() -> String,
        read: impl FnOnce(Pack, u64, Place) -> io::Result<Option<(RecordHeader, Option<P>)>>,
    ) -> Result<(RecordHeader, P)> {
        let path = || self.packs.path(pos.pack);
        let file = self.packs.file(pos.pack)?;
        let len = file.size().map_err(|e| Error::io("stat", &path(), e))?;
        let offset = pos.offset.saturating_sub(RECORD_HEADER);
        let place = Place { store: self.id, pack: pos.pack, offset };
        match read(file, len, place).map_err(|e| Error::io("read", &path(), e))? {
            Some((header, Some(payload))) => Ok((header, payload)),
            found => {
                if let Some((header, _)) = found.filter(|(h, _)| h.kind.is_object()) {
                    self.damaged.lock().insert(header.hash);
                }
                Err(self.damaged_error(&what(), pos))
            }
        }
    }

    /// The header of the record whose payload lies at `pos`, if it is intact.
    pub(super) fn header_at(&self, pos: Pos) -> Result<Option<RecordHeader>> {
        let offset = pos.offset.saturating_sub(RECORD_HEADER);
        let mut bytes = [0; RECORD_HEADER as usize];
        match self.packs.file(pos.pack)?.fill_at(&mut bytes, u64::from(offset)) {
            Ok(()) => Ok(RecordHeader::decode(&bytes, Place { store: self.id, pack: pos.pack, offset })),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(Error::io("read", &self.packs.path(pos.pack), e)),
        }
    }

    /// Where a chunk or manifest node lies.
    pub(super) fn object_pos(&self, hash: &[u8; 32]) -> Result<Option<Pos>> {
        let found = self.index.get(&keys::object(hash))?.filter(|value| !is_reclaimed(value));
        found.map(|value| decode_pos(&value)).transpose()
    }

    /// What a read of an object says that is not there.
    fn missing(&self, what: String, hash: &[u8; 32]) -> Error {
        Error::Missing(if self.is_purged(hash) {
            format!("{what}, which was purged,")
        } else if self.was_reclaimed(hash) {
            format!("{what}, which was reclaimed since no version that was kept needed it,")
        } else {
            what
        })
    }

    /// Whether an object was reclaimed by a collection, and not stored again since, as far as the index knows.
    pub fn was_reclaimed(&self, hash: &[u8; 32]) -> bool {
        self.index.get(&keys::object(hash)).is_ok_and(|found| found.is_some_and(|value| is_reclaimed(&value)))
    }

    /// Whether an object was purged, and not stored again since.
    pub fn is_purged(&self, hash: &[u8; 32]) -> bool {
        let purged = self.purged.read().contains(hash);
        purged && self.object_pos(hash).is_ok_and(|pos| pos.is_none())
    }

    /// Whether an object was ever purged.
    pub fn was_purged(&self, hash: &[u8; 32]) -> bool {
        self.purged.read().contains(hash)
    }

    /// How many objects were ever purged, as far as is known; none is taken away from them.
    pub fn purged_count(&self) -> u64 {
        self.purged.read().len() as u64
    }

    /// Whether any object was ever purged.
    pub fn has_purged(&self) -> bool {
        self.purged_count() > 0
    }

    /// Notes that these objects were purged.
    pub fn note_purged(&self, hashes: &[[u8; 32]]) {
        self.purged.write().extend(hashes);
    }

    fn damaged_error(&self, what: &str, pos: Pos) -> Error {
        let path = self.packs.path(pos.pack);
        let text = format!("{what} at byte {} of {} is not what was stored", pos.offset, path.display());
        log::error!("{text}");
        Error::Corrupt(text)
    }
}

/// How many segments from the first on are close enough to be read with one call.
fn group_len(segments: &mut [Segment<'_>]) -> usize {
    let mut len = 1;
    while len < segments.len().min(GROUP_MAX) {
        let end = segments[len - 1].end();
        let next = &segments[len];
        let near = next.from.checked_sub(end).is_some_and(|gap| gap <= GAP_MAX);
        if next.chunk.pack != segments[0].chunk.pack || !near {
            break;
        }
        len += 1;
    }
    len
}

fn read_segments(pack: &Pack, group: &mut [Segment<'_>]) -> io::Result<()> {
    if group.len() == 1 || !pack.is_raw() {
        return group.iter_mut().try_for_each(|segment| {
            let from = segment.from;
            pack.fill_at(segment.buffer(), from)
        });
    }
    let Some(start) = group.first().map(|s| s.from) else { return Ok(()) };
    let mut at = start;
    let mut gaps = vec![0; GAP_MAX as usize * group.len()];
    let mut gaps = &mut gaps[..];
    let mut bufs = Vec::with_capacity(group.len() * 2);
    for segment in group.iter_mut() {
        let (gap, others) = gaps.split_at_mut((segment.from - at) as usize);
        gaps = others;
        at = segment.from + segment.buffer().len() as u64;
        if !gap.is_empty() {
            bufs.push(IoSliceMut::new(gap));
        }
        bufs.push(IoSliceMut::new(segment.buffer()));
    }
    let mut bufs = &mut bufs[..];
    let mut from = start;
    while !bufs.is_empty() {
        match rustix::io::preadv(pack.file().file(), bufs, from) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                from += n as u64;
                IoSliceMut::advance_slices(&mut bufs, n);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
