//! Attributes, extended attributes and content of inodes in a live tree.

use crate::model::inode::Xattrs;
use crate::model::{Body, Content, Ino, Inode, Kind, Timestamp, codec};
use crate::store::{Error as StoreError, ObjectStore, Objects, ReadPart, data_size};

use super::super::author::Caller;
use super::super::error::{Error, Result};
use super::Live;

/// What stat(2) shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Bytes that are not in holes, as far as that can be told at once.
    pub data: u64,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u32,
    /// Device number.
    pub rdev: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
}

/// As if there were no holes.
impl From<&Inode> for Attr {
    fn from(inode: &Inode) -> Attr {
        Attr {
            kind: inode.kind(),
            size: inode.size(),
            data: inode.size(),
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            nlink: inode.nlink,
            rdev: match inode.body {
                Body::Special(_, device) => device,
                _ => 0,
            },
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
        }
    }
}

impl Attr {
    /// The attributes of an inode.
    pub fn new(objects: &Objects, inode: &Inode) -> Attr {
        let mut attr = Attr::from(inode);
        // What is damaged can still be looked at.
        if let Some(Ok(data)) = inode.content().map(|content| data_size(objects, content)) {
            attr.data = data;
        }
        attr
    }
}

/// A change of attributes; `None` leaves as is.
#[derive(Clone, Debug, Default)]
pub struct SetAttr {
    /// Permission, set-id and sticky bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change of content.
    pub mtime: Option<Timestamp>,
}

/// How setxattr(2) treats a name that exists or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrSet {
    /// Sets it either way.
    Any,
    /// It must not exist.
    Create,
    /// It must exist.
    Replace,
}

/// Most bytes of names and values of one inode's extended attributes.
const XATTRS_MAX: usize = 120 * 1024;

/// The extended attribute of capabilities(7).
const CAPABILITIES: &[u8] = b"security.capability";

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

type XattrList = Vec<(Vec<u8>, Vec<u8>)>;

impl Live {
    /// The attributes of an inode, with what was written through open handles.
    pub fn attr(&mut self, ino: Ino) -> Result<Attr> {
        let objects = self.objects.clone();
        let node = self.node(ino)?;
        let mut attr = Attr::new(&objects, &node.inode);
        if let Some(file) = &node.file {
            attr.size = file.size();
            attr.data = attr.data.saturating_add(file.added()).min(attr.size);
            if let Some(written) = file.written_at() {
                attr.mtime = written;
                attr.ctime = attr.ctime.max(written);
            }
        }
        Ok(attr)
    }

    /// Changes attributes.
    pub fn set_attr(&mut self, ino: Ino, set: &SetAttr) -> Result<()> {
        self.refuse_uncertain(ino)?;
        let now = Timestamp::now();
        let node = self.node(ino)?;
        let inode = &mut node.inode;
        if set.uid.is_some() || set.gid.is_some() {
            inode.uid = set.uid.unwrap_or(inode.uid);
            inode.gid = set.gid.unwrap_or(inode.gid);
            if inode.kind() != Kind::Dir {
                inode.mode = without_set_id(inode.mode);
            }
        }
        inode.mode = set.mode.map_or(inode.mode, |mode| mode & 0o7777);
        inode.atime = set.atime.unwrap_or(inode.atime);
        if let Some(mtime) = set.mtime {
            inode.mtime = mtime;
            if let Some(file) = &node.file {
                file.forget_written_at();
            }
        }
        node.inode.ctime = now;
        self.note_inode(ino, true)?;
        if set.mtime.is_some() {
            self.note_mtime(ino, true);
        }
        Ok(())
    }

    /// Sets the permission bits alone, as an access control list does: the set-group-id bit is lost to whoever
    /// is not in the group.
    pub fn set_permissions(&mut self, by: Caller, ino: Ino, permissions: u32) -> Result<()> {
        let inode = &self.node(ino)?.inode;
        let mut special = inode.mode & 0o7000;
        if by.uid != 0 && !by.is_in_group(inode.gid) {
            special &= !S_ISGID;
        }
        self.set_attr(ino, &SetAttr { mode: Some(special | permissions), ..SetAttr::default() })
    }

