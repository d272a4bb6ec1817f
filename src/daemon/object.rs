//! How commands name what is in a store: `DATASET[@VERSION][/PATH]`.

use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::model::{DatasetName, Name, VersionSpec};

/// A dataset, file or directory, live or as of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSpec {
    /// The dataset.
    pub dataset: DatasetName,
    /// The version, as it was written; the live tree where there is none.
    pub version: Option<VersionText>,
    /// From the dataset's root.
    pub path: Vec<Name>,
}

/// The name of a version, known to be well-formed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionText(String);

impl VersionText {
    /// Reads a version: `v3`, `v3~1`, `latest`, `prev`, a hash of 8 digits or more, a UTC date or time,
    /// a tag, a range of tags; a leading `@` is accepted.
    ///
    /// # Errors
    /// Says which forms there are.
    pub fn parse(text: &str) -> Result<VersionText, String> {
        let bare = text.strip_prefix('@').unwrap_or(text);
        match VersionSpec::parse(bare) {
            Some(_) => Ok(VersionText(bare.to_owned())),
            None => Err(format!(
                "'{text}' names no version: v3, v3~1, latest, prev, a hash of at least 8 digits, \
                 2026-11-01 or 2026-11-01T10-30-00Z (UTC), a tag, or a range of tags such as 1.x wanted"
            )),
        }
    }

    /// What it means.
    pub fn spec(&self) -> Option<VersionSpec> {
        VersionSpec::parse(&self.0)
    }

    /// The version as it was written, without `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VersionText {
    type Error = String;
    fn try_from(text: String) -> Result<VersionText, String> {
        VersionText::parse(&text)
    }
}

impl From<VersionText> for String {
    fn from(version: VersionText) -> String {
        version.0
    }
}

impl ObjectSpec {
    /// Reads `DATASET[@VERSION][/PATH]`.
    ///
    /// # Errors
    /// Says which part is not well-formed.
    pub fn parse(text: &OsStr) -> Result<ObjectSpec, String> {
        let bytes = text.as_bytes();
        let (head, path) = match bytes.iter().position(|b| *b == b'/') {
            Some(at) => (&bytes[..at], &bytes[at..]),
            None => (bytes, &[][..]),
        };
        let (dataset, version) = match head.iter().position(|b| *b == b'@') {
            Some(at) => (&head[..at], Some(String::from_utf8_lossy(&head[at + 1..]))),
            None => (head, None),
        };
        let dataset = DatasetName::new(dataset).map_err(|_| {
            "the name of a dataset must come first, as `strata datasets` prints it and not as a path: \
             DATASET[@VERSION][/PATH]"
                .to_owned()
        })?;
        let version = version.map(|v| VersionText::parse(&v)).transpose()?;
        Ok(ObjectSpec { dataset, version, path: parse_path(OsStr::from_bytes(path))? })
    }
}

/// Reads a path from a dataset's root; slashes at its ends and doubled ones count for nothing, nor do
/// `.` components.
///
/// # Errors
/// Says which component cannot be a name.
pub fn parse_path(path: &OsStr) -> Result<Vec<Name>, String> {
    let components = path.as_bytes().split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b"."));
    components.map(|c| Name::new(c).map_err(|e| e.to_string())).collect()
}

/// A path's bytes.
pub fn path_bytes(path: &[Name]) -> Vec<u8> {
    path.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<ObjectSpec, String> {
        ObjectSpec::parse(OsStr::from_bytes(text))
    }

    #[test]
    fn objects_have_a_dataset_and_perhaps_version_and_path() {
        for (text, version, path) in [
            (&b"d"[..], None, &[][..]),
            (b"d/", None, &[]),
            (b"d@v3", Some("v3"), &[]),
            (b"d@v3~1/a/b", Some("v3~1"), &[&b"a"[..], b"b"]),
            (b"d//a/./b/", None, &[b"a", b"b"]),
            (b"d@2026-11-01T10-30-00Z/\xff", Some("2026-11-01T10-30-00Z"), &[b"\xff"]),
            (b"d@@latest", Some("latest"), &[]),
            (b"d@0123abcd/x@v1", Some("0123abcd"), &[b"x@v1"]),
            (b"d@prod/x", Some("prod"), &[b"x"]),
            (b"d@^1.2", Some("^1.2"), &[]),
        ] {
            let spec = parse(text).unwrap();
            assert_eq!(spec.dataset.as_str(), "d");
            assert_eq!(spec.version.as_ref().map(VersionText::as_str), version);
            assert_eq!(spec.path.iter().map(Name::as_bytes).collect::<Vec<_>>(), path);
            let wire = serde_json::to_vec(&spec).unwrap();
            assert_eq!(serde_json::from_slice::<ObjectSpec>(&wire).unwrap(), spec);
        }
    }

    #[test]
    fn malformed_objects_say_what_is_wrong() {
        for (text, wanted) in [
            (&b""[..], "name"),
            (b"/a", "name"),
            (b"@v1", "name"),
            (b"d@", "names no version"),
            (b"d@v0/a", "'v0'"),
            (b"d@a b", "'a b'"),
            (b"d/../e", "name"),
            (b"\xff", "name"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{}: {error}", String::from_utf8_lossy(text));
        }
        assert!(parse(&[b"d/", &[b'x'; 256][..]].concat()).unwrap_err().contains("256"));
        assert!(serde_json::from_str::<VersionText>("\"v0\"").is_err(), "the wire is checked too");
    }
}
