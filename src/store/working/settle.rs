//! Making one content of a file's base and changes.
//!
//! Each change is chunked anew from the last cut before it until a cut falls where the base has one
//! and goes on unchanged. Chunks of copied contents are taken over unread in the same way.

use super::extents::{Extent, Kind};
use super::{Limits, Source, WorkingFile};
use crate::model::content::CHUNK_MAX;
use crate::model::{Content, Piece};
use crate::store::content::{BLOCK, ChunkStream, read_at};
use crate::store::error::{Error, Result};
use crate::store::manifest::{Edit, Objects, locate, splice};

const UNIT: u64 = CHUNK_MAX as u64;

impl WorkingFile {
    /// Makes one content of everything, chunks and manifest stored; the file goes on from it,
    /// unchanged. After an error the file is as before, still to be settled.
    pub fn settle(&mut self, objects: &Objects) -> Result<Content> {
        if self.dirty {
            self.join();
            self.consolidate(objects)?;
            self.dirty = false;
        }
        Ok(self.base.clone())
    }

    /// Makes everything part of the base.
    pub(super) fn consolidate(&mut self, objects: &Objects) -> Result<()> {
        self.base = self.content(objects)?;
        self.kept = self.size;
        self.extents.clear();
        self.tail = None;
        self.scratch.discard();
        Ok(())
    }

    fn content(&mut self, objects: &Objects) -> Result<Content> {
        match self.run_as_tail() {
            Some(tail) => self.tail = Some(tail),
            None => self.still(objects)?,
        }
        if let Some(copied) = self.whole_copy() {
            return Ok(copied.clone());
        }
        if let Some(tail) = &mut self.tail {
            tail.drain(objects)?;
            if self.extents.count() == 0 {
                let mut items = tail.pieces().to_vec();
                if !tail.buffer().is_empty() {
                    // After draining less than a whole chunk is left, the file's last.
                    items.extend(objects.put_chunks(&[tail.buffer()])?.into_iter().map(Piece::Data));
                }
                let edit = Edit { range: tail.start()..self.base.size(), items };
                return splice(objects, &self.base, vec![edit]);
            }
            self.fold_tail(objects)?;
        }
        Settling::new(self, objects).run()
    }

    /// The content that the whole file is a copy of.
    fn whole_copy(&self) -> Option<&Content> {
        match self.extents.from(0)? {
            (0, Extent { len, kind: Kind::Copy(content, 0) })
                if *len == self.size && content.size() == self.size =>
            {
                Some(content)
            }
            _ => None,
        }
    }

    /// The last cut of the base at or before `at` that is one whatever comes from `at` on.
    pub(super) fn cut_before(&self, objects: &Objects, at: u64) -> Result<u64> {
        let size = self.base.size();
        // A tail begins at such a cut.
        if size == 0 || (at >= size && self.tail.as_ref().is_some_and(|tail| tail.start() == size)) {
            return Ok(size);
        }
        let (start, piece) = piece_at(objects, &self.base, at.min(size - 1))?;
        Ok(match piece {
            Piece::Data(chunk) if at < size || (chunk.len as usize) < CHUNK_MAX => start,
            Piece::Data(_) => size,
            Piece::Zeros(_) => start + (at.min(size) - start) / UNIT * UNIT,
        })
    }

    /// The first changed byte from `at` on; the end of what is kept of the base, where the file goes
    /// on otherwise than the base.
    fn next_change(&self, at: u64) -> Option<u64> {
        let extent = self.extents.from(at).map(|(start, _)| start.max(at));
        let end = (self.kept < self.base.size() || self.kept < self.size).then_some(self.kept.max(at));
        extent.into_iter().chain(end).min()
    }
}

/// The piece that `offset` lies in, which is before the end.
fn piece_at(objects: &Objects, content: &Content, offset: u64) -> Result<(u64, Piece)> {
    locate(objects, content, offset)?
        .ok_or_else(|| Error::Corrupt(format!("content of {} bytes has none at {offset}", content.size())))
}

/// The way from a file's base to its new content.
struct Settling<'a> {
    file: &'a WorkingFile,
    objects: &'a Objects,
    stream: ChunkStream,
    /// The base, as far as edits have been made.
    content: Content,
    /// Edits to make.
    edits: Vec<Edit>,
    /// Pieces in `edits`.
    pieces: usize,
    /// By how much `content` is longer than the base, while a change too long for one edit is half-way.
    shift: u64,
}

