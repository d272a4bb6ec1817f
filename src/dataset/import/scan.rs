//! Finding what there is to import.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

use super::{Entry, Progress, Source, Teller, Tree, name_of};
use crate::dataset::error::{Error, Result};
use crate::dataset::frozen::Frozen;
use crate::dataset::live::{encode_xattrs, is_missed_xattr, is_settable_xattr};
use crate::dataset::outside::{Reach, device_of, kind_of};
use crate::model::inode::Xattrs;
use crate::model::{Body, Content, Dirent, Ino, Inode, Kind, NameKey, Timestamp};
use crate::store::{Error as StoreError, Objects};

/// Entries read from the index at a time.
const PAGE: usize = 1024;
/// A file of which anything changed so shortly before it was taken in may have changed once more within the same tick
/// of the clock that times of change are taken from.
const TICK: i64 = 20_000_000;
/// Bytes for extended attributes that mostly are enough.
const XATTRS: usize = 4096;

/// Lists all that is below `root` and reads everything but the content of files. Files that `newest`, if
/// given, has with the same size and time of change are taken to be those, unless their status changed since then: what
/// is moved to the place of another, or gets its times from elsewhere, has that changed, and nobody can set it.
///
/// # Errors
/// Where something cannot be read, or has a name that means something else in a dataset.
pub fn scan(
    objects: &Objects,
    root: &Path,
    newest: Option<&Frozen>,
    teller: &mut Teller<'_>,
) -> Result<Tree> {
    let at = Reach::new(root).and_then(|at| fs::metadata(at.path()));
    let meta = at.map_err(|e| io_error("inspect", root, e))?;
    if !meta.is_dir() {
        return Err(Error::NotADirectory(root.display().to_string()));
    }
    let (entries, links, found) = (Vec::new(), HashMap::new(), Progress::default());
    let mut scan = Scan { objects, newest, entries, links, found, bared: 0 };
    let root_inode = scan.inode(root, &meta, Body::Dir)?;
    let mut todo = vec![(root.to_owned(), None, newest.map(|_| Ino::ROOT))];
    while let Some((path, dir, known)) = todo.pop() {
        scan.list(&path, dir, known, &mut todo, teller)?;
    }
    Ok(Tree { root: root_inode, entries: scan.entries, bared: scan.bared })
}

/// A directory to list: its path, its place among the entries, and what it is in the newest version.
type Todo = (PathBuf, Option<usize>, Option<Ino>);

struct Scan<'a> {
    objects: &'a Objects,
    newest: Option<&'a Frozen>,
    entries: Vec<Entry>,
    /// Files of several names, by device and inode number.
    links: HashMap<(u64, u64), usize>,
    found: Progress,
    /// How many had attributes that a dataset cannot have.
    bared: u64,
}

