//! Quotas: how many bytes the files of a dataset's live tree may have.
//!
//! What counts is the size of each file once, as stat(2) tells it, with what was written and not yet closed; a
//! file without a name counts until it is closed for good. History does not count. The use is counted when it
//! is first asked for, and kept up to date by every change from there on, so that no change costs more in a
//! large dataset. What would make it grow beyond the quota is refused before anything is done: writers
//! together do not exceed it by a byte.
//!
//! Lock order: a [`Usage`] is locked last.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::model::RetentionAction;

use super::author::Caller;
use super::dataset::{Dataset, State};
use super::error::{Error, Result};
use super::open_file::Edit;

/// The quota of a dataset, and what of it is used.
#[derive(Debug)]
pub struct Usage(Mutex<Tally>);

/// What a [`Usage`] holds.
#[derive(Debug)]
pub(super) struct Tally {
    quota: Option<u64>,
    /// Bytes of all files, once they have been counted.
    used: Option<u64>,
}

impl Tally {
    /// Begins to keep count.
    pub fn begin(&mut self, used: u64) {
        self.used = Some(used);
    }

    fn change(&mut self, before: u64, after: u64) {
        self.used = self.used.map(|used| used.saturating_add(after).saturating_sub(before));
    }
}

/// Whether a file may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// The use would become `needed`, which is more than `quota`.
    Refused {
        /// The quota.
        quota: u64,
        /// What is used.
        used: u64,
        /// What would be.
        needed: u64,
    },
    /// The use has to be counted first.
    Uncounted,
}

/// What a [`Usage`] counts for an open file: its size, and what it was admitted to grow to.
#[derive(Debug)]
pub struct Share(AtomicU64);

impl Share {
    /// Stands for a file that is not counted any more.
    const NONE: u64 = u64::MAX;

    /// Of a file of this size.
    pub fn new(size: u64) -> Share {
        Share(AtomicU64::new(size))
    }

    /// The bytes; those of a file that is not counted any more are none.
    pub(super) fn bytes(&self) -> u64 {
        match self.0.load(Ordering::Acquire) {
            Share::NONE => 0,
            bytes => bytes,
        }
    }
}

impl Usage {
    /// With this quota, if any; not counted.
    pub fn new(quota: Option<u64>) -> Usage {
        Usage(Mutex::new(Tally { quota, used: None }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock()
    }

    /// Has the use be counted anew when it is next asked for.
    pub fn forget(&self) {
        self.lock().used = None;
    }

    /// Notes that a file that nobody has open had `before` bytes and has `after`.
    pub fn note(&self, before: u64, after: u64) {
        if before != after {
            self.lock().change(before, after);
        }
    }

    /// Lets an open file grow to `size` bytes, if the quota does.
    pub fn admit(&self, share: &Share, size: u64) -> Admission {
        let mut tally = self.lock();
        let counted = share.bytes();
        let Some(quota) = tally.quota.filter(|_| size > counted) else { return Admission::Granted };
        let Some(used) = tally.used else { return Admission::Uncounted };
        let needed = used.saturating_add(size - counted);
        if needed > quota {
            return Admission::Refused { quota, used, needed };
        }
        tally.used = Some(needed);
        share.0.store(size, Ordering::Release);
        Admission::Granted
    }

    /// Notes the size that an open file has now.
    pub fn settle(&self, share: &Share, size: u64) {
        if share.0.load(Ordering::Acquire) == size {
            return;
        }
        let mut tally = self.lock();
        if share.0.load(Ordering::Acquire) != Share::NONE {
            tally.change(share.bytes(), size);
            share.0.store(size, Ordering::Release);
        }
    }

    /// Notes that a file was closed for good, and what remains of it.
    pub fn release(&self, share: &Share, remains: u64) {
        let mut tally = self.lock();
        tally.change(share.bytes(), remains);
        share.0.store(Share::NONE, Ordering::Release);
    }
}

impl Dataset {
    /// The quota, if there is one.
    pub fn quota(&self) -> Option<u64> {
        self.usage.lock().quota
    }

    /// The bytes of all files of the live tree, as the quota counts them.
    pub fn used(&self) -> Result<u64> {
        loop {
            if let Some(used) = self.usage.lock().used {
                return Ok(used);
            }
            // The most of it without the lock of all changes.
            self.size_of(self.newest(), None)?;
            self.used_by(&mut self.lock())?;
        }
    }

    /// The same under the dataset's lock.
    pub(super) fn used_by(&self, state: &mut State) -> Result<u64> {
        if let Some(used) = self.usage.lock().used {
            return Ok(used);
        }
        let head = state.live.head.number;
        let size = self.size_of(head, None)?.unwrap_or_default();
        state.live.begin_count(&self.frozen(head), size)
    }

    /// Sets the quota, or takes it away, durably. A quota below the use only keeps it from growing.
    pub fn set_quota(&self, by: Caller, quota: Option<u64>) -> Result<()> {
        self.store.check_writable()?;
        if quota.is_some() {
            self.used()?;
        }
        self.note_retention(by, None, RetentionAction::Quota(quota))?;
        self.usage.lock().quota = quota;
        Ok(())
    }

    /// Lets an open file grow to `size` bytes.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn admit(&self, edit: &Edit<'_>, size: u64) -> Result<()> {
        loop {
            match edit.admit(size) {
                Admission::Granted => return Ok(()),
                Admission::Refused { quota, used, needed } => {
                    return Err(self.over_quota(quota, used, needed));
                }
                Admission::Uncounted => drop(self.used()?),
            }
        }
    }

    /// Refuses what makes the use `needed`, unless it is no more than it is, or than the quota.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub(super) fn check_quota(&self, used: u64, needed: u64) -> Result<()> {
        match self.quota() {
            Some(quota) if needed > quota.max(used) => Err(self.over_quota(quota, used, needed)),
            _ => Ok(()),
        }
    }

    /// Refuses what will have `bytes` at least, before any of it is done.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn check_can_hold(&self, bytes: u64) -> Result<()> {
        match self.quota() {
            Some(_) => self.check_quota(self.used()?, bytes),
            None => Ok(()),
        }
    }

    fn over_quota(&self, quota: u64, used: u64, needed: u64) -> Error {
        Error::OverQuota { dataset: self.name().to_string(), quota, used, needed }
    }
}
