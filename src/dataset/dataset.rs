//! A dataset: its live tree, its settings, and the lock that orders changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::model::{
    Author, Content, DatasetId, DatasetName, DatasetRecord, Ino, Name, Policy, Span, Timestamp, VersionId,
    VersionNo, View,
};
use crate::store::error::chain;
use crate::store::{Objects, Store, WorkingFile};

use super::annotations::Annotations;
use super::author::{Authors, Caller};
use super::error::Result;
use super::frozen::Frozen;
use super::live::{Head, Live};
use super::open_file::{Edit, OpenFile};
use super::quota::Usage;
use super::retention::Retention;
use super::tags::Tags;

/// A dataset. All methods may be called from any thread.
#[derive(Debug)]
pub struct Dataset {
    id: DatasetId,
    pub(super) record: RwLock<DatasetRecord>,
    pub(super) store: Arc<Store>,
    objects: Arc<Objects>,
    sync_always: bool,
    pub(super) state: Mutex<State>,
    /// Versions whose records are lost; those can only be fewer when the store is opened anew.
    lost: Arc<[Span]>,
    pub(super) tags: RwLock<Tags>,
    pub(super) annotations: RwLock<Annotations>,
    pub(super) retention: RwLock<Retention>,
    pub(super) usage: Arc<Usage>,
    /// A version, and the bytes of its files.
    pub(super) counted: Mutex<Option<(VersionNo, u64)>>,
    /// Head and rollbacks, to be read without waiting for a change under way.
    history: RwLock<Published>,
}

/// A rollback: the version made and the version restored.
pub type Rollback = (VersionNo, VersionNo);

/// What may be known of the history without the dataset's lock.
#[derive(Debug)]
struct Published {
    newest: VersionNo,
    rollbacks: Arc<Vec<Rollback>>,
}

/// What a change needs exclusively.
#[derive(Debug)]
pub(super) struct State {
    pub live: Live,
    pub authors: Authors,
    /// Sequence of the last pending record.
    pub sequence: u64,
    /// When and by whom the live tree was last changed.
    pub changed_at: Instant,
    pub changed_by: Author,
    /// Whether a batch holds versions back.
    pub in_batch: bool,
    /// Whether pending records were written since the last version.
    pub logged: bool,
    /// Files that were closed blank, see [`Dataset::flush`].
    pub blank: BTreeMap<Ino, Author>,
}

impl State {
    /// Notes who changes the live tree, as long as that can be found out. The kernel does not say who it
    /// acts for when it closes a file for good (process 0): then it is who was noted last.
    pub fn note_author(&mut self, by: Caller) {
        if by.pid != 0 || self.changed_by == Author::default() {
            self.changed_by = self.authors.author(by);
        }
    }
}

impl Dataset {
    /// Loads a dataset from the store.
    pub fn load(
        store: Arc<Store>,
        objects: Arc<Objects>,
        record: DatasetRecord,
        sync_always: bool,
    ) -> Result<Dataset> {
        let id = record.id;
        let lost: Arc<[Span]> = store.lost_versions(id)?.into();
        let head = Dataset::stored_head(&store, &record)?;
        let rollbacks = Arc::new(head.rollbacks.clone());
        let history = RwLock::new(Published { newest: head.number, rollbacks });
        let root = record.root.clone();
        let retention = Retention::load(&store, id)?;
        let usage = Arc::new(Usage::new(retention.quota()));
        let mut live =
            Live::new((store.clone(), objects.clone(), usage.clone()), id, head, root, lost.clone())?;
        let mut sequence = 0;
        for pending in store.pending(id) {
            let (number, ops) = pending?;
            sequence = number;
            // Each holds what is new, not how to come to it: the others make sense without one.
            if let Err(error) = ops.map_err(Into::into).and_then(|ops| live.replay(ops)) {
                log::error!("{}: changes that no version holds are lost: {}", record.name, chain(&error));
            }
        }
        live.logged();
        let state = State {
            live,
            authors: Authors::default(),
            sequence,
            changed_at: Instant::now(),
            changed_by: Author::default(),
            in_batch: false,
            logged: sequence > 0,
            blank: BTreeMap::new(),
        };
        let (record, state) = (RwLock::new(record), Mutex::new(state));
        let tags = RwLock::new(Tags::load(&store, id)?);
        let annotations = RwLock::new(Annotations::load(&store, id)?);
        let retention = RwLock::new(retention);
        Ok(Dataset {
            id,
            record,
            store,
            objects,
            sync_always,
            state,
            lost,
            tags,
            annotations,
            retention,
            usage,
            counted: Mutex::default(),
            history,
        })
    }

