//! Listing directories.
//!
//! Entries of live and frozen directories are listed in the order of their name keys, and the position
//! of an entry is part of its key: whatever is added or removed meanwhile, a listing that goes on shows
//! every entry that stayed exactly once.

use crate::dataset::meta::About;
use crate::dataset::{Attr, Caller, Error, Result, Tag};
use crate::model::{DatasetId, Dirent, Ino, Kind, Name, NameKey, TagName, Timestamp, VersionNo};

use super::diffs::{self, Differences, Pair, Part};
use super::fs::{Entry, FileSystem, Lifetime, is_history_fixed, unknown};
use super::handles::Handle;
use super::nodes::{DvcDir, Node, NodeId};
use super::special::{LOG_NAME, history_link_attr};

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
                Handle::History(self.history_times(&dataset, dir)?)
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
            Node::Diff(pair, dirs) => Handle::DiffRoot(self.diff_summary(by, pair, dirs)?.size()),
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
            Node::History(id, dir) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::History(versions) = &*handle else { return Err(Error::Stale) };
                list.history(*id, *dir, versions, position)
            }
            Node::File(id, path) => {
                let handle = self.handles.get(fh).ok_or(Error::Stale)?;
                let Handle::Versions(versions) = &*handle else { return Err(Error::Stale) };
                list.versions(*id, path, versions, position)
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
        Ok(self.take(name.as_bytes(), position, entry))
    }

    /// Gives an entry that was looked up, and takes the look-up back where there is no room for it.
    fn take(&mut self, name: &[u8], position: u64, entry: Entry) -> bool {
        let node = entry.node;
        let taken = (self.each)(ListEntry { name, position, entry });
        if !taken {
            self.fs.forget(node, 1);
        }
        taken
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
            if !self.take(name.as_bytes(), FIRST + i as u64, momentary(self.fs.number(node), attr)) {
                break;
            }
        }
        Ok(())
    }

    fn versions(
        &mut self,
        id: DatasetId,
        path: &[Name],
        versions: &[VersionNo],
        position: u64,
    ) -> Result<()> {
        let dataset = self.fs.dataset(id)?;
        for (i, version) in versions.iter().enumerate().skip(position.saturating_sub(FIRST - 1) as usize) {
            let name = Name::new(version.to_string().as_bytes())?;
            let tree = dataset.frozen(*version);
            let Some((ino, kind)) = tree.walk(path)? else { continue };
            let entry = Dirent { name: name.clone(), ino, kind };
            let target = self.fs.frozen_node(id, &tree, &entry)?;
            if !self.give(&name, kind, FIRST + i as u64, target, false)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// There can be very many, so what they have in common is come by once.
    fn history(
        &mut self,
        id: DatasetId,
        dir: Ino,
        versions: &[(VersionNo, Option<Timestamp>)],
        position: u64,
    ) -> Result<()> {
        let dataset = self.fs.dataset(id)?;
        let common = self.fs.generated_attr(&dataset, Kind::Symlink, 0, None)?;
        let lifetime = if is_history_fixed(dir) { Lifetime::Immutable } else { Lifetime::Momentary };
        let first = position.saturating_sub(FIRST - 1) as usize;
        for (i, (version, time)) in versions.iter().enumerate().skip(first) {
            let at = FIRST + i as u64;
            let (name, link) = (Name::new(version.to_string().as_bytes())?, Node::HistoryLink(id, *version));
            let taken = match *time {
                Some(time) => {
                    let attr = history_link_attr(&common, *version, time);
                    let entry = Entry { node: self.fs.number(link), attr, lifetime, name_lifetime: lifetime };
                    self.take(name.as_bytes(), at, entry)
                }
                None => self.give(&name, Kind::Symlink, at, link, true)?,
            };
            if !taken {
                return Ok(());
            }
        }
        let end = FIRST + versions.len() as u64;
        if position < end {
            // Its size is computed only for who asks: that takes reading the whole history.
            let attr = self.fs.generated_attr(&dataset, Kind::File, 0, None)?;
            let node = self.fs.number(Node::HistoryLog(id, dir));
            self.take(LOG_NAME, end, momentary(node, attr));
        }
        Ok(())
    }
}

fn momentary(node: NodeId, attr: Attr) -> Entry {
    Entry { node, attr, lifetime: Lifetime::Momentary, name_lifetime: Lifetime::Momentary }
}
