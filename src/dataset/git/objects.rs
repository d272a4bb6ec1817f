//! Where git-lfs and DVC keep objects on this machine, and reading them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::Md5;
use sha2::{Digest, Sha256};

use super::Leaf;
use super::command::Repository;
use crate::dataset::error::{Error, Result};
use crate::model::hash::hex;
use crate::store::Error as StoreError;

/// Bytes read at a time: also what DVC before 3.0 looked for ends of lines in at a time.
const BLOCK: usize = 1 << 20;

/// The places where objects are.
#[derive(Debug)]
pub(super) struct Places {
    lfs: PathBuf,
    dvc: Vec<PathBuf>,
}

impl Places {
    /// Those of a repository: its own caches, the configured ones, and remotes that are directories.
    pub fn of(repository: &Repository) -> Places {
        let lfs = repository.lfs_objects();
        let Some(top) = repository.top() else { return Places { lfs, dvc: Vec::new() } };
        let own = top.join(".dvc");
        let mut dvc = vec![own.join("cache")];
        for name in ["config.local", "config"] {
            let path = own.join(name);
            // A repository without DVC has none.
            let text = if path.is_file() { fs::read_to_string(&path) } else { continue };
            let Ok(text) = text else { continue };
            dvc.extend(directories(&text).into_iter().map(|dir| own.join(dir)));
        }
        Places { lfs, dvc }
    }

    /// The file that holds an object, and its length.
    pub fn find(&self, leaf: &Leaf) -> Option<(PathBuf, u64)> {
        let sized = |path: PathBuf| {
            let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path, meta.len()))
        };
        match leaf {
            Leaf::Lfs { oid, .. } => sized(self.lfs.join(&oid[..2]).join(&oid[2..4]).join(oid)),
            Leaf::Dvc { md5, .. } => self.dvc_files(&hex(md5), "").find_map(sized),
            Leaf::Blob { .. } | Leaf::Symlink(_) => None,
        }
    }

    /// The file that holds the list of a directory's files.
    pub fn find_list(&self, md5: &str) -> Option<PathBuf> {
        self.dvc_files(md5, ".dir").find(|path| path.is_file())
    }

    /// Where DVC may keep an object, as it does since 3.0 and as it did before.
    fn dvc_files(&self, md5: &str, ending: &str) -> impl Iterator<Item = PathBuf> {
        let (first, rest) = md5.split_at(2);
        let below = Path::new(first).join(format!("{rest}{ending}"));
        self.dvc.iter().flat_map(move |dir| [dir.join("files/md5").join(&below), dir.join(&below)])
    }
}

/// The directories that a configuration of DVC names: caches, and remotes that are on this machine.
fn directories(config: &str) -> Vec<String> {
    let (mut section, mut all) = (String::new(), Vec::new());
    for line in config.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').trim_matches('\'').to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim();
            match key.trim() {
                "dir" if section == "cache" => all.push(value.to_owned()),
                "url" if section.starts_with("remote") => {
                    let dir = value.strip_prefix("file://").unwrap_or(value);
                    all.extend(Some(dir.to_owned()).filter(|dir| !dir.contains("://")));
                }
                _ => {}
            }
        }
    }
    all
}

/// Reads an object part by part, and checks that it is what its name says.
///
/// # Errors
/// Where it cannot be read, or is something else.
pub(super) fn read(path: &Path, leaf: &Leaf, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let sound = match leaf {
        Leaf::Lfs { oid, size, .. } => {
            let (mut hasher, mut len) = (Sha256::new(), 0);
            blocks(path, &mut |block| {
                hasher.update(block);
                len += block.len() as u64;
                each(block)
            })?;
            len == *size && hex(&hasher.finalize()) == *oid
        }
        Leaf::Dvc { md5, .. } => {
            let (mut hasher, mut as_text) = (Md5::new(), Md5::new());
            blocks(path, &mut |block| {
                hasher.update(block);
                text(block, &mut as_text);
                each(block)
            })?;
            let is_it = |hasher: Md5| hasher.finalize()[..] == md5[..];
            is_it(hasher) || is_it(as_text)
        }
        Leaf::Blob { .. } | Leaf::Symlink(_) => true,
    };
    if sound { Ok(()) } else { Err(damaged(path)) }
}

/// The list of a directory's files.
pub(super) fn read_list(path: &Path, md5: [u8; 16]) -> Result<Vec<u8>> {
    let bytes = fs::read(path).map_err(|e| StoreError::io("read", path, e))?;
    if Md5::digest(&bytes)[..] == md5 { Ok(bytes) } else { Err(damaged(path)) }
}

/// Hashes as DVC did with text before 3.0: with ends of lines of Unix, as far as they are in one block.
fn text(block: &[u8], hasher: &mut Md5) {
    let mut rest = block;
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        hasher.update(&rest[..at]);
        rest = &rest[at + 1..];
    }
    hasher.update(rest);
}

fn blocks(path: &Path, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |e| Error::Store(StoreError::io("read", path, e));
    let mut file = File::open(path).map_err(failed)?;
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        (&mut file).take(BLOCK as u64).read_to_end(&mut block).map_err(failed)?;
        if block.is_empty() {
            return Ok(());
        }
        each(&block)?;
    }
}

fn damaged(path: &Path) -> Error {
    let why = "is not what its name says: it is damaged (remove it, and fetch it again)";
    Error::Invalid(format!("cannot import: object {} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_directories_are_those_of_this_machine() {
        let config = "[core]\n    remote = a\n['remote \"a\"']\n    url = ../../store\n\
                      ['remote \"b\"']\n    url = s3://bucket/x\n[cache]\n    dir = /cache\n";
        assert_eq!(directories(config), ["../../store", "/cache"]);
    }

    #[test]
    fn text_of_dvc_before_3_hashes_with_ends_of_lines_of_unix() {
        let mut hasher = Md5::new();
        text(b"a\r\nb\r\r\n\rc\r", &mut hasher);
        assert_eq!(hasher.finalize(), Md5::digest(b"a\nb\r\n\rc\r"));
    }
}