    /// The newest version as the store has it.
    pub(super) fn stored_head(store: &Store, record: &DatasetRecord) -> Result<Head> {
        let id = record.id;
        let number = store.last_version(id)?;
        let rollbacks = store.rollbacks(id)?;
        let (snapshot, time) = match store.version_meta(id, number)? {
            Some(meta) => (Some(meta.snapshot), meta.time),
            None => (None, record.created),
        };
        let version_id = match store.version_id(id, number) {
            Ok(found) => found.unwrap_or(VersionId::ROOT),
            // Nothing can be written behind it: the store refuses that.
            Err(error) => {
                log::error!("{} takes no changes: {}", record.name, chain(&error));
                VersionId::ROOT
            }
        };
        let view = View::of(number, &rollbacks);
        Ok(Head { number, id: version_id, snapshot, time, rollbacks, view })
    }

    /// Its number in the store.
    pub fn id(&self) -> DatasetId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> DatasetName {
        self.record.read().name.clone()
    }

    /// Whether it is out of sight, and only its history is kept.
    pub fn is_archived(&self) -> bool {
        self.record.read().archived
    }

    /// Its policy.
    pub fn policy(&self) -> Policy {
        self.record.read().policy
    }

    /// Its settings.
    pub fn record(&self) -> DatasetRecord {
        self.record.read().clone()
    }

    /// The store's chunks and manifests.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// The newest version's number; 0 before the first.
    pub fn newest(&self) -> VersionNo {
        self.history.read().newest
    }

    /// All rollbacks, ordered by version.
    pub fn rollbacks(&self) -> Arc<Vec<Rollback>> {
        self.history.read().rollbacks.clone()
    }

    /// The tree of a version, which must exist (0 is the empty one).
    pub fn frozen(&self, version: VersionNo) -> Frozen {
        let view = View::of(version, &self.rollbacks());
        Frozen::new(self.store.clone(), self.id, view, self.record.read().root.clone(), &self.lost)
    }

    /// Versions whose records are lost, ascending.
    pub fn lost(&self) -> &[Span] {
        &self.lost
    }

    /// Whether the record of a version up to the newest is lost.
    pub fn is_lost(&self, version: VersionNo) -> bool {
        self.lost.iter().any(|span| span.first <= version && version <= span.last)
    }

    /// The versions from `first` on but those whose records are lost, ascending.
    pub fn versions_from(&self, first: VersionNo) -> Result<Vec<VersionNo>> {
        let numbers = self.store.version_numbers(self.id, first, usize::MAX)?;
        let newest = self.newest();
        Ok(numbers.into_iter().filter(|number| *number <= newest).collect())
    }

    /// The versions but those whose records are lost, ascending, and when each was made; `None` where that cannot
    /// be read.
    pub fn version_times(&self) -> Result<Vec<(VersionNo, Option<Timestamp>)>> {
        let mut times = self.store.version_times(self.id)?;
        let newest = self.newest();
        times.retain(|(number, _)| *number <= newest);
        Ok(times)
    }

