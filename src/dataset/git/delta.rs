//! What a commit changes, with the objects that its pointers stand for in their place.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use std::os::unix::ffi::OsStrExt;

use super::before::Before;
use super::command::{Cat, Repository, as_path};
use super::objects::{Places, read_list};
use super::pointers::{self, LFS_MAX, Listed, Out};
use super::{Change, Leaf};
use crate::dataset::error::{Error, Result};
use crate::model::hash::hex;

/// Longest pointer or lock file of DVC that is read.
const DVC_MAX: u64 = 64 << 20;

/// Files by their path in the dataset.
type Leaves = BTreeMap<Vec<u8>, Leaf>;

/// Objects that are not on this machine.
#[derive(Default)]
pub(super) struct Missing {
    /// Each with what it is an object of.
    pub all: HashSet<String>,
    /// One of them.
    pub first: Option<String>,
}

impl Missing {
    fn note(&mut self, what: String) {
        self.first.get_or_insert_with(|| what.clone());
        self.all.insert(what);
    }
}

/// What is done about objects of DVC that are missing.
#[derive(Clone, Copy)]
struct Lenient {
    /// Whether a directory whose list is missing is left out.
    lists: bool,
    /// Whether a file is.
    files: bool,
    /// Whether it is noted what is left out.
    noted: bool,
}

/// Finds what commits change.
pub(super) struct Deltas<'a> {
    pub repository: &'a Repository,
    pub places: &'a Places,
    /// The part of the repository that is imported.
    pub path: Option<&'a Path>,
    pub sizes: Cat,
    pub small: Cat,
    /// What the dataset has of the commits that were imported before.
    pub there: &'a Before,
    /// Whether pointers stay as they are where their objects are missing.
    pub skip_missing: bool,
    /// Pointers of DVC that were met: from then on, what they stand for follows from what is at hand.
    pub met: HashSet<Vec<u8>>,
    /// What is not at hand: that objects of git-lfs and DVC are missing.
    pub missing: Missing,
    /// What is not at hand, and is done without.
    pub skipped: Missing,
    /// What was left out, and why.
    pub notices: Vec<String>,
}

