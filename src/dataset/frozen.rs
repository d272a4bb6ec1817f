//! The tree of one version.

use std::sync::Arc;

use crate::model::{DatasetId, Dirent, Ino, Inode, Kind, Name, NameKey, Span, TreeHash, VersionNo, View};
use crate::store::{Store, Written};

use super::climb::Climb;
use super::error::{Error, Result};

/// Entries read at a time.
const PAGE: usize = 1024;

/// The tree of one version, read from the index.
#[derive(Clone, Debug)]
pub struct Frozen {
    store: Arc<Store>,
    dataset: DatasetId,
    view: View,
    /// The root directory where no version in view has recorded it.
    initial_root: Inode,
    /// The newest version in view whose record is lost (0 where none is).
    blind: VersionNo,
}

impl Frozen {
    /// The tree that `view` shows.
    pub fn new(
        store: Arc<Store>,
        dataset: DatasetId,
        view: View,
        initial_root: Inode,
        lost: &[Span],
    ) -> Frozen {
        let blind = view.newest_of(lost);
        Frozen { store, dataset, view, initial_root, blind }
    }

    /// The store that it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The version.
    pub fn version(&self) -> VersionNo {
        self.view.newest()
    }

    /// Whether the record of a version that this one descends from is lost, so that not all of this tree is
    /// known.
    pub fn is_patchy(&self) -> bool {
        self.blind > VersionNo::EMPTY
    }

    /// What the version sees of the index.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The versions after `start` that this one descends from, itself included, newest first.
    pub fn versions_after(&self, start: VersionNo) -> impl Iterator<Item = VersionNo> {
        self.view.versions_after(start)
    }

    /// The entry `name` of a directory.
    pub fn lookup(&self, dir: Ino, name: &Name) -> Result<Option<Dirent>> {
        self.entry(dir, name.key())
    }

    /// The entry of `key` in a directory.
    pub fn entry(&self, dir: Ino, key: NameKey) -> Result<Option<Dirent>> {
        Ok(self.recorded_entry(dir, key)?.map(|(_, entry)| entry))
    }

    /// The entry of `key` in a directory, with the version that recorded it.
    pub fn recorded_entry(&self, dir: Ino, key: NameKey) -> Result<Option<(VersionNo, Dirent)>> {
        Ok(self.store.entry(self.dataset, dir, key, &self.view)?)
    }

    /// What was last written of `name` in a directory, and by which version; also where that removed it.
    pub fn written_entry(&self, dir: Ino, name: &Name) -> Result<Option<Written>> {
        Ok(self.store.written_entry(self.dataset, dir, name.key(), &self.view)?)
    }

    /// Up to `limit` entries of a directory after `after`, in key order.
    pub fn entries(&self, dir: Ino, after: Option<NameKey>, limit: usize) -> Result<Vec<(NameKey, Dirent)>> {
        Ok(self.store.entries(self.dataset, dir, &self.view, after, limit)?)
    }

    /// All entries of a directory, in key order.
    pub fn all_entries(&self, dir: Ino) -> Result<Vec<Dirent>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.entries(dir, after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(*last);
            all.extend(page.into_iter().map(|(_, entry)| entry));
        }
    }

    /// An inode, with the version that recorded it.
    pub fn inode(&self, ino: Ino) -> Result<(VersionNo, Inode)> {
        match self.store.inode(self.dataset, ino, &self.view)? {
            Some(found) => Ok(found),
            None if ino == Ino::ROOT => Ok((VersionNo::EMPTY, self.initial_root.clone())),
            None => Err(Error::Stale),
        }
    }

    /// An inode, as [`Frozen::inode`] gives it, where it is certain: what a version whose record is lost may
    /// have changed since is not, unless it is a directory. The names in that are shown as they were last
    /// known.
    pub fn certain_inode(&self, ino: Ino) -> Result<(VersionNo, Inode)> {
        let (recorded, inode) = self.inode(ino)?;
        if inode.kind() != Kind::Dir && recorded < self.blind {
            return Err(Error::Lost(format!("what {} changed, perhaps inode {},", self.blind, ino.0)));
        }
        Ok((recorded, inode))
    }

    /// Whether the tree has an inode as the version `at` recorded it.
    pub fn sees(&self, ino: Ino, at: VersionNo) -> Result<bool> {
        match self.inode(ino) {
            Ok((recorded, inode)) if recorded == at => {
                Ok(inode.place.is_none() || self.path_of(ino, &inode)?.is_some())
            }
            Ok(_) | Err(Error::Stale) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The hash of a directory's tree.
    pub fn tree(&self, dir: Ino) -> Result<Option<TreeHash>> {
        Ok(self.recorded_tree(dir)?.map(|(_, hash)| hash))
    }

    /// The hash of a directory's tree, with the version that recorded it.
    pub fn recorded_tree(&self, dir: Ino) -> Result<Option<(VersionNo, TreeHash)>> {
        Ok(self.store.tree(self.dataset, dir, &self.view)?)
    }

    /// What a path names; the root for an empty one. `None` where nothing has that path.
    pub fn walk(&self, path: &[Name]) -> Result<Option<(Ino, Kind)>> {
        let mut at = (Ino::ROOT, Kind::Dir);
        for name in path {
            if at.1 != Kind::Dir {
                return Ok(None);
            }
            match self.lookup(at.0, name)? {
                Some(entry) => at = (entry.ino, entry.kind),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// A directory and the name in it that names an inode; `None` where none does.
    pub fn name_of(&self, ino: Ino) -> Result<Option<(Ino, Name)>> {
        let Some((_, inode)) = self.store.inode(self.dataset, ino, &self.view)? else { return Ok(None) };
        for place in inode.places() {
            if let Some(entry) = self.entry(place.dir, place.key)?.filter(|entry| entry.ino == ino) {
                return Ok(Some((place.dir, entry.name)));
            }
        }
        Ok(None)
    }

    /// The path from the root of the directory `dir`; `None` where the tree does not have it. Its entries say
    /// nothing of that: stores of old have directories whose entries stayed behind.
    pub fn dir_path(&self, dir: Ino) -> Result<Option<Vec<Name>>> {
        let mut path = Vec::new();
        let mut at = dir;
        let mut climb = Climb::default();
        while at != Ino::ROOT {
            climb.step(at)?;
            let Some((above, name)) = self.name_of(at)? else { return Ok(None) };
            path.push(name);
            at = above;
        }
        path.reverse();
        Ok(Some(path))
    }

    /// Where the tree has an inode, by one of its names; `None` where nothing in the tree has one of them.
    pub fn path_of(&self, ino: Ino, inode: &Inode) -> Result<Option<Vec<Name>>> {
        for place in inode.places() {
            if let Some(entry) = self.entry(place.dir, place.key)?.filter(|entry| entry.ino == ino)
                && let Some(mut path) = self.dir_path(place.dir)?
            {
                path.push(entry.name);
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
