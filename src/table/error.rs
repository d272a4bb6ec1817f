//! Why a table cannot be read or compared. Who asked names the file.

use std::io;
use std::path::PathBuf;

/// A failure to read or compare tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The bytes are no table of that format.
    #[error("{0}")]
    Malformed(String),
    /// A line of the file is not as it must be.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A row of the file cannot be decoded.
    #[error("row {row}: {why}")]
    Row {
        /// From 1.
        row: u64,
        /// What is wrong.
        why: String,
    },
    /// The table does not have a column that rows are to be known by.
    #[error("has no column '{0}'")]
    NoColumn(String),
    /// Two rows have the same key.
    #[error("rows {first} and {second} have the same key ({key})")]
    DuplicateKey {
        /// From 1.
        first: u64,
        /// From 1.
        second: u64,
        /// The columns that are no key.
        key: String,
    },
    /// It is about one of two tables.
    #[error("{error}")]
    Of {
        /// Which.
        side: Side,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// No scratch file can be had.
    #[error(transparent)]
    NoScratch(#[from] crate::store::Error),
    /// Scratch space cannot be used.
    #[error("cannot use scratch space in {}", dir.display())]
    Scratch {
        /// Where it is.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One of two tables that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The table before.
    Before,
    /// The table after.
    After,
}

impl Error {
    /// Says which of two tables it is about.
    pub fn of(self, side: Side) -> Error {
        match self {
            // Not about a table, or told already.
            Error::NoScratch(_) | Error::Scratch { .. } | Error::Of { .. } => self,
            error => Error::Of { side, error: Box::new(error) },
        }
    }
}

/// What reading or comparing tables gives.
pub type Result<T> = std::result::Result<T, Error>;
