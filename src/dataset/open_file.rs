//! The state that all open handles of a live file share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::{Content, Piece, Timestamp};
use crate::store::{Objects, Result, WorkingFile};

use super::author::are_different_processes;
use super::quota::{Admission, Share, Usage};

const NEVER: i64 = i64::MIN;

/// A live file's bytes with what was written since its last close.
///
/// Lock order: this file's lock before its dataset's. Size and time of the last write can be read
/// without the lock.
#[derive(Debug)]
pub struct OpenFile {
    working: RwLock<WorkingFile>,
    size: AtomicU64,
    usage: Arc<Usage>,
    share: Share,
    written_at: AtomicI64,
    /// Bytes given to it that the tree does not have.
    added: AtomicU64,
    /// Whether it was made or emptied by being opened, and nothing was written since.
    blank: AtomicBool,
    /// Thread that wrote last; 0 if none did, or only the kernel on somebody's behalf.
    writer: AtomicU32,
    /// Open handles that may be written through.
    writing_handles: AtomicU32,
    /// Open handles that programs run from.
    executing_handles: AtomicU32,
}

impl OpenFile {
    /// The open state of a file that has the content of `working` and is counted in `usage`.
    pub fn new(working: WorkingFile, usage: Arc<Usage>) -> OpenFile {
        let (size, share) = (AtomicU64::new(working.size()), Share::new(working.size()));
        OpenFile {
            working: RwLock::new(working),
            size,
            usage,
            share,
            written_at: AtomicI64::new(NEVER),
            added: AtomicU64::new(0),
            blank: AtomicBool::new(false),
            writer: AtomicU32::new(0),
            writing_handles: AtomicU32::new(0),
            executing_handles: AtomicU32::new(0),
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The bytes that its dataset's usage counts for it.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Bytes given to it that the tree does not have, those that were given again or taken away included.
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// The contents and pieces it is made of, whether they are part of the tree or not.
    pub fn references(&self) -> (Vec<Content>, Vec<Piece>) {
        let mut working = self.working.write();
        working.join();
        working.references()
    }

    /// When it was last written to, if that is not yet part of the tree.
    pub fn written_at(&self) -> Option<Timestamp> {
        let nanos = self.written_at.load(Ordering::Acquire);
        (nanos != NEVER).then_some(Timestamp(nanos))
    }

    /// Whether it was made or emptied by being opened, and nothing was written since.
    pub fn is_blank(&self) -> bool {
        self.blank.load(Ordering::Acquire)
    }

    /// Notes that `pid` writes to it.
    pub fn note_writer(&self, pid: u32) {
        self.writer.store(pid, Ordering::Release);
    }

    /// Whether a close by `pid` is one by the process that writes. A fork's child that closes what it
    /// inherited before it runs another program has not finished anything.
    pub fn is_closed_by_writer(&self, pid: u32) -> bool {
        let writer = self.writer.load(Ordering::Acquire);
        writer == 0 || writer == pid || !are_different_processes(writer, pid)
    }

    /// Counts a handle that may be written through. To be called before the handle changes anything.
    pub fn begin_writing(&self) {
        self.writing_handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a handle of [`OpenFile::begin_writing`] as gone.
    pub fn end_writing(&self) {
        self.writing_handles.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether some handle may be written through.
    pub fn is_being_written(&self) -> bool {
        self.writing_handles.load(Ordering::Acquire) > 0
    }

    /// Counts a handle that a program runs from.
    pub fn begin_executing(&self) {
        self.executing_handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a handle of [`OpenFile::begin_executing`] as gone.
    pub fn end_executing(&self) {
        self.executing_handles.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a program runs from it.
    pub fn is_executing(&self) -> bool {
        self.executing_handles.load(Ordering::Acquire) > 0
    }

    /// Lets a time of change that was set by request stand against earlier writes.
    pub fn forget_written_at(&self) {
        self.written_at.store(NEVER, Ordering::Release);
    }

    /// Reads at `offset`; fewer bytes than `out` has only at the end of the file.
    pub fn read(&self, objects: &Objects, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.look().read_at(objects, offset, out)
    }

    /// Takes the lock for reading, when no thread is storing what was written.
    fn look(&self) -> RwLockReadGuard<'_, WorkingFile> {
        loop {
            let working = self.working.read();
            if !working.is_ahead() {
                return working;
            }
            drop(working);
            self.working.write().join();
        }
    }

    /// Takes the lock for a change.
    pub fn edit(&self) -> Edit<'_> {
        Edit { file: self, working: self.working.write() }
    }

    /// Makes chunks of what was written, as far as that needs no waiting.
    pub fn work_ahead(&self, objects: &Objects) {
        self.working.write().work_ahead(objects);
    }

    /// Where data starts at or after `offset` ([`None`]: nowhere).
    pub fn next_data(&self, objects: &Objects, offset: u64) -> Result<Option<u64>> {
        self.look().next_data(objects, offset)
    }

    /// Where a hole starts at or after `offset` ([`None`]: `offset` is past the end).
    pub fn next_hole(&self, objects: &Objects, offset: u64) -> Result<Option<u64>> {
        self.look().next_hole(objects, offset)
    }
}

/// A file locked for a change; size and time of writing are brought up to date when it is dropped.
#[derive(Debug)]
pub struct Edit<'a> {
    file: &'a OpenFile,
    working: RwLockWriteGuard<'a, WorkingFile>,
}

impl Edit<'_> {
    /// The file's bytes, to be changed.
    pub fn write(&mut self) -> &mut WorkingFile {
        self.file.written_at.store(Timestamp::now().0, Ordering::Release);
        self.file.blank.store(false, Ordering::Release);
        &mut self.working
    }

    /// Lets the file grow to `size` bytes, if its dataset's quota does. To be called before it grows.
    pub(super) fn admit(&self, size: u64) -> Admission {
        self.file.usage.admit(&self.file.share, size)
    }

    /// Notes that `bytes` are given to it.
    pub fn note_added(&mut self, bytes: u64) {
        self.file.added.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Notes that the tree has all that was given to it.
    pub fn forget_added(&mut self) {
        self.file.added.store(0, Ordering::Release);
    }

    /// Notes that the file was made, or emptied, by being opened.
    pub fn begin_blank(&mut self) {
        self.file.blank.store(true, Ordering::Release);
    }

    /// Makes chunks of all that was written. Gives the content, and when it was last written to.
    pub fn settle(&mut self, objects: &Objects) -> Result<(Content, Option<Timestamp>)> {
        let content = self.working.settle(objects)?;
        let written = self.file.written_at();
        self.file.forget_written_at();
        Ok((content, written))
    }

    /// Notes that the file was last written to at `time`.
    pub fn note_written(&mut self, time: Timestamp) {
        self.file.written_at.store(time.0, Ordering::Release);
    }

    /// Whether there is something to settle.
    pub fn is_dirty(&self) -> bool {
        self.working.is_dirty() || self.file.written_at().is_some()
    }

    /// Puts other content in the place of the file's, dropping what was written.
    pub fn replace(&mut self, working: WorkingFile) {
        *self.working = working;
        self.file.forget_written_at();
        self.forget_added();
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        let size = self.working.size();
        self.file.size.store(size, Ordering::Release);
        self.file.usage.settle(&self.file.share, size);
    }
}
