//! What can go wrong with a dataset.

use thiserror::Error;

use crate::model::name::NameError;
use crate::model::{AnnotationError, TagError, VersionNo};
use crate::store;

/// Result of dataset operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed dataset operation.
#[derive(Debug, Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No such file, directory or inode.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// A directory was wanted.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// Something else than a directory was wanted.
    #[error("{0} is a directory")]
    IsADirectory(String),
    /// The directory has entries.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A tag that cannot be.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Something that cannot be said of a version.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// Not allowed on this kind of object.
    #[error("{0}")]
    NotPermitted(String),
    /// What was above it did not let the caller through.
    #[error("{0} was not to be reached by this user at that version")]
    Barred(String),
    /// The quota does not allow for it.
    #[error(
        "dataset {dataset} uses {used} bytes of its quota of {quota}, and this would make it {needed}: remove files, \
         or raise it (`strata set {dataset} quota=SIZE`)"
    )]
    OverQuota {
        /// The dataset.
        dataset: String,
        /// The quota, in bytes.
        quota: u64,
        /// What is used.
        used: u64,
        /// What would be.
        needed: u64,
    },
    /// A rename or link over the border of a dataset or out of a version.
    #[error("{0} would cross datasets or versions: copy instead")]
    CrossDataset(String),
    /// Versions are immutable.
    #[error("{0} is part of a version: versions never change")]
    Immutable(String),
    /// The program runs.
    #[error("the program is running")]
    Running,
    /// The extended attribute does not exist.
    #[error("no such extended attribute")]
    NoXattr,
    /// Extended attributes grew too large.
    #[error("extended attributes of more than {0} bytes")]
    XattrTooLarge(usize),
    /// The file system does not do this.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// No file can be that large.
    #[error("files larger than {} bytes are not possible", i64::MAX)]
    TooLarge,
    /// More paths than can be told of at once.
    #[error("more paths differ than can be told of at once: compare versions that are nearer to each other")]
    TooManyPaths,
    /// A handle or inode of a mount before.
    #[error("stale handle")]
    Stale,
    /// No dataset of that name.
    #[error("no dataset '{0}' in the store (`strata datasets` lists them)")]
    NoDataset(String),
    /// The dataset's directory was removed.
    #[error(
        "dataset '{0}' is archived (making its directory in the mount again, with mkdir, brings it back)"
    )]
    Archived(String),
    /// The version does not exist.
    #[error(
        "{dataset} has no version or tag '{spec}' (`strata log {dataset}` and `strata tags {dataset}` list them)"
    )]
    NoVersion {
        /// The dataset.
        dataset: String,
        /// What was asked for.
        spec: String,
    },
    /// The version was given up.
    #[error(
        "{version} of {dataset} was pruned at {time}{} (`strata log {dataset}` tells by whom)",
        message.as_ref().map_or(String::new(), |message| format!(" ({message:?})"))
    )]
    Pruned {
        /// The dataset.
        dataset: String,
        /// The version.
        version: VersionNo,
        /// When, RFC 3339 in UTC.
        time: String,
        /// What was said of it.
        message: Option<String>,
    },
    /// A version that was to be pruned has got a tag or a pin since that was planned.
    #[error("{version} of {dataset} was tagged or pinned meanwhile: nothing was pruned, try again")]
    Named {
        /// The dataset.
        dataset: String,
        /// The version.
        version: VersionNo,
    },
    /// Content of a version was purged.
    #[error("the content of files of {version} of {dataset} was purged: {what}")]
    Purged {
        /// The dataset.
        dataset: String,
        /// The version.
        version: VersionNo,
        /// The files' paths.
        what: String,
    },
    /// A version, or what it changed in others, is lost.
    #[error("{0} is lost, or what it was cannot be known (`strata verify` lists what is damaged)")]
    Lost(String),
    /// A hash prefix that several versions share.
    #[error("'{spec}' is ambiguous in {dataset}: it could be {}", candidates.join(" or "))]
    Ambiguous {
        /// The dataset.
        dataset: String,
        /// What was asked for.
        spec: String,
        /// The full hashes and the versions they name.
        candidates: Vec<String>,
    },
}

impl Error {
    /// Whether something is lost or damaged, and will be the next time too.
    pub fn is_damage(&self) -> bool {
        use store::Error::{Corrupt, Decode, Missing};
        matches!(self, Error::Lost(_) | Error::Store(Corrupt(_) | Decode { .. } | Missing(_)))
    }
}
