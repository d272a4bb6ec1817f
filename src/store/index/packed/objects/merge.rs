//! Several runs walked as one.

use super::run::{Entry, Run, Walk};
use crate::store::error::Result;

/// Walks the entries of some runs in the order of their hashes; of those with the same hash, only the newest.
pub struct Merge<'a> {
    /// Newest run first, with the entry of each that comes next.
    walks: Vec<(Entry, Walk<'a>)>,
}

impl<'a> Merge<'a> {
    /// Of runs given newest first, from the first entry on whose hash is not before `start`.
    pub fn new(runs: impl Iterator<Item = &'a Run>, start: &[u8; 32]) -> Result<Merge<'a>> {
        let mut walks = Vec::new();
        for run in runs {
            let mut walk = run.walk(start);
            walks.extend(walk.next()?.map(|entry| (entry, walk)));
        }
        Ok(Merge { walks })
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        // The first of equal ones is the newest.
        let Some(next) = self.walks.iter().map(|(entry, _)| *entry).min_by_key(|entry| *entry.hash()) else {
            return Ok(None);
        };
        let mut ended = false;
        for (entry, walk) in &mut self.walks {
            if entry.hash() == next.hash() {
                match walk.next()? {
                    Some(following) => *entry = following,
                    None => {
                        ended = true;
                        // Taken out below: no entry has a hash before its own.
                        *entry = next;
                    }
                }
            }
        }
        if ended {
            self.walks.retain(|(entry, _)| entry.hash() != next.hash());
        }
        Ok(Some(next))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.step().transpose()
    }
}
