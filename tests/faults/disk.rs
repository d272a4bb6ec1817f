//! A model of a disk on which power may fail: what of each file and directory is durable, and what was
//! done since to it.
//!
//! After a sync of a file that failed, what it was to write is in the system's cache and nowhere else: no
//! later sync makes it durable, unless the page is written to again.
//!
//! Only fsync(2) and fdatasync(2) make anything durable: of a file, its bytes and size; of a directory,
//! the names in it. A name is durable by a sync of its directory alone, not by one of what it names.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::trace::Event;

/// A file or directory.
pub type Id = usize;

/// What was done to a file.
#[derive(Clone, Debug)]
pub enum FileOp {
    Write(u64, Vec<u8>),
    Size(u64),
}

/// What was done to a directory.
#[derive(Clone, Debug)]
pub enum DirOp {
    Set(String, Id),
    Remove(String),
    /// From here in this directory, to there in it. Both or neither.
    Rename(String, String, Id),
}

const PAGE: usize = 4096;

/// Names in a directory.
pub type Names = BTreeMap<String, Id>;

/// A file: as it is durably, and what was done since.
#[derive(Clone, Debug, Default)]
pub struct FileState {
    pub durable: Vec<u8>,
    pub ops: Vec<FileOp>,
    /// What the system has of it, where that is more than both.
    pub cached: Option<Vec<u8>>,
}

/// A directory: as it is durably, and what was done since.
#[derive(Clone, Debug, Default)]
pub struct DirState {
    pub durable: Names,
    pub ops: Vec<DirOp>,
}

#[derive(Clone, Debug)]
pub enum Object {
    File(FileState),
    Dir(DirState),
}

/// The disk. Its root is object 0.
#[derive(Clone, Debug)]
pub struct Disk {
    pub objects: Vec<Object>,
    handles: HashMap<u32, Id>,
    /// Syncs under way: how much had been done to the object when each began.
    syncs: HashMap<u32, usize>,
    /// How much of what was done to each object has been synced.
    done: HashMap<Id, usize>,
}

/// Applies an operation to the bytes of a file.
pub fn apply(op: &FileOp, bytes: &mut Vec<u8>) {
    match op {
        FileOp::Size(size) => bytes.resize(*size as usize, 0),
        FileOp::Write(at, new) => {
            let range = range_of(*at, new);
            bytes.resize(bytes.len().max(range.end), 0);
            bytes[range].copy_from_slice(new);
        }
    }
}

pub fn range_of(at: u64, bytes: &[u8]) -> Range<usize> {
    at as usize..at as usize + bytes.len()
}

