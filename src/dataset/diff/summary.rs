//! Differences as JSON, for commands and mounts alike.

use serde::Serialize;

use crate::model::{JsonName, Kind};

use super::super::history::ChangeKind;

/// A path that differs, as JSON has it.
#[derive(Debug, Serialize)]
pub struct ChangeJson<'a> {
    path: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_bytes: Option<String>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind_before: Option<&'static str>,
    change: ChangeKind,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<&'a str>,
    size_before: Option<u64>,
    size_after: Option<u64>,
    mode_before: Option<String>,
    mode_after: Option<String>,
}

impl<'a> ChangeJson<'a> {
    /// Of a path, the path before where it was renamed, and what is known of both sides.
    pub fn new(
        (path, from): (&'a [u8], Option<&'a [u8]>),
        (kind, change): (Kind, ChangeKind),
        sizes: (Option<u64>, Option<u64>),
        modes: (Option<u32>, Option<u32>),
    ) -> ChangeJson<'a> {
        let (path, from) = (JsonName::of(path), from.map(JsonName::of));
        let octal = |mode: Option<u32>| mode.map(|mode| format!("{mode:04o}"));
        let (from, from_bytes) = from.map_or((None, None), |from| (Some(from.text), from.bytes));
        ChangeJson {
            path: path.text,
            path_bytes: path.bytes,
            from,
            from_bytes,
            kind: kind.as_str(),
            kind_before: None,
            change,
            attributes: Vec::new(),
            size_before: sizes.0,
            size_after: sizes.1,
            mode_before: octal(modes.0),
            mode_after: octal(modes.1),
        }
    }

    /// The same with what it was before, of another kind, and which attributes changed besides the mode.
    pub fn with(
        self,
        kind_before: Option<Kind>,
        attributes: impl Iterator<Item = &'a str>,
    ) -> ChangeJson<'a> {
        let kind_before = kind_before.map(Kind::as_str);
        ChangeJson { kind_before, attributes: attributes.collect(), ..self }
    }
}

/// How many paths differ, and the bytes of files among them.
#[derive(Debug, Default, Serialize)]
pub struct Stat {
    /// Paths that came.
    pub added: u64,
    /// Paths that went.
    pub removed: u64,
    /// Paths with other content.
    pub modified: u64,
    /// Paths that had another name.
    pub renamed: u64,
    /// Paths with other attributes alone.
    pub attributes: u64,
    /// Bytes of all of them before.
    pub bytes_before: u64,
    /// Bytes of all of them after.
    pub bytes_after: u64,
}

impl Stat {
    /// Counts a path.
    pub fn add(&mut self, change: ChangeKind, sizes: (Option<u64>, Option<u64>)) {
        *match change {
            ChangeKind::Added => &mut self.added,
            ChangeKind::Removed => &mut self.removed,
            ChangeKind::Modified => &mut self.modified,
            ChangeKind::Renamed => &mut self.renamed,
            ChangeKind::Attributes => &mut self.attributes,
        } += 1;
        self.bytes_before += sizes.0.unwrap_or(0);
        self.bytes_after += sizes.1.unwrap_or(0);
    }
}
