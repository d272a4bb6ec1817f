//! Paths of very many things, each kept as its directory and its name.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use crate::model::Name;

use super::super::error::{Error, Result};
use super::blocks::partition;
use super::facts::{Digest, digest};

/// A directory of [`Paths`]: the same for all paths that are below the same one, whatever its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dir(u32);

impl Dir {
    /// Where all paths begin.
    pub const ROOT: Dir = Dir(0);
}

/// A path: a name in a directory; without a name, where all paths begin.
#[derive(Clone, Copy, Debug)]
pub struct At {
    dir: Dir,
    /// Where in the names its length and its bytes are.
    name: u32,
}

/// Bytes of names that lie together.
const BLOCK: usize = 64 << 10;

/// Where all paths begin.
pub const START: At = At { dir: Dir::ROOT, name: 0 };

/// The directories and names of paths.
#[derive(Debug)]
pub struct Paths {
    /// Each behind its length, none across the end of a block. The first is none.
    names: Vec<Vec<u8>>,
    /// The first is [`Dir::ROOT`].
    dirs: Vec<At>,
    known: HashMap<(Dir, Name), Dir>,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths { names: vec![vec![0]], dirs: vec![START], known: HashMap::new() }
    }
}

impl Paths {
    /// The path of a name in a directory.
    ///
    /// # Errors
    /// [`Error::TooManyPaths`].
    pub fn at(&mut self, dir: Dir, name: &Name) -> Result<At> {
        let bytes = name.as_bytes();
        if self.names.last().is_none_or(|block| block.len() + 1 + bytes.len() > BLOCK) {
            self.names.push(Vec::with_capacity(BLOCK));
        }
        let number = self.names.len() - 1;
        let block = &mut self.names[number];
        let (start, len) = (u32::try_from(number * BLOCK + block.len()), u8::try_from(bytes.len()));
        let (Ok(start), Ok(len)) = (start, len) else { return Err(Error::TooManyPaths) };
        block.push(len);
        block.extend_from_slice(bytes);
        Ok(At { dir, name: start })
    }

    /// The directory of a name in another.
    ///
    /// # Errors
    /// [`Error::TooManyPaths`].
    pub fn dir(&mut self, above: Dir, name: &Name) -> Result<Dir> {
        if let Some(known) = self.known.get(&(above, name.clone())) {
            return Ok(*known);
        }
        let dir = Dir(u32::try_from(self.dirs.len()).map_err(|_| Error::TooManyPaths)?);
        let at = self.at(above, name)?;
        self.dirs.push(at);
        self.known.insert((above, name.clone()), dir);
        Ok(dir)
    }

    /// The last part of a path.
    pub fn name(&self, at: At) -> &[u8] {
        let (block, start) = (at.name as usize / BLOCK, at.name as usize % BLOCK);
        let (len, rest) = self.names[block][start..].split_first().expect("a name has a length");
        &rest[..usize::from(*len)]
    }

    /// A path, whole.
    pub fn path(&self, at: At) -> Vec<Name> {
        let mut path = Vec::new();
        let mut at = at;
        // Without a name, it is where all begin.
        while let Ok(name) = Name::new(self.name(at)) {
            path.push(name);
            at = self.dirs[at.dir.0 as usize];
        }
        path.reverse();
        path
    }

    /// Whether two paths are the same.
    pub fn are_same(&self, a: At, b: At) -> bool {
        a.dir == b.dir && self.name(a) == self.name(b)
    }

    /// What is the same for two paths only if they are, with any probability that matters.
    pub fn key(&self, at: At) -> Digest {
        digest(&[&at.dir.0.to_le_bytes()[..], self.name(at)].concat())
    }

    /// The numbers below `count`, ordered by the path that `at` gives for each; those of one path as they are.
    pub fn order(&self, count: u32, at: impl Fn(u32) -> At) -> Vec<u32> {
        let within = |a: At, b: At| a.dir.cmp(&b.dir).then_with(|| self.name(a).cmp(self.name(b)));
        let mut leaves: Vec<u32> = (0..count).collect();
        leaves.sort_unstable_by(|a, b| within(at(*a), at(*b)).then(a.cmp(b)));
        let mut below: Vec<Dir> = (1..).map(Dir).take(self.dirs.len() - 1).collect();
        let place = |dir: Dir| self.dirs[dir.0 as usize];
        below.sort_unstable_by(|a, b| within(place(*a), place(*b)));
        let mut ordered = Vec::with_capacity(leaves.len());
        // What is left of each directory on the way: a list, since a tree may be deeper than the stack.
        let left = |dir: Dir| {
            let range = |len: usize, is_in: &dyn Fn(usize) -> Ordering| -> Range<usize> {
                let start = partition(len, |n| is_in(n).is_lt());
                start..partition(len, |n| is_in(n).is_le())
            };
            (
                range(leaves.len(), &|n| at(leaves[n]).dir.cmp(&dir)),
                range(below.len(), &|n| place(below[n]).dir.cmp(&dir)),
            )
        };
        let mut way = vec![left(Dir::ROOT)];
        while let Some((names, dirs)) = way.last_mut() {
            let leaf = names.clone().next().map(|n| leaves[n]);
            let dir = dirs.clone().next().map(|n| below[n]);
            let is_before = |leaf: u32, dir: Dir| self.name(at(leaf)) <= self.name(place(dir));
            if let Some(leaf) = leaf.filter(|leaf| dir.is_none_or(|dir| is_before(*leaf, dir))) {
                names.start += 1;
                ordered.push(leaf);
            } else if let Some(dir) = dir {
                dirs.start += 1;
                way.push(left(dir));
            } else {
                way.pop();
            }
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The order is that of paths as lists of names, and paths are what they were.
        #[test]
        fn paths_are_ordered_by_their_parts(
            all in proptest::collection::vec(proptest::collection::vec("[ab.]{1,2}x?", 1..5), 0..60),
        ) {
            let names = |path: &[String]| -> Vec<Name> {
                path.iter().map(|name| Name::new(format!("{name}_").as_bytes()).unwrap()).collect()
            };
            let all: Vec<Vec<Name>> = all.iter().map(|path| names(path)).collect();
            let mut paths = Paths::default();
            let mut ats = vec![START];
            for path in &all {
                let (name, above) = path.split_last().unwrap();
                let dir = above.iter().try_fold(Dir::ROOT, |dir, name| paths.dir(dir, name)).unwrap();
                ats.push(paths.at(dir, name).unwrap());
            }
            let whole: Vec<Vec<Name>> = ats.iter().map(|at| paths.path(*at)).collect();
            prop_assert_eq!(&whole[1..], &all[..]);
            prop_assert!(whole[0].is_empty());
            let ordered = paths.order(ats.len() as u32, |n| ats[n as usize]);
            let mut expected: Vec<u32> = (0..ats.len() as u32).collect();
            expected.sort_by(|a, b| whole[*a as usize].cmp(&whole[*b as usize]));
            prop_assert_eq!(ordered, expected);
            for (n, a) in ats.iter().enumerate() {
                for (m, b) in ats.iter().enumerate() {
                    prop_assert_eq!(paths.are_same(*a, *b), whole[n] == whole[m]);
                    prop_assert_eq!(paths.key(*a) == paths.key(*b), whole[n] == whole[m]);
                }
            }
        }
    }
}
