//! Open files: reading, writing, copying, and what closing them does.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::meta::Told;
use crate::dataset::{Caller, Dataset, Error, NewInode, OpenFile, Result};
use crate::model::{Body, Content, Ino, Kind};
use crate::store::{self, next_data, next_hole, read_at};

use super::copies::Source;
use super::fs::{Entry, FileSystem, lost, not_found};
use super::handles::Handle;
use super::nodes::{Node, NodeId};

/// An opened file.
#[derive(Debug)]
pub struct Opened {
    /// The handle's number.
    pub fh: u64,
    /// Whether closing it does nothing, so that the kernel need not ask.
    pub quiet_close: bool,
    /// Whether the text is generated and its size not to be relied on.
    pub generated: bool,
    /// Where the kernel gets its bytes from.
    pub source: Source,
}

/// Where to seek to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The next byte that is data (`SEEK_DATA`).
    Data,
    /// The next hole (`SEEK_HOLE`).
    Hole,
}

/// In the flags of open: the kernel opens the file to run it, for as long as it runs.
const FMODE_EXEC: i32 = 0x20;

impl FileSystem {
    /// Opens a file; `flags` as in open(2), `O_CREAT` and `O_EXCL` being done with.
    pub fn open(&self, by: Caller, node: NodeId, flags: i32) -> Result<Opened> {
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        match self.node(node)? {
            Node::Live(id, ino) => {
                if writable {
                    self.refuse_read_only()?;
                    self.repo.store().check_writable()?;
                }
                self.open_live(by, &self.dataset(id)?, ino, flags, false)
            }
            Node::Top => Err(Error::IsADirectory("the top of a store".into())),
            _ if writable || flags & libc::O_TRUNC != 0 => Err(Error::Immutable("this".into())),
            Node::Frozen(id, recorded, ino) => {
                let inode = self.frozen_inode(id, recorded, ino)?;
                let content = inode.content().ok_or_else(|| Error::Invalid("not a file".into()))?;
                let (source, counted) = match self.copies_for(content) {
                    Some(copies) => (copies.open(node, content), Some(node)),
                    None => (Source::Requests, None),
                };
                let fh = self.handles.insert(Handle::Frozen {
                    content: content.clone(),
                    recorded: (id, recorded, ino),
                    counted,
                });
                // Only once it is open: from then on, it is known that somebody needs the content.
                match self.dataset(id)?.needs(ino, recorded) {
                    Ok(true) => {}
                    other => {
                        self.release(by, fh);
                        return Err(other
                            .err()
                            .unwrap_or_else(|| Error::NotFound(format!("a file of {recorded}"))));
                    }
                }
                Ok(Opened { fh, quiet_close: true, generated: false, source })
            }
            Node::Lost(_, version, ..) => Err(lost(version)),
            Node::DiffSummary(pair, dirs, _) => {
                let fh = self.handles.insert(Handle::DiffSummary(self.diff_summary(by, pair, dirs)?));
                Ok(Opened { fh, quiet_close: true, generated: true, source: Source::Requests })
            }
            Node::HistoryLog(id, dir) => {
                let fh = self.handles.insert(Handle::Text(self.log_text(id, dir)?));
                Ok(Opened { fh, quiet_close: true, generated: true, source: Source::Requests })
            }
            node @ (Node::DvcFile(..) | Node::DvcList(..)) => {
                let fh = self.handles.insert(self.open_dvc(&node)?);
                Ok(Opened { fh, quiet_close: true, generated: false, source: Source::Requests })
            }
            text @ Node::MetaText(..) => {
                let fh = self.handles.insert(Handle::Told(self.told(&text)?));
                Ok(Opened { fh, quiet_close: true, generated: false, source: Source::Requests })
            }
            _ => Err(Error::IsADirectory("this".into())),
        }
    }

    fn open_live(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        ino: Ino,
        flags: i32,
        created: bool,
    ) -> Result<Opened> {
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let Some(file) = dataset.open(ino)? else {
            dataset.close(ino);
            return Err(Error::Invalid("not a file".into()));
        };
        let (empties, executes) = (flags & libc::O_TRUNC != 0, flags & FMODE_EXEC != 0);
        let flushes = writable || created || empties;
        if empties && !writable && file.is_executing() {
            // The kernel refuses this only once it is done; opening for writing, it refuses before.
            dataset.close(ino);
            return Err(Error::Running);
        }
        if flushes {
            file.begin_writing();
        }
        if empties && let Err(error) = self.empty(by, dataset, ino, &file) {
            file.end_writing();
            dataset.close(ino);
            return Err(error);
        }
        if created {
            file.edit().begin_blank();
        }
        if executes {
            file.begin_executing();
        }
        let handle = Handle::Live {
            dataset: dataset.clone(),
            ino,
            file,
            append: flags & libc::O_APPEND != 0,
            writable,
            flushes,
            executes,
        };
        let fh = self.handles.insert(handle);
        Ok(Opened { fh, quiet_close: !flushes, generated: false, source: Source::Requests })
    }

