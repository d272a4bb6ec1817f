//! Comparing a version with an ordinary directory, directory by directory.
//!
//! Files of the same size are hashed. Compared are names, kinds, contents, targets and permissions; times and
//! owners are not. What cannot be read outside is told, and nothing is said of it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::progress::Waiting;
use crate::daemon::object::parse_path;
use crate::daemon::protocol::{ChangeInfo, EntryInfo};
use crate::daemon::{Failure, Item, ObjectSpec, Request, Sink};
use crate::dataset::ChangeKind;
use crate::dataset::outside::{Reach, kind_of};
use crate::model::Kind;
use crate::store::content::from_file;
use crate::store::{Objects, content_id};

use super::contents::Contents;

/// What differs, and what could not be read.
#[derive(Default)]
pub struct Compared {
    /// The paths that differ, ordered.
    pub changes: Vec<ChangeInfo>,
    /// Why parts of the directory are left out.
    pub unread: Vec<Failure>,
}

/// What is outside at a path.
struct There {
    kind: Kind,
    size: u64,
    mode: u32,
    target: Option<Vec<u8>>,
}

/// Compares what an object is in its version with what is at `outside`; paths are told from there.
pub fn compare(
    contents: &Contents,
    object: &ObjectSpec,
    entry: Option<EntryInfo>,
    outside: &Path,
) -> Result<Compared, Failure> {
    let entry = entry.ok_or_else(|| {
        Failure::new(format!("{} is not there", super::side::Side::Object(object.clone()).name(b"")))
    })?;
    let meta = Reach::new(outside).and_then(|at| fs::metadata(at.path()));
    let meta = meta.map_err(|e| Failure::because(format!("cannot read {}", outside.display()), &e))?;
    let _waiting = Waiting::new("comparing");
    let mut walk = Walk {
        contents,
        object,
        outside,
        objects: Objects::hash_only(),
        compared: Compared::default(),
        removed: Vec::new(),
        todo: Vec::new(),
    };
    match (entry.kind, kind_of(&meta)) {
        (Kind::Dir, Kind::Dir) => walk.todo.push((Vec::new(), true, true)),
        (Kind::Dir, _) | (_, Kind::Dir) => {
            let (name, outside) =
                (super::side::Side::Object(object.clone()).name(b""), outside.display().to_string());
            let (dir, other) = if meta.is_dir() { (outside, name) } else { (name, outside) };
            return Err(Failure::new(format!("{dir} is a directory, and {other} is none")));
        }
        (_, kind) => {
            let there = There { kind, size: meta.len(), mode: meta.mode() & 0o7777, target: None };
            walk.at(Vec::new(), Some(entry), Some(there));
        }
    }
    while let Some((dir, old, new)) = walk.todo.pop() {
        walk.dir(&dir, old, new)?;
    }
    walk.pair();
    walk.compared.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.compared)
}

struct Walk<'a> {
    contents: &'a Contents,
    object: &'a ObjectSpec,
    outside: &'a Path,
    objects: Objects,
    compared: Compared,
    /// Of the changes that are files removed: which, and the id of their content.
    removed: Vec<(usize, String)>,
    /// Directories: their path, and on which sides they are.
    todo: Vec<(Vec<u8>, bool, bool)>,
}

