//! Questions asked before something is changed, so that what would fail is refused whole.

use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::space::reserve;
use super::{Objects, Store};

/// Room that a change of names may need, in bytes, beyond what is kept from everything.
const RECORD_ROOM: u64 = 2 << 20;
/// Free space that cannot be used up within [`FRESH`], so that a look at the disk is good for as long.
const PLENTY: u64 = 4 << 30;
const FRESH: Duration = Duration::from_millis(250);

/// When the disk was last seen to have plenty of room.
pub type Plenty = parking_lot::Mutex<Option<Instant>>;

impl Store {
    /// Refuses where nothing can be recorded: after a failed sync, or on a disk so full that not even a
    /// deletion finds room.
    pub fn check_writable(&self) -> Result<()> {
        self.log.check_writable()?;
        self.check_free(|_| RECORD_ROOM)
    }

    /// Refuses where something new cannot be made: what is left of the disk is kept for deletions, and
    /// for the index to follow them.
    pub fn check_can_grow(&self) -> Result<()> {
        self.check_writable()?;
        self.check_free(reserve)
    }

    /// Refuses where there is no room for `bytes` of data.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        let room = self.room()?;
        let wanted = bytes.saturating_add(reserve(room.total));
        if room.free < wanted { Err(Error::NoSpace(self.path().to_owned())) } else { Ok(()) }
    }

    /// Waits while the index has too much to take up.
    pub(super) fn wait_for_index(&self) -> Result<()> {
        self.index.wait_for_room().map_err(|error| match self.check_free(reserve) {
            Err(full @ Error::NoSpace(_)) => full,
            _ => error,
        })
    }

    /// Refuses where less is free than `wanted` says for a disk of that size.
    fn check_free(&self, wanted: impl FnOnce(u64) -> u64) -> Result<()> {
        let mut plenty = self.plenty.lock();
        if plenty.is_some_and(|seen| seen.elapsed() < FRESH) {
            return Ok(());
        }
        let room = self.room()?;
        *plenty = (room.free >= PLENTY).then(Instant::now);
        if room.free < wanted(room.total) { Err(Error::NoSpace(self.path().to_owned())) } else { Ok(()) }
    }

    /// What statvfs(2) says of the store's disk.
    pub fn statvfs(&self) -> Result<rustix::fs::StatVfs> {
        let stat = rustix::fs::statvfs(self.path());
        stat.map_err(|e| Error::io("ask for the free space of", self.path(), e.into()))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}
