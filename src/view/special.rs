//! `@` names in live directories and the special directories they lead to.

use std::sync::Arc;

use crate::dataset::{Attr, Dataset, Error, Result};
use crate::model::{AtName, DatasetId, Ino, Kind, Name, Timestamp, VersionNo, VersionSpec};

use super::fs::{FileSystem, not_found};
use super::nodes::Node;

/// Name of the log within `@history`.
pub(super) const LOG_NAME: &[u8] = b"log.jsonl";

/// The text of `@history/log.jsonl`, kept to be continued.
#[derive(Debug)]
pub struct LogText {
    dataset: DatasetId,
    dir: Ino,
    newest: VersionNo,
    text: Arc<Vec<u8>>,
}

impl FileSystem {
    /// What an `@` name means in a live directory where nothing real has that name.
    pub(super) fn lookup_at(
        &self,
        dataset: &Arc<Dataset>,
        dir: Ino,
        at: &AtName,
        name: &Name,
    ) -> Result<Node> {
        // Somebody looks at the history: it must not lag behind the live tree.
        dataset.seal_to_look()?;
        let id = dataset.id();
        match at {
            AtName::Version(spec) => {
                let version = dataset.resolve(spec).inspect_err(|error| {
                    if matches!(error, Error::Ambiguous { .. }) {
                        log::warn!("{error}");
                    }
                })?;
                self.dir_at(dataset, dir, version)?.ok_or_else(|| not_found(name))
            }
            AtName::Latest => Ok(Node::AtLink(id, dataset.resolve(&VersionSpec::Latest)?)),
            AtName::Prev => Ok(Node::AtLink(id, dataset.resolve(&VersionSpec::Prev)?)),
            AtName::History => Ok(Node::History(id, dir)),
            AtName::Hash => Ok(Node::Hash(id, dir)),
            AtName::File => Ok(Node::File(id, self.live_path(dataset, dir)?)),
            AtName::Reserved => Err(not_found(name)),
        }
    }

    fn live_path(&self, dataset: &Dataset, dir: Ino) -> Result<Vec<Name>> {
        dataset.read(|live| live.path(dir))?.ok_or(Error::Stale)
    }

    /// A live directory as it was at a version: what its path named then or, where that was no
    /// directory, what the directory itself was under whatever name.
    fn dir_at(&self, dataset: &Dataset, dir: Ino, version: VersionNo) -> Result<Option<Node>> {
        let tree = dataset.frozen(version);
        let node = |ino| Some(Node::FrozenDir(dataset.id(), version, ino));
        if dir == Ino::ROOT {
            return Ok(node(dir));
        }
        if let Some((ino, Kind::Dir)) = tree.walk(&self.live_path(dataset, dir)?)? {
            return Ok(node(ino));
        }
        let named = match tree.inode(dir) {
            Ok((_, inode)) => match inode.place {
                Some(place) => tree.entry(place.dir, place.key)?.is_some_and(|entry| entry.ino == dir),
                None => false,
            },
            Err(Error::Stale) => false,
            Err(error) => return Err(error),
        };
        Ok(if named { node(dir) } else { None })
    }

    /// Looks up a name in a special directory.
    pub(super) fn lookup_special(&self, parent: &Node, name: &Name) -> Result<Node> {
        // Paths below `@file` may have any bytes; versions and hashes are text.
        let text = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
        match parent {
            Node::History(id, dir) if name.as_bytes() == LOG_NAME => Ok(Node::HistoryLog(*id, *dir)),
            Node::History(id, dir) => {
                let dataset = self.dataset(*id)?;
                let version = plain_version(text).ok_or_else(|| not_found(name))?;
                let listed = match *dir {
                    Ino::ROOT => version <= dataset.newest() && !dataset.is_lost(version),
                    dir => self.history_versions(&dataset, dir)?.binary_search(&version).is_ok(),
                };
                if listed { Ok(Node::HistoryLink(*id, version)) } else { Err(not_found(name)) }
            }
            Node::Hash(id, dir) => {
                let dataset = self.dataset(*id)?;
                let spec = VersionSpec::parse_hash(text).ok_or_else(|| not_found(name))?;
                self.lookup_at(&dataset, *dir, &AtName::Version(spec), name)
            }
            Node::File(id, path) => self.lookup_file(*id, path, name, text),
            _ => Err(Error::NotADirectory(name.to_string())),
        }
    }

