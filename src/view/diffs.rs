//! `@diff/A..B`: what differs between two versions, as trees.
//!
//! Each of the trees is that of one of the versions, with only the paths concerned: its directories have their
//! attributes of then, so that the kernel lets nobody further than in the version itself. The differences of
//! two versions are computed once for all directories, and the last few kept.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lru::LruCache;
use parking_lot::Mutex;

use crate::dataset::{Caller, ChangeKind, Changes, Climb, Dataset, Error, Frozen, Result};
use crate::model::{DatasetId, Dirent, Ino, Kind, Name, NameKey, Place, VersionNo, VersionSpec};

use super::diff_summary::DiffSummary;
use super::fs::{FileSystem, not_found};
use super::nodes::{Node, NodeId};
use super::way::{Way, way_to};

/// Most paths that may differ: what is held of them takes some tens of MiB.
const CHANGES_MAX: usize = 250_000;
/// Pairs of versions whose differences are kept, as long as they have no more paths than that together.
const KEPT: NonZeroUsize = NonZeroUsize::new(16).expect("not 0");
/// Name of the summary.
const SUMMARY: &[u8] = b"summary.json";

/// Two versions of a dataset that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The dataset.
    pub dataset: DatasetId,
    /// The one before.
    pub before: VersionNo,
    /// The one after.
    pub after: VersionNo,
}

impl Pair {
    /// The version whose tree a part shows.
    pub fn version(&self, part: Part) -> VersionNo {
        if part.is_before() { self.before } else { self.after }
    }
}

/// One of the trees of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What came.
    Added,
    /// What went.
    Removed,
    /// What has other content, as it is after.
    Modified,
    /// The same, as it was before.
    ModifiedOld,
}

impl Part {
    const ALL: [(Part, &'static [u8]); 4] = [
        (Part::Added, b"added"),
        (Part::Modified, b"modified"),
        (Part::ModifiedOld, b"modified.old"),
        (Part::Removed, b"removed"),
    ];

    fn is_before(self) -> bool {
        matches!(self, Part::Removed | Part::ModifiedOld)
    }
}

/// What differs between two versions.
#[derive(Debug)]
pub struct Differences {
    pub(super) changes: Changes,
    /// For each part, the directories that are shown, each with the keys of the names shown in it, ordered.
    shown: [HashMap<Ino, Vec<NameKey>>; 4],
}

impl Differences {
    /// # Errors
    /// [`Error::TooManyPaths`] where there are more than can be held.
    fn compute(dataset: &Dataset, pair: Pair) -> Result<Differences> {
        let changes = dataset.diff_up_to(pair.before, pair.after, CHANGES_MAX)?;
        let Some(changes) = changes else {
            log::warn!(
                "{}: more than {CHANGES_MAX} paths differ between {} and {}: see `strata diff`",
                dataset.name(),
                pair.before,
                pair.after
            );
            return Err(Error::TooManyPaths);
        };
        let (before, after) = (dataset.frozen(pair.before), dataset.frozen(pair.after));
        let mut shown: [HashMap<Ino, Vec<NameKey>>; 4] = Default::default();
        for change in changes.iter() {
            let modified = change.change == ChangeKind::Modified || change.is_rewritten;
            let parts = match change.change {
                ChangeKind::Added => [None, Some(Part::Added)],
                ChangeKind::Removed => [Some(Part::Removed), None],
                _ if modified => [Some(Part::ModifiedOld), Some(Part::Modified)],
                _ => [None, None],
            };
            let sides = [(&before, change.places.0), (&after, change.places.1)];
            for (part, (tree, place)) in parts.into_iter().zip(sides) {
                if let (Some(part), Some(place)) = (part, place) {
                    show(&mut shown[part as usize], tree, place)?;
                }
            }
        }
        for keys in shown.iter_mut().flat_map(HashMap::values_mut) {
            keys.sort_unstable();
            keys.dedup();
        }
        Ok(Differences { changes, shown })
    }

    fn keys(&self, part: Part, dir: Ino) -> &[NameKey] {
        self.shown[part as usize].get(&dir).map_or(&[], Vec::as_slice)
    }

    /// The keys of the names shown in a directory after a position.
    pub fn shown_after(&self, part: Part, dir: Ino, position: u64) -> &[NameKey] {
        let keys = self.keys(part, dir);
        &keys[keys.partition_point(|key| key.position() <= position)..]
    }
}

/// Shows a place, and the directories above it.
fn show(shown: &mut HashMap<Ino, Vec<NameKey>>, tree: &Frozen, mut place: Place) -> Result<()> {
    let mut climb = Climb::default();
    loop {
        let known = shown.contains_key(&place.dir);
        shown.entry(place.dir).or_default().push(place.key);
        if known || place.dir == Ino::ROOT {
            return Ok(());
        }
        climb.step(place.dir)?;
        place = tree.inode(place.dir)?.1.place.ok_or(Error::Stale)?;
    }
}

/// Differences of two versions, once they are computed; who needs them meanwhile waits.
#[derive(Debug, Default)]
struct Cell {
    computed: Mutex<Option<Arc<Differences>>>,
    paths: AtomicUsize,
}

/// What a summary is of: two versions, a directory in each, and who looks.
pub(super) type Of = (Pair, [Option<Ino>; 2], Caller);

/// Differences that were looked at lately.
#[derive(Debug)]
pub struct Diffs {
    kept: Mutex<LruCache<Pair, Arc<Cell>>>,
    summary: Mutex<Option<(Of, Arc<DiffSummary>)>>,
}

impl Default for Diffs {
    fn default() -> Diffs {
        Diffs { kept: Mutex::new(LruCache::new(KEPT)), summary: Mutex::new(None) }
    }
}

/// What `@diff/A..B` lists.
pub fn root_entries(
    pair: Pair,
    dirs: [Option<Ino>; 2],
    size: u64,
) -> impl Iterator<Item = (&'static [u8], Kind, Node)> {
    let tree = move |(part, name): (Part, &'static [u8])| {
        (name, Kind::Dir, Node::DiffDir(pair, part, dirs[usize::from(!part.is_before())]))
    };
    Part::ALL.into_iter().map(tree).chain([(SUMMARY, Kind::File, Node::DiffSummary(pair, dirs, size))])
}

impl FileSystem {
    /// Whether looking at a node may take seconds.
    pub fn is_slow(&self, id: NodeId) -> bool {
        matches!(self.node(id), Ok(Node::Diff(..) | Node::DiffSummary(..) | Node::DiffDir(..)))
    }

