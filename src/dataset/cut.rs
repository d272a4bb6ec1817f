//! Cutting versions: when, and what is recorded.
//!
//! `every-write` cuts at every change of a name or of a file's content; changes of attributes join the
//! next cut, or are cut alone after [`QUIET`] without change, or when the dataset is looked at. Under
//! `settle` one version is cut for a burst of changes, under `manual` at commit; there, what no version
//! holds yet is written to the log as pending records, so that it survives the daemon.

use std::time::{Duration, Instant};

use crate::model::{Ino, Op, PendingRecord, Policy, Timestamp, VersionHead, VersionNo, View};

use super::author::Caller;
use super::dataset::{Dataset, State};
use super::error::{Error, Result};
use super::live::Invalid;

/// How long attribute changes wait for another change to join.
pub const QUIET: Duration = Duration::from_secs(1);

impl Dataset {
    /// Does what the policy wants after a change.
    pub(super) fn changed(&self, state: &mut State, by: Caller) -> Result<()> {
        state.changed_at = Instant::now();
        state.note_author(by);
        if state.live.is_idle() {
            return Ok(());
        }
        if self.cuts_itself(state) && self.policy() == Policy::EveryWrite {
            self.cut(state, None).map(drop)
        } else {
            self.log_pending(state)
        }
    }

    /// Whether versions are cut without anybody asking.
    fn cuts_itself(&self, state: &State) -> bool {
        !state.in_batch && self.policy() != Policy::Manual
    }

    /// Under `settle`, no state a file had at a close is lost: if `ino` was written in the burst under
    /// way and is about to be changed or removed, the burst ends here.
    pub(super) fn keep_closed_state(&self, state: &mut State, ino: Ino) -> Result<()> {
        let settling = matches!(self.policy(), Policy::Settle(_)) && self.cuts_itself(state);
        if settling && state.live.dirty.has_content(ino) && !state.blank.contains_key(&ino) {
            self.cut(state, None)?;
        }
        Ok(())
    }

    /// Writes what changed since the last record to the log.
    pub(super) fn log_pending(&self, state: &mut State) -> Result<()> {
        let ops = state.live.unlogged_changes()?;
        if ops.is_empty() {
            return Ok(());
        }
        let sequence = state.sequence + 1;
        self.store.append_pending(&PendingRecord { dataset: self.id(), sequence, discard: false, ops })?;
        state.sequence = sequence;
        state.logged = true;
        state.live.logged();
        Ok(())
    }

    /// Cuts a version of all changes, in the name of who made the last; none if there is none.
    pub(super) fn cut(&self, state: &mut State, message: Option<String>) -> Result<Option<VersionNo>> {
        let live = &mut state.live;
        let ops = live.changes(state.logged || live.dirty.only_attributes())?;
        if ops.is_empty() {
            self.nothing_changed(state)?;
            return Ok(None);
        }
        if live.head.number == VersionNo::EMPTY && message.is_none() {
            // The directory of a dataset that holds nothing yet is no content worth a version.
            if let (1, Some(Op::Inode { ino: Ino::ROOT, inode })) = (ops.len(), ops.iter().next()) {
                let record = {
                    let mut record = self.record.read().clone();
                    record.root = inode;
                    record
                };
                self.store.append_dataset(&record)?;
                *self.record.write() = record;
                live.recorded();
                return Ok(None);
            }
        }
        let (snapshot, trees) = live.hashes()?;
        let number = live.head.number.next();
        let record = VersionHead {
            dataset: self.id(),
            number,
            previous: live.head.id,
            base: live.head.number,
            snapshot,
            time: Timestamp::now().max(live.head.time),
            author: state.changed_by.clone(),
            message,
            trees,
        };
        live.head.id = self.store.append_version(&record, ops)?;
        live.head.number = number;
        live.head.snapshot = Some(snapshot);
        live.head.time = record.time;
        live.head.view = View::of(number, &live.head.rollbacks);
        live.recorded();
        self.publish_history(live);
        state.logged = false;
        state.blank.clear();
        Ok(Some(number))
    }

    /// Forgets changes that came to nothing, in the log too.
    fn nothing_changed(&self, state: &mut State) -> Result<()> {
        if state.logged {
            self.discard_pending(state)?;
        }
        state.live.recorded();
        state.blank.clear();
        Ok(())
    }

