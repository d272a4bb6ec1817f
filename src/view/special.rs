//! `@` names in live directories and the special directories they lead to.

use std::sync::Arc;

use crate::dataset::{Attr, Caller, Dataset, Error, Frozen, Result, Tag};
use crate::model::{AtName, DatasetId, Dirent, Ino, Kind, Name, TagName, Timestamp, VersionNo, VersionSpec};

use super::fs::{FileSystem, not_found};
use super::nodes::{DvcDir, Node};
use super::way::{Sight, Way, ever_searchable, files_seen, look, way_to};

/// Name of the log within `@history`.
pub(super) const LOG_NAME: &[u8] = b"log.jsonl";

/// The text of `@history/log.jsonl`, kept to be continued.
#[derive(Debug)]
pub struct LogText {
    dataset: DatasetId,
    dir: Ino,
    newest: VersionNo,
    /// What was said of versions by then.
    said: u64,
    text: Arc<Vec<u8>>,
}

impl FileSystem {
    /// What an `@` name means to `by` in a live directory where nothing real has that name, and who may come
    /// that way.
    pub(super) fn lookup_at(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        dir: Ino,
        at: &AtName,
        name: &Name,
    ) -> Result<(Node, Way)> {
        // Somebody looks at the history: it must not lag behind the live tree.
        dataset.seal_to_look()?;
        let id = dataset.id();
        let node = match at {
            AtName::Version(spec) => {
                let version = dataset.resolve(spec).inspect_err(|error| {
                    if matches!(error, Error::Ambiguous { .. }) {
                        log::warn!("{error}");
                    }
                })?;
                let tree = dataset.frozen(version);
                let ino = self.dir_at(dataset, dir, &tree)?.ok_or_else(|| not_found(name))?;
                return match way_to(&tree, ino, by)? {
                    Way::Barred => Err(Error::Barred(name.to_string())),
                    way => Ok((Node::FrozenDir(id, version, ino), way)),
                };
            }
            AtName::Latest => Node::AtLink(id, dataset.resolve(&VersionSpec::Latest)?),
            AtName::Prev => Node::AtLink(id, dataset.resolve(&VersionSpec::Prev)?),
            AtName::History => Node::History(id, dir),
            AtName::Hash => Node::Hash(id, dir),
            AtName::File => Node::File(id, self.live_path(dataset, dir)?),
            AtName::Tag => Node::Tags(id, dir),
            AtName::Diff => Node::Diffs(id, dir),
            AtName::Dvc => Node::Dvc(id, DvcDir::Root),
            AtName::Meta => Node::MetaLink(id, dataset.resolve(&VersionSpec::Latest)?),
            AtName::Reserved => return Err(not_found(name)),
        };
        Ok((node, Way::Open))
    }

    fn live_path(&self, dataset: &Dataset, dir: Ino) -> Result<Vec<Name>> {
        dataset.read(|live| live.path(dir))?.ok_or(Error::Stale)
    }

    /// A live directory as it was at a version: what its path named then or, where that was no
    /// directory, what the directory itself was under whatever name.
    pub(super) fn dir_at(&self, dataset: &Dataset, dir: Ino, tree: &Frozen) -> Result<Option<Ino>> {
        if dir == Ino::ROOT {
            return Ok(Some(dir));
        }
        if let Some((ino, Kind::Dir)) = tree.walk(&self.live_path(dataset, dir)?)? {
            return Ok(Some(ino));
        }
        let named = match tree.inode(dir) {
            Ok((_, inode)) => match inode.place {
                Some(place) => tree.entry(place.dir, place.key)?.is_some_and(|entry| entry.ino == dir),
                None => false,
            },
            Err(Error::Stale) => false,
            Err(error) => return Err(error),
        };
        Ok(named.then_some(dir))
    }

