//! Validated names of directory entries and of datasets.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name of a directory entry, in bytes.
pub const NAME_MAX: usize = 255;

/// Why bytes cannot be a name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Over [`NAME_MAX`] bytes.
    #[error("name of {0} bytes: at most {NAME_MAX} are possible")]
    TooLong(usize),
    /// Empty, `.`, `..`, or with a slash or NUL byte.
    #[error("{0:?} cannot be a name: it is empty, '.', '..', or has a '/' or NUL byte")]
    Invalid(String),
    /// Not acceptable as a dataset's name.
    #[error("{0:?} cannot be a dataset's name: UTF-8 without '@' or control characters wanted")]
    Dataset(String),
}

/// Name of a directory entry: 1 to 255 bytes, no `/`, no NUL, not `.` or `..`; any encoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Box<[u8]>);

impl Name {
    /// Validates `bytes`.
    pub fn new(bytes: &[u8]) -> Result<Name, NameError> {
        if bytes.len() > NAME_MAX {
            return Err(NameError::TooLong(bytes.len()));
        }
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(NameError::Invalid(String::from_utf8_lossy(bytes).into_owned()));
        }
        Ok(Name(bytes.into()))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as the system's string type.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// The key that orders this name within its directory.
    pub fn key(&self) -> NameKey {
        NameKey::of(&self.0)
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = NameError;
    fn try_from(bytes: Vec<u8>) -> Result<Name, NameError> {
        Name::new(&bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Vec<u8> {
        name.0.into_vec()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// First 128 bits of a name's BLAKE3 hash: a directory's entries are kept, listed and hashed in the
/// order of these, which stays put whatever is added or removed beside them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NameKey(pub [u8; 16]);

impl NameKey {
    /// The lowest key.
    pub const MIN: NameKey = NameKey([0; 16]);

    /// The key of the name `bytes`.
    pub fn of(bytes: &[u8]) -> NameKey {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        NameKey(key)
    }

    /// Hexadecimal digit `depth` (0 to 31) from the left: the branch taken in a radix-16 tree.
    pub fn digit(&self, depth: usize) -> usize {
        let byte = self.0[depth / 2];
        usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
    }

    /// The key's first 63 bits, used as a readdir position (positions 0 to 2 are kept free for the
    /// start, `.` and `..`).
    pub fn position(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        (u64::from_be_bytes(first) >> 1).max(3)
    }
}

impl NameKey {
    /// The highest key whose position is below `position`, to list from there on.
    pub fn before(position: u64) -> Option<NameKey> {
        let first = (position << 1).checked_sub(1)?;
        let mut key = [0xff; 16];
        key[..8].copy_from_slice(&first.to_be_bytes());
        Some(NameKey(key))
    }
}

/// A path as text, for messages.
pub fn show_path(path: &[Name]) -> String {
    path.iter().map(Name::to_string).collect::<Vec<_>>().join("/")
}

/// Name of a dataset: a [`Name`] that is UTF-8, without `@` (which introduces a version) and
/// without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(String);

impl DatasetName {
    /// Validates `bytes`.
    pub fn new(bytes: &[u8]) -> Result<DatasetName, NameError> {
        Name::new(bytes)?;
        match std::str::from_utf8(bytes) {
            Ok(s) if !s.contains(|c: char| c == '@' || c.is_control()) => Ok(DatasetName(s.to_owned())),
            _ => Err(NameError::Dataset(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DatasetName {
    type Error = NameError;
    fn try_from(s: String) -> Result<DatasetName, NameError> {
        DatasetName::new(s.as_bytes())
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> String {
        name.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
