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

use crate::dataset::{
    Caller, Change, ChangeJson, ChangeKind, Climb, Dataset, Error, Frozen, Result, Stat, renamed_above,
};
use crate::model::{DatasetId, Dirent, Ino, Kind, Name, NameKey, Place, VersionNo, VersionSpec};

use super::fs::{FileSystem, not_found};
use super::nodes::{Node, NodeId};
use super::way::{Way, can_list, way_to};

/// Most paths that may differ: what is held of them takes some hundred MiB.
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
    changes: Vec<Change>,
    /// For each part, the directories that are shown, each with the keys of the names shown in it, ordered.
    shown: [HashMap<Ino, Vec<NameKey>>; 4],
}

impl Differences {
    /// # Errors
    /// [`Error::TooLarge`] where there are more than can be held.
    fn compute(dataset: &Dataset, pair: Pair) -> Result<Differences> {
        let changes = dataset.diff_up_to(pair.before, pair.after, CHANGES_MAX)?;
        let Some(changes) = changes else {
            log::warn!(
                "{}: more than {CHANGES_MAX} paths differ between {} and {}: see `strata diff`",
                dataset.name(),
                pair.before,
                pair.after
            );
            return Err(Error::TooLarge);
        };
        let (before, after) = (dataset.frozen(pair.before), dataset.frozen(pair.after));
        let mut shown: [HashMap<Ino, Vec<NameKey>>; 4] = Default::default();
        for change in &changes {
            let modified = match change.change {
                ChangeKind::Modified => true,
                ChangeKind::Renamed => is_rewritten(&before, &after, change)?,
                _ => false,
            };
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

/// Whether what was renamed has other content too.
fn is_rewritten(before: &Frozen, after: &Frozen, change: &Change) -> Result<bool> {
    let body = |tree: &Frozen, place: Option<Place>| -> Result<_> {
        let entry = place.map(|place| tree.entry(place.dir, place.key)).transpose()?.flatten();
        entry.map(|entry| tree.inode(entry.ino).map(|(_, inode)| inode.body)).transpose()
    };
    Ok(body(before, change.places.0)? != body(after, change.places.1)?)
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

/// A summary, for whom it was made of what.
type Summary = ((Pair, [Option<Ino>; 2], Caller), Arc<Vec<u8>>);

/// Differences that were looked at lately.
#[derive(Debug)]
pub struct Diffs {
    kept: Mutex<LruCache<Pair, Arc<Cell>>>,
    summary: Mutex<Option<Summary>>,
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
        cell.paths.store(made.changes.len(), Ordering::Relaxed);
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
                        let size = self.diff_summary(by, pair, dirs)?.len() as u64;
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

    /// The text of `summary.json`, of what `by` could list in the versions.
    pub(super) fn diff_summary(
        &self,
        by: Caller,
        pair: Pair,
        dirs: [Option<Ino>; 2],
    ) -> Result<Arc<Vec<u8>>> {
        let by = if by.uid == 0 { Caller::default() } else { by };
        let key = (pair, dirs, by);
        if let Some((of, text)) = &*self.diffs.summary.lock()
            && *of == key
        {
            return Ok(text.clone());
        }
        let differences = self.differences(pair)?;
        let dataset = self.dataset(pair.dataset)?;
        let trees = [dataset.frozen(pair.before), dataset.frozen(pair.after)];
        let mut above = [None, None];
        for ((above, dir), tree) in above.iter_mut().zip(dirs).zip(&trees) {
            *above = dir.map(|dir| tree.dir_path(dir)).transpose()?.flatten();
        }
        // What a directory above took along is told of this one alone: the changes are of the whole dataset.
        let above_renamed = match &above[1] {
            Some(path) if differences.changes.iter().all(|change| change.path != *path) => {
                renamed_above(&trees[0], &trees[1], path)?
            }
            _ => None,
        };
        let is_below =
            |side: usize, path: &[Name]| above[side].as_ref().is_some_and(|above| path.starts_with(above));
        let mut known: [HashMap<Ino, bool>; 2] = Default::default();
        let mut sees = |side: usize, place: Option<Place>| -> Result<bool> {
            let Some(Place { dir, .. }) = place else { return Ok(true) };
            if by.uid != 0 && !known[side].contains_key(&dir) {
                known[side].insert(dir, can_list(&trees[side], dir, by)?);
            }
            Ok(known[side].get(&dir).copied().unwrap_or(true))
        };
        let (name, before, after) = (dataset.name(), pair.before, pair.after);
        let name = serde_json::Value::from(name.as_str());
        let mut text =
            format!("{{\"dataset\":{name},\"before\":\"{before}\",\"after\":\"{after}\",\"changes\":[")
                .into_bytes();
        let mut stat = Stat::default();
        let mut comma: &[u8] = b"";
        for change in above_renamed.iter().chain(&differences.changes) {
            let side = usize::from(change.change != ChangeKind::Removed);
            let below =
                is_below(side, &change.path) || change.from.as_ref().is_some_and(|from| is_below(0, from));
            if !below || !sees(0, change.places.0)? || !sees(1, change.places.1)? {
                continue;
            }
            stat.add(change.change, change.sizes);
            let (path, from) = (bytes(&change.path), change.from.as_deref().map(bytes));
            let what = (change.kind, change.change);
            let json = ChangeJson::new((&path, from.as_deref()), what, change.sizes, change.modes)
                .with(change.kind_before, change.attributes.iter().copied());
            text.extend(std::mem::replace(&mut comma, b",\n"));
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut text, &json);
        }
        text.extend(b"],\"stat\":");
        let _ = serde_json::to_writer(&mut text, &stat);
        text.extend(b"}\n");
        let text = Arc::new(text);
        *self.diffs.summary.lock() = Some((key, text.clone()));
        Ok(text)
    }
}

fn bytes(path: &[Name]) -> Vec<u8> {
    path.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
}
