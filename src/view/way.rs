//! Who may come to what by way of an `@` name.
//!
//! The kernel checks each directory it goes through. An `@` name leads past some: `dir/@v3` past those that
//! were above `dir` at v3, `@file/dir/f/v3` past all of them. So who looks such a name up must be able to
//! search what was above at that version, as if they had come by `@v3/dir/f` from the root; and the kernel
//! must ask again for who comes next, unless everybody can.

use crate::dataset::{Caller, Climb, Dataset, Error, Frozen, Result};
use crate::model::{Ino, Inode, Kind, Name, VersionNo};

/// Whether somebody can search all directories on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// They cannot.
    Barred,
    /// They can, others perhaps cannot.
    Granted,
    /// Everybody can.
    Open,
}

/// What somebody sees at the end of a path in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// This.
    Found(Ino, Kind),
    /// That there is nothing.
    Nothing,
    /// Nothing can be seen there.
    Barred,
}

/// The way through one directory.
fn through(dir: &Inode, by: Caller) -> Way {
    match dir.mode & 0o111 {
        0o111 => Way::Open,
        _ if grants(dir, by, 0o1) => Way::Granted,
        _ => Way::Barred,
    }
}

/// Whether a directory grants somebody a permission: 1 to search it, 4 to read it.
fn grants(dir: &Inode, by: Caller, permission: u32) -> bool {
    let shift = match () {
        () if by.uid == 0 => return true,
        () if by.uid == dir.uid => 6,
        () if by.is_in_group(dir.gid) => 3,
        () => 0,
    };
    dir.mode >> shift & permission != 0
}

/// Whether somebody can list a directory of a version, coming from its root.
pub(super) fn can_list(tree: &Frozen, dir: Ino, by: Caller) -> Result<bool> {
    let inode = tree.inode(dir)?.1;
    Ok(grants(&inode, by, 0o4) && through(&inode, by) > Way::Barred && way_to(tree, dir, by)? > Way::Barred)
}

/// The way to `dir` from the root of a version.
pub(super) fn way_to(tree: &Frozen, dir: Ino, by: Caller) -> Result<Way> {
    let mut way = Way::Open;
    let mut at = dir;
    let mut climb = Climb::default();
    while at != Ino::ROOT {
        at = tree.inode(at)?.1.place.ok_or(Error::Stale)?.dir;
        climb.step(at)?;
        way = way.min(through(&tree.inode(at)?.1, by));
    }
    Ok(way)
}

/// What `by` sees at a path of a version.
pub(super) fn look(tree: &Frozen, path: &[Name], by: Caller) -> Result<Sight> {
    let mut at = (Ino::ROOT, Kind::Dir);
    for name in path {
        if at.1 != Kind::Dir {
            return Ok(Sight::Nothing);
        }
        if through(&tree.inode(at.0)?.1, by) == Way::Barred {
            return Ok(Sight::Barred);
        }
        match tree.lookup(at.0, name)? {
            Some(entry) => at = (entry.ino, entry.kind),
            None => return Ok(Sight::Nothing),
        }
    }
    Ok(Sight::Found(at.0, at.1))
}

/// Whether `by` can search the directory that a path is, in some version; no one could see more of it than
/// that, whatever else there is.
pub(super) fn ever_searchable(dataset: &Dataset, path: &[Name], by: Caller) -> Result<bool> {
    let versions = match path {
        [] => dataset.versions().collect(),
        path => dataset.path_versions(path)?.unwrap_or_default(),
    };
    for version in versions.into_iter().rev() {
        let tree = dataset.frozen(version);
        if let Sight::Found(ino, Kind::Dir) = look(&tree, path, by)?
            && through(&tree.inode(ino)?.1, by) > Way::Barred
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The versions among `versions` in which `by` sees something else than a directory at a path.
pub(super) fn files_seen(
    dataset: &Dataset,
    versions: Vec<VersionNo>,
    path: &[Name],
    by: Caller,
) -> Result<Vec<VersionNo>> {
    let mut seen = Vec::new();
    for version in versions {
        match look(&dataset.frozen(version), path, by)? {
            Sight::Found(_, kind) if kind != Kind::Dir => seen.push(version),
            _ => {}
        }
    }
    Ok(seen)
}
