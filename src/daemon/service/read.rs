//! Reading files and directories, live or as of a version.

use std::sync::Arc;

use crate::dataset::{Dataset, Error, Frozen, Live, SORT_MAX};
use crate::model::{Body, Content, DatasetId, Ino, Kind, Name, VersionNo, show_path};
use crate::store::content::{BLOCK, read_at};
use crate::store::content_id;

use super::super::failure::Failure;
use super::super::object::ObjectSpec;
use super::super::protocol::{EntryInfo, Item, kind_name};
use super::reading::Reading;
use super::{Service, Sink};

/// Entries read at a time.
const PAGE: usize = 1024;

/// The tree an object is looked up in.
pub(super) enum Tree {
    Live(Arc<Dataset>),
    Version(Frozen, #[expect(dead_code, reason = "it is there to be dropped")] Reading),
}

impl Service {
    pub(super) fn cat(&self, object: &ObjectSpec, sink: &mut dyn Sink) -> Result<(), Failure> {
        let tree = self.tree(object)?;
        let (ino, kind) = tree.find(object)?;
        match kind {
            Kind::File => {}
            Kind::Dir => return Err(Error::IsADirectory(show(object)).into()),
            kind => return Err(Failure::new(format!("{} is no file: {}", show(object), kind_name(kind)))),
        }
        let ((content, _reading), objects) = (self.content(&tree, ino)?, self.repo.objects());
        let mut block = vec![0; content.size().min(BLOCK as u64) as usize];
        let mut at = 0;
        loop {
            let read = read_at(objects, &content, at, &mut block)?;
            if read == 0 {
                return Ok(());
            }
            sink.data(&block[..read])?;
            at += read as u64;
        }
    }

    pub(super) fn read(
        &self,
        object: &ObjectSpec,
        offset: u64,
        len: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let tree = self.tree(object)?;
        let (ino, kind) = tree.find(object)?;
        if kind != Kind::File {
            return Err(Failure::new(format!("{} is no file: {}", show(object), kind_name(kind))));
        }
        let ((content, _reading), objects) = (self.content(&tree, ino)?, self.repo.objects());
        let len = content.size().saturating_sub(offset).min(len).min(BLOCK as u64);
        let mut block = vec![0; len as usize];
        let read = if len > 0 { read_at(objects, &content, offset, &mut block)? } else { 0 };
        sink.data(&block[..read])
    }

