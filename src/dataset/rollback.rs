//! Rolling a dataset back: a new version that takes up an earlier one's tree, in constant time.

use std::collections::BTreeMap;

use crate::model::{Ino, Name, Ops, Timestamp, VersionHead, VersionNo, View};
use crate::store::error::chain;

use super::author::Caller;
use super::dataset::{Dataset, State};
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::history::common_past;
use super::live::{Head, Invalid, Reopened};
use super::retention::PurgedFile;
use super::shares::in_shares;

/// Entries read from the index at a time.
const PAGE: usize = 1024;
/// Versions whose records are read in any case to find out what a rollback changed; of more, only where there
/// are no fewer inodes in memory.
const RECORDS_MAX: usize = 2_000;

/// What a rollback came to.
#[derive(Debug)]
pub struct RolledBack {
    /// The version made.
    pub version: VersionNo,
    /// Paths of files whose content was purged, which it does not have.
    pub left_out: Vec<Vec<Name>>,
}

impl Dataset {
    /// Makes a version that has the tree of `target`, and makes it durable. Changes that no version
    /// holds are cut first, so nothing is lost. Gives `None` if `target` is the newest already. With
    /// `skip_purged`, a further version is made where `target` has files whose content was purged, without
    /// these. `forget` is told what the kernel must forget, without the dataset's lock, as soon as
    /// the tree is another: also where it then cannot be made durable, for it is the live one nonetheless.
    pub fn rollback(
        &self,
        by: Caller,
        target: VersionNo,
        message: Option<String>,
        skip_purged: bool,
        forget: impl FnOnce(&Invalid),
    ) -> Result<Option<RolledBack>> {
        self.store.check_writable()?;
        let mut state = self.lock();
        if state.in_batch {
            return Err(Error::Invalid(format!("a batch on {} is under way", self.name())));
        }
        let tree = self.frozen(target);
        let purged = self.purged_files(&tree, Ino::ROOT)?;
        if !purged.is_empty() && !skip_purged {
            return Err(self.purged_error(&tree, &purged));
        }
        self.check_can_roll_back(&mut state, target, &purged)?;
        if !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        if target == state.live.head.number {
            return Ok(None);
        }
        // Whoever gives back what pruned versions had waits for this lock, to find out what the live tree has.
        self.check_kept(target)?;
        let trees = [self.frozen(state.live.head.number), tree.clone()];
        let mut invalid = self.changed_between(&state, trees)?;
        let left_out = purged.iter().map(|file| file.path(&tree)).collect::<Result<_>>()?;
        state.note_author(by);
        let (version, files) = self.take_up(&mut state, target, message)?;
        let without = self.remove_purged(&mut state, &purged, &mut invalid);
        drop(state);
        self.restore(files);
        forget(&invalid);
        let version = without?.unwrap_or(version);
        self.store.sync()?;
        Ok(Some(RolledBack { version, left_out }))
    }

    /// Refuses a version of more bytes than the quota has.
    fn check_can_roll_back(
        &self,
        state: &mut State,
        target: VersionNo,
        without: &[PurgedFile],
    ) -> Result<()> {
        if self.quota().is_none() {
            return Ok(());
        }
        let less: BTreeMap<Ino, u64> = without.iter().map(|file| (file.ino, file.size)).collect();
        let size = self.size_of(target, None)?.unwrap_or_default();
        self.check_quota(self.used_by(state)?, size.saturating_sub(less.values().sum()))
    }

    /// Removes files whose content was purged, and cuts a version of that.
    fn remove_purged(
        &self,
        state: &mut State,
        purged: &[PurgedFile],
        invalid: &mut Invalid,
    ) -> Result<Option<VersionNo>> {
        if purged.is_empty() {
            return Ok(None);
        }
        for PurgedFile { dir, name, .. } in purged {
            state.live.unlink(*dir, name)?;
            invalid.names.insert((*dir, name.clone()));
            invalid.inodes.insert(*dir);
        }
        self.cut(state, Some("files whose content was purged are left out".into()))
    }

    /// Gives open files the content they now have. The dataset's lock is not held.
    pub(super) fn restore(&self, files: Vec<Reopened>) {
        for (file, content) in files {
            let mut edit = file.edit();
            // Somebody is writing to it: what they write is the next change.
            if !edit.is_dirty() {
                edit.replace(self.working(content));
            }
        }
    }

    fn take_up(
        &self,
        state: &mut State,
        target: VersionNo,
        message: Option<String>,
    ) -> Result<(VersionNo, Vec<Reopened>)> {
        let head = &state.live.head;
        let number = head.number.next();
        let snapshot = self.snapshot(target)?;
        let record = VersionHead {
            dataset: self.id(),
            number,
            previous: head.id,
            base: target,
            snapshot,
            time: Timestamp::now().max(head.time),
            author: state.changed_by.clone(),
            message,
            trees: Vec::new(),
        };
        let mut rollbacks = head.rollbacks.clone();
        let id = self.store.append_version(&record, Ops::default())?;
        rollbacks.push((number, target));
        let view = View::of(number, &rollbacks);
        let head = Head { number, id, snapshot: Some(snapshot), time: record.time, rollbacks, view };
        let files = state.live.reset(head)?;
        self.publish_history(&state.live);
        Ok((number, files))
    }

    /// What may differ between the live tree, which is the first of two, and the other: what was changed since
    /// their common past. Where that is very much, everything in memory, if that is all the kernel can have heard of.
    pub(super) fn changed_between(&self, state: &State, trees: [Frozen; 2]) -> Result<Invalid> {
        let common = common_past(&trees[0], &trees[1]);
        let numbers: Vec<_> = trees.iter().flat_map(|tree| tree.versions_after(common)).collect();
        if numbers.len() > state.live.in_memory().max(RECORDS_MAX) && !state.live.was_trimmed() {
            return Ok(state.live.everything());
        }
        let shares: Result<Vec<_>> =
            in_shares(&numbers, |share| self.changed_in(share)).into_iter().collect();
        match shares {
            Ok(shares) => Ok(shares.into_iter().fold(Invalid::default(), Invalid::and)),
            Err(_) => self.all_names(state, &trees),
        }
    }

    /// What these versions changed.
    fn changed_in(&self, numbers: &[VersionNo]) -> Result<Invalid> {
        let mut invalid = Invalid::default();
        for &number in numbers {
            let (_, record) = self.version(number).inspect_err(|error| {
                log::warn!("what {number} of {} changed is not known: {}", self.name(), chain(error));
            })?;
            record.ops.into_iter().for_each(|op| invalid.add(op));
        }
        Ok(invalid)
    }

    /// All that is in memory and in the root directories of these trees: the kernel forgets what is below a
    /// name with the name.
    fn all_names(&self, state: &State, trees: &[Frozen]) -> Result<Invalid> {
        let mut invalid = state.live.everything();
        invalid.inodes.insert(Ino::ROOT);
        for tree in trees {
            let mut after = None;
            loop {
                let page = tree.entries(Ino::ROOT, after, PAGE)?;
                let Some(&(last, _)) = page.last() else { break };
                after = Some(last);
                invalid.names.extend(page.into_iter().map(|(_, entry)| (Ino::ROOT, entry.name)));
            }
        }
        Ok(invalid)
    }
}
