//! Where two versions of one dataset may differ: the places that the versions between them recorded changes of.

use std::vec;

use crate::model::{Dirent, Ino, NameKey, Op, Place, VersionNo, VersionReader};
use crate::store::Error as StoreError;

use super::super::dataset::Dataset;
use super::super::error::Result;

/// A place, and where in the record that tells all the change of its name is. Of a million changes there are as
/// many: in pieces of 4 bytes it has no gaps.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    dir: [u32; 2],
    key: NameKey,
    pub op: u32,
}

/// No change of a name.
pub const NO_OP: u32 = u32::MAX;

impl Spot {
    fn new(place: Place, op: u32) -> Spot {
        let dir = place.dir.0;
        Spot { dir: [(dir >> 32) as u32, dir as u32], key: place.key, op }
    }

    /// The place.
    pub fn place(&self) -> Place {
        Place { dir: Ino(u64::from(self.dir[0]) << 32 | u64::from(self.dir[1])), key: self.key }
    }
}

/// So many places need no order.
const SHORT: usize = 16 << 10;

/// Places that were gathered together, each once, ordered.
#[derive(Debug, Default)]
pub struct Spots {
    all: Vec<Spot>,
    /// How many of them are in order.
    ordered: usize,
}

impl Spots {
    fn add(&mut self, spot: Spot) {
        self.all.push(spot);
        if self.all.len() > (2 * self.ordered).max(SHORT) {
            self.order();
        }
    }

    /// The place of an inode. That of one that was made was told before, with its name.
    fn add_again(&mut self, place: Place) {
        if self.all.len() - self.ordered > (self.ordered / 4).max(SHORT) {
            self.order();
        }
        if self.all[..self.ordered].binary_search_by_key(&place, Spot::place).is_err() {
            self.add(Spot::new(place, NO_OP));
        }
    }

    fn order(&mut self) {
        self.all.sort_unstable_by_key(|spot| (spot.place(), spot.op));
        self.all.dedup_by_key(|spot| spot.place());
        self.ordered = self.all.len();
    }

    pub fn contains(&self, place: Place) -> bool {
        self.all.binary_search_by_key(&place, Spot::place).is_ok()
    }

    pub fn as_slice(&self) -> &[Spot] {
        &self.all
    }

    /// Leaves out those that are in others.
    pub fn leave_out(&mut self, others: &[Spots]) {
        self.all.retain(|spot| !others.iter().any(|others| others.contains(spot.place())));
    }
}

/// The changes of versions, one by one.
pub struct Records<'a> {
    dataset: &'a Dataset,
    left: vec::IntoIter<VersionNo>,
    /// The one that is being read.
    reader: Option<(VersionNo, VersionReader)>,
}

impl<'a> Records<'a> {
    /// Those of some versions.
    pub fn of(dataset: &'a Dataset, versions: Vec<VersionNo>) -> Records<'a> {
        Records { dataset, left: versions.into_iter(), reader: None }
    }

    /// The places of up to `most` changes, each of which `each` is given; `None` where there is no change any more.
    pub fn gather(&mut self, most: usize, each: &mut dyn FnMut(&Op)) -> Result<Option<Spots>> {
        let mut spots = Spots::default();
        let mut is_none = true;
        for _ in 0..most {
            let Some((at, op)) = self.next()? else { break };
            is_none = false;
            match &op {
                Op::Link { dir, name, .. } | Op::Unlink { dir, name } => {
                    spots.add(Spot::new(Place { dir: *dir, key: name.key() }, at));
                }
                Op::Inode { inode, .. } => {
                    inode.places().into_iter().for_each(|place| spots.add_again(place));
                }
            }
            each(&op);
        }
        spots.order();
        Ok((!is_none).then_some(spots))
    }

    fn next(&mut self) -> Result<Option<(u32, Op)>> {
        loop {
            if let Some((version, reader)) = &mut self.reader {
                // The length of a record has 32 bits.
                let at = reader.offset() as u32;
                if let Some(op) = reader.next() {
                    let what = || format!("record of {version} of {}", self.dataset.name());
                    return Ok(Some((at, op.map_err(|source| StoreError::Decode { what: what(), source })?)));
                }
            }
            let Some(version) = self.left.next() else { return Ok(None) };
            self.reader = Some((version, self.dataset.version_reader(version)?.1));
        }
    }

    /// The one that was read last.
    pub fn last(&self) -> Option<&(VersionNo, VersionReader)> {
        self.reader.as_ref()
    }
}

/// What a change of a name says is there then.
pub fn entry_of(op: Op) -> Option<Dirent> {
    match op {
        Op::Link { name, ino, kind, .. } => Some(Dirent { name, ino, kind }),
        Op::Unlink { .. } | Op::Inode { .. } => None,
    }
}
