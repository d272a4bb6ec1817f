//! Records of the log beside chunks and manifest nodes: versions, dataset settings, pending changes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hash::{TreeHash, VersionId};
use super::ids::{DatasetId, Ino, VersionNo};
use super::inode::{Inode, Kind};
use super::name::{DatasetName, Name};
use super::time::Timestamp;

/// Who made a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process (or thread) id; 0 where the daemon itself acted.
    pub pid: u32,
    /// The process's command, as far as it may be shown.
    pub command: String,
}

/// A change to a dataset's tree, as a new value and never a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `name` in `dir` now names `ino`.
    Link {
        /// The directory.
        dir: Ino,
        /// The entry's name.
        name: Name,
        /// What it names.
        ino: Ino,
        /// The kind of `ino`.
        kind: Kind,
    },
    /// `name` in `dir` is gone.
    Unlink {
        /// The directory.
        dir: Ino,
        /// The entry's name.
        name: Name,
    },
    /// `ino` now is this.
    Inode {
        /// Which inode.
        ino: Ino,
        /// Its new value.
        inode: Inode,
    },
}

impl Op {
    /// The directory in which this changes a name, if it does.
    pub fn names_in(&self) -> Option<Ino> {
        match self {
            Op::Link { dir, .. } | Op::Unlink { dir, .. } => Some(*dir),
            Op::Inode { .. } => None,
        }
    }
}

/// A version of a dataset. Its [`VersionId`] is the hash of its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// This version's number.
    pub number: VersionNo,
    /// Id of the version before it ([`VersionId::ROOT`] for v1).
    pub previous: VersionId,
    /// The version whose tree `ops` apply to: `number - 1`, or the one a rollback restores.
    pub base: VersionNo,
    /// Hash of the whole tree.
    pub snapshot: TreeHash,
    /// When it was made; never before the previous version's.
    pub time: Timestamp,
    /// Who made it.
    pub author: Author,
    /// What the author says of it.
    pub message: Option<String>,
    /// The hash of every directory whose tree changed, but the root's.
    pub trees: Vec<(Ino, TreeHash)>,
    /// The changes against `base`: at most one for each name and each inode.
    pub ops: Vec<Op>,
}

/// A version whose own record was lost, as the index still had it: who made it and what was said of it
/// is not known. Written by `strata fsck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvagedVersion {
    /// Its id, as far as the version after it or the index tells; it cannot be proven by hashing.
    pub id: VersionId,
    /// Pending records from this sequence on came after it.
    pub pending_from: u64,
    /// What the record said, but for author and message.
    pub record: VersionRecord,
}

/// When versions are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// At every close, fsync and change of a name.
    #[default]
    EveryWrite,
    /// Once for each burst of changes that ends with this much quiet.
    Settle(Duration),
    /// At `strata commit` only.
    Manual,
}

/// A dataset's name and settings; the last record of a dataset counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// The dataset.
    pub id: DatasetId,
    /// Its name.
    pub name: DatasetName,
    /// When it was made.
    pub created: Timestamp,
    /// Whether its directory was removed: out of sight, its history kept; making a directory of the
    /// same name brings it back.
    pub archived: bool,
    /// When versions are cut.
    pub policy: Policy,
    /// Its root directory as long as no version says otherwise.
    pub root: Inode,
}

/// Changes to a dataset's live tree that no version holds yet (under [`Policy::Settle`] and
/// [`Policy::Manual`]). They count until a version record of the dataset follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// Orders the dataset's pending records: 1, 2, … over its whole life.
    pub sequence: u64,
    /// Whether the pending records before this one no longer count (a batch was taken back).
    pub discard: bool,
    /// The changes against the last version and the pending records before that count.
    pub ops: Vec<Op>,
}
