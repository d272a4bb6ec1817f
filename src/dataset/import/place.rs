//! Putting an imported tree into a dataset.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::whole::take_whole;
use super::{Entry, SHRINK_EVERY, Source, Tree};
use crate::dataset::author::Caller;
use crate::dataset::dataset::{Dataset, State};
use crate::dataset::error::{Error, Result};
use crate::dataset::live::{Invalid, Live};
use crate::model::{Ino, Kind, Name, NameKey, Policy, VersionNo};
use crate::store::error::chain;

/// How a tree is put into a dataset.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    /// Where the tree is outside, for messages.
    pub root: &'a Path,
    /// Whether what the tree does not have goes away.
    pub delete: bool,
    /// What the author says of the version.
    pub message: Option<String>,
}

impl Dataset {
    /// Puts a tree whose files have been [read](super::read()) into the live tree and cuts a version, durably.
    /// What waited for a cut is cut first, but for `manual`, where it becomes part of that version. Gives the
    /// version, or `None` where nothing changed. `forget` is told what the kernel must forget, as
    /// [`Dataset::rollback`] does.
    ///
    /// # Errors
    /// The dataset is as it was. [`Error::Invalid`] where a directory would take the place of something else
    /// or the reverse, unless that may go away, or where a batch is under way; [`Error::OverQuota`].
    pub fn take_in(
        &self,
        by: Caller,
        tree: Tree,
        how: Placement<'_>,
        forget: impl FnOnce(&Invalid),
    ) -> Result<Option<VersionNo>> {
        let Placement { root, delete, message } = how;
        self.take_in_by(by, message, forget, |live, invalid| place(live, tree, root, delete, invalid))
    }

    /// The same of what `put` does to the live tree.
    pub(in crate::dataset) fn take_in_by(
        &self,
        by: Caller,
        message: Option<String>,
        forget: impl FnOnce(&Invalid),
        put: impl FnOnce(&mut Live, &mut Invalid) -> Result<()>,
    ) -> Result<Option<VersionNo>> {
        self.store.check_can_grow()?;
        if self.quota().is_some() {
            self.used()?;
        }
        let mut state = self.lock();
        if state.in_batch {
            return Err(Error::Invalid(format!("a batch on {} is under way", self.name())));
        }
        if self.policy() == Policy::Manual {
            self.log_pending(&mut state)?;
        } else if !state.live.is_idle() {
            self.cut(&mut state, None)?;
        }
        let used = self.quota().map(|_| self.used_by(&mut state)).transpose()?;
        state.note_author(by);
        let mut invalid = Invalid::default();
        state.live.log_nothing();
        let placed = put(&mut state.live, &mut invalid);
        let placed = placed.and_then(|()| match used {
            Some(used) => self.check_quota(used, self.used_by(&mut state)?),
            None => Ok(()),
        });
        let version = match placed.and_then(|()| self.cut(&mut state, message)) {
            Ok(version) => version,
            Err(error) => {
                self.take_back(&mut state)?;
                return Err(error);
            }
        };
        drop(state);
        forget(&invalid);
        self.store.sync()?;
        Ok(version)
    }

    /// Makes the live tree what the log says it is.
    fn take_back(&self, state: &mut State) -> Result<()> {
        let head = state.live.head.clone();
        // No file that is open was given another content.
        state.live.reset(head)?;
        for pending in self.store.pending(self.id()) {
            state.live.replay(pending?.1?)?;
        }
        state.live.logged();
        Ok(())
    }
}

fn place(live: &mut Live, tree: Tree, outside: &Path, delete: bool, invalid: &mut Invalid) -> Result<()> {
    match take_whole(live, tree, invalid)? {
        None => Ok(()),
        Some(tree) => place_each(live, tree, outside, delete, invalid),
    }
}

/// Puts one entry after the other into the live tree.
pub(super) fn place_each(
    live: &mut Live,
    tree: Tree,
    outside: &Path,
    delete: bool,
    invalid: &mut Invalid,
) -> Result<()> {
    if delete {
        remove_others(live, &tree, invalid)?;
    }
    let Tree { root, mut entries, .. } = tree;
    let mut inos: Vec<Ino> = Vec::with_capacity(entries.len());
    let mut dirs = Vec::new();
    // Files of the tree that have other names in the dataset.
    let mut linked = HashSet::new();
    // The tree outside goes as that in the dataset comes: there is not room for both where they are large.
    entries.reverse();
    while let Some(Entry { dir, name, inode, source }) = entries.pop() {
        if entries.len().is_multiple_of(SHRINK_EVERY) {
            entries.shrink_to_fit();
            live.trim();
        }
        let dir = dir.map_or(Ino::ROOT, |dir| inos[dir]);
        let attrs = (inode.kind() == Kind::Dir).then(|| inode.clone());
        let placed = match source {
            Source::Link(first) => {
                let ino = inos[first];
                live.take_in_link(ino, dir, &name, invalid).map(|()| ino)
            }
            _ => {
                // Two files of the tree are not one in the dataset, though they were.
                if !linked.is_empty() && live.lookup(dir, &name)?.is_some_and(|ino| linked.contains(&ino)) {
                    live.remove_all(dir, &name, invalid)?;
                }
                live.take_in(dir, &name, inode, invalid)
            }
        };
        let ino = match placed {
            Err(error @ (Error::IsADirectory(_) | Error::NotADirectory(_))) => {
                let mut path = outside.to_owned();
                let above = live.path(dir)?.unwrap_or_default();
                path.extend(above.iter().chain([&name]).map(Name::as_os_str));
                return Err(Error::Invalid(format!(
                    "{} would take the place of what is there: {}",
                    path.display(),
                    chain(&error)
                )));
            }
            placed => placed?,
        };
        if attrs.is_none() && live.attr(ino)?.nlink > 1 {
            linked.insert(ino);
        }
        inos.push(ino);
        dirs.extend(attrs.map(|attrs| (ino, attrs)));
    }
    // What is put into a directory changes it.
    for (ino, attrs) in &dirs {
        live.put_attrs(*ino, attrs, invalid)?;
    }
    live.put_attrs(Ino::ROOT, &root, invalid)
}

/// Removes what `tree` does not have, and directories and other things that are in each other's place.
fn remove_others(live: &mut Live, tree: &Tree, invalid: &mut Invalid) -> Result<()> {
    let mut wanted: HashMap<Option<usize>, HashMap<NameKey, (usize, bool)>> = HashMap::new();
    for (n, Entry { dir, name, inode, .. }) in tree.entries.iter().enumerate() {
        wanted.entry(*dir).or_default().insert(name.key(), (n, inode.kind() == Kind::Dir));
    }
    let mut seen = HashSet::new();
    let mut todo = vec![(None, Ino::ROOT)];
    while let Some((dir, ino)) = todo.pop() {
        if !seen.insert(ino) {
            continue;
        }
        for slot in live.list(ino, 0, usize::MAX)? {
            let in_tree = wanted.get(&dir).and_then(|names| names.get(&slot.key));
            match in_tree {
                Some((n, true)) if slot.kind == Kind::Dir => todo.push((Some(*n), slot.ino)),
                Some((_, false)) if slot.kind != Kind::Dir => {}
                _ => live.remove_all(ino, &slot.name, invalid)?,
            }
        }
    }
    Ok(())
}
