//! The live tree of one dataset: what its directory shows right now.
//!
//! Directories and inodes are loaded from the index when they are first touched and kept in memory;
//! clean ones may be dropped again ([`Live::trim`]) and are loaded anew when asked for. Changes are made
//! here first and noted in [`Dirty`] sets, from which a version (or a pending record) is made.
//!
//! Invariants:
//! - What is not noted as dirty is as [`Live::head`] has it.
//! - A file made and not yet closed is *held*: it is seen in its directory but is part of no version,
//!   hash or pending record until its first close, fsync, rename or link.
//! - An inode whose last name went away stays until its last handle is closed, and is never recorded.
//!
//! The tree does not know when versions are cut ([`crate::dataset::Dataset`] does), nor about handles,
//! permissions (the kernel checks them) or versions other than its head.

mod attrs;
mod count;
mod dirty;
mod names;
mod rename;
mod reset;
mod take_in;
mod whole;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::{
    Body, Content, DatasetId, Ino, Inode, Kind, Name, NameKey, Op, Place, Span, Timestamp, TreeHash,
    VersionId, VersionNo, View,
};
use crate::store::{Objects, Store};

use super::climb::Climb;
use super::error::{Error, Result};
use super::open_file::OpenFile;
use super::quota::Usage;
use super::trie::{Slot, Trie};

pub use attrs::{
    Attr, COMPUTED_XATTRS, SetAttr, XattrSet, decode_xattrs, encode_xattrs, is_missed_xattr,
    is_settable_xattr, is_supported_xattr,
};
pub use dirty::{Dirty, child_id};
pub use names::NewInode;
pub use rename::RenameMode;
pub use reset::{Invalid, Reopened};
pub use whole::Whole;

/// Entries read from the index at a time when a directory is loaded.
const LOAD_BATCH: usize = 4096;
/// Entries of directories kept in memory when clean inodes are dropped (about 130 bytes each); beyond, those
/// of clean directories are dropped too.
const ENTRIES_MAX: usize = 400_000;
/// Inodes kept in memory before clean ones are dropped (about 250 bytes each).
pub const NODES_MAX: usize = 200_000;
/// As many names of a directory are looked up one by one before all of its entries are loaded: a directory may have
/// a million, of which somebody wants one.
const ALONE: u8 = if cfg!(test) { 3 } else { 64 };

/// The newest version, which the live tree is a change against.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its number; 0 before the first.
    pub number: VersionNo,
    /// Its id.
    pub id: VersionId,
    /// Its snapshot id, if it is known yet.
    pub snapshot: Option<TreeHash>,
    /// When it was made.
    pub time: Timestamp,
    /// All rollbacks so far: the version made and the version restored.
    pub rollbacks: Vec<(VersionNo, VersionNo)>,
    /// What it sees of the index.
    pub view: View,
}

/// An inode in memory.
#[derive(Debug)]
struct Node {
    inode: Inode,
    /// A directory's entries, once loaded.
    entries: Option<Box<Entries>>,
    /// A directory's hash, as long as it holds; boxed, since there are far more files.
    tree: Option<Box<TreeHash>>,
    /// Shared state of a file's open handles.
    file: Option<Arc<OpenFile>>,
    /// Names looked up in a directory whose entries are not loaded.
    asked: u8,
    /// Number of open handles.
    opens: u32,
    held: bool,
    unlinked: bool,
    /// Whether a version whose record is lost may have changed it: what it holds is neither shown nor
    /// recorded again.
    uncertain: bool,
}

impl Node {
    fn new(inode: Inode) -> Node {
        let (held, unlinked, uncertain) = (false, false, false);
        Node { inode, entries: None, tree: None, file: None, asked: 0, opens: 0, held, unlinked, uncertain }
    }

    /// The bytes of a file as the tree has it; none of anything else.
    fn file_size(&self) -> u64 {
        self.inode.content().map_or(0, Content::size)
    }