    /// Below `@file`: a path that some version has had or, below a file's path, a version in which it
    /// changed.
    fn lookup_file(&self, id: DatasetId, path: &[Name], name: &Name, text: &str) -> Result<Node> {
        let dataset = self.dataset(id)?;
        let mut longer = path.to_vec();
        longer.push(name.clone());
        if dataset.path_versions(&longer)?.is_some() {
            return Ok(Node::File(id, longer));
        }
        let version =
            plain_version(text).filter(|v| *v <= dataset.newest()).ok_or_else(|| not_found(name))?;
        if !self.file_versions(&dataset, path)?.contains(&version) {
            return Err(not_found(name));
        }
        let tree = dataset.frozen(version);
        let (ino, kind) = tree.walk(path)?.ok_or_else(|| not_found(name))?;
        self.frozen_node(id, &tree, &crate::model::Dirent { name: name.clone(), ino, kind })
    }

    /// The versions in which the file at `path` came or changed.
    pub(super) fn file_versions(&self, dataset: &Dataset, path: &[Name]) -> Result<Vec<VersionNo>> {
        let mut versions = dataset.path_versions(path)?.unwrap_or_default();
        let mut result = Ok(());
        versions.retain(|version| match dataset.frozen(*version).walk(path) {
            Ok(found) => found.is_some_and(|(_, kind)| kind != Kind::Dir),
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result.map(|()| versions)
    }

    /// The versions that `@history` of a live directory lists: those of its path.
    pub(super) fn history_versions(&self, dataset: &Dataset, dir: Ino) -> Result<Vec<VersionNo>> {
        Ok(dataset.path_versions(&self.live_path(dataset, dir)?)?.unwrap_or_default())
    }

    /// The text of `@history/log.jsonl`: a line for each version listed beside it, oldest first.
    pub(super) fn log_text(&self, id: DatasetId, dir: Ino) -> Result<Arc<Vec<u8>>> {
        let dataset = self.dataset(id)?;
        dataset.seal_to_look()?;
        let mut kept = self.log_text.lock();
        let (start, mut text) = match kept.take() {
            Some(log) if log.dataset == id && log.dir == dir => (log.newest, log.text),
            _ => (VersionNo::EMPTY, Arc::default()),
        };
        let newest = dataset.newest();
        let versions: Vec<VersionNo> = match dir {
            Ino::ROOT => dataset.versions_from(start.next())?,
            dir => self.history_versions(&dataset, dir)?.into_iter().filter(|v| *v > start).collect(),
        };
        if !versions.is_empty() {
            let lines = Arc::make_mut(&mut text);
            for version in versions {
                // Writing to memory cannot fail.
                let _ = serde_json::to_writer(&mut *lines, &dataset.log_entry(version)?);
                lines.push(b'\n');
            }
        }
        *kept = Some(LogText { dataset: id, dir, newest, text: text.clone() });
        Ok(text)
    }

    pub(super) fn special_attr(&self, node: &Node) -> Result<Attr> {
        let (kind, size, id, time) = match node {
            Node::HistoryLog(id, dir) => (Kind::File, self.log_text(*id, *dir)?.len() as u64, *id, None),
            Node::HistoryLink(id, version) => {
                let size = format!("../@{version}").len() as u64;
                (Kind::Symlink, size, *id, Some(self.dataset(*id)?.version_time(*version)?))
            }
            Node::AtLink(id, version) => {
                let size = format!("@{version}").len() as u64;
                (Kind::Symlink, size, *id, Some(self.dataset(*id)?.version_time(*version)?))
            }
            Node::History(id, _) | Node::Hash(id, _) | Node::File(id, _) => (Kind::Dir, 0, *id, None),
            _ => return Err(Error::Stale),
        };
        let dataset = self.dataset(id)?;
        self.generated_attr(&dataset, kind, size, time)
    }

    /// Attributes of something generated: it belongs to whom the dataset belongs to, and may be read by
    /// whom may read the dataset's root.
    pub(super) fn generated_attr(
        &self,
        dataset: &Dataset,
        kind: Kind,
        size: u64,
        time: Option<Timestamp>,
    ) -> Result<Attr> {
        let root = dataset.read(|live| live.attr(Ino::ROOT))?;
        let time = match time {
            Some(time) => time,
            None if dataset.newest() > VersionNo::EMPTY => dataset.version_time(dataset.newest())?,
            None => root.mtime,
        };
        let mode = match kind {
            Kind::Symlink => 0o777,
            Kind::Dir => root.mode & 0o555,
            _ => root.mode & 0o444,
        };
        let (nlink, rdev) = (if kind == Kind::Dir { 2 } else { 1 }, 0);
        let (uid, gid) = (root.uid, root.gid);
        Ok(Attr {
            kind,
            size,
            data: size,
            mode,
            uid,
            gid,
            nlink,
            rdev,
            atime: time,
            mtime: time,
            ctime: time,
        })
    }
}

/// `v12`, and nothing more.
fn plain_version(text: &str) -> Option<VersionNo> {
    match VersionSpec::parse(text)? {
        VersionSpec::Number { number, back: 0 } if !text.contains('~') => Some(number),
        _ => None,
    }
}
