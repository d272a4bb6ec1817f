//! Removing content for good.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{
    Content, ContentId, DatasetId, Ino, Inode, Kind, Name, NodeHash, Piece, Policy, RetentionAction,
    VersionNo, show_path,
};
use crate::store::manifest::Items;
use crate::store::{Error as StoreError, Store, content_id};

use super::super::author::Caller;
use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::super::frozen::Frozen;
use super::super::sizes::each_file;
use super::gone::Gone;
use super::holders::{Holders, Past, Recorded};
use super::live::Value;
use super::walk::items;

/// What is to be purged.
#[derive(Default)]
pub struct Purging {
    /// The objects that go, hash and length: those that a purge before removed too, of which one that failed
    /// half-way may have left the bytes.
    pub objects: HashMap<[u8; 32], u32>,
    /// Those that no purge removed before.
    pub fresh: HashSet<[u8; 32]>,
    /// What versions recorded that loses content, by dataset.
    pub recorded: Vec<(DatasetId, Vec<Recorded>)>,
    /// The other datasets that lose content.
    pub others: Vec<Losing>,
    /// What stays, since something needs it.
    pub stays: Staying,
    /// Whether some of it lost its manifest already, as garbage or by a purge before: what is left of that goes
    /// with the garbage.
    pub is_garbage: bool,
    /// Some of the other files in histories that lose content: all that have any of it.
    pub also: Vec<String>,
    /// Whether there are more.
    pub more_also: bool,
}

/// Another dataset that loses content.
pub struct Losing {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// A path that had any.
    pub path: Option<Vec<Name>>,
    /// The objects.
    pub objects: HashSet<[u8; 32]>,
}

/// What of a content stays where it is purged.
#[derive(Debug, Default)]
pub struct Staying {
    /// Chunks and manifest nodes.
    pub objects: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
    /// Some of the live files and open ones that have it.
    pub live: Vec<String>,
    /// Some of the places in histories that have it.
    pub past: Vec<String>,
    /// Whether there are more than are named.
    pub more: bool,
}

/// A name of a file whose content was purged.
#[derive(Clone, Debug)]
pub struct PurgedFile {
    /// The directory it is in.
    pub dir: Ino,
    /// Its name.
    pub name: Name,
    /// The file.
    pub ino: Ino,
    /// Its size.
    pub size: u64,
}

impl PurgedFile {
    /// Its path in the tree it is of.
    pub fn path(&self, tree: &Frozen) -> Result<Vec<Name>> {
        let mut path = tree.dir_path(self.dir)?.unwrap_or_default();
        path.push(self.name.clone());
        Ok(path)
    }
}

impl Dataset {
    /// The contents that the file at `path` ever had, in any version that is kept or was pruned.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no version ever had a file there.
    pub fn contents_at(&self, path: &[Name]) -> Result<Vec<Content>> {
        let never = || Error::NotFound(format!("a file of that path in any version of {}", self.name()));
        let versions = self.path_versions(path)?.ok_or_else(never)?;
        let mut found = Vec::new();
        for version in versions {
            let tree = self.frozen(version);
            if let Some((ino, Kind::File)) = tree.walk(path)? {
                found.extend(tree.inode(ino)?.1.content().cloned());
            }
        }
        if found.is_empty() { Err(never()) } else { Ok(found) }
    }