    /// Makes it one that has no name any more.
    fn unlink(&mut self) {
        self.inode.nlink = 0;
        self.inode.set_places(&[]);
        self.unlinked = true;
    }
}

/// The entries of a loaded directory.
#[derive(Debug, Default)]
struct Entries {
    trie: Trie,
    held: BTreeMap<NameKey, Slot>,
}

impl Entries {
    fn get(&self, key: &NameKey) -> Option<&Slot> {
        self.trie.get(key).or_else(|| self.held.get(key))
    }

    fn is_empty(&self) -> bool {
        self.trie.is_empty() && self.held.is_empty()
    }
}

/// The live tree of a dataset.
#[derive(Debug)]
pub struct Live {
    dataset: DatasetId,
    store: Arc<Store>,
    objects: Arc<Objects>,
    usage: Arc<Usage>,
    /// The root directory as long as no version has recorded it.
    initial_root: Inode,
    /// Versions whose records are lost.
    lost: Arc<[Span]>,
    nodes: HashMap<Ino, Box<Node>>,
    /// How many of them there must be for a look at which can be dropped to be worth it.
    trim_at: usize,
    /// Whether any was ever dropped.
    trimmed: bool,
    next_ino: u64,
    pub(super) head: Head,
    /// Changes no version holds.
    pub(super) dirty: Dirty,
    /// Changes no version and no pending record holds; none are kept where no pending record is written
    /// before the next version.
    pub(super) unlogged: Option<Dirty>,
    /// Directories whose hash must be computed anew (with all above them).
    stale: std::collections::BTreeSet<Ino>,
    /// Directories whose hash belongs into the next version record.
    rehashed: std::collections::BTreeSet<Ino>,
    /// What the next version records instead of changes made here.
    whole: Option<Box<Whole>>,
}

impl Live {
    /// The live tree as `head` has it; `root` is the root directory if no version has one.
    pub fn new(
        (store, objects, usage): (Arc<Store>, Arc<Objects>, Arc<Usage>),
        dataset: DatasetId,
        head: Head,
        root: Inode,
        lost: Arc<[Span]>,
    ) -> Result<Live> {
        let next_ino = store.max_ino(dataset)?.0.max(Ino::ROOT.0) + 1;
        Ok(Live {
            dataset,
            store,
            objects,
            usage,
            initial_root: root,
            lost,
            nodes: HashMap::new(),
            trim_at: NODES_MAX,
            trimmed: false,
            next_ino,
            head,
            dirty: Dirty::default(),
            unlogged: Some(Dirty::default()),
            stale: Default::default(),
            rehashed: Default::default(),
            whole: None,
        })
    }

    /// Number of inodes in memory.
    pub fn loaded(&self) -> usize {
        self.nodes.len()
    }

    fn allocate_ino(&mut self) -> Result<Ino> {
        self.allocate_inos(1)
    }

    /// Gives numbers to as many new inodes, one after the other: the first.
    pub fn allocate_inos(&mut self, count: u64) -> Result<Ino> {
        let first = self.next_ino;
        let after = first.checked_add(count).filter(|after| *after <= Ino::MAX.0 + 1);
        self.next_ino =
            after.ok_or_else(|| Error::Invalid("no inode number is left in this dataset".into()))?;
        Ok(Ino(first))
    }

    /// Whether a file is open that has an inode number which no version knows of.
    pub fn has_unrecorded_file(&self) -> Result<bool> {
        let last = self.store.max_ino(self.dataset)?;
        Ok(self.nodes.iter().any(|(ino, node)| *ino > last.max(Ino::ROOT) && node.opens > 0))
    }

    /// The root directory's inode.
    pub fn root(&mut self) -> Result<Inode> {
        Ok(self.node(Ino::ROOT)?.inode.clone())
    }

