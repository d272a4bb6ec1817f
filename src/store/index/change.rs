//! What a record of the log means for the index: one function for what is appended and for what is
//! replayed, so that both come to the same.

use serde::{Deserialize, Serialize};

use super::keys::{self, Key};
use crate::model::check::Check;
use crate::model::{
    AnnotationRecord, Author, DatasetId, DatasetRecord, Dirent, Inode, Op, PendingRecord, ReclaimRecord,
    RetentionRecord, SalvagedVersion, TagRecord, Timestamp, TreeHash, VersionHead, VersionId, VersionNo,
    VersionRecord, codec,
};
use crate::store::error::{Error, Result};
use crate::store::pack::{Pos, RecordKind};

/// Longest inode kept in the index itself, in bytes: sled is slow with values of over 4 KiB.
const INLINE_MAX: usize = 4000;

/// Of a version of more changes, the index says by itself what `strata log` shows, so that its record, which
/// can be very long, need not be read and hashed.
const SUMMARY_FROM: u64 = 1000;

/// A change to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `key` now has this value.
    Put(Key, Vec<u8>),
    /// The dataset's pending records below this sequence count no more.
    ClearPending(DatasetId, u64),
}

/// What the index keeps of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMeta {
    /// When it was made.
    pub time: Timestamp,
    /// The version its changes apply to.
    pub base: VersionNo,
    /// Hash of its tree.
    pub snapshot: TreeHash,
    /// Where its record is.
    pub record: Pos,
}

/// What is said of a version, beside [`VersionMeta`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Who made it.
    pub author: Author,
    /// What the author says of it.
    pub message: Option<String>,
    /// Number of changes in its record.
    pub changes: u64,
}

/// A record of the log, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRecord {
    /// A chunk or manifest node, by its hash.
    Object([u8; 32]),
    /// A version.
    Version(VersionId, Box<VersionRecord>),
    /// A version of which only the index knew.
    Salvaged(Box<SalvagedVersion>),
    /// A dataset's name and settings.
    Dataset(DatasetRecord),
    /// Changes no version holds yet.
    Pending(PendingRecord),
    /// A tag that was set, moved or removed.
    Tag(TagRecord),
    /// Something said of a version.
    Annotation(AnnotationRecord),
    /// A change in what is kept of a dataset.
    Retention(RetentionRecord),
    /// Objects that were forgotten.
    Reclaim(ReclaimRecord),
}

impl LogRecord {
    /// Decodes the record with this kind, hash and (for all but objects) payload; `None` for kinds
    /// that mean nothing to the index.
    pub fn decode(kind: RecordKind, hash: [u8; 32], payload: &[u8], pos: Pos) -> Result<Option<LogRecord>> {
        let failed = |what: &str, source| Error::Decode {
            what: format!("{what} at byte {} of pack {}", pos.offset, pos.pack),
            source,
        };
        Ok(match kind {
            RecordKind::Chunk | RecordKind::Node => Some(LogRecord::Object(hash)),
            RecordKind::Version => {
                let record = codec::decode_checked("version record", payload);
                let record = record.map_err(|e| failed("version record", e))?;
                Some(LogRecord::Version(VersionId(hash), Box::new(record)))
            }
            RecordKind::Salvaged => {
                let record = codec::decode_checked("salvaged version", payload);
                Some(LogRecord::Salvaged(Box::new(record.map_err(|e| failed("salvaged version", e))?)))
            }
            RecordKind::Dataset => {
                let record = codec::decode_checked("dataset record", payload);
                Some(LogRecord::Dataset(record.map_err(|e| failed("dataset record", e))?))
            }
            RecordKind::Pending => {
                let record = codec::decode_checked("pending record", payload);
                Some(LogRecord::Pending(record.map_err(|e| failed("pending record", e))?))
            }
            RecordKind::Tag => {
                let record = codec::decode_checked("tag record", payload);
                Some(LogRecord::Tag(record.map_err(|e| failed("tag record", e))?))
            }
            RecordKind::Annotation => {
                let record = codec::decode_checked("annotation record", payload);
                Some(LogRecord::Annotation(record.map_err(|e| failed("annotation record", e))?))
            }
            RecordKind::Retention => {
                let record = codec::decode_checked("retention record", payload);
                Some(LogRecord::Retention(record.map_err(|e| failed("retention record", e))?))
            }
            RecordKind::Reclaim => {
                let record = codec::decode_checked("reclaim record", payload);
                Some(LogRecord::Reclaim(record.map_err(|e| failed("reclaim record", e))?))
            }
            RecordKind::Footer | RecordKind::Void | RecordKind::Other(_) => None,
        })
    }

