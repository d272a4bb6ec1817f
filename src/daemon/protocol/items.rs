//! What the items of an answer hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dataset::{Change, ChangeKind};
use crate::model::{AnnotationKey, Kind, Name, VersionNo};

use super::super::object::path_bytes;
use super::super::pointer::Pointer;

/// What was bundled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundled {
    /// The dataset.
    pub dataset: String,
    /// The version after which it begins, if it does not with the first.
    pub since: Option<String>,
    /// The last version.
    pub version: String,
    /// Its version id.
    pub id: String,
    /// Number of chunks.
    pub chunks: u64,
    /// Number of changes of tags.
    pub tags: u64,
    /// Number of annotations.
    #[serde(default)]
    pub annotations: u64,
    /// Number of pins.
    #[serde(default)]
    pub pins: u64,
    /// Number of versions that were pruned: of these their records are in it.
    #[serde(default)]
    pub pruned: u64,
    /// Number of purges.
    #[serde(default)]
    pub purges: u64,
    /// Settings of the dataset that are not in it, as `strata set` takes them.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Bytes of the bundle.
    pub bytes: u64,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The dataset.
    pub dataset: String,
    /// The version.
    pub version: String,
    /// Its snapshot id.
    pub snapshot: String,
    /// Files, each counted once for each name.
    pub files: u64,
    /// Bytes of the archive; of a directory that it is unpacked to, those of its files.
    pub bytes: u64,
    /// The member with the checksums.
    pub sums: Option<String>,
    /// Paths of sockets, which an archive cannot hold.
    pub left_out: Vec<Vec<u8>>,
    /// Paths of files whose content was purged.
    #[serde(default)]
    pub purged: Vec<Vec<u8>>,
}

/// What a pointer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointerInfo {
    /// The pointer.
    pub pointer: Pointer,
    /// Whether the version is kept, by a pin or a tag; it cannot be pinned where it is not to be written to.
    pub pinned: bool,
    /// What DVC says, where that is wanted.
    pub dvc: Option<DvcInfo>,
}

/// What DVC says of a file or directory, beside its size and number of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DvcInfo {
    /// Its MD5; of a directory with `.dir` at its end.
    pub md5: String,
    /// Whether it is a file that its owner may execute.
    pub executable: bool,
    /// Directories without files, which DVC does not know.
    pub empty_dirs: u64,
}

/// Where what is pointed to was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The dataset.
    pub dataset: String,
    /// The version: `v3`.
    pub version: String,
    /// Where a mount shows that version.
    #[serde(with = "super::paths::optional", default)]
    pub mounted: Option<PathBuf>,
}

/// A part of what is pointed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceInfo {
    /// From where the pointer points; empty for that itself.
    pub path: Vec<Name>,
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Size in bytes, of a file.
    pub size: u64,
    /// A symbolic link's target.
    pub target: Option<Vec<u8>>,
    /// A device's number.
    pub device: u32,
}

/// A version that is pinned now, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinInfo {
    /// The version: `v3`.
    pub version: String,
    /// Whether it is pinned.
    pub pinned: bool,
}

/// A version, and why it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInfo {
    /// The version: `v3`.
    pub version: String,
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// Why it is kept; nothing where it is dropped.
    pub keep: Vec<String>,
}

/// What was pruned, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedInfo {
    /// The dataset.
    pub dataset: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Number of versions kept.
    pub kept: u64,
    /// Number of versions dropped.
    pub dropped: u64,
    /// Bytes of content that nothing needs any more.
    pub bytes: u64,
    /// The paths they belong to, those with most bytes first.
    pub paths: Vec<(Vec<u8>, u64)>,
    /// How many more paths there are.
    pub more_paths: u64,
}