    /// The inode as the head version has it, without keeping it.
    fn stored_inode(&self, ino: Ino) -> Result<Inode> {
        Ok(self.stored_node(ino)?.inode)
    }

    fn stored_node(&self, ino: Ino) -> Result<Node> {
        match self.store.inode(self.dataset, ino, &self.head.view)? {
            Some((recorded, inode)) => {
                let uncertain = inode.kind() != Kind::Dir && recorded < self.head.view.newest_of(&self.lost);
                Ok(Node { uncertain, ..Node::new(inode) })
            }
            None if ino == Ino::ROOT => Ok(Node::new(self.initial_root.clone())),
            None => Err(Error::Stale),
        }
    }

    /// Refuses to look into an inode, or to record it again, where it is not certain what it is.
    fn refuse_uncertain(&mut self, ino: Ino) -> Result<()> {
        match self.node(ino)?.uncertain {
            true => Err(Error::Lost(format!("what a version changed, perhaps inode {},", ino.0))),
            false => Ok(()),
        }
    }

    /// The node of an inode, loading it if need be. The kernel may ask by number for one that was
    /// dropped from memory or has no name any more.
    fn node(&mut self, ino: Ino) -> Result<&mut Node> {
        if !self.nodes.contains_key(&ino) {
            let node = self.stored_node(ino)?;
            if !self.is_named(ino, node.inode.place)? {
                return Err(Error::Stale);
            }
            self.nodes.insert(ino, Box::new(node));
        }
        self.nodes.get_mut(&ino).map(|node| &mut **node).ok_or(Error::Stale)
    }

    fn is_named(&mut self, ino: Ino, place: Option<Place>) -> Result<bool> {
        let Some(place) = place else { return Ok(ino == Ino::ROOT) };
        if let Some(entries) = self.nodes.get(&place.dir).and_then(|n| n.entries.as_ref()) {
            return Ok(entries.get(&place.key).is_some_and(|slot| slot.ino == ino));
        }
        let entry = self.store.entry(self.dataset, place.dir, place.key, &self.head.view)?;
        let entry = entry.map(|(_, entry)| entry);
        Ok(entry.is_some_and(|entry| entry.ino == ino))
    }

    /// The node `slot` names, loading it if need be.
    fn child(&mut self, slot: &Slot) -> Result<&mut Node> {
        if !self.nodes.contains_key(&slot.ino) {
            let node = self.stored_node(slot.ino)?;
            self.nodes.insert(slot.ino, Box::new(node));
        }
        self.node(slot.ino)
    }

    /// The entries of a directory, loading them if need be.
    fn entries(&mut self, dir: Ino) -> Result<&mut Entries> {
        let node = self.node(dir)?;
        if node.inode.kind() != Kind::Dir {
            return Err(Error::NotADirectory(format!("inode {}", dir.0)));
        }
        if node.entries.is_none() {
            let loaded = self.load_entries(dir)?;
            self.node(dir)?.entries = Some(Box::new(loaded));
        }
        self.node(dir)?.entries.as_deref_mut().ok_or(Error::Stale)
    }

    fn load_entries(&self, dir: Ino) -> Result<Entries> {
        let mut entries = Entries::default();
        let mut after = None;
        loop {
            let page = self.store.entries(self.dataset, dir, &self.head.view, after, LOAD_BATCH)?;
            let Some(&(last, _)) = page.last() else { return Ok(entries) };
            after = Some(last);
            for (key, entry) in page {
                entries.trie.insert(Slot { key, name: entry.name, ino: entry.ino, kind: entry.kind });
            }
        }
    }

    /// What `name` in `dir` names.
    pub fn lookup(&mut self, dir: Ino, name: &Name) -> Result<Option<Ino>> {
        let Some(slot) = self.find(dir, name)? else { return Ok(None) };
        self.child(&slot)?;
        Ok(Some(slot.ino))
    }

