//! Questions asked before something is changed, so that what would fail is refused whole.

use super::error::{Error, Result};
use super::space::reserve;
use super::{Objects, Store};

/// Room that a change of names may need, in bytes, beyond what is kept from everything.
const RECORD_ROOM: u64 = 2 << 20;

impl Store {
    /// Refuses where nothing can be recorded: after a failed sync, or on a disk so full that not even a
    /// deletion finds room.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly(self.path().to_owned()));
        }
        self.check_free(RECORD_ROOM)
    }

    /// Refuses where there is no room for `bytes` of data.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        self.check_free(bytes.saturating_add(reserve(self.room()?.total)))
    }

    fn check_free(&self, bytes: u64) -> Result<()> {
        if self.room()?.free < bytes { Err(Error::NoSpace(self.path().to_owned())) } else { Ok(()) }
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
