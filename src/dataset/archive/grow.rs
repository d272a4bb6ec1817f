//! Building a tree of the members of an archive.

use std::collections::{HashMap, HashSet};

use super::read_tar::lossy;
use super::{Contents, Member, What};
use crate::dataset::error::{Error, Result};
use crate::dataset::import::{Batch, Entry, SMALL, Source, Tree, name_of};
use crate::dataset::live::{encode_xattrs, is_missed_xattr, is_settable_xattr};
use crate::model::{Body, Content, Inode, Kind, Name, NameKey, Timestamp};
use crate::store::Objects;
use crate::store::content::Builder;

/// Longest target of a symbolic link.
const TARGET_MAX: usize = 4095;

/// A tree that grows member by member.
pub struct Grow<'a> {
    objects: &'a Objects,
    /// Who owns what the archive does not give to anybody.
    owner: (u32, u32),
    /// Whether the archive decides who owns what.
    keep_owners: bool,
    root: Inode,
    entries: Vec<Entry>,
    places: HashMap<(Option<usize>, NameKey), usize>,
    /// Entries that others are further names of.
    linked: HashSet<usize>,
    /// Small files whose bytes are not in the store yet.
    batch: Batch,
    /// How many members have attributes that a dataset cannot have.
    bared: u64,
}

