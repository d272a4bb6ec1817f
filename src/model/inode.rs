//! Directory entries and inodes as versions keep them.

use serde::{Deserialize, Serialize};

use super::content::{ChunkRef, Content};
use super::ids::Ino;
use super::name::{Name, NameKey};
use super::time::Timestamp;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

impl Kind {
    /// As text: `file`, `dir`, `symlink`, `fifo`, `socket`, `char` or `block`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Dir => "dir",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "char",
            Kind::BlockDevice => "block",
        }
    }
}

/// What an inode holds, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A regular file's bytes.
    File(Content),
    /// A directory; its entries are kept by name.
    Dir,
    /// A symbolic link's target, 1 to 4095 bytes.
    Symlink(Box<[u8]>),
    /// A pipe, socket or device; the number is a device's.
    Special(Kind, u32),
}

/// Extended attributes, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Xattrs {
    /// Names and values, together at most [`Xattrs::INLINE_MAX`] bytes.
    Inline(Vec<(Vec<u8>, Vec<u8>)>),
    /// The same list, encoded, in a chunk.
    Chunk(ChunkRef),
}

impl Xattrs {
    /// Most bytes of names and values that stay within the inode.
    pub const INLINE_MAX: usize = 1024;
}

/// A place for a name: a directory and the key of the name within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The directory.
    pub dir: Ino,
    /// The key of the name within it.
    pub key: NameKey,
}

/// Everything a version keeps of an inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// Permission, set-id and sticky bits (12 bits).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names (of a directory: 2 and one for each sub-directory).
    pub nlink: u32,
    /// Last access as set by utimens(2) or creation; reads do not change it.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
    /// What it holds.
    pub body: Body,
    /// Extended attributes, if any.
    pub xattrs: Option<Box<Xattrs>>,
    /// Where it is named; `None` for the root of a dataset.
    pub place: Option<Place>,
    /// Its further names, if there are several.
    pub others: Option<Box<[Place]>>,
}

impl Inode {
    /// The root of an empty dataset made at `now`.
    pub fn root(mode: u32, uid: u32, gid: u32, now: Timestamp) -> Inode {
        Inode {
            mode,
            uid,
            gid,
            nlink: 2,
            atime: now,
            mtime: now,
            ctime: now,
            body: Body::Dir,
            xattrs: None,
            place: None,
            others: None,
        }
    }

    /// The inode's kind.
    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::File(_) => Kind::File,
            Body::Dir => Kind::Dir,
            Body::Symlink(_) => Kind::Symlink,
            Body::Special(kind, _) => *kind,
        }
    }

    /// Size in bytes as stat(2) shows it (0 for directories and special files).
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(content) => content.size(),
            Body::Symlink(target) => target.len() as u64,
            Body::Dir | Body::Special(..) => 0,
        }
    }

    /// The places of all its names.
    pub fn places(&self) -> Vec<Place> {
        let others = self.others.iter().flat_map(|places| places.iter());
        self.place.iter().chain(others).copied().collect()
    }

    /// Sets the places of all its names.
    pub fn set_places(&mut self, places: &[Place]) {
        self.place = places.first().copied();
        self.others = places.get(1..).filter(|others| !others.is_empty()).map(Into::into);
    }

    /// A regular file's content.
    pub fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dirent {
    /// The entry's name.
    pub name: Name,
    /// What it names.
    pub ino: Ino,
    /// The kind of what it names.
    pub kind: Kind,
}
