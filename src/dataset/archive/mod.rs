//! Versions as archives, and archives as trees.
//!
//! A version is written as a tar archive whose bytes follow from its content ([`export`](export())). Tar and
//! zip archives are read from front to back, straight into the store ([`read_archive`]): what they claim is
//! not trusted, and nothing is unpacked on disk.

mod export;
mod grow;
mod open;
mod pax;
mod read_tar;
mod read_zip;
mod sums;
mod write_tar;

use crate::dataset::error::Result;
use crate::model::Timestamp;

pub use export::{Exported, How, export};
pub use open::{Owners, read_archive};
pub use read_tar::TarReader;
pub use sums::sum_line;

/// Begins the comment by which a tar archive made by [`export`](export()) says so; the snapshot id follows.
const COMMENT: &str = "strata export of snapshot ";
/// What follows the id where files are left out.
const COMMENT_WITHOUT: &str = " without what was purged";
/// Stands in that comment before the name of the member that holds the checksums.
const COMMENT_SUMS: &str = ", sums in ";

/// Something in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, as the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner and group, where the archive tells.
    pub owner: Option<(u32, u32)>,
    /// Time of last change.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether it has access control lists.
    pub has_acl: bool,
}

/// What a [`Member`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file of this many bytes, all zero but for those at these offsets (and of these lengths), which are
    /// in the archive one behind the other.
    File {
        /// Bytes of the file.
        size: u64,
        /// Where data is: offset and length.
        data: Vec<(u64, u64)>,
    },
    /// A directory.
    Dir,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Another name of the member with this path.
    Link(Vec<u8>),
    /// A pipe or device.
    Special(crate::model::Kind, u32),
}

/// Takes the bytes of a file, in order.
pub trait Contents {
    /// Takes bytes.
    ///
    /// # Errors
    /// Where they cannot be kept.
    fn bytes(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes as many zero bytes.
    ///
    /// # Errors
    /// As [`Contents::bytes`].
    fn zeros(&mut self, count: u64) -> Result<()>;
}

#[cfg(test)]
mod tests;
