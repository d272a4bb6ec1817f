//! The simple model: an arena of files, directories and symbolic links.

use std::collections::BTreeMap;

/// Names used in both, one of them with an `@`.
pub const NAMES: [&str; 4] = ["a", "b", "c", "@types"];

/// A path of one or two names.
pub type Target = (Option<usize>, usize);

/// A file, directory or symbolic link.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    File { data: Vec<u8>, mode: u32 },
    Dir(BTreeMap<String, usize>),
    Symlink(String),
}

/// What a tree shows: for each path what is there, and the number of names it has (0 for directories).
pub type Shown = BTreeMap<String, (Item, usize)>;

/// A tree; its root is item 0.
#[derive(Clone, Debug)]
pub struct Model {
    items: BTreeMap<usize, Item>,
    next: usize,
}

impl Model {
    pub fn new() -> Model {
        Model { items: BTreeMap::from([(0, Item::Dir(BTreeMap::new()))]), next: 1 }
    }

    fn dir(&mut self, id: usize) -> Result<&mut BTreeMap<String, usize>, i32> {
        match self.items.get_mut(&id) {
            Some(Item::Dir(entries)) => Ok(entries),
            _ => Err(libc::ENOTDIR),
        }
    }

    fn is_dir(&self, id: usize) -> bool {
        matches!(self.items[&id], Item::Dir(_))
    }

    /// The directory of a target, and the name in it.
    fn parent(&mut self, at: Target) -> Result<(usize, String), i32> {
        let dir = match at.0 {
            None => 0,
            Some(first) => *self.dir(0)?.get(NAMES[first]).ok_or(libc::ENOENT)?,
        };
        self.dir(dir)?;
        Ok((dir, NAMES[at.1].to_owned()))
    }

    fn find(&mut self, at: Target) -> Result<usize, i32> {
        let (dir, name) = self.parent(at)?;
        self.dir(dir)?.get(&name).copied().ok_or(libc::ENOENT)
    }

    fn remove(&mut self, at: Target) -> Result<(), i32> {
        let (dir, name) = self.parent(at)?;
        self.dir(dir)?.remove(&name).map(drop).ok_or(libc::ENOENT)
    }

    fn add(&mut self, at: Target, item: Item) -> Result<(), i32> {
        let (dir, name) = self.parent(at)?;
        if self.dir(dir)?.contains_key(&name) {
            return Err(libc::EEXIST);
        }
        let id = self.next;
        self.next += 1;
        self.items.insert(id, item);
        self.dir(dir)?.insert(name, id);
        Ok(())
    }

    /// The bytes of a file that is there.
    pub fn file(&mut self, at: Target) -> Result<&mut Vec<u8>, i32> {
        let id = self.find(at)?;
        match self.items.get_mut(&id) {
            Some(Item::File { data, .. }) => Ok(data),
            Some(Item::Dir(_)) => Err(libc::EISDIR),
            _ => Err(libc::EINVAL),
        }
    }

    fn file_or_new(&mut self, at: Target) -> Result<&mut Vec<u8>, i32> {
        if self.find(at) == Err(libc::ENOENT) {
            self.add(at, Item::File { data: Vec::new(), mode: 0o644 })?;
        }
        self.file(at)
    }

    pub fn write(&mut self, at: Target, offset: usize, block: &[u8]) -> Result<(), i32> {
        let data = self.file_or_new(at)?;
        let end = offset + block.len();
        if !block.is_empty() {
            data.resize(data.len().max(end), 0);
            data[offset..end].copy_from_slice(block);
        }
        Ok(())
    }

    pub fn truncate(&mut self, at: Target, size: usize) -> Result<(), i32> {
        self.file(at).map(|data| data.resize(size, 0))
    }

    pub fn mkdir(&mut self, at: Target) -> Result<(), i32> {
        self.add(at, Item::Dir(BTreeMap::new()))
    }

    pub fn symlink(&mut self, at: Target, target: &str) -> Result<(), i32> {
        self.add(at, Item::Symlink(target.to_owned()))
    }

