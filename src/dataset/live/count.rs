//! Counting the bytes of all files of a live tree.

use std::collections::BTreeSet;

use crate::model::Ino;

use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::sizes::Sizer;
use super::Live;

impl Live {
    /// Begins to keep count of the bytes of all files, where the version that the tree is a change against is
    /// `head` and has `size`. Gives them.
    pub fn begin_count(&mut self, head: &Frozen, size: u64) -> Result<u64> {
        let changed: BTreeSet<Ino> = self.dirty.inodes().collect();
        let (mut now, mut sizes) = (size, Sizer::new(head));
        for &ino in &changed {
            now = now.saturating_sub(sizes.size(ino)?);
        }
        // Nobody writes to an open file meanwhile.
        let mut tally = self.usage.lock();
        for (ino, node) in &self.nodes {
            let is_in_size = !node.held && !node.unlinked && !changed.contains(ino);
            let had = if is_in_size { node.file_size() } else { 0 };
            let has = match &node.file {
                Some(file) => file.share().bytes(),
                None if node.unlinked => 0,
                None => node.file_size(),
            };
            now = now.saturating_add(has).saturating_sub(had);
        }
        tally.begin(now);
        Ok(now)
    }
}
