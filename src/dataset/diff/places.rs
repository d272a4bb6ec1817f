//! Comparing two versions of one dataset, place by place.
//!
//! The records of the versions between them say what may have changed; what is there before and after is
//! looked up. The cost follows the changes, not the dataset. Where all changes of a record are wanted, what is
//! there after is taken from the record itself: looked up in the order of names, inodes lie all over the
//! index, and a million of them take minutes.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{Dirent, Ino, Inode, Kind, Name, Op, Place, VersionNo};
use crate::store::Error as StoreError;

use super::super::dataset::Dataset;
use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::history::{ChangeKind, changed, common_past};
use super::{Found, Named};

impl Dataset {
    /// Where two versions differ, in the order of what is recorded. Where there are more places than `most`,
    /// as many of them, and true.
    pub(super) fn places_between(
        &self,
        before: VersionNo,
        after: VersionNo,
        most: Option<usize>,
    ) -> Result<(Vec<Found>, bool)> {
        let (before, after) = (self.frozen(before), self.frozen(after));
        // What may differ is what happened in either since the newest version both descend from.
        let common = common_past(&before, &after);
        let records: Vec<VersionNo> =
            [&before, &after].into_iter().flat_map(|tree| tree.versions_after(common)).collect();
        let most = most.unwrap_or(usize::MAX);
        let tells_all = most == usize::MAX && records == [after.version()];
        let mut comparison = Comparison::new(&before, &after);
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for version in records {
            let mut ops = self.version_reader(version)?.1;
            while ops.left() > 0 && found.len() <= most {
                let mut places = BTreeSet::new();
                for op in ops.by_ref().take(most) {
                    let what = || format!("record of {version} of {}", self.name());
                    let op = op.map_err(|source| StoreError::Decode { what: what(), source })?;
                    places.extend(places_of(&op).into_iter().filter(|place| seen.insert(*place)));
                    if tells_all {
                        comparison.known[1].add(op);
                    }
                }
                comparison.known[1].sort();
                for place in places {
                    found.extend(comparison.at(place)?);
                }
            }
        }
        if found.len() <= most {
            comparison.with_directories(&mut found, most)?;
        }
        let more = found.len() > most;
        found.truncate(most);
        Ok((found, more))
    }
}

/// The places at which an operation changes something.
fn places_of(op: &Op) -> Vec<Place> {
    match op {
        Op::Link { dir, name, .. } | Op::Unlink { dir, name } => vec![Place { dir: *dir, key: name.key() }],
        Op::Inode { inode, .. } => inode.places(),
    }
}

/// Entries of a directory read at a time.
const PAGE: usize = 1024;

/// Two trees that are compared, place by place.
struct Comparison<'a> {
    before: &'a Frozen,
    after: &'a Frozen,
    /// What is known of each tree without looking it up: of that before, nothing.
    known: [Known; 2],
    /// The paths of directories, in each tree that has them.
    paths: [HashMap<Ino, Option<Vec<Name>>>; 2],
}

impl<'a> Comparison<'a> {
    fn new(before: &'a Frozen, after: &'a Frozen) -> Comparison<'a> {
        Comparison { before, after, known: Default::default(), paths: Default::default() }
    }

    fn at(&mut self, place: Place) -> Result<Option<Found>> {
        let (old, new) = (self.named(0, place)?, self.named(1, place)?);
        let Some(change) = compare(old.as_ref(), new.as_ref()) else { return Ok(None) };
        let [old_path, new_path] = [(0, &old), (1, &new)].map(|(side, named)| {
            let path = named.as_ref().map(|(entry, _)| self.path(side, place.dir, &entry.name));
            path.transpose().map(Option::flatten)
        });
        let (old_path, new_path) = (old_path?, new_path?);
        let Some(path) = new_path.or_else(|| old_path.clone()) else { return Ok(None) };
        let old_path = old_path.filter(|old_path| *old_path != path);
        Ok(Some(Found { path, old_path, place: Some(place), change, old, new }))
    }

    /// What the tree before (0) or after (1) has at a place.
    fn named(&mut self, side: usize, place: Place) -> Result<Option<Named>> {
        if self.dir_path(side, place.dir)?.is_none() {
            return Ok(None);
        }
        let (tree, known) = ([self.before, self.after][side], &self.known[side]);
        let entry = match known.entry(place) {
            Some(entry) => entry.cloned(),
            None => tree.entry(place.dir, place.key)?,
        };
        let Some(entry) = entry else { return Ok(None) };
        let inode = match known.inode(entry.ino) {
            Some(inode) => inode.clone(),
            None => tree.inode(entry.ino)?.1,
        };
        Ok(Some((entry, inode)))
    }

    /// The path of a directory in the tree before (0) or after (1), if that has it.
    fn dir_path(&mut self, side: usize, dir: Ino) -> Result<Option<&Vec<Name>>> {
        let tree = [self.before, self.after][side];
        let path = match self.paths[side].entry(dir) {
            Occupied(known) => known.into_mut(),
            Vacant(unknown) => unknown.insert(tree.dir_path(dir)?),
        };
        Ok(path.as_ref())
    }

    /// The path of a name in a directory of the tree before (0) or after (1).
    fn path(&mut self, side: usize, dir: Ino, name: &Name) -> Result<Option<Vec<Name>>> {
        let path = self.dir_path(side, dir)?;
        Ok(path.map(|path| path.iter().chain([name]).cloned().collect()))
    }
}