    /// Empties a file that is opened with `O_TRUNC`.
    fn empty(&self, by: Caller, dataset: &Dataset, ino: Ino, file: &OpenFile) -> Result<()> {
        self.drop_privileges(by, dataset, ino)?;
        let mut edit = file.edit();
        edit.write().truncate(dataset.objects(), 0)?;
        edit.begin_blank();
        Ok(())
    }

    /// Makes and opens a file; opens it if it is there and `O_EXCL` not given.
    pub fn create(
        &self,
        by: Caller,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Entry, Opened)> {
        let name = self.new_name(name)?;
        let (dataset, dir) = self.live_node(parent)?.ok_or_else(|| {
            Error::NotPermitted(format!("'{name}' at the top of the store: only datasets can be made there"))
        })?;
        self.repo.store().check_can_grow()?;
        let new = NewInode { mode, uid: by.uid, gid: by.gid, body: Body::File(Content::Empty) };
        let made = dataset.read(|live| live.create(dir, &name, new, true));
        let (ino, created) = match made {
            Err(Error::Exists(_)) if flags & libc::O_EXCL == 0 => {
                (dataset.read(|live| live.lookup(dir, &name))?.ok_or_else(|| not_found(&name))?, false)
            }
            other => (other?, true),
        };
        let opened = self.open_live(by, &dataset, ino, flags, created)?;
        Ok((self.entry(Node::Live(dataset.id(), ino))?, opened))
    }

    /// Takes set-id bits from a file that somebody other than the superuser changes.
    fn drop_privileges(&self, by: Caller, dataset: &Dataset, ino: Ino) -> Result<()> {
        if by.uid != 0 {
            dataset.adjust(by, |live| live.clear_set_id(by, ino))?;
        }
        Ok(())
    }

    fn handle(&self, fh: u64) -> Result<Arc<Handle>> {
        self.handles.get(fh).ok_or(Error::Stale)
    }

