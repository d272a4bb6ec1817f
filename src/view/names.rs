//! Changes of names: making, linking, renaming and removing.

use std::sync::Arc;

use crate::dataset::{Caller, Dataset, Error, NewInode, RenameMode, Result, SetAttr};
use crate::model::{AtName, Body, DatasetId, DatasetName, Ino, Kind, Name, TagName, Timestamp, VersionNo};

use super::fs::{Entry, FileSystem, Lifetime, Scope, not_found};
use super::nodes::{Node, NodeId};

/// Longest target of a symbolic link, in bytes (PATH_MAX without the closing NUL).
const TARGET_MAX: usize = 4095;

impl FileSystem {
    /// The live directory a change is asked for in, and that it may be changed.
    fn live_dir(&self, id: NodeId, name: &Name) -> Result<(Arc<Dataset>, Ino)> {
        match self.live_node(id)? {
            Some(found) => Ok(found),
            None => Err(Error::NotPermitted(format!(
                "'{name}' at the top of the store: only directories can be made there, each a dataset"
            ))),
        }
    }

    /// The live inode a change is asked for; `None` for the list of datasets.
    pub(super) fn live_node(&self, id: NodeId) -> Result<Option<(Arc<Dataset>, Ino)>> {
        self.refuse_read_only()?;
        match self.node(id)? {
            Node::Live(id, ino) => Ok(Some((self.dataset(id)?, ino))),
            Node::Top => Ok(None),
            _ => Err(Error::Immutable("this".into())),
        }
    }

    /// Names with a fixed meaning cannot be given to anything.
    pub(super) fn new_name(&self, name: &[u8]) -> Result<Name> {
        let name = Name::new(name)?;
        if AtName::parse(name.as_bytes()).is_some() {
            log::warn!("refused to make '{name}': names of this form mean versions");
            return Err(Error::Invalid(format!("'{name}' means a version or a view of history")));
        }
        Ok(name)
    }

    fn live_entry(&self, dataset: &Dataset, ino: Ino) -> Result<Entry> {
        self.entry(Node::Live(dataset.id(), ino))
    }

    /// Makes a directory; at the top of a store, a dataset; in `@tag`, a tag of the newest version.
    pub fn mkdir(&self, by: Caller, parent: NodeId, name: &[u8], mode: u32) -> Result<Entry> {
        if let Node::Tags(id, dir) = self.node(parent)? {
            return self.make_tag(by, id, dir, &Name::new(name)?);
        }
        let name = self.new_name(name)?;
        let Some((dataset, dir)) = self.live_node(parent)? else {
            let dataset = DatasetName::new(name.as_bytes())?;
            let dataset = self.repo.create(dataset, mode, by.uid, by.gid)?;
            *self.top_changed.write() = Timestamp::now();
            return self.live_entry(&dataset, Ino::ROOT);
        };
        let new = NewInode { mode, uid: by.uid, gid: by.gid, body: Body::Dir };
        let ino = dataset.change(by, |live| live.create(dir, &name, new, false))?;
        self.live_entry(&dataset, ino)
    }

    /// Makes a directory in `@tag`: the newest version gets a tag.
    fn make_tag(&self, by: Caller, id: DatasetId, dir: Ino, name: &Name) -> Result<Entry> {
        self.refuse_read_only()?;
        let tag = TagName::new(&name.to_string()).inspect_err(|error| log::warn!("{error}"))?;
        let dataset = self.dataset(id)?;
        dataset.seal()?;
        if dataset.tag(&tag).is_some() {
            return Err(Error::Exists(name.to_string()));
        }
        dataset.set_tag(by, tag.clone(), dataset.newest(), None)?;
        let tag = dataset.tag(&tag).ok_or(Error::Stale)?;
        let entry = self.entry(self.tagged(by, &dataset, dir, &tag, name)?)?;
        Ok(Entry { name_lifetime: Lifetime::Momentary, ..entry })
    }

    /// Makes a file, pipe, socket or device.
    pub fn mknod(
        &self,
        by: Caller,
        parent: NodeId,
        name: &[u8],
        kind: Kind,
        mode: u32,
        device: u32,
    ) -> Result<Entry> {
        let name = self.new_name(name)?;
        let (dataset, dir) = self.live_dir(parent, &name)?;
        let body = match kind {
            Kind::File => Body::File(Default::default()),
            Kind::Dir | Kind::Symlink => return Err(Error::Invalid("mknod makes no such thing".into())),
            special => Body::Special(special, device),
        };
        let new = NewInode { mode, uid: by.uid, gid: by.gid, body };
        let ino = dataset.change(by, |live| live.create(dir, &name, new, false))?;
        self.live_entry(&dataset, ino)
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, by: Caller, parent: NodeId, name: &[u8], target: &[u8]) -> Result<Entry> {
        let name = self.new_name(name)?;
        let (dataset, dir) = self.live_dir(parent, &name)?;
        if target.is_empty() || target.len() > TARGET_MAX {
            return Err(Error::Invalid(format!("a link's target has 1 to {TARGET_MAX} bytes")));
        }
        let new = NewInode { mode: 0o777, uid: by.uid, gid: by.gid, body: Body::Symlink(target.into()) };
        let ino = dataset.change(by, |live| live.create(dir, &name, new, false))?;
        self.live_entry(&dataset, ino)
    }

