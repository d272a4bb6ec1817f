//! Small files, whose chunks go to the store together.

use crate::dataset::error::Result;
use crate::model::Content;
use crate::store::Objects;
use crate::store::content::{BLOCK, from_many};

/// Files of up to as many bytes are kept until their chunks go to the store with those of others.
pub(in crate::dataset) const SMALL: u64 = 256 << 10;
/// As many bytes and files go to the store together.
pub(super) const BATCH_BYTES: usize = 4 * BLOCK;
pub(super) const BATCH_FILES: usize = 512;

/// Files whose bytes are not in the store yet, by where their contents are wanted.
#[derive(Debug, Default)]
pub(in crate::dataset) struct Batch {
    files: Vec<(usize, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    /// Adds a file.
    pub fn push(&mut self, at: usize, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.files.push((at, bytes));
    }

    /// Leaves out what was added for a place.
    pub fn leave_out(&mut self, at: usize) {
        self.files.retain(|(other, _)| *other != at);
    }

    /// Whether it is time to store them.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.files.len() >= BATCH_FILES
    }

    /// Puts all of them into the store; gives their contents, in the order in which they were added.
    pub fn store(&mut self, objects: &Objects) -> Result<Vec<(usize, Content)>> {
        let (places, bytes): (Vec<usize>, Vec<Vec<u8>>) = std::mem::take(self).files.into_iter().unzip();
        Ok(places.into_iter().zip(from_many(objects, &bytes)?).collect())
    }
}