    /// The entry `name` of `dir`.
    fn find(&mut self, dir: Ino, name: &Name) -> Result<Option<Slot>> {
        let (key, node) = (name.key(), self.node(dir)?);
        // One that is not loaded is as the head version has it.
        if node.inode.kind() == Kind::Dir && node.entries.is_none() && node.asked < ALONE {
            node.asked += 1;
            let entry = self.store.entry(self.dataset, dir, key, &self.head.view)?;
            return Ok(entry.map(|(_, entry)| Slot {
                key,
                name: entry.name,
                ino: entry.ino,
                kind: entry.kind,
            }));
        }
        Ok(self.entries(dir)?.get(&key).cloned())
    }

    /// Up to `limit` entries of `dir` whose position is at least `position`, in order of position.
    pub fn list(&mut self, dir: Ino, position: u64, limit: usize) -> Result<Vec<Slot>> {
        let entries = self.entries(dir)?;
        let mut out = Vec::new();
        entries.trie.scan(position, &mut |slot| {
            out.push(slot.clone());
            out.len() < limit
        });
        let held = entries.held.values().filter(|s| s.key.position() >= position);
        let from_trie = out.len();
        out.extend(held.take(limit).cloned());
        if out.len() > from_trie {
            out.sort_by_key(|s| s.key);
            out.truncate(limit);
        }
        Ok(out)
    }

    /// The directory that holds `dir`; the root holds itself.
    pub fn parent(&mut self, dir: Ino) -> Result<Ino> {
        Ok(self.node(dir)?.inode.place.map_or(Ino::ROOT, |p| p.dir))
    }

    /// The path of an inode from the root, for messages; `None` if it has no name.
    pub fn path(&mut self, ino: Ino) -> Result<Option<Vec<Name>>> {
        let mut path = Vec::new();
        let mut at = ino;
        let mut climb = Climb::default();
        while at != Ino::ROOT {
            climb.step(at)?;
            let Some(place) = self.node(at)?.inode.place else { return Ok(None) };
            let Some(slot) = self.entries(place.dir)?.get(&place.key) else { return Ok(None) };
            path.push(slot.name.clone());
            at = place.dir;
        }
        path.reverse();
        Ok(Some(path))
    }

    /// Drops clean inodes that nobody has open, and the entries of clean directories, if there are very many
    /// in memory. Both are loaded again when they are asked for.
    pub fn trim(&mut self) {
        if self.nodes.len() <= self.trim_at {
            return;
        }
        self.trimmed = true;
        let changes = || std::iter::once(&self.dirty).chain(&self.unlogged);
        self.nodes.retain(|ino, node| {
            node.opens > 0
                || node.held
                || node.inode.kind() == Kind::Dir
                || changes().any(|changes| changes.has_inode(*ino))
        });
        self.nodes.shrink_to_fit();
        self.trim_at = NODES_MAX.max(2 * self.nodes.len());
        let kept: usize = self.nodes.values().filter_map(|n| n.entries.as_ref()).map(|e| e.trie.len()).sum();
        if kept > ENTRIES_MAX {
            for (ino, node) in &mut self.nodes {
                let changed = changes().any(|changes| changes.has_names_in(*ino)) || self.stale.contains(ino);
                let held = node.entries.as_ref().is_some_and(|entries| !entries.held.is_empty());
                if !changed && !held && !node.unlinked {
                    node.entries = None;
                }
            }
        }
    }

    /// Whether something was dropped from memory that the kernel may have heard of.
    pub fn was_trimmed(&self) -> bool {
        self.trimmed
    }

    /// Counts a new open handle of `ino`; of a file, gives the state all its handles share.
    pub fn open(
        &mut self,
        ino: Ino,
        make: impl FnOnce(Content) -> OpenFile,
    ) -> Result<Option<Arc<OpenFile>>> {
        self.refuse_uncertain(ino)?;
        let node = self.node(ino)?;
        let file = match &node.inode.body {
            Body::File(content) => {
                Some(node.file.get_or_insert_with(|| Arc::new(make(content.clone()))).clone())
            }
            _ => None,
        };
        node.opens += 1;
        Ok(file)
    }

