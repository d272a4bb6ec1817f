//! The history of a path: in which versions what it names came, changed or went.
//!
//! A path is followed by name, whatever directories its components named over time: a renamed or newly
//! made directory takes its part in the history of the paths it is then part of, and of no others.
//!
//! It is gone through from a version back: what is on the way to the path there says since when all of that is
//! as it is, so that versions in between are not looked at. Where a version restored another, its way is
//! another, and is looked at anew.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::model::{Ino, Inode, Kind, Name, Place, TreeHash, VersionNo};

use super::dataset::Dataset;
use super::error::Result;
use super::frozen::Frozen;
use super::history::changed;

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
        if !self.was_ever_named(path)? {
            return Ok(None);
        }
        let mut back = self.path_back(path, self.newest())?;
        let mut versions = Vec::new();
        while let Some(version) = back.next_version()? {
            versions.push(version);
        }
        versions.reverse();
        Ok(Some(versions))
    }

    /// The same versions up to `newest`, one by one and newest first.
    pub(super) fn path_back(&self, path: &[Name], newest: VersionNo) -> Result<PathBack<'_>> {
        Ok(PathBack { dataset: self, path: path.to_vec(), at: self.sight(path, newest)? })
    }

    /// What a version has at `path`.
    fn sight(&self, path: &[Name], version: VersionNo) -> Result<Sight> {
        let tree = self.frozen(version);
        // Versions back to a rollback, or to the first, descend from each other.
        let since = tree.view().spans().first().map_or(VersionNo::EMPTY, |span| span.first);
        let mut sight = Sight { version, state: None, since, changed_within: VersionNo::EMPTY };
        let mut at = (Ino::ROOT, Kind::Dir);
        for name in path {
            if at.1 != Kind::Dir {
                return Ok(sight);
            }
            let Some((written, entry)) = tree.written_entry(at.0, name)? else { return Ok(sight) };
            sight.since = sight.since.max(written);
            let Some(entry) = entry else { return Ok(sight) };
            at = (entry.ino, entry.kind);
        }
        let (ino, kind) = at;
        let (written, inode) = tree.inode(ino)?;
        sight.since = sight.since.max(written);
        sight.state = Some(match kind {
            Kind::Dir => {
                let below = tree.recorded_tree(ino)?;
                sight.changed_within = below.map_or(VersionNo::EMPTY, |(version, _)| version);
                sight.since = sight.since.max(sight.changed_within);
                State::Dir(ino, below.map(|(_, hash)| hash), Box::new(inode))
            }
            _ => State::Other(Box::new(inode)),
        });
        Ok(sight)
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

    /// Whether any version had anything at `path`.
    pub(super) fn was_ever_named(&self, path: &[Name]) -> Result<bool> {
        Ok(!self.ever_named(path)?.is_empty())
    }

    /// Whether any version had a directory at `path`.
    pub fn was_ever_dir(&self, path: &[Name]) -> Result<bool> {
        Ok(self.ever_named(path)?.iter().any(|(_, kind)| *kind == Kind::Dir))
    }

    /// Everything that `path` ever named.
    fn ever_named(&self, path: &[Name]) -> Result<BTreeSet<(Ino, Kind)>> {
        let mut named = BTreeSet::from([(Ino::ROOT, Kind::Dir)]);
        for name in path {
            let mut next = BTreeSet::new();
            for (dir, _) in named.into_iter().filter(|(_, kind)| *kind == Kind::Dir) {
                let place = Place { dir, key: name.key() };
                let newest = self.newest();
                let entries =
                    self.store.entry_versions(self.id(), place.dir, place.key, newest, usize::MAX)?;
                let entries = entries.into_iter().filter_map(|(_, entry)| entry);
                next.extend(entries.map(|entry| (entry.ino, entry.kind)));
            }
            named = next;
        }
        Ok(named)
    }
}

/// What a version has at a path, and since when.
struct Sight {
    version: VersionNo,
    state: Option<State>,
    /// From this version on up to that one, all that leads to it is as it is.
    since: VersionNo,
    /// Of a directory, the version that last changed anything in it.
    changed_within: VersionNo,
}

/// Goes back through the versions in which what is at a path came, changed or went.
pub(super) struct PathBack<'a> {
    dataset: &'a Dataset,
    path: Vec<Name>,
    at: Sight,
}

impl PathBack<'_> {
    /// The next older one.
    pub fn next_version(&mut self) -> Result<Option<VersionNo>> {
        while self.at.version > VersionNo::EMPTY {
            let since = self.at.since;
            let before = self.dataset.sight(&self.path, VersionNo(since.0.saturating_sub(1)))?;
            let after = std::mem::replace(&mut self.at, before);
            if after.changed_within == since || differ(self.at.state.as_ref(), after.state.as_ref()) {
                return Ok(Some(since));
            }
        }
        Ok(None)
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
