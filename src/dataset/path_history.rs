//! The history of a path: in which versions what it names came, changed or went.
//!
//! A path is followed by name, whatever directories its components named over time: a renamed or newly
//! made directory takes its part in the history of the paths it is then part of, and of no others.

use std::collections::BTreeSet;

use crate::model::{Ino, Inode, Kind, Name, Place, TreeHash, VersionNo};

use super::dataset::Dataset;
use super::error::Result;
use super::frozen::Frozen;
use super::history::changed;

/// What a path named at some time.
type Named = BTreeSet<(Ino, Kind)>;

/// What a path or place names at a version.
#[derive(Debug)]
pub(super) enum State {
    /// A directory, by inode number, the hash of all below it, and its own inode.
    Dir(Ino, Option<TreeHash>, Box<Inode>),
    /// Anything else.
    Other(Box<Inode>),
}

impl Dataset {
    /// The versions in which what is at `path` came, changed (of a directory, also anything in it) or
    /// went, ascending; `None` if no version ever had such a path.
    pub fn path_versions(&self, path: &[Name]) -> Result<Option<Vec<VersionNo>>> {
        if path.is_empty() {
            return Ok(Some(self.versions_from(VersionNo(1))?));
        }
        let Some((named, mut candidates)) = self.ever_named(path)? else { return Ok(None) };
        let mut in_tree = BTreeSet::new();
        for (ino, kind) in named {
            if kind == Kind::Dir {
                let changes = self.store.tree_versions(self.id(), ino, self.newest(), usize::MAX)?;
                in_tree.extend(changes.into_iter().map(|(version, _)| (version, ino)));
            }
            let changes = self.store.inode_versions(self.id(), ino, self.newest(), usize::MAX)?;
            candidates.extend(changes.into_iter().map(|(version, _)| version));
        }
        candidates.extend(in_tree.iter().map(|(version, _)| *version));
        candidates.extend(self.rollbacks().iter().map(|&(version, _)| version));
        let mut versions = Vec::new();
        // The state at one candidate is that before the next: nothing changes in between.
        let mut before = None;
        for version in candidates {
            let after = state_at(&self.frozen(version), path)?;
            let touched = matches!(&after, Some(State::Dir(ino, ..)) if in_tree.contains(&(version, *ino)));
            if touched || differ(before.as_ref(), after.as_ref()) {
                versions.push(version);
            }
            before = after;
        }
        Ok(Some(versions))
    }

    /// The versions that are kept in which what is at `path` is another than in the kept one before, ascending:
    /// what a pruned version did to it shows first at the next that is kept.
    pub fn kept_path_versions(&self, path: &[Name]) -> Result<Vec<VersionNo>> {
        let (pruned, newest) = (self.pruned(), self.newest());
        let mut versions = self.path_versions(path)?.unwrap_or_default();
        if path.is_empty() {
            versions.retain(|version| !pruned.contains(*version));
            return Ok(versions);
        }
        versions.iter_mut().for_each(|version| *version = pruned.first_outside(*version));
        versions.dedup();
        let mut shown = Vec::new();
        for version in versions.into_iter().filter(|version| *version <= newest) {
            let last = VersionNo(version.0 - 1);
            let before = pruned.last_outside(last);
            // Where versions between the two were pruned, what these did may have been undone by the later one.
            let is_other = before == last
                || differ(
                    state_at(&self.frozen(before), path)?.as_ref(),
                    state_at(&self.frozen(version), path)?.as_ref(),
                );
            if is_other {
                shown.push(version);
            }
        }
        Ok(shown)
    }

    /// Whether [`Dataset::kept_path_versions`] has a version. That takes as long however many it has.
    pub fn is_kept_path_version(&self, path: &[Name], version: VersionNo) -> Result<bool> {
        if version == VersionNo::EMPTY || version > self.newest() || self.is_pruned(version) {
            return Ok(false);
        }
        if path.is_empty() {
            return Ok(!self.is_lost(version));
        }
        let last = VersionNo(version.0 - 1);
        let before = self.pruned().last_outside(last);
        let after = state_at(&self.frozen(version), path)?;
        if differ(state_at(&self.frozen(before), path)?.as_ref(), after.as_ref()) {
            return Ok(true);
        }
        match after {
            Some(State::Dir(ino, ..)) if before == last => {
                let changed = self.store.tree_versions(self.id(), ino, version, 1)?;
                Ok(changed.first().is_some_and(|(changed, _)| *changed == version))
            }
            _ => Ok(false),
        }
    }

    /// Whether any version had a directory at `path`.
    pub fn was_ever_dir(&self, path: &[Name]) -> Result<bool> {
        let named = self.ever_named(path)?;
        Ok(named.is_some_and(|(named, _)| named.iter().any(|(_, kind)| *kind == Kind::Dir)))
    }

    /// Everything that `path` ever named, and the versions in which a component of it began or ceased to
    /// name something.
    fn ever_named(&self, path: &[Name]) -> Result<Option<(Named, BTreeSet<VersionNo>)>> {
        let mut versions = BTreeSet::new();
        let mut named = BTreeSet::from([(Ino::ROOT, Kind::Dir)]);
        for name in path {
            let mut next = BTreeSet::new();
            for (dir, _) in named.into_iter().filter(|(_, kind)| *kind == Kind::Dir) {
                let place = Place { dir, key: name.key() };
                let newest = self.newest();
                let entries =
                    self.store.entry_versions(self.id(), place.dir, place.key, newest, usize::MAX)?;
                for (version, entry) in entries {
                    versions.insert(version);
                    next.extend(entry.map(|entry| (entry.ino, entry.kind)));
                }
            }
            named = next;
        }
        Ok((!named.is_empty()).then_some((named, versions)))
    }
}

fn state_at(tree: &Frozen, path: &[Name]) -> Result<Option<State>> {
    tree.walk(path)?.map(|(ino, kind)| state_of(tree, ino, kind)).transpose()
}

pub(super) fn state_of(tree: &Frozen, ino: Ino, kind: Kind) -> Result<State> {
    let inode = Box::new(tree.inode(ino)?.1);
    Ok(match kind {
        Kind::Dir => State::Dir(ino, tree.tree(ino)?, inode),
        _ => State::Other(inode),
    })
}

pub(super) fn differ(before: Option<&State>, after: Option<&State>) -> bool {
    match (before, after) {
        (None, None) => false,
        (Some(State::Dir(a, x, old)), Some(State::Dir(b, y, new))) => {
            (a, x) != (b, y) || changed(old, new).is_some()
        }
        (Some(State::Other(a)), Some(State::Other(b))) => changed(a, b).is_some(),
        _ => true,
    }
}