    /// What the handles of each open file share.
    pub fn open_files(&self) -> Vec<(Ino, Arc<OpenFile>)> {
        self.nodes.iter().filter_map(|(ino, node)| Some((*ino, node.file.clone()?))).collect()
    }

    /// Calls `f` with every inode in memory: all that no version holds yet are among them.
    pub fn each_inode(&self, f: &mut dyn FnMut(Ino, &Inode)) {
        self.nodes.iter().for_each(|(ino, node)| f(*ino, &node.inode));
    }

    /// Counts a handle of `ino` closed.
    pub fn close(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        node.opens = node.opens.saturating_sub(1);
        if node.opens == 0 {
            let size = node.file_size();
            if let Some(file) = node.file.take() {
                self.usage.release(file.share(), if node.unlinked { 0 } else { size });
            }
            if node.unlinked {
                self.nodes.remove(&ino);
            }
        }
    }

    /// The held file that `name` in `dir` names, with what its handles share.
    pub fn held_file(&mut self, dir: Ino, name: &Name) -> Result<Option<(Ino, Arc<OpenFile>)>> {
        let Some(slot) = self.entries(dir)?.held.get(&name.key()) else { return Ok(None) };
        let ino = slot.ino;
        Ok(self.node(ino)?.file.clone().map(|file| (ino, file)))
    }

    /// Where `ino` is named, if it is a held file.
    pub fn held_place(&mut self, ino: Ino) -> Result<Option<(Ino, Name)>> {
        let node = self.node(ino)?;
        let Some(place) = node.inode.place.filter(|_| node.held) else { return Ok(None) };
        let slot = self.entries(place.dir)?.held.get(&place.key);
        Ok(slot.map(|slot| (place.dir, slot.name.clone())))
    }

    /// Applies changes of a pending record to the tree, as they were made once.
    pub fn replay(&mut self, ops: Vec<Op>) -> Result<()> {
        let mut unnamed = Vec::new();
        for op in ops {
            match op {
                Op::Link { dir, name, ino, kind } => {
                    self.note_slot(dir, &name)?;
                    let slot = Slot { key: name.key(), name, ino, kind };
                    unnamed.extend(self.entries(dir)?.trie.insert(slot));
                }
                Op::Unlink { dir, name } => {
                    self.note_slot(dir, &name)?;
                    unnamed.extend(self.entries(dir)?.trie.remove(&name.key()));
                }
                Op::Inode { ino, inode } => {
                    self.next_ino = self.next_ino.max(ino.0 + 1);
                    if inode.kind() == Kind::Dir {
                        // It may be one that no version has, and so no hash of is kept.
                        self.stale.insert(ino);
                        self.rehashed.insert(ino);
                    }
                    match self.nodes.get_mut(&ino) {
                        Some(node) => node.inode = inode,
                        None => drop(self.nodes.insert(ino, Box::new(Node::new(inode)))),
                    }
                    self.note_inode(ino, true)?;
                    // Whether its time was asked for is not recorded: what was kept once stays.
                    self.note_mtime(ino, true);
                }
            }
        }
        let mut gone = HashSet::new();
        for slot in unnamed {
            let places = self.node(slot.ino).map(|node| node.inode.places()).unwrap_or_default();
            let mut named = false;
            for place in places.into_iter().filter(|place| !gone.contains(&place.dir)) {
                let entries = self.entries(place.dir);
                named |= entries.is_ok_and(|e| e.trie.get(&place.key).is_some_and(|s| s.ino == slot.ino));
            }
            if !named {
                gone.insert(slot.ino);
                self.forget_changes(slot.ino);
                self.nodes.remove(&slot.ino);
            }
        }
        Ok(())
    }
}
