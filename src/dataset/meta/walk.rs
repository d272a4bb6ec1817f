//! Going through all there is in a directory of a version.

use crate::dataset::digests::Digests;
use crate::dataset::error::{Error, Result};
use crate::dataset::frozen::Frozen;
use crate::dataset::retention::gone::Gone;
use crate::model::{Dirent, Ino, Inode, Kind, NameKey};
use crate::store;

/// Entries of a directory that are sorted by name; larger directories come in stored order, so that no text needs
/// memory that grows with their length.
const SORT_MAX: usize = 100_000;
/// Entries read at a time.
const PAGE: usize = 1024;

/// Something in a tree.
#[derive(Debug)]
pub struct Found<'a> {
    /// From where the tree begins.
    pub path: &'a [u8],
    /// What it is.
    pub inode: &'a Inode,
    /// Whether its content was purged, as a whole or in part.
    pub purged: bool,
}

/// A directory on the way.
struct Level {
    dir: Ino,
    /// Entries still to be gone through, the last one first.
    entries: Vec<Dirent>,
    after: Option<NameKey>,
    done: bool,
    /// Length of the path of what is in it, up to the name.
    path_len: usize,
}

impl Level {
    fn new(dir: Ino, path_len: usize) -> Level {
        Level { dir, entries: Vec::new(), after: None, done: false, path_len }
    }

    /// The next entry.
    fn next(&mut self, tree: &Frozen) -> Result<Option<Dirent>> {
        if self.entries.is_empty() && !self.done {
            while !self.done && self.entries.len() < SORT_MAX {
                let page = tree.entries(self.dir, self.after, PAGE)?;
                self.after = page.last().map(|(key, _)| *key).or(self.after);
                self.done = page.len() < PAGE;
                self.entries.extend(page.into_iter().map(|(_, entry)| entry));
            }
            self.entries.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        }
        Ok(self.entries.pop())
    }
}

/// Calls `each` for all there is below a directory, directories before what is in them, until hashing is stopped.
///
/// # Errors
/// Those of `each`, where something cannot be read, and [`Error::Stale`] where it was stopped.
pub fn walk(
    tree: &Frozen,
    dir: Ino,
    digests: &Digests,
    each: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<()> {
    let mut path = Vec::new();
    let mut gone = Gone::new(tree.store());
    let mut way = vec![Level::new(dir, 0)];
    while let Some(level) = way.last_mut() {
        if digests.is_stopped() {
            return Err(Error::Stale);
        }
        let Some(entry) = level.next(tree)? else {
            way.pop();
            continue;
        };
        path.truncate(level.path_len);
        path.extend_from_slice(entry.name.as_bytes());
        let inode = tree.certain_inode(entry.ino)?.1;
        let purged = inode.content().is_some_and(|content| gone.is_of(content));
        each(Found { path: &path, inode: &inode, purged })?;
        if entry.kind == Kind::Dir {
            if way.iter().any(|level| level.dir == entry.ino) {
                let what = format!("directory {} is within itself", entry.ino.0);
                return Err(store::Error::Corrupt(what).into());
            }
            path.push(b'/');
            way.push(Level::new(entry.ino, path.len()));
        }
    }
    Ok(())
}
