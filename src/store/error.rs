//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::codec::CodecError;

/// Result of store operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed store operation: what was attempted on which object.
#[derive(Debug, Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted: "write", "open", …
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No room on the store's disk (or only the reserve that keeps deletions possible).
    #[error("no space left for the store in {}: free some space on its disk", .0.display())]
    NoSpace(PathBuf),
    /// Stored bytes are not what was stored.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// Stored bytes do not decode.
    #[error("damaged: {what}")]
    Decode {
        /// Which record, where.
        what: String,
        /// The decoder's reason.
        source: CodecError,
    },
    /// A file of the store is not what it should be, so that the store is not opened as it is.
    #[error("damaged: {what}; {advice}")]
    Damaged {
        /// The file, and what is wrong with it.
        what: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// Something the store should hold is not in it.
    #[error("{0} is missing from the store")]
    Missing(String),
    /// The index failed; it can be rebuilt.
    #[error("index failed: {0} (`strata fsck --rebuild-index` makes it anew)")]
    Index(String),
    /// Something happened after which nothing is written until the store is opened anew: what it was.
    #[error("the store in {} takes no more writes until it is opened anew: {why}", path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// The directory holds no store.
    #[error("{} is not a store: `strata init` makes one in an empty directory", .0.display())]
    NotAStore(PathBuf),
    /// A store is to be made where there is something else.
    #[error("{} is not empty: a store is made in an empty or new directory", .0.display())]
    NotEmpty(PathBuf),
    /// The request would break what the store promises.
    #[error("refused: {0}")]
    Refused(String),
    /// The store was written by a later release.
    #[error("the store in {} has format {found}, this release reads up to {supported}: use a newer strata \
             (or, where none ever had it, `strata fsck`)", path.display())]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        supported: u32,
    },
    /// Another process has the store open.
    #[error("the store in {} is in use by process {pid}", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
        /// Who has it.
        pid: u32,
    },
}

/// An error and its causes, joined by colons.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl Error {
    /// Whether it failed for want of something that there will be again: open files, or memory.
    pub fn is_shortage(&self) -> bool {
        const SHORT: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM];
        matches!(self, Error::Io { source, .. } if source.raw_os_error().is_some_and(|code| SHORT.contains(&code)))
    }

    /// An [`Error::Io`], or [`Error::NoSpace`] where the disk is full.
    pub fn io(what: &'static str, path: &Path, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Error::NoSpace(path.to_owned()),
            _ => Error::Io { what, path: path.to_owned(), source },
        }
    }
}