impl Deltas<'_> {
    /// What `after` changes of `before`, by path.
    pub fn between(&mut self, before: Option<&str>, after: &str) -> Result<Vec<Change>> {
        let (mut old, mut new, skipped) = (Leaves::new(), Leaves::new(), self.skipped.all.len());
        for difference in self.repository.differences(before, after, self.path)? {
            let known = self.notices.len();
            if let Some(before) = before {
                self.leaves(before, &difference.path, &difference.before, true, &mut old)?;
            }
            // What was left out before was told of then.
            self.notices.truncate(known);
            self.leaves(after, &difference.path, &difference.after, false, &mut new)?;
        }
        let gone = old.keys().filter(|path| !new.contains_key(*path));
        let gone = gone.map(|path| Change { path: path.clone(), leaf: None, size: 0 });
        let mut changes: Vec<Change> = gone.collect();
        for (path, leaf) in new {
            if old.get(&path) != Some(&leaf) {
                let (leaf, size) = self.sized(&path, leaf)?;
                changes.push(Change { path, leaf: Some(leaf), size });
            }
        }
        let skipped = self.skipped.all.len() - skipped;
        if let Some(first) = self.skipped.first.take() {
            self.notices.push(format!(
                "objects that are not on this machine: {skipped}, the first is {first}; their pointers stay"
            ));
        }
        Ok(changes)
    }

    /// Adds what a path of a commit stands for; of one that was imported `before`, what became of it.
    fn leaves(
        &mut self,
        commit: &str,
        path: &[u8],
        (mode, oid): &(u32, String),
        before: bool,
        leaves: &mut Leaves,
    ) -> Result<()> {
        match mode {
            0 => {}
            0o160_000 => self.notices.push(format!("{} is a submodule: skipped", lossy(path))),
            0o120_000 => drop(self.put(path, Leaf::Symlink(oid.clone()), leaves)),
            _ if path.ends_with(b".dvc") => {
                let bytes = self.pointer(path, oid)?;
                let (wdir, outs) = pointers::dvc(&bytes).map_err(|why| self.bad(path, &why))?;
                if !self.outs_of((commit, path), wdir.as_deref(), outs, before, leaves)? {
                    self.put(path, Leaf::Blob { oid: oid.clone(), exec: false }, leaves);
                }
            }
            _ => {
                if as_path(path).file_name().is_some_and(|name| name == "dvc.lock") {
                    let bytes = self.pointer(path, oid)?;
                    let outs = pointers::lock(&bytes).map_err(|why| self.bad(path, &why))?;
                    self.outs_of((commit, path), None, outs, before, leaves)?;
                }
                self.put(path, Leaf::Blob { oid: oid.clone(), exec: mode & 0o111 != 0 }, leaves);
            }
        }
        Ok(())
    }

    fn pointer(&mut self, path: &[u8], oid: &str) -> Result<Vec<u8>> {
        match self.sizes.ask(oid)? {
            size if size > DVC_MAX => Err(self.bad(path, "it is too long")),
            _ => self.small.bytes(oid),
        }
    }

    /// Adds what a pointer of DVC stands for; of one that was imported `before`, what became of it. Says whether
    /// nothing is left out, so that the pointer is of no use beside it.
    fn outs_of(
        &mut self,
        (commit, of): (&str, &[u8]),
        wdir: Option<&str>,
        outs: Vec<Out>,
        before: bool,
        leaves: &mut Leaves,
    ) -> Result<bool> {
        let skip = self.skip_missing;
        let is_known = !before || self.met.contains(of) || self.there.last.is_none();
        let mut found = Leaves::new();
        if is_known {
            let how = Lenient { lists: skip, files: skip, noted: !before };
            let whole = self.outs((commit, of), wdir, outs, how, &mut found)?;
            if !before {
                self.met.insert(of.to_vec());
            }
            for (path, leaf) in found {
                leaves.entry(path).or_insert(leaf);
            }
            return Ok(whole);
        }
        // Other objects may have been at hand when it was imported.
        let is_kept = of.ends_with(b".dvc") && self.strip(of).is_some_and(|path| self.there.has(&path));
        let lists = is_kept || (skip && !of.ends_with(b".dvc"));
        self.outs((commit, of), wdir, outs, Lenient { lists, files: false, noted: false }, &mut found)?;
        found.retain(|path, _| self.there.has(path));
        for (path, leaf) in found {
            leaves.entry(path).or_insert(leaf);
        }
        Ok(!is_kept)
    }

    /// Adds what a pointer of DVC stands for, but for what git has itself at that path, as it has metrics. Says
    /// whether nothing is left out because it is missing.
    fn outs(
        &mut self,
        (commit, of): (&str, &[u8]),
        wdir: Option<&str>,
        outs: Vec<Out>,
        how: Lenient,
        leaves: &mut Leaves,
    ) -> Result<bool> {
        let mut whole = true;
        let above = as_path(of).parent().unwrap_or(Path::new(""));
        let own = of.ends_with(b".dvc") && Some(as_path(of)) == self.path;
        for out in outs {
            let said = above.join(wdir.unwrap_or("")).join(&out.path);
            let Some(base) = normal(&said) else {
                self.notices.push(format!(
                    "{}: {} is outside of the repository: skipped",
                    lossy(of),
                    out.path
                ));
                continue;
            };
            let Some(md5) = &out.md5 else {
                self.notices.push(format!("{}: {} has no MD5: skipped", lossy(of), out.path));
                continue;
            };
            let named = pointers::named(md5).ok_or_else(|| self.bad(of, &format!("{md5} is no MD5")))?;
            if !own && self.sizes.has(commit, &base)? {
                continue;
            }
            match named {
                (md5, false) => {
                    let path = if own { base.file_name().map_or(base.as_path(), Path::new) } else { &base };
                    let leaf = Leaf::Dvc { md5, exec: out.isexec };
                    whole &= self.put_new((of, path), own, leaf, how, leaves);
                }
                (md5, true) => {
                    let Some(list) = self.places.find_list(&hex(&md5)) else {
                        let what = format!("{}.dir of {}", hex(&md5), lossy(of));
                        whole = false;
                        match how.lists {
                            true if how.noted => self.skipped.note(what),
                            true => {}
                            false => self.missing.note(what),
                        }
                        continue;
                    };
                    let listed: Vec<Listed> = serde_json::from_slice(&read_list(&list, md5)?)
                        .map_err(|e| self.bad(of, &format!("its list {} is none: {e}", list.display())))?;
                    for Listed { md5, relpath, isexec } in listed {
                        let named = pointers::named(&md5).filter(|_| normal(Path::new(&relpath)).is_some());
                        let Some((md5, false)) = named else {
                            return Err(self.bad(of, &format!("its list has {md5} at {relpath}")));
                        };
                        let path = if own { PathBuf::from(relpath) } else { base.join(relpath) };
                        let leaf = Leaf::Dvc { md5, exec: isexec };
                        whole &= self.put_new((of, &path), own, leaf, how, leaves);
                    }
                }
            }
        }
        Ok(whole)
    }

    /// Adds a file of DVC, unless it is missing and left out for that; says whether it is not.
    fn put_new(
        &mut self,
        (of, path): (&[u8], &Path),
        whole: bool,
        leaf: Leaf,
        how: Lenient,
        leaves: &mut Leaves,
    ) -> bool {
        let path = path.as_os_str().as_bytes();
        let Some(path) = (if whole { Some(path.to_vec()) } else { self.strip(path) }) else { return true };
        if how.files && self.places.find(&leaf).is_none() {
            if how.noted {
                self.skipped.note(format!("{} of {}", name_of(&leaf), lossy(of)));
            }
            return false;
        }
        leaves.entry(path).or_insert(leaf);
        true
    }

    fn put(&self, path: &[u8], leaf: Leaf, leaves: &mut Leaves) -> Option<Leaf> {
        self.strip(path).and_then(|path| leaves.insert(path, leaf))
    }

    /// The path in the dataset of one in the repository, if it is in the part that is imported.
    fn strip(&self, path: &[u8]) -> Option<Vec<u8>> {
        let Some(part) = self.path else { return Some(path.to_vec()) };
        let below = as_path(path).strip_prefix(part).ok()?;
        let below = if below.as_os_str().is_empty() { Path::new(part.file_name()?) } else { below };
        Some(below.as_os_str().as_bytes().to_vec())
    }

    /// The size of a file, which is told to be one of git-lfs here; notes it where it is missing.
    fn sized(&mut self, path: &[u8], leaf: Leaf) -> Result<(Leaf, u64)> {
        let mut pointer = None;
        let (leaf, size) = match leaf {
            Leaf::Blob { oid, exec } => match self.sizes.ask(&oid)? {
                size if size > LFS_MAX => return Ok((Leaf::Blob { oid, exec }, size)),
                own => match pointers::lfs(&self.small.bytes(&oid)?) {
                    None => return Ok((Leaf::Blob { oid, exec }, own)),
                    Some(Err(why)) => return Err(self.bad(path, why)),
                    Some(Ok((object, size))) => {
                        pointer = Some((Leaf::Blob { oid, exec }, own));
                        (Leaf::Lfs { oid: object, size, exec }, size)
                    }
                },
            },
            Leaf::Symlink(oid) => return Ok((Leaf::Symlink(oid), 0)),
            leaf => (leaf, 0),
        };
        // git-lfs keeps no object of what is empty.
        if matches!(&leaf, Leaf::Lfs { size: 0, .. }) {
            return Ok((leaf, 0));
        }
        match self.places.find(&leaf) {
            Some((_, size)) => Ok((leaf, size)),
            None => {
                let what = format!("{} of {}", name_of(&leaf), lossy(path));
                match pointer.filter(|_| self.skip_missing) {
                    Some(pointer) => {
                        self.skipped.note(what);
                        Ok(pointer)
                    }
                    None => {
                        self.missing.note(what);
                        Ok((leaf, size))
                    }
                }
            }
        }
    }

    fn bad(&self, path: &[u8], why: &str) -> Error {
        self.repository.failed(&format!("{}: {why}", lossy(path)))
    }
}

/// The name of the object that a leaf is.
fn name_of(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Dvc { md5, .. } => hex(md5),
        Leaf::Lfs { oid, .. } | Leaf::Blob { oid, .. } | Leaf::Symlink(oid) => oid.clone(),
    }
}

/// A path below the top of the repository, without `.` and `..`.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut all = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => all.push(name),
            Component::CurDir => {}
            Component::ParentDir if all.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(all).filter(|all| !all.as_os_str().is_empty())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
