//! Comparing two trees directory by directory.
//!
//! Directories whose tree hash is the same are left out with all that is below them, so that the cost
//! follows the directories that differ. Both sides list a directory in the order of the names' keys, which
//! depends on the names alone: one pass over both finds what differs.

use crate::model::{Dirent, Ino, Kind, NameKey};

use super::super::error::Result;
use super::super::frozen::Frozen;
use super::differing::{Differing, Found, NOWHERE, There};
use super::paths::{Dir, START};

/// Entries of a directory read at a time.
const PAGE: usize = 1024;

/// A directory to compare: what each side has under the path.
struct Pair {
    path: Dir,
    old: Option<Ino>,
    new: Option<Ino>,
}

/// What differs below two directories, or between two files.
pub fn compare(
    old: &Frozen,
    (old_ino, old_kind): (Ino, Kind),
    new: &Frozen,
    (new_ino, new_kind): (Ino, Kind),
) -> Result<Differing> {
    let mut differing = Differing::default();
    let is_dir = |kind: Kind, ino: Ino| (kind == Kind::Dir).then_some(ino);
    let root = Pair { path: Dir::ROOT, old: is_dir(old_kind, old_ino), new: is_dir(new_kind, new_ino) };
    if root.old.is_none() || root.new.is_none() {
        let before = differing.owners.facts(old_ino, &old.inode(old_ino)?.1);
        let after = differing.owners.facts(new_ino, &new.inode(new_ino)?.1);
        if let Some(change) = before.changed_in_snapshot(&after) {
            differing.add_both((&before, &after), START, NOWHERE, change);
        }
    }
    // A list of what is to do instead of recursion: a tree may be deeper than the stack.
    let mut todo = vec![root];
    while let Some(pair) = todo.pop() {
        if let (Some(a), Some(b)) = (pair.old, pair.new)
            && let (Some(a), Some(b)) = (old.tree(a)?, new.tree(b)?)
            && a == b
        {
            continue;
        }
        let (mut left, mut right) = (Listing::of(old, pair.old), Listing::of(new, pair.new));
        loop {
            let (a, b) = match (left.peek()?, right.peek()?) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => (left.next(), right.next()),
                (Some(a), Some(b)) if a > b => (None, right.next()),
                (Some(_), _) => (left.next(), None),
                (None, Some(_)) => (None, right.next()),
            };
            let mut there = |tree: &Frozen, entry: Option<Dirent>| -> Result<Option<There>> {
                let Some(entry) = entry else { return Ok(None) };
                let facts = differing.owners.facts(entry.ino, &tree.inode(entry.ino)?.1);
                Ok(Some(There { dir: pair.path, entry, facts, number: None }))
            };
            let (a, b) = (there(old, a)?, there(new, b)?);
            let Some(name) = b.as_ref().or(a.as_ref()).map(|there| &there.entry.name) else { continue };
            let dir = |side: &Option<There>| {
                side.as_ref().and_then(|there| is_dir(there.entry.kind, there.entry.ino))
            };
            if dir(&a).is_some() || dir(&b).is_some() {
                let path = differing.paths.dir(pair.path, name)?;
                todo.push(Pair { path, old: dir(&a), new: dir(&b) });
            }
            let found = match (a, b) {
                (Some(old), None) => Some(Found::Lone(0, old)),
                (None, Some(new)) => Some(Found::Lone(1, new)),
                (Some(old), Some(new)) => {
                    let change = old.facts.changed_in_snapshot(&new.facts);
                    change.map(|change| Found::Both(old, new, change))
                }
                (None, None) => None,
            };
            found.map_or(Ok(()), |found| differing.add(found, NOWHERE))?;
        }
    }
    Ok(differing)
}

/// The entries of a directory of one side, read page by page; none where that side has no such directory.
struct Listing<'a> {
    tree: &'a Frozen,
    dir: Option<Ino>,
    /// What was read, last first.
    page: Vec<(NameKey, Dirent)>,
    last: Option<NameKey>,
}

impl<'a> Listing<'a> {
    fn of(tree: &'a Frozen, dir: Option<Ino>) -> Listing<'a> {
        Listing { tree, dir, page: Vec::new(), last: None }
    }

    /// The key of the next entry.
    fn peek(&mut self) -> Result<Option<NameKey>> {
        if self.page.is_empty()
            && let Some(dir) = self.dir
        {
            self.page = self.tree.entries(dir, self.last, PAGE)?;
            self.last = self.page.last().map(|(key, _)| *key);
            if self.last.is_none() {
                self.dir = None;
            }
            self.page.reverse();
        }
        Ok(self.page.last().map(|(key, _)| *key))
    }

    /// The entry that was seen.
    fn next(&mut self) -> Option<Dirent> {
        self.page.pop().map(|(_, entry)| entry)
    }
}