    /// Takes the set-id bits from a file that somebody without the right to keep them writes to.
    /// Says whether there were any.
    pub fn clear_set_id(&mut self, by: Caller, ino: Ino) -> Result<bool> {
        let inode = &mut self.node(ino)?.inode;
        let mut mode = without_set_id(inode.mode);
        if mode & S_ISGID != 0 && !by.is_in_group(inode.gid) {
            mode &= !S_ISGID;
        }
        if inode.kind() != Kind::File || mode == inode.mode {
            return Ok(false);
        }
        inode.mode = mode;
        inode.ctime = Timestamp::now();
        self.note_inode(ino, true)?;
        Ok(true)
    }

    /// Whether programs run from a file get capabilities(7).
    pub fn has_capabilities(&mut self, ino: Ino) -> Result<bool> {
        let xattrs = self.node(ino)?.inode.xattrs.clone();
        Ok(decode_xattrs(&*self.store, xattrs.as_deref())?.iter().any(|(name, _)| name == CAPABILITIES))
    }

    /// Takes these from it, if nobody did yet.
    pub fn clear_capabilities(&mut self, ino: Ino) -> Result<()> {
        match self.remove_xattr(ino, CAPABILITIES) {
            Err(Error::NoXattr) => Ok(()),
            other => other,
        }
    }

    /// The permission and set-id bits.
    pub fn mode(&mut self, ino: Ino) -> Result<u32> {
        Ok(self.node(ino)?.inode.mode)
    }

    /// Sets a file's content, last changed at `mtime` (if that is not as it was set since). Says
    /// whether the content is another.
    pub fn set_content(&mut self, ino: Ino, content: Content, mtime: Option<Timestamp>) -> Result<bool> {
        let node = self.node(ino)?;
        let (before, is_open) = (node.file_size(), node.file.is_some());
        let Body::File(current) = &mut node.inode.body else {
            return Err(Error::Invalid(format!("inode {} is no file", ino.0)));
        };
        let changed = *current != content;
        let after = content.size();
        *current = content;
        if let Some(mtime) = mtime {
            node.inode.mtime = mtime;
            node.inode.ctime = node.inode.ctime.max(mtime);
            self.note_inode(ino, false)?;
            self.note_mtime(ino, false);
        }
        if !is_open {
            self.usage.note(before, after);
        }
        if changed {
            self.note_content(ino)?;
        }
        Ok(changed)
    }

    /// The content of a file as of its last close.
    pub fn content(&mut self, ino: Ino) -> Result<Content> {
        self.refuse_uncertain(ino)?;
        let inode = &self.node(ino)?.inode;
        inode.content().cloned().ok_or_else(|| Error::Invalid(format!("inode {} is no file", ino.0)))
    }