    /// The content of which the id begins with these hexadecimal digits, if a file of any version that is kept or
    /// was pruned ever had one.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] where there are several.
    pub fn content_of_id(&self, prefix: &str) -> Result<Option<Content>> {
        let mut found: BTreeMap<String, (VersionNo, Content)> = BTreeMap::new();
        self.each_value(&mut |Value { at, inode, .. }| {
            if let Some(content) = inode.content().filter(|content| **content != Content::Empty) {
                let id = content_id(content).to_hex();
                if id.starts_with(prefix) {
                    found.entry(id).or_insert_with(|| (at, content.clone()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if found.len() > 1 {
            return Err(Error::Ambiguous {
                dataset: self.name().to_string(),
                spec: prefix.to_owned(),
                candidates: found.iter().map(|(id, (at, _))| format!("{id} ({at})")).collect(),
            });
        }
        Ok(found.into_values().next().map(|(_, content)| content))
    }

    /// The files at or below `ino` in a version whose content was purged.
    pub fn purged_files(&self, tree: &Frozen, ino: Ino) -> Result<Vec<PurgedFile>> {
        if !self.store.has_purged() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut gone = Gone::new(&self.store);
        let mut take = |dir, name: Name, ino, inode: &Inode| {
            if inode.content().is_some_and(|content| gone.is_of(content)) {
                found.push(PurgedFile { dir, name, ino, size: inode.size() });
            }
        };
        let (_, own) = tree.inode(ino)?;
        if own.kind() == Kind::File {
            if let Some((dir, name)) = tree.name_of(ino)? {
                take(dir, name, ino, &own);
            }
        } else {
            each_file(tree, ino, || true, &mut |dir, entry, inode| take(dir, entry.name, entry.ino, &inode))?;
        }
        Ok(found)
    }

    /// That the content of these files of a version was purged.
    pub fn purged_error(&self, tree: &Frozen, files: &[PurgedFile]) -> Error {
        /// As many are named.
        const NAMED: usize = 10;
        let paths = files.iter().take(NAMED).map(|file| match file.path(tree) {
            Ok(path) => show_path(&path),
            Err(_) => file.name.to_string(),
        });
        let mut what = paths.collect::<Vec<_>>().join(", ");
        if let Some(more @ 1..) = files.len().checked_sub(NAMED) {
            what.push_str(&format!(" and {more} more"));
        }
        Error::Purged { dataset: self.name().to_string(), version: tree.version(), what }
    }

    /// Finds out what has to go for these contents to be gone from the versions of this dataset; or if
    /// `everywhere` from those of all `datasets`, which are to be all of the store. What live files and open
    /// ones need stays, and if not `everywhere` what other versions need. A manifest node stays as long as
    /// anything below it does: by it a later purge finds that.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the live tree still has one of them.
    pub fn plan_purge(
        &self,
        contents: Vec<Content>,
        datasets: &[Arc<Dataset>],
        everywhere: bool,
    ) -> Result<Purging> {
        let contents: HashMap<ContentId, Content> = contents
            .into_iter()
            .filter(|content| *content != Content::Empty)
            .map(|content| (content_id(&content), content))
            .collect();
        let recorded = self.recorded_of(&contents)?;
        let mut parts = Parts::new(&self.store);
        contents.values().try_for_each(|content| parts.content(content))?;
        let mut there = parts.objects.clone();
        for hash in parts.objects.keys() {
            if self.store.locate(hash)?.is_none() {
                there.remove(hash);
            }
        }
        let holders = Holders::find(&self.store, datasets, &there, (self.id(), &contents))?;
        let mut kept = holders.live.objects;
        if !everywhere {
            holders.past.iter().for_each(|past| kept.extend(&past.needed.objects));
        }
        parts.keep_ways(&mut kept);
        let mut purging = Purging { is_garbage: parts.is_broken, ..Purging::default() };
        purging.stays.objects = kept.len() as u64;
        purging.stays.bytes =
            kept.iter().filter_map(|hash| parts.objects.get(hash)).map(|len| u64::from(*len)).sum();
        purging.stays.live = holders.live.places;
        purging.stays.more = holders.live.more;
        purging.objects = parts.objects;
        purging.objects.retain(|hash, _| !kept.contains(hash));
        let fresh = purging.objects.keys().filter(|hash| !self.store.is_purged(hash));
        purging.fresh = fresh.copied().collect();
        purging.recorded.push((self.id(), recorded));
        for Past { dataset, needed, path, recorded } in holders.past {
            if !everywhere {
                purging.stays.more |= needed.more;
                purging.stays.past.extend(needed.places);
                continue;
            }
            purging.recorded.push((dataset.id(), recorded));
            purging.also.extend(needed.places);
            purging.more_also |= needed.more;
            let objects: HashSet<[u8; 32]> = needed.objects.intersection(&purging.fresh).copied().collect();
            if dataset.id() != self.id() && !objects.is_empty() {
                purging.others.push(Losing { dataset, path, objects });
            }
        }
        Ok(purging)
    }

    /// What versions recorded with one of these contents.
    fn recorded_of(&self, contents: &HashMap<ContentId, Content>) -> Result<Vec<Recorded>> {
        // The newest version is what the live tree is a change of.
        let (mut live, mut recorded) = (BTreeSet::new(), Vec::new());
        let newest = self.frozen(self.newest());
        self.each_value(&mut |Value { ino, at, inode, .. }| {
            if inode.content().is_some_and(|content| contents.contains_key(&content_id(content))) {
                recorded.push((at, ino));
                if newest.inode(ino).is_ok_and(|(recorded, _)| recorded == at) {
                    live.extend(newest.path_of(ino, inode)?.map(|path| show_path(&path)));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if live.is_empty() {
            return Ok(recorded);
        }
        let name = self.name();
        let commit = match self.policy() {
            Policy::Manual => {
                format!(", and commit that (`strata commit {name}`), since its policy is manual")
            }
            _ => String::new(),
        };
        Err(Error::Invalid(format!(
            "{name} still has this content as {}: remove it there first{commit}",
            live.into_iter().take(3).collect::<Vec<_>>().join(", ")
        )))
    }

    /// Records, durably, that these objects are purged.
    pub fn note_purge(
        &self,
        by: Caller,
        what: String,
        reason: String,
        objects: &HashSet<[u8; 32]>,
    ) -> Result<()> {
        let action = RetentionAction::Purge { what, objects: objects.iter().copied().collect() };
        self.note_retention(by, Some(reason), action)
    }
}

/// What contents are made of.
struct Parts<'a> {
    store: &'a Store,
    /// Chunks and manifest nodes, and their length; 0 of a node.
    objects: HashMap<[u8; 32], u32>,
    /// Manifest nodes and what is directly below them, those first that are below others.
    nodes: Vec<([u8; 32], Vec<[u8; 32]>)>,
    /// Whether a manifest node is not there any more, so that it is not known what was below.
    is_broken: bool,
}

impl<'a> Parts<'a> {
    fn new(store: &'a Store) -> Parts<'a> {
        Parts { store, objects: HashMap::new(), nodes: Vec::new(), is_broken: false }
    }

    fn content(&mut self, content: &Content) -> Result<()> {
        match content {
            Content::Empty => Ok(()),
            Content::One(chunk) => {
                self.objects.insert(chunk.hash.0, chunk.len);
                Ok(())
            }
            Content::Few(pieces) => {
                self.pieces(pieces);
                Ok(())
            }
            Content::Tree(tree) => self.node(tree.root),
        }
    }

    /// Gives the hashes of the chunks.
    fn pieces(&mut self, pieces: &[Piece]) -> Vec<[u8; 32]> {
        let mut below = Vec::new();
        for chunk in pieces.iter().filter_map(Piece::chunk) {
            self.objects.insert(chunk.hash.0, chunk.len);
            below.push(chunk.hash.0);
        }
        below
    }

    fn node(&mut self, hash: NodeHash) -> Result<()> {
        if self.objects.insert(hash.0, 0).is_some() {
            return Ok(());
        }
        let items = match items(self.store, &hash) {
            Err(Error::Store(StoreError::Missing(_))) => {
                self.is_broken = true;
                return Ok(());
            }
            items => items?,
        };
        let below = match items {
            Items::Pieces(pieces) => self.pieces(&pieces),
            // Levels are at most a dozen, which decoding has checked.
            Items::Children(children) => {
                children.iter().try_for_each(|child| self.node(child.hash))?;
                children.iter().map(|child| child.hash.0).collect()
            }
        };
        self.nodes.push((hash.0, below));
        Ok(())
    }

    /// Adds the manifest nodes that lead to what is kept.
    fn keep_ways(&self, kept: &mut HashSet<[u8; 32]>) {
        for (node, below) in &self.nodes {
            if below.iter().any(|hash| kept.contains(hash)) {
                kept.insert(*node);
            }
        }
    }
}