    /// The changes this record makes, in order, where its payload lies at `pos`.
    pub fn changes(&self, pos: Pos) -> Vec<Change> {
        match self {
            LogRecord::Object(hash) => vec![object_change(hash, pos)],
            LogRecord::Version(id, record) => record_changes(*id, record, pos, u64::MAX),
            LogRecord::Salvaged(s) => record_changes(s.id, &s.record, pos, s.pending_from),
            LogRecord::Dataset(record) => vec![dataset_change(record)],
            LogRecord::Pending(record) => pending_changes(record, pos),
            LogRecord::Tag(record) => vec![tag_change(record)],
            LogRecord::Annotation(record) => vec![annotation_change(record)],
            LogRecord::Retention(record) => vec![retention_change(record, pos)],
            LogRecord::Reclaim(record) => record.objects.iter().map(reclaim_change).collect(),
        }
    }
}

/// The change an object makes.
pub fn object_change(hash: &[u8; 32], pos: Pos) -> Change {
    Change::Put(keys::object(hash), pos.to_bytes().to_vec())
}

/// The change a dataset record makes.
pub fn dataset_change(record: &DatasetRecord) -> Change {
    Change::Put(keys::dataset(record.id), codec::encode(record))
}

/// The change a tag record makes.
pub fn tag_change(record: &TagRecord) -> Change {
    Change::Put(keys::tag(record.dataset, record.sequence), codec::encode(record))
}

/// The change an annotation record makes.
pub fn annotation_change(record: &AnnotationRecord) -> Change {
    Change::Put(keys::annotation(record.dataset, record.sequence), codec::encode(record))
}

/// The change a retention record makes: where it is, as it may be long.
pub fn retention_change(record: &RetentionRecord, pos: Pos) -> Change {
    Change::Put(keys::retention(record.dataset, record.sequence), pos.to_bytes().to_vec())
}

/// The change of an object that is forgotten.
pub fn reclaim_change(hash: &[u8; 32]) -> Change {
    Change::Put(keys::object(hash), Vec::new())
}

/// Whether this is what the index has of an object that was forgotten.
pub fn is_reclaimed(value: &[u8]) -> bool {
    value.is_empty()
}

/// The changes a pending record makes.
pub fn pending_changes(record: &PendingRecord, pos: Pos) -> Vec<Change> {
    let key = keys::pending(record.dataset, record.sequence);
    let discard = record.discard.then_some(Change::ClearPending(record.dataset, u64::MAX));
    let put = (!record.ops.is_empty()).then(|| Change::Put(key, pos.to_bytes().to_vec()));
    discard.into_iter().chain(put).collect()
}

/// Notes that the records of the versions `first` to `last` were missing when those after them came.
pub fn gap_change(ds: DatasetId, first: VersionNo, last: VersionNo) -> Change {
    Change::Put(keys::gap(ds, first), last.0.to_be_bytes().to_vec())
}

fn record_changes(id: VersionId, record: &VersionRecord, pos: Pos, pending_below: u64) -> Vec<Change> {
    let ops = record.ops.iter().cloned();
    version_changes(id, &record.head(), record.ops.len() as u64, ops, pos, pending_below).collect()
}

/// The changes a version record of `count` operations makes, which takes up the pending records below a
/// sequence. They are made one by one: of a large version, there are millions.
pub fn version_changes(
    id: VersionId,
    record: &VersionHead,
    count: u64,
    ops: impl Iterator<Item = Op>,
    pos: Pos,
    pending_below: u64,
) -> impl Iterator<Item = Change> {
    tree_changes(record, ops, pos).chain(head_changes(id, record, count, pos, pending_below))
}

