//! Making, linking and removing names in a live tree.

use crate::model::{Body, Ino, Inode, Kind, Name, Place, Timestamp};

use super::super::error::{Error, Result};
use super::super::trie::Slot;
use super::{Live, Node};

/// What is known of an inode to be made.
#[derive(Clone, Debug)]
pub struct NewInode {
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group, unless the directory hands down its own.
    pub gid: u32,
    /// What it holds.
    pub body: Body,
}

const S_ISGID: u32 = 0o2000;

impl Live {
    /// Makes an inode named `name` in `dir`. `held`: it is a file about to be written, part of no
    /// version until [`Live::unhold`].
    pub fn create(&mut self, dir: Ino, name: &Name, new: NewInode, held: bool) -> Result<Ino> {
        let key = name.key();
        if self.entries(dir)?.get(&key).is_some() {
            return Err(Error::Exists(name.to_string()));
        }
        let parent = self.node(dir)?;
        if parent.unlinked {
            return Err(Error::NotFound("the removed directory".into()));
        }
        let (mut mode, mut gid) = (new.mode & 0o7777, new.gid);
        let is_dir = matches!(new.body, Body::Dir);
        if parent.inode.mode & S_ISGID != 0 {
            gid = parent.inode.gid;
            if is_dir {
                mode |= S_ISGID;
            }
        }
        let now = Timestamp::now();
        let inode = Inode {
            mode,
            uid: new.uid,
            gid,
            nlink: if is_dir { 2 } else { 1 },
            atime: now,
            mtime: now,
            ctime: now,
            body: new.body,
            xattrs: None,
            place: Some(Place { dir, key }),
            others: None,
        };
        self.insert(dir, name, inode, held)
    }

    /// Adds an inode whose place is `name` in `dir`, which is free.
    pub(super) fn insert(&mut self, dir: Ino, name: &Name, inode: Inode, held: bool) -> Result<Ino> {
        let (key, kind, now) = (name.key(), inode.kind(), inode.ctime);
        let is_dir = kind == Kind::Dir;
        let ino = self.allocate_ino()?;
        let slot = Slot { key, name: name.clone(), ino, kind };
        let mut node = Node::new(inode);
        self.usage.note(0, node.file_size());
        node.held = held;
        if is_dir {
            node.entries = Some(Box::default());
        }
        self.nodes.insert(ino, Box::new(node));
        if held {
            self.entries(dir)?.held.insert(key, slot);
        } else {
            self.note_slot(dir, name)?;
            self.entries(dir)?.trie.insert(slot);
            self.note_inode(ino, false)?;
            if is_dir {
                // A directory's hash is recorded from its first version on.
                self.stale.insert(ino);
                self.rehashed.insert(ino);
            }
        }
        self.touch_dir(dir, now, i64::from(is_dir))?;
        Ok(ino)
    }

    /// Makes a held file part of what versions record.
    pub fn unhold(&mut self, ino: Ino) -> Result<()> {
        let node = self.node(ino)?;
        if !std::mem::take(&mut node.held) || node.unlinked {
            return Ok(());
        }
        let Some(place) = node.inode.place else { return Ok(()) };
        let Some(slot) = self.entries(place.dir)?.held.remove(&place.key) else { return Ok(()) };
        let name = slot.name.clone();
        self.note_slot(place.dir, &name)?;
        self.entries(place.dir)?.trie.insert(slot);
        self.note_content(ino)
    }

    /// Whether the inode is a held file.
    pub fn is_held(&self, ino: Ino) -> bool {
        self.nodes.get(&ino).is_some_and(|n| n.held)
    }

