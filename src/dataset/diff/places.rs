//! Comparing two versions of one dataset, place by place.
//!
//! The records of the versions between them say what may have changed; what is there before and after is
//! looked up. The cost follows the changes, not the dataset. Where all changes of a record are wanted, what is
//! there after is taken from the record itself: looked up in the order of names, inodes lie all over the
//! index, and a million of them take minutes.

use std::collections::{HashMap, HashSet};

use crate::model::{Again, Dirent, Ino, Kind, Op, Place, VersionNo};
use crate::store::Error as StoreError;

use super::super::climb::Climb;
use super::super::dataset::Dataset;
use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::history::common_past;
use super::blocks::partition;
use super::differing::{Differing, Found, There, changed_at_place};
use super::paths::Dir;
use super::spots::{NO_OP, Records, Spot, Spots, entry_of};

impl Dataset {
    /// Where two versions differ. Where there are more places than `most`, as many of them, and true.
    pub(super) fn places_between(
        &self,
        before: VersionNo,
        after: VersionNo,
        most: Option<usize>,
    ) -> Result<(Differing, bool)> {
        let (before, after) = (self.frozen(before), self.frozen(after));
        // What may differ is what happened in either since the newest version both descend from.
        let common = common_past(&before, &after);
        let versions: Vec<VersionNo> =
            [&before, &after].into_iter().flat_map(|tree| tree.versions_after(common)).collect();
        let most = most.unwrap_or(usize::MAX);
        let tells_all = most == usize::MAX && versions == [after.version()];
        let mut comparison = Comparison::new([&before, &after], most);
        let mut records = Records::of(self, versions);
        while !comparison.is_full {
            let Differing { owners, facts, .. } = &mut comparison.differing;
            let mut note = |op: &Op| {
                if let Op::Inode { ino, inode } = op
                    && tells_all
                {
                    facts.push(owners.facts(*ino, inode));
                }
            };
            let Some(mut spots) = records.gather(most, &mut note)? else { break };
            if tells_all && let Some((version, reader)) = records.last() {
                let name = format!("record of {version} of {}", self.name());
                comparison.has_record(reader.again(), name);
            }
            spots.leave_out(&comparison.told);
            comparison.at_all(spots)?;
        }
        comparison.with_directories()?;
        Ok((comparison.differing, comparison.is_full))
    }
}

/// Entries of a directory read at a time.
const PAGE: usize = 1024;

/// What a version's own record says of its tree.
struct Record {
    changes: Again,
    name: String,
    /// How many of the facts are of inodes that it has, by inode.
    inodes: usize,
}

/// Two trees that are compared, place by place.
struct Comparison<'a> {
    trees: [&'a Frozen; 2],
    /// The record of the one after, where it tells all that it has besides what the one before has.
    record: Option<Record>,
    /// The directories whose paths are known, in each tree that has them.
    dirs: [HashMap<Ino, Option<Dir>>; 2],
    differing: Differing,
    /// Places that were compared.
    told: Vec<Spots>,
    most: usize,
    /// Whether there were more.
    is_full: bool,
}

