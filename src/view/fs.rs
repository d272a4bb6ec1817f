//! The file system: looking up nodes and their attributes.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use crate::dataset::{Attr, Caller, Dataset, Error, Frozen, Invalid, Repo, Result};
use crate::model::{
    AtName, Content, DatasetId, Dirent, Ino, Inode, Kind, Name, Timestamp, VersionNo, VersionSet, VersionSpec,
};

use crate::store::error::chain;

use super::copies::{Copies, LARGE};
use super::diffs::Diffs;
use super::handles::Handles;
use super::meta::META_NAME;
use super::nodes::{Node, NodeId, NodeTable};
use super::special::{LogText, history_target, meta_target};
use super::visited::Visited;
use super::way::Way;

/// Inodes of versions kept decoded: about 20 MB, in which a data set of so many files is read in any order
/// without asking the index for each.
const INODE_CACHE: usize = 64 * 1024;
/// Paths below `@file` that are remembered.
const SIGHTED_CACHE: usize = 256;

/// What is mounted.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All datasets, as directories.
    Store,
    /// One dataset.
    Dataset(Arc<Dataset>),
    /// One version of a dataset.
    Pinned(Arc<Dataset>, VersionNo),
}

/// How long what was said of a name and its attributes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the kernel is told otherwise: it passes on all changes itself.
    UntilTold,
    /// For ever.
    Immutable,
    /// Not at all.
    Momentary,
}

/// Whether an entry of the `@history` of a directory stays, but for prunes, which the kernel is told of. Below the top, a
/// rename takes a directory to another history, and a prune shows its changes at other versions.
pub(super) fn is_history_fixed(dir: Ino) -> bool {
    dir == Ino::ROOT
}

/// A node that was looked up.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, counted as looked up.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
    /// How long the attributes hold.
    pub lifetime: Lifetime,
    /// How long the name stands for the node.
    pub name_lifetime: Lifetime,
}

/// Names of versions in directories of live trees.
type Shown = BTreeSet<(DatasetId, VersionNo, Ino, Name)>;

/// A mounted store, dataset or version.
#[derive(Debug)]
pub struct FileSystem {
    pub(super) repo: Arc<Repo>,
    scope: Scope,
    read_only: bool,
    /// Whether other users come in.
    pub(super) shared: bool,
    pub(super) nodes: NodeTable,
    pub(super) handles: Handles,
    pub(super) visited: Visited,
    pub(super) inodes: Mutex<LruCache<(DatasetId, VersionNo, Ino), Arc<Inode>>>,
    pub(super) log_text: Mutex<Option<LogText>>,
    pub(super) diffs: Diffs,
    /// Of paths below `@file`, a version in which somebody saw what is there.
    pub(super) sighted: Mutex<LruCache<(DatasetId, Vec<Name>), VersionNo>>,
    /// Paths below `@file` that were no directory in any version up to this one.
    pub(super) never_dirs: Mutex<LruCache<(DatasetId, Vec<Name>), VersionNo>>,
    /// Names of versions that the kernel may have kept.
    pub(super) shown: Mutex<Shown>,
    /// Plain copies of large files, if wanted.
    pub(super) copies: Option<Copies>,
    /// When the list of datasets last changed.
    pub(super) top_changed: RwLock<Timestamp>,
}

