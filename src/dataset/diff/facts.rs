//! What is kept of inodes while trees are compared: what their changes are told by, and what they are known again
//! by. It takes some tens of bytes, however long their content or their attributes are.

use std::collections::HashMap;

use crate::model::{Body, Ino, Inode, Kind, Timestamp, codec};
use crate::store::content_id;

use super::super::history::ChangeKind;

/// The first half of a hash: nobody finds two things of the same.
pub type Digest = [u8; 16];

/// What is kept of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub ino: Ino,
    pub size: u64,
    mtime: Timestamp,
    body: Digest,
    /// Its owner and extended attributes, by their number.
    owner: u32,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    pub kind: Kind,
}

impl Facts {
    /// By what a file's bytes are known again; nothing where it has none.
    pub fn content(&self) -> Option<Digest> {
        (self.kind == Kind::File && self.size > 0).then_some(self.body)
    }

    /// Whether what it holds is what another one does.
    pub fn is_like(&self, other: &Facts) -> bool {
        (self.kind, self.body) == (other.kind, other.body)
    }

    /// How it differs from another at the same place; `None` if in nothing that is shown.
    pub fn changed(&self, after: &Facts) -> Option<ChangeKind> {
        if !self.is_like(after) {
            Some(ChangeKind::Modified)
        } else if (self.mode, self.owner) != (after.mode, after.owner) || self.is_of_other_time(after) {
            Some(ChangeKind::Attributes)
        } else {
            None
        }
    }

    /// How a snapshot id tells it apart from another.
    pub fn changed_in_snapshot(&self, after: &Facts) -> Option<ChangeKind> {
        let executable = |facts: &Facts| facts.kind == Kind::File && facts.mode & 0o100 != 0;
        match (self.is_like(after), executable(self) == executable(after)) {
            (false, _) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Attributes),
            (true, true) => None,
        }
    }

    fn is_of_other_time(&self, after: &Facts) -> bool {
        after.kind != Kind::Dir && self.mtime != after.mtime
    }
}

/// Attributes besides the mode in which two inodes differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u8);

/// Their names.
const ATTRIBUTES: [&str; 3] = ["owner", "xattrs", "time"];

impl Attributes {
    /// The names of those.
    pub fn names(self) -> Vec<&'static str> {
        (0..).zip(ATTRIBUTES).filter(|(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name).collect()
    }
}

/// Owner, group, and a digest of the extended attributes, of which there are none where it is 0.
type Owner = (u32, u32, Digest);

/// Owners and extended attributes that inodes have: few, as a rule.
#[derive(Debug, Default)]
pub struct Owners {
    numbers: HashMap<Owner, u32>,
    all: Vec<Owner>,
}

impl Owners {
    /// What is kept of an inode.
    pub fn facts(&mut self, ino: Ino, inode: &Inode) -> Facts {
        let xattrs = inode.xattrs.as_ref().map_or([0; 16], |xattrs| digest(&codec::encode(xattrs)));
        let owner = (inode.uid, inode.gid, xattrs);
        let all = &mut self.all;
        let number = *self.numbers.entry(owner).or_insert_with(|| {
            all.push(owner);
            all.len() as u32 - 1
        });
        let body = match &inode.body {
            Body::File(content) => first_half(&content_id(content).0),
            Body::Dir => [0; 16],
            Body::Symlink(target) => digest(target),
            Body::Special(_, device) => digest(&device.to_le_bytes()),
        };
        let (size, mtime, mode) = (inode.size(), inode.mtime, (inode.mode & 0o7777) as u16);
        Facts { ino, size, mtime, body, owner: number, mode, kind: inode.kind() }
    }

    /// The attributes besides the mode in which two inodes differ.
    pub fn attributes(&self, old: &Facts, new: &Facts) -> Attributes {
        let [was, is] = [old, new].map(|facts| self.all[facts.owner as usize]);
        let differ = [(was.0, was.1) != (is.0, is.1), was.2 != is.2, old.is_of_other_time(new)];
        Attributes((0..).zip(differ).map(|(bit, differs)| u8::from(differs) << bit).sum())
    }
}

/// A digest of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    first_half(blake3::hash(bytes).as_bytes())
}

fn first_half(hash: &[u8; 32]) -> Digest {
    *hash.first_chunk().expect("a hash has 32 bytes")
}
