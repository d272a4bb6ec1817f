//! Failures as a user sees them: what went wrong and why, perhaps what to do, and the exit code.

use std::error::Error as StdError;
use std::io;

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
            _ => failure,
        }
    }
}
