//! A file being written: a content, and what has changed since.
//!
//! Bytes written at the end stream into the store as they come (the [tail](tail::Tail)); bytes written
//! elsewhere wait in memory as [extents](extents::Extents) over the base. Once they are many, those that
//! follow one another stream into the store as well (the [run](WorkingFile::run)), the others wait in a scratch
//! file. [`settle`](WorkingFile::settle) makes one content of it all.
//!
//! Invariants:
//! - settling gives what chunking all bytes of the file from the start would give, at a cost that
//!   follows what was changed;
//! - memory stays within a few MiB, whatever is written;
//! - after an error nothing written before is lost: it can be read, and settled later.
//!
//! A long tail is cut by the thread that writes, and hashed and stored by another while more is written
//! ([`ahead`]): on two processors, cutting takes one as long as all else takes the other. Whoever wants anything
//! else than write on waits for it: methods that change the file do so themselves, before those that only read, call
//! [`join`](WorkingFile::join).
//!
//! A file that is appended to little by little is settled at each close, and its last chunk stored anew each time, of
//! up to 128 KiB: 10,000 appends of 50 bytes leave 450 MiB. It is not avoided:
//!
//! - A last chunk cut elsewhere would be another content for the same bytes ([`crate::model::content`]): ids would
//!   tell how a file came to be, and the same file written at once would be stored again.
//! - Each of these contents is a version's where every close makes one. Where a version is made on request, it is in a
//!   record of changes that a replay after a kill reads, and may have been copied or found by who put the same; that
//!   nothing needs it is known once all that could has been looked at, which is a collection
//!   ([`super::collect`]). It begins with what was put since the last one, and gives these back.
//!
//! Such chunks lie next to each other in the packs and are mostly the same, so that compressing them, which happens
//! within seconds, leaves a tenth.
//!
//! What it does not know: who else has the file open. Callers see to it that one thread at a time
//! changes it.

mod ahead;
mod extents;
mod settle;
mod tail;
mod write;

use std::path::Path;

use self::extents::{Extents, Kind};
use self::tail::Tail;
use super::content::{self, BLOCK, read_at, read_pieces};
use super::error::{Error, Result};
use super::manifest::Objects;
use super::scratch::Scratch;
use crate::model::{Content, Piece};

/// When to make room, so that memory is bounded.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes of extents in memory; past it they go to the scratch file.
    ram: usize,
    /// Bytes of the tail in memory; at it those that are whole chunks are stored, together.
    buffer: usize,
    /// Number of extents; at it the file is settled.
    extents: usize,
    /// Pieces that wait to become part of a manifest, of 40 bytes each.
    pieces: usize,
}

impl Limits {
    const DEFAULT: Limits = Limits { ram: 4 << 20, buffer: BLOCK, extents: 512 << 10, pieces: 64 << 10 };
}

/// A file being written.
#[derive(Debug)]
pub struct WorkingFile {
    /// The content that extents and tail are changes of.
    base: Content,
    /// Bytes of the base that are still the file's, but for extents; at most `size`.
    kept: u64,
    size: u64,
    extents: Extents,
    /// Bytes past `kept` and all extents that stream into the store, if any do.
    tail: Option<Tail>,
    /// Bytes within the size, in place of what was there, that stream into the store. There are no extents
    /// below them, and no tail beside them.
    run: Option<Tail>,
    scratch: Scratch,
    dirty: bool,
    limits: Limits,
}

/// Bytes of the file that come from one place.
struct Segment<'a> {
    /// Where it ends in the file.
    end: u64,
    source: Source<'a>,
}

