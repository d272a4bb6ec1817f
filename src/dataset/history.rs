//! The history of a dataset: finding versions, and what the log says of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    AnnotationKey, Inode, Kind, Op, Timestamp, TreeHash, VersionId, VersionNo, VersionReader, VersionRecord,
    VersionSpec,
};
use crate::store::error::chain;
use crate::store::{Error as StoreError, HashKind, HashMatch, Summary, VersionMeta};

use super::annotations::Annotation;
use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::retention::{Pin, Pruned};

/// A version as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// `v3`.
    pub version: String,
    /// Version id.
    pub id: String,
    /// Snapshot id.
    pub snapshot: String,
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// Author's user id.
    pub uid: u32,
    /// Author's group id.
    pub gid: u32,
    /// Author's process id.
    pub pid: u32,
    /// Author's command.
    pub command: String,
    /// What the author says of it.
    pub message: Option<String>,
    /// The earlier version that has the same tree, if this one went back to it.
    pub restores: Option<String>,
    /// Tags that name it now.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What was said of it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Values it was annotated with, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<AnnotationKey, String>,
    /// Whether the version's record is damaged, so that there is nothing to be said of its author.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// Whether it is kept whatever rules say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// When and by whom it was pinned, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Box<Pin>>,
    /// When and by whom it was pruned, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Box<Pruned>>,
    /// Number of names and inodes recorded as changed (0 for a rollback, whose record names a version). The last
    /// field, in whose place `strata show` has the changes themselves.
    pub changes: usize,
}

/// When a version was made, by whom and what they said of it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// When.
    pub time: Timestamp,
    /// Author's user id.
    pub uid: u32,
    /// Author's command.
    pub command: String,
    /// What the author says of it.
    pub message: Option<String>,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It came to be.
    Added,
    /// It is gone.
    Removed,
    /// It names something else, or its content changed.
    Modified,
    /// It was at another path.
    Renamed,
    /// Only attributes changed.
    Attributes,
}

impl Dataset {
    /// The version that `spec` names.
    pub fn resolve(&self, spec: &VersionSpec) -> Result<VersionNo> {
        let newest = self.newest();
        let found = match spec {
            VersionSpec::Number { number, back } if *number <= newest => {
                number.0.checked_sub(*back).map(VersionNo)
            }
            VersionSpec::Number { .. } => None,
            VersionSpec::Latest => Some(newest),
            VersionSpec::Prev => newest.0.checked_sub(1).map(|before| self.kept_up_to(VersionNo(before))),
            VersionSpec::Time(time) => Some(self.store.version_at(self.id(), *time)?),
            VersionSpec::Hash(prefix) => self.resolve_hash(prefix)?,
            VersionSpec::Tag(name) => self.tag(name).map(|tag| tag.version),
            VersionSpec::Range(range) => self.highest_tag(Some(range)).map(|(_, tag)| tag.version),
        };
        let found = found.filter(|v| *v > VersionNo::EMPTY);
        match found {
            Some(version) if self.is_lost(version) => {
                Err(Error::Lost(format!("{version} of {}", self.name())))
            }
            Some(version) => self.check_kept(version).map(|()| version),
            None => Err(Error::NoVersion { dataset: self.name().to_string(), spec: show_spec(spec) }),
        }
    }

    /// The last version up to `to` that is kept; `to` where none is.
    fn kept_up_to(&self, to: VersionNo) -> VersionNo {
        Some(self.pruned().last_outside(to)).filter(|kept| *kept > VersionNo::EMPTY).unwrap_or(to)
    }

    fn resolve_hash(&self, prefix: &str) -> Result<Option<VersionNo>> {
        let found = self.store.by_hash_prefix(self.id(), prefix)?;
        if found.len() > 1 {
            let show = |m: &HashMatch| format!("{} ({})", TreeHash(m.hash), m.version);
            return Err(Error::Ambiguous {
                dataset: self.name().to_string(),
                spec: prefix.to_owned(),
                candidates: found.iter().map(show).collect(),
            });
        }
        let Some(found) = found.first() else { return Ok(None) };
        if found.kind == HashKind::Version || !self.is_pruned(found.version) {
            return Ok(Some(found.version));
        }
        // The same content may be that of a later version, which is kept.
        let later =
            self.versions_from(found.version)?.into_iter().filter(|version| !self.is_pruned(*version));
        for version in later {
            if self.snapshot(version)?.0 == found.hash {
                return Ok(Some(version));
            }
        }
        Ok(Some(found.version))
    }

    /// A version's id and record, to be read change by change.
    pub fn version_reader(&self, number: VersionNo) -> Result<(VersionId, VersionReader)> {
        let found = self.store.version_reader(self.id(), number)?;
        found.ok_or_else(|| StoreError::Missing(format!("{} of {}", number, self.name())).into())
    }

    /// The changes of a version, one by one.
    pub fn ops(&self, number: VersionNo) -> Result<impl Iterator<Item = Result<Op>>> {
        let (_, reader) = self.version_reader(number)?;
        Ok(reader.map(move |op| {
            let what = || format!("record of {number} of {}", self.name());
            op.map_err(|source| StoreError::Decode { what: what(), source }.into())
        }))
    }

    /// A version's id and record.
    pub fn version(&self, number: VersionNo) -> Result<(VersionId, VersionRecord)> {
        let found = self.store.version(self.id(), number)?;
        found.ok_or_else(|| StoreError::Missing(format!("{} of {}", number, self.name())).into())
    }

