//! Trees as the journals have them: path -> hash of a file, `dir`, or `->target` of a symbolic link.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Stands for a whole tree; that of changes in whatever order, if they come to the same tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

/// A tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, String>,
    digest: u128,
}

fn entry_digest(path: &str, value: &str) -> u128 {
    let hash = Sha256::new().chain_update(path).chain_update([0]).chain_update(value).finalize();
    u128::from_be_bytes(hash[..16].try_into().expect("16 bytes"))
}

/// The hash that journals have of a file's bytes.
pub fn content_hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Tree {
    /// Sets or removes a path.
    pub fn set(&mut self, path: String, value: Option<String>) {
        let old = match value {
            Some(value) => {
                self.digest ^= entry_digest(&path, &value);
                self.entries.insert(path.clone(), value)
            }
            None => self.entries.remove(&path),
        };
        if let Some(old) = old {
            self.digest ^= entry_digest(&path, &old);
        }
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        Digest(self.digest)
    }

    /// Its entries.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    /// The part below a directory; of no directory, all.
    pub fn part(&self, prefix: &str) -> Tree {
        let below = format!("{prefix}/");
        let mut part = Tree::default();
        let entries = self.entries.iter().filter(|(path, _)| prefix.is_empty() || path.starts_with(&below));
        entries.for_each(|(path, value)| part.set(path.clone(), Some(value.clone())));
        part
    }

    /// The digest that the processes has of this tree.
    pub fn text_digest(&self) -> String {
        let text: String = self.entries.iter().map(|(path, value)| format!("{path}\0{value}\n")).collect();
        content_hash(text.as_bytes())
    }

    /// Says in what they differ.
    pub fn differences(&self, other: &Tree) -> String {
        let paths =
            self.entries.keys().chain(other.entries.keys().filter(|p| !self.entries.contains_key(*p)));
        let differing = paths.filter(|p| self.entries.get(*p) != other.entries.get(*p)).take(6);
        let show = |p: &String| format!("{p}: {:?} / {:?}", self.entries.get(p), other.entries.get(p));
        differing.map(show).collect::<Vec<_>>().join("\n")
    }
}

/// Lists trees, reading each distinct file of versions once: equal files in versions are one inode, which
/// is tested elsewhere, and checked here at every hundredth.
#[derive(Debug, Default)]
pub struct Lister {
    known: HashMap<(u64, u64), String>,
    count: u64,
    /// Files read.
    pub files_read: u64,
}

impl Lister {
    /// The tree below a directory. `frozen`: it is a version's.
    pub fn list(&mut self, root: &Path, frozen: bool) -> io::Result<Tree> {
        let mut tree = Tree::default();
        let mut todo = vec![String::new()];
        while let Some(below) = todo.pop() {
            for entry in fs::read_dir(root.join(&below))? {
                let entry = entry?;
                let name = entry.file_name().into_string().expect("names are UTF-8 here");
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let meta = entry.metadata()?;
                let value = if meta.is_dir() {
                    todo.push(path.clone());
                    "dir".to_owned()
                } else if meta.is_symlink() {
                    format!("->{}", fs::read_link(entry.path())?.display())
                } else {
                    self.file(&entry.path(), &meta, frozen)?
                };
                tree.set(path, Some(value));
            }
        }
        Ok(tree)
    }

    fn file(&mut self, path: &Path, meta: &fs::Metadata, frozen: bool) -> io::Result<String> {
        let key = (meta.ino(), meta.ctime_nsec() as u64 ^ meta.len());
        self.count += 1;
        if frozen
            && !self.count.is_multiple_of(100)
            && let Some(hash) = self.known.get(&key)
        {
            return Ok(hash.clone());
        }
        let bytes = fs::read(path)?;
        self.files_read += 1;
        assert_eq!(bytes.len() as u64, meta.len(), "size of {}", path.display());
        let hash = content_hash(&bytes);
        if frozen {
            let known = self.known.entry(key).or_insert_with(|| hash.clone());
            assert_eq!(*known, hash, "{}: an inode of versions has one content", path.display());
        }
        Ok(hash)
    }
}
