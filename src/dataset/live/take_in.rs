//! Taking inodes from outside into a live tree.

use crate::model::{Content, Ino, Inode, Kind, Name, Place};

use super::super::error::{Error, Result};
use super::{Invalid, Live};

impl Live {
    /// Gives `name` in `dir` to `inode`, whose places do not count. What has the name already is changed into
    /// it if it is of the same kind and has no other name or user, and replaced if not; a directory stays as
    /// it is. Nothing changes where it is the same already. What the kernel must forget is added to `invalid`.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] or [`Error::NotADirectory`] where one of the two is a directory.
    pub fn take_in(&mut self, dir: Ino, name: &Name, inode: Inode, invalid: &mut Invalid) -> Result<Ino> {
        let Some(slot) = self.entries(dir)?.get(&name.key()).cloned() else {
            return self.put_new(dir, name, inode, invalid);
        };
        self.child(&slot)?;
        match (slot.kind == Kind::Dir, inode.kind() == Kind::Dir) {
            (true, true) => return Ok(slot.ino),
            (true, false) => return Err(Error::IsADirectory(name.to_string())),
            (false, true) => return Err(Error::NotADirectory(name.to_string())),
            (false, false) => {}
        }
        let node = self.node(slot.ino)?;
        if !node.uncertain && !node.held && is_same(&node.inode, &inode) && node.inode.body == inode.body {
            return Ok(slot.ino);
        }
        let free = node.opens == 0 && !node.held && !node.uncertain && node.inode.others.is_none();
        if !free || slot.kind != inode.kind() {
            self.unlink(dir, name)?;
            return self.put_new(dir, name, inode, invalid);
        }
        if node.inode.body != inode.body {
            let before = node.file_size();
            node.inode.body = inode.body.clone();
            node.inode.ctime = inode.ctime;
            self.usage.note(before, inode.content().map_or(0, Content::size));
            self.note_content(slot.ino)?;
            invalid.inodes.insert(slot.ino);
        }
        self.put_attrs(slot.ino, &inode, invalid)?;
        Ok(slot.ino)
    }

    /// Gives `name` in `dir` to the inode `ino` too.
    pub fn take_in_link(&mut self, ino: Ino, dir: Ino, name: &Name, invalid: &mut Invalid) -> Result<()> {
        match self.entries(dir)?.get(&name.key()).cloned() {
            Some(slot) if slot.ino == ino => return Ok(()),
            Some(_) => drop(self.unlink(dir, name)?),
            None => {}
        }
        invalid.names.insert((dir, name.clone()));
        invalid.inodes.extend([ino, dir]);
        self.link(ino, dir, name)
    }

    /// Gives an inode the attributes of `from`, if it has others.
    pub fn put_attrs(&mut self, ino: Ino, from: &Inode, invalid: &mut Invalid) -> Result<()> {
        let inode = &mut self.node(ino)?.inode;
        if is_same(inode, from) {
            return Ok(());
        }
        (inode.mode, inode.uid, inode.gid) = (from.mode, from.uid, from.gid);
        (inode.atime, inode.mtime, inode.ctime) = (from.atime, from.mtime, from.ctime);
        inode.xattrs = from.xattrs.clone();
        self.note_inode(ino, true)?;
        self.note_mtime(ino, true);
        invalid.inodes.insert(ino);
        Ok(())
    }

    fn put_new(&mut self, dir: Ino, name: &Name, inode: Inode, invalid: &mut Invalid) -> Result<Ino> {
        if !invalid.unheard.contains(&dir) {
            invalid.names.insert((dir, name.clone()));
            invalid.inodes.insert(dir);
        }
        let (place, is_dir) = (Place { dir, key: name.key() }, inode.kind() == Kind::Dir);
        let nlink = if is_dir { 2 } else { 1 };
        let inode = Inode { nlink, place: Some(place), others: None, ..inode };
        let ino = self.insert(dir, name, inode, false)?;
        if is_dir {
            invalid.unheard.insert(ino);
        }
        Ok(ino)
    }

    /// Removes a name and all below it.
    pub fn remove_all(&mut self, dir: Ino, name: &Name, invalid: &mut Invalid) -> Result<()> {
        invalid.names.insert((dir, name.clone()));
        invalid.inodes.insert(dir);
        let mut todo = vec![(dir, name.clone(), false)];
        while let Some((dir, name, emptied)) = todo.pop() {
            let slot = self.slot(dir, &name)?;
            match (slot.kind, emptied) {
                (Kind::Dir, false) => {
                    todo.push((dir, name, true));
                    let inside = self.list(slot.ino, 0, usize::MAX)?;
                    todo.extend(inside.into_iter().map(|inner| (slot.ino, inner.name, false)));
                }
                (Kind::Dir, true) => drop(self.rmdir(dir, &name)?),
                _ => drop(self.unlink(dir, &name)?),
            }
        }
        Ok(())
    }
}

/// Whether two inodes have the same attributes, but for times that reading or any change sets.
fn is_same(a: &Inode, b: &Inode) -> bool {
    let of = |inode: &Inode| (inode.mode, inode.uid, inode.gid, inode.mtime);
    of(a) == of(b) && a.xattrs == b.xattrs
}