/// Those of them that nobody looks up before the others are there.
pub fn tree_changes(
    record: &VersionHead,
    ops: impl Iterator<Item = Op>,
    pos: Pos,
) -> impl Iterator<Item = Change> {
    let (ds, v) = (record.dataset, record.number);
    let ops = ops.enumerate().map(move |(index, op)| match op {
        Op::Link { dir, name, ino, kind } => {
            let key = keys::at(keys::entry(ds, dir, name.key()), v);
            Change::Put(key, codec::encode(&Dirent { name, ino, kind }))
        }
        Op::Unlink { dir, name } => Change::Put(keys::at(keys::entry(ds, dir, name.key()), v), Vec::new()),
        Op::Inode { ino, inode } => {
            Change::Put(keys::at(keys::inode(ds, ino), v), encode_inode(&inode, pos, index))
        }
    });
    let trees = record.trees.iter();
    let trees = trees.map(move |(dir, tree)| Change::Put(keys::at(keys::tree(ds, *dir), v), tree.0.to_vec()));
    ops.chain(trees)
}

/// The others, which make it a version.
pub fn head_changes(
    id: VersionId,
    record: &VersionHead,
    count: u64,
    pos: Pos,
    pending_below: u64,
) -> impl Iterator<Item = Change> {
    let (ds, v) = (record.dataset, record.number);
    let rollback = (v.0.checked_sub(1) != Some(record.base.0))
        .then(|| Change::Put(keys::rollback(ds, v), record.base.0.to_be_bytes().to_vec()));
    let hashes = [(record.snapshot.0, keys::TAG_SNAPSHOT), (id.0, keys::TAG_VERSION)];
    let hashes = hashes.map(|(hash, tag)| Change::Put(keys::hash(ds, &hash, tag, v), Vec::new()));
    let meta = VersionMeta { time: record.time, base: record.base, snapshot: record.snapshot, record: pos };
    let meta = Change::Put(keys::version(ds, v), codec::encode(&meta));
    let summary = (count >= SUMMARY_FROM).then(|| {
        let VersionHead { author, message, .. } = record;
        codec::encode(&Summary { author: author.clone(), message: message.clone(), changes: count })
    });
    let summary = summary.filter(|value| value.len() <= INLINE_MAX);
    let summary = summary.map(|value| Change::Put(keys::summary(ds, v), value));
    let last = [meta, Change::ClearPending(ds, pending_below)];
    rollback.into_iter().chain(summary).chain(hashes).chain(last)
}

/// An inode as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredInode {
    /// The inode itself.
    Here(Inode),
    /// It is operation `op` of the version record at this place.
    InRecord(Pos, usize),
}

fn encode_inode(inode: &Inode, pos: Pos, op: usize) -> Vec<u8> {
    let encoded = codec::encode(inode);
    let mut value = Vec::with_capacity(1 + encoded.len().min(Pos::BYTES + 8));
    if encoded.len() <= INLINE_MAX {
        value.push(0);
        value.extend_from_slice(&encoded);
    } else {
        value.push(1);
        value.extend_from_slice(&pos.to_bytes());
        value.extend_from_slice(&(op as u64).to_be_bytes());
    }
    value
}

/// Decodes the value of an inode's key.
pub fn decode_inode(value: &[u8]) -> Result<StoredInode> {
    let damaged = || Error::Index("the value of an inode has no known form".into());
    match value.split_first().ok_or_else(damaged)? {
        (0, encoded) => Ok(StoredInode::Here(decode_checked("inode", encoded)?)),
        (1, place) if place.len() == Pos::BYTES + 8 => {
            let (pos, op) = place.split_at(Pos::BYTES);
            let pos = Pos::from_bytes(pos).ok_or_else(damaged)?;
            let op = keys::tail8(op).and_then(|n| usize::try_from(n).ok()).ok_or_else(damaged)?;
            Ok(StoredInode::InRecord(pos, op))
        }
        _ => Err(damaged()),
    }
}

/// Decodes a value of the index; `what` names it in the error.
pub fn decode<T: serde::de::DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T> {
    codec::decode(what, value)
        .map_err(|source| Error::Decode { what: format!("{what} in the index"), source })
}

/// Decodes a value of the index and checks that it makes sense.
pub fn decode_checked<T: serde::de::DeserializeOwned + Check>(what: &'static str, value: &[u8]) -> Result<T> {
    codec::decode_checked(what, value)
        .map_err(|source| Error::Decode { what: format!("{what} in the index"), source })
}