    /// Reads at `offset` into `out`; gives the number of bytes, fewer than asked for only at the end.
    /// Without a handle (0), the node's content is read.
    pub fn read(&self, id: NodeId, fh: u64, offset: u64, out: &mut [u8]) -> Result<usize> {
        if fh == 0 {
            let node = self.node(id)?;
            if matches!(node, Node::MetaText(..)) {
                return Ok(read_text(&*self.told(&node)?, offset, out)?);
            }
            let Node::Frozen(id, recorded, ino) = node else { return Err(Error::Stale) };
            let inode = self.frozen_inode(id, recorded, ino)?;
            let content = inode.content().ok_or(Error::Stale)?;
            return Ok(read_at(self.repo.objects(), content, offset, out)?);
        }
        match &*self.handle(fh)? {
            Handle::Live { dataset, file, .. } => Ok(file.read(dataset.objects(), offset, out)?),
            Handle::Frozen { content, .. } => Ok(read_at(self.repo.objects(), content, offset, out)?),
            Handle::List(list) => Ok(list.read_at(offset, out)?),
            Handle::Told(told) => Ok(read_text(told, offset, out)?),
            Handle::DiffSummary(summary) => Ok(summary.read_at(offset, out)),
            Handle::Text(text) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)).unwrap_or(&[]);
                let len = rest.len().min(out.len());
                out[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
            _ => Err(Error::IsADirectory("this".into())),
        }
    }

    /// Runs `change` on a live file open for writing.
    fn edit<T>(
        &self,
        fh: u64,
        change: impl FnOnce(&Arc<Dataset>, Ino, &OpenFile, bool) -> Result<T>,
    ) -> Result<T> {
        self.refuse_read_only()?;
        match &*self.handle(fh)? {
            Handle::Live { dataset, ino, file, append, writable: true, .. } => {
                change(dataset, *ino, file, *append)
            }
            _ => Err(Error::Invalid("not open for writing".into())),
        }
    }

    /// Writes `data` at `offset`. `cached`: the kernel writes back a page, whatever the handle's mode.
    pub fn write(
        &self,
        by: Caller,
        fh: u64,
        offset: u64,
        data: &[u8],
        cached: bool,
        drop_privileges: bool,
    ) -> Result<()> {
        self.edit(fh, |dataset, ino, file, append| {
            if drop_privileges {
                dataset.adjust(by, |live| live.clear_set_id(by, ino))?;
            }
            // The kernel takes capabilities from what goes through its cache.
            if !cached && dataset.read(|live| live.has_capabilities(ino))? {
                dataset.adjust(by, |live| live.clear_capabilities(ino))?;
            }
            let mut edit = file.edit();
            let offset = if append && !cached { file.size() } else { offset };
            check_end(offset, data.len() as u64)?;
            dataset.admit(&edit, offset + data.len() as u64)?;
            if !cached {
                file.note_writer(by.pid);
            }
            edit.write().write_at(dataset.objects(), offset, data)?;
            edit.note_added(data.len() as u64);
            Ok(())
        })
    }

    /// Goes on with what was written, before the next is.
    pub fn work_ahead(&self, fh: u64) {
        // Nothing that could fail here is lost: whoever needs it does it, and tells.
        let _ = self.edit(fh, |dataset, _, file, _| {
            file.work_ahead(dataset.objects());
            Ok(())
        });
    }

    /// Changes a file's size: through a handle as part of what is written there, by path at once.
    pub fn truncate(&self, by: Caller, id: NodeId, fh: Option<u64>, size: u64) -> Result<()> {
        check_end(size, 0)?;
        if let Some(fh) = fh {
            return self.edit(fh, |dataset, ino, file, _| {
                dataset.resize(file, size)?;
                self.drop_privileges(by, dataset, ino)
            });
        }
        let (dataset, ino) = self.live_node(id)?.ok_or(Error::IsADirectory("the top of a store".into()))?;
        self.drop_privileges(by, &dataset, ino)?;
        dataset.truncate(by, ino, size)
    }

    /// Allocates, or makes zeros; `mode` as in fallocate(2).
    pub fn fallocate(&self, by: Caller, fh: u64, mode: i32, offset: u64, len: u64) -> Result<()> {
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zero = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => false,
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => true,
            libc::FALLOC_FL_ZERO_RANGE => true,
            _ => return Err(Error::Unsupported("this mode of fallocate")),
        };
        check_end(offset, len)?;
        self.edit(fh, |dataset, ino, file, _| {
            let end = offset + len;
            if !zero {
                self.repo.store().check_room(end.saturating_sub(file.size()))?;
            }
            let mut edit = file.edit();
            if !keep_size {
                dataset.admit(&edit, end)?;
            }
            let working = edit.write();
            if zero {
                let inside = working.size().min(end).saturating_sub(offset);
                working.zero_range(dataset.objects(), offset, inside)?;
            }
            if !keep_size && end > working.size() {
                working.truncate(dataset.objects(), end)?;
            }
            drop(edit);
            self.drop_privileges(by, dataset, ino)
        })
    }

    /// Where data or a hole starts at or after `offset`; `None` past the end.
    pub fn seek(&self, id: NodeId, fh: u64, offset: u64, to: SeekTo) -> Result<Option<u64>> {
        let objects = self.repo.objects();
        let in_content = |content: &Content| match to {
            SeekTo::Data => next_data(objects, content, offset),
            SeekTo::Hole => next_hole(objects, content, offset),
        };
        if fh == 0 {
            let Node::Frozen(id, recorded, ino) = self.node(id)? else { return Err(Error::Stale) };
            let inode = self.frozen_inode(id, recorded, ino)?;
            return Ok(in_content(inode.content().ok_or(Error::Stale)?)?);
        }
        match (&*self.handle(fh)?, to) {
            (Handle::Live { file, .. }, SeekTo::Data) => Ok(file.next_data(objects, offset)?),
            (Handle::Live { file, .. }, SeekTo::Hole) => Ok(file.next_hole(objects, offset)?),
            (Handle::Frozen { content, .. }, _) => Ok(in_content(content)?),
            _ => Err(Error::Invalid("not a file with holes".into())),
        }
    }

    /// Copies a range between files by taking over chunks; no data moves. Gives the number of bytes.
    pub fn copy_range(
        &self,
        by: Caller,
        (from_fh, from): (u64, u64),
        (to_fh, to): (u64, u64),
        len: u64,
    ) -> Result<u64> {
        let objects = self.repo.objects();
        let source = match &*self.handle(from_fh)? {
            Handle::Live { dataset, file, .. } => {
                let mut edit = file.edit();
                let written = file.written_at();
                let (content, _) = edit.settle(dataset.objects())?;
                if let Some(written) = written {
                    edit.note_written(written);
                }
                content
            }
            Handle::Frozen { content, .. } => content.clone(),
            _ => return Err(Error::Invalid("not a file to copy from".into())),
        };
        let len = len.min(source.size().saturating_sub(from));
        if len == 0 {
            return Ok(0);
        }
        check_end(to, len)?;
        self.repo.store().note_copied(&source);
        self.edit(to_fh, |dataset, ino, file, _| {
            self.drop_privileges(by, dataset, ino)?;
            let mut edit = file.edit();
            dataset.admit(&edit, to + len)?;
            edit.write().splice_from(objects, to, &source, from, len)?;
            edit.note_added(len);
            Ok(len)
        })
    }

    /// What close(2) does: what was written becomes a version. A close by another process than the one
    /// that writes is not the end of the writing; the last close of all is, see [`FileSystem::release`].
    pub fn flush(&self, by: Caller, fh: u64) -> Result<()> {
        match &*self.handle(fh)? {
            Handle::Live { dataset, ino, file, flushes: true, .. } => dataset.close_by(by, *ino, file),
            _ => Ok(()),
        }
    }

    /// Makes everything that was done to the file durable, its name and version included.
    pub fn fsync(&self, by: Caller, fh: u64) -> Result<()> {
        if let Handle::Live { dataset, ino, file, .. } = &*self.handle(fh)? {
            if file.edit().is_dirty() || dataset.read(|live| Ok(live.is_held(*ino)))? {
                dataset.flush(by, *ino, file)?;
            }
            dataset.seal()?;
        }
        Ok(self.repo.store().sync()?)
    }

    /// Makes everything that was done in a directory durable.
    pub fn fsync_dir(&self, id: NodeId) -> Result<()> {
        if let Node::Live(id, _) = self.node(id)? {
            self.dataset(id)?.seal()?;
        }
        Ok(self.repo.store().sync()?)
    }

    /// Closes a handle for good. What was stored through a memory mapping after close(2) is in by now.
    /// Gives whether the file is again as of its last close, since what was written could not be kept: the
    /// kernel is to forget what it has of it.
    pub fn release(&self, by: Caller, fh: u64) -> bool {
        let Some(handle) = self.handles.remove(fh) else { return false };
        if let (Handle::Frozen { counted: Some(node), .. }, Some(copies)) = (&*handle, &self.copies) {
            copies.close(*node);
        }
        let mut given_up = false;
        if let Handle::Live { dataset, ino, file, flushes, executes, .. } = &*handle {
            if *executes {
                file.end_executing();
            }
            if *flushes {
                file.end_writing();
                if let Err(error) = dataset.closed(by, *ino, file) {
                    log::error!("dataset {}: what was written to a file is lost: {error}", dataset.name());
                    given_up = true;
                    if let Err(error) = dataset.give_up(by, *ino, file) {
                        log::error!("dataset {}: {error}", dataset.name());
                    }
                }
            }
            dataset.close(*ino);
        }
        given_up
    }

    /// The content of a file node as it is now; of a live one, with all that was written to it.
    pub(super) fn content_of(&self, by: Caller, node: &Node) -> Result<Content> {
        match node {
            Node::Frozen(id, recorded, ino) => {
                let inode = self.frozen_inode(*id, *recorded, *ino)?;
                inode.content().cloned().ok_or(Error::NoXattr)
            }
            Node::Live(id, ino) => {
                let dataset = self.dataset(*id)?;
                if dataset.read(|live| live.attr(*ino))?.kind != Kind::File {
                    return Err(Error::NoXattr);
                }
                let Some(file) = dataset.open(*ino)? else { return Err(Error::NoXattr) };
                let flushed = if file.edit().is_dirty() { dataset.flush(by, *ino, &file) } else { Ok(()) };
                let content = flushed.and_then(|()| dataset.read(|live| live.content(*ino)));
                dataset.close(*ino);
                content
            }
            Node::Lost(_, version, ..) => Err(lost(*version)),
            _ => Err(Error::NoXattr),
        }
    }
}

/// Files end below 2^63.
fn read_text(told: &Told, offset: u64, out: &mut [u8]) -> std::result::Result<usize, store::Error> {
    told.text.read_at(offset, out).map_err(|e| store::Error::io("read a text in", Path::new("scratch"), e))
}

fn check_end(offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(Error::TooLarge),
    }
}