impl FileSystem {
    /// The file system that shows `scope`. `read_only`: it refuses every change.
    pub fn new(repo: Arc<Repo>, scope: Scope, read_only: bool) -> FileSystem {
        let capacity = |entries| NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN);
        FileSystem {
            repo,
            scope,
            read_only,
            shared: false,
            nodes: NodeTable::default(),
            handles: Handles::default(),
            visited: Visited::default(),
            inodes: Mutex::new(LruCache::new(capacity(INODE_CACHE))),
            log_text: Mutex::new(None),
            diffs: Diffs::default(),
            sighted: Mutex::new(LruCache::new(capacity(SIGHTED_CACHE))),
            never_dirs: Mutex::new(LruCache::new(capacity(SIGHTED_CACHE))),
            shown: Mutex::default(),
            copies: None,
            top_changed: RwLock::new(Timestamp::now()),
        }
    }

    /// The same for a mount that other users come into: arguments of commands are not shown.
    pub fn shared(self, shared: bool) -> FileSystem {
        FileSystem { shared, ..self }
    }

    /// The same with plain copies of large files of versions.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn with_copies(self) -> io::Result<FileSystem> {
        let copies = Some(Copies::start(self.repo.clone())?);
        Ok(FileSystem { copies, ..self })
    }

    /// The plain copies of large files, if there are to be any.
    pub fn copies(&self) -> Option<&Copies> {
        self.copies.as_ref()
    }

    /// The copies, if a file of this content is large enough for one.
    pub(super) fn copies_for(&self, content: &Content) -> Option<&Copies> {
        self.copies.as_ref().filter(|_| content.size() >= LARGE)
    }

    /// What is mounted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether nothing in this mount ever changes.
    pub fn is_pinned(&self) -> bool {
        matches!(self.scope, Scope::Pinned(..))
    }

    /// What a number stands for.
    pub(super) fn node(&self, id: NodeId) -> Result<Node> {
        if id == NodeId::ROOT {
            return Ok(match &self.scope {
                Scope::Store => Node::Top,
                Scope::Dataset(dataset) => Node::Live(dataset.id(), Ino::ROOT),
                Scope::Pinned(dataset, version) => Node::FrozenDir(dataset.id(), *version, Ino::ROOT),
            });
        }
        self.nodes.node(id).ok_or(Error::Stale)
    }

    /// The number of a node, counted as looked up.
    pub(super) fn number(&self, node: Node) -> NodeId {
        match (&self.scope, &node) {
            (Scope::Dataset(dataset), Node::Live(id, Ino::ROOT)) if *id == dataset.id() => NodeId::ROOT,
            (Scope::Pinned(dataset, version), Node::FrozenDir(id, of, Ino::ROOT))
                if *id == dataset.id() && of == version =>
            {
                NodeId::ROOT
            }
            _ => self.nodes.number(node),
        }
    }

    pub(super) fn dataset(&self, id: DatasetId) -> Result<Arc<Dataset>> {
        match &self.scope {
            Scope::Dataset(dataset) | Scope::Pinned(dataset, _) if dataset.id() == id => Ok(dataset.clone()),
            _ => self.repo.by_id(id).ok_or(Error::Stale),
        }
    }

    pub(super) fn refuse_read_only(&self) -> Result<()> {
        if self.read_only { Err(Error::Immutable("this read-only mount".into())) } else { Ok(()) }
    }

    /// Notes that the kernel keeps a name of a version, so that it can be told when the version goes; false
    /// where there are too many to be kept in mind.
    fn note_shown(&self, id: DatasetId, version: VersionNo, dir: Ino, name: &Name) -> bool {
        /// Names kept in mind: some 100 bytes each.
        const SHOWN_MAX: usize = 50_000;
        let mut shown = self.shown.lock();
        let full = shown.len() >= SHOWN_MAX;
        let known = shown.contains(&(id, version, dir, name.clone()));
        if !full && !known {
            shown.insert((id, version, dir, name.clone()));
        }
        known || !full
    }

    /// What the kernel is to forget when these versions are there no more.
    pub fn forget_versions(&self, id: DatasetId, versions: &VersionSet) -> Invalid {
        *self.log_text.lock() = None;
        self.visited.forget(id, versions);
        let mut invalid = Invalid::default();
        self.shown.lock().retain(|(of, version, dir, name)| {
            let goes = *of == id && versions.contains(*version);
            if goes {
                invalid.names.insert((*dir, name.clone()));
            }
            !goes
        });
        invalid
    }

    /// Contents of files that are open by way of a version: whoever has them open reads on.
    pub fn open_contents(&self) -> Vec<Content> {
        self.handles.contents()
    }

    /// The kernel forgets `count` look-ups of a node.
    pub fn forget(&self, id: NodeId, count: u64) {
        self.nodes.forget(id, count);
    }

    /// Looks up a name for `by`.
    pub fn lookup(&self, by: Caller, parent: NodeId, name: &[u8]) -> Result<Entry> {
        let name = Name::new(name)?;
        let parent = self.node(parent)?;
        let node = match &parent {
            Node::Top => {
                let dataset = self.repo.get(&name.to_string()).ok_or_else(|| not_found(&name))?;
                Node::Live(dataset.id(), Ino::ROOT)
            }
            Node::Live(id, dir) => return self.lookup_live(by, *id, *dir, &name),
            Node::FrozenDir(id, version, dir) | Node::Tagged(id, _, version, dir) => {
                let dataset = self.dataset(*id)?;
                dataset.check_kept(*version)?;
                let tree = dataset.frozen(*version);
                match tree.lookup(*dir, &name)? {
                    Some(entry) => self.frozen_node(*id, &tree, &entry)?,
                    None if name.as_bytes() == META_NAME => Node::Meta(*id, *version, *dir),
                    None => return Err(not_found(&name)),
                }
            }
            special => {
                let node = self.lookup_special(by, special, &name)?;
                let fixed = match parent {
                    Node::History(_, dir) => is_history_fixed(dir) && matches!(node, Node::HistoryLink(..)),
                    parent => matches!(parent, Node::DiffDir(..)),
                };
                let entry = self.entry(node)?;
                let name_lifetime = if fixed { entry.lifetime } else { Lifetime::Momentary };
                return Ok(Entry { name_lifetime, ..entry });
            }
        };
        self.entry(node)
    }

    fn lookup_live(&self, by: Caller, id: DatasetId, dir: Ino, name: &Name) -> Result<Entry> {
        let dataset = self.dataset(id)?;
        let found = dataset.read(|live| match live.lookup(dir, name)? {
            Some(ino) => Ok(Some((ino, live.attr(ino)?))),
            None => Ok(None),
        })?;
        if let Some((ino, attr)) = found {
            let node = self.number(Node::Live(id, ino));
            let told = Lifetime::UntilTold;
            return Ok(Entry { node, attr, lifetime: told, name_lifetime: told });
        }
        let Some(at) = AtName::parse(name.as_bytes()) else {
            let spec = AtName::parse_tag(name.as_bytes()).ok_or_else(|| not_found(name))?;
            let version = dataset.resolve(&spec).map_err(|error| match error {
                Error::NoVersion { .. } => not_found(name),
                other => other,
            })?;
            let entry = self.entry(Node::AtLink(id, version))?;
            return Ok(Entry { name_lifetime: Lifetime::Momentary, ..entry });
        };
        let (node, way) = self.lookup_at(by, &dataset, dir, &at, name)?;
        let version = node.frozen_dir().map(|(_, version, _)| version);
        let mut entry = self.entry(node)?;
        if way < Way::Open || !matches!(at, AtName::Version(VersionSpec::Number { .. })) {
            // What other names stand for may change: with the next version, by the passing of time, or
            // when a hash turns up that begins with the same digits. And not everybody may come this way.
            entry.name_lifetime = Lifetime::Momentary;
        } else if let Some(version) = version
            && !self.note_shown(id, version, dir, name)
        {
            entry.name_lifetime = Lifetime::Momentary;
        }
        Ok(entry)
    }

    /// The node of an entry of a version.
    pub(super) fn frozen_node(&self, id: DatasetId, tree: &Frozen, entry: &Dirent) -> Result<Node> {
        if entry.kind == Kind::Dir {
            return Ok(Node::FrozenDir(id, tree.version(), entry.ino));
        }
        self.visited.note(id, tree.version());
        let (recorded, inode) = match tree.certain_inode(entry.ino) {
            Ok(found) => found,
            Err(error) if error.is_damage() => {
                log::error!("{} of {}: {}", entry.name, tree.version(), chain(&error));
                return Ok(Node::Lost(id, tree.version(), entry.ino, entry.kind));
            }
            Err(error) => return Err(error),
        };
        self.inodes.lock().put((id, recorded, entry.ino), Arc::new(inode));
        Ok(Node::Frozen(id, recorded, entry.ino))
    }

    /// An inode of a version, by the version that recorded it.
    pub(super) fn frozen_inode(&self, id: DatasetId, recorded: VersionNo, ino: Ino) -> Result<Arc<Inode>> {
        if let Some(inode) = self.inodes.lock().get(&(id, recorded, ino)) {
            return Ok(inode.clone());
        }
        let inode = Arc::new(self.dataset(id)?.frozen(recorded).inode(ino)?.1);
        self.inodes.lock().put((id, recorded, ino), inode.clone());
        Ok(inode)
    }

    /// Looks up a node: numbers it and takes its attributes.
    pub(super) fn entry(&self, node: Node) -> Result<Entry> {
        let attr = self.attr(&node)?;
        let lifetime = lifetime(&node);
        Ok(Entry { node: self.number(node), attr, lifetime, name_lifetime: lifetime })
    }

    /// The attributes of a node.
    pub fn getattr(&self, id: NodeId) -> Result<(Attr, Lifetime)> {
        let node = self.node(id)?;
        Ok((self.attr(&node)?, lifetime(&node)))
    }

    pub(super) fn attr(&self, node: &Node) -> Result<Attr> {
        match node {
            Node::Top => Ok(self.top_attr()),
            Node::Live(id, ino) => self.dataset(*id)?.read(|live| live.attr(*ino)),
            Node::FrozenDir(id, version, ino) | Node::Tagged(id, _, version, ino) => {
                Ok(Attr::new(self.repo.objects(), &self.dataset(*id)?.frozen(*version).inode(*ino)?.1))
            }
            Node::Frozen(id, recorded, ino) => {
                Ok(Attr::new(self.repo.objects(), &*self.frozen_inode(*id, *recorded, *ino)?))
            }
            Node::Lost(id, version, ino, kind) => match self.dataset(*id)?.frozen(*version).inode(*ino) {
                Ok((_, inode)) => Ok(Attr::new(self.repo.objects(), &inode)),
                Err(_) => Ok(unknown(*kind)),
            },
            Node::DiffDir(pair, part, Some(dir)) => {
                let tree = self.dataset(pair.dataset)?.frozen(pair.version(*part));
                Ok(Attr::new(self.repo.objects(), &tree.inode(*dir)?.1))
            }
            special => self.special_attr(special),
        }
    }

    /// Notes that a dataset was made by other means; whether it is seen here.
    pub fn note_dataset_made(&self) -> bool {
        *self.top_changed.write() = Timestamp::now();
        matches!(self.scope, Scope::Store)
    }

    fn top_attr(&self) -> Attr {
        let changed = *self.top_changed.read();
        Attr {
            kind: Kind::Dir,
            size: 0,
            data: 0,
            mode: 0o755,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            nlink: 2 + self.repo.datasets().len() as u32,
            rdev: 0,
            atime: changed,
            mtime: changed,
            ctime: changed,
        }
    }

    /// A symbolic link's target.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>> {
        match self.node(id)? {
            Node::Live(id, ino) => Ok(self.dataset(id)?.read(|live| live.symlink(ino))?.into_vec()),
            Node::Frozen(id, recorded, ino) => match &self.frozen_inode(id, recorded, ino)?.body {
                crate::model::Body::Symlink(target) => Ok(target.to_vec()),
                _ => Err(Error::Invalid("not a symbolic link".into())),
            },
            Node::HistoryLink(_, version) => Ok(history_target(version).into_bytes()),
            Node::AtLink(_, version) => Ok(format!("@{version}").into_bytes()),
            Node::MetaLink(_, version) => Ok(meta_target(version).into_bytes()),
            Node::Lost(_, version, ..) => Err(lost(version)),
            _ => Err(Error::Invalid("not a symbolic link".into())),
        }
    }

    /// Free space and inodes: what the store's disk has, or what a dataset's quota leaves of it.
    pub fn statfs(&self, id: NodeId) -> Result<rustix::fs::StatVfs> {
        let mut space = self.repo.store().statvfs()?;
        let dataset = match self.node(id)? {
            Node::Live(id, _) => self.dataset(id)?,
            _ => return Ok(space),
        };
        if let Some(quota) = dataset.quota() {
            let (used, block) = (dataset.used()?, space.f_frsize.max(1));
            let free = quota.saturating_sub(used) / block;
            space.f_bfree = space.f_bfree.min(free);
            space.f_bavail = space.f_bavail.min(free);
            space.f_blocks = used.div_ceil(block) + space.f_bfree;
        }
        Ok(space)
    }
}

/// That it is not known what something of a version holds.
pub(super) fn lost(version: VersionNo) -> Error {
    Error::Lost(format!("what this was in {version}"))
}

/// The attributes of something of which only the kind is known.
pub(super) fn unknown(kind: Kind) -> Attr {
    let time = Timestamp(0);
    let (nlink, rdev) = (1, 0);
    Attr {
        kind,
        size: 0,
        data: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        nlink,
        rdev,
        atime: time,
        mtime: time,
        ctime: time,
    }
}

pub(super) fn not_found(name: &Name) -> Error {
    Error::NotFound(name.to_string())
}

fn lifetime(node: &Node) -> Lifetime {
    match node {
        Node::Top | Node::Live(..) => Lifetime::UntilTold,
        Node::FrozenDir(..)
        | Node::Frozen(..)
        | Node::Lost(..)
        | Node::HistoryLink(..)
        | Node::AtLink(..)
        | Node::MetaLink(..)
        | Node::DiffDir(_, _, Some(_)) => Lifetime::Immutable,
        _ => Lifetime::Momentary,
    }
}