impl<'a> Comparison<'a> {
    fn new(trees: [&'a Frozen; 2], most: usize) -> Comparison<'a> {
        Comparison {
            trees,
            record: None,
            dirs: Default::default(),
            differing: Differing::default(),
            told: Vec::new(),
            most,
            is_full: false,
        }
    }

    /// Takes what is there after from a record whose inodes are known.
    fn has_record(&mut self, changes: Again, name: String) {
        let facts = &mut self.differing.facts;
        facts.order_by(|facts| facts.ino);
        self.record = Some(Record { changes, name, inodes: facts.len() });
    }

    fn at_all(&mut self, spots: Spots) -> Result<()> {
        for spot in spots.as_slice() {
            if let Some(found) = self.at(spot)? {
                self.add(found, spot.place().dir)?;
            }
        }
        self.told.push(spots);
        Ok(())
    }

    fn add(&mut self, found: Found, dir: Ino) -> Result<()> {
        self.is_full |= self.differing.len() >= self.most;
        if self.is_full { Ok(()) } else { self.differing.add(found, dir) }
    }

    fn at(&mut self, spot: &Spot) -> Result<Option<Found>> {
        if self.is_full {
            return Ok(None);
        }
        Ok(match (self.there(0, spot)?, self.there(1, spot)?) {
            (None, None) => None,
            (Some(old), None) => Some(Found::Lone(0, old)),
            (None, Some(new)) => Some(Found::Lone(1, new)),
            (Some(old), Some(new)) => changed_at_place(&old.facts, &new.facts).map(|change| {
                if old.facts.ino == new.facts.ino {
                    Found::Both(old, new, change)
                } else {
                    Found::Replaced(old, new)
                }
            }),
        })
    }

    /// What the tree before (0) or after (1) has at a place.
    fn there(&mut self, side: usize, spot: &Spot) -> Result<Option<There>> {
        let place = spot.place();
        let Some(dir) = self.dir(side, place.dir)? else { return Ok(None) };
        let entry = match &mut self.record {
            Some(record) if side == 1 && spot.op != NO_OP => {
                let failed = |source| StoreError::Decode { what: record.name.clone(), source };
                entry_of(record.changes.op_at(spot.op as usize).map_err(failed)?)
            }
            _ => self.trees[side].entry(place.dir, place.key)?,
        };
        entry.map(|entry| self.there_is(side, dir, entry)).transpose()
    }

    fn there_is(&mut self, side: usize, dir: Dir, entry: Dirent) -> Result<There> {
        let facts = &self.differing.facts;
        let recorded = self.record.as_ref().filter(|_| side == 1).map_or(0, |record| record.inodes);
        let number = partition(recorded, |n| facts[n].ino < entry.ino);
        Ok(match facts.get(number).filter(|facts| number < recorded && facts.ino == entry.ino) {
            Some(facts) => There { dir, entry, facts: *facts, number: Some(number as u32) },
            None => {
                let inode = self.trees[side].inode(entry.ino)?.1;
                let facts = self.differing.owners.facts(entry.ino, &inode);
                There { dir, entry, facts, number: None }
            }
        })
    }

    /// A directory's path in the tree before (0) or after (1), if that has it.
    fn dir(&mut self, side: usize, dir: Ino) -> Result<Option<Dir>> {
        let (mut way, mut climb, mut at) = (Vec::new(), Climb::default(), dir);
        let mut path = loop {
            if at == Ino::ROOT {
                break Some(Dir::ROOT);
            }
            if let Some(known) = self.dirs[side].get(&at) {
                break *known;
            }
            climb.step(at)?;
            match self.trees[side].name_of(at)? {
                Some((above, name)) => {
                    way.push((at, name));
                    at = above;
                }
                None => {
                    self.dirs[side].insert(at, None);
                    break None;
                }
            }
        };
        for (ino, name) in way.into_iter().rev() {
            path = path.map(|above| self.differing.paths.dir(above, &name)).transpose()?;
            self.dirs[side].insert(ino, path);
        }
        Ok(path)
    }
}

impl Comparison<'_> {
    /// Adds what is below directories that only one of the trees has, as far as no record tells it: in stores of
    /// old, of a directory that goes with all that is in it, a record has the directory alone. Where one record
    /// tells all that the tree after has, nothing is missing in that.
    fn with_directories(&mut self) -> Result<()> {
        let sides = if self.record.is_some() { 0..1 } else { 0..2 };
        for side in sides {
            let mut listed = HashSet::new();
            let mut at = 0;
            while !self.is_full {
                let list = if side == 0 { &self.differing.gone } else { &self.differing.came };
                let Some(lone) = list.get(at) else { break };
                at += 1;
                let facts = self.differing.facts_of(lone);
                let (ino, kind) = (facts.ino, facts.kind);
                if kind == Kind::Dir && self.dir(1 - side, ino)?.is_none() && listed.insert(ino) {
                    self.below(side, ino)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the entries of a directory that only the tree before (0) or after (1) has.
    fn below(&mut self, side: usize, dir: Ino) -> Result<()> {
        let Some(path) = self.dir(side, dir)? else { return Ok(()) };
        let mut last = None;
        while !self.is_full {
            let entries = self.trees[side].entries(dir, last, PAGE)?;
            let Some((key, _)) = entries.last() else { break };
            last = Some(*key);
            for (key, entry) in entries {
                if !self.told.iter().any(|told| told.contains(Place { dir, key })) {
                    let there = self.there_is(side, path, entry)?;
                    self.add(Found::Lone(side, there), dir)?;
                }
            }
        }
        Ok(())
    }
}