    /// Looks up a name in a special directory for `by`.
    pub(super) fn lookup_special(&self, by: Caller, parent: &Node, name: &Name) -> Result<Node> {
        // Paths below `@file` may have any bytes; versions and hashes are text.
        let text = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
        match parent {
            Node::History(id, dir) if name.as_bytes() == LOG_NAME => Ok(Node::HistoryLog(*id, *dir)),
            Node::History(id, dir) => {
                let dataset = self.dataset(*id)?;
                let version = plain_version(text).ok_or_else(|| not_found(name))?;
                let listed = dataset.is_kept_path_version(&self.live_path(&dataset, *dir)?, version)?;
                if listed { Ok(Node::HistoryLink(*id, version)) } else { Err(not_found(name)) }
            }
            Node::Hash(id, dir) => {
                let dataset = self.dataset(*id)?;
                let spec = VersionSpec::parse_hash(text).ok_or_else(|| not_found(name))?;
                Ok(self.lookup_at(by, &dataset, *dir, &AtName::Version(spec), name)?.0)
            }
            Node::Tags(id, dir) => {
                let dataset = self.dataset(*id)?;
                let tag = TagName::new(text).ok().and_then(|tag| dataset.tag(&tag));
                let tag = tag.ok_or_else(|| not_found(name))?;
                self.tagged(by, &dataset, *dir, &tag, name)
            }
            Node::Diffs(..) | Node::Diff(..) | Node::DiffDir(..) => self.lookup_diff(by, parent, name),
            Node::File(id, path) => self.lookup_file(by, *id, path, name, text),
            Node::Dvc(id, dir) => self.lookup_dvc(*id, *dir, name),
            Node::Meta(..) => self.lookup_meta(parent, name),
            _ => Err(Error::NotADirectory(name.to_string())),
        }
    }

    /// A live directory as it was at the version that a tag names.
    pub(super) fn tagged(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        dir: Ino,
        tag: &Tag,
        name: &Name,
    ) -> Result<Node> {
        let spec = VersionSpec::Number { number: tag.version, back: 0 };
        match self.lookup_at(by, dataset, dir, &AtName::Version(spec), name)?.0 {
            Node::FrozenDir(id, version, dir) => Ok(Node::Tagged(id, tag.sequence, version, dir)),
            _ => Err(not_found(name)),
        }
    }

    /// Below `@file`: a path that some version has had or, below a file's path, a version in which it
    /// changed; as far as `by` could see it then.
    fn lookup_file(&self, by: Caller, id: DatasetId, path: &[Name], name: &Name, text: &str) -> Result<Node> {
        let dataset = self.dataset(id)?;
        let mut longer = path.to_vec();
        longer.push(name.clone());
        if self.was_ever_dir(&dataset, path)? && self.was_in_sight(by, &dataset, &longer)? {
            return Ok(Node::File(id, longer));
        }
        if let Some(version) = plain_version(text)
            && dataset.is_kept_path_version(path, version)?
        {
            let tree = dataset.frozen(version);
            if let Sight::Found(ino, kind) = look(&tree, path, by)?
                && kind != Kind::Dir
            {
                return self.frozen_node(id, &tree, &Dirent { name: name.clone(), ino, kind });
            }
        }
        // Nobody learns from the error whether there is something that they could never see.
        let is_hidden = self.file_versions(by, &dataset, path)?.is_empty();
        match is_hidden && !ever_searchable(&dataset, path, by)? {
            true => Err(Error::Barred(name.to_string())),
            false => Err(not_found(name)),
        }
    }

    /// Whether a path was a directory in any version. Of a file that was replaced again and again, that takes a look at
    /// each of them: so it is remembered that it was none.
    fn was_ever_dir(&self, dataset: &Dataset, path: &[Name]) -> Result<bool> {
        let (key, newest) = ((dataset.id(), path.to_vec()), dataset.newest());
        if self.never_dirs.lock().get(&key) == Some(&newest) {
            return Ok(false);
        }
        let is_dir = dataset.was_ever_dir(path)?;
        if !is_dir {
            self.never_dirs.lock().put(key, newest);
        }
        Ok(is_dir)
    }