    /// Gives `ino` another name.
    pub fn link(&mut self, ino: Ino, dir: Ino, name: &Name) -> Result<()> {
        if self.entries(dir)?.get(&name.key()).is_some() {
            return Err(Error::Exists(name.to_string()));
        }
        if self.node(dir)?.unlinked {
            return Err(Error::NotFound("the removed directory".into()));
        }
        let node = self.node(ino)?;
        if node.inode.kind() == Kind::Dir {
            return Err(Error::NotPermitted("directories cannot have several names".into()));
        }
        if node.unlinked {
            return Err(Error::NotFound(name.to_string()));
        }
        self.refuse_uncertain(ino)?;
        self.unhold(ino)?;
        let now = Timestamp::now();
        let slot = Slot { key: name.key(), name: name.clone(), ino, kind: self.node(ino)?.inode.kind() };
        self.note_slot(dir, name)?;
        self.entries(dir)?.trie.insert(slot);
        let node = self.node(ino)?;
        let mut places = node.inode.places();
        places.push(Place { dir, key: name.key() });
        node.inode.nlink = node.inode.nlink.saturating_add(1);
        node.inode.ctime = now;
        node.inode.set_places(&places);
        self.note_inode(ino, false)?;
        self.touch_dir(dir, now, 0)
    }

    /// Removes the name of anything but a directory. Gives the inode and whether that was its last
    /// name.
    pub fn unlink(&mut self, dir: Ino, name: &Name) -> Result<(Ino, bool)> {
        let slot = self.slot(dir, name)?;
        if slot.kind == Kind::Dir {
            return Err(Error::IsADirectory(name.to_string()));
        }
        let now = Timestamp::now();
        if self.node(slot.ino)?.inode.others.is_some() {
            self.refuse_uncertain(slot.ino)?;
        }
        self.take_slot(dir, &slot)?;
        let last = self.drop_name(dir, &slot, now)?;
        self.touch_dir(dir, now, 0)?;
        Ok((slot.ino, last))
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, dir: Ino, name: &Name) -> Result<Ino> {
        let slot = self.slot(dir, name)?;
        if slot.kind != Kind::Dir {
            return Err(Error::NotADirectory(name.to_string()));
        }
        if !self.entries(slot.ino)?.is_empty() {
            return Err(Error::NotEmpty(name.to_string()));
        }
        let now = Timestamp::now();
        self.take_slot(dir, &slot)?;
        self.drop_name(dir, &slot, now)?;
        self.touch_dir(dir, now, -1)?;
        Ok(slot.ino)
    }

    /// The entry `name` of `dir`, its inode loaded.
    pub(super) fn slot(&mut self, dir: Ino, name: &Name) -> Result<Slot> {
        let slot = self.entries(dir)?.get(&name.key()).cloned();
        let slot = slot.ok_or_else(|| Error::NotFound(name.to_string()))?;
        self.child(&slot)?;
        Ok(slot)
    }

    /// Takes an entry out of its directory.
    pub(super) fn take_slot(&mut self, dir: Ino, slot: &Slot) -> Result<()> {
        if self.entries(dir)?.held.remove(&slot.key).is_none() {
            self.note_slot(dir, &slot.name)?;
            self.entries(dir)?.trie.remove(&slot.key);
        }
        Ok(())
    }

    /// Takes the name at `slot` from its inode, which goes away with its last name and handle. Says
    /// whether it was the last name.
    pub(super) fn drop_name(&mut self, dir: Ino, slot: &Slot, now: Timestamp) -> Result<bool> {
        let gone = Place { dir, key: slot.key };
        let node = self.node(slot.ino)?;
        node.inode.ctime = now;
        let mut places = node.inode.places();
        places.retain(|p| *p != gone);
        if slot.kind != Kind::Dir && !places.is_empty() {
            node.inode.nlink = places.len() as u32;
            node.inode.set_places(&places);
            self.note_inode(slot.ino, false)?;
            return Ok(false);
        }
        node.unlink();
        let (open, size) = (node.opens > 0, node.file_size());
        self.forget_changes(slot.ino);
        if !open {
            self.usage.note(size, 0);
            self.nodes.remove(&slot.ino);
        }
        Ok(true)
    }

    /// Records that the entries of `dir` changed at `now`, and how many sub-directories it gained.
    pub(super) fn touch_dir(&mut self, dir: Ino, now: Timestamp, subdirs: i64) -> Result<()> {
        let node = self.node(dir)?;
        node.inode.mtime = now;
        node.inode.ctime = now;
        node.inode.nlink = node.inode.nlink.saturating_add_signed(subdirs as i32);
        self.note_inode(dir, false)
    }
}
