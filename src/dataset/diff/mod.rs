//! What differs between two trees: what a version changed, and how any two versions differ.
//!
//! Two versions of one dataset are compared by what the versions between them recorded ([`places`]), trees
//! of different origin directory by directory, leaving out what has the same tree hash ([`trees`]).

mod along;
mod places;
mod renames;
mod summary;
mod trees;

use crate::model::{Dirent, Inode, Kind, Name, Place, VersionNo, show_path};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::history::ChangeKind;

pub use along::renamed_above;
pub use summary::{ChangeJson, Stat};

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root of what was compared.
    pub path: Vec<Name>,
    /// The path it had before, of what was renamed.
    pub from: Option<Vec<Name>>,
    /// What it is, or was.
    pub kind: Kind,
    /// What it was before, where that is another kind.
    pub kind_before: Option<Kind>,
    /// What happened.
    pub change: ChangeKind,
    /// Which attributes changed besides the mode, where nothing else did: `owner`, `xattrs`, `time`.
    pub attributes: Vec<&'static str>,
    /// Size in bytes before and after, where there was or is something.
    pub sizes: (Option<u64>, Option<u64>),
    /// Permission, set-id and sticky bits before and after.
    pub modes: (Option<u32>, Option<u32>),
    /// Where it was named before and is after, if both trees are of one dataset.
    pub places: (Option<Place>, Option<Place>),
}

impl Change {
    /// Has the paths begin further up, with `above`.
    pub fn put_below(&mut self, above: &[Name]) {
        for path in [Some(&mut self.path), self.from.as_mut()].into_iter().flatten() {
            path.splice(..0, above.iter().cloned());
        }
    }
}

/// What a name stands for.
type Named = (Dirent, Inode);

/// A path that differs, with what is known of both sides.
#[derive(Debug)]
struct Found {
    /// The path after, or before where there is none after.
    path: Vec<Name>,
    /// The path before of what is at the same place of a directory that was renamed.
    old_path: Option<Vec<Name>>,
    /// The place, if both trees are of one dataset.
    place: Option<Place>,
    change: ChangeKind,
    old: Option<Named>,
    new: Option<Named>,
}

impl Found {
    /// As a change; `from` is the path and place where it was, if it was renamed.
    fn into_change(self, from: Option<(Vec<Name>, Option<Place>)>) -> Change {
        let of = |named: &Option<Named>| named.as_ref().map(|(_, inode)| (inode.size(), inode.mode));
        let (old, new) = (of(&self.old), of(&self.new));
        let kind = self.new.as_ref().or(self.old.as_ref()).map_or(Kind::File, |(entry, _)| entry.kind);
        let kind_before = self.old.as_ref().map(|(entry, _)| entry.kind).filter(|before| *before != kind);
        let change = if from.is_some() { ChangeKind::Renamed } else { self.change };
        let attributes = match (&self.old, &self.new) {
            // Trees of different origin are not compared by these.
            (Some((_, old)), Some((_, new))) if change == ChangeKind::Attributes && self.place.is_some() => {
                attributes(old, new)
            }
            _ => Vec::new(),
        };
        let sizes = (old.map(|(size, _)| size), new.map(|(size, _)| size));
        let modes = (old.map(|(_, mode)| mode), new.map(|(_, mode)| mode));
        let was_at = from.as_ref().map_or(self.place, |(_, place)| *place);
        let places = (old.and(was_at), new.and(self.place));
        let from = from.map(|(path, _)| path);
        Change { path: self.path, from, kind, kind_before, change, attributes, sizes, modes, places }
    }
}

/// The attributes besides the mode in which two inodes differ.
fn attributes(old: &Inode, new: &Inode) -> Vec<&'static str> {
    let differing = [
        ((old.uid, old.gid) != (new.uid, new.gid), "owner"),
        (old.xattrs != new.xattrs, "xattrs"),
        (new.kind() != Kind::Dir && old.mtime != new.mtime, "time"),
    ];
    differing.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect()
}

/// A rename is known again in versions of up to as many changes, where not all are asked for: it takes all of them.
pub(super) const RENAMES_MAX: u64 = 10_000;

impl Dataset {
    /// The paths a version changed against the one before it, ordered. Where there are more than `most`,
    /// as many of them, and true; of very many, what was renamed is told as what came and what went.
    pub fn changes(&self, number: VersionNo, most: Option<usize>) -> Result<(Vec<Change>, bool)> {
        let summary = self.store.summary(self.id(), number)?;
        let is_small = summary.is_some_and(|(_, summary)| summary.changes <= RENAMES_MAX);
        let looked_at = most.map(|most| if is_small { most.max(RENAMES_MAX as usize) } else { most });
        let (found, mut more) = self.places_between(VersionNo(number.0 - 1), number, looked_at)?;
        let mut changes = if more {
            let mut changes: Vec<Change> = found.into_iter().map(|found| found.into_change(None)).collect();
            changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            changes
        } else {
            renames::pair(found, renames::By::InodeOrContent)
        };
        if let Some(most) = most.filter(|most| *most < changes.len()) {
            changes.truncate(most);
            more = true;
        }
        Ok((changes, more))
    }

    /// The paths below `path` in which two versions differ, ordered; what was renamed is told by its inode or
    /// its content. `path` itself is renamed where a directory above it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] where neither version has `path`.
    pub fn diff(&self, before: VersionNo, after: VersionNo, path: &[Name]) -> Result<Vec<Change>> {
        let (old, new) = (self.frozen(before), self.frozen(after));
        if old.walk(path)?.is_none() && new.walk(path)?.is_none() {
            return Err(Error::NotFound(show_path(path)));
        }
        let (found, _) = self.places_between(before, after, None)?;
        let mut changes = renames::pair(found, renames::By::InodeOrContent);
        let taken = along::taken(&old, &new, path)?;
        // Once renames are known: what came into the path or left it is told as that.
        let ends = taken.iter().flat_map(|taken| [taken.from.as_slice(), &taken.to]);
        let paths: Vec<&[Name]> = ends.chain([path]).collect();
        let is_below = |at: &Vec<Name>| paths.iter().any(|path| at.starts_with(path));
        changes.retain(|change| is_below(&change.path) || change.from.as_ref().is_some_and(is_below));
        along::tell(&mut changes, taken);
        Ok(changes)
    }

    /// All paths in which two versions differ, as [`Dataset::diff`] tells them; `None` where there are more than
    /// `most`.
    pub fn diff_up_to(
        &self,
        before: VersionNo,
        after: VersionNo,
        most: usize,
    ) -> Result<Option<Vec<Change>>> {
        let (found, more) = self.places_between(before, after, Some(most))?;
        Ok((!more).then(|| renames::pair(found, renames::By::InodeOrContent)))
    }
}

/// The paths in which the trees below two directories, or two files, of any versions differ, ordered and from
/// there. Compared is what a snapshot id covers: times, owners and most of the mode are not, since they tell
/// nothing where the trees do not come from each other. What was renamed is told by its content.
///
/// # Errors
/// [`Error::NotFound`] where a tree does not have its path.
pub fn diff_trees(before: (&Frozen, &[Name]), after: (&Frozen, &[Name])) -> Result<Vec<Change>> {
    let root = |(tree, path): (&Frozen, &[Name])| {
        tree.walk(path)?.ok_or_else(|| Error::NotFound(format!("{} in {}", show_path(path), tree.version())))
    };
    let found = trees::compare(before.0, root(before)?, after.0, root(after)?)?;
    Ok(renames::pair(found, renames::By::Content))
}
