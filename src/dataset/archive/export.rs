//! Writing a version as a tar archive.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::sums::Sums;
use super::write_tar::TarWriter;
use super::{COMMENT, COMMENT_SUMS, COMMENT_WITHOUT, Member, What};
use crate::dataset::error::{Error, Result};
use crate::dataset::frozen::Frozen;
use crate::dataset::live::decode_xattrs;
use crate::model::content::CHUNK_MAX;
use crate::model::{Body, Content, Dirent, Ino, Inode, Kind, Name, NameKey, Piece, Timestamp, TreeHash};
use crate::store::content::{BLOCK, read_at};
use crate::store::error::chain;
use crate::store::{Objects, manifest::pieces_from};

/// Entries of a directory that are sorted by name; larger directories come in the order of the hashes of
/// their names, which follows from the names alone too and needs no memory.
const SORT_MAX: usize = 100_000;
/// Entries read from the index at a time.
const PAGE: usize = 1024;
/// Most stretches of data that a sparse member has; a file of more has its zeros written.
const STRETCHES_MAX: usize = 1 << 16;
/// After as many zero bytes of a hole it is asked whether anybody still waits.
const ALIVE_EVERY: u64 = 512 * CHUNK_MAX as u64;
/// The member with the checksums.
const SUMS: &str = "SHA256SUMS";

/// How a version is written.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// Whether modes, owners, times, hard links and extended attributes are as they were. If not, the bytes
    /// follow from the snapshot id.
    pub preserve: bool,
    /// Whether there is a member with checksums.
    pub sums: bool,
    /// Names of files that are left out, by the directory they are in: those whose content was purged.
    pub without: &'a HashSet<(Ino, Name)>,
    /// Where scratch files are made.
    pub scratch: &'a Path,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files, each counted once for each name.
    pub files: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// The member with the checksums.
    pub sums: Option<String>,
    /// Paths of sockets, which an archive cannot hold.
    pub left_out: Vec<Vec<u8>>,
    /// Paths of files that were to be left out.
    pub purged: Vec<Vec<u8>>,
}

/// Writes the tree of a version with this snapshot id, as a tar archive, to `out`, which is given at most
/// 1 MiB at a time.
///
/// # Errors
/// Where something cannot be read: damaged chunks, what a lost version may have changed. The path is named.
pub fn export(
    objects: &Objects,
    (tree, snapshot): (&Frozen, TreeHash),
    how: How<'_>,
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Exported> {
    let sums_name = if how.sums { Some(free_name(tree)?) } else { None };
    let mut export = Export {
        objects,
        tree,
        how,
        tar: TarWriter::new(out),
        links: HashMap::new(),
        sums: Sums::new(how.scratch),
        done: Exported::default(),
    };
    let sums_said = sums_name.as_ref().map_or(String::new(), |name| format!("{COMMENT_SUMS}{name}"));
    let without = if how.without.is_empty() { "" } else { COMMENT_WITHOUT };
    export.tar.comment(&format!("{COMMENT}{snapshot}{without}{sums_said}"))?;
    let mut levels = vec![(Vec::new(), Listing::of(tree, Ino::ROOT)?)];
    while let Some((path, listing)) = levels.last_mut() {
        let Some(entry) = listing.next()? else {
            levels.pop();
            continue;
        };
        let mut path = path.clone();
        path.extend(entry.name.as_bytes());
        let place = (listing.dir, entry.name.clone());
        if how.without.contains(&place) {
            export.done.purged.push(path);
            continue;
        }
        let failed = |error: Error| named(error, &path);
        export.entry(&path, &entry).map_err(failed)?;
        if entry.kind == Kind::Dir {
            let listing = Listing::of(tree, entry.ino).map_err(failed)?;
            path.push(b'/');
            levels.push((path, listing));
        }
    }
    let Export { mut tar, sums, mut done, .. } = export;
    if let Some(name) = sums_name.filter(|_| sums.len() > 0) {
        let data = vec![(0, sums.len())];
        tar.begin(&Member {
            path: name.clone().into(),
            what: What::File { size: sums.len(), data },
            mode: 0o644,
            owner: Some((0, 0)),
            mtime: Timestamp(0),
            xattrs: Vec::new(),
            has_acl: false,
        })?;
        sums.give(&mut |bytes| tar.raw(bytes))?;
        tar.pad()?;
        done.sums = Some(name);
    }
    done.bytes = tar.finish()?;
    Ok(done)
}

/// Says of which path an error is, unless nobody waits for the archive any more.
fn named(error: Error, path: &[u8]) -> Error {
    match error {
        Error::Invalid(_) => error,
        error => Error::Invalid(format!("{}: {}", String::from_utf8_lossy(path), chain(&error))),
    }
}

/// A name for the checksums that the root directory does not have.
fn free_name(tree: &Frozen) -> Result<String> {
    let mut name = SUMS.to_owned();
    let mut tries = 0;
    while tree.lookup(Ino::ROOT, &Name::new(name.as_bytes())?)?.is_some() {
        tries += 1;
        name = format!("{SUMS}.{tries}");
    }
    Ok(name)
}

struct Export<'a> {
    objects: &'a Objects,
    tree: &'a Frozen,
    how: How<'a>,
    tar: TarWriter<'a>,
    /// The first name and the checksum of what has several.
    links: HashMap<Ino, (Vec<u8>, Option<[u8; 32]>)>,
    sums: Sums,
    done: Exported,
}