    /// Whether `by` sees something at `path` in one of the versions in which that came or changed.
    fn was_in_sight(&self, by: Caller, dataset: &Dataset, path: &[Name]) -> Result<bool> {
        let is_in = |version| {
            let seen = look(&dataset.frozen(version), path, by);
            seen.map(|sight| matches!(sight, Sight::Found(..)))
        };
        let key = (dataset.id(), path.to_vec());
        // A listing looks the path up again for each version of it. What is remembered is where to look first.
        let remembered = self.sighted.lock().get(&key).copied();
        if let Some(version) = remembered
            && dataset.is_kept_path_version(path, version)?
            && is_in(version)?
        {
            return Ok(true);
        }
        for version in dataset.kept_path_versions(path)?.into_iter().rev() {
            if is_in(version)? {
                self.sighted.lock().put(key, version);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The versions in which the file at `path` came or changed, and `by` could see it.
    pub(super) fn file_versions(
        &self,
        by: Caller,
        dataset: &Dataset,
        path: &[Name],
    ) -> Result<Vec<VersionNo>> {
        files_seen(dataset, dataset.kept_path_versions(path)?, path, by)
    }

    /// The versions that `@history` of a live directory lists: those of its path.
    pub(super) fn history_versions(&self, dataset: &Dataset, dir: Ino) -> Result<Vec<VersionNo>> {
        dataset.kept_path_versions(&self.live_path(dataset, dir)?)
    }

    /// The same, with when each was made, where that is known.
    pub(super) fn history_times(
        &self,
        dataset: &Dataset,
        dir: Ino,
    ) -> Result<Vec<(VersionNo, Option<Timestamp>)>> {
        if dir != Ino::ROOT {
            let versions = self.history_versions(dataset, dir)?;
            return Ok(versions.into_iter().map(|v| (v, dataset.version_time(v).ok())).collect());
        }
        let pruned = dataset.pruned();
        let mut times = dataset.version_times()?;
        times.retain(|(version, _)| !pruned.contains(*version));
        Ok(times)
    }

    /// The text of `@history/log.jsonl`: a line for each version listed beside it, oldest first.
    pub(super) fn log_text(&self, id: DatasetId, dir: Ino) -> Result<Arc<Vec<u8>>> {
        let dataset = self.dataset(id)?;
        dataset.seal_to_look()?;
        let mut kept = self.log_text.lock();
        let said = dataset.said();
        let (start, mut text) = match kept.take() {
            Some(log) if log.dataset == id && log.dir == dir && log.said == said => (log.newest, log.text),
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
                let mut entry = dataset.log_entry(version)?;
                if self.shared {
                    // Its arguments are not for everybody who may read the history.
                    entry.command.truncate(entry.command.find(' ').unwrap_or(entry.command.len()));
                }
                // Writing to memory cannot fail.
                let _ = serde_json::to_writer(&mut *lines, &entry);
                lines.push(b'\n');
            }
        }
        *kept = Some(LogText { dataset: id, dir, newest, said, text: text.clone() });
        Ok(text)
    }

    pub(super) fn special_attr(&self, node: &Node) -> Result<Attr> {
        let (kind, size, id, time) = match node {
            Node::HistoryLog(id, dir) => (Kind::File, self.log_text(*id, *dir)?.len() as u64, *id, None),
            Node::HistoryLink(id, version) => {
                let dataset = self.dataset(*id)?;
                let time = dataset.version_time(*version)?;
                let attr = self.generated_attr(&dataset, Kind::Symlink, 0, Some(time))?;
                return Ok(history_link_attr(&attr, *version, time));
            }
            Node::Meta(..) | Node::MetaText(..) => return self.meta_attr(node),
            Node::MetaLink(id, version) => {
                let size = meta_target(*version).len() as u64;
                (Kind::Symlink, size, *id, Some(self.dataset(*id)?.version_time(*version)?))
            }
            Node::AtLink(id, version) => {
                let size = format!("@{version}").len() as u64;
                (Kind::Symlink, size, *id, Some(self.dataset(*id)?.version_time(*version)?))
            }
            Node::Tags(id, _) => {
                let dataset = self.dataset(*id)?;
                let attr = self.generated_attr(&dataset, Kind::Dir, 0, None)?;
                // Who may make something in the dataset may make tags.
                let mode = dataset.read(|live| live.attr(Ino::ROOT))?.mode & 0o777;
                return Ok(Attr { mode, ..attr });
            }
            Node::History(id, _) | Node::Hash(id, _) | Node::File(id, _) | Node::Diffs(id, _) => {
                (Kind::Dir, 0, *id, None)
            }
            Node::Diff(pair, _) | Node::DiffDir(pair, ..) => {
                (Kind::Dir, 0, pair.dataset, Some(self.dataset(pair.dataset)?.version_time(pair.after)?))
            }
            Node::DiffSummary(pair, _, size) => {
                (Kind::File, *size, pair.dataset, Some(self.dataset(pair.dataset)?.version_time(pair.after)?))
            }
            Node::Dvc(..) | Node::DvcFile(..) | Node::DvcList(..) => return self.dvc_attr(node),
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

/// Where an entry of `@history` leads.
pub(super) fn history_target(version: VersionNo) -> String {
    format!("../@{version}")
}

/// Attributes of an entry of `@history`, from those that all have in common.
pub(super) fn history_link_attr(common: &Attr, version: VersionNo, time: Timestamp) -> Attr {
    let size = history_target(version).len() as u64;
    Attr { size, data: size, atime: time, mtime: time, ctime: time, ..common.clone() }
}

/// Where `@meta` of a live directory leads.
pub(super) fn meta_target(version: VersionNo) -> String {
    format!("@{version}/@meta")
}

/// `v12`, and nothing more.
fn plain_version(text: &str) -> Option<VersionNo> {
    match VersionSpec::parse(text)? {
        VersionSpec::Number { number, back: 0 } if !text.contains('~') => Some(number),
        _ => None,
    }
}
