//! Listing directories.
//!
//! Entries of live and frozen directories are listed in the order of their name keys, and the position
//! of an entry is part of its key: whatever is added or removed meanwhile, a listing that goes on shows
//! every entry that stayed exactly once.

use crate::dataset::meta::About;
use crate::dataset::{Attr, Caller, Error, Result, Tag};
use crate::model::{DatasetId, Dirent, Ino, Kind, Name, NameKey, TagName, VersionNo};

use super::diffs::{self, Differences, Pair, Part};
use super::fs::{Entry, FileSystem, Lifetime, unknown};
use super::handles::Handle;
use super::nodes::{DvcDir, Node, NodeId};
use super::special::LOG_NAME;

/// Entries fetched at a time.
const BATCH: usize = 256;
/// Positions of `.` and `..`; entries follow.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;
const FIRST: u64 = 3;

/// An entry of a listing.
#[derive(Debug)]
pub struct ListEntry<'a> {
    /// Name as readdir(3) gives it.
    pub name: &'a [u8],
    /// Where to go on after this entry.
    pub position: u64,
    /// The node: looked up (and so to be forgotten) but for `.` and `..`.
    pub entry: Entry,
}

impl FileSystem {
    /// Opens a directory for `by`. Gives the handle's number and whether the kernel may keep the listing.
    pub fn opendir(&self, by: Caller, id: NodeId) -> Result<(u64, bool)> {
        let handle = match self.node(id)? {
            Node::Live(id, ino) => {
                let dataset = self.dataset(id)?;
                dataset.open(ino)?;
                Handle::LiveDir(dataset, ino)
            }
            Node::History(id, dir) => {
                let dataset = self.dataset(id)?;
                dataset.seal_to_look()?;
                Handle::Versions(self.history_versions(&dataset, dir)?)
            }
            Node::File(id, path) => {
                let dataset = self.dataset(id)?;
                dataset.seal_to_look()?;
                Handle::Versions(self.file_versions(by, &dataset, &path)?)
            }
            Node::Tags(id, _) => {
                let dataset = self.dataset(id)?;
                dataset.seal_to_look()?;
                Handle::Tags(dataset.tags().into_iter().collect())
            }
            Node::Diff(pair, dirs) => Handle::DiffRoot(self.diff_summary(by, pair, dirs)?.len() as u64),
            Node::DiffDir(pair, ..) => Handle::Diff(self.differences(pair)?),
            Node::Dvc(id, dir) => Handle::Names(self.dvc_names(id, dir)?),
            Node::FrozenDir(id, version, _) | Node::Tagged(id, _, version, _) => {
                Handle::FrozenDir(id, version)
            }
            _ => Handle::Dir,
        };
        let cacheable = matches!(handle, Handle::LiveDir(..))
            || matches!(self.node(id)?, Node::FrozenDir(..) | Node::DiffDir(..));
        Ok((self.handles.insert(handle), cacheable))
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        if let Some(Handle::LiveDir(dataset, ino)) = self.handles.remove(fh).as_deref() {
            dataset.close(*ino);
        }
    }

    /// Calls `each` for the entries of a directory after `position`, until it returns false, which takes
    /// the last one back.
    pub fn list(
        &self,
        id: NodeId,
        fh: u64,
        position: u64,
        each: &mut dyn FnMut(ListEntry<'_>) -> bool,
    ) -> Result<()> {
        let node = self.node(id)?;
        let mut list = Lister { fs: self, each };
        if position < DOT && !list.dot(id, &node, b".", DOT)? {
            return Ok(());
        }
        if position < DOT_DOT && !list.dot(id, &self.parent(&node)?, b"..", DOT_DOT)? {
            return Ok(());
        }
        match &node {
            Node::Top => list.top(position),
            Node::Live(..) => list.live(&node, position),
            Node::FrozenDir(..) | Node::Tagged(..) => list.frozen(&node, position),
            Node::History(..) | Node::File(..) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::Versions(versions) = &*handle else { return Err(Error::Stale) };
                list.versions(&node, versions, position)
            }
            Node::Tags(id, dir) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::Tags(tags) = &*handle else { return Err(Error::Stale) };
                list.tags(*id, *dir, tags, position)
            }
            Node::Hash(..) | Node::Diffs(..) => Ok(()),
            Node::Diff(pair, dirs) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::DiffRoot(size) = *handle else { return Err(Error::Stale) };
                list.diff_root(*pair, *dirs, size, position)
            }
            Node::DiffDir(pair, part, dir) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::Diff(differences) = &*handle else { return Err(Error::Stale) };
                list.diff_dir(*pair, *part, *dir, differences, position)
            }
            Node::Dvc(id, dir) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::Names(names) = &*handle else { return Err(Error::Stale) };
                list.dvc(*id, *dir, names, position)
            }
            Node::Meta(..) => list.meta(&node, position),
            _ => Err(Error::NotADirectory("this".into())),
        }
    }

    fn parent(&self, node: &Node) -> Result<Node> {
        Ok(match node {
            Node::Live(id, ino) if *ino != Ino::ROOT => {
                Node::Live(*id, self.dataset(*id)?.read(|live| live.parent(*ino))?)
            }
            Node::FrozenDir(id, version, ino) | Node::Tagged(id, _, version, ino) if *ino != Ino::ROOT => {
                let place = self.dataset(*id)?.frozen(*version).inode(*ino)?.1.place;
                Node::FrozenDir(*id, *version, place.map_or(Ino::ROOT, |p| p.dir))
            }
            // What is above the root of a mount is the kernel's to know.
            other => other.clone(),
        })
    }
}