    pub fn rmdir(&mut self, at: Target) -> Result<(), i32> {
        let id = self.find(at)?;
        match self.dir(id)?.is_empty() {
            true => self.remove(at),
            false => Err(libc::ENOTEMPTY),
        }
    }

    pub fn unlink(&mut self, at: Target) -> Result<(), i32> {
        let id = self.find(at)?;
        if self.is_dir(id) { Err(libc::EISDIR) } else { self.remove(at) }
    }

    pub fn link(&mut self, from: Target, to: Target) -> Result<(), i32> {
        let id = self.find(from)?;
        let (dir, name) = self.parent(to)?;
        if self.dir(dir)?.contains_key(&name) {
            return Err(libc::EEXIST);
        }
        if self.is_dir(id) {
            return Err(libc::EPERM);
        }
        self.dir(dir)?.insert(name, id);
        Ok(())
    }

    pub fn chmod(&mut self, at: Target, mode: u32) -> Result<(), i32> {
        let id = self.find(at)?;
        match self.items.get_mut(&id) {
            Some(Item::File { mode: current, .. }) => {
                *current = mode;
                Ok(())
            }
            _ => Err(libc::EINVAL),
        }
    }

    pub fn copy(&mut self, from: Target, to: Target) -> Result<(), i32> {
        let data = self.file(from)?.clone();
        self.write(to, 0, &data)
    }

    /// `mode`: 0 replaces, 1 does not, 2 exchanges.
    pub fn rename(&mut self, from: Target, to: Target, mode: u8) -> Result<(), i32> {
        let (dir, name) = self.parent(from)?;
        let source = *self.dir(dir)?.get(&name).ok_or(libc::ENOENT)?;
        let (new_dir, new_name) = self.parent(to)?;
        let target = self.dir(new_dir)?.get(&new_name).copied();
        if self.is_dir(source) && new_dir == source {
            return Err(libc::EINVAL);
        }
        match (mode, target) {
            (2, None) => return Err(libc::ENOENT),
            (2, Some(target)) if self.is_dir(target) && dir == target => return Err(libc::EINVAL),
            (2, Some(target)) => {
                self.dir(dir)?.insert(name, target);
                self.dir(new_dir)?.insert(new_name, source);
                return Ok(());
            }
            (1, Some(_)) => return Err(libc::EEXIST),
            (_, Some(target)) if target == source => return Ok(()),
            (_, Some(target)) => match (self.is_dir(source), self.is_dir(target)) {
                (true, false) => return Err(libc::ENOTDIR),
                (false, true) => return Err(libc::EISDIR),
                (true, true) if !self.dir(target)?.is_empty() => return Err(libc::ENOTEMPTY),
                _ => {}
            },
            (_, None) => {}
        }
        self.dir(dir)?.remove(&name);
        self.dir(new_dir)?.insert(new_name, source);
        Ok(())
    }

    /// Whether anything is another than in `before`, be it only that two equal directories swapped names.
    pub fn differs(&self, before: &Model) -> bool {
        let reachable = |model: &Model| {
            let mut items = BTreeMap::new();
            model.walk(0, "", &mut |path, id| drop(items.insert(path, (id, model.items[&id].clone()))));
            items
        };
        reachable(self) != reachable(before)
    }

    pub fn shown(&self) -> Shown {
        let mut names = BTreeMap::<usize, usize>::new();
        let mut paths = Vec::new();
        self.walk(0, "", &mut |path, id| {
            *names.entry(id).or_default() += 1;
            paths.push((path, id));
        });
        let show = |(path, id): (String, usize)| match &self.items[&id] {
            Item::Dir(_) => (path, (Item::Dir(BTreeMap::new()), 0)),
            other => (path, (other.clone(), names[&id])),
        };
        paths.into_iter().map(show).collect()
    }

    fn walk(&self, id: usize, path: &str, each: &mut dyn FnMut(String, usize)) {
        if let Item::Dir(entries) = &self.items[&id] {
            for (name, &child) in entries {
                let path = format!("{path}/{name}");
                each(path.clone(), child);
                self.walk(child, &path, each);
            }
        }
    }
}
