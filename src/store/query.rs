//! Looking up what a version sees: entries, inodes and directory hashes.
//!
//! A key's versions lie newest first, so the newest one visible in a span of versions is one seek
//! away. One that lies between the spans of a [`View`] is hidden, and costs a further seek.

use std::ops::ControlFlow;

use super::Store;
use super::error::{Error, Result};
use super::index::change::{StoredInode, decode_checked, decode_inode, decode_pos, decode_version};
use super::index::keys::{self, Key};
use super::pack::Pos;
use crate::model::{
    AnnotationRecord, DatasetId, DatasetRecord, Dirent, Ino, Inode, NameKey, Op, PendingRecord,
    RetentionRecord, TagRecord, TreeHash, VersionNo, View, codec,
};

/// After as many versions of a name in a row the next name is sought rather than walked to.
const WALK_MAX: usize = 8;
/// Length of a directory entry's key, and where in it the name's part is.
const ENTRY_KEY: usize = 37;
const ENTRY_NAME: std::ops::Range<usize> = 13..29;

/// What a version wrote of a name; `None` where it removed it.
pub type Written = (VersionNo, Option<Dirent>);

/// How a version stands to a view.
enum Sight {
    /// It is part of the view.
    Visible,
    /// It is not; the newest one up to this may be.
    Hidden(VersionNo),
    /// It is not, and no older one is.
    None,
}

fn sight(view: &View, version: VersionNo) -> Sight {
    let spans = view.spans();
    match spans.get(spans.partition_point(|s| s.first > version)) {
        Some(span) if version <= span.last => Sight::Visible,
        Some(span) => Sight::Hidden(span.last),
        None => Sight::None,
    }
}

fn version_of(key: &[u8]) -> Result<VersionNo> {
    keys::version_at_end(key).ok_or_else(|| Error::Index("a key has no known form".into()))
}

impl Store {
    /// All datasets, archived ones too, by id.
    pub fn datasets(&self) -> Result<Vec<DatasetRecord>> {
        let mut range = self.index.scan(&keys::datasets());
        let mut all = Vec::new();
        while let Some((_, value)) = range.next_entry()? {
            all.push(decode_checked("dataset record", &value)?);
        }
        Ok(all)
    }

    /// The entry of a name in a directory, as the view sees it, and the version that wrote it.
    pub fn entry(
        &self,
        ds: DatasetId,
        dir: Ino,
        name: NameKey,
        view: &View,
    ) -> Result<Option<(VersionNo, Dirent)>> {
        let written = self.written_entry(ds, dir, name, view)?;
        Ok(written.and_then(|(version, entry)| Some((version, entry?))))
    }

    /// What was last written of a name in a directory, as the view sees it.
    pub fn written_entry(
        &self,
        ds: DatasetId,
        dir: Ino,
        name: NameKey,
        view: &View,
    ) -> Result<Option<Written>> {
        let found = self.newest_visible(&keys::entry(ds, dir, name), view)?;
        found.map(|(version, value)| Ok((version, dirent(&value)?))).transpose()
    }

    /// Up to `limit` entries of a directory after the name `after`, in the order of their keys.
    pub fn entries(
        &self,
        ds: DatasetId,
        dir: Ino,
        view: &View,
        after: Option<NameKey>,
        limit: usize,
    ) -> Result<Vec<(NameKey, Dirent)>> {
        let mut found = Vec::new();
        let mut range = self.index.scan(&keys::entries(ds, dir));
        // There is no version 0, so its key is the end of a name.
        let end_of = |name| keys::at(keys::entry(ds, dir, name), VersionNo::EMPTY);
        if let Some(after) = after {
            range.seek(end_of(after));
        }
        let mut name = None;
        // The newest version of the present name that may be seen; none once it is settled.
        let mut bound = None;
        let mut walked = 0;
        while found.len() < limit
            && let Some((key, value)) = range.next_entry()?
        {
            let this = entry_name(&key)?;
            if name != Some(this) {
                (name, bound, walked) = (Some(this), Some(view.newest()), 0);
            }
            let version = version_of(&key)?;
            if let Some(newest) = bound
                && version <= newest
            {
                bound = match sight(view, version) {
                    Sight::Visible => {
                        if !value.is_empty() {
                            found.push((this, decode_checked("entry", &value)?));
                        }
                        None
                    }
                    Sight::Hidden(newest) => Some(newest),
                    Sight::None => None,
                };
            }
            walked += 1;
            if walked == WALK_MAX {
                walked = 0;
                range.seek(keys::at(keys::entry(ds, dir, this), bound.unwrap_or(VersionNo::EMPTY)));
            }
        }
        Ok(found)
    }

    /// An inode as the view sees it, and the version that wrote it.
    pub fn inode(&self, ds: DatasetId, ino: Ino, view: &View) -> Result<Option<(VersionNo, Inode)>> {
        match self.newest_visible(&keys::inode(ds, ino), view)? {
            Some((version, value)) => Ok(Some((version, self.whole_inode(&value)?))),
            None => Ok(None),
        }
    }