impl DirOp {
    /// Applies it to the names of a directory.
    pub fn apply(&self, names: &mut Names) {
        match self {
            DirOp::Set(name, id) => drop(names.insert(name.clone(), *id)),
            DirOp::Remove(name) => drop(names.remove(name)),
            DirOp::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

impl FileState {
    /// The file with all that was done to it, as far as it may ever be durable.
    pub fn written(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.ops.iter().for_each(|op| apply(op, &mut bytes));
        bytes
    }

    /// The file as it is read while the machine lives.
    pub fn now(&self) -> Vec<u8> {
        self.cached.clone().unwrap_or_else(|| self.written())
    }

    fn take(&mut self, mut op: FileOp) {
        if let Some(cached) = &mut self.cached {
            apply(&op, cached);
            if let FileOp::Write(at, new) = &mut op {
                // The whole page is to be written then.
                let range = range_of(*at, new);
                let pages = range.start / PAGE * PAGE..(range.end.div_ceil(PAGE) * PAGE).min(cached.len());
                (*at, *new) = (pages.start as u64, cached[pages].to_vec());
            }
        }
        self.ops.push(op);
    }
}

impl DirState {
    /// The names with all that was done to them.
    pub fn now(&self) -> Names {
        let mut names = self.durable.clone();
        self.ops.iter().for_each(|op| op.apply(&mut names));
        names
    }
}

impl Disk {
    /// An empty one.
    pub fn new() -> Disk {
        let root = Object::Dir(DirState::default());
        Disk { objects: vec![root], handles: HashMap::new(), syncs: HashMap::new(), done: HashMap::new() }
    }

    /// Adds what is durable in a directory from the start: a file's bytes, or a directory for `None`.
    pub fn put(&mut self, path: &str, bytes: Option<Vec<u8>>) {
        let object = match bytes {
            Some(durable) => Object::File(FileState { durable, ..FileState::default() }),
            None => Object::Dir(DirState::default()),
        };
        let id = self.add(object);
        let (dir, name) = self.place(path);
        self.dir(dir).durable.insert(name, id);
    }

    /// Brings it to after an event; says whether that left more or less to be lost than before.
    pub fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Open { handle, flags, path } => return self.open(*handle, *flags, path),
            Event::Write { handle, at, bytes } => {
                self.file(self.handles[handle]).take(FileOp::Write(*at, bytes.clone()));
            }
            Event::Size { handle, size } => self.file(self.handles[handle]).take(FileOp::Size(*size)),
            Event::Sync { handle } => {
                let id = self.handles[handle];
                let waiting = match &self.objects[id] {
                    Object::File(file) => file.ops.len(),
                    Object::Dir(dir) => dir.ops.len(),
                };
                let done = self.done.get(&id).copied().unwrap_or(0);
                assert!(self.syncs.insert(*handle, done + waiting).is_none(), "one at a time");
                return false;
            }
            Event::Synced { handle, error } => return self.synced(*handle, *error),
            Event::Rename { from, to } => {
                let ((dir, from), (to_dir, to)) = (self.place(from), self.place(to));
                assert_eq!(dir, to_dir, "nothing is renamed between directories");
                let id = self.dir(dir).now()[&from];
                self.dir(dir).ops.push(DirOp::Rename(from, to, id));
            }
            Event::Unlink { path } | Event::Rmdir { path } => {
                let (dir, name) = self.place(path);
                // Sockets are not recorded.
                if !self.dir(dir).now().contains_key(&name) {
                    return false;
                }
                self.dir(dir).ops.push(DirOp::Remove(name));
            }
            Event::Mkdir { path } => {
                let id = self.add(Object::Dir(DirState::default()));
                let (dir, name) = self.place(path);
                self.dir(dir).ops.push(DirOp::Set(name, id));
            }
            Event::Mark(_) => return false,
        }
        true
    }

    fn open(&mut self, handle: u32, flags: i32, path: &str) -> bool {
        let (id, new) = match self.find(path) {
            Some(id) => (id, false),
            None => {
                assert!(flags & libc::O_CREAT != 0, "{path} is opened and was never made");
                let id = self.add(Object::File(FileState::default()));
                let (dir, name) = self.place(path);
                self.dir(dir).ops.push(DirOp::Set(name, id));
                (id, true)
            }
        };
        self.handles.insert(handle, id);
        if !new && flags & libc::O_TRUNC != 0 {
            self.file(id).take(FileOp::Size(0));
            return true;
        }
        new
    }

    fn synced(&mut self, handle: u32, error: i32) -> bool {
        let id = self.handles[&handle];
        let until = self.syncs.remove(&handle).expect("a sync that ends began");
        let done = self.done.entry(id).or_default();
        // Of two at once, the other may have been first.
        let count = until.saturating_sub(*done);
        *done += count;
        match &mut self.objects[id] {
            Object::File(file) if error != 0 => {
                file.cached = Some(file.now());
                file.ops.drain(..count);
            }
            Object::File(file) => file.ops.drain(..count).for_each(|op| apply(&op, &mut file.durable)),
            Object::Dir(_) if error != 0 => *done -= count,
            Object::Dir(dir) => dir.ops.drain(..count).for_each(|op| op.apply(&mut dir.durable)),
        }
        count > 0
    }

    /// The disk as the next process finds it: the one before is gone.
    pub fn left(mut self) -> Disk {
        self.handles.clear();
        self.syncs.clear();
        self
    }

    /// Takes back the second half of the last write to a file.
    pub fn tear(&mut self, id: Id) {
        if let Some(FileOp::Write(_, new)) = self.file(id).ops.last_mut() {
            new.truncate(new.len() / 2);
        }
    }

    /// The file an event wrote to, if it is a write.
    pub fn written(&self, event: &Event) -> Option<Id> {
        match event {
            Event::Write { handle, .. } => Some(self.handles[handle]),
            _ => None,
        }
    }

    fn add(&mut self, object: Object) -> Id {
        self.objects.push(object);
        self.objects.len() - 1
    }

    /// What a path names now.
    fn find(&self, path: &str) -> Option<Id> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |id, name| match &self.objects[id] {
            Object::Dir(dir) => dir.now().get(name).copied(),
            Object::File(_) => None,
        })
    }

    /// The directory and the name a path ends in.
    fn place(&self, path: &str) -> (Id, String) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(dir).unwrap_or_else(|| panic!("the directory of {path} is there"));
        (dir, name.to_owned())
    }

    fn dir(&mut self, id: Id) -> &mut DirState {
        match &mut self.objects[id] {
            Object::Dir(dir) => dir,
            Object::File(_) => panic!("object {id} is a file"),
        }
    }

    fn file(&mut self, id: Id) -> &mut FileState {
        match &mut self.objects[id] {
            Object::File(file) => file,
            Object::Dir(_) => panic!("object {id} is a directory"),
        }
    }
}