impl<'a> Settling<'a> {
    fn new(file: &'a WorkingFile, objects: &'a Objects) -> Settling<'a> {
        let content = file.base.clone();
        Settling {
            file,
            objects,
            stream: ChunkStream::default(),
            content,
            edits: vec![],
            pieces: 0,
            shift: 0,
        }
    }

    fn run(mut self) -> Result<Content> {
        let mut at = 0;
        while let Some(change) = self.file.next_change(at) {
            at = self.rechunk(self.file.cut_before(self.objects, change)?)?;
            if at == self.file.size {
                break;
            }
        }
        self.make_edits()?;
        Ok(self.content)
    }

    /// Chunks the file from a cut of the base on until a cut from where it goes on as the base does;
    /// gives that, or the file's size.
    fn rechunk(&mut self, start: u64) -> Result<u64> {
        let mut inserted = 0;
        let mut at = start;
        while at < self.file.size {
            match self.step(at)? {
                Some(next) => at = next,
                None => {
                    self.stream.drain(self.objects.store())?;
                    self.add_edit(start, at)?;
                    return Ok(at);
                }
            }
            if self.stream.is_full() || self.stream.buffer().len() >= self.file.limits.buffer {
                self.stream.drain(self.objects.store())?;
                if self.stream.pieces().len() >= self.file.limits.pieces {
                    // Put in before what they replace, which goes with the last of them.
                    inserted += self.stream.pieces().iter().map(Piece::len).sum::<u64>();
                    self.add_edit(start, start)?;
                    self.make_edits()?;
                    self.shift = inserted;
                }
            }
        }
        self.stream.finish(self.objects.store())?;
        self.add_edit(start, self.file.base.size())?;
        Ok(at)
    }

    /// Gives the stream some of the file from `at` on; returns where that ends, or `None` if the
    /// stream is at a cut and the base goes on with whole chunks.
    fn step(&mut self, at: u64) -> Result<Option<u64>> {
        let file = self.file;
        let segment = file.segment(at);
        let (content, from) = match segment.source {
            Source::Zeros => {
                self.stream.zeros(segment.end - at);
                return Ok(Some(segment.end));
            }
            Source::Ram(bytes) => {
                let bytes = &bytes[..bytes.len().min(BLOCK)];
                self.stream.write(bytes);
                return Ok(Some(at + bytes.len() as u64));
            }
            Source::Scratch | Source::Tail(_) => {
                let len = (segment.end - at).min(BLOCK as u64) as usize;
                self.stream.fill(len, |out| file.read_at(self.objects, at, out))?;
                return Ok(Some(at + len as u64));
            }
            Source::Base => (&file.base, at),
            Source::Copy(content, from) => (content, from),
        };
        let is_base = matches!(segment.source, Source::Base);
        let (start, piece) = piece_at(self.objects, content, from)?;
        let skip = from - start;
        let len = (segment.end - at).min(piece.len() - skip);
        match piece {
            Piece::Zeros(_) => {
                if is_base && skip.is_multiple_of(UNIT) && len >= UNIT && self.stream.at_cut() {
                    return Ok(None);
                }
                self.stream.zeros(len);
            }
            Piece::Data(chunk) => {
                // A content's last chunk need not end at a cut, unless it is the longest possible.
                let cut = chunk.len as usize == CHUNK_MAX
                    || start + piece.len() < content.size()
                    || at + len == file.size;
                if cut && len == piece.len() && self.stream.at_cut() {
                    if is_base {
                        return Ok(None);
                    }
                    self.stream.piece(piece);
                } else {
                    self.stream.fill(len as usize, |out| read_at(self.objects, content, from, out))?;
                }
            }
        }
        Ok(Some(at + len))
    }

    /// Replaces a range of the base by the pieces of the stream.
    fn add_edit(&mut self, start: u64, end: u64) -> Result<()> {
        let items = std::mem::take(self.stream.pieces_mut());
        self.pieces += items.len() + 1;
        self.edits.push(Edit { range: start + self.shift..end + self.shift, items });
        let Limits { pieces, .. } = self.file.limits;
        if self.pieces >= pieces || self.shift != 0 {
            self.make_edits()?;
            self.shift = 0;
        }
        Ok(())
    }

    fn make_edits(&mut self) -> Result<()> {
        self.content = splice(self.objects, &self.content, std::mem::take(&mut self.edits))?;
        self.pieces = 0;
        Ok(())
    }
}