struct Lister<'a> {
    fs: &'a FileSystem,
    each: &'a mut dyn FnMut(ListEntry<'_>) -> bool,
}

impl Lister<'_> {
    fn dot(&mut self, id: NodeId, node: &Node, name: &[u8], position: u64) -> Result<bool> {
        let attr = self.fs.attr(node)?;
        Ok((self.each)(ListEntry { name, position, entry: momentary(id, attr) }))
    }

    /// Gives an entry. `cached`: for everybody who comes by, without asking again.
    fn give(&mut self, name: &Name, kind: Kind, position: u64, node: Node, cached: bool) -> Result<bool> {
        // Something that went away between being listed and being looked up is left out.
        let entry = match self.fs.entry(node.clone()) {
            Ok(entry) => entry,
            Err(Error::Stale | Error::NotFound(_)) => return Ok(true),
            // What is damaged is listed, and the error is that of who looks at it.
            Err(error) if error.is_damage() => momentary(self.fs.number(node), unknown(kind)),
            Err(error) => return Err(error),
        };
        let entry = if cached { entry } else { momentary(entry.node, entry.attr) };
        let node = entry.node;
        let taken = (self.each)(ListEntry { name: name.as_bytes(), position, entry });
        if !taken {
            self.fs.forget(node, 1);
        }
        Ok(taken)
    }

    fn top(&mut self, position: u64) -> Result<()> {
        for (i, dataset) in self.fs.repo.datasets().iter().enumerate() {
            let at = FIRST + i as u64;
            let name = Name::new(dataset.name().as_str().as_bytes())?;
            if at > position && !self.give(&name, Kind::Dir, at, Node::Live(dataset.id(), Ino::ROOT), true)? {
                break;
            }
        }
        Ok(())
    }

    fn live(&mut self, node: &Node, mut position: u64) -> Result<()> {
        let Node::Live(id, dir) = *node else { return Err(Error::Stale) };
        let dataset = self.fs.dataset(id)?;
        loop {
            let slots = dataset.read(|live| live.list(dir, (position + 1).max(FIRST), BATCH))?;
            let done = slots.len() < BATCH;
            for slot in slots {
                position = slot.key.position();
                if !self.give(&slot.name, slot.kind, position, Node::Live(id, slot.ino), true)? {
                    return Ok(());
                }
            }
            if done {
                return Ok(());
            }
        }
    }

    fn frozen(&mut self, node: &Node, mut position: u64) -> Result<()> {
        let (id, version, dir) = node.frozen_dir().ok_or(Error::Stale)?;
        let tree = self.fs.dataset(id)?.frozen(version);
        loop {
            let entries = tree.entries(dir, NameKey::before((position + 1).max(FIRST)), BATCH)?;
            let done = entries.len() < BATCH;
            for (key, entry) in entries {
                position = key.position();
                let node = self.fs.frozen_node(id, &tree, &entry)?;
                if !self.give(&entry.name, entry.kind, position, node, true)? {
                    return Ok(());
                }
            }
            if done {
                return Ok(());
            }
        }
    }

    fn tags(&mut self, id: DatasetId, dir: Ino, tags: &[(TagName, Tag)], position: u64) -> Result<()> {
        let dataset = self.fs.dataset(id)?;
        for (i, (tag, at)) in tags.iter().enumerate().skip(position.saturating_sub(FIRST - 1) as usize) {
            let name = Name::new(tag.as_str().as_bytes())?;
            // Who lists is the daemon here: the way there is that of who looks the name up.
            let node = match self.fs.tagged(Caller::default(), &dataset, dir, at, &name) {
                Err(Error::NotFound(_)) => continue,
                node => node?,
            };
            if !self.give(&name, Kind::Dir, FIRST + i as u64, node, false)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn diff_root(&mut self, pair: Pair, dirs: [Option<Ino>; 2], size: u64, position: u64) -> Result<()> {
        for (at, (name, kind, node)) in (FIRST..).zip(diffs::root_entries(pair, dirs, size)) {
            if at > position && !self.give(&Name::new(name)?, kind, at, node, false)? {
                break;
            }
        }
        Ok(())
    }

    fn diff_dir(
        &mut self,
        pair: Pair,
        part: Part,
        dir: Option<Ino>,
        differences: &Differences,
        position: u64,
    ) -> Result<()> {
        let Some(dir) = dir else { return Ok(()) };
        let tree = self.fs.dataset(pair.dataset)?.frozen(pair.version(part));
        for key in differences.shown_after(part, dir, position) {
            let Some(entry) = tree.entry(dir, *key)? else { continue };
            let node = self.fs.diff_node(pair, part, &tree, &entry)?;
            if !self.give(&entry.name, entry.kind, key.position(), node, true)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn dvc(&mut self, id: DatasetId, dir: DvcDir, names: &[Name], position: u64) -> Result<()> {
        for (i, name) in names.iter().enumerate().skip(position.saturating_sub(FIRST - 1) as usize) {
            let node = match self.fs.lookup_dvc(id, dir, name) {
                Err(Error::NotFound(_)) => continue,
                node => node?,
            };
            let kind = if matches!(node, Node::Dvc(..)) { Kind::Dir } else { Kind::File };
            if !self.give(name, kind, FIRST + i as u64, node, false)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn meta(&mut self, node: &Node, position: u64) -> Result<()> {
        for (i, about) in About::ALL.iter().enumerate().skip(position.saturating_sub(FIRST - 1) as usize) {
            let name = Name::new(about.file_name().as_bytes())?;
            let node = self.fs.lookup_meta(node, &name)?;
            let attr = self.fs.meta_attr_listed(&node)?;
            let entry = momentary(self.fs.number(node), attr);
            let node = entry.node;
            if !(self.each)(ListEntry { name: name.as_bytes(), position: FIRST + i as u64, entry }) {
                self.fs.forget(node, 1);
                break;
            }
        }
        Ok(())
    }

    fn versions(&mut self, node: &Node, versions: &[VersionNo], position: u64) -> Result<()> {
        let first = position.saturating_sub(FIRST - 1);
        for (i, version) in versions.iter().enumerate().skip(first as usize) {
            let at = FIRST + i as u64;
            let name = Name::new(version.to_string().as_bytes())?;
            let mut kind = Kind::Symlink;
            let target = match node {
                Node::History(id, _) => Node::HistoryLink(*id, *version),
                Node::File(id, path) => {
                    let tree = self.fs.dataset(*id)?.frozen(*version);
                    let Some((ino, found)) = tree.walk(path)? else { continue };
                    kind = found;
                    self.fs.frozen_node(*id, &tree, &Dirent { name: name.clone(), ino, kind })?
                }
                _ => return Err(Error::Stale),
            };
            if !self.give(&name, kind, at, target, matches!(node, Node::History(..)))? {
                return Ok(());
            }
        }
        let end = FIRST + versions.len() as u64;
        if let (Node::History(id, dir), true) = (node, position < end) {
            // Its size is computed only for who asks: that takes reading the whole history.
            let attr = self.fs.generated_attr(&*self.fs.dataset(*id)?, Kind::File, 0, None)?;
            let node = self.fs.number(Node::HistoryLog(*id, *dir));
            if !(self.each)(ListEntry { name: LOG_NAME, position: end, entry: momentary(node, attr) }) {
                self.fs.forget(node, 1);
            }
        }
        Ok(())
    }
}

fn momentary(node: NodeId, attr: Attr) -> Entry {
    Entry { node, attr, lifetime: Lifetime::Momentary, name_lifetime: Lifetime::Momentary }
}