    /// When a version was made.
    pub fn version_time(&self, number: VersionNo) -> Result<Timestamp> {
        Ok(self.meta(number)?.time)
    }

    /// The snapshot id of a version.
    pub fn snapshot(&self, number: VersionNo) -> Result<TreeHash> {
        Ok(self.meta(number)?.snapshot)
    }

    pub(super) fn meta(&self, number: VersionNo) -> Result<VersionMeta> {
        let meta = self.store.version_meta(self.id(), number)?;
        meta.ok_or_else(|| StoreError::Missing(format!("{} of {}", number, self.name())).into())
    }

    /// A version as the log shows it; of one whose record cannot be read, what else is known.
    pub fn log_entry(&self, number: VersionNo) -> Result<LogEntry> {
        let meta = self.meta(number)?;
        let tags = self.tags_of(number).into_iter().map(String::from).collect();
        let Annotation { note, values: annotations } = self.annotation(number);
        let (id, summary) = match self.summary(number) {
            Some(found) => found,
            None => {
                let id = self.store.version_id(self.id(), number).ok().flatten();
                return Ok(LogEntry {
                    version: number.to_string(),
                    id: id.map_or_else(String::new, |id| id.to_hex()),
                    snapshot: meta.snapshot.to_hex(),
                    time: meta.time.to_string(),
                    uid: 0,
                    gid: 0,
                    pid: 0,
                    command: String::new(),
                    message: None,
                    restores: None,
                    tags,
                    note,
                    annotations,
                    changes: 0,
                    damaged: true,
                    pinned: self.is_pinned(number),
                    pin: self.pinned_by(number).map(Box::new),
                    pruned: self.pruned_by(number).map(Box::new),
                });
            }
        };
        let Summary { author, message, changes } = summary;
        Ok(LogEntry {
            version: number.to_string(),
            id: id.to_hex(),
            snapshot: meta.snapshot.to_hex(),
            time: meta.time.to_string(),
            uid: author.uid,
            gid: author.gid,
            pid: author.pid,
            command: author.command,
            message,
            restores: self.restores(number, &meta)?.map(|v| v.to_string()),
            tags,
            note,
            annotations,
            changes: usize::try_from(changes).unwrap_or(usize::MAX),
            damaged: false,
            pinned: self.is_pinned(number),
            pin: self.pinned_by(number).map(Box::new),
            pruned: self.pruned_by(number).map(Box::new),
        })
    }

    /// Id and summary of a version; `None`, and a line in the log, where its record cannot be read.
    fn summary(&self, number: VersionNo) -> Option<(VersionId, Summary)> {
        let found = self.store.summary(self.id(), number).map_err(Error::from);
        let missing = || Error::from(StoreError::Missing(format!("{} of {}", number, self.name())));
        let found = found.and_then(|found| found.ok_or_else(missing));
        let failed =
            |error: &Error| log::error!("the record of {number} of {}: {}", self.name(), chain(error));
        found.inspect_err(failed).ok()
    }

    /// When a version was made, by whom and what they said of it; of one whose record cannot be read, when.
    pub fn origin(&self, number: VersionNo) -> Result<Origin> {
        let time = self.meta(number)?.time;
        Ok(match self.summary(number) {
            Some((_, Summary { author, message, .. })) => {
                Origin { time, uid: author.uid, command: author.command, message }
            }
            None => Origin { time, uid: 0, command: String::new(), message: None },
        })
    }

    /// The version that a version went back to: the one a rollback names, or the first that had the same
    /// tree.
    fn restores(&self, number: VersionNo, meta: &VersionMeta) -> Result<Option<VersionNo>> {
        if meta.base.next() != number {
            return Ok(Some(meta.base));
        }
        let first = self.store.by_hash_prefix(self.id(), &meta.snapshot.to_hex())?;
        let Some(first) = first.first().map(|m| m.version).filter(|v| *v < number) else {
            return Ok(None);
        };
        let before = self.snapshot(meta.base)?;
        Ok((before != meta.snapshot).then_some(first))
    }
}

/// The newest version both trees descend from.
pub(super) fn common_past(a: &Frozen, b: &Frozen) -> VersionNo {
    a.view().common(b.view())
}

/// How an inode differs from another at the same place; `None` if in nothing that is shown.
pub(super) fn changed(before: &Inode, after: &Inode) -> Option<ChangeKind> {
    let attributes = |i: &Inode| (i.mode, i.uid, i.gid, i.xattrs.clone());
    let mtime = |i: &Inode| (i.kind() != Kind::Dir).then_some(i.mtime);
    if before.body != after.body {
        Some(ChangeKind::Modified)
    } else if attributes(before) != attributes(after) || mtime(before) != mtime(after) {
        Some(ChangeKind::Attributes)
    } else {
        None
    }
}

fn show_spec(spec: &VersionSpec) -> String {
    match spec {
        VersionSpec::Number { number, back: 0 } => number.to_string(),
        VersionSpec::Number { number, back } => format!("{number}~{back}"),
        VersionSpec::Hash(prefix) => prefix.clone(),
        VersionSpec::Time(time) => time.to_string(),
        VersionSpec::Latest => "latest".into(),
        VersionSpec::Prev => "prev".into(),
        VersionSpec::Tag(name) => name.to_string(),
        VersionSpec::Range(range) => range.as_str().into(),
    }
}
