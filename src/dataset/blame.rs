//! Which version last touched each entry of a directory.
//!
//! A version touches an entry by giving its name to something else, by changing what that is or, of a
//! directory, by touching anything in it; a rollback by anything of it being another way than before. What
//! each key of the index was last written by says so, so that it costs a few look-ups an entry, however long
//! the history is.

use crate::model::{Dirent, Ino, Kind, Name, NameKey, Place, VersionNo};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::history::{ChangeKind, changed};
use super::path_history::{State, differ, state_of};

/// Most entries of a directory that are told in the order of their names. Of a larger one they come in stored order,
/// so that no listing needs memory that grows with its length.
pub const SORT_MAX: usize = 100_000;

/// An entry, and what touched it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// From the dataset's root.
    pub path: Vec<Name>,
    /// What it is.
    pub kind: Kind,
    /// The version that touched it last.
    pub version: VersionNo,
    /// What that version did to it.
    pub change: ChangeKind,
}

impl Dataset {
    /// Calls `each` with the entries of the directory `path` at a version, or with what else `path` names itself;
    /// with `deep`, also with those of the directories in it. The entries of a directory come together, ordered by
    /// name; only of one that has more than [`SORT_MAX`], as many at a time.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the version does not have `path`, and those of `each`.
    pub fn blame<E: From<Error>>(
        &self,
        version: VersionNo,
        path: &[Name],
        deep: bool,
        mut each: impl FnMut(Vec<Touched>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tree = self.frozen(version);
        let missing = || {
            let path: Vec<String> = path.iter().map(Name::to_string).collect();
            Error::NotFound(format!("{} in {version} of {}", path.join("/"), self.name()))
        };
        let found = tree.walk(path)?.ok_or_else(missing)?;
        let (Kind::Dir, dir) = (found.1, found.0) else {
            let (name, above) = path.split_last().ok_or_else(missing)?;
            let dir = tree.walk(above)?.ok_or_else(missing)?.0;
            let entry = tree.lookup(dir, name)?.ok_or_else(missing)?;
            return each(vec![self.touched(&tree, above, dir, (name.key(), entry))?]);
        };
        let mut todo = vec![(path.to_vec(), dir)];
        while let Some((path, dir)) = todo.pop() {
            let mut after = None;
            loop {
                let mut page = tree.entries(dir, after, SORT_MAX)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                // Inodes of about the same time lie together in the index.
                page.sort_unstable_by_key(|(_, entry)| entry.ino);
                let mut touched = Vec::with_capacity(page.len());
                for (key, entry) in page {
                    touched.push((entry.ino, self.touched(&tree, &path, dir, (key, entry))?));
                }
                touched.sort_unstable_by(|(_, a), (_, b)| a.path.cmp(&b.path));
                if deep {
                    // The last of the list is the next.
                    let dirs = touched.iter().rev().filter(|(_, touched)| touched.kind == Kind::Dir);
                    todo.extend(dirs.map(|(ino, touched)| (touched.path.clone(), *ino)));
                }
                each(touched.into_iter().map(|(_, touched)| touched).collect())?;
            }
        }
        Ok(())
    }

    fn touched(
        &self,
        tree: &Frozen,
        above: &[Name],
        dir: Ino,
        (key, entry): (NameKey, Dirent),
    ) -> Result<Touched> {
        let Dirent { name, ino, kind } = entry;
        let named = tree.recorded_entry(dir, key)?.map(|(version, _)| version);
        let inside =
            if kind == Kind::Dir { tree.recorded_tree(ino)?.map(|(version, _)| version) } else { None };
        let mut version = tree.inode(ino)?.0.max(named.max(inside).unwrap_or(VersionNo::EMPTY));
        // What the versions after a rollback see of those before it is as the rollback made it.
        let spans = tree.view().spans().split_last().map_or(&[][..], |(_, newer)| newer);
        let newer = |rollback: &VersionNo| *rollback > version;
        for rollback in spans.iter().map(|span| span.first).take_while(newer) {
            let before = place_at(&self.frozen(VersionNo(rollback.0 - 1)), dir, key)?;
            if differ(before.as_ref(), place_at(&self.frozen(rollback), dir, key)?.as_ref()) {
                version = rollback;
                break;
            }
        }
        let place = Place { dir, key };
        let change = self.what_happened(tree, version, place, ino, inside == Some(version))?;
        Ok(Touched { path: [above, &[name]].concat(), kind, version, change })
    }

    /// What `version` did to a place that names `ino` since; `inside`: to something in the directory that this is.
    fn what_happened(
        &self,
        tree: &Frozen,
        version: VersionNo,
        place: Place,
        ino: Ino,
        inside: bool,
    ) -> Result<ChangeKind> {
        let before = self.frozen(VersionNo(version.0.saturating_sub(1)));
        Ok(match place_at(&before, place.dir, place.key)? {
            None if before.name_of(ino)?.is_some() => ChangeKind::Renamed,
            None => ChangeKind::Added,
            Some(State::Other(was)) => changed(&was, &tree.inode(ino)?.1).unwrap_or(ChangeKind::Modified),
            Some(State::Dir(was, hash, inode)) if was == ino && !inside && hash == tree.tree(ino)? => {
                changed(&inode, &tree.inode(ino)?.1).unwrap_or(ChangeKind::Modified)
            }
            Some(State::Dir(..)) => ChangeKind::Modified,
        })
    }
}

fn place_at(tree: &Frozen, dir: Ino, key: NameKey) -> Result<Option<State>> {
    tree.entry(dir, key)?.map(|entry| state_of(tree, entry.ino, entry.kind)).transpose()
}
