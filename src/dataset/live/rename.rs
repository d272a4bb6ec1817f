//! Renaming in a live tree.

use crate::model::{Ino, Kind, Name, NameKey, Place, Timestamp};

use super::super::climb::Climb;
use super::super::error::{Error, Result};
use super::super::trie::Slot;
use super::Live;

/// What a rename does with a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Fails (`RENAME_NOREPLACE`).
    NoReplace,
    /// Swaps the two (`RENAME_EXCHANGE`).
    Exchange,
}

impl Live {
    /// Renames `name` in `dir` to `new_name` in `new_dir`, atomically.
    pub fn rename(
        &mut self,
        (dir, name): (Ino, &Name),
        (new_dir, new_name): (Ino, &Name),
        mode: RenameMode,
    ) -> Result<()> {
        let source = self.slot(dir, name)?;
        if self.node(new_dir)?.unlinked {
            return Err(Error::NotFound("the removed directory".into()));
        }
        if source.kind == Kind::Dir {
            self.refuse_cycle(source.ino, new_dir)?;
        }
        self.refuse_uncertain(source.ino)?;
        let target = match self.entries(new_dir)?.get(&new_name.key()).is_some() {
            true => Some(self.slot(new_dir, new_name)?),
            false => None,
        };
        if let Some(target) = &target {
            let named_elsewhere = self.node(target.ino)?.inode.others.is_some();
            if named_elsewhere || mode == RenameMode::Exchange {
                self.refuse_uncertain(target.ino)?;
            }
        }
        match (mode, target) {
            (RenameMode::Exchange, Some(target)) => {
                if target.kind == Kind::Dir {
                    self.refuse_cycle(target.ino, dir)?;
                }
                self.exchange((dir, source), (new_dir, target))
            }
            (RenameMode::Exchange, None) => Err(Error::NotFound(new_name.to_string())),
            (RenameMode::NoReplace, Some(_)) => Err(Error::Exists(new_name.to_string())),
            (_, target) => self.replace((dir, source), (new_dir, new_name), target),
        }
    }

    /// A directory cannot become part of itself.
    fn refuse_cycle(&mut self, moved: Ino, into: Ino) -> Result<()> {
        let mut at = Some(into);
        let mut climb = Climb::default();
        while let Some(dir) = at {
            climb.step(dir)?;
            if dir == moved {
                return Err(Error::Invalid("a directory cannot be moved below itself".into()));
            }
            at = self.node(dir)?.inode.place.map(|p| p.dir);
        }
        Ok(())
    }

    fn replace(
        &mut self,
        (dir, source): (Ino, Slot),
        (new_dir, new_name): (Ino, &Name),
        target: Option<Slot>,
    ) -> Result<()> {
        let is_dir = source.kind == Kind::Dir;
        if let Some(target) = &target {
            if target.ino == source.ino {
                return Ok(());
            }
            match (is_dir, target.kind == Kind::Dir) {
                (true, false) => return Err(Error::NotADirectory(new_name.to_string())),
                (false, true) => return Err(Error::IsADirectory(new_name.to_string())),
                (true, true) if !self.entries(target.ino)?.is_empty() => {
                    return Err(Error::NotEmpty(new_name.to_string()));
                }
                _ => {}
            }
        }
        self.unhold(source.ino)?;
        let now = Timestamp::now();
        if let Some(target) = &target {
            self.take_slot(new_dir, target)?;
            self.drop_name(new_dir, target, now)?;
        }
        self.take_slot(dir, &source)?;
        let moved = Slot { key: new_name.key(), name: new_name.clone(), ..source };
        self.put_slot(dir, source.key, new_dir, moved, now)?;
        let gone = i64::from(is_dir);
        let replaced = i64::from(target.is_some_and(|t| t.kind == Kind::Dir));
        if dir == new_dir {
            return self.touch_dir(dir, now, -replaced);
        }
        self.touch_dir(dir, now, -gone)?;
        self.touch_dir(new_dir, now, gone - replaced)
    }

    fn exchange(&mut self, (dir, a): (Ino, Slot), (new_dir, b): (Ino, Slot)) -> Result<()> {
        if a.ino == b.ino {
            return Ok(());
        }
        self.unhold(a.ino)?;
        self.unhold(b.ino)?;
        let now = Timestamp::now();
        self.take_slot(dir, &a)?;
        self.take_slot(new_dir, &b)?;
        let a_moved = Slot { key: b.key, name: b.name.clone(), ..a };
        let b_moved = Slot { key: a.key, name: a.name.clone(), ..b };
        let subdirs = i64::from(b_moved.kind == Kind::Dir) - i64::from(a_moved.kind == Kind::Dir);
        self.put_slot(dir, a.key, new_dir, a_moved, now)?;
        self.put_slot(new_dir, b.key, dir, b_moved, now)?;
        if dir == new_dir {
            return self.touch_dir(dir, now, 0);
        }
        self.touch_dir(dir, now, subdirs)?;
        self.touch_dir(new_dir, now, -subdirs)
    }

    /// Puts `slot` into `new_dir`; its inode had that name at `(dir, key)` before.
    fn put_slot(&mut self, dir: Ino, key: NameKey, new_dir: Ino, slot: Slot, now: Timestamp) -> Result<()> {
        let (from, to) = (Place { dir, key }, Place { dir: new_dir, key: slot.key });
        let ino = slot.ino;
        self.note_slot(new_dir, &slot.name.clone())?;
        self.entries(new_dir)?.trie.insert(slot);
        let node = self.node(ino)?;
        node.inode.ctime = now;
        let mut places = node.inode.places();
        places.iter_mut().filter(|p| **p == from).for_each(|p| *p = to);
        node.inode.set_places(&places);
        self.note_inode(ino, false)
    }
}