    /// The hash of a directory's tree as the view sees it, and the version that wrote it; of the root, the
    /// snapshot id.
    pub fn tree(&self, ds: DatasetId, dir: Ino, view: &View) -> Result<Option<(VersionNo, TreeHash)>> {
        if dir == Ino::ROOT {
            let newest = view.newest();
            return Ok(self.version_meta(ds, newest)?.map(|meta| (newest, meta.snapshot)));
        }
        let found = self.newest_visible(&keys::tree(ds, dir), view)?;
        found.map(|(version, value)| Ok((version, tree_hash(&value)?))).transpose()
    }

    /// Versions that wrote an inode, from `newest` back, at most `limit`; whatever view they are in.
    pub fn inode_versions(
        &self,
        ds: DatasetId,
        ino: Ino,
        newest: VersionNo,
        limit: usize,
    ) -> Result<Vec<(VersionNo, Inode)>> {
        let found = self.versions_of(keys::inode(ds, ino), newest, limit)?;
        found.into_iter().map(|(v, value)| Ok((v, self.whole_inode(&value)?))).collect()
    }

    /// Versions that wrote an entry, from `newest` back, at most `limit`; `None` where it was removed.
    pub fn entry_versions(
        &self,
        ds: DatasetId,
        dir: Ino,
        name: NameKey,
        newest: VersionNo,
        limit: usize,
    ) -> Result<Vec<Written>> {
        let found = self.versions_of(keys::entry(ds, dir, name), newest, limit)?;
        found.into_iter().map(|(v, value)| Ok((v, dirent(&value)?))).collect()
    }

    /// Calls `f` with what versions wrote of each name that a directory ever had, newest first, as
    /// [`Store::entry_versions`] gives it.
    pub fn each_entry(&self, ds: DatasetId, dir: Ino, f: &mut dyn FnMut(&[Written])) -> Result<()> {
        let mut range = self.index.scan(&keys::entries(ds, dir));
        let (mut name, mut versions) = (None, Vec::new());
        while let Some((key, value)) = range.next_entry()? {
            let this = entry_name(&key)?;
            if name.replace(this).is_some_and(|before| before != this) {
                f(&versions);
                versions.clear();
            }
            versions.push((version_of(&key)?, dirent(&value)?));
        }
        if !versions.is_empty() {
            f(&versions);
        }
        Ok(())
    }

    /// Versions that changed a directory's tree, from `newest` back, at most `limit`.
    pub fn tree_versions(
        &self,
        ds: DatasetId,
        dir: Ino,
        newest: VersionNo,
        limit: usize,
    ) -> Result<Vec<(VersionNo, TreeHash)>> {
        if dir == Ino::ROOT {
            let numbers = self.version_numbers(ds, VersionNo(1), usize::MAX)?.into_iter().rev();
            let meta = |v| Ok(self.version_meta(ds, v)?.map(|meta| (v, meta.snapshot)));
            let numbers = numbers.filter(|number| *number <= newest).take(limit);
            return numbers.filter_map(|v| meta(v).transpose()).collect();
        }
        let found = self.versions_of(keys::tree(ds, dir), newest, limit)?;
        found.into_iter().map(|(v, value)| Ok((v, tree_hash(&value)?))).collect()
    }

    /// The dataset's tag records, in order.
    pub fn tags(&self, ds: DatasetId) -> Result<Vec<TagRecord>> {
        let mut range = self.index.scan(&keys::tags(ds));
        let mut found = Vec::new();
        while let Some((_, value)) = range.next_entry()? {
            found.push(decode_checked("tag record", &value)?);
        }
        Ok(found)
    }

    /// The dataset's annotation records, in order.
    pub fn annotations(&self, ds: DatasetId) -> Result<Vec<AnnotationRecord>> {
        let mut range = self.index.scan(&keys::annotations(ds));
        let mut found = Vec::new();
        while let Some((_, value)) = range.next_entry()? {
            found.push(decode_checked("annotation record", &value)?);
        }
        Ok(found)
    }

    /// The dataset's retention records, in order; of each by itself, why it cannot be read.
    pub fn retentions(&self, ds: DatasetId) -> Result<Vec<Result<RetentionRecord>>> {
        self.retentions_from(ds, 0)
    }

    /// Those of them that are in this pack or a later one.
    pub(super) fn retentions_from(&self, ds: DatasetId, pack: u32) -> Result<Vec<Result<RetentionRecord>>> {
        let mut range = self.index.scan(&keys::retentions(ds));
        let mut found = Vec::new();
        while let Some((_, value)) = range.next_entry()? {
            let pos = decode_pos(&value);
            if pos.as_ref().is_ok_and(|pos| pos.pack < pack) {
                continue;
            }
            let what = || format!("retention record of dataset {}", ds.0);
            let read = pos.and_then(|pos| self.read_at(pos, what)).and_then(|(_, payload)| {
                codec::decode_checked("retention record", &payload)
                    .map_err(|source| Error::Decode { what: what(), source })
            });
            found.push(read);
        }
        Ok(found)
    }