impl Comparison<'_> {
    /// Adds what is below directories that only one of the trees has, as far as no record tells it: in stores of
    /// old, of a directory that goes with all that is in it, a record has the directory alone.
    fn with_directories(&mut self, found: &mut Vec<Found>, most: usize) -> Result<()> {
        let mut told: HashSet<Place> = found.iter().filter_map(|found| found.place).collect();
        let mut at = 0;
        while at < found.len() && found.len() <= most {
            let dir = |named: &Option<Named>| {
                named.as_ref().filter(|(entry, _)| entry.kind == Kind::Dir).map(|(entry, _)| entry.ino)
            };
            let (old, new) = (dir(&found[at].old), dir(&found[at].new));
            at += 1;
            if old == new {
                continue;
            }
            if let Some(dir) = old
                && self.dir_path(1, dir)?.is_none()
            {
                self.below(0, dir, &mut told, found, most)?;
            }
            if let Some(dir) = new
                && self.dir_path(0, dir)?.is_none()
            {
                self.below(1, dir, &mut told, found, most)?;
            }
        }
        Ok(())
    }

    /// Adds the entries of a directory that only the tree before (0) or after (1) has.
    fn below(
        &mut self,
        side: usize,
        dir: Ino,
        told: &mut HashSet<Place>,
        found: &mut Vec<Found>,
        most: usize,
    ) -> Result<()> {
        let tree = [self.before, self.after][side];
        let mut last = None;
        loop {
            let entries = tree.entries(dir, last, PAGE)?;
            let Some((key, _)) = entries.last() else { return Ok(()) };
            last = Some(*key);
            for (key, entry) in entries {
                let place = Place { dir, key };
                if found.len() > most || !told.insert(place) {
                    continue;
                }
                let Some(path) = self.path(side, dir, &entry.name)? else { continue };
                let inode = tree.inode(entry.ino)?.1;
                let named = Some((entry, inode));
                let (change, old, new) = match side {
                    0 => (ChangeKind::Removed, named, None),
                    _ => (ChangeKind::Added, None, named),
                };
                found.push(Found { path, old_path: None, place: Some(place), change, old, new });
            }
        }
    }
}

fn compare(before: Option<&Named>, after: Option<&Named>) -> Option<ChangeKind> {
    match (before, after) {
        (None, None) => None,
        (None, Some(_)) => Some(ChangeKind::Added),
        (Some(_), None) => Some(ChangeKind::Removed),
        (Some((a, _)), Some((b, _))) if a.ino != b.ino && a.kind == Kind::Dir => Some(ChangeKind::Modified),
        (Some((_, before)), Some((_, after))) => changed(before, after),
    }
}

/// What a version's own record says of its tree.
#[derive(Default)]
struct Known {
    entries: Vec<(Place, Option<Dirent>)>,
    inodes: Vec<(Ino, Inode)>,
}

impl Known {
    fn add(&mut self, op: Op) {
        match op {
            Op::Link { dir, name, ino, kind } => {
                let place = Place { dir, key: name.key() };
                self.entries.push((place, Some(Dirent { name, ino, kind })));
            }
            Op::Unlink { dir, name } => self.entries.push((Place { dir, key: name.key() }, None)),
            Op::Inode { ino, inode } => self.inodes.push((ino, inode)),
        }
    }

    /// Makes what was added be found.
    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|(place, _)| *place);
        self.inodes.sort_unstable_by_key(|(ino, _)| *ino);
    }

    fn entry(&self, place: Place) -> Option<Option<&Dirent>> {
        let found = self.entries.binary_search_by_key(&place, |(place, _)| *place);
        found.ok().map(|n| self.entries[n].1.as_ref())
    }

    fn inode(&self, ino: Ino) -> Option<&Inode> {
        let found = self.inodes.binary_search_by_key(&ino, |(ino, _)| *ino);
        found.ok().map(|n| &self.inodes[n].1)
    }
}