    /// What differs between two versions.
    pub(super) fn differences(&self, pair: Pair) -> Result<Arc<Differences>> {
        let cell = self.diffs.kept.lock().get_or_insert(pair, Arc::default).clone();
        let mut computed = cell.computed.lock();
        if let Some(known) = &*computed {
            return Ok(known.clone());
        }
        let made = Arc::new(Differences::compute(&*self.dataset(pair.dataset)?, pair)?);
        cell.paths.store(made.changes.count(), Ordering::Relaxed);
        *computed = Some(made.clone());
        drop(computed);
        let mut kept = self.diffs.kept.lock();
        let paths = |kept: &LruCache<Pair, Arc<Cell>>| -> usize {
            kept.iter().map(|(_, cell)| cell.paths.load(Ordering::Relaxed)).sum()
        };
        while kept.len() > 1 && paths(&kept) > CHANGES_MAX {
            kept.pop_lru();
        }
        Ok(made)
    }

    /// Looks up a name in `@diff` or below it, for `by`.
    pub(super) fn lookup_diff(&self, by: Caller, parent: &Node, name: &Name) -> Result<Node> {
        match parent {
            Node::Diffs(id, dir) => self.lookup_pair(by, *id, *dir, name),
            Node::Diff(pair, dirs) => {
                let found = root_entries(*pair, *dirs, 0).find(|(entry, ..)| *entry == name.as_bytes());
                match found.ok_or_else(|| not_found(name))?.2 {
                    Node::DiffSummary(pair, dirs, _) => {
                        let size = self.diff_summary(by, pair, dirs)?.size();
                        Ok(Node::DiffSummary(pair, dirs, size))
                    }
                    tree => Ok(tree),
                }
            }
            Node::DiffDir(pair, part, Some(dir)) => {
                let differences = self.differences(*pair)?;
                if differences.keys(*part, *dir).binary_search(&name.key()).is_err() {
                    return Err(not_found(name));
                }
                let tree = self.dataset(pair.dataset)?.frozen(pair.version(*part));
                let entry = tree.lookup(*dir, name)?.ok_or_else(|| not_found(name))?;
                self.diff_node(*pair, *part, &tree, &entry)
            }
            _ => Err(not_found(name)),
        }
    }

    /// `A..B` in `@diff` of a live directory.
    fn lookup_pair(&self, by: Caller, id: DatasetId, dir: Ino, name: &Name) -> Result<Node> {
        let dataset = self.dataset(id)?;
        dataset.seal_to_look()?;
        let text = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
        let (before, after) = VersionSpec::parse_two(text).ok_or_else(|| not_found(name))?;
        let resolve = |spec| {
            dataset.resolve(spec).inspect_err(|error| {
                if matches!(error, Error::Ambiguous { .. }) {
                    log::warn!("{error}");
                }
            })
        };
        let pair = Pair { dataset: id, before: resolve(&before)?, after: resolve(&after)? };
        let mut dirs = [None; 2];
        for (found, version) in dirs.iter_mut().zip([pair.before, pair.after]) {
            let tree = dataset.frozen(version);
            *found = self.dir_at(&dataset, dir, &tree)?;
            if let Some(dir) = *found
                && way_to(&tree, dir, by)? == Way::Barred
            {
                return Err(Error::Barred(name.to_string()));
            }
        }
        if dirs == [None; 2] { Err(not_found(name)) } else { Ok(Node::Diff(pair, dirs)) }
    }

    /// The node of an entry of a tree of differences.
    pub(super) fn diff_node(&self, pair: Pair, part: Part, tree: &Frozen, entry: &Dirent) -> Result<Node> {
        match entry.kind {
            Kind::Dir => Ok(Node::DiffDir(pair, part, Some(entry.ino))),
            _ => self.frozen_node(pair.dataset, tree, entry),
        }
    }

    /// `summary.json`, of what `by` could list in the versions.
    pub(super) fn diff_summary(
        &self,
        by: Caller,
        pair: Pair,
        dirs: [Option<Ino>; 2],
    ) -> Result<Arc<DiffSummary>> {
        let by = if by.uid == 0 { Caller::default() } else { by };
        let key = (pair, dirs, by);
        if let Some((of, summary)) = &*self.diffs.summary.lock()
            && *of == key
        {
            return Ok(summary.clone());
        }
        let differences = self.differences(pair)?;
        let summary = Arc::new(DiffSummary::of(differences, &*self.dataset(pair.dataset)?, key)?);
        *self.diffs.summary.lock() = Some((key, summary.clone()));
        Ok(summary)
    }
}
