//! What differs between two trees: what a version changed, and how any two versions differ.
//!
//! Two versions of one dataset are compared by what the versions between them recorded ([`places`]), trees
//! of different origin directory by directory, leaving out what has the same tree hash ([`trees`]).
//!
//! What differs is known only when all is: a rename may be of the first path to the last, and neither records nor
//! directories have their names in the order of paths. So it is kept meanwhile, as short as it can be
//! ([`changes`]), and told one by one.

mod along;
mod blocks;
mod changes;
mod differing;
mod facts;
mod paths;
mod places;
mod renames;
mod spots;
mod summary;
mod trees;

use crate::model::{Kind, Name, Place, VersionNo, show_path};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::history::ChangeKind;

pub use along::renamed_above;
pub use changes::Changes;
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
    /// Whether what was renamed has other content too.
    pub is_rewritten: bool,
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

/// A rename is known again in versions of up to as many changes, where not all are asked for: it takes all of them.
pub(super) const RENAMES_MAX: u64 = 10_000;

/// The paths below one in which two versions differ.
pub struct Below {
    changes: Changes,
    /// That path, and what is part of it in the other version.
    paths: Vec<Vec<Name>>,
    taken: Vec<along::Taken>,
}

impl Below {
    /// The paths, ordered.
    pub fn iter(&self) -> impl Iterator<Item = Change> + '_ {
        let is_below = |at: &Vec<Name>| self.paths.iter().any(|path| at.starts_with(path));
        let below = self.changes.iter();
        let below =
            below.filter(move |change| is_below(&change.path) || change.from.as_ref().is_some_and(is_below));
        along::tell(below, &self.taken)
    }
}

impl Dataset {
    /// The paths a version changed against the one before it; where there are more than `most`, true. Of very
    /// many, what was renamed is told as what came and what went.
    pub fn changes(&self, number: VersionNo, most: Option<usize>) -> Result<(Changes, bool)> {
        let summary = self.store.summary(self.id(), number)?;
        let is_small = summary.is_some_and(|(_, summary)| summary.changes <= RENAMES_MAX);
        let looked_at = most.map(|most| if is_small { most.max(RENAMES_MAX as usize) } else { most });
        let (found, more) = self.places_between(VersionNo(number.0 - 1), number, looked_at)?;
        if more {
            return Ok((renames::unpaired(found), true));
        }
        let changes = renames::pair(found, renames::By::InodeOrContent);
        let more = most.is_some_and(|most| changes.iter().nth(most).is_some());
        Ok((changes, more))
    }

    /// The paths below `path` in which two versions differ; what was renamed is told by its inode or its content.
    /// `path` itself is renamed where a directory above it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] where neither version has `path`.
    pub fn diff(&self, before: VersionNo, after: VersionNo, path: &[Name]) -> Result<Below> {
        let (old, new) = (self.frozen(before), self.frozen(after));
        if old.walk(path)?.is_none() && new.walk(path)?.is_none() {
            return Err(Error::NotFound(show_path(path)));
        }
        let (found, _) = self.places_between(before, after, None)?;
        let changes = renames::pair(found, renames::By::InodeOrContent);
        let taken = along::taken(&old, &new, path)?;
        // Once renames are known: what came into the path or left it is told as that.
        let ends = taken.iter().flat_map(|taken| [taken.from.clone(), taken.to.clone()]);
        let paths = ends.chain([path.to_vec()]).collect();
        Ok(Below { changes, paths, taken })
    }

    /// All paths in which two versions differ, as [`Dataset::diff`] tells them; `None` where there are more than
    /// `most`.
    pub fn diff_up_to(&self, before: VersionNo, after: VersionNo, most: usize) -> Result<Option<Changes>> {
        let (found, more) = self.places_between(before, after, Some(most))?;
        Ok((!more).then(|| renames::pair(found, renames::By::InodeOrContent)))
    }
}

/// The paths in which the trees below two directories, or two files, of any versions differ, from there. Compared
/// is what a snapshot id covers: times, owners and most of the mode are not, since they tell nothing where the
/// trees do not come from each other. What was renamed is told by its content.
///
/// # Errors
/// [`Error::NotFound`] where a tree does not have its path.
pub fn diff_trees(
    (a, before, from): (&Dataset, VersionNo, &[Name]),
    (b, after, to): (&Dataset, VersionNo, &[Name]),
) -> Result<Changes> {
    let (old, new) = (a.frozen(before), b.frozen(after));
    let root = |dataset: &Dataset, tree: &Frozen, path: &[Name]| {
        let what = || format!("{} in {} of {}", show_path(path), tree.version(), dataset.name());
        tree.walk(path)?.ok_or_else(|| Error::NotFound(what()))
    };
    let found = trees::compare(&old, root(a, &old, from)?, &new, root(b, &new, to)?)?;
    Ok(renames::pair(found, renames::By::Content))
}
