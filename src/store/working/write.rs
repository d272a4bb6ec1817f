//! Changing a file.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::extents::{Extent, Kind};
use super::tail::Tail;
use super::{Limits, WorkingFile};
use crate::model::Content;
use crate::store::content::BLOCK;
use crate::store::error::{Error, Result};
use crate::store::manifest::{Edit, Objects, splice};

impl Limits {
    /// Whether so much waits in a stream that it is time to store its whole chunks.
    fn is_due(&self, stream: &Tail) -> bool {
        stream.waiting() >= self.buffer
    }
}

impl WorkingFile {
    /// Writes `bytes` at `offset`, past the end too; what is between is a hole then. If it fails, some
    /// of the bytes may have been written.
    pub fn write_at(&mut self, objects: &Objects, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = self.end_of(offset, bytes.len() as u64)?;
        let inside = end.min(self.size).saturating_sub(offset) as usize;
        let (inside, beyond) = bytes.split_at(inside);
        if !inside.is_empty() {
            self.overwrite(objects, offset, inside)?;
        }
        if !beyond.is_empty() {
            self.append(objects, offset.max(self.size), beyond)?;
        }
        Ok(())
    }

    /// Goes on with what was written at the end of the tail or the run, as far as that needs no waiting: finds
    /// chunks, and has those that are worth it stored. What failed is told to the next that writes or settles.
    pub fn work_ahead(&mut self, objects: &Objects) {
        let limits = self.limits;
        let Some(stream) = self.tail.as_mut().or(self.run.as_mut()) else { return };
        stream.search();
        let due = limits.is_due(stream) && stream.pieces().len() < limits.pieces;
        if due && let Err(error) = stream.drain_if_free(objects.share_store()) {
            log::debug!("storing what was written: {error}");
        }
    }

    /// Makes the file this long: cut short, or with a hole at its end.
    pub fn truncate(&mut self, objects: &Objects, size: u64) -> Result<()> {
        self.end_of(size, 0)?;
        self.still(objects)?;
        if size == self.size {
            return Ok(());
        }
        match &mut self.tail {
            Some(tail) if size > self.size => tail.zeros(objects, size - self.size)?,
            Some(tail) if size > tail.start() => tail.truncate(objects, size)?,
            _ if size > self.size => {}
            _ => {
                self.tail = None;
                if size == 0 {
                    self.base = Content::Empty;
                    self.scratch.discard();
                }
                self.extents.remove(size..u64::MAX);
                self.kept = self.kept.min(size);
            }
        }
        self.size = size;
        self.dirty = true;
        Ok(())
    }

    /// Makes bytes zero, those before the end of the file; its size stays.
    pub fn zero_range(&mut self, objects: &Objects, offset: u64, len: u64) -> Result<()> {
        self.still(objects)?;
        let end = offset.saturating_add(len).min(self.size);
        if offset >= end {
            return Ok(());
        }
        self.make_room(objects, 0)?;
        let split = self.open_range(objects, offset..end)?;
        if offset < split {
            self.extents.insert(offset, Extent { len: split - offset, kind: Kind::Zeros });
        }
        if let Some(tail) = self.tail.as_mut().filter(|_| split < end) {
            tail.edit(split..end, |bytes| bytes.fill(0));
        }
        self.dirty = true;
        Ok(())
    }

    /// Writes `len` bytes of another content at `offset` without reading them, as far as chunks allow
    /// (copy_file_range). Gives how many bytes it was: less where the content ends before. Calls that
    /// go on where the last one ended cost as much as one.
    pub fn splice_from(
        &mut self,
        objects: &Objects,
        offset: u64,
        source: &Content,
        from: u64,
        len: u64,
    ) -> Result<u64> {
        let len = len.min(source.size().saturating_sub(from));
        if len == 0 {
            return Ok(0);
        }
        let end = self.end_of(offset, len)?;
        self.still(objects)?;
        self.make_room(objects, 0)?;
        if offset > self.size {
            self.truncate(objects, offset)?;
        }
        if self.tail.as_ref().is_some_and(|tail| end > tail.start()) {
            self.retire_tail(objects)?;
        }
        self.extents.insert(offset, Extent { len, kind: Kind::Copy(Arc::new(source.clone()), from) });
        self.size = self.size.max(end);
        self.dirty = true;
        Ok(len)
    }

