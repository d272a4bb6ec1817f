//! Purges that are under way.
//!
//! A purge is recorded before its bytes are removed, so that what is missing then is no damage. Where the process dies
//! in between, or the disk has no room to rewrite a pack, nothing but a note tells that the bytes are still there: what
//! versions name counts as needed. It is written before the record and goes when all is done.

use serde::{Deserialize, Serialize};

use crate::model::{DatasetId, Name, show_path};

use super::Store;
use super::error::Result;
use super::note;

/// A purge that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedPurge {
    /// The dataset it was asked of.
    pub dataset: DatasetId,
    /// What is purged: a path, name by name, or the id of a content.
    pub path: Vec<Name>,
    /// Whether the versions of all files and datasets lose it.
    pub everywhere: bool,
    /// Why.
    pub reason: String,
}

impl UnfinishedPurge {
    /// Whether another is done once this one is: it is of the same content, and goes no further.
    fn covers(&self, other: &UnfinishedPurge) -> bool {
        (other.dataset, &other.path) == (self.dataset, &self.path) && (self.everywhere || !other.everywhere)
    }

    /// What is purged, to be shown.
    pub fn shown(&self) -> String {
        show_path(&self.path)
    }
}

impl Store {
    /// The purges that are not finished, oldest first.
    pub fn unfinished_purges(&self) -> Result<Vec<UnfinishedPurge>> {
        Ok(note::read(&self.layout.purging(), self.id)?.unwrap_or_default())
    }

    /// Notes, durably, that a purge is under way. Only one may be begun or ended at a time.
    pub fn begin_purge(&self, purge: &UnfinishedPurge) -> Result<()> {
        let mut all = self.unfinished_purges()?;
        all.retain(|other| !purge.covers(other));
        all.push(purge.clone());
        note::write(&self.layout.purging(), self.id, &all)
    }

    /// Notes that it is finished, or nothing of it was begun; and with it others of the same content.
    pub fn end_purge(&self, purge: &UnfinishedPurge) -> Result<()> {
        let mut all = self.unfinished_purges()?;
        all.retain(|other| !purge.covers(other));
        match all.is_empty() {
            true => note::remove(&self.layout.purging()),
            false => note::write(&self.layout.purging(), self.id, &all),
        }
    }
}
