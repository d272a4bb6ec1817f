//! What a renamed directory took along.
//!
//! Between two versions only the directory itself is told as renamed. Whoever asks for a path below it is told where
//! that was, or is: at the same place of the same directory.

use crate::model::{Kind, Name, Place};

use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::history::ChangeKind;
use super::trees::with_inode;
use super::{Change, Found};

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

/// Puts what was taken along among changes, which stay ordered.
pub fn tell(changes: &mut Vec<Change>, taken: Vec<Taken>) {
    for Taken { from, to, change } in taken {
        match changes.iter_mut().find(|change| change.path == to && change.from.is_none()) {
            Some(told) if matches!(told.change, ChangeKind::Modified | ChangeKind::Attributes) => {
                (told.change, told.from) = (ChangeKind::Renamed, Some(from));
                told.attributes.clear();
            }
            Some(_) => {}
            None => changes.extend(change),
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
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
        let named = |tree: &Frozen| with_inode(tree, tree.entry(place.dir, place.key)?);
        let (old, new) = (named(before)?, named(after)?);
        let is_same = matches!((&old, &new), (Some((a, _)), Some((b, _))) if a.ino == b.ino);
        let found = || Found {
            path: to.clone(),
            old_path: None,
            place: Some(place),
            change: ChangeKind::Renamed,
            old,
            new,
        };
        let change = is_same.then(|| found().into_change(Some((from.clone(), Some(place)))));
        Ok(Taken { from, to, change })
    }
}
