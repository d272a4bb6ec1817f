//! Which chunks and manifest nodes are needed: by a version that is kept, a pending change, the live tree or an
//! open file.
//!
//! A value that an inode got at version `a` is seen, in a history without rollbacks, by the versions from `a` up
//! to where it is superseded or loses its last name, and by no later one. So it is enough to look at the first
//! version from `a` on that is kept; with rollbacks, at the first one in each stretch between two of them from
//! which `a` is seen. A value that a kept version itself recorded is needed without a look.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::inode::Xattrs;
use crate::model::{
    ChunkRef, Content, Ino, Inode, Name, NodeHash, Op, Piece, Span, VersionNo, VersionSet, View,
};
use crate::store::manifest::{Items, Node};
use crate::store::{Error as StoreError, ObjectStore, Store};

use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::super::frozen::Frozen;

/// Trees of versions kept in mind.
const TREES_MAX: usize = 4096;

/// Takes the hash and length (0 for a manifest node) of an object.
pub type Each<'a> = &'a mut dyn FnMut(&[u8; 32], u32) -> Result<()>;

/// Which values of inodes are needed by the versions that are kept.
pub struct Keeping<'a> {
    dataset: &'a Dataset,
    pruned: VersionSet,
    newest: VersionNo,
    /// Stretches of versions between rollbacks, and what the first version of each sees.
    stretches: Vec<(Span, View)>,
    trees: HashMap<VersionNo, Frozen>,
}

