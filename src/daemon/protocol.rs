//! What commands ask of a store, and what they are told.

mod items;
mod paths;
mod purged;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dataset::LogEntry;
use crate::dataset::meta::About;
use crate::dataset::retention::Tombstone;
use crate::model::{DatasetName, Name, Policy, Remark, Rules, TagName};

use super::object::{ObjectSpec, VersionText};
use super::pointer::Pointer;

pub use items::{
    AnnotationInfo, BlameInfo, Bundled, ChangeInfo, Collected, CommitInfo, Compacted, DamageInfo,
    DatasetInfo, DvcInfo, EntryInfo, Exported, Located, Made, PinInfo, PlaceInfo, PlannedInfo, PointerInfo,
    Prefetched, PrunedInfo, Status, TagInfo, Verified, kind_name,
};
pub use purged::{Purged, PurgedPath};

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// One [`Item::Status`].
    Status {
        /// Count the logical bytes however long it takes.
        count_all: bool,
    },
    /// An [`Item::Dataset`] for each dataset.
    Datasets,
    /// An [`Item::Version`] for each version, newest first.
    Log {
        /// The dataset.
        dataset: DatasetName,
        /// Only versions that changed this path; all where it is empty.
        path: Vec<Name>,
        /// Also those of the path that it had before it was renamed.
        follow: bool,
        /// At most as many.
        limit: Option<u64>,
    },
    /// An [`Item::Blame`] for each entry of the directory that the object is, or for the object itself.
    Blame {
        /// The directory.
        object: ObjectSpec,
        /// Also those of the directories in it.
        deep: bool,
    },
    /// An [`Item::Version`], then an [`Item::Change`] for each path that it changed, then, where there are
    /// more than were asked for, an [`Item::More`].
    Show {
        /// The dataset.
        dataset: DatasetName,
        /// The version; the newest where there is none.
        version: Option<VersionText>,
        /// At most as many changes.
        limit: Option<u64>,
    },
    /// An [`Item::Change`] for each path that differs.
    Diff {
        /// The tree before: a version (the newest where there is none), and where its tree begins.
        before: ObjectSpec,
        /// The tree after.
        after: ObjectSpec,
        /// Only what is at or below this path, in both.
        path: Vec<Name>,
    },
    /// An [`Item::Tag`]: the tag as it is then.
    Tag {
        /// The dataset.
        dataset: DatasetName,
        /// The version; the newest where there is none.
        version: Option<VersionText>,
        /// The tag, or which number of the highest semantic version is to be one more.
        name: NewTag,
        /// What the author says of it.
        message: Option<String>,
        /// Whether a tag that is a semantic version may be moved.
        force: bool,
    },
    /// An [`Item::Tag`] without a version.
    Untag {
        /// The dataset.
        dataset: DatasetName,
        /// The tag.
        name: TagName,
        /// What the author says of it.
        message: Option<String>,
    },
    /// An [`Item::Tag`] for each tag, by name, or for all that was done to any, newest first.
    Tags {
        /// The dataset.
        dataset: DatasetName,
        /// Whether all that was done is wanted.
        history: bool,
    },
    /// An [`Item::Version`]: the version as the log shows it then; with `history`, an [`Item::Annotation`] for
    /// each time that something was said of it before, newest first.
    Annotate {
        /// The dataset.
        dataset: DatasetName,
        /// The version; the newest where there is none.
        version: Option<VersionText>,
        /// What is said of it.
        remark: Remark,
        /// Whether nothing is to be said, but told what was.
        history: bool,
    },
    /// A text about a directory of a version (the newest where there is none), as data.
    Meta {
        /// The directory.
        object: ObjectSpec,
        /// Which text.
        about: About,
    },
    /// Nothing but success.
    SetPolicy {
        /// The dataset.
        dataset: DatasetName,
        /// When versions are cut from now on.
        policy: Policy,
    },
    /// Nothing but success.
    SetRetention {
        /// The dataset.
        dataset: DatasetName,
        /// What the daemon is to keep from now on; everything where there is nothing.
        rules: Option<Rules>,
    },
    /// Nothing but success.
    SetQuota {
        /// The dataset.
        dataset: DatasetName,
        /// The bytes that its files may have; any number where there is nothing.
        quota: Option<u64>,
    },
    /// An [`Item::Pin`].
    Pin {
        /// The dataset.
        dataset: DatasetName,
        /// The version; the newest where there is none.
        version: Option<VersionText>,
        /// Whether it is to be pinned, or no longer.
        pin: bool,
        /// What the author says of it.
        message: Option<String>,
    },
    /// An [`Item::Planned`] for each version, newest first, then an [`Item::Pruned`].
    Prune {
        /// The dataset.
        dataset: DatasetName,
        /// What is kept.
        rules: Rules,
        /// Whether it is only told what would be dropped.
        dry_run: bool,
        /// Whether all but the newest version may go.
        force: bool,
        /// What the author says of it.
        message: Option<String>,
    },
    /// An [`Item::Collected`] after [`Item::Progress`] now and then, of packs.
    Gc {
        /// Whether packs with few bytes to be given back are rewritten too.
        all: bool,
        /// Whether it is only told what there is.
        dry_run: bool,
    },
    /// An [`Item::Tombstone`] for each purge, oldest first.
    Tombstones {
        /// The dataset.
        dataset: DatasetName,
    },
    /// An [`Item::PurgedPath`] for each path, then an [`Item::Purged`]. What is to be purged follows as data up
    /// to an end: paths, of files or directories, with a NUL between; or where nothing ever had such a path,
    /// the id of a content, or how it begins.
    Purge {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        reason: String,
        /// Whether it is removed from the versions of all files and datasets.
        everywhere: bool,
        /// Whether it is only told what would be removed.
        #[serde(default)]
        dry_run: bool,
    },
    /// An [`Item::Made`].
    Commit {
        /// The dataset.
        dataset: DatasetName,
        /// What the author says of the version.
        message: Option<String>,
    },
    /// An [`Item::Made`].
    Rollback {
        /// The dataset.
        dataset: DatasetName,
        /// The version whose tree is restored.
        version: VersionText,
        /// What the author says of the new version.
        message: Option<String>,
        /// Whether files whose content was purged are left out, rather than nothing done where there are any.
        skip_purged: bool,
    },
    /// An [`Item::Made`] after [`Item::Importing`] now and then.
    Import {
        /// The directory, an absolute path.
        #[serde(with = "paths")]
        source: PathBuf,
        /// The dataset, made if there is none.
        dataset: DatasetName,
        /// What the author says of the version.
        message: Option<String>,
        /// Whether what the directory does not have goes away.
        delete: bool,
        /// Whether files that seem unchanged are read.
        checksum: bool,
    },
    /// The same of a bundle, whose bytes follow as data up to an end.
    Unbundle {
        /// The dataset, made if there is none.
        dataset: DatasetName,
    },
    /// An [`Item::Commit`] for each commit that changes the data, [`Item::Importing`] now and then, and an
    /// [`Item::Made`] at the end.
    ImportHistory {
        /// A directory in the git repository, an absolute path.
        #[serde(with = "paths")]
        source: PathBuf,
        /// The dataset, made if there is none.
        dataset: DatasetName,
        /// The branch.
        branch: String,
        /// The part of the repository; all of it where there is none.
        #[serde(with = "paths::optional", default)]
        path: Option<PathBuf>,
        /// Whether pointers whose objects are missing stay as they are.
        #[serde(default)]
        skip_missing: bool,
        /// Whether to tell only what there is to do.
        dry_run: bool,
    },
    /// A tar archive of a version, as data, then an [`Item::Exported`].
    Export {
        /// The dataset.
        dataset: DatasetName,
        /// The version; the newest where there is none.
        version: Option<VersionText>,
        /// Whether modes, owners, times, hard links and extended attributes are as they were.
        preserve: bool,
        /// Whether checksums are in it.
        sums: bool,
        /// Whether files whose content was purged are left out, rather than nothing done where there are any.
        #[serde(default)]
        skip_purged: bool,
    },
    /// All versions of a dataset up to one, as data, then an [`Item::Bundled`].
    Bundle {
        /// The dataset.
        dataset: DatasetName,
        /// The last version; the newest where there is none.
        version: Option<VersionText>,
        /// The version after which they begin; with the first where there is none.
        since: Option<VersionText>,
    },
    /// The bytes of a file, as data.
    Cat(ObjectSpec),
    /// Some of the bytes of a file, as data; none at its end alone.
    Read {
        /// The file; best of a version by number, which does not change meanwhile.
        object: ObjectSpec,
        /// Where they begin.
        offset: u64,
        /// At most as many, and at most 1 MiB.
        len: u64,
    },
    /// An [`Item::Resolved`], then an [`Item::Entry`] of the object itself if there is one.
    Resolve(ObjectSpec),
    /// An [`Item::Entry`] for each entry of a directory, or for the file itself.
    List(ObjectSpec),
    /// An [`Item::Pointer`] after [`Item::Pointing`] now and then.
    Pointer {
        /// What to point to: of the newest version where it names none.
        object: ObjectSpec,
        /// Whether DVC is to be pointed to it too.
        dvc: bool,
    },
    /// An [`Item::Located`]; then, unless only that is wanted, an [`Item::Place`] for all that is pointed to,
    /// each directory before what it holds, each file followed by its bytes, as data and [`Item::Hole`]s.
    Checkout {
        /// What to give.
        pointer: Pointer,
        /// Whether only the place is wanted.
        locate: bool,
    },
    /// An [`Item::Damage`] for each damage, at last an [`Item::Verified`]; now and then
    /// [`Item::Progress`].
    Verify,
    /// An [`Item::Prefetched`] after [`Item::Prefetching`] now and then.
    Prefetch(ObjectSpec),
    /// An [`Item::Compacted`] after [`Item::Progress`] now and then.
    Compact {
        /// Whether packs are made as small as they get, those that are compressed already too.
        best: bool,
    },
    /// [`Item::BatchBegun`]; after [`Request::EndBatch`] an [`Item::Made`] for each dataset.
    Batch {
        /// Whose versions are held back; all datasets, also those made meanwhile, where it is empty.
        datasets: Vec<DatasetName>,
        /// What becomes of the changes where the end is no success: taken back, or kept as a version.
        rollback_on_error: bool,
        /// What the author says of the versions.
        message: Option<String>,
    },
    /// Ends the batch begun on the same connection.
    EndBatch {
        /// Whether the command succeeded.
        success: bool,
    },
}