enum Source<'a> {
    /// These, and no others up to the segment's end.
    Ram(&'a [u8]),
    Scratch,
    Zeros,
    /// The base, at the same offset.
    Base,
    /// Another content, from this offset on.
    Copy(&'a Content, u64),
    /// What the tail or the run has stored.
    Tail(&'a Tail),
}

impl WorkingFile {
    /// A file with the bytes of `base`. A scratch file, should it need one, is made in the directory
    /// `scratch`.
    pub fn new(base: Content, scratch: &Path) -> WorkingFile {
        WorkingFile::with_limits(base, scratch, Limits::DEFAULT)
    }

    fn with_limits(base: Content, scratch: &Path, limits: Limits) -> WorkingFile {
        let size = base.size();
        WorkingFile {
            base,
            kept: size,
            size,
            extents: Extents::default(),
            tail: None,
            run: None,
            scratch: Scratch::new(scratch),
            dirty: false,
            limits,
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The contents and pieces that the file is made of, as far as they are in the store.
    pub fn references(&self) -> (Vec<Content>, Vec<Piece>) {
        let copied = self.extents.contents().map(|content| (**content).clone());
        let contents = copied.chain([self.base.clone()]).collect();
        (contents, self.streams().flat_map(Tail::pieces).copied().collect())
    }

    /// Whether another thread is storing what was written: [`join`](WorkingFile::join) before reading.
    pub fn is_ahead(&self) -> bool {
        self.streams().any(Tail::is_ahead)
    }

    fn streams(&self) -> impl Iterator<Item = &Tail> {
        self.tail.iter().chain(&self.run)
    }

    /// Waits until no other thread is storing what was written. What could not be stored is still there, to
    /// be stored by the next that needs it.
    pub fn join(&mut self) {
        for stream in self.tail.iter_mut().chain(&mut self.run) {
            if let Err(error) = stream.join() {
                log::debug!("storing what was written: {error}");
            }
        }
    }

    fn refuse_ahead(&self) -> Result<()> {
        if self.is_ahead() {
            Err(Error::Refused("reading a file that is being stored".into()))
        } else {
            Ok(())
        }
    }

    /// Whether it was changed since it was made or settled.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Reads from `offset` on into `out`; gives the number of bytes, less than asked for only at the
    /// end of the file.
    pub fn read_at(&self, objects: &Objects, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.refuse_ahead()?;
        let left = self.size.saturating_sub(offset);
        let len = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
        let mut at = offset;
        let mut rest = &mut out[..len];
        while !rest.is_empty() {
            let segment = self.segment(at);
            let len = (segment.end - at).min(rest.len() as u64) as usize;
            let (out, after) = rest.split_at_mut(len);
            match segment.source {
                Source::Ram(bytes) => out.copy_from_slice(&bytes[..len]),
                Source::Scratch => self.scratch.read_at(at, out)?,
                Source::Zeros => out.fill(0),
                Source::Base => drop(read_at(objects, &self.base, at, out)?),
                Source::Copy(content, from) => drop(read_at(objects, content, from, out)?),
                Source::Tail(tail) => read_pieces(objects, tail.pieces_from(at).map(Ok), at, out)?,
            }
            rest = after;
            at += len as u64;
        }
        Ok(len)
    }

    /// The first offset from `offset` on with data, as SEEK_DATA finds it; `None` if only a hole
    /// follows, or nothing.
    pub fn next_data(&self, objects: &Objects, offset: u64) -> Result<Option<u64>> {
        self.refuse_ahead()?;
        let mut at = offset;
        while at < self.size {
            let segment = self.segment(at);
            let found = match segment.source {
                Source::Ram(_) | Source::Scratch => Some(at),
                Source::Zeros => None,
                Source::Base => content::next_data(objects, &self.base, at)?,
                Source::Copy(content, from) => {
                    content::next_data(objects, content, from)?.map(|found| at + (found - from))
                }
                Source::Tail(tail) => first(tail.pieces_from(at), at, |p| matches!(p, Piece::Data(_))),
            };
            if let Some(found) = found.filter(|&found| found < segment.end) {
                return Ok(Some(found));
            }
            at = segment.end;
        }
        Ok(None)
    }

    /// The first offset from `offset` on in a hole, as SEEK_HOLE finds it; the end of the file is one.
    /// `None` from the end on.
    pub fn next_hole(&self, objects: &Objects, offset: u64) -> Result<Option<u64>> {
        self.refuse_ahead()?;
        let mut at = offset;
        while at < self.size {
            let segment = self.segment(at);
            let found = match segment.source {
                Source::Ram(_) | Source::Scratch => None,
                Source::Zeros => Some(at),
                Source::Base => content::next_hole(objects, &self.base, at)?,
                Source::Copy(content, from) => {
                    content::next_hole(objects, content, from)?.map(|found| at + (found - from))
                }
                Source::Tail(tail) => first(tail.pieces_from(at), at, |p| matches!(p, Piece::Zeros(_))),
            };
            if let Some(found) = found.filter(|&found| found < segment.end) {
                return Ok(Some(found));
            }
            at = segment.end;
        }
        Ok(Some(self.size).filter(|&size| offset < size))
    }

    /// Where the bytes from `at` on (less than the size) come from.
    fn segment(&self, at: u64) -> Segment<'_> {
        if let Some(stream) = self.streams().find(|stream| at >= stream.start() && at < stream.end()) {
            return match at.checked_sub(stream.buffer_start()) {
                Some(skip) => {
                    Segment { end: stream.end(), source: Source::Ram(&stream.buffer()[skip as usize..]) }
                }
                None => Segment { end: stream.buffer_start(), source: Source::Tail(stream) },
            };
        }
        let next = self.extents.from(at);
        if let Some((start, extent)) = next.filter(|(start, _)| *start <= at) {
            let source = match &extent.kind {
                Kind::Ram(bytes) => Source::Ram(&bytes[(at - start) as usize..]),
                Kind::Scratch => Source::Scratch,
                Kind::Zeros => Source::Zeros,
                Kind::Copy(content, from) => Source::Copy(content, from + (at - start)),
            };
            return Segment { end: start + extent.len, source };
        }
        let streams = self.streams().map(Tail::start).filter(|start| *start > at);
        let end = streams.chain(next.map(|(start, _)| start)).min().unwrap_or(self.size);
        match at < self.kept {
            true => Segment { end: end.min(self.kept), source: Source::Base },
            false => Segment { end, source: Source::Zeros },
        }
    }
}

/// Where the first such piece is, from `at` on.
fn first(
    mut pieces: impl Iterator<Item = (u64, Piece)>,
    at: u64,
    wanted: impl Fn(&Piece) -> bool,
) -> Option<u64> {
    pieces.find(|(_, piece)| wanted(piece)).map(|(start, _)| start.max(at))
}

#[cfg(test)]
mod tests;
