//! Node numbers, and what they stand for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use crate::dataset::meta::About;
use crate::model::{DatasetId, Ino, Kind, Name, VersionNo};
use crate::store::dvc::Md5;

use super::diffs::{Pair, Part};

/// A node as the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

const SPECIAL: u64 = 1 << 63;
const INO_BITS: u32 = 40;

/// What there is of versions has a number that says what it is, as long as that fits; there can be millions,
/// and a table of them would be most of the memory in use.
const DIRECT: u64 = 1 << 62;
const DIRECT_DIR: u64 = 1 << 61;
const DIRECT_DATASET_BITS: u32 = 9;
const DIRECT_VERSION_BITS: u32 = 26;
const DIRECT_INO_BITS: u32 = 26;
/// In the place of an inode that stands for the version itself, in `@history`: no inode has it.
const DIRECT_HISTORY: Ino = Ino(0);

impl NodeId {
    /// What is mounted.
    pub const ROOT: NodeId = NodeId(1);

    /// The node of a live inode.
    pub fn live(dataset: DatasetId, ino: Ino) -> NodeId {
        NodeId(u64::from(dataset.0) << INO_BITS | ino.0)
    }

    /// The number of something of a version, where it fits.
    fn direct(node: &Node) -> Option<NodeId> {
        let (is_dir, dataset, version, ino) = match *node {
            Node::FrozenDir(dataset, version, ino) => (DIRECT_DIR, dataset, version, ino),
            Node::Frozen(dataset, version, ino) => (0, dataset, version, ino),
            Node::HistoryLink(dataset, version) => (0, dataset, version, DIRECT_HISTORY),
            _ => return None,
        };
        let fits = u64::from(dataset.0) >> DIRECT_DATASET_BITS == 0
            && version.0 >> DIRECT_VERSION_BITS == 0
            && ino.0 >> DIRECT_INO_BITS == 0;
        let dataset = u64::from(dataset.0) << (DIRECT_VERSION_BITS + DIRECT_INO_BITS);
        fits.then_some(NodeId(SPECIAL | DIRECT | is_dir | dataset | version.0 << DIRECT_INO_BITS | ino.0))
    }

    fn is_direct(self) -> bool {
        self.0 & (SPECIAL | DIRECT) == SPECIAL | DIRECT
    }

    /// What such a number stands for.
    fn as_direct(self) -> Option<Node> {
        let part = |above: u32, bits: u32| self.0 >> above & ((1 << bits) - 1);
        let dataset = u32::try_from(part(DIRECT_VERSION_BITS + DIRECT_INO_BITS, DIRECT_DATASET_BITS)).ok()?;
        let version = VersionNo(part(DIRECT_INO_BITS, DIRECT_VERSION_BITS));
        let (dataset, ino) = (DatasetId(dataset), Ino(part(0, DIRECT_INO_BITS)));
        self.is_direct().then_some(match self.0 & DIRECT_DIR {
            0 if ino == DIRECT_HISTORY => Node::HistoryLink(dataset, version),
            0 => Node::Frozen(dataset, version, ino),
            _ => Node::FrozenDir(dataset, version, ino),
        })
    }

    /// The live inode a number stands for, if it is of that form.
    fn as_live(self) -> Option<(DatasetId, Ino)> {
        let dataset = u32::try_from(self.0 >> INO_BITS).ok().filter(|d| *d > 0)?;
        (self.0 & SPECIAL == 0).then_some((DatasetId(dataset), Ino(self.0 & ((1 << INO_BITS) - 1))))
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// The list of datasets.
    Top,
    /// An inode of a live tree.
    Live(DatasetId, Ino),
    /// A directory of a version.
    FrozenDir(DatasetId, VersionNo, Ino),
    /// Anything else of a version, by the version that recorded it: equal files of several versions
    /// are one node, and share what the kernel has cached.
    Frozen(DatasetId, VersionNo, Ino),
    /// Something of a version of which it is not known what it holds, as what would tell is lost.
    Lost(DatasetId, VersionNo, Ino, Kind),
    /// `@history` of a live directory.
    History(DatasetId, Ino),
    /// `@history/log.jsonl`.
    HistoryLog(DatasetId, Ino),
    /// `@history/vN`.
    HistoryLink(DatasetId, VersionNo),
    /// `@latest` or `@prev`, by the version it stands for now.
    AtLink(DatasetId, VersionNo),
    /// `@meta` of a live directory, by the version it leads to.
    MetaLink(DatasetId, VersionNo),
    /// `@meta` of a directory of a version.
    Meta(DatasetId, VersionNo, Ino),
    /// A text in it, and the state of what changes it though versions do not: [`About::state`].
    MetaText(DatasetId, VersionNo, Ino, About, u64),
    /// `@tag` of a live directory.
    Tags(DatasetId, Ino),
    /// `@tag/NAME`: a directory of a version, by the change of tags that gave it the name. It is a node of its
    /// own, since the kernel holds a directory that is removed for gone whatever other names it has.
    Tagged(DatasetId, u64, VersionNo, Ino),
    /// `@hash` of a live directory.
    Hash(DatasetId, Ino),
    /// `@diff` of a live directory.
    Diffs(DatasetId, Ino),
    /// `@diff/A..B`: two versions, and the directory in each, if it was there.
    Diff(Pair, [Option<Ino>; 2]),
    /// `summary.json` in that, by its size for who looked it up.
    DiffSummary(Pair, [Option<Ino>; 2], u64),
    /// A directory of one of the trees in that; `None` where the version has none.
    DiffDir(Pair, Part, Option<Ino>),
    /// `@file` or something below it, by the path from the dataset's root.
    File(DatasetId, Vec<Name>),
    /// `@dvc` or a directory below it.
    Dvc(DatasetId, DvcDir),
    /// A file below `@dvc`, by the version that recorded it. It is a node of its own, as it is not what it is
    /// in that version: it has no name there, and another mode.
    DvcFile(DatasetId, VersionNo, Ino),
    /// The list of a directory's files below `@dvc`, by its MD5.
    DvcList(DatasetId, Md5),
}

/// A directory of `@dvc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DvcDir {
    /// `@dvc`.
    Root,
    /// `@dvc/files`.
    Files,
    /// `@dvc/files/md5`.
    Md5,
    /// `@dvc/files/md5/XX`.
    Below(u8),
}

