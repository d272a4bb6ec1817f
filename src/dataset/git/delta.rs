//! What a commit changes, with the objects that its pointers stand for in their place.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use std::os::unix::ffi::OsStrExt;

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

/// Finds what commits change.
pub(super) struct Deltas<'a> {
    pub repository: &'a Repository,
    pub places: &'a Places,
    /// The part of the repository that is imported.
    pub path: Option<&'a Path>,
    pub sizes: Cat,
    pub small: Cat,
    /// What is not at hand: that objects of git-lfs and DVC are missing.
    pub missing: HashSet<String>,
    /// The first of these.
    pub first_missing: Option<String>,
    /// What was left out, and why.
    pub notices: Vec<String>,
}

impl Deltas<'_> {
    /// What `after` changes of `before`, by path.
    pub fn between(&mut self, before: Option<&str>, after: &str) -> Result<Vec<Change>> {
        let (mut old, mut new) = (Leaves::new(), Leaves::new());
        for difference in self.repository.differences(before, after, self.path)? {
            let known = self.notices.len();
            if let Some(before) = before {
                self.leaves(before, &difference.path, &difference.before, &mut old)?;
            }
            // What was left out before was told of then.
            self.notices.truncate(known);
            self.leaves(after, &difference.path, &difference.after, &mut new)?;
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
        Ok(changes)
    }

    /// Adds what a path of a commit stands for.
    fn leaves(
        &mut self,
        commit: &str,
        path: &[u8],
        (mode, oid): &(u32, String),
        leaves: &mut Leaves,
    ) -> Result<()> {
        match mode {
            0 => {}
            0o160_000 => self.notices.push(format!("{} is a submodule: skipped", lossy(path))),
            0o120_000 => drop(self.put(path, Leaf::Symlink(oid.clone()), leaves)),
            _ if path.ends_with(b".dvc") => {
                let bytes = self.pointer(path, oid)?;
                let (wdir, outs) = pointers::dvc(&bytes).map_err(|why| self.bad(path, &why))?;
                self.outs((commit, path), wdir.as_deref(), outs, leaves)?;
            }
            _ => {
                if as_path(path).file_name().is_some_and(|name| name == "dvc.lock") {
                    let bytes = self.pointer(path, oid)?;
                    let outs = pointers::lock(&bytes).map_err(|why| self.bad(path, &why))?;
                    self.outs((commit, path), None, outs, leaves)?;
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

    /// Adds what a pointer of DVC stands for, but for what git has itself at that path, as it has metrics.
    fn outs(
        &mut self,
        (commit, of): (&str, &[u8]),
        wdir: Option<&str>,
        outs: Vec<Out>,
        leaves: &mut Leaves,
    ) -> Result<()> {
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
                    self.put_new(path, own, leaf, leaves);
                }
                (md5, true) => {
                    let Some(list) = self.places.find_list(&hex(&md5)) else {
                        self.miss(format!("{}.dir of {}", hex(&md5), lossy(of)));
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
                        self.put_new(&path, own, Leaf::Dvc { md5, exec: isexec }, leaves);
                    }
                }
            }
        }
        Ok(())
    }

    fn put_new(&self, path: &Path, whole: bool, leaf: Leaf, leaves: &mut Leaves) {
        let path = path.as_os_str().as_bytes();
        let path = if whole { Some(path.to_vec()) } else { self.strip(path) };
        path.map(|path| leaves.entry(path).or_insert(leaf));
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
        let (leaf, size) = match leaf {
            Leaf::Blob { oid, exec } => match self.sizes.ask(&oid)? {
                size if size > LFS_MAX => return Ok((Leaf::Blob { oid, exec }, size)),
                size => match pointers::lfs(&self.small.bytes(&oid)?) {
                    None => return Ok((Leaf::Blob { oid, exec }, size)),
                    Some(Err(why)) => return Err(self.bad(path, why)),
                    Some(Ok((oid, size))) => (Leaf::Lfs { oid, size, exec }, size),
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
                let name = match &leaf {
                    Leaf::Lfs { oid, .. } => oid.clone(),
                    Leaf::Dvc { md5, .. } => hex(md5),
                    Leaf::Blob { oid, .. } | Leaf::Symlink(oid) => oid.clone(),
                };
                self.miss(format!("{name} of {}", lossy(path)));
                Ok((leaf, size))
            }
        }
    }

    fn miss(&mut self, what: String) {
        self.first_missing.get_or_insert_with(|| what.clone());
        self.missing.insert(what);
    }

    fn bad(&self, path: &[u8], why: &str) -> Error {
        self.repository.failed(&format!("{}: {why}", lossy(path)))
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
