//! The texts that have a line for each file: `manifest.jsonl` and `sha256sums`.

use std::io::Write;

use serde::Serialize;

use crate::dataset::digests::Algorithm;
use crate::dataset::error::Result;
use crate::model::Body;
use crate::store::content_id;

use super::super::archive::sum_line;
use super::walk::Found;
use super::{Maker, text_of};

/// A line of `manifest.jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    path: String,
    /// In hexadecimal, where the path is not UTF-8 and `path` not all there is to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    kind: &'a str,
    /// Of a file whose content was purged, and whose hashes are not known therefore.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    purged: bool,
    size: u64,
    mode: String,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b3sum: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<String>,
}

/// Writes the line of `manifest.jsonl`.
pub fn manifest(maker: &Maker<'_>, found: &Found<'_>, out: &mut dyn Write) -> Result<()> {
    let content = found.inode.content();
    // Without a content there is no hash; without what it was, none that is known.
    let digest = |algorithm| match (content, found.purged) {
        (None, _) => Ok(None),
        (Some(_), true) => Ok(Some(None)),
        (Some(content), false) => maker.digest(content, algorithm).map(|hash| Some(Some(hash))),
    };
    let (path, path_bytes) = text_of(found.path);
    let target = match &found.inode.body {
        Body::Symlink(target) => Some(text_of(target)),
        _ => None,
    };
    let (target, target_bytes) = target.map_or((None, None), |(text, bytes)| (Some(text), bytes));
    let line = Line {
        path,
        path_bytes,
        kind: found.inode.kind().as_str(),
        purged: found.purged,
        size: found.inode.size(),
        mode: format!("{:04o}", found.inode.mode & 0o7777),
        mtime: found.inode.mtime.to_string(),
        sha256: digest(Algorithm::Sha256)?,
        b3sum: digest(Algorithm::Blake3)?,
        content: content.map(|content| content_id(content).to_hex()),
        target,
        target_bytes,
    };
    maker.json(out, &line)?;
    maker.write(out, b"\n")
}

/// Writes the line of `sha256sums`, of a file.
pub fn sha256sums(maker: &Maker<'_>, found: &Found<'_>, out: &mut dyn Write) -> Result<()> {
    let Some(content) = found.inode.content().filter(|_| !found.purged) else { return Ok(()) };
    let line = sum_line(&maker.digest(content, Algorithm::Sha256)?, found.path);
    maker.write(out, &line)
}
