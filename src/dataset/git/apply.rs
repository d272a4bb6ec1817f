//! Putting what a commit changes into a live tree.

use crate::dataset::error::Result;
use crate::dataset::live::{Invalid, Live};
use crate::model::{Ino, Inode, Kind, Name};

/// Removes paths, puts inodes at others, and removes directories that have nothing in them then, which git does not
/// know. Directories that are missing are made as `dir` is.
pub(super) fn apply(
    live: &mut Live,
    gone: &[Vec<Name>],
    put: Vec<(Vec<Name>, Inode)>,
    dir: &Inode,
    invalid: &mut Invalid,
) -> Result<()> {
    for path in gone {
        remove(live, path, invalid)?;
    }
    for (path, inode) in put {
        let Some((name, above)) = path.split_last() else { continue };
        let mut at = Ino::ROOT;
        for name in above {
            make_room(live, at, name, true, invalid)?;
            at = live.take_in(at, name, dir.clone(), invalid)?;
        }
        make_room(live, at, name, inode.kind() == Kind::Dir, invalid)?;
        live.take_in(at, name, inode, invalid)?;
    }
    gone.iter().try_for_each(|path| remove_empty(live, path, invalid))
}

/// The directories on the way to a path, as far as they are there, each with the name of the next.
fn way<'a>(live: &mut Live, path: &'a [Name]) -> Result<Vec<(Ino, &'a Name)>> {
    let (mut at, mut way) = (Ino::ROOT, Vec::with_capacity(path.len()));
    for (n, name) in path.iter().enumerate() {
        let Some(next) = live.lookup(at, name)? else { break };
        way.push((at, name));
        let last = n + 1 == path.len();
        if !last && live.attr(next)?.kind != Kind::Dir {
            break;
        }
        at = next;
    }
    Ok(way)
}

fn remove(live: &mut Live, path: &[Name], invalid: &mut Invalid) -> Result<()> {
    match way(live, path)?.pop() {
        Some((dir, name)) if std::ptr::eq(name, &path[path.len() - 1]) => live.remove_all(dir, name, invalid),
        _ => Ok(()),
    }
}

fn remove_empty(live: &mut Live, path: &[Name], invalid: &mut Invalid) -> Result<()> {
    let above = &path[..path.len().saturating_sub(1)];
    for (dir, name) in way(live, above)?.into_iter().rev() {
        let empty = match live.lookup(dir, name)? {
            Some(ino) => live.attr(ino)?.kind == Kind::Dir && live.list(ino, 0, 1)?.is_empty(),
            None => false,
        };
        if !empty {
            return Ok(());
        }
        live.remove_all(dir, name, invalid)?;
    }
    Ok(())
}

/// Removes what is in the place of a directory and is none, or the reverse.
fn make_room(live: &mut Live, dir: Ino, name: &Name, is_dir: bool, invalid: &mut Invalid) -> Result<()> {
    match live.lookup(dir, name)? {
        Some(ino) if (live.attr(ino)?.kind == Kind::Dir) != is_dir => live.remove_all(dir, name, invalid),
        _ => Ok(()),
    }
}
