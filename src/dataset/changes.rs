//! What a version changed: the paths that are not as they were in the version before it.
//!
//! A version's record says what may have changed; what is there before and after is looked up. Where all
//! changes of a record are wanted, what is there after is taken from the record itself: looked up in the
//! order of names, inodes lie all over the index, and a million of them take minutes.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap};

use crate::model::{Dirent, Ino, Inode, Kind, Name, Op, Place, VersionNo};
use crate::store::Error as StoreError;

use super::dataset::Dataset;
use super::error::Result;
use super::frozen::Frozen;
use super::history::{ChangeKind, changed, common_past};

/// A path that a version changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the dataset's root.
    pub path: Vec<Name>,
    /// What it is, or was.
    pub kind: Kind,
    /// What happened.
    pub change: ChangeKind,
    /// Size in bytes before and after, where there was or is something.
    pub sizes: (Option<u64>, Option<u64>),
}

impl Dataset {
    /// The paths a version changed against the one before it, ordered. Where there are more than `most`,
    /// as many of them, those first in the record, and true.
    pub fn changes(&self, number: VersionNo, most: Option<usize>) -> Result<(Vec<Change>, bool)> {
        let base = self.meta(number)?.base;
        let (before, after) = (self.frozen(VersionNo(number.0 - 1)), self.frozen(number));
        let goes_on = base.next() == number;
        let records: Vec<VersionNo> = if goes_on {
            vec![number]
        } else {
            // A rollback: what may differ is what happened since the restored version, and since the
            // common past if that version had been left behind by a rollback before.
            let common = common_past(&before, &after);
            [&before, &after].into_iter().flat_map(|tree| tree.versions_after(common)).collect()
        };
        let most = most.unwrap_or(usize::MAX);
        let mut comparison = Comparison::new(&before, &after);
        let mut seen = BTreeSet::new();
        let mut changes = Vec::new();
        for version in records {
            let mut ops = self.version_reader(version)?.1;
            while ops.left() > 0 && changes.len() <= most {
                let mut places = BTreeSet::new();
                for op in ops.by_ref().take(most) {
                    let what = || format!("record of {version} of {}", self.name());
                    let op = op.map_err(|source| StoreError::Decode { what: what(), source })?;
                    places.extend(places_of(&op).into_iter().filter(|place| !seen.contains(place)));
                    if goes_on && most == usize::MAX {
                        comparison.known.add(op);
                    }
                }
                comparison.known.sort();
                for &place in &places {
                    changes.extend(comparison.at(place)?);
                }
                seen.append(&mut places);
            }
        }
        let more = changes.len() > most;
        changes.truncate(most);
        changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok((changes, more))
    }
}

/// The places at which an operation changes something.
fn places_of(op: &Op) -> Vec<Place> {
    match op {
        Op::Link { dir, name, .. } | Op::Unlink { dir, name } => vec![Place { dir: *dir, key: name.key() }],
        Op::Inode { inode, .. } => inode.places(),
    }
}

/// What a place names.
type Named = (Dirent, Inode);

/// Two trees that are compared, place by place.
struct Comparison<'a> {
    before: &'a Frozen,
    after: &'a Frozen,
    /// What is known of `after` without looking it up.
    known: Known,
    /// The paths of directories, of each tree.
    paths: [HashMap<Ino, Vec<Name>>; 2],
}

impl<'a> Comparison<'a> {
    fn new(before: &'a Frozen, after: &'a Frozen) -> Comparison<'a> {
        Comparison { before, after, known: Known::default(), paths: Default::default() }
    }

    fn at(&mut self, place: Place) -> Result<Option<Change>> {
        let old = named(self.before, &Known::default(), place)?;
        let new = named(self.after, &self.known, place)?;
        let Some(change) = compare(old.as_ref(), new.as_ref()) else { return Ok(None) };
        let (tree, paths) = match new.is_some() {
            true => (self.after, &mut self.paths[1]),
            false => (self.before, &mut self.paths[0]),
        };
        let sizes = (old.as_ref().map(|(_, i)| i.size()), new.as_ref().map(|(_, i)| i.size()));
        let Some((entry, _)) = new.or(old) else { return Ok(None) };
        let mut path = match paths.entry(place.dir) {
            Occupied(known) => known.get().clone(),
            Vacant(unknown) => unknown.insert(tree.dir_path(place.dir)?).clone(),
        };
        path.push(entry.name);
        Ok(Some(Change { path, kind: entry.kind, change, sizes }))
    }
}

fn named(tree: &Frozen, known: &Known, place: Place) -> Result<Option<Named>> {
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
