//! Removing content for good.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{
    Content, ContentId, Ino, Inode, Kind, Name, Piece, RetentionAction, VersionNo, show_path,
};
use crate::store::{Error as StoreError, content_id};

use super::super::author::Caller;
use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::super::frozen::Frozen;
use super::super::sizes::each_file;
use super::live::{Keeping, Passing, Value, each_copied, find_in_values, find_needed, walk_passing};
use super::walk::Walker;

/// What is to be purged.
#[derive(Debug, Default)]
pub struct Purging {
    contents: HashMap<ContentId, Content>,
    /// The objects that nothing else needs: hash and length.
    pub objects: HashMap<[u8; 32], u32>,
    /// What versions recorded that has these contents.
    pub recorded: Vec<(VersionNo, Ino)>,
    /// How many objects stay, since other content needs them.
    pub shared: u64,
    /// Whether some of it lost its manifest already, as garbage or by a purge before: what is left of that goes with
    /// the garbage.
    pub is_garbage: bool,
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
        if self.retention.read().tombstones.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut take = |dir, name: Name, ino, inode: &Inode| {
            if inode.content().is_some_and(|content| self.is_purged(content)) {
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

    /// Whether a content was purged. What other content needs stayed: that of a root node, all below it.
    fn is_purged(&self, content: &Content) -> bool {
        match content {
            Content::Empty => false,
            Content::One(chunk) => self.store.is_purged(&chunk.hash.0),
            Content::Few(pieces) => pieces.iter().any(|piece| match piece {
                Piece::Data(chunk) => self.store.is_purged(&chunk.hash.0),
                Piece::Zeros(_) => false,
            }),
            Content::Tree(tree) => self.store.is_purged(&tree.root.0),
        }
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

    /// Finds out what has to go for these contents to be gone: their objects but for those that other content
    /// of the store needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the live tree still has one of them.
    pub fn plan_purge(&self, contents: Vec<Content>, datasets: &[Arc<Dataset>]) -> Result<Purging> {
        let mut purging = Purging::default();
        for content in contents.into_iter().filter(|content| *content != Content::Empty) {
            purging.contents.insert(content_id(&content), content);
        }
        let is_purged = |inode: &Inode| {
            inode.content().is_some_and(|content| purging.contents.contains_key(&content_id(content)))
        };
        // The newest version is what the live tree is a change of.
        let (mut live, mut recorded) = (BTreeSet::new(), Vec::new());
        let newest = self.frozen(self.newest());
        self.each_value(&mut |Value { ino, at, inode, .. }| {
            if is_purged(inode) {
                recorded.push((at, ino));
                if newest.inode(ino).is_ok_and(|(recorded, _)| recorded == at) {
                    live.extend(newest.path_of(ino, inode)?.map(|path| show_path(&path)));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if !live.is_empty() {
            return Err(Error::Invalid(format!(
                "{} still has this content as {}: remove it there first",
                self.name(),
                live.into_iter().take(3).collect::<Vec<_>>().join(", ")
            )));
        }
        let mut objects = HashMap::new();
        let mut walker = Walker::new(&self.store);
        let mut is_garbage = false;
        for content in purging.contents.values() {
            let walked = walker.content(content, &mut |hash, len| {
                objects.insert(*hash, len);
                Ok(())
            });
            match walked {
                Err(Error::Store(StoreError::Missing(_))) => is_garbage = true,
                walked => walked?,
            }
        }
        // One that failed half-way may have left what the manifest told of.
        let is_garbage = is_garbage || walker.met_purged;
        let all = objects.len();
        self.without_shared(&mut objects, &purging.contents, datasets)?;
        let shared = (all - objects.len()) as u64;
        Ok(Purging { objects, recorded, shared, is_garbage, ..purging })
    }

    /// Leaves out the objects that other content of the store needs.
    fn without_shared(
        &self,
        objects: &mut HashMap<[u8; 32], u32>,
        contents: &HashMap<ContentId, Content>,
        datasets: &[Arc<Dataset>],
    ) -> Result<()> {
        let others: Vec<Arc<Dataset>> =
            datasets.iter().filter(|dataset| dataset.id() != self.id()).cloned().collect();
        find_needed(&self.store, &others, None, &[], objects)?;
        let mut trees = Vec::new();
        let mut passing = Passing::new(objects, &mut trees);
        self.each_held(&mut passing)?;
        each_copied(&self.store, &mut passing);
        let mut walker = Walker::new(&self.store);
        let purged = |inode: &Inode| inode.content().is_some_and(|c| contents.contains_key(&content_id(c)));
        // What only pruned versions had may be gone, and needs nothing.
        let keeping = Keeping::new(self, self.pruned());
        find_in_values(self, keeping, &mut walker, objects, &purged)?;
        walk_passing(trees, &mut walker, objects)
    }

    /// Records, durably, that these objects are purged.
    pub fn note_purge(&self, by: Caller, what: String, reason: String, purging: &Purging) -> Result<()> {
        let objects: HashSet<[u8; 32]> = purging.objects.keys().copied().collect();
        let action = RetentionAction::Purge { what, objects: objects.into_iter().collect() };
        self.note_retention(by, Some(reason), action)
    }
}
