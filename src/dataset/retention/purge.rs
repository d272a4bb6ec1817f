//! Removing content for good.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::at::HASH_DIGITS_MIN;
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
use super::ever::Found;
use super::gone::Gone;
use super::holders::{Holders, Past, Place, Recorded};
use super::live::Value;
use super::owners::Owners;
use super::walk::items;

/// Something that is purged: a path, or the id of a content, and what it ever held.
pub struct Target {
    /// The path, or the whole id.
    pub path: Vec<Name>,
    /// What it ever held.
    pub held: Found,
}

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
    /// Some of the other files in histories that lose content: all that have any of it, or if not everywhere,
    /// those of the dataset that have it as a whole.
    pub also: Vec<String>,
    /// Whether there are more.
    pub more_also: bool,
    /// What comes of each target, in their order.
    pub shares: Vec<Share>,
}

/// What comes of a target of a purge. What it has in common with another counts for both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Its objects that go, and that no purge removed before.
    pub objects: u64,
    /// Bytes of the chunks among them.
    pub bytes: u64,
    /// Its objects that stay.
    pub stays: u64,
}

/// Another dataset that loses content.
pub struct Losing {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// Some of the paths that had any.
    pub paths: BTreeSet<Vec<Name>>,
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
    pub live: Vec<Place>,
    /// Some of the places in histories that have it.
    pub past: Vec<Place>,
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
    /// The contents of which the ids begin with each of these hexadecimal digits (8 or more), if a file of any
    /// version that is kept or was pruned ever had one. All values are gone through once.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] where there are several for one.
    pub fn contents_of_ids(&self, prefixes: &[String]) -> Result<Vec<Option<Content>>> {
        let mut by_first: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, prefix) in prefixes.iter().enumerate() {
            by_first.entry(&prefix[..HASH_DIGITS_MIN]).or_default().push(n);
        }
        let mut found: Vec<BTreeMap<String, (VersionNo, Content)>> = vec![BTreeMap::new(); prefixes.len()];
        self.each_value(&mut |Value { at, inode, .. }| {
            if let Some(content) = inode.content().filter(|content| **content != Content::Empty) {
                let id = content_id(content).to_hex();
                for n in by_first.get(&id[..HASH_DIGITS_MIN]).into_iter().flatten() {
                    if id.starts_with(&prefixes[*n]) {
                        found[*n].entry(id.clone()).or_insert_with(|| (at, content.clone()));
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some((n, several)) = found.iter().enumerate().find(|(_, found)| found.len() > 1) {
            return Err(Error::Ambiguous {
                dataset: self.name().to_string(),
                spec: prefixes[n].clone(),
                candidates: several.iter().map(|(id, (at, _))| format!("{id} ({at})")).collect(),
            });
        }
        Ok(found.into_iter().map(|found| found.into_values().next().map(|(_, content)| content)).collect())
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

    /// Finds out what has to go for what these targets held to be gone from the versions of this dataset; or if
    /// `everywhere` from those of all `datasets`, which are to be all of the store. What live files and open
    /// ones need stays, and if not `everywhere` what other versions need. A manifest node stays as long as
    /// anything below it does: by it a later purge finds that.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the live tree still has any of it.
    pub fn plan_purge(
        &self,
        targets: &[Target],
        datasets: &[Arc<Dataset>],
        everywhere: bool,
    ) -> Result<Purging> {
        let contents = contents_of(targets);
        let Written { recorded, live } = self.written(&contents)?;
        if !live.is_empty() {
            return Err(self.still_there(live.into_keys()));
        }
        let (mut parts, mut owners) = (Parts::new(&self.store), Owners::new(targets.len()));
        let mut own = Vec::new();
        for (number, target) in (0..).zip(targets) {
            let mut of_target = Parts::new(&self.store);
            let mut seen = HashSet::new();
            let mut held = target.held.contents.iter().filter(|content| seen.insert(content_id(content)));
            held.try_for_each(|content| of_target.content(content))?;
            owners.add(number, of_target.objects.keys());
            own.push(of_target.objects.keys().copied().collect::<Vec<[u8; 32]>>());
            parts.add(of_target);
        }
        let mut there = parts.objects.clone();
        for hash in parts.objects.keys() {
            if self.store.locate(hash)?.is_none() {
                there.remove(hash);
            }
        }
        let holders = Holders::find(&self.store, datasets, (&there, &owners), (self.id(), &contents))?;
        let mut kept = holders.live.objects;
        if !everywhere {
            holders.past.iter().for_each(|past| kept.extend(&past.needed.objects));
        }
        parts.keep_ways(&mut kept);
        let mut purging = Purging { is_garbage: parts.is_broken, ..Purging::default() };
        let len = |hash: &[u8; 32]| parts.objects.get(hash).copied().map_or(0, u64::from);
        purging.stays.objects = kept.len() as u64;
        purging.stays.bytes = kept.iter().map(len).sum();
        purging.stays.live = holders.live.places;
        purging.stays.more = holders.live.more;
        let goes = || parts.objects.keys().filter(|hash| !kept.contains(*hash));
        purging.fresh = goes().filter(|hash| !self.store.is_purged(hash)).copied().collect();
        let share = |objects: Vec<[u8; 32]>| {
            let goes = || objects.iter().filter(|hash| purging.fresh.contains(*hash));
            let stays = objects.iter().filter(|hash| kept.contains(*hash)).count() as u64;
            Share { objects: goes().count() as u64, bytes: goes().map(len).sum(), stays }
        };
        purging.shares = own.into_iter().map(share).collect();
        purging.objects = parts.objects;
        purging.objects.retain(|hash, _| !kept.contains(hash));
        (purging.also, purging.more_also) = self.elsewhere(targets, &recorded, &purging.fresh)?;
        let recorded = recorded.into_iter().map(|(recorded, _)| recorded).collect();
        purging.recorded.push((self.id(), recorded));
        for Past { dataset, needed, paths, recorded } in holders.past {
            if !everywhere {
                purging.stays.more |= needed.more;
                purging.stays.past.extend(needed.places);
                continue;
            }
            purging.recorded.push((dataset.id(), recorded));
            purging.also.extend(needed.places.into_iter().map(|place| place.name));
            purging.more_also |= needed.more;
            let objects: HashSet<[u8; 32]> = needed.objects.intersection(&purging.fresh).copied().collect();
            if dataset.id() != self.id() && !objects.is_empty() {
                purging.others.push(Losing { dataset, paths, objects });
            }
        }
        Ok(purging)
    }

    /// Those of these targets of which the live tree has nothing, and where it has something of the others.
    pub fn but_live(&self, targets: Vec<Target>) -> Result<(Vec<Target>, Option<Error>)> {
        let live = self.written(&contents_of(&targets))?.live;
        let ids: HashSet<&ContentId> = live.values().collect();
        let is_live = |target: &Target| target.held.contents.iter().any(|c| ids.contains(&content_id(c)));
        let left = targets.into_iter().filter(|target| !is_live(target)).collect();
        Ok((left, (!live.is_empty()).then(|| self.still_there(live.into_keys()))))
    }

    /// What versions recorded with one of these contents, and what of it is live.
    fn written(&self, contents: &HashMap<ContentId, Content>) -> Result<Written> {
        // The newest version is what the live tree is a change of.
        let (mut live, mut recorded) = (BTreeMap::new(), Vec::new());
        let newest = self.frozen(self.newest());
        self.each_value(&mut |Value { ino, at, inode, .. }| {
            let id = inode.content().map(content_id).filter(|id| contents.contains_key(id));
            if let Some(id) = id {
                recorded.push(((at, ino), id));
                if newest.inode(ino).is_ok_and(|(recorded, _)| recorded == at) {
                    live.extend(newest.path_of(ino, inode)?.map(|path| (path, id)));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Written { recorded, live })
    }

    /// That the live tree has at these paths what is to be purged.
    fn still_there(&self, mut paths: impl ExactSizeIterator<Item = Vec<Name>>) -> Error {
        /// As many are named.
        const NAMED: usize = 3;
        let name = self.name();
        let commit = match self.policy() {
            Policy::Manual => {
                format!(", and commit that (`strata commit {name}`), since its policy is manual")
            }
            _ => String::new(),
        };
        let shown: Vec<String> = paths.by_ref().take(NAMED).map(|path| show_path(&path)).collect();
        let more = if paths.len() > 0 { format!(" and {} more", paths.len()) } else { String::new() };
        Error::Invalid(format!(
            "{name} still has this content as {}{more}: remove it there first{commit}",
            shown.join(", ")
        ))
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

/// What was written of contents.
struct Written {
    /// What versions recorded, and which content that was.
    recorded: Vec<(Recorded, ContentId)>,
    /// Where the newest version has any, and which.
    live: BTreeMap<Vec<Name>, ContentId>,
}

/// What targets held, each content once.
fn contents_of(targets: &[Target]) -> HashMap<ContentId, Content> {
    let contents = targets.iter().flat_map(|target| &target.held.contents);
    let held = contents.filter(|content| **content != Content::Empty);
    held.map(|content| (content_id(content), content.clone())).collect()
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

    /// Adds what others are made of.
    fn add(&mut self, others: Parts<'_>) {
        self.objects.extend(others.objects);
        self.nodes.extend(others.nodes);
        self.is_broken |= others.is_broken;
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
