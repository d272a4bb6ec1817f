//! What DVC is told of a dataset's content, which DVC names by MD5: where there is a file of an MD5, and the
//! lists of files of directories.
//!
//! None of it is the truth: it lies beside the log, each part with a check of its own, is believed only where
//! that holds, and is made anew by pointing to the version again.
//!
//! | file | holds |
//! |---|---|
//! | `md5-1` | a record for each file: MD5 (16 bytes), version (8), inode (8) |
//! | `place-1` | the same the other way round: version, inode, MD5 |
//! | `<MD5>.dir` | the list of a directory's files, as DVC writes it |

mod list;
mod sorted;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::hash::hex;
use crate::model::{Ino, VersionNo};

use super::error::{Error, Result};
use super::layout::{make_dir, sync_dir};
use super::plain;

pub use list::{DirList, NewList};
use sorted::{Record, Sorted, merge};

/// MD5 of a file, or of the list of a directory's files.
pub type Md5 = [u8; 16];

/// A file of a dataset's versions: the version that recorded it, and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The version.
    pub version: VersionNo,
    /// The inode.
    pub ino: Ino,
}

impl Recorded {
    fn bytes(self) -> [u8; 16] {
        (u128::from(self.version.0) << 64 | u128::from(self.ino.0)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Recorded {
        let both = u128::from_be_bytes(bytes);
        Recorded { version: VersionNo((both >> 64) as u64), ino: Ino(both as u64) }
    }
}

/// What DVC is told of one dataset.
#[derive(Debug)]
pub struct Told {
    dir: PathBuf,
    scratch: PathBuf,
}

impl Told {
    pub(super) fn new(dir: &Path, scratch: PathBuf) -> Told {
        Told { dir: dir.to_owned(), scratch }
    }

    /// The file of an MD5, if it was told of.
    ///
    /// # Errors
    /// Where what was told cannot be read or is damaged.
    pub fn file(&self, md5: &Md5) -> Result<Option<Recorded>> {
        let Some(sorted) = self.sorted(&self.by_md5())? else { return Ok(None) };
        Ok(sorted.first(md5)?.map(|record| Recorded::from_bytes(halves(&record).1)))
    }

    /// The MD5s of files that begin with a byte, in order.
    ///
    /// # Errors
    /// As [`Told::file`].
    pub fn files_below(&self, first: u8) -> Result<Vec<Md5>> {
        let Some(sorted) = self.sorted(&self.by_md5())? else { return Ok(Vec::new()) };
        let mut all: Vec<Md5> = sorted.all(&[first])?.iter().map(|record| halves(record).0).collect();
        all.dedup();
        Ok(all)
    }

    /// The bytes that MD5s of files begin with, in order.
    ///
    /// # Errors
    /// As [`Told::file`].
    pub fn files_begin(&self) -> Result<Vec<u8>> {
        let Some(sorted) = self.sorted(&self.by_md5())? else { return Ok(Vec::new()) };
        let begin = |first: u8| sorted.first(&[first]).map(|found| found.map(|_| first)).transpose();
        (0..=u8::MAX).filter_map(begin).collect()
    }

    /// The MD5s of lists of directories, in order.
    ///
    /// # Errors
    /// Where they cannot be listed.
    pub fn lists(&self) -> Result<Vec<Md5>> {
        let mut all = Vec::new();
        if !is_dir(&self.dir)? {
            return Ok(all);
        }
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::io("list", &self.dir, e))? {
            let name = entry.map_err(|e| Error::io("list", &self.dir, e))?.file_name();
            all.extend(name.to_str().and_then(|name| name.strip_suffix(".dir")).and_then(parse_md5));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// The length in bytes of the list that has this MD5, if it was told of; it may be damaged.
    ///
    /// # Errors
    /// Where it cannot be inspected.
    pub fn list_size(&self, md5: &Md5) -> Result<Option<u64>> {
        let path = self.list_path(md5);
        is_dir(&self.dir)?;
        match fs::symlink_metadata(&path) {
            Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("inspect", &path, e)),
        }
    }

    /// The list of a directory's files that has this MD5, if it was told of.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn list(&self, md5: &Md5) -> Result<Option<DirList>> {
        is_dir(&self.dir)?;
        DirList::open(&self.list_path(md5), md5)
    }

    /// What is known already of MD5s of files.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn known(&self) -> Result<Known> {
        Ok(Known(self.sorted(&self.by_place())?))
    }

    /// Begins the list of a directory's files.
    ///
    /// # Errors
    /// Where no file can be made.
    pub fn new_list(&self) -> Result<NewList> {
        NewList::begin(&self.scratch)
    }

    /// Tells of files, and of a directory that has them, durably. One at a time may do so.
    ///
    /// # Errors
    /// Where something cannot be written; what was told before holds on.
    pub fn tell(&self, files: &[(Md5, Recorded)], list: Option<NewList>) -> Result<()> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        for dir in [parent, &self.dir] {
            if !is_dir(dir)? {
                make_dir(dir, true)?;
                dir.parent().map_or(Ok(()), sync_dir).map_err(|e| Error::io("sync", dir, e))?;
            }
        }
        merge(&self.by_md5(), files.iter().map(|(md5, at)| join(md5, &at.bytes())).collect())?;
        merge(&self.by_place(), files.iter().map(|(md5, at)| join(&at.bytes(), md5)).collect())?;
        match list {
            Some(list) => list.keep(|md5| self.list_path(md5)),
            None => Ok(()),
        }
    }

    fn sorted(&self, path: &Path) -> Result<Option<Sorted>> {
        if is_dir(&self.dir)? { Sorted::open(path) } else { Ok(None) }
    }

    fn by_md5(&self) -> PathBuf {
        self.dir.join("md5-1")
    }

    fn by_place(&self) -> PathBuf {
        self.dir.join("place-1")
    }

    fn list_path(&self, md5: &Md5) -> PathBuf {
        self.dir.join(format!("{}.dir", hex(md5)))
    }
}

/// The MD5s of files that were told of before.
#[derive(Debug)]
pub struct Known(Option<Sorted>);

impl Known {
    /// The MD5 of a file; nothing where what tells is damaged, as it can be computed again.
    pub fn md5(&self, file: Recorded) -> Option<Md5> {
        let found = self.0.as_ref()?.first(&file.bytes()).inspect_err(|error| log::warn!("{error}"));
        found.ok().flatten().map(|record| halves(&record).1)
    }
}

/// Reads an MD5 as DVC writes it: 32 digits, in lower case.
pub fn parse_md5(text: &str) -> Option<Md5> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = text.len() == 32 && text.bytes().all(digit);
    fits.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes))?
}

/// Whether there is a directory, and not a link to one elsewhere.
fn is_dir(path: &Path) -> Result<bool> {
    plain::is_dir(path).map_err(|e| Error::io("use", path, e))
}

fn join(first: &[u8; 16], second: &[u8; 16]) -> Record {
    let mut record = [0; 32];
    record[..16].copy_from_slice(first);
    record[16..].copy_from_slice(second);
    record
}

fn halves(record: &Record) -> ([u8; 16], [u8; 16]) {
    let mut halves = ([0; 16], [0; 16]);
    halves.0.copy_from_slice(&record[..16]);
    halves.1.copy_from_slice(&record[16..]);
    halves
}

#[cfg(test)]
mod tests;
