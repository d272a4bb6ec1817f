//! What a purge came to.

use serde::{Deserialize, Serialize};

/// What was purged of a path. What it has in common with another is told of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedPath {
    /// The path, or the id of the content.
    pub path: Vec<u8>,
    /// Files that any version had at or below it; 0 of an id.
    pub files: u64,
    /// Chunks and manifest nodes that no purge removed before.
    pub objects: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
    /// Chunks and manifest nodes that stay.
    pub shared: u64,
    /// Some of what needs them.
    pub holders: Vec<String>,
}

/// What was purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// The dataset.
    pub dataset: String,
    /// Chunks and manifest nodes removed.
    pub objects: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
    /// Chunks and manifest nodes that stay, since other content needs them.
    pub shared: u64,
    /// Some of what needs them: live and open files, and files of versions.
    pub holders: Vec<String>,
    /// Other datasets that lost content.
    pub others: Vec<String>,
    /// Some of the other files of versions that lost content, in any dataset.
    #[serde(default)]
    pub also: Vec<String>,
    /// Whether there are more.
    #[serde(default)]
    pub more: bool,
    /// Whether it was only told what would be purged.
    #[serde(default)]
    pub dry_run: bool,
    /// Files put aside by a repair that had its bytes, and were removed.
    pub aside: Vec<String>,
}