impl Node {
    /// The directory of a version that this shows, if it shows one.
    pub fn frozen_dir(&self) -> Option<(DatasetId, VersionNo, Ino)> {
        match self {
            Node::FrozenDir(id, version, dir) | Node::Tagged(id, _, version, dir) => {
                Some((*id, *version, *dir))
            }
            _ => None,
        }
    }
}

/// Marks numbers that follow from what the node is.
const LASTING: u64 = 1 << 60;

/// The number of a node that is to have the same when it is looked up again, unless another has that.
fn lasting(node: &Node) -> Option<u64> {
    if !matches!(node, Node::Diff(..) | Node::DiffSummary(..) | Node::DiffDir(..)) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    Some(hasher.finish() & (LASTING - 1) | LASTING)
}

/// The numbers given out to nodes that have none of their own.
#[derive(Debug, Default)]
pub struct NodeTable {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers: HashMap<Node, u64>,
    nodes: HashMap<u64, (Node, u64)>,
    last: u64,
}

impl NodeTable {
    /// The number of a node, counted as looked up once more.
    pub fn number(&self, node: Node) -> NodeId {
        match node {
            Node::Top => NodeId::ROOT,
            Node::Live(dataset, ino) => NodeId::live(dataset, ino),
            special => {
                if let Some(direct) = NodeId::direct(&special) {
                    return direct;
                }
                let mut inner = self.inner.lock();
                let number = match (inner.numbers.get(&special), lasting(&special)) {
                    (Some(known), _) => *known,
                    (None, Some(mut number)) => {
                        while inner.nodes.contains_key(&number) {
                            number = (number + 1) | LASTING;
                        }
                        number
                    }
                    (None, None) => {
                        inner.last += 1;
                        inner.last
                    }
                };
                inner.numbers.insert(special.clone(), number);
                inner.nodes.entry(number).or_insert((special, 0)).1 += 1;
                NodeId(number | SPECIAL)
            }
        }
    }

    /// The number of something of a version, if the kernel may know it by one.
    pub fn known(&self, node: &Node) -> Option<NodeId> {
        let counted = || self.inner.lock().numbers.get(node).map(|number| NodeId(number | SPECIAL));
        NodeId::direct(node).or_else(counted)
    }

    /// What a number stands for.
    pub fn node(&self, id: NodeId) -> Option<Node> {
        if let Some((dataset, ino)) = id.as_live() {
            return Some(Node::Live(dataset, ino));
        }
        if id.is_direct() {
            return id.as_direct();
        }
        self.inner.lock().nodes.get(&(id.0 & !SPECIAL)).map(|(node, _)| node.clone())
    }

    /// Takes back `count` look-ups; without any left, the number is free.
    pub fn forget(&self, id: NodeId, count: u64) {
        if id.0 & SPECIAL == 0 || id.is_direct() {
            return;
        }
        let mut inner = self.inner.lock();
        let number = id.0 & !SPECIAL;
        if let Some((_, lookups)) = inner.nodes.get_mut(&number) {
            *lookups = lookups.saturating_sub(count);
            if *lookups == 0
                && let Some((node, _)) = inner.nodes.remove(&number)
            {
                inner.numbers.remove(&node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_live_inodes_and_of_versions_are_permanent_and_others_are_counted() {
        let table = NodeTable::default();
        let live = table.number(Node::Live(DatasetId(3), Ino(7)));
        assert_eq!(live, NodeId(3 << 40 | 7));
        assert_eq!(table.node(live), Some(Node::Live(DatasetId(3), Ino(7))));
        let largest = (DatasetId((1 << 9) - 1), VersionNo((1 << 26) - 1), Ino((1 << 26) - 1));
        for (dataset, version, ino) in [(DatasetId(3), VersionNo(2), Ino(7)), largest] {
            for node in [
                Node::Frozen(dataset, version, ino),
                Node::FrozenDir(dataset, version, ino),
                Node::HistoryLink(dataset, version),
            ] {
                let number = table.number(node.clone());
                table.forget(number, 1);
                assert_eq!(table.node(number), Some(node));
            }
        }
        let frozen = Node::Frozen(DatasetId(3), VersionNo(2), Ino(1 << 26));
        let first = table.number(frozen.clone());
        assert_eq!(table.number(frozen.clone()), first);
        table.forget(first, 1);
        assert_eq!(table.node(first), Some(frozen.clone()));
        table.forget(first, 1);
        assert_eq!(table.node(first), None);
        assert_ne!(table.number(frozen), first);
    }
}