    /// Tells which version an object is of, and what it is in it; gives what keeps that version.
    pub(super) fn resolve_object(
        &self,
        object: ObjectSpec,
        sink: &mut dyn Sink,
    ) -> Result<(DatasetId, VersionNo, Reading), Failure> {
        let (dataset, version, reading) = self.version_of(&object)?;
        sink.item(Item::Resolved((version > VersionNo::EMPTY).then(|| version.to_string())))?;
        let tree = Tree::Version(dataset.frozen(version), reading.clone());
        match tree.find(&object) {
            Ok((ino, _)) => {
                let name = object.path.last().map_or(object.dataset.as_str().as_bytes(), Name::as_bytes);
                sink.item(Item::Entry(tree.entry(name, ino)?))?;
            }
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((dataset.id(), version, reading))
    }

    pub(super) fn list(&self, object: &ObjectSpec, sink: &mut dyn Sink) -> Result<(), Failure> {
        let tree = self.tree(object)?;
        let (ino, kind) = tree.find(object)?;
        if kind != Kind::Dir {
            let name = object.path.last().map_or(object.dataset.as_str().as_bytes(), Name::as_bytes);
            return sink.item(Item::Entry(tree.entry(name, ino)?));
        }
        let mut pages = Pages::new(&tree, ino);
        let mut names = Vec::new();
        while let Some(page) = pages.next()? {
            names.extend(page.into_iter().map(|(name, ino, _)| (name, ino)));
            if names.len() > SORT_MAX {
                break;
            }
        }
        if names.len() <= SORT_MAX {
            names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        loop {
            for (name, ino) in names {
                match tree.entry(name.as_bytes(), ino) {
                    // Gone since it was listed.
                    Err(Error::Stale | Error::NotFound(_)) if matches!(tree, Tree::Live(_)) => {}
                    entry => sink.item(Item::Entry(entry?))?,
                }
            }
            match pages.next()? {
                Some(page) => names = page.into_iter().map(|(name, ino, _)| (name, ino)).collect(),
                None => return Ok(()),
            }
        }
    }

    /// The tree that an object is in.
    pub(super) fn tree(&self, object: &ObjectSpec) -> Result<Tree, Failure> {
        let Some(version) = &object.version else {
            return Ok(Tree::Live(self.repo.dataset(object.dataset.as_str())?));
        };
        let (dataset, version, reading) = self.at_version(&object.dataset, version)?;
        Ok(Tree::Version(dataset.frozen(version), reading))
    }

    /// A file's content, and what keeps that of a live one.
    fn content(&self, tree: &Tree, ino: Ino) -> Result<(Content, Option<Reading>), Error> {
        let Tree::Live(dataset) = tree else { return Ok((tree.content(ino)?, None)) };
        dataset.read(|live| {
            let content = live.content(ino)?;
            let reading = self.readings.content(content.clone());
            Ok((content, Some(reading)))
        })
    }
}

impl Tree {
    /// The inode of an object.
    pub(super) fn find(&self, object: &ObjectSpec) -> Result<(Ino, Kind), Error> {
        let found = match self {
            Tree::Live(dataset) => dataset.read(|live| walk(live, &object.path))?,
            Tree::Version(frozen, _) => frozen.walk(&object.path)?,
        };
        found.ok_or_else(|| Error::NotFound(show(object)))
    }

    /// A file's content.
    pub(super) fn content(&self, ino: Ino) -> Result<Content, Error> {
        match self {
            Tree::Live(dataset) => dataset.read(|live| live.content(ino)),
            Tree::Version(frozen, _) => match frozen.certain_inode(ino)?.1.body {
                Body::File(content) => Ok(content),
                _ => Err(Error::Stale),
            },
        }
    }

    fn entry(&self, name: &[u8], ino: Ino) -> Result<EntryInfo, Error> {
        let mut content_of = None;
        let (attr, target) = match self {
            Tree::Live(dataset) => dataset.read(|live| {
                let attr = live.attr(ino)?;
                let target = (attr.kind == Kind::Symlink).then(|| live.symlink(ino)).transpose()?;
                Ok((attr, target))
            })?,
            Tree::Version(frozen, _) => {
                let inode = frozen.certain_inode(ino)?.1;
                let attr = (&inode).into();
                let target = match inode.body {
                    Body::Symlink(target) => Some(target),
                    Body::File(content) => {
                        content_of = Some(content_id(&content).to_hex());
                        None
                    }
                    _ => None,
                };
                (attr, target)
            }
        };
        Ok(EntryInfo {
            name: name.to_vec(),
            kind: attr.kind,
            size: attr.size,
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            mtime: attr.mtime.to_string(),
            target: target.map(Into::into),
            content: content_of,
        })
    }
}

fn walk(live: &mut Live, path: &[Name]) -> Result<Option<(Ino, Kind)>, Error> {
    let mut at = (Ino::ROOT, Kind::Dir);
    for name in path {
        if at.1 != Kind::Dir {
            return Ok(None);
        }
        let Some(ino) = live.lookup(at.0, name)? else { return Ok(None) };
        at = (ino, live.attr(ino)?.kind);
    }
    Ok(Some(at))
}

/// An entry of a directory.
type Found = (Name, Ino, Kind);

/// A directory's entries, some at a time.
pub(super) struct Pages<'a> {
    tree: &'a Tree,
    dir: Ino,
    next: Next,
}

enum Next {
    Start,
    Position(u64),
    After(crate::model::NameKey),
    End,
}

impl<'a> Pages<'a> {
    /// Those of directory `dir` of a tree.
    pub(super) fn new(tree: &'a Tree, dir: Ino) -> Pages<'a> {
        Pages { tree, dir, next: Next::Start }
    }

    /// The next ones, with their names; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Found>>, Error> {
        let (page, next) = match (self.tree, &self.next) {
            (_, Next::End) => return Ok(None),
            (Tree::Live(dataset), at) => {
                let position = if let Next::Position(position) = at { *position } else { 0 };
                let page = dataset.read(|live| live.list(self.dir, position, PAGE))?;
                let next = page.last().map(|slot| Next::Position(slot.key.position() + 1));
                (page.into_iter().map(|slot| (slot.name, slot.ino, slot.kind)).collect::<Vec<_>>(), next)
            }
            (Tree::Version(frozen, _), at) => {
                let after = if let Next::After(key) = at { Some(*key) } else { None };
                let page = frozen.entries(self.dir, after, PAGE)?;
                let next = page.last().map(|(key, _)| Next::After(*key));
                (page.into_iter().map(|(_, entry)| (entry.name, entry.ino, entry.kind)).collect(), next)
            }
        };
        self.next = next.unwrap_or(Next::End);
        Ok((!page.is_empty()).then_some(page))
    }
}

/// An object as it is written.
pub(super) fn show(object: &ObjectSpec) -> String {
    let version = object.version.as_ref().map_or(String::new(), |v| format!("@{}", v.as_str()));
    let path = show_path(&object.path);
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{}{version}{slash}{path}", object.dataset)
}