/// What was given back, or could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Packs looked at.
    pub packs: u64,
    /// Packs rewritten.
    pub rewritten: u64,
    /// Chunks and manifest nodes that nothing needs.
    pub objects: u64,
    /// Their bytes.
    pub dead: u64,
    /// Bytes of them in packs with too few to be rewritten.
    pub left: u64,
    /// Bytes the packs take less on disk.
    pub freed: u64,
    /// Bytes that may not be needed, and were not looked for: they are too few to be worth it.
    pub unsure: u64,
    /// By how many files there are fewer, since small packs were joined.
    pub joined: u64,
}

/// What was read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefetched {
    /// Files.
    pub files: u64,
    /// Bytes of their chunks.
    pub bytes: u64,
    /// Bytes that could not be read: damaged or missing.
    pub lost: u64,
    /// Bytes of files whose content was purged, which are left out.
    pub purged: u64,
}

/// What was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Packs looked at.
    pub packs: u64,
    /// Of these, how many were compressed.
    pub compressed: u64,
    /// Their bytes before.
    pub before: u64,
    /// Their bytes after.
    pub after: u64,
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its directory.
    pub store: String,
    /// Its identity.
    pub id: String,
    /// Its format.
    pub format: u32,
    /// Process that has it mounted.
    pub pid: Option<u32>,
    /// Where it is mounted; `None` also where it was unmounted while programs used it, and these are not done.
    pub mountpoint: Option<String>,
    /// What is mounted: `DATASET` or `DATASET@VERSION`; `None` for the whole store.
    pub shows: Option<String>,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// What happened after which the store takes none, whoever asks, until it is mounted anew.
    pub read_only_because: Option<String>,
    /// The datasets, by name.
    pub datasets: Vec<DatasetInfo>,
    /// Names of the datasets whose directory was removed; their history is kept.
    pub archived: Vec<String>,
    /// Bytes of all files of the newest versions, where they have been counted.
    pub logical_bytes: Option<u64>,
    /// Bytes of the distinct chunks of all versions, where the packs can be read.
    pub unique_bytes: Option<u64>,
    /// Bytes the store takes on disk.
    pub disk_bytes: u64,
    /// Bytes that the mount's plain copies of large files hold, until it is unmounted.
    #[serde(default)]
    pub copy_bytes: u64,
    /// What of all this could not be told, and why.
    pub problems: Vec<String>,
}

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Its name.
    pub name: String,
    /// When versions are cut, as `strata set` takes it.
    pub policy: String,
    /// Number of versions.
    pub versions: u64,
    /// When the newest was made, RFC 3339 in UTC.
    pub newest: Option<String>,
    /// Bytes of all files of the newest version, where they have been counted.
    pub logical_bytes: Option<u64>,
    /// Bytes that the files of the live tree may have, where there is a quota.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Bytes of all files of the live tree, where there is a quota and they have been counted.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// What the daemon keeps of its versions, as `strata set` takes it, where not all.
    #[serde(default)]
    pub retention: Option<String>,
}

/// A path that a version changed, or that differs between two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeInfo {
    /// From the dataset's root, or from where the trees that were compared begin.
    pub path: Vec<u8>,
    /// The path it had before, of what was renamed.
    pub from: Option<Vec<u8>>,
    /// What it is, or was.
    pub kind: Kind,
    /// What it was before, where that is another kind.
    pub kind_before: Option<Kind>,
    /// What happened.
    pub change: ChangeKind,
    /// Which attributes changed besides the mode, where nothing else did: `owner`, `xattrs`, `time`.
    pub attributes: Vec<String>,
    /// Size in bytes before, where there was something.
    pub size_before: Option<u64>,
    /// Size in bytes after, where there is something.
    pub size_after: Option<u64>,
    /// Permission, set-id and sticky bits before, where there was something.
    pub mode_before: Option<u32>,
    /// The same after.
    pub mode_after: Option<u32>,
}

impl From<Change> for ChangeInfo {
    fn from(change: Change) -> ChangeInfo {
        ChangeInfo {
            path: path_bytes(&change.path),
            from: change.from.as_deref().map(path_bytes),
            kind: change.kind,
            kind_before: change.kind_before,
            change: change.change,
            attributes: change.attributes.into_iter().map(String::from).collect(),
            size_before: change.sizes.0,
            size_after: change.sizes.1,
            mode_before: change.modes.0,
            mode_after: change.modes.1,
        }
    }
}