    /// Where that many bytes end, if a file can be that long.
    fn end_of(&self, offset: u64, len: u64) -> Result<u64> {
        offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or_else(|| {
            let reason = io::Error::from_raw_os_error(libc::EFBIG);
            Error::io("extend a file of the store with", self.scratch.dir(), reason)
        })
    }

    /// Writes within the size.
    fn overwrite(&mut self, objects: &Objects, offset: u64, bytes: &[u8]) -> Result<()> {
        if self.run_on(objects, offset, bytes)? {
            return Ok(());
        }
        self.still(objects)?;
        if self.extents.ram() + bytes.len() > self.limits.ram && self.begin_run(objects, offset)? {
            self.run_on(objects, offset, bytes)?;
            return Ok(());
        }
        self.make_room(objects, bytes.len())?;
        let end = offset + bytes.len() as u64;
        let split = self.open_range(objects, offset..end)?;
        let (before, within) = bytes.split_at((split - offset) as usize);
        if !before.is_empty() {
            self.extents.write(offset, before);
        }
        if let Some(tail) = self.tail.as_mut().filter(|_| !within.is_empty()) {
            tail.edit(split..end, |old| old.copy_from_slice(within));
        }
        self.dirty = true;
        Ok(())
    }

    /// Writes at the size or past it.
    fn append(&mut self, objects: &Objects, offset: u64, bytes: &[u8]) -> Result<()> {
        let (hole, limits) = (offset - self.size, self.limits);
        let mut tail = self.open_tail(objects)?;
        // Before the bytes are added, so that if it fails the file is as before.
        if hole > 0 || limits.is_due(tail) {
            if tail.pieces().len() >= limits.pieces {
                tail.join()?;
                self.fold_tail(objects)?;
                tail = self.open_tail(objects)?;
            }
            if hole > 0 {
                tail.join()?;
                tail.zeros(objects, hole)?;
            } else {
                tail.drain_ahead(objects.share_store())?;
            }
        }
        tail.append(bytes);
        self.size = offset + bytes.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Makes a run of the bytes in memory that end at `offset`, if they are most of those there.
    fn begin_run(&mut self, objects: &Objects, offset: u64) -> Result<bool> {
        let before = offset.checked_sub(1).and_then(|last| self.extents.from(last));
        let Some((written, Extent { len, kind: Kind::Ram(_) })) = before else { return Ok(false) };
        if self.tail.is_some() || written + len != offset || *len < self.limits.ram as u64 / 2 {
            return Ok(false);
        }
        // From a cut on, so that the chunks are those of the whole file.
        let start = if written < self.kept { self.cut_before(objects, written)? } else { written };
        let mut buffer = vec![0; (offset - start) as usize];
        self.read_at(objects, start, &mut buffer)?;
        self.extents.remove(start..offset);
        self.run = Some(Tail::new(start, buffer));
        Ok(true)
    }

    /// Writes within the size if that is where the run ends and it can go on.
    fn run_on(&mut self, objects: &Objects, offset: u64, bytes: &[u8]) -> Result<bool> {
        let limits = self.limits;
        let Some(run) = self.run.as_mut().filter(|run| run.end() == offset) else { return Ok(false) };
        // As in `append`.
        if limits.is_due(run) {
            if run.pieces().len() >= limits.pieces {
                return Ok(false);
            }
            run.drain_ahead(objects.share_store())?;
        }
        run.append(bytes);
        self.extents.remove(offset..offset + bytes.len() as u64);
        self.dirty = true;
        Ok(true)
    }

    /// Sees to it that nothing is on its way into the store but the tail, and that by no other thread.
    pub(super) fn still(&mut self, objects: &Objects) -> Result<()> {
        self.join();
        let Some(run) = &self.run else { return Ok(()) };
        if !run.pieces().is_empty() {
            let edit = Edit { range: 0..0, items: run.pieces().to_vec() };
            let content = splice(objects, &Content::Empty, vec![edit])?;
            let extent = Extent { len: content.size(), kind: Kind::Copy(Arc::new(content), 0) };
            self.extents.insert(run.start(), extent);
        }
        if !run.buffer().is_empty() {
            self.extents.write(run.buffer_start(), run.buffer());
        }
        self.run = None;
        Ok(())
    }

    /// Keeps memory bounded, before `len` more bytes are held in it.
    fn make_room(&mut self, objects: &Objects, len: usize) -> Result<()> {
        let Limits { ram, extents, .. } = self.limits;
        if self.extents.ram() > 0 && self.extents.ram() + len > ram {
            let scratch = &mut self.scratch;
            self.extents.spill(|offset, bytes| scratch.write_at(offset, bytes))?;
        }
        if self.extents.count() >= extents {
            self.consolidate(objects)?;
        }
        Ok(())
    }

    /// Sees to it that a range can be changed: gives the offset up to which it is a matter of extents;
    /// from there on it is in the tail's memory.
    fn open_range(&mut self, objects: &Objects, range: Range<u64>) -> Result<u64> {
        let Some(tail) = &self.tail else { return Ok(range.end) };
        if range.end > tail.start() && range.start < tail.buffer_start() {
            self.fold_tail(objects)?;
        }
        let limit = self.tail.as_ref().map_or(range.end, Tail::buffer_start);
        Ok(limit.clamp(range.start, range.end))
    }

    /// The tail; begins one at the last cut before the end if there is none.
    fn open_tail(&mut self, objects: &Objects) -> Result<&mut Tail> {
        let tail = match self.tail.take().or_else(|| self.run_as_tail()) {
            Some(tail) => tail,
            None => self.begin_tail(objects)?,
        };
        Ok(self.tail.insert(tail))
    }

    /// The run, which is one no more, if it can be the tail: it goes up to the end, from a cut of the base on.
    pub(super) fn run_as_tail(&mut self) -> Option<Tail> {
        let (size, kept) = (self.size, self.kept);
        let run = self.run.take_if(|run| run.end() == size && run.start() <= kept)?;
        self.kept = run.start();
        Some(run)
    }

    fn begin_tail(&mut self, objects: &Objects) -> Result<Tail> {
        self.still(objects)?;
        let mut start = self.cut_before(objects, self.kept)?;
        if self.extents.end() > start && self.size - start > BLOCK as u64 {
            self.consolidate(objects)?;
            start = self.cut_before(objects, self.kept)?;
        }
        // A hole that nothing was written to need not be read.
        let known = if self.extents.end() > start { self.size } else { self.kept };
        let mut buffer = vec![0; (known - start) as usize];
        self.read_at(objects, start, &mut buffer)?;
        let mut tail = Tail::new(start, buffer);
        tail.zeros(objects, self.size - known)?;
        self.extents.remove(start..u64::MAX);
        self.kept = start;
        Ok(tail)
    }

    /// Makes what the tail has stored part of the base; the tail goes on after it.
    pub(super) fn fold_tail(&mut self, objects: &Objects) -> Result<()> {
        if let Some(tail) = self.tail.as_mut().filter(|tail| !tail.pieces().is_empty()) {
            let edit = Edit { range: tail.start()..self.base.size(), items: tail.pieces().to_vec() };
            self.base = splice(objects, &self.base, vec![edit])?;
            tail.forget_stored();
            self.kept = tail.start();
        }
        Ok(())
    }

    /// Makes the tail part of base and extents.
    fn retire_tail(&mut self, objects: &Objects) -> Result<()> {
        self.fold_tail(objects)?;
        if let Some(tail) = self.tail.take().filter(|tail| !tail.buffer().is_empty()) {
            self.extents.write(tail.start(), tail.buffer());
        }
        Ok(())
    }
}