/// The version in a record of this kind.
///
/// # Errors
/// Where it is none.
pub fn decode_version(
    kind: RecordKind,
    hash: [u8; 32],
    payload: &[u8],
    pos: Pos,
) -> Result<(VersionId, VersionRecord)> {
    match LogRecord::decode(kind, hash, payload, pos)? {
        Some(LogRecord::Version(id, record)) => Ok((id, *record)),
        Some(LogRecord::Salvaged(salvaged)) => Ok((salvaged.id, salvaged.record)),
        _ => Err(Error::Index("a version is not where it says".into())),
    }
}

/// Decodes a place in the log.
pub fn decode_pos(value: &[u8]) -> Result<Pos> {
    Pos::from_bytes(value).ok_or_else(|| Error::Index("the value of a position has no known form".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Name;
    use crate::model::{Author, Body, Ino, Kind};

    const POS: Pos = Pos { pack: 1, offset: 96, stored: 10, raw: 10, codec: 0 };

    fn inode(target: usize) -> Inode {
        Inode {
            mode: 0o777,
            uid: 0,
            gid: 0,
            nlink: 1,
            atime: Timestamp(0),
            mtime: Timestamp(0),
            ctime: Timestamp(0),
            body: Body::Symlink(vec![b'x'; target].into()),
            xattrs: None,
            place: None,
            others: None,
        }
    }

    #[test]
    fn a_version_makes_the_changes_its_operations_say() {
        let name = Name::new(b"a").unwrap();
        let record = VersionRecord {
            dataset: DatasetId(1),
            number: VersionNo(4),
            previous: VersionId::ROOT,
            base: VersionNo(2),
            snapshot: TreeHash([1; 32]),
            time: Timestamp(5),
            author: Author::default(),
            message: None,
            trees: vec![(Ino(7), TreeHash([2; 32]))],
            ops: vec![
                Op::Link { dir: Ino(7), name: name.clone(), ino: Ino(8), kind: Kind::Symlink },
                Op::Unlink { dir: Ino::ROOT, name: name.clone() },
                Op::Inode { ino: Ino(8), inode: inode(3) },
            ],
        };
        let (ds, v) = (DatasetId(1), VersionNo(4));
        let id = VersionId([3; 32]);
        let ops = record.ops.iter().cloned();
        let changes: Vec<Change> = version_changes(id, &record.head(), 3, ops, POS, u64::MAX).collect();
        let dirent = Dirent { name: name.clone(), ino: Ino(8), kind: Kind::Symlink };
        let meta =
            VersionMeta { time: Timestamp(5), base: VersionNo(2), snapshot: TreeHash([1; 32]), record: POS };
        let mut encoded = vec![0];
        encoded.extend(codec::encode(&inode(3)));
        assert_eq!(
            changes,
            [
                Change::Put(keys::at(keys::entry(ds, Ino(7), name.key()), v), codec::encode(&dirent)),
                Change::Put(keys::at(keys::entry(ds, Ino::ROOT, name.key()), v), vec![]),
                Change::Put(keys::at(keys::inode(ds, Ino(8)), v), encoded),
                Change::Put(keys::at(keys::tree(ds, Ino(7)), v), vec![2; 32]),
                Change::Put(keys::rollback(ds, v), vec![0, 0, 0, 0, 0, 0, 0, 2]),
                Change::Put(keys::hash(ds, &[1; 32], 0, v), vec![]),
                Change::Put(keys::hash(ds, &[3; 32], 1, v), vec![]),
                Change::Put(keys::version(ds, v), codec::encode(&meta)),
                Change::ClearPending(ds, u64::MAX),
            ]
        );
        let same = LogRecord::decode(RecordKind::Version, id.0, &codec::encode(&record), POS).unwrap();
        assert_eq!(same.unwrap().changes(POS), changes);
    }

    #[test]
    fn long_inodes_stay_in_the_log() {
        assert_eq!(decode_inode(&encode_inode(&inode(10), POS, 3)).unwrap(), StoredInode::Here(inode(10)));
        let long = encode_inode(&inode(4095), POS, 3);
        assert!(long.len() < 64);
        assert_eq!(decode_inode(&long).unwrap(), StoredInode::InRecord(POS, 3));
        assert!(decode_inode(&[]).is_err());
        assert!(decode_inode(&long[..long.len() - 1]).is_err());
        assert!(decode_inode(&[9, 9]).is_err());
    }
}
