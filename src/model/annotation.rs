//! Annotations: what is said of a version after it was made, without changing it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::{DatasetId, VersionNo};
use super::record::Author;
use super::time::Timestamp;

/// Most bytes of a key.
pub const KEY_MAX: usize = 64;
/// Most bytes of all that is said at once: an annotation is no place for data.
pub const ANNOTATION_MAX: usize = 16 << 10;

/// Why something can be no annotation.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AnnotationError {
    /// A key is too long, or has characters that a key cannot have.
    #[error(
        "'{0}' can be no key of an annotation: a key has 1 to {KEY_MAX} letters, digits, '.', '_' and '-', and \
         begins with a letter"
    )]
    Key(String),
    /// It is too long.
    #[error("an annotation of {0} bytes is too long: at most {ANNOTATION_MAX} can be said at once")]
    Long(usize),
}

/// The key of an annotation: ASCII letters, digits, `.`, `_` and `-`, the first a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AnnotationKey(String);

impl AnnotationKey {
    /// Validates `text`.
    ///
    /// # Errors
    /// [`AnnotationError::Key`] where it can be no key.
    pub fn new(text: &str) -> Result<AnnotationKey, AnnotationError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        match begins && text.len() <= KEY_MAX && text.chars().all(allowed) {
            true => Ok(AnnotationKey(text.to_owned())),
            false => Err(AnnotationError::Key(text.to_owned())),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AnnotationKey {
    type Error = AnnotationError;
    fn try_from(text: String) -> Result<AnnotationKey, AnnotationError> {
        AnnotationKey::new(&text)
    }
}

impl From<AnnotationKey> for String {
    fn from(key: AnnotationKey) -> String {
        key.0
    }
}

impl fmt::Display for AnnotationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A change of what is said of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// A text, in place of the one before.
    pub message: Option<String>,
    /// Values from now on; `None` where a key is taken away.
    pub values: BTreeMap<AnnotationKey, Option<String>>,
}

impl Remark {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.message.is_none() && self.values.is_empty()
    }

    /// Checks the length.
    ///
    /// # Errors
    /// [`AnnotationError::Long`].
    pub fn check(&self) -> Result<(), AnnotationError> {
        let values = self.values.iter();
        let values = values.map(|(key, value)| key.as_str().len() + value.as_ref().map_or(0, String::len));
        let len = self.message.as_ref().map_or(0, String::len) + values.sum::<usize>();
        if len > ANNOTATION_MAX { Err(AnnotationError::Long(len)) } else { Ok(()) }
    }
}

/// Something said of a version; the last record of a key counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// Orders the dataset's annotation records: 1, 2, … over its whole life.
    pub sequence: u64,
    /// The version.
    pub version: VersionNo,
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub author: Author,
    /// What.
    pub remark: Remark,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_words() {
        for key in ["license", "cr.url", "a-b_c1"] {
            assert_eq!(AnnotationKey::new(key).map(String::from), Ok(key.to_owned()));
        }
        for bad in ["", "1a", "a b", "a=b", "-a", "ä", "a\n", &"a".repeat(KEY_MAX + 1)] {
            assert_eq!(AnnotationKey::new(bad), Err(AnnotationError::Key(bad.to_owned())));
        }
        assert!(serde_json::from_str::<AnnotationKey>("\"a b\"").is_err());
    }

    #[test]
    fn length_is_limited() {
        let remark = |len| Remark { message: Some("x".repeat(len)), values: BTreeMap::new() };
        assert_eq!(remark(ANNOTATION_MAX).check(), Ok(()));
        assert_eq!(remark(ANNOTATION_MAX + 1).check(), Err(AnnotationError::Long(ANNOTATION_MAX + 1)));
    }
}