    /// As [`Dataset::versions_from`] the first, one by one and as far as known: the store may have none of
    /// one of these numbers.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = VersionNo> {
        let mut spans = Vec::new();
        let mut first = 1;
        for lost in self.lost.iter() {
            spans.push(first..lost.first.0);
            first = lost.last.0 + 1;
        }
        spans.push(first..self.newest().0 + 1);
        spans.into_iter().flatten().map(VersionNo)
    }

    pub(super) fn publish_history(&self, live: &Live) {
        let mut history = self.history.write();
        history.newest = live.head.number;
        if history.rollbacks.len() != live.head.rollbacks.len() {
            history.rollbacks = Arc::new(live.head.rollbacks.clone());
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether a batch holds versions back.
    pub fn in_batch(&self) -> bool {
        self.lock().in_batch
    }

    /// Looks at the live tree.
    pub fn read<T>(&self, look: impl FnOnce(&mut Live) -> Result<T>) -> Result<T> {
        look(&mut self.lock().live)
    }

    /// Makes a change that asks for a version: a new name or inode.
    pub fn change<T>(&self, by: Caller, make: impl FnOnce(&mut Live) -> Result<T>) -> Result<T> {
        self.store.check_can_grow()?;
        let mut state = self.lock();
        let out = make(&mut state.live)?;
        self.changed(&mut state, by)?;
        drop(state);
        self.make_durable()?;
        Ok(out)
    }

    /// Makes a change of attributes, which joins the next version.
    pub fn adjust<T>(&self, by: Caller, make: impl FnOnce(&mut Live) -> Result<T>) -> Result<T> {
        self.store.check_writable()?;
        let mut state = self.lock();
        state.changed_at = Instant::now();
        state.note_author(by);
        make(&mut state.live)
    }

    /// With `sync=always`, nothing that returned is ever lost.
    pub(super) fn make_durable(&self) -> Result<()> {
        if self.sync_always {
            self.store.sync()?;
        }
        Ok(())
    }

    fn open_file(&self, content: Content) -> OpenFile {
        OpenFile::new(self.working(content), self.usage.clone())
    }

    /// A file that has this content, to be written to.
    pub(super) fn working(&self, content: Content) -> WorkingFile {
        WorkingFile::new(content, &self.store.scratch_dir())
    }

    /// Opens a handle of `ino`; of a regular file, gives what its handles share.
    pub fn open(&self, ino: Ino) -> Result<Option<Arc<OpenFile>>> {
        self.lock().live.open(ino, |content| self.open_file(content))
    }

    /// Closes a handle of `ino`.
    pub fn close(&self, ino: Ino) {
        self.lock().live.close(ino);
    }

    /// Makes what was written to an open file part of the live tree, and with that of a version. What
    /// close(2) and fsync(2) do.
    ///
    /// A file that was just made, or emptied, by being opened is only logged: shells open a file and
    /// close a duplicate of the descriptor before anything is written, and that makes no version. It is
    /// part of the next one, at the latest when the last descriptor is closed ([`Dataset::closed`]).
    pub fn flush(&self, by: Caller, ino: Ino, file: &OpenFile) -> Result<()> {
        self.flush_edit(by, ino, file, file.edit())
    }

    /// What follows a close(2): a flush, if it is by the process that wrote last.
    ///
    /// The kernel may give a write in two parts, at the end of a page. So it is asked once more when nobody can
    /// write: of what another process has begun to write since, no version is to have a part.
    pub fn close_by(&self, by: Caller, ino: Ino, file: &OpenFile) -> Result<()> {
        if !file.is_closed_by_writer(by.pid) {
            return Ok(());
        }
        let edit = file.edit();
        match file.is_closed_by_writer(by.pid) {
            true => self.flush_edit(by, ino, file, edit),
            false => Ok(()),
        }
    }

    fn flush_edit(&self, by: Caller, ino: Ino, file: &OpenFile, mut edit: Edit<'_>) -> Result<()> {
        if !edit.is_dirty() && !self.lock().live.is_held(ino) {
            return Ok(());
        }
        let (content, written) = edit.settle(&self.objects)?;
        let mut state = self.lock();
        if let Err(error) = self.put_content(&mut state, by, ino, content, written, file.is_blank()) {
            // Nobody has it yet: the next flush tries again, and the last close gives it up.
            edit.note_written(written.unwrap_or_else(Timestamp::now));
            return Err(error);
        }
        edit.forget_added();
        drop(state);
        self.make_durable()
    }

    /// What follows when a handle is gone for good: the last one flushes, and has a version of a blank
    /// file cut.
    ///
    /// The kernel tells of it late, when the file may be open and emptied or half written again: that is
    /// no state to keep.
    pub fn closed(&self, by: Caller, ino: Ino, file: &OpenFile) -> Result<()> {
        let edit = file.edit();
        if file.is_being_written() {
            return Ok(());
        }
        self.flush_edit(by, ino, file, edit)?;
        let mut state = self.lock();
        let Some(author) = state.blank.remove(&ino) else { return Ok(()) };
        // Who closes last is not told; who opened the file is known.
        state.changed_by = author;
        self.changed(&mut state, Caller { pid: 0, ..by })
    }

    fn put_content(
        &self,
        state: &mut State,
        by: Caller,
        ino: Ino,
        content: Content,
        written: Option<Timestamp>,
        blank: bool,
    ) -> Result<()> {
        let held = state.live.is_held(ino);
        if !held && state.live.content(ino)? != content {
            self.keep_closed_state(state, ino)?;
        }
        let changed = state.live.set_content(ino, content, written)?;
        state.live.unhold(ino)?;
        if !changed && !held {
            return Ok(());
        }
        if blank {
            state.note_author(by);
            let author = state.changed_by.clone();
            state.blank.insert(ino, author);
            return self.log_pending(state);
        }
        state.blank.remove(&ino);
        self.changed(state, by)
    }

    /// Drops what was written to a file and could not be kept, so that it is again as of its last
    /// close.
    pub fn give_up(&self, by: Caller, ino: Ino, file: &OpenFile) -> Result<()> {
        let mut edit = file.edit();
        let mut state = self.lock();
        edit.replace(self.working(state.live.content(ino)?));
        state.live.unhold(ino)?;
        self.changed(&mut state, by)
    }

    /// Makes what was written so far to a held file its content, before it is renamed or linked: from
    /// then on it is recorded.
    fn settle_held(&self, dir: Ino, name: &Name) -> Result<()> {
        let Some((ino, file)) = self.lock().live.held_file(dir, name)? else { return Ok(()) };
        let (content, written) = file.edit().settle(&self.objects)?;
        self.lock().live.set_content(ino, content, written)?;
        Ok(())
    }

    /// Changes a file's size by path.
    pub fn truncate(&self, by: Caller, ino: Ino, size: u64) -> Result<()> {
        self.store.check_writable()?;
        let Some(file) = self.open(ino)? else {
            return Err(super::Error::Invalid(format!("inode {} is no file", ino.0)));
        };
        let truncated = self.resize(&file, size);
        let done = truncated.and_then(|()| self.flush(by, ino, &file));
        self.close(ino);
        done
    }

    /// Changes an open file's size.
    pub fn resize(&self, file: &OpenFile, size: u64) -> Result<()> {
        let mut edit = file.edit();
        self.admit(&edit, size)?;
        Ok(edit.write().truncate(&self.objects, size)?)
    }

    /// Removes the name of anything but a directory.
    pub fn unlink(&self, by: Caller, dir: Ino, name: &Name) -> Result<Ino> {
        self.store.check_writable()?;
        let mut state = self.lock();
        if let Some(ino) = state.live.lookup(dir, name)? {
            self.keep_closed_state(&mut state, ino)?;
        }
        let held = state.live.held_file(dir, name)?.is_some();
        let (ino, _) = state.live.unlink(dir, name)?;
        if !held {
            self.changed(&mut state, by)?;
        }
        drop(state);
        self.make_durable()?;
        Ok(ino)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, by: Caller, dir: Ino, name: &Name) -> Result<()> {
        self.store.check_writable()?;
        let mut state = self.lock();
        state.live.rmdir(dir, name)?;
        self.changed(&mut state, by)?;
        drop(state);
        self.make_durable()
    }

    /// Renames, see [`Live::rename`].
    pub fn rename(
        &self,
        by: Caller,
        from: (Ino, &Name),
        to: (Ino, &Name),
        mode: super::live::RenameMode,
    ) -> Result<()> {
        self.store.check_writable()?;
        self.settle_held(from.0, from.1)?;
        self.settle_held(to.0, to.1)?;
        let mut state = self.lock();
        if let Some(ino) = state.live.lookup(to.0, to.1)? {
            self.keep_closed_state(&mut state, ino)?;
        }
        state.live.rename(from, to, mode)?;
        self.changed(&mut state, by)?;
        drop(state);
        self.make_durable()
    }

    /// Gives `ino` another name.
    pub fn link(&self, by: Caller, ino: Ino, dir: Ino, name: &Name) -> Result<()> {
        let held = self.read(|live| live.held_place(ino))?;
        if let Some((held_dir, held_name)) = held {
            self.settle_held(held_dir, &held_name)?;
        }
        self.change(by, |live| live.link(ino, dir, name))
    }
}