impl Scan<'_> {
    fn list(
        &mut self,
        path: &Path,
        dir: Option<usize>,
        known: Option<Ino>,
        todo: &mut Vec<Todo>,
        teller: &mut Teller<'_>,
    ) -> Result<()> {
        let before = self.entries_of(known)?;
        let at = Reach::new(path).map_err(|e| io_error("list", path, e))?;
        for listed in fs::read_dir(at.path()).map_err(|e| io_error("list", path, e))? {
            let listed = listed.map_err(|e| io_error("list", path, e))?;
            let path = path.join(listed.file_name());
            let meta = listed.metadata().map_err(|e| io_error("inspect", &path, e))?;
            let reached = Reach::new(&path).map_err(|e| io_error("inspect", &path, e))?;
            let name = name_of(listed.file_name().as_bytes())
                .map_err(|why| Error::Invalid(format!("cannot import {}: {why}", path.display())))?;
            let before = before.get(&name.key()).filter(|entry| entry.kind == kind_of(&meta));
            let mut source = Source::Known;
            let body = match kind_of(&meta) {
                Kind::Dir => {
                    todo.push((path.clone(), Some(self.entries.len()), before.map(|entry| entry.ino)));
                    Body::Dir
                }
                Kind::Symlink => {
                    let target = fs::read_link(reached.path()).map_err(|e| io_error("read", &path, e))?;
                    Body::Symlink(target.as_os_str().as_bytes().into())
                }
                Kind::File => {
                    let (content, how) = self.content(&meta, before)?;
                    source = how;
                    Body::File(content)
                }
                kind => Body::Special(kind, device_of(&meta)),
            };
            let inode = self.inode(reached.path(), &meta, body)?;
            if meta.nlink() > 1 && !meta.is_dir() {
                let first = *self.links.entry((meta.dev(), meta.ino())).or_insert(self.entries.len());
                if first < self.entries.len() {
                    source = Source::Link(first);
                }
            }
            self.entries.push(Entry { dir, name, inode, source });
            self.found.files_total += 1;
            self.found.bytes_total += if meta.is_file() { meta.len() } else { 0 };
            teller.tell(|| self.found)?;
        }
        Ok(())
    }

    /// The entries of a directory of the newest version.
    fn entries_of(&self, dir: Option<Ino>) -> Result<HashMap<NameKey, Dirent>> {
        let mut all = HashMap::new();
        let (Some(newest), Some(dir)) = (self.newest, dir) else { return Ok(all) };
        let mut after = None;
        loop {
            let page = newest.entries(dir, after, PAGE)?;
            let Some(&(last, _)) = page.last() else { return Ok(all) };
            after = Some(last);
            all.extend(page);
        }
    }

    /// The content of a file, if it is that of a file `before`.
    fn content(&self, meta: &Metadata, before: Option<&Dirent>) -> Result<(Content, Source)> {
        if let (Some(newest), Some(before)) = (self.newest, before) {
            match newest.certain_inode(before.ino) {
                Ok((_, Inode { body: Body::File(content), mtime, ctime, .. }))
                    if content.size() == meta.len()
                        && mtime == mtime_of(meta)
                        && ctime_of(meta).0.saturating_add(TICK) < ctime.0 =>
                {
                    return Ok((content, Source::Known));
                }
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        Ok((Content::Empty, Source::Read(meta.len())))
    }

    fn inode(&mut self, path: &Path, meta: &Metadata, body: Body) -> Result<Inode> {
        let (xattrs, whole) = xattrs_of(self.objects, path)?;
        self.bared += u64::from(!whole);
        Ok(Inode {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            nlink: 1,
            atime: Timestamp::from_parts(meta.atime(), meta.atime_nsec() as u32),
            mtime: mtime_of(meta),
            ctime: Timestamp::now(),
            body,
            xattrs,
            place: None,
            others: None,
        })
    }
}

pub(super) fn mtime_of(meta: &Metadata) -> Timestamp {
    Timestamp::from_parts(meta.mtime(), meta.mtime_nsec() as u32)
}

fn ctime_of(meta: &Metadata) -> Timestamp {
    Timestamp::from_parts(meta.ctime(), meta.ctime_nsec() as u32)
}

/// The extended attributes that a dataset can keep, and whether there are no others to be missed.
fn xattrs_of(objects: &Objects, path: &Path) -> Result<(Option<Box<Xattrs>>, bool)> {
    let failed = |e: Errno| io_error("read the extended attributes of", path, e.into());
    let names = match grown(|buffer| llistxattr(path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok((None, true)),
        Err(error) => return Err(failed(error)),
    };
    let (mut list, mut whole) = (Vec::new(), true);
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        whole &= !is_missed_xattr(name);
        if !is_settable_xattr(name) {
            continue;
        }
        match grown(|buffer| lgetxattr(path, name, buffer)) {
            Ok(value) => list.push((name.to_vec(), value)),
            // It went away meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    list.sort_unstable();
    Ok((encode_xattrs(objects.store(), list)?, whole))
}

/// What a call that fills a buffer gives, in one that is large enough.
fn grown(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; XATTRS];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn io_error(what: &'static str, path: &Path, error: io::Error) -> Error {
    StoreError::Io { what, path: path.to_owned(), source: error }.into()
}