impl Request {
    /// Whether bytes follow it.
    pub fn is_followed(&self) -> bool {
        matches!(self, Request::Unbundle { .. } | Request::Purge { .. })
    }
}

/// The tag that a version is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewTag {
    /// This.
    Named(TagName),
    /// The one after the highest semantic version.
    Next(Step),
    /// The same, if that is still this.
    After {
        /// What becomes one more.
        step: Step,
        /// The highest semantic version; `None` where there is none.
        highest: Option<TagName>,
    },
}

/// Which number of a semantic version becomes one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The first: what uses the data must change.
    Major,
    /// The second: something was added.
    Minor,
    /// The third.
    Patch,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// What is to be known of something that was done all the same.
    Notice(String),
    /// The state of a store.
    Status(Status),
    /// A dataset.
    Dataset(DatasetInfo),
    /// A version.
    Version(LogEntry),
    /// A version of something that had another path then.
    VersionOf {
        /// The version.
        entry: LogEntry,
        /// The path.
        path: Vec<u8>,
    },
    /// A path, and the version that touched it last.
    Blame(BlameInfo),
    /// A path that a version changed.
    Change(ChangeInfo),
    /// That there are more changes than were asked for.
    More,
    /// A tag, or what was done to it.
    Tag(TagInfo),
    /// Something that was said of a version.
    Annotation(AnnotationInfo),
    /// The version that was meant: `v3`; `None` where the dataset has none yet.
    Resolved(Option<String>),
    /// An entry of a directory.
    Entry(EntryInfo),
    /// A version made, or that there was none to make.
    Made(Made),
    /// What was looked at so far to be pointed to.
    Pointing {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// What a pointer says.
    Pointer(PointerInfo),
    /// Where what is pointed to was found.
    Located(Located),
    /// A part of what is pointed to.
    Place(PlaceInfo),
    /// As many bytes of a file that are zero.
    Hole(u64),
    /// Something damaged.
    Damage(DamageInfo),
    /// What was verified.
    Verified(Verified),
    /// What was compressed.
    Compacted(Compacted),
    /// What was read so far.
    Prefetching(Prefetched),
    /// What was read.
    Prefetched(Prefetched),
    /// How far a verification or a compaction is.
    Progress {
        /// Bytes dealt with.
        done: u64,
        /// Bytes to deal with.
        total: u64,
    },
    /// A commit that is or would be imported.
    Commit(CommitInfo),
    /// How far an import is.
    Importing {
        /// Files dealt with.
        files: u64,
        /// Files there are.
        files_total: u64,
        /// Bytes dealt with.
        bytes: u64,
        /// Bytes there are.
        bytes_total: u64,
        /// Whether the totals are known, or files are still being looked for.
        counted: bool,
    },
    /// From here on versions are held back.
    BatchBegun,
    /// What was exported.
    Exported(Exported),
    /// What was bundled.
    Bundled(Bundled),
    /// A version that is pinned now, or no longer.
    Pin(PinInfo),
    /// A version, and why it is kept.
    Planned(PlannedInfo),
    /// What was pruned, or would be.
    Pruned(PrunedInfo),
    /// What was given back, or could be.
    Collected(Collected),
    /// What was purged of a path.
    PurgedPath(PurgedPath),
    /// What was purged.
    Purged(Purged),
    /// What was purged before.
    Tombstone(Tombstone),
}
