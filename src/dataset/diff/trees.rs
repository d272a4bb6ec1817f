//! Comparing two trees directory by directory.
//!
//! Directories whose tree hash is the same are left out with all that is below them, so that the cost
//! follows the directories that differ. Both sides list a directory in the order of the names' keys, which
//! depends on the names alone: one pass over both finds what differs.

use crate::model::{Dirent, Ino, Inode, Kind, Name, NameKey};

use super::super::error::Result;
use super::super::frozen::Frozen;
use super::super::history::ChangeKind;
use super::{Found, Named};

/// Entries of a directory read at a time.
const PAGE: usize = 1024;

/// A directory to compare: what each side has under the path.
struct Pair {
    path: Vec<Name>,
    old: Option<Ino>,
    new: Option<Ino>,
}

/// What differs below two directories, or between two files.
pub fn compare(
    old: &Frozen,
    (old_ino, old_kind): (Ino, Kind),
    new: &Frozen,
    (new_ino, new_kind): (Ino, Kind),
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let is_dir = |kind: Kind, ino: Ino| (kind == Kind::Dir).then_some(ino);
    let root = Pair { path: Vec::new(), old: is_dir(old_kind, old_ino), new: is_dir(new_kind, new_ino) };
    if root.old.is_none() || root.new.is_none() {
        let (before, after) = (old.inode(old_ino)?.1, new.inode(new_ino)?.1);
        if let Some(change) = changed(&before, &after) {
            let entry = |ino, kind| -> Result<Dirent> { Ok(Dirent { name: Name::new(b"root")?, ino, kind }) };
            let (before, after) = ((entry(old_ino, old_kind)?, before), (entry(new_ino, new_kind)?, after));
            found.push(there(Vec::new(), change, Some(before), Some(after)));
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
            let (a, b) = (with_inode(old, a)?, with_inode(new, b)?);
            let change = match (&a, &b) {
                (Some(_), None) => Some(ChangeKind::Removed),
                (None, Some(_)) => Some(ChangeKind::Added),
                (Some((_, before)), Some((_, after))) => changed(before, after),
                (None, None) => None,
            };
            let Some((entry, _)) = b.as_ref().or(a.as_ref()) else { continue };
            let mut path = pair.path.clone();
            path.push(entry.name.clone());
            let dir =
                |side: &Option<Named>| side.as_ref().and_then(|(entry, _)| is_dir(entry.kind, entry.ino));
            if dir(&a).is_some() || dir(&b).is_some() {
                todo.push(Pair { path: path.clone(), old: dir(&a), new: dir(&b) });
            }
            if let Some(change) = change {
                found.push(there(path, change, a, b));
            }
        }
    }
    Ok(found)
}

/// What differs at the same path of both sides.
fn there(path: Vec<Name>, change: ChangeKind, old: Option<Named>, new: Option<Named>) -> Found {
    Found { path, old_path: None, place: None, change, old, new }
}

/// How a snapshot id tells two inodes apart.
fn changed(before: &Inode, after: &Inode) -> Option<ChangeKind> {
    let executable = |inode: &Inode| inode.kind() == Kind::File && inode.mode & 0o100 != 0;
    match (before.body == after.body, executable(before) == executable(after)) {
        (false, _) => Some(ChangeKind::Modified),
        (true, false) => Some(ChangeKind::Attributes),
        (true, true) => None,
    }
}

/// An entry of a tree with what it names.
pub(super) fn with_inode(tree: &Frozen, entry: Option<Dirent>) -> Result<Option<Named>> {
    entry.map(|entry| tree.inode(entry.ino).map(|(_, inode)| (entry, inode))).transpose()
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
