//! The texts that have a line for each file: `manifest.jsonl` and `sha256sums`.

use std::io::Write;

use serde::Serialize;

use crate::dataset::digests::Algorithm;
use crate::dataset::error::Result;
use crate::model::{Body, Kind};
use crate::store::content_id;

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
    size: u64,
    mode: String,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b3sum: Option<String>,
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
    let digest = |algorithm| content.map(|c| maker.digest(c, algorithm)).transpose();
    let (path, path_bytes) = text_of(found.path);
    let target = match &found.inode.body {
        Body::Symlink(target) => Some(text_of(target)),
        _ => None,
    };
    let (target, target_bytes) = target.map_or((None, None), |(text, bytes)| (Some(text), bytes));
    let line = Line {
        path,
        path_bytes,
        kind: kind_name(found.inode.kind()),
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
    let Some(content) = found.inode.content() else { return Ok(()) };
    let line = sum_line(&maker.digest(content, Algorithm::Sha256)?, found.path);
    maker.write(out, &line)
}

/// A line as sha256sum(1) writes it: with a backslash before it where the name has one, or an end of line, in it.
pub fn sum_line(digest: &str, path: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    if path.iter().any(|b| b"\\\n\r".contains(b)) {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.as_bytes());
    line.extend_from_slice(b"  ");
    if path == b"-" {
        // That alone would mean standard input.
        line.extend_from_slice(b"./");
    }
    for byte in path {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Dir => "dir",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "char",
        Kind::BlockDevice => "block",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_escaped_as_sha256sum_does() {
        for (path, line) in [
            (&b"a b"[..], &b"d  a b\n"[..]),
            (b"-", b"d  ./-\n"),
            (b"a\nb\\", b"\\d  a\\nb\\\\\n"),
            (b"\r\xff", b"\\d  \\r\xff\n"),
        ] {
            assert_eq!(sum_line("d", path), line);
        }
    }
}