impl Walk<'_> {
    fn path(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.outside.to_owned() } else { self.outside.join(OsStr::from_bytes(path)) }
    }

    fn dir(&mut self, dir: &[u8], old: bool, new: bool) -> Result<(), Failure> {
        let mut sides: BTreeMap<Vec<u8>, (Option<EntryInfo>, Option<There>)> = BTreeMap::new();
        if new {
            match list(&self.path(dir)) {
                Ok(listed) => {
                    for (name, there) in listed {
                        match there {
                            Ok(there) => sides.entry(name).or_default().1 = Some(there),
                            Err(failure) => self.compared.unread.push(failure),
                        }
                    }
                }
                // Nothing is known of what is in it: not that it is gone either.
                Err(failure) => {
                    self.compared.unread.push(failure);
                    return Ok(());
                }
            }
        }
        if old {
            let mut object = self.object.clone();
            object.path.extend(parse_path(OsStr::from_bytes(dir)).map_err(Failure::new)?);
            let mut listing = Listing(Vec::new());
            self.contents.run(Request::List(object), &mut listing)?;
            for entry in listing.0 {
                let name = entry.name.clone();
                sides.entry(name).or_default().0 = Some(entry);
            }
        }
        for (name, (before, after)) in sides {
            let path = if dir.is_empty() { name } else { [dir, b"/", &name].concat() };
            let is_dir = |kind: Option<Kind>| kind == Some(Kind::Dir);
            let dirs = (is_dir(before.as_ref().map(|b| b.kind)), is_dir(after.as_ref().map(|a| a.kind)));
            if dirs.0 || dirs.1 {
                self.todo.push((path.clone(), dirs.0, dirs.1));
            }
            self.at(path, before, after);
        }
        Ok(())
    }

    /// Compares what is at a path.
    fn at(&mut self, path: Vec<u8>, before: Option<EntryInfo>, after: Option<There>) {
        let change = match (&before, &after) {
            (None, None) => return,
            (Some(_), None) => ChangeKind::Removed,
            (None, Some(_)) => ChangeKind::Added,
            (Some(old), Some(new)) => match self.differ(&path, old, new) {
                Ok(true) => ChangeKind::Modified,
                Ok(false) if old.kind != Kind::Symlink && old.mode != new.mode => ChangeKind::Attributes,
                Ok(false) => return,
                Err(failure) => return self.compared.unread.push(failure),
            },
        };
        let (old, new) = (before.as_ref(), after.as_ref());
        if let (ChangeKind::Removed, Some(EntryInfo { kind: Kind::File, content: Some(id), .. })) =
            (change, old)
        {
            self.removed.push((self.compared.changes.len(), id.clone()));
        }
        let size = |kind: Kind, size: u64| if kind == Kind::Dir { 0 } else { size };
        let kind = new.map(|new| new.kind).or(old.map(|old| old.kind)).unwrap_or(Kind::File);
        self.compared.changes.push(ChangeInfo {
            path,
            from: None,
            kind,
            kind_before: old.map(|old| old.kind).filter(|before| *before != kind),
            change,
            attributes: Vec::new(),
            size_before: old.map(|old| size(old.kind, old.size)),
            size_after: new.map(|new| size(new.kind, new.size)),
            mode_before: old.map(|old| old.mode),
            mode_after: new.map(|new| new.mode),
        });
    }

    /// Whether two that are at the same path differ in more than their attributes.
    fn differ(&self, path: &[u8], old: &EntryInfo, new: &There) -> Result<bool, Failure> {
        if old.kind != new.kind {
            return Ok(true);
        }
        match old.kind {
            Kind::Symlink => Ok(old.target != new.target),
            Kind::File if old.size != new.size => Ok(true),
            Kind::File => Ok(old.content.as_ref() != Some(&self.hash(path)?)),
            _ => Ok(false),
        }
    }

    /// The id of the content of a file outside.
    fn hash(&self, path: &[u8]) -> Result<String, Failure> {
        let path = self.path(path);
        let file = Reach::new(&path).and_then(|at| File::open(at.path()));
        let file = file.map_err(|e| Failure::because(format!("cannot read {}", path.display()), &e))?;
        Ok(content_id(&from_file(&self.objects, &path, &file)?).to_hex())
    }

    /// Tells files that were removed and are there elsewhere as renamed. A file without bytes is like any other.
    fn pair(&mut self) {
        let mut by_size: HashMap<u64, Vec<(usize, String)>> = HashMap::new();
        for (at, id) in std::mem::take(&mut self.removed) {
            let size = self.compared.changes[at].size_before.unwrap_or(0);
            if size > 0 {
                by_size.entry(size).or_default().push((at, id));
            }
        }
        let mut gone = Vec::new();
        for at in 0..self.compared.changes.len() {
            let change = &self.compared.changes[at];
            let is_file = change.change == ChangeKind::Added && change.kind == Kind::File;
            let Some(alike) = change.size_after.filter(|_| is_file).and_then(|size| by_size.get_mut(&size))
            else {
                continue;
            };
            // One that cannot be read is told as added all the same: that it is.
            let Ok(id) = self.hash(&change.path) else { continue };
            let Some(found) = alike.iter().position(|(_, old)| *old == id) else { continue };
            let (old, _) = alike.remove(found);
            let was = self.compared.changes[old].clone();
            let change = &mut self.compared.changes[at];
            change.change = ChangeKind::Renamed;
            change.from = Some(was.path);
            (change.size_before, change.mode_before) = (was.size_before, was.mode_before);
            gone.push(old);
        }
        gone.sort_unstable();
        let mut at = 0;
        self.compared.changes.retain(|_| {
            at += 1;
            gone.binary_search(&(at - 1)).is_err()
        });
    }
}

/// An entry of a directory outside: its name, and what it is or why that is not known.
type Listed = (Vec<u8>, Result<There, Failure>);

/// The entries of a directory outside, those that cannot be inspected with the reason.
fn list(dir: &Path) -> Result<Vec<Listed>, Failure> {
    let failed =
        |path: &Path, e: &std::io::Error| Failure::because(format!("cannot read {}", path.display()), e);
    let at = Reach::new(dir).map_err(|e| failed(dir, &e))?;
    let mut listed = Vec::new();
    for entry in fs::read_dir(at.path()).map_err(|e| failed(dir, &e))? {
        let entry = entry.map_err(|e| failed(dir, &e))?;
        let path = dir.join(entry.file_name());
        let inspect = || -> std::io::Result<There> {
            let meta = entry.metadata()?;
            let kind = kind_of(&meta);
            let target = match kind {
                Kind::Symlink => {
                    let target = Reach::new(&path).and_then(|at| fs::read_link(at.path()))?;
                    Some(target.as_os_str().as_bytes().to_vec())
                }
                _ => None,
            };
            Ok(There { kind, size: meta.len(), mode: meta.mode() & 0o7777, target })
        };
        let there = inspect().map_err(|e| failed(&path, &e));
        listed.push((entry.file_name().as_bytes().to_vec(), there));
    }
    Ok(listed)
}

/// The entries of a directory of a version.
struct Listing(Vec<EntryInfo>);

impl Sink for Listing {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        if let Item::Entry(entry) = item {
            self.0.push(entry);
        }
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}
