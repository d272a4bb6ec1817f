//! `stats.json`: what there is, in figures.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::model::{ContentId, Inode, Kind, Timestamp};
use crate::store::content_id;

use super::text_of;
use super::walk::Found;

/// Extensions told apart; files with others are counted as `other`.
const EXTENSIONS: usize = 1000;
/// Largest files told.
const LARGEST: usize = 10;

/// Figures of a tree.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    files: u64,
    dirs: u64,
    symlinks: u64,
    special: u64,
    /// Files whose content was purged; they count in the other figures.
    purged: u64,
    bytes: u64,
    unique_bytes: u64,
    extensions: BTreeMap<String, Count>,
    largest: Vec<Large>,
    oldest_mtime: Option<String>,
    newest_mtime: Option<String>,
    #[serde(skip)]
    seen: HashSet<ContentId>,
    #[serde(skip)]
    times: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Default, Serialize)]
struct Count {
    files: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Large {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    size: u64,
}

impl Stats {
    /// Counts something.
    pub fn take(&mut self, found: &Found<'_>) {
        self.purged += u64::from(found.purged);
        match found.inode.kind() {
            Kind::Dir => self.dirs += 1,
            Kind::Symlink => self.symlinks += 1,
            Kind::File => self.take_file(found.path, found.inode),
            _ => self.special += 1,
        }
    }

    fn take_file(&mut self, path: &[u8], inode: &Inode) {
        let size = inode.size();
        self.files += 1;
        self.bytes += size;
        if inode.content().is_some_and(|content| self.seen.insert(content_id(content))) {
            self.unique_bytes += size;
        }
        let (old, new) = self.times.unwrap_or((inode.mtime, inode.mtime));
        self.times = Some((old.min(inode.mtime), new.max(inode.mtime)));
        let mut extension = extension_of(path);
        if !self.extensions.contains_key(&extension) && self.extensions.len() >= EXTENSIONS {
            extension = "other".into();
        }
        let count = self.extensions.entry(extension).or_default();
        count.files += 1;
        count.bytes += size;
        if self.largest.len() < LARGEST || self.largest.last().is_some_and(|last| last.size < size) {
            let at = self.largest.partition_point(|large| large.size >= size);
            let (path, path_bytes) = text_of(path);
            self.largest.insert(at, Large { path, path_bytes, size });
            self.largest.truncate(LARGEST);
        }
    }

    /// The figures, all told.
    pub fn finish(mut self) -> Stats {
        self.oldest_mtime = self.times.map(|(old, _)| old.to_string());
        self.newest_mtime = self.times.map(|(_, new)| new.to_string());
        self
    }
}

/// What follows the last dot of a name, in lower case; empty where it has none, or begins with it.
pub fn extension_of(path: &[u8]) -> String {
    String::from_utf8_lossy(suffix_of(path)).to_lowercase()
}

/// The same as it is.
pub fn suffix_of(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 => &name[at + 1..],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_those_of_names() {
        for (path, extension) in
            [("a.d/b", ""), ("a/.x", ""), ("a/b.CSV", "csv"), ("x.tar.gz", "gz"), ("x.", ""), ("", "")]
        {
            assert_eq!(extension_of(path.as_bytes()), extension, "{path}");
        }
    }
}