    /// A symbolic link's target.
    pub fn symlink(&mut self, ino: Ino) -> Result<Box<[u8]>> {
        self.refuse_uncertain(ino)?;
        match &self.node(ino)?.inode.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Error::Invalid(format!("inode {} is no symbolic link", ino.0))),
        }
    }

    /// The extended attributes, ordered by name.
    pub fn xattrs(&mut self, ino: Ino) -> Result<XattrList> {
        self.refuse_uncertain(ino)?;
        let xattrs = self.node(ino)?.inode.xattrs.clone();
        decode_xattrs(&*self.store, xattrs.as_deref())
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], how: XattrSet) -> Result<()> {
        let mut list = self.xattrs(ino)?;
        match (list.binary_search_by(|(n, _)| n.as_slice().cmp(name)), how) {
            (Ok(_), XattrSet::Create) => return Err(Error::Exists("the extended attribute".into())),
            (Err(_), XattrSet::Replace) => return Err(Error::NoXattr),
            (Ok(i), _) if list[i].1 == value => return Ok(()),
            (Ok(i), _) => list[i].1 = value.to_vec(),
            (Err(i), _) => list.insert(i, (name.to_vec(), value.to_vec())),
        }
        self.put_xattrs(ino, list)
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&mut self, ino: Ino, name: &[u8]) -> Result<()> {
        let mut list = self.xattrs(ino)?;
        let at = list.binary_search_by(|(n, _)| n.as_slice().cmp(name)).map_err(|_| Error::NoXattr)?;
        list.remove(at);
        self.put_xattrs(ino, list)
    }

    fn put_xattrs(&mut self, ino: Ino, list: XattrList) -> Result<()> {
        let xattrs = encode_xattrs(&*self.store, list)?;
        let inode = &mut self.node(ino)?.inode;
        inode.xattrs = xattrs;
        inode.ctime = Timestamp::now();
        self.note_inode(ino, true)
    }
}

/// Names of extended attributes that are computed when they are asked for.
pub const COMPUTED_XATTRS: &[u8] = b"user.strata.";

/// Whether there can be an extended attribute of this name.
pub fn is_supported_xattr(name: &[u8]) -> bool {
    !name.starts_with(b"system.") && name != b"security.selinux"
}

/// Whether an extended attribute of this name can be set.
pub fn is_settable_xattr(name: &[u8]) -> bool {
    is_supported_xattr(name) && !name.starts_with(COMPUTED_XATTRS)
}

/// Whether somebody may miss an extended attribute of this name where it cannot be set. An SELinux label is given
/// anew by each machine.
pub fn is_missed_xattr(name: &[u8]) -> bool {
    !is_settable_xattr(name) && name != b"security.selinux"
}

/// What an inode keeps of these extended attributes, which are ordered by name.
///
/// # Errors
/// [`Error::XattrTooLarge`], or where they cannot be stored.
pub fn encode_xattrs(store: &dyn ObjectStore, list: XattrList) -> Result<Option<Box<Xattrs>>> {
    let bytes: usize = list.iter().map(|(name, value)| name.len() + value.len()).sum();
    Ok(match bytes {
        _ if bytes > XATTRS_MAX => return Err(Error::XattrTooLarge(XATTRS_MAX)),
        0 if list.is_empty() => None,
        ..=Xattrs::INLINE_MAX => Some(Box::new(Xattrs::Inline(list))),
        _ => {
            let encoded = codec::encode(&list);
            let chunk = store.put_chunks(&[&encoded])?.first().copied();
            let chunk = chunk.ok_or_else(|| StoreError::Missing("a chunk just stored".into()))?;
            Some(Box::new(Xattrs::Chunk(chunk)))
        }
    })
}

/// The list of extended attributes an inode keeps.
pub fn decode_xattrs(store: &dyn ObjectStore, xattrs: Option<&Xattrs>) -> Result<XattrList> {
    match xattrs {
        None => Ok(Vec::new()),
        Some(Xattrs::Inline(list)) => Ok(list.clone()),
        Some(Xattrs::Chunk(chunk)) => {
            let mut encoded = vec![0; chunk.len as usize];
            store.read_parts(&mut [ReadPart { chunk: *chunk, skip: 0, out: &mut encoded }])?;
            let what = "extended attributes";
            let decoded = codec::decode(what, &encoded).map_err(|source| StoreError::Decode {
                what: format!("{what} in chunk {}", chunk.hash),
                source,
            })?;
            Ok(decoded)
        }
    }
}

/// A mode without what must not survive a write or change of owner: set-user-id, and set-group-id
/// where the group may execute (elsewhere it marks mandatory locking).
fn without_set_id(mode: u32) -> u32 {
    let mode = mode & !S_ISUID;
    if mode & S_IXGRP != 0 { mode & !S_ISGID } else { mode }
}
