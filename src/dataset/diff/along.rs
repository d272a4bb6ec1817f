//! What a renamed directory took along.
//!
//! Between two versions only the directory itself is told as renamed. Whoever asks for a path below it is told where
//! that was, or is: at the same place of the same directory.

use crate::model::{Ino, Inode, Kind, Name, Place};

use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::history::ChangeKind;
use super::Change;

/// A path that has another one in the other version, since a directory above it was renamed.
pub struct Taken {
    /// The path before.
    pub from: Vec<Name>,
    /// The path after.
    pub to: Vec<Name>,
    /// That as a change, unless something else took the place of what was there.
    change: Option<Change>,
}

/// Where what is at `path` in either version was taken along from, and to.
pub fn taken(before: &Frozen, after: &Frozen, path: &[Name]) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    if let Some((place, to)) = elsewhere(before, after, path)? {
        taken.push(Taken::new((before, path.to_vec()), (after, to), place)?);
    }
    if let Some((place, from)) = elsewhere(after, before, path)? {
        taken.push(Taken::new((before, from), (after, path.to_vec()), place)?);
    }
    Ok(taken)
}

/// What is at `path` of the version after, as renamed, where a directory above it is.
pub fn renamed_above(before: &Frozen, after: &Frozen, path: &[Name]) -> Result<Option<Change>> {
    let Some((place, from)) = elsewhere(after, before, path)? else { return Ok(None) };
    Ok(Taken::new((before, from), (after, path.to_vec()), place)?.change)
}

/// Tells what was taken along among changes, which are ordered and stay so.
pub fn tell<'a>(
    changes: impl Iterator<Item = Change> + 'a,
    taken: &'a [Taken],
) -> impl Iterator<Item = Change> + 'a {
    let mut taken: Vec<&Taken> = taken.iter().collect();
    taken.sort_by(|a, b| b.to.cmp(&a.to));
    let mut changes = changes.peekable();
    std::iter::from_fn(move || {
        let is_next = |taken: &&Taken, change: Option<&Change>| change.is_none_or(|c| c.path > taken.to);
        while taken.last().is_some_and(|taken| is_next(taken, changes.peek())) {
            if let Some(change) = taken.pop().and_then(|taken| taken.change.clone()) {
                return Some(change);
            }
        }
        let mut change = changes.next()?;
        if change.from.is_none()
            && let Some(Taken { from, .. }) = taken.pop_if(|taken| taken.to == change.path)
            && matches!(change.change, ChangeKind::Modified | ChangeKind::Attributes)
        {
            (change.change, change.from) = (ChangeKind::Renamed, Some(from.clone()));
            change.attributes.clear();
        }
        Some(change)
    })
}

/// The place of `path` in a tree, and the path of that place in another where it is a different one.
fn elsewhere(tree: &Frozen, other: &Frozen, path: &[Name]) -> Result<Option<(Place, Vec<Name>)>> {
    let Some((name, above)) = path.split_last() else { return Ok(None) };
    let Some((dir, Kind::Dir)) = tree.walk(above)? else { return Ok(None) };
    if tree.lookup(dir, name)?.is_none() || other.lookup(dir, name)?.is_none() {
        return Ok(None);
    }
    let Some(mut there) = other.dir_path(dir)?.filter(|there| there != above) else { return Ok(None) };
    there.push(name.clone());
    Ok(Some((Place { dir, key: name.key() }, there)))
}

impl Taken {
    fn new(
        (before, from): (&Frozen, Vec<Name>),
        (after, to): (&Frozen, Vec<Name>),
        place: Place,
    ) -> Result<Taken> {
        let there = |tree: &Frozen| -> Result<Option<(Ino, Inode)>> {
            let Some(entry) = tree.entry(place.dir, place.key)? else { return Ok(None) };
            Ok(Some((entry.ino, tree.inode(entry.ino)?.1)))
        };
        let change = match (there(before)?, there(after)?) {
            (Some((was, old)), Some((is, new))) if was == is => Some(Change {
                path: to.clone(),
                from: Some(from.clone()),
                kind: new.kind(),
                kind_before: None,
                change: ChangeKind::Renamed,
                attributes: Vec::new(),
                is_rewritten: old.body != new.body,
                sizes: (Some(old.size()), Some(new.size())),
                modes: (Some(old.mode), Some(new.mode)),
                places: (Some(place), Some(place)),
            }),
            _ => None,
        };
        Ok(Taken { from, to, change })
    }
}
