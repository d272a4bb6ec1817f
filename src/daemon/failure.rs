//! Failures as a user sees them: what went wrong and why, perhaps what to do, and the exit code.

use std::error::Error as StdError;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::store::error::chain;
use crate::{dataset, store};

/// Exit code of a command that failed or did not find what it was asked for.
pub const FAILED: u8 = 1;
/// Exit code of a command that was called wrongly.
pub const USAGE: u8 = 2;
/// Exit code of a check that found damage.
pub const DAMAGED: u8 = 3;
/// Exit code of a check that found damage and repaired all of it.
pub const REPAIRED: u8 = 4;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was attempted and why it failed, in one line.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The command's exit code; 0 where nobody is left to be told.
    pub code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, code: FAILED }
    }

    /// A wrong call, with exit code 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: USAGE, ..Failure::new(message) }
    }

    /// A failure of `what` because of `error`, with its causes.
    pub fn because(what: impl Into<String>, error: &(dyn StdError + 'static)) -> Failure {
        Failure::new(format!("{}: {}", what.into(), chain(error)))
    }

    /// The reader of the output went away: nothing more to do and nothing to say.
    pub fn reader_gone() -> Failure {
        Failure { message: String::new(), hint: None, code: 0 }
    }

    /// Adds advice.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// A failure to write output.
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::because("cannot write the output", error),
        }
    }
}

/// What can be done where a store is on a file system that is read-only.
pub const READ_ONLY_DISK: &str = "a store is written to even when it is only read: copy it to a disk that can be \
                                  written to (cp -a), or have its disk mounted for writing (mount -o remount,rw)";

/// What to do where a store cannot be opened or made.
fn advice(what: &str, path: &Path, error: &io::Error) -> Option<String> {
    let elsewhere = "say where it is, or is to be made, by --store DIR or STRATA_STORE";
    match (error.kind(), what) {
        (io::ErrorKind::ReadOnlyFilesystem, "lock") => Some(READ_ONLY_DISK.into()),
        (io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied, "make directory") => {
            Some(elsewhere.into())
        }
        (io::ErrorKind::PermissionDenied, "open" | "lock" | "list") => whose(path),
        _ => None,
    }
}

/// Says whose what cannot be reached is, if it is somebody else's.
pub fn whose(path: &Path) -> Option<String> {
    let owner = path.ancestors().find_map(|path| fs::metadata(path).ok())?.uid();
    (owner != geteuid().as_raw()).then(|| {
        format!("it belongs to uid {owner}: ask as that user, or use a store of your own by --store DIR or STRATA_STORE")
    })
}

impl From<dataset::Error> for Failure {
    fn from(error: dataset::Error) -> Failure {
        match error {
            dataset::Error::Store(error) => error.into(),
            error => Failure::new(chain(&error)),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        let failure = Failure::new(chain(&error));
        match error {
            store::Error::ReadOnly { .. } => {
                failure.hint("once its disk is in order, unmount the store and mount it again")
            }
            store::Error::Io { what, path, source } => {
                Failure { hint: advice(what, &path, &source), ..failure }
            }
            _ => failure,
        }
    }
}
