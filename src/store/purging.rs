//! Purges that are under way.
//!
//! A purge is recorded before its bytes are removed, so that what is missing then is no damage. Where the process dies
//! in between, or the disk has no room to rewrite a pack, nothing but a note tells that the bytes are still there: what
//! versions name counts as needed. It is written before the record and goes when all is done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{DatasetId, Name, show_path};

use super::Store;
use super::error::Result;
use super::note;

/// As many paths are named in a line.
const NAMED: usize = 3;

/// A purge that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedPurge {
    /// The dataset it was asked of.
    pub dataset: DatasetId,
    /// What is purged: paths, name by name, and ids of contents.
    pub paths: BTreeSet<Vec<Name>>,
    /// Whether the versions of all files and datasets lose it.
    pub everywhere: bool,
    /// Why.
    pub reason: String,
}

/// The same as releases wrote it that purged one path at a time.
#[derive(Serialize, Deserialize)]
struct OfOnePath {
    dataset: DatasetId,
    path: Vec<Name>,
    everywhere: bool,
    reason: String,
}

impl From<OfOnePath> for UnfinishedPurge {
    fn from(OfOnePath { dataset, path, everywhere, reason }: OfOnePath) -> UnfinishedPurge {
        UnfinishedPurge { dataset, paths: BTreeSet::from([path]), everywhere, reason }
    }
}

impl UnfinishedPurge {
    /// Whether another is done once this one is: it is of the same content, and goes no further.
    fn covers(&self, other: &UnfinishedPurge) -> bool {
        other.dataset == self.dataset
            && other.paths.is_subset(&self.paths)
            && (self.everywhere || !other.everywhere)
    }

    /// What is purged, to be shown.
    pub fn shown(&self) -> String {
        show_paths(self.paths.iter().map(Vec::as_slice))
    }
}

/// Some paths, of which a few are named, in a line.
pub fn show_paths<'a>(paths: impl ExactSizeIterator<Item = &'a [Name]>) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let mut shown = paths.take(NAMED).map(show_path).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown.push_str(&format!(" and {more} more"));
    }
    shown
}

impl Store {
    /// The purges that are not finished, oldest first.
    pub fn unfinished_purges(&self) -> Result<Vec<UnfinishedPurge>> {
        let old = note::read::<Vec<OfOnePath>>(&self.layout.purging_one(), self.id)?.unwrap_or_default();
        let all = note::read::<Vec<UnfinishedPurge>>(&self.layout.purging(), self.id)?.unwrap_or_default();
        Ok(old.into_iter().map(UnfinishedPurge::from).chain(all).collect())
    }

    /// Notes, durably, that a purge is under way. Only one may be begun or ended at a time.
    pub fn begin_purge(&self, purge: &UnfinishedPurge) -> Result<()> {
        let mut all = self.unfinished_purges()?;
        all.retain(|other| !purge.covers(other));
        all.push(purge.clone());
        self.note_unfinished(&all)
    }

    /// Notes that it is finished, or nothing of it was begun; and with it others of the same content.
    pub fn end_purge(&self, purge: &UnfinishedPurge) -> Result<()> {
        let mut all = self.unfinished_purges()?;
        all.retain(|other| !purge.covers(other));
        self.note_unfinished(&all)
    }

    fn note_unfinished(&self, all: &[UnfinishedPurge]) -> Result<()> {
        match all {
            [] => note::remove(&self.layout.purging())?,
            all => note::write(&self.layout.purging(), self.id, &all)?,
        }
        note::remove(&self.layout.purging_one())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Name> {
        text.split('/').map(|name| Name::new(name.as_bytes()).unwrap()).collect()
    }

    fn purge(paths: &[&str], everywhere: bool) -> UnfinishedPurge {
        let paths = paths.iter().map(|text| path(text)).collect();
        UnfinishedPurge { dataset: DatasetId(1), paths, everywhere, reason: "law".into() }
    }

    #[test]
    fn purges_of_older_releases_are_known_and_a_purge_ends_those_it_covers() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_init(&dir.path().join("store")).unwrap();
        let old = |text: &str| OfOnePath {
            dataset: DatasetId(1),
            path: path(text),
            everywhere: false,
            reason: "law".into(),
        };
        note::write(&store.layout.purging_one(), store.id, &vec![old("a/b"), old("c")]).unwrap();
        assert_eq!(store.unfinished_purges().unwrap(), [purge(&["a/b"], false), purge(&["c"], false)]);
        let many = purge(&["c", "d", "e"], false);
        store.begin_purge(&many).unwrap();
        assert_eq!(store.unfinished_purges().unwrap(), [purge(&["a/b"], false), many.clone()]);
        let everywhere = purge(&["d"], true);
        store.begin_purge(&everywhere).unwrap();
        store.end_purge(&many).unwrap();
        assert_eq!(store.unfinished_purges().unwrap(), [purge(&["a/b"], false), everywhere.clone()]);
        store.end_purge(&purge(&["a/b"], false)).unwrap();
        store.end_purge(&everywhere).unwrap();
        assert_eq!(store.unfinished_purges().unwrap(), []);
        assert!(!store.layout.purging().exists() && !store.layout.purging_one().exists());
    }

    #[test]
    fn few_of_many_paths_are_shown() {
        assert_eq!(purge(&["a/b"], false).shown(), "a/b");
        assert_eq!(purge(&["a", "b", "c"], false).shown(), "a, b, c");
        assert_eq!(purge(&["a", "b", "c", "d", "e"], false).shown(), "a, b, c and 2 more");
    }
}
