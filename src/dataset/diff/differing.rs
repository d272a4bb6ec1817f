//! Paths that differ, before what was renamed is known.

use crate::model::{Dirent, Ino, Kind, NameKey, Place};

use super::super::error::{Error, Result};
use super::super::history::ChangeKind;
use super::blocks::Blocks;
use super::facts::{Attributes, Facts, Owners};
use super::paths::{At, Dir, Paths};

/// What is known again as nothing.
pub const NONE: u32 = u32::MAX;
/// What is not alone after all.
pub const DROPPED: u32 = u32::MAX - 1;
/// No directory: trees of different origin have no places in common.
pub const NOWHERE: Ino = Ino(0);

/// What is at a path of one of the trees alone.
#[derive(Clone, Copy, Debug)]
pub struct Lone {
    pub at: At,
    /// The directory of its place, or [`NOWHERE`].
    pub dir: Ino,
    /// Which of the facts.
    pub facts: u32,
    /// Which of the other side it is known again as, [`NONE`] or [`DROPPED`].
    pub pair: u32,
}

/// What is at the same path, or place, of both trees.
#[derive(Clone, Copy, Debug)]
pub struct Both {
    pub at: At,
    pub dir: Ino,
    pub sizes: [u64; 2],
    pub modes: [u16; 2],
    pub kinds: [Kind; 2],
    pub change: ChangeKind,
    pub attributes: Attributes,
}

/// Two trees' paths that differ, in no order.
#[derive(Debug, Default)]
pub struct Differing {
    pub paths: Paths,
    pub owners: Owners,
    /// Of what is in `gone` and `came`; at first of what a record tells, by inode.
    pub facts: Blocks<Facts>,
    /// What only the tree before has.
    pub gone: Blocks<Lone>,
    /// What only the tree after has.
    pub came: Blocks<Lone>,
    pub both: Blocks<Both>,
    /// Of a place at which another inode is than before: which of `gone`, and which of `came`.
    pub replaced: Vec<(u32, u32)>,
}

/// What a tree has at a name of a directory.
#[derive(Clone, Debug)]
pub struct There {
    pub dir: Dir,
    pub entry: Dirent,
    pub facts: Facts,
    /// Which of [`Differing::facts`] these are, if they are there.
    pub number: Option<u32>,
}

/// A place that differs.
#[derive(Debug)]
pub enum Found {
    /// Only the tree before (0) or after (1) has it.
    Lone(usize, There),
    /// Both have it.
    Both(There, There, ChangeKind),
    /// Another inode is there than before.
    Replaced(There, There),
}

impl Differing {
    /// How many paths differ, unless some turn out to be the same renamed.
    pub fn len(&self) -> usize {
        self.gone.len() + self.came.len() + self.both.len() - self.replaced.len()
    }

    /// Takes up what differs at a place in a directory, which is [`NOWHERE`] for trees of different origin.
    pub fn add(&mut self, found: Found, dir: Ino) -> Result<()> {
        match found {
            Found::Lone(side, there) => self.add_lone(side, there, dir),
            Found::Both(old, new, change) => {
                let at = self.paths.at(new.dir, &new.entry.name)?;
                self.add_both((&old.facts, &new.facts), at, dir, change);
                Ok(())
            }
            Found::Replaced(old, new) => {
                self.replaced.push((number_of(self.gone.len())?, number_of(self.came.len())?));
                self.add_lone(0, old, dir)?;
                self.add_lone(1, new, dir)
            }
        }
    }

    fn add_lone(&mut self, side: usize, there: There, dir: Ino) -> Result<()> {
        let at = self.paths.at(there.dir, &there.entry.name)?;
        let facts = match there.number {
            Some(number) => number,
            None => {
                self.facts.push(there.facts);
                number_of(self.facts.len() - 1)?
            }
        };
        let list = if side == 0 { &mut self.gone } else { &mut self.came };
        list.push(Lone { at, dir, facts, pair: NONE });
        Ok(())
    }

    /// Takes up what differs at a path that both trees have.
    pub fn add_both(&mut self, (old, new): (&Facts, &Facts), at: At, dir: Ino, change: ChangeKind) {
        // Trees of different origin are not compared by these.
        let attributes = match change {
            ChangeKind::Attributes if dir != NOWHERE => self.owners.attributes(old, new),
            _ => Attributes::default(),
        };
        self.both.push(Both {
            at,
            dir,
            sizes: [old.size, new.size],
            modes: [old.mode, new.mode],
            kinds: [old.kind, new.kind],
            change,
            attributes,
        });
    }

    /// The facts of what is alone.
    pub fn facts_of(&self, lone: &Lone) -> &Facts {
        &self.facts[lone.facts as usize]
    }

    /// The place of a path, if it has one.
    pub fn place(&self, at: At, dir: Ino) -> Option<Place> {
        (dir != NOWHERE).then(|| Place { dir, key: NameKey::of(self.paths.name(at)) })
    }
}

/// How what is at a place differs from what was there, which may be another inode.
pub fn changed_at_place(old: &Facts, new: &Facts) -> Option<ChangeKind> {
    if old.ino != new.ino && old.kind == Kind::Dir { Some(ChangeKind::Modified) } else { old.changed(new) }
}

fn number_of(len: usize) -> Result<u32> {
    u32::try_from(len).ok().filter(|number| *number < DROPPED).ok_or(Error::TooManyPaths)
}
