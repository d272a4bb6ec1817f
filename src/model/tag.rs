//! Tags: names that people give to versions, and ranges of those that are semantic versions.

use std::fmt;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::at::AtName;
use super::ids::{DatasetId, VersionNo};
use super::record::Author;
use super::time::Timestamp;

/// Most bytes of a tag.
pub const TAG_MAX: usize = 128;

/// Why a name can be no tag.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TagError {
    /// It is too long, or has characters that a tag cannot have.
    #[error(
        "'{0}' can be no tag: a tag has 1 to {TAG_MAX} bytes, of letters, digits, '.', '_', '-' and '+', \
         and begins with a letter or digit"
    )]
    Form(String),
    /// It would be taken for something else.
    #[error(
        "'{0}' can be no tag: it would be taken for a version, hash, date or range, or has a fixed meaning"
    )]
    Taken(String),
}

/// The name of a tag: letters, digits, `.`, `_`, `-` and `+`, the first a letter or digit, and nothing that
/// means a version, hash, date, range or special directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TagName(String);

impl TagName {
    /// Validates `text`.
    ///
    /// # Errors
    /// Why it can be no tag.
    pub fn new(text: &str) -> Result<TagName, TagError> {
        let allowed = |c: char| c.is_alphanumeric() || "._-+".contains(c);
        let begins = text.chars().next().is_some_and(char::is_alphanumeric);
        if !begins || text.len() > TAG_MAX || !text.chars().all(allowed) {
            return Err(TagError::Form(text.to_owned()));
        }
        let fixed = AtName::parse(format!("@{text}").as_bytes()).is_some();
        match fixed || looks_fixed(text) || TagRange::new(text).is_some() {
            true => Err(TagError::Taken(text.to_owned())),
            false => Ok(TagName(text.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The semantic version it is, if it is one (`1.4.0`, `v1.4.0-rc.1`).
    pub fn semantic(&self) -> Option<Version> {
        Version::parse(self.0.strip_prefix('v').unwrap_or(&self.0)).ok()
    }
}

/// Whether a name looks like a version or a date, though there is none such: `v007`, `2026-13-01`.
fn looks_fixed(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let date = text.split('-').zip([4, 2, 2]).all(|(part, len)| part.get(..len).is_some_and(digits));
    text.strip_prefix('v').is_some_and(digits) || (date && text.matches('-').count() >= 2)
}

impl TryFrom<String> for TagName {
    type Error = TagError;
    fn try_from(text: String) -> Result<TagName, TagError> {
        TagName::new(&text)
    }
}

impl From<TagName> for String {
    fn from(name: TagName) -> String {
        name.0
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A range of tags that are semantic versions: `1`, `1.4`, `1.x`, `1.4.x`, `^1.2`, `~1.2.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRange {
    text: String,
    range: VersionReq,
}

impl TagRange {
    /// Reads a range; `None` where it is none.
    pub fn new(text: &str) -> Option<TagRange> {
        let (operator, rest) = match text.strip_prefix(['^', '~']) {
            Some(rest) => (&text[..1], rest),
            None => ("", text),
        };
        let parts: Vec<&str> = rest.split('.').collect();
        let digits =
            |part: &&str| !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit());
        let numbers = parts.iter().take_while(|part| digits(part)).count();
        let wild = parts[numbers..].iter().all(|part| matches!(*part, "x" | "X" | "*"));
        let whole = numbers == 3 && operator.is_empty();
        if numbers == 0 || parts.len() > 3 || !wild || whole {
            return None;
        }
        let numbers = parts[..numbers].join(".");
        // Without an operator, what is not said may be anything: 1.4 is any 1.4.x.
        let range =
            VersionReq::parse(&format!("{}{numbers}", if operator == "^" { "^" } else { "~" })).ok()?;
        Some(TagRange { text: text.to_owned(), range })
    }

    /// The range as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it takes in a version. One before a release (`1.4.0-rc.1`) is in no range.
    pub fn contains(&self, version: &Version) -> bool {
        version.pre.is_empty() && self.range.matches(version)
    }
}

/// A tag that was set, moved or removed; the last record of a tag counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// Orders the dataset's tag records: 1, 2, … over its whole life.
    pub sequence: u64,
    /// The tag.
    pub name: TagName,
    /// The version it names from now on; `None` where it was removed.
    pub version: Option<VersionNo>,
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub author: Author,
    /// What the author says of it.
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_from_all_else() {
        for tag in [
            "prod",
            "baseline_2",
            "1.4.0",
            "v1.4.0",
            "1.4.0-rc.1+b",
            "großer-test",
            "2026q1",
            "2026-q1-a",
            "vx",
            "v",
        ] {
            assert_eq!(TagName::new(tag).map(String::from), Ok(tag.to_owned()));
        }
        for (bad, taken) in [
            ("", false),
            (".x", false),
            ("-x", false),
            ("a b", false),
            ("a/b", false),
            ("a@b", false),
            ("a\n", false),
            ("a~1", false),
            ("v3", true),
            ("latest", true),
            ("prev", true),
            ("history", true),
            ("tag", true),
            ("deadbeef", true),
            ("20261101", true),
            ("2026-11-01", true),
            ("2026-13-01", true),
            ("2026-11-01T10-30", true),
            ("v0", true),
            ("v03", true),
            ("1", true),
            ("1.4", true),
            ("1.x", true),
        ] {
            let wanted = if taken { TagError::Taken(bad.into()) } else { TagError::Form(bad.into()) };
            assert_eq!(TagName::new(bad), Err(wanted), "{bad}");
        }
        assert!(TagName::new(&"a".repeat(128)).is_ok());
        assert!(TagName::new(&"g".repeat(129)).is_err());
        assert!(serde_json::from_str::<TagName>("\"v3\"").is_err());
    }

    #[test]
    fn ranges_take_in_what_they_say() {
        for (range, inside, outside) in [
            ("1", &["1.0.0", "1.9.3"][..], &["2.0.0", "0.9.0", "1.4.0-rc.1"][..]),
            ("1.x", &["1.0.0", "1.9.3"], &["2.0.0"]),
            ("1.4", &["1.4.0", "1.4.9"], &["1.5.0", "1.3.9"]),
            ("1.4.x", &["1.4.0", "1.4.9"], &["1.5.0"]),
            ("1.x.x", &["1.0.0", "1.4.9"], &["2.0.0"]),
            ("^1.2", &["1.2.0", "1.9.0"], &["1.1.9", "2.0.0"]),
            ("^0.2", &["0.2.0", "0.2.7"], &["0.3.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
        ] {
            let parsed = TagRange::new(range).unwrap();
            let takes = |version: &&str| parsed.contains(&Version::parse(version).unwrap());
            assert!(inside.iter().all(takes), "{range}");
            assert!(!outside.iter().any(takes), "{range}");
        }
        for none in ["", "x", "^", "1.4.0", "1.x.3", "1.4.0.x", "a", "1.a", "^x", "-1", "1.", "~~1"] {
            assert_eq!(TagRange::new(none), None, "{none}");
        }
        assert_eq!(TagName::new("v1.4.0").unwrap().semantic(), Some(Version::new(1, 4, 0)));
        assert_eq!(TagName::new("prod").unwrap().semantic(), None);
    }
}