    /// Calls `f` with every value that an inode of the dataset ever had, and the version that wrote it, in the
    /// order of inodes, newest first, until it says that it is enough.
    pub fn each_inode(
        &self,
        ds: DatasetId,
        f: &mut dyn FnMut(Ino, VersionNo, Inode) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut range = self.index.scan(&keys::inodes(ds));
        while let Some((key, value)) = range.next_entry()? {
            let ino = key.get(..13).and_then(keys::tail8);
            let ino = ino.ok_or_else(|| Error::Index("a key has no known form".into()))?;
            if f(Ino(ino), version_of(&key)?, self.whole_inode(&value)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The highest inode number that any version or pending change ever used (0 where none did).
    pub fn max_ino(&self, ds: DatasetId) -> Result<Ino> {
        let last = self.index.last(&keys::inodes(ds))?;
        let stored = last.and_then(|key| keys::tail8(key.get(..13)?)).unwrap_or(0);
        let mut max = stored;
        for pending in self.pending(ds) {
            for op in pending?.1.unwrap_or_default() {
                if let Op::Link { ino, .. } | Op::Inode { ino, .. } = op {
                    max = max.max(ino.0);
                }
            }
        }
        Ok(Ino(max))
    }

    /// The dataset's changes that no version holds yet, by sequence; for each record by itself, why it
    /// cannot be read.
    pub fn pending(&self, ds: DatasetId) -> impl Iterator<Item = Result<(u64, Result<Vec<Op>>)>> {
        self.index.pending(keys::pendings(ds)).into_iter().filter_map(move |key| {
            // A version may have taken it up since.
            let value = self.index.get(&key).transpose()?;
            let sequence = keys::tail8(&key)?;
            let ops = |value: Box<[u8]>| decode_pos(&value).and_then(|pos| self.pending_at(ds, pos));
            Some(value.map(|value| (sequence, ops(value))))
        })
    }

    fn pending_at(&self, ds: DatasetId, pos: Pos) -> Result<Vec<Op>> {
        let what = || format!("pending record of dataset {}", ds.0);
        let (_, payload) = self.read_at(pos, what)?;
        let record: PendingRecord = codec::decode_checked("pending record", &payload)
            .map_err(|source| Error::Decode { what: what(), source })?;
        Ok(record.ops)
    }

    /// The newest value of the keys that start with `prefix` that the view sees.
    fn newest_visible(&self, prefix: &Key, view: &View) -> Result<Option<(VersionNo, Box<[u8]>)>> {
        let mut bound = view.newest();
        while bound > VersionNo::EMPTY {
            let Some((key, value)) = self.index.first(&keys::at(prefix.clone(), bound), prefix)? else {
                break;
            };
            let version = version_of(&key)?;
            match sight(view, version) {
                Sight::Visible => return Ok(Some((version, value))),
                Sight::Hidden(newest) => bound = newest,
                Sight::None => break,
            }
        }
        Ok(None)
    }

    fn versions_of(
        &self,
        prefix: Key,
        newest: VersionNo,
        limit: usize,
    ) -> Result<Vec<(VersionNo, Box<[u8]>)>> {
        let mut range = self.index.scan(&prefix);
        range.seek(keys::at(prefix, newest));
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((key, value)) = range.next_entry()?
        {
            found.push((version_of(&key)?, value));
        }
        Ok(found)
    }

    /// Decodes an inode, which a long one is read from its version's record for.
    fn whole_inode(&self, value: &[u8]) -> Result<Inode> {
        let (pos, op) = match decode_inode(value)? {
            StoredInode::Here(inode) => return Ok(inode),
            StoredInode::InRecord(pos, op) => (pos, op),
        };
        let what = || "version record".to_owned();
        let (header, payload) = self.read_at(pos, what)?;
        let (_, mut record) = decode_version(header.kind, header.hash, &payload, pos)?;
        if op < record.ops.len()
            && let Op::Inode { inode, .. } = record.ops.swap_remove(op)
        {
            return Ok(inode);
        }
        Err(Error::Index("an inode is not where the index says".into()))
    }
}

fn entry_name(key: &[u8]) -> Result<NameKey> {
    let name = key.get(ENTRY_NAME).filter(|_| key.len() == ENTRY_KEY);
    let name = name.and_then(|n| n.try_into().ok());
    name.map(NameKey).ok_or_else(|| Error::Index("a key has no known form".into()))
}

/// What a version wrote of a name; `None` where it was removed.
fn dirent(value: &[u8]) -> Result<Option<Dirent>> {
    match value {
        [] => Ok(None),
        value => decode_checked("entry", value).map(Some),
    }
}

fn tree_hash(value: &[u8]) -> Result<TreeHash> {
    let hash = value.try_into().map_err(|_| Error::Index("a tree hash has no known form".into()));
    hash.map(TreeHash)
}