impl<'a> Grow<'a> {
    /// A tree whose root is `root` unless the archive says otherwise.
    pub fn new(objects: &'a Objects, root: Inode, owner: (u32, u32), keep_owners: bool) -> Grow<'a> {
        Grow {
            objects,
            owner,
            keep_owners,
            root,
            entries: Vec::new(),
            places: HashMap::new(),
            linked: HashSet::new(),
            batch: Batch::default(),
            bared: 0,
        }
    }

    /// Number of entries so far.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Adds a member; `fill` gives the bytes, if it is a file.
    ///
    /// # Errors
    /// Where its path leads out of the archive or means something in a dataset, or it does not fit to what
    /// came before.
    pub fn add(
        &mut self,
        member: &Member,
        fill: &mut dyn FnMut(&mut dyn Contents) -> Result<()>,
    ) -> Result<()> {
        let path = names(&member.path)?;
        let Some((name, above)) = path.split_last() else {
            return match member.what {
                What::Dir => self.inode(member, Body::Dir).map(|inode| self.root = inode),
                _ => Err(refused(&member.path, "it has no name")),
            };
        };
        let dir = self.dir(above, &member.path)?;
        if let What::Link(target) = &member.what {
            return self.link(member, dir, name, target);
        }
        let body = match &member.what {
            What::Dir => Body::Dir,
            What::Symlink(target)
                if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) =>
            {
                return Err(refused(&member.path, "it links to what can be no path"));
            }
            What::Symlink(target) => Body::Symlink(target.as_slice().into()),
            What::Special(kind, device) => Body::Special(*kind, *device),
            What::File { .. } | What::Link(_) => Body::File(Content::Empty),
        };
        let inode = self.inode(member, body)?;
        let at = self.put(member, dir, name, inode, Source::Known)?;
        match &member.what {
            What::File { size, .. } if *size <= SMALL => {
                let mut bytes = Vec::with_capacity(*size as usize);
                fill(&mut bytes)?;
                self.batch.push(at, bytes);
                if self.batch.is_full() { self.store_batch() } else { Ok(()) }
            }
            What::File { .. } => {
                // A member of the same path before may wait with other bytes.
                self.batch.leave_out(at);
                let mut stored = Stored(Builder::new(self.objects));
                fill(&mut stored)?;
                self.entries[at].inode.body = Body::File(stored.0.finish()?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The whole tree.
    pub fn finish(mut self) -> Result<Tree> {
        self.store_batch()?;
        Ok(Tree { root: self.root, entries: self.entries, bared: self.bared })
    }

    fn store_batch(&mut self) -> Result<()> {
        for (at, content) in self.batch.store(self.objects)? {
            if let Body::File(of) = &mut self.entries[at].inode.body {
                *of = content;
            }
        }
        Ok(())
    }

    /// The directory of this path; made, where no member did.
    fn dir(&mut self, path: &[Name], whole: &[u8]) -> Result<Option<usize>> {
        let mut dir = None;
        for name in path {
            let place = (dir, name.key());
            dir = Some(match self.places.get(&place) {
                Some(at) if self.entries[*at].inode.kind() == Kind::Dir => *at,
                Some(_) => return Err(refused(whole, "it would be in what is no directory")),
                None => {
                    let inode = Inode::root(0o755, self.owner.0, self.owner.1, Timestamp::now());
                    self.push(dir, name, inode, Source::Known)
                }
            });
        }
        Ok(dir)
    }

    fn link(&mut self, member: &Member, dir: Option<usize>, name: &Name, target: &[u8]) -> Result<()> {
        let missing =
            || refused(&member.path, &format!("it links to {}, which is not before it", lossy(target)));
        let mut at = None;
        for name in names(target)? {
            at = Some(*self.places.get(&(at, name.key())).ok_or_else(missing)?);
        }
        let at = at.ok_or_else(missing)?;
        let first = if let Source::Link(first) = self.entries[at].source { first } else { at };
        let inode = self.entries[first].inode.clone();
        if inode.kind() == Kind::Dir {
            return Err(refused(&member.path, "it links to a directory"));
        }
        let placed = self.places.get(&(dir, name.key()));
        if placed.is_some_and(|own| *own == first || self.entries[*own].source == Source::Link(first)) {
            return Ok(());
        }
        self.linked.insert(first);
        self.put(member, dir, name, inode, Source::Link(first)).map(drop)
    }

    /// Puts an inode at its place. Of two members of one path the later counts, as when they are unpacked.
    fn put(
        &mut self,
        member: &Member,
        dir: Option<usize>,
        name: &Name,
        inode: Inode,
        source: Source,
    ) -> Result<usize> {
        let Some(&at) = self.places.get(&(dir, name.key())) else {
            return Ok(self.push(dir, name, inode, source));
        };
        if (self.entries[at].inode.kind() == Kind::Dir) != (inode.kind() == Kind::Dir) {
            return Err(refused(&member.path, "it is in the archive twice, and once a directory"));
        }
        if self.linked.contains(&at) || matches!(source, Source::Link(_)) {
            return Err(refused(&member.path, "it is in the archive twice, and is or has a hard link"));
        }
        self.batch.leave_out(at);
        (self.entries[at].inode, self.entries[at].source) = (inode, source);
        Ok(at)
    }

    fn push(&mut self, dir: Option<usize>, name: &Name, inode: Inode, source: Source) -> usize {
        let at = self.entries.len();
        self.places.insert((dir, name.key()), at);
        self.entries.push(Entry { dir, name: name.clone(), inode, source });
        at
    }

    fn inode(&mut self, member: &Member, body: Body) -> Result<Inode> {
        let is_bared = member.has_acl || member.xattrs.iter().any(|(name, _)| is_missed_xattr(name));
        self.bared += u64::from(is_bared);
        let (uid, gid) = member.owner.filter(|_| self.keep_owners).unwrap_or(self.owner);
        let kept = member.xattrs.iter().filter(|(name, _)| is_settable_xattr(name));
        let mut xattrs: Vec<_> = kept.cloned().collect();
        // Of one that is said twice, the last counts.
        xattrs.reverse();
        xattrs.sort_by(|a, b| a.0.cmp(&b.0));
        xattrs.dedup_by(|a, b| a.0 == b.0);
        let mode = if matches!(body, Body::Symlink(_)) { 0o777 } else { member.mode & 0o7777 };
        Ok(Inode {
            mode,
            uid,
            gid,
            nlink: 1,
            atime: member.mtime,
            mtime: member.mtime,
            ctime: Timestamp::now(),
            body,
            xattrs: encode_xattrs(self.objects.store(), xattrs)?,
            place: None,
            others: None,
        })
    }
}

/// The names of a path within an archive.
fn names(path: &[u8]) -> Result<Vec<Name>> {
    if path.starts_with(b"/") {
        return Err(refused(path, "its path is absolute"));
    }
    let mut names = Vec::new();
    for part in path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        if part == b".." {
            return Err(refused(path, "its path leads out of the archive"));
        }
        names.push(name_of(part).map_err(|why| refused(path, &why))?);
    }
    Ok(names)
}

fn refused(path: &[u8], why: &str) -> Error {
    Error::Invalid(format!("member {}: {why}", lossy(path)))
}

impl Contents for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend(bytes);
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.resize(self.len() + count as usize, 0);
        Ok(())
    }
}

struct Stored<'a>(Builder<'a>);

impl Contents for Stored<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write(bytes)?)
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        Ok(self.0.zeros(count)?)
    }
}
