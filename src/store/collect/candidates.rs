//! Objects of which it is found out whether they are needed.

use std::collections::HashMap;

/// Objects that are looked for in all that is needed.
pub trait Sought {
    /// Whether this is one of them, and not known to be needed by a version.
    fn is_open(&self, hash: &[u8; 32]) -> bool;
    /// Whether there is none such left.
    fn is_settled(&self) -> bool;
    /// Marks an object as needed: by a version, or by what comes and goes with no version telling of it.
    fn mark(&mut self, hash: &[u8; 32], by: Need);
}

/// What needs an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// An open file, a pending change or the live tree, which may let it go at any time.
    Passing,
    /// A version that is kept.
    Version,
}

impl<T> Sought for HashMap<[u8; 32], T> {
    fn is_open(&self, hash: &[u8; 32]) -> bool {
        self.contains_key(hash)
    }

    fn is_settled(&self) -> bool {
        self.is_empty()
    }

    fn mark(&mut self, hash: &[u8; 32], _by: Need) {
        self.remove(hash);
    }
}

/// Objects of some packs. They are told apart by 8 bytes of their hashes: should two be the same in these, both
/// are kept.
#[derive(Debug)]
pub struct Candidates {
    pub(super) packs: Vec<u32>,
    hashes: Vec<u64>,
    marked: Vec<Option<Need>>,
    /// How many are not marked as needed by a version.
    open: usize,
}

pub(super) fn short(hash: &[u8; 32]) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|n| hash[n]))
}

impl Candidates {
    pub(super) fn new(packs: Vec<u32>, mut hashes: Vec<u64>) -> Candidates {
        hashes.sort_unstable();
        hashes.dedup();
        let (marked, open) = (vec![None; hashes.len()], hashes.len());
        Candidates { packs, hashes, marked, open }
    }

    fn find(&self, hash: &[u8; 32]) -> Option<usize> {
        self.hashes.binary_search(&short(hash)).ok()
    }

    /// What is known of an object; `None` where it is not among them.
    pub(super) fn verdict(&self, hash: &[u8; 32]) -> Option<Option<Need>> {
        self.find(hash).map(|n| self.marked[n])
    }
}

impl Sought for Candidates {
    fn is_open(&self, hash: &[u8; 32]) -> bool {
        self.find(hash).is_some_and(|n| self.marked[n] != Some(Need::Version))
    }

    fn is_settled(&self) -> bool {
        self.open == 0
    }

    fn mark(&mut self, hash: &[u8; 32], by: Need) {
        let Some(n) = self.find(hash) else { return };
        if self.marked[n] != Some(Need::Version) {
            self.open -= usize::from(by == Need::Version);
            self.marked[n] = Some(by);
        }
    }
}
