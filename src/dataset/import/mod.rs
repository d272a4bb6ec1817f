//! Taking a directory tree from outside into a dataset as one version.
//!
//! First the tree is [scanned](scan()), then what is in its files goes into the store, by several threads
//! ([`read`](read())): neither changes the dataset, and neither holds its lock. At last all of it is put into
//! the live tree at once and a version cut ([`Dataset::take_in`](super::Dataset::take_in)). Whatever fails on
//! the way leaves the dataset as it was.
//!
//! A file whose size and time of change are those of the file of that path in the newest version, and of which nothing
//! changed since that was taken in, is taken to be that file and not read, unless that is asked for. Size and time alone
//! are not enough, as they are for rsync(1): two files of one size and time may trade places, and all files of an export
//! have one time.

mod batch;
mod place;
mod read;
mod scan;
mod whole;

use std::time::{Duration, Instant};

use crate::model::{AtName, Content, Inode, Name};

use super::error::Result;

pub(in crate::dataset) use batch::{Batch, SMALL};
pub use place::Placement;
pub use read::read;
pub use scan::scan;

/// After as many entries, the room of those that are dealt with is given back.
const SHRINK_EVERY: usize = 1 << 16;
/// How often whoever waits is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The name of something that is to be taken in.
///
/// # Errors
/// Why a dataset can have nothing of that name.
pub(in crate::dataset) fn name_of(bytes: &[u8]) -> std::result::Result<Name, String> {
    let name = Name::new(bytes).map_err(|e| e.to_string())?;
    match AtName::parse(bytes) {
        None => Ok(name),
        Some(_) => Err("its name means a version or a view of history in a dataset".into()),
    }
}

/// A directory tree outside.
#[derive(Debug)]
pub struct Tree {
    /// The directory itself.
    pub root: Inode,
    /// All that is below it; a directory comes before what is in it.
    pub entries: Vec<Entry>,
    /// How many of all these had access control lists, or other attributes, that a dataset cannot have.
    pub bared: u64,
}

impl Tree {
    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        let size = |entry: &Entry| match entry.source {
            Source::Known => entry.inode.content().map_or(0, Content::size),
            Source::Read(bytes) => bytes,
            Source::Link(_) => 0,
        };
        self.entries.iter().map(size).fold(0, u64::saturating_add)
    }
}

/// Something in a [`Tree`].
#[derive(Debug)]
pub struct Entry {
    /// The directory it is in, by its place among the entries; `None` for the root.
    pub dir: Option<usize>,
    /// Its name.
    pub name: Name,
    /// What it is, but for its places.
    pub inode: Inode,
    /// How the inode's content comes about.
    pub source: Source,
}

/// How the inode of an [`Entry`] comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is complete.
    Known,
    /// It is a file of this many bytes that is to be read.
    Read(u64),
    /// It is another name of what this earlier entry is.
    Link(usize),
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are dealt with.
    pub files: u64,
    /// Files there are, as far as is known.
    pub files_total: u64,
    /// Bytes that are dealt with.
    pub bytes: u64,
    /// Bytes there are, as far as is known.
    pub bytes_total: u64,
    /// Whether all files and bytes there are have been counted.
    pub counted: bool,
}

/// Tells whoever waits, now and then.
pub struct Teller<'a> {
    tell: &'a mut dyn FnMut(Progress) -> Result<()>,
    told: Instant,
}

impl<'a> Teller<'a> {
    /// One that calls `tell`; where that fails, the import ends.
    pub fn new(tell: &'a mut dyn FnMut(Progress) -> Result<()>) -> Teller<'a> {
        Teller { tell, told: Instant::now() }
    }

    /// Tells, unless that was done just now.
    pub(in crate::dataset) fn tell(&mut self, progress: impl FnOnce() -> Progress) -> Result<()> {
        if self.told.elapsed() < TELL_EVERY { Ok(()) } else { self.tell_now(progress()) }
    }

    /// Tells at once, and so finds out whether anybody still waits.
    fn tell_now(&mut self, progress: Progress) -> Result<()> {
        self.told = Instant::now();
        (self.tell)(progress)
    }
}