    /// Gives an inode another name.
    pub fn link(&self, by: Caller, id: NodeId, parent: NodeId, name: &[u8]) -> Result<Entry> {
        let name = self.new_name(name)?;
        let (dataset, dir) = self.live_dir(parent, &name)?;
        let ino = match self.node(id)? {
            Node::Live(id, ino) if id == dataset.id() => ino,
            _ => return Err(Error::CrossDataset(format!("a link named {name}"))),
        };
        dataset.link(by, ino, dir, &name)?;
        self.live_entry(&dataset, ino)
    }

    /// Removes the name of anything but a directory.
    pub fn unlink(&self, by: Caller, parent: NodeId, name: &[u8]) -> Result<()> {
        let name = Name::new(name)?;
        match self.live_node(parent)? {
            Some((dataset, dir)) => immutable_if_at(&name, dataset.unlink(by, dir, &name).map(drop)),
            None => Err(Error::IsADirectory(name.to_string())),
        }
    }

    /// Removes an empty directory; at the top of a store, archives the dataset; in `@tag`, takes a tag away.
    pub fn rmdir(&self, by: Caller, parent: NodeId, name: &[u8]) -> Result<()> {
        let name = Name::new(name)?;
        if let Node::Tags(id, _) = self.node(parent)? {
            self.refuse_read_only()?;
            let tag = TagName::new(&name.to_string()).map_err(|_| not_found(&name))?;
            return self.dataset(id)?.remove_tag(by, tag, None);
        }
        match self.live_node(parent)? {
            Some((dataset, dir)) => immutable_if_at(&name, dataset.rmdir(by, dir, &name)),
            None => {
                self.repo.archive(&name.to_string())?;
                *self.top_changed.write() = Timestamp::now();
                Ok(())
            }
        }
    }

    /// Renames.
    pub fn rename(
        &self,
        by: Caller,
        from: (NodeId, &[u8]),
        to: (NodeId, &[u8]),
        mode: RenameMode,
    ) -> Result<()> {
        let name = Name::new(from.1)?;
        let source = self.node(from.0)?;
        let target = self.live_node(to.0)?;
        let new_name = match mode {
            // An exchange gives both names; those that exist need no check.
            RenameMode::Exchange => Name::new(to.1)?,
            _ => self.new_name(to.1)?,
        };
        match (source, target) {
            (Node::Live(id, dir), Some((dataset, new_dir))) if id == dataset.id() => {
                immutable_if_at(&name, dataset.rename(by, (dir, &name), (new_dir, &new_name), mode))
            }
            (Node::Top, None) if mode != RenameMode::Exchange => {
                self.rename_dataset(&name, &new_name, mode)?;
                *self.top_changed.write() = Timestamp::now();
                Ok(())
            }
            (Node::Top, None) => Err(Error::Invalid("datasets cannot be exchanged".into())),
            _ => Err(Error::CrossDataset(format!("renaming {name}"))),
        }
    }

    fn rename_dataset(&self, name: &Name, new_name: &Name, mode: RenameMode) -> Result<()> {
        let new_name = DatasetName::new(new_name.as_bytes())?;
        if name.as_bytes() == new_name.as_str().as_bytes() {
            return Ok(());
        }
        if mode == RenameMode::Replace && self.repo.get(new_name.as_str()).is_some() {
            self.repo.archive(new_name.as_str())?;
        }
        self.repo.rename(&name.to_string(), new_name)
    }

    /// Changes attributes (the size aside).
    pub fn set_attr(&self, by: Caller, id: NodeId, set: &SetAttr) -> Result<()> {
        match self.live_node(id)? {
            Some((dataset, ino)) => dataset.adjust(by, |live| live.set_attr(ino, set)),
            // Copy programs and scripts set what is set already; there is nothing to keep others in.
            None if self.is_top_attr(set)? => Ok(()),
            None => Err(Error::NotPermitted("the top of a store has no attributes to change".into())),
        }
    }

    fn is_top_attr(&self, set: &SetAttr) -> Result<bool> {
        let attr = self.attr(&Node::Top)?;
        let same = |wanted: Option<u32>, is: u32| wanted.is_none_or(|wanted| wanted == is);
        Ok(same(set.mode.map(|mode| mode & 0o7777), attr.mode)
            && same(set.uid, attr.uid)
            && same(set.gid, attr.gid))
    }

    /// The nodes by which the kernel may have bytes of what a version recorded of a file.
    pub fn nodes_of_recorded(&self, dataset: DatasetId, recorded: VersionNo, ino: Ino) -> Vec<NodeId> {
        let nodes = [Node::Frozen(dataset, recorded, ino), Node::DvcFile(dataset, recorded, ino)];
        nodes.iter().filter_map(|node| self.nodes.known(node)).collect()
    }

    /// The dataset and inode of a kernel's cached name or inode, as node numbers.
    pub fn node_of(&self, dataset: DatasetId, ino: Ino) -> NodeId {
        match &self.scope() {
            Scope::Dataset(mounted) if mounted.id() == dataset && ino == Ino::ROOT => NodeId::ROOT,
            _ => NodeId::live(dataset, ino),
        }
    }
}

/// What is not there under a name of the grammar may well be there to see: it cannot be changed.
fn immutable_if_at(name: &Name, result: Result<()>) -> Result<()> {
    match result {
        Err(Error::NotFound(_)) if AtName::parse(name.as_bytes()).is_some() => {
            Err(Error::Immutable(name.to_string()))
        }
        other => other,
    }
}