    /// Records that the pending records so far do not count.
    fn discard_pending(&self, state: &mut State) -> Result<()> {
        let sequence = state.sequence + 1;
        let discard = PendingRecord { dataset: self.id(), sequence, discard: true, ops: Vec::new() };
        self.store.append_pending(&discard)?;
        state.sequence = sequence;
        state.logged = false;
        Ok(())
    }

    /// Cuts what waits for a cut, because somebody looks: a reader never sees history lagging behind
    /// the live tree. Nothing happens under `manual` or in a batch.
    pub fn seal(&self) -> Result<()> {
        let mut state = self.lock();
        if self.cuts_itself(&state) && !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        Ok(())
    }

    /// The same for who only looks: where nothing can be written, on a full or failing disk, history is
    /// shown without what waits.
    pub fn seal_to_look(&self) -> Result<()> {
        use crate::store::Error as Store;
        match self.seal() {
            Err(Error::Store(error @ (Store::NoSpace(_) | Store::ReadOnly { .. } | Store::Io { .. }))) => {
                log::debug!("dataset {}: nothing is sealed: {error}", self.name());
                Ok(())
            }
            result => result,
        }
    }

    /// Cuts a version now, whatever the policy, and makes it durable. `None`: nothing had changed.
    pub fn commit(&self, by: Caller, message: Option<String>) -> Result<Option<VersionNo>> {
        self.store.check_writable()?;
        let mut state = self.lock();
        if state.in_batch {
            return Err(Error::Invalid(format!("a batch on {} is under way", self.name())));
        }
        state.note_author(by);
        let version = if state.live.is_idle() { None } else { self.cut(&mut state, message)? };
        drop(state);
        self.store.sync()?;
        Ok(version)
    }

    /// Does what is due with the passing of time.
    pub fn tick(&self) -> Result<()> {
        // A change under way shows that the dataset is not quiet.
        let Some(mut state) = self.state.try_lock() else { return Ok(()) };
        let State { live, blank, .. } = &mut *state;
        live.trim();
        if live.is_idle_but_for(|ino| blank.contains_key(ino))? {
            return Ok(());
        }
        let quiet = state.changed_at.elapsed();
        let due = match self.policy() {
            Policy::EveryWrite => quiet >= QUIET,
            Policy::Settle(wanted) => quiet >= wanted,
            Policy::Manual => false,
        };
        if due && self.cuts_itself(&state) {
            self.cut(&mut state, None)?;
        } else if quiet >= QUIET && !(self.cuts_itself(&state) && self.policy() == Policy::EveryWrite) {
            self.log_pending(&mut state)?;
        }
        Ok(())
    }

    /// Changes the policy. What waits under the old one is cut first.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        self.store.check_writable()?;
        let mut state = self.lock();
        let goes_on = self.policy() == Policy::Manual && policy == Policy::Manual;
        if !goes_on && !state.in_batch && !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        let record = {
            let mut record = self.record.read().clone();
            record.policy = policy;
            record
        };
        self.store.append_dataset(&record)?;
        self.store.sync()?;
        *self.record.write() = record;
        Ok(())
    }

    /// Holds back versions until [`Dataset::end_batch`]. What waited for a cut is cut first.
    pub fn begin_batch(&self) -> Result<()> {
        self.store.check_writable()?;
        let mut state = self.lock();
        if state.in_batch {
            return Err(Error::Invalid(format!("a batch on {} is under way already", self.name())));
        }
        if !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        state.in_batch = true;
        Ok(())
    }

    /// Ends a batch with one version of everything (none if nothing changed).
    pub fn end_batch(&self, by: Caller, message: Option<String>) -> Result<Option<VersionNo>> {
        let mut state = self.lock();
        state.in_batch = false;
        state.note_author(by);
        let version = if state.live.is_idle() { None } else { self.cut(&mut state, message)? };
        drop(state);
        self.store.sync()?;
        Ok(version)
    }

    /// Ends a batch by taking back everything since its begin. Gives what the kernel must forget.
    pub fn abort_batch(&self) -> Result<Invalid> {
        let mut state = self.lock();
        state.in_batch = false;
        let mut invalid = Invalid::default();
        state.live.changes(false)?.iter().for_each(|op| invalid.add(op));
        self.discard_pending(&mut state)?;
        state.blank.clear();
        let head = state.live.head.clone();
        let files = state.live.reset(head)?;
        drop(state);
        files.into_iter().for_each(|(file, content)| file.edit().replace(self.working(content)));
        self.store.sync()?;
        Ok(invalid)
    }
}