impl Export<'_> {
    fn entry(&mut self, path: &[u8], entry: &Dirent) -> Result<()> {
        let inode = self.tree.certain_inode(entry.ino)?.1;
        let mut member = self.member(path, &inode)?;
        let first = self.links.get(&entry.ino).filter(|_| self.how.preserve);
        if let Some((first, sum)) = first.cloned() {
            member.what = What::Link(first);
            self.tar.begin(&member)?;
            self.done.files += u64::from(sum.is_some());
            return sum.map_or(Ok(()), |sum| self.sums.push(&sum, path));
        }
        let mut sum = None;
        match (&inode.body, &member.what) {
            (Body::Special(Kind::Socket, _), _) => self.done.left_out.push(path.to_vec()),
            (Body::File(content), What::File { data, .. }) => {
                self.tar.begin(&member)?;
                sum = Some(self.content(content, data)?);
                self.tar.pad()?;
                self.done.files += 1;
            }
            _ => self.tar.begin(&member)?,
        }
        if let Some(sum) = sum {
            self.sums.push(&sum, path)?;
        }
        if inode.others.is_some() && self.how.preserve {
            self.links.insert(entry.ino, (path.to_vec(), sum));
        }
        Ok(())
    }

    fn member(&self, path: &[u8], inode: &Inode) -> Result<Member> {
        let what = match &inode.body {
            Body::File(content) => {
                What::File { size: content.size(), data: stretches(self.objects, content)? }
            }
            Body::Dir => What::Dir,
            Body::Symlink(target) => What::Symlink(target.to_vec()),
            Body::Special(kind, device) => What::Special(*kind, *device),
        };
        let path = path.to_vec();
        if self.how.preserve {
            let (mode, owner, mtime) = (inode.mode, Some((inode.uid, inode.gid)), inode.mtime);
            let xattrs = decode_xattrs(self.objects.store(), inode.xattrs.as_deref())?;
            return Ok(Member { path, what, mode, owner, mtime, xattrs, has_acl: false });
        }
        let executable = inode.mode & 0o100 != 0;
        let mode = match inode.kind() {
            Kind::Symlink => 0o777,
            Kind::Dir => 0o755,
            Kind::File if executable => 0o755,
            _ => 0o644,
        };
        let (owner, mtime) = (Some((0, 0)), Timestamp(0));
        Ok(Member { path, what, mode, owner, mtime, xattrs: Vec::new(), has_acl: false })
    }

    /// Writes a file's data and gives the checksum of all its bytes.
    fn content(&mut self, content: &Content, data: &[(u64, u64)]) -> Result<[u8; 32]> {
        static ZEROS: [u8; CHUNK_MAX] = [0; CHUNK_MAX];
        let (mut hasher, mut at) = (Sha256::new(), 0);
        let mut block = vec![0; content.size().min(BLOCK as u64) as usize];
        let end = [(content.size(), 0)];
        for (start, len) in data.iter().chain(&end) {
            while at < *start {
                let len = (start - at).min(CHUNK_MAX as u64);
                hasher.update(&ZEROS[..len as usize]);
                at += len;
                if at.is_multiple_of(ALIVE_EVERY) {
                    self.tar.alive()?;
                }
            }
            let end = start + len;
            while at < end {
                let wanted = (end - at).min(block.len() as u64) as usize;
                let read = read_at(self.objects, content, at, &mut block[..wanted])?;
                if read == 0 {
                    return Err(Error::Lost("the end of the file".into()));
                }
                hasher.update(&block[..read]);
                self.tar.raw(&block[..read])?;
                at += read as u64;
            }
        }
        Ok(hasher.finalize().into())
    }
}

/// Where a file has data: all of it, unless there are holes of 128 KiB or more.
fn stretches(objects: &Objects, content: &Content) -> Result<Vec<(u64, u64)>> {
    let whole = vec![(0, content.size())];
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut zeros = false;
    if matches!(content, Content::Empty | Content::One(_)) {
        return Ok(whole);
    }
    for piece in pieces_from(objects, content, 0) {
        let (start, piece) = piece?;
        match (piece, found.last_mut()) {
            (Piece::Zeros(_), _) => zeros = true,
            (Piece::Data(chunk), Some((at, len))) if *at + *len == start => *len += u64::from(chunk.len),
            (Piece::Data(chunk), _) => found.push((start, u64::from(chunk.len))),
        }
        if found.len() > STRETCHES_MAX {
            return Ok(whole);
        }
    }
    Ok(if zeros { found } else { whole })
}

/// The entries of a directory in an order that follows from their names.
struct Listing<'a> {
    tree: &'a Frozen,
    dir: Ino,
    /// What was read, last first.
    page: Vec<Dirent>,
    after: Option<NameKey>,
    /// Whether there may be more than what was read.
    more: bool,
}

impl<'a> Listing<'a> {
    fn of(tree: &'a Frozen, dir: Ino) -> Result<Listing<'a>> {
        let mut listing = Listing { tree, dir, page: Vec::new(), after: None, more: true };
        while listing.more && listing.page.len() <= SORT_MAX {
            listing.read()?;
        }
        match listing.more {
            true => listing.page.reverse(),
            false => listing.page.sort_unstable_by(|a, b| b.name.cmp(&a.name)),
        }
        Ok(listing)
    }

    fn read(&mut self) -> Result<()> {
        let page = self.tree.entries(self.dir, self.after, PAGE)?;
        self.more = !page.is_empty();
        self.after = page.last().map(|(key, _)| *key).or(self.after);
        self.page.extend(page.into_iter().map(|(_, entry)| entry));
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Dirent>> {
        if self.page.is_empty() && self.more {
            self.read()?;
            self.page.reverse();
        }
        Ok(self.page.pop())
    }
}
