//! Pointers of git-lfs and DVC, as they stand in git.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::yaml;
use crate::store::dvc::{Md5, parse_md5};

/// Longest pointer of git-lfs, by its specification.
pub(super) const LFS_MAX: u64 = 1024;
const LFS_BEGINS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// What a pointer of git-lfs says: SHA-256 in hex, and the length. `Some(Err)` of one that is cut short or wrong.
pub(super) fn lfs(bytes: &[u8]) -> Option<Result<(String, u64), &'static str>> {
    let rest = bytes.strip_prefix(LFS_BEGINS)?;
    let text = String::from_utf8_lossy(rest);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let oid = value("oid").and_then(|oid| oid.strip_prefix("sha256:"));
    let oid = oid.filter(|oid| oid.len() == 64 && oid.bytes().all(digit));
    let size = value("size").and_then(|size| size.parse().ok()).filter(|_| bytes.ends_with(b"\n"));
    Some(match (oid, size) {
        (Some(oid), Some(size)) => Ok((oid.to_owned(), size)),
        _ => Err("it begins as a pointer of git-lfs, but is truncated or names no SHA-256 and size"),
    })
}

/// Something that DVC keeps.
#[derive(Debug, Deserialize)]
pub(super) struct Out {
    /// Where it is, from the directory of the pointer.
    pub path: String,
    /// MD5 of its content, or of the list of its files with `.dir` behind it.
    #[serde(default)]
    pub md5: Option<String>,
    /// Whether it is executable.
    #[serde(default)]
    pub isexec: bool,
}

#[derive(Deserialize)]
struct Pointer {
    #[serde(default)]
    outs: Vec<Out>,
    #[serde(default)]
    wdir: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    schema: Option<String>,
    #[serde(default)]
    stages: BTreeMap<String, Pointer>,
}

/// What a `.dvc` file says: where its paths start from, and what DVC keeps.
pub(super) fn dvc(bytes: &[u8]) -> Result<(Option<String>, Vec<Out>), String> {
    let Pointer { outs, wdir } = yaml::parse(bytes)?;
    Ok((wdir, outs))
}

/// What a `dvc.lock` says that DVC keeps.
pub(super) fn lock(bytes: &[u8]) -> Result<Vec<Out>, String> {
    let stages = match yaml::parse::<Lock>(bytes)? {
        Lock { schema: Some(_), stages } => stages,
        // Before schema 2.0 there were only stages in it.
        Lock { schema: None, .. } => yaml::parse(bytes)?,
    };
    Ok(stages.into_values().flat_map(|stage| stage.outs).collect())
}

/// A file of a list of a directory's files.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    /// MD5 of its content.
    pub md5: String,
    /// Where it is in the directory.
    pub relpath: String,
    /// Whether it is executable.
    #[serde(default)]
    pub isexec: bool,
}

/// The MD5 that a pointer names, and whether it is that of a list of a directory's files.
pub(super) fn named(md5: &str) -> Option<(Md5, bool)> {
    let (digits, is_dir) = md5.strip_suffix(".dir").map_or((md5, false), |digits| (digits, true));
    parse_md5(digits).map(|md5| (md5, is_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_git_lfs_are_told_from_files_and_from_broken_ones() {
        let oid = "a".repeat(64);
        let whole = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12\n");
        assert_eq!(lfs(whole.as_bytes()), Some(Ok((oid, 12))));
        assert_eq!(lfs(b"version 2\n"), None);
        for len in [43, 60, whole.len() - 2, whole.len() - 1] {
            assert!(matches!(lfs(&whole.as_bytes()[..len]), Some(Err(_))), "{len} bytes");
        }
    }

    #[test]
    fn pointers_of_dvc_say_what_they_keep() {
        let md5 = "0123456789abcdef0123456789abcdef";
        let text = format!("wdir: ..\nouts:\n- md5: {md5}.dir\n  size: 3\n  hash: md5\n  path: 'a b'\n");
        let (wdir, outs) = dvc(text.as_bytes()).expect("a pointer");
        assert_eq!((wdir.as_deref(), outs[0].path.as_str()), (Some(".."), "a b"));
        assert!(named(outs[0].md5.as_deref().expect("an MD5")).expect("an MD5").1);
        let text =
            format!("schema: '2.0'\nstages:\n  s:\n    cmd: x\n    outs:\n    - path: o\n      md5: {md5}\n");
        assert_eq!(lock(text.as_bytes()).expect("a lock file").len(), 1);
        assert!(dvc(b"outs:\n- md5: [").is_err() && named("../../etc").is_none());
    }
}