impl<'a> Keeping<'a> {
    /// Of a dataset of which these versions are pruned.
    pub fn new(dataset: &'a Dataset, pruned: VersionSet) -> Keeping<'a> {
        let (newest, rollbacks) = (dataset.newest(), dataset.rollbacks());
        let starts = rollbacks.iter().map(|(version, _)| *version).filter(|version| version.0 > 1);
        let starts: Vec<VersionNo> = std::iter::once(VersionNo(1)).chain(starts).collect();
        let ends = starts.iter().skip(1).map(|next| VersionNo(next.0 - 1)).chain([newest]);
        let stretch = |(first, last): (&VersionNo, VersionNo)| {
            (Span { first: *first, last }, View::of(*first, &rollbacks))
        };
        let stretches = starts.iter().zip(ends).map(stretch).collect();
        Keeping { dataset, pruned, newest, stretches, trees: HashMap::new() }
    }

    /// Whether a version that is kept sees the value that `ino` got at version `at`.
    pub fn needs(&mut self, ino: Ino, at: VersionNo) -> Result<bool> {
        Ok(self.needed_by(ino, at)?.is_some())
    }

    /// A version that is kept and sees the value that `ino` got at version `at`.
    pub fn needed_by(&mut self, ino: Ino, at: VersionNo) -> Result<Option<VersionNo>> {
        if at > self.newest || !self.pruned.contains(at) {
            return Ok(Some(at));
        }
        for n in 0..self.stretches.len() {
            let (span, view) = &self.stretches[n];
            if span.last < at || (at < span.first && !view.contains(at)) {
                continue;
            }
            let kept = self.pruned.first_outside(at.max(span.first));
            if kept <= span.last && self.sees(kept, ino, at)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    fn sees(&mut self, version: VersionNo, ino: Ino, at: VersionNo) -> Result<bool> {
        if self.trees.len() >= TREES_MAX {
            self.trees.clear();
        }
        let tree = self.trees.entry(version).or_insert_with(|| self.dataset.frozen(version));
        tree.sees(ino, at)
    }
}

/// Walks contents down to their chunks.
pub struct Walker<'a> {
    store: &'a Store,
    seen: HashSet<NodeHash>,
}

impl<'a> Walker<'a> {
    /// One that has seen nothing.
    pub fn new(store: &'a Store) -> Walker<'a> {
        Walker { store, seen: HashSet::new() }
    }

    /// What an inode holds.
    pub fn inode(&mut self, inode: &Inode, each: Each<'_>) -> Result<()> {
        if let Some(Xattrs::Chunk(chunk)) = inode.xattrs.as_deref() {
            each(&chunk.hash.0, chunk.len)?;
        }
        inode.content().map_or(Ok(()), |content| self.content(content, each))
    }

    /// A content; of what was walked before, manifest nodes are not walked again.
    pub fn content(&mut self, content: &Content, each: Each<'_>) -> Result<()> {
        match content {
            Content::Empty => Ok(()),
            Content::One(chunk) => each(&chunk.hash.0, chunk.len),
            Content::Few(pieces) => self.pieces(pieces, each),
            Content::Tree(tree) => self.node(tree.root, each),
        }
    }

    /// Pieces of a content.
    pub fn pieces(&mut self, pieces: &[Piece], each: Each<'_>) -> Result<()> {
        pieces.iter().try_for_each(|piece| match piece {
            Piece::Data(ChunkRef { hash, len }) => each(&hash.0, *len),
            Piece::Zeros(_) => Ok(()),
        })
    }

    fn node(&mut self, hash: NodeHash, each: Each<'_>) -> Result<()> {
        if !self.seen.insert(hash) {
            return Ok(());
        }
        // It is not known what was below, and nothing reads that any more.
        if self.store.is_purged(&hash.0) {
            return Ok(());
        }
        each(&hash.0, 0)?;
        let bytes = self.store.node(&hash)?;
        let decoded = Node::decode(&bytes);
        match decoded.map_err(|why| StoreError::Corrupt(format!("manifest node {hash}: {why}")))?.items {
            Items::Pieces(pieces) => self.pieces(&pieces, each),
            // Levels are at most a dozen, which decoding has checked.
            Items::Children(children) => children.iter().try_for_each(|child| self.node(child.hash, each)),
        }
    }
}

/// Calls `each` with every object that these datasets, which are to be all of the store, need if `planned` says
/// which versions of one of them are pruned besides. An object may come several times. `extra`: contents that
/// are open without being part of any tree.
///
/// # Errors
/// Where anything that is needed cannot be read, so that it is not known what else is.
pub fn each_needed(
    store: &Store,
    datasets: &[Arc<Dataset>],
    planned: Option<(&Dataset, &VersionSet)>,
    extra: &[Content],
    each: Each<'_>,
) -> Result<()> {
    let mut walker = Walker::new(store);
    extra.iter().try_for_each(|content| walker.content(content, each))?;
    // Where things come from first, where they go last: what moves meanwhile is met at one of the two.
    for dataset in datasets {
        dataset.each_held(&mut walker, each)?;
    }
    each_copied(store, &mut walker, each)?;
    for dataset in datasets {
        for pending in store.pending(dataset.id()) {
            for op in pending?.1? {
                if let Op::Inode { inode, .. } = op {
                    walker.inode(&inode, each)?;
                }
            }
        }
        let mut pruned = dataset.pruned();
        if let Some((of, more)) = planned
            && of.id() == dataset.id()
        {
            pruned = pruned.with(more.spans().iter().copied());
        }
        let mut keeping = Keeping::new(dataset, pruned);
        dataset.each_value(&mut |ino, at, inode| match keeping.needs(ino, at)? {
            true => walker.inode(inode, each),
            false => Ok(()),
        })?;
    }
    Ok(())
}

/// Calls `each` with what was copied between files while it was found out what these hold: the one it was copied
/// to may have been looked at before, and the one it was copied from be another since.
fn each_copied(store: &Store, walker: &mut Walker<'_>, each: Each<'_>) -> Result<()> {
    store.copied().iter().try_for_each(|content| walker.content(content, each))
}

impl Dataset {
    /// Calls `f` with every value that an inode ever had and that holds anything in the store.
    pub(super) fn each_value(&self, f: &mut dyn FnMut(Ino, VersionNo, &Inode) -> Result<()>) -> Result<()> {
        let mut failed = Ok(());
        self.store
            .each_inode(self.id(), &mut |ino, at, inode| {
                let holds = inode.content().is_some_and(|content| *content != Content::Empty)
                    || matches!(inode.xattrs.as_deref(), Some(Xattrs::Chunk(_)));
                if holds && failed.is_ok() {
                    failed = f(ino, at, &inode);
                }
                match failed {
                    Ok(()) => Ok(()),
                    // Ends the scan; the error itself is given below.
                    Err(_) => Err(StoreError::Refused("broken off".into())),
                }
            })
            .map_err(Error::from)
            .or_else(|error| std::mem::replace(&mut failed, Err(error)))?;
        failed
    }

    /// What the live tree and open files hold.
    fn each_held(&self, walker: &mut Walker<'_>, each: Each<'_>) -> Result<()> {
        let files = self.read(|live| Ok(live.open_files()))?;
        for (_, file) in files {
            let (contents, pieces) = file.references();
            contents.iter().try_for_each(|content| walker.content(content, each))?;
            walker.pieces(&pieces, each)?;
        }
        self.read(|live| live.each_inode(&mut |_, inode| walker.inode(inode, each)))
    }
}

/// What a prune would free: bytes in all, and by path.
#[derive(Debug, Default)]
pub struct Freed {
    /// Bytes of chunks that nothing would need any more.
    pub bytes: u64,
    /// The same by path, most first.
    pub paths: Vec<(Vec<Name>, u64)>,
}

/// What would be freed if these versions of `dataset` were pruned besides.
pub fn freed_by(
    dataset: &Dataset,
    dropped: &VersionSet,
    datasets: &[Arc<Dataset>],
    extra: &[Content],
) -> Result<Freed> {
    let store = &dataset.store;
    let pruned = dataset.pruned();
    let more = pruned.with(dropped.spans().iter().copied());
    let (mut before, mut after) = (Keeping::new(dataset, pruned), Keeping::new(dataset, more));
    let mut walker = Walker::new(store);
    let mut paths: Vec<Vec<Name>> = Vec::new();
    let mut numbers: HashMap<Vec<Name>, usize> = HashMap::new();
    let mut objects: HashMap<[u8; 32], (u32, usize)> = HashMap::new();
    dataset.each_value(&mut |ino, at, inode| {
        if after.needs(ino, at)? || !before.needs(ino, at)? {
            return Ok(());
        }
        let path = dataset.frozen(at).path_of(ino, inode)?.unwrap_or_default();
        let number = *numbers.entry(path).or_insert_with_key(|path| {
            paths.push(path.clone());
            paths.len() - 1
        });
        walker.inode(inode, &mut |hash, len| {
            objects.entry(*hash).or_insert((len, number));
            Ok(())
        })
    })?;
    each_needed(store, datasets, Some((dataset, dropped)), extra, &mut |hash, _| {
        objects.remove(hash);
        Ok(())
    })?;
    // What was purged frees nothing any more.
    objects.retain(|hash, _| !store.is_purged(hash));
    let mut bytes = vec![0; paths.len()];
    objects.values().for_each(|(len, number)| bytes[*number] += u64::from(*len));
    let mut freed = Freed { bytes: bytes.iter().sum(), paths: paths.into_iter().zip(bytes).collect() };
    freed.paths.retain(|(_, bytes)| *bytes > 0);
    freed.paths.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(freed)
}

impl Dataset {
    /// Whether a version that is kept sees the value that `ino` got at version `at`.
    pub fn needs(&self, ino: Ino, at: VersionNo) -> Result<bool> {
        match self.is_pruned(at) {
            true => Keeping::new(self, self.pruned()).needs(ino, at),
            false => Ok(true),
        }
    }
}