/// A path, and the version that touched it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlameInfo {
    /// From the dataset's root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What that version did to it.
    pub change: ChangeKind,
    /// The version: `v3`.
    pub version: String,
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// User id of who made it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// What they said of it.
    pub message: Option<String>,
}

/// A tag, or what was done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagInfo {
    /// Its name.
    pub tag: String,
    /// The version it names: `v3`; `None` where it was taken away.
    pub version: Option<String>,
    /// The version it named before.
    pub was: Option<String>,
    /// When that was done, RFC 3339 in UTC.
    pub time: String,
    /// User id of who did it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// What they said of it.
    pub message: Option<String>,
}

/// Something that was said of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationInfo {
    /// The version: `v3`.
    pub version: String,
    /// When it was said, RFC 3339 in UTC.
    pub time: String,
    /// User id of who said it.
    pub uid: u32,
    /// Their command.
    pub command: String,
    /// The text, where it was changed; empty where it was taken away.
    pub message: Option<String>,
    /// Values by key; `None` where a key was taken away.
    pub values: BTreeMap<AnnotationKey, Option<String>>,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content, RFC 3339 in UTC.
    pub mtime: String,
    /// A symbolic link's target.
    pub target: Option<Vec<u8>>,
    /// The id of a file's content, in hexadecimal, where the file is one of a version.
    #[serde(default)]
    pub content: Option<String>,
}

/// A commit of git, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// Its object id.
    pub commit: String,
    /// Its author.
    pub author: String,
    /// When it was authored, RFC 3339.
    pub date: String,
    /// Its message.
    pub message: String,
    /// The version made of it.
    pub version: Option<String>,
    /// Number of files that come or change.
    pub changed: u64,
    /// Number of files that go away.
    pub removed: u64,
    /// Bytes of the files that come or change.
    pub bytes: u64,
    /// The tags set.
    pub tags: Vec<String>,
    /// What of it is left out, and why.
    pub notices: Vec<String>,
}

/// A version made, or that there was none to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The dataset.
    pub dataset: String,
    /// The version made: `v8`.
    pub version: Option<String>,
    /// The version whose tree it has, of a rollback.
    pub restores: Option<String>,
    /// Paths of files whose content was purged, and which a rollback left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// How many of the files and directories of an import have access control lists or other attributes that were
    /// left out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub attributes_left_out: u64,
    /// How many objects of git-lfs and DVC were missing, so that their pointers stayed as they are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub objects_missing: u64,
    /// The newest version now; `v0` before the first.
    pub newest: String,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Made {
    /// Since when there was nothing to make a version of.
    pub fn since(&self) -> String {
        match self.newest == VersionNo::EMPTY.to_string() {
            true => "it was made: it has no version yet".into(),
            false => self.newest.clone(),
        }
    }
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageInfo {
    /// Number of the pack.
    pub pack: Option<u32>,
    /// Where in the pack, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// The dataset concerned.
    pub dataset: Option<String>,
    /// The first version concerned.
    pub version: Option<String>,
    /// The path concerned, from the dataset's root.
    pub path: Option<Vec<u8>>,
    /// Whether the newest version still has the damaged file.
    pub newest: Option<bool>,
}

/// What was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Records of the packs.
    pub records: u64,
    /// Of these, chunks.
    pub chunks: u64,
    /// Versions.
    pub versions: u64,
    /// Damages found.
    pub damages: u64,
    /// Purges, whose contents are not there to be checked.
    #[serde(default)]
    pub purges: u64,
}

/// A kind as text: `file`, `dir`, `symlink`, `fifo`, `socket`, `char` or `block`.
pub fn kind_name(kind: Kind) -> &'static str {
    kind.as_str()
}
