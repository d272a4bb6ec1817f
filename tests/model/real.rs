//! The real thing, driven as the kernel would.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use stratafs::daemon::{self, Failure, Request, Service, Sink};
use stratafs::dataset::{Caller, Dataset, Error, RenameMode, Repo, Result, SetAttr};
use stratafs::model::{DatasetName, Kind, Rules};
use stratafs::view::{Entry, FileSystem, NodeId, Scope};

use super::simple::{Item, NAMES, Shown, Target};

pub const BY: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// Takes an answer that nobody looks at.
struct Ignored;

impl Sink for Ignored {
    fn item(&mut self, _: daemon::Item) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> std::result::Result<(), Failure> {
        Ok(())
    }
}

pub struct Real {
    repo: Arc<Repo>,
    fs: FileSystem,
    root: NodeId,
}

impl Real {
    pub fn open(store: &Path) -> Real {
        let repo = Arc::new(Repo::open(store, false).unwrap());
        let fs = FileSystem::new(repo.clone(), Scope::Store, false);
        let root = match fs.lookup(Caller::default(), NodeId::ROOT, b"ds") {
            Ok(entry) => entry.node,
            Err(_) => fs.mkdir(BY, NodeId::ROOT, b"ds", 0o755).unwrap().node,
        };
        Real { repo, fs, root }
    }

    /// Closes the store as an unmount does.
    pub fn close(self) {
        self.repo.finish().unwrap();
    }

    pub fn dataset(&self) -> Arc<Dataset> {
        self.repo.dataset("ds").unwrap()
    }

    pub fn versions(&self) -> u64 {
        self.dataset().newest().0
    }

    /// Drops all versions but so many of the newest that are left.
    pub fn prune(&self, last: u64) {
        let dataset = DatasetName::new(b"ds").unwrap();
        let rules = Rules { last, ..Rules::default() };
        self.ask(Request::Prune { dataset, rules, dry_run: false, force: true, message: None });
    }

    /// Gives back all that nothing needs.
    pub fn collect(&self) {
        self.ask(Request::Gc { all: true, dry_run: false });
    }

    fn ask(&self, request: Request) {
        let done = Service::new(self.repo.clone(), None).execute(BY, request, &mut Ignored);
        assert!(matches!(done, Ok(0)), "{done:?}");
    }

    pub fn has_version(&self, number: u64) -> bool {
        self.fs.lookup(Caller::default(), self.root, format!("@v{number}").as_bytes()).is_ok()
    }

    fn parent(&self, at: Target) -> Result<(NodeId, &'static [u8])> {
        let name = NAMES[at.1].as_bytes();
        match at.0 {
            None => Ok((self.root, name)),
            Some(first) => {
                let dir = self.fs.lookup(Caller::default(), self.root, NAMES[first].as_bytes())?;
                match dir.attr.kind {
                    Kind::Dir => Ok((dir.node, name)),
                    _ => Err(Error::NotADirectory(NAMES[first].into())),
                }
            }
        }
    }

    fn find(&self, at: Target) -> Result<Entry> {
        let (dir, name) = self.parent(at)?;
        self.fs.lookup(Caller::default(), dir, name)
    }

    /// A file that is there; the kernel lets nothing else through to open(2) and truncate(2).
    fn find_file(&self, at: Target) -> Result<NodeId> {
        let entry = self.find(at)?;
        match entry.attr.kind {
            Kind::File => Ok(entry.node),
            Kind::Dir => Err(Error::IsADirectory("it".into())),
            _ => Err(Error::Invalid("not a file".into())),
        }
    }

    /// Opens a file for writing, making it if need be, and closes it after `work`.
    fn with_file(&self, at: Target, flags: i32, work: impl FnOnce(u64) -> Result<()>) -> Result<()> {
        let (dir, name) = self.parent(at)?;
        let opened = match self.find_file(at) {
            Ok(node) => self.fs.open(BY, node, libc::O_RDWR | flags)?,
            Err(Error::NotFound(_)) => self.fs.create(BY, dir, name, 0o644, libc::O_RDWR | flags)?.1,
            Err(error) => return Err(error),
        };
        let done = work(opened.fh).and_then(|()| self.fs.flush(BY, opened.fh));
        self.fs.release(BY, opened.fh);
        done
    }

    pub fn write(&self, at: Target, offset: usize, block: &[u8]) -> Result<()> {
        self.with_file(at, 0, |fh| self.fs.write(BY, fh, offset as u64, block, false, false))
    }

    /// Empties a file and writes the same bytes again, in parts.
    pub fn rewrite(&self, at: Target) -> Result<()> {
        let data = self.read(self.find_file(at)?);
        self.with_file(at, libc::O_TRUNC, |fh| {
            data.chunks(50_000)
                .enumerate()
                .try_for_each(|(i, part)| self.fs.write(BY, fh, i as u64 * 50_000, part, false, false))
        })
    }

    pub fn truncate(&self, at: Target, size: usize) -> Result<()> {
        self.fs.truncate(BY, self.find_file(at)?, None, size as u64)
    }

    pub fn mkdir(&self, at: Target) -> Result<()> {
        let (dir, name) = self.parent(at)?;
        self.fs.mkdir(BY, dir, name, 0o755).map(drop)
    }

    pub fn rmdir(&self, at: Target) -> Result<()> {
        let (dir, name) = self.parent(at)?;
        self.fs.rmdir(BY, dir, name)
    }

    pub fn unlink(&self, at: Target) -> Result<()> {
        let (dir, name) = self.parent(at)?;
        self.fs.unlink(BY, dir, name)
    }

    pub fn symlink(&self, at: Target, target: &str) -> Result<()> {
        let (dir, name) = self.parent(at)?;
        self.fs.symlink(BY, dir, name, target.as_bytes()).map(drop)
    }

    pub fn link(&self, from: Target, to: Target) -> Result<()> {
        let node = self.find(from)?.node;
        let (dir, name) = self.parent(to)?;
        self.fs.link(BY, node, dir, name).map(drop)
    }

    pub fn rename(&self, from: Target, to: Target, mode: u8) -> Result<()> {
        let mode = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange][mode as usize];
        self.find(from)?;
        self.fs.rename(BY, self.parent(from)?, self.parent(to)?, mode)
    }

    pub fn chmod(&self, at: Target, mode: u32) -> Result<()> {
        let entry = self.find(at)?;
        if entry.attr.kind != Kind::File {
            return Err(Error::Invalid("not a file".into()));
        }
        self.fs.set_attr(BY, entry.node, &SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        // Attributes wait for the next cut, or for somebody to look.
        self.dataset().seal()
    }

    /// Copies by taking over chunks, in several calls.
    pub fn copy(&self, from: Target, to: Target) -> Result<()> {
        let source = self.fs.open(BY, self.find_file(from)?, libc::O_RDONLY)?;
        let size = self.find(from)?.attr.size;
        let copied = self.with_file(to, 0, |fh| {
            let mut at = 0;
            while at < size {
                at += self.fs.copy_range(BY, (source.fh, at), (fh, at), 90_000.min(size - at))?;
            }
            Ok(())
        });
        self.fs.release(BY, source.fh);
        copied
    }

    fn read(&self, node: NodeId) -> Vec<u8> {
        let opened = self.fs.open(BY, node, libc::O_RDONLY).unwrap();
        let mut data = vec![0; 1 << 20];
        let len = self.fs.read(node, opened.fh, 0, &mut data).unwrap();
        self.fs.release(BY, opened.fh);
        data.truncate(len);
        data
    }

    /// What the live tree shows.
    pub fn live(&self) -> Shown {
        let mut shown = Shown::new();
        self.walk(self.root, "", &mut shown);
        shown
    }

    /// What a version shows.
    pub fn version(&self, number: u64) -> Shown {
        let root = self.fs.lookup(Caller::default(), self.root, format!("@v{number}").as_bytes()).unwrap();
        let mut shown = Shown::new();
        self.walk(root.node, "", &mut shown);
        shown
    }

    /// Lists a directory a few entries at a time, as one that does not fit into a reply.
    fn list(&self, dir: NodeId) -> Vec<(String, Entry)> {
        let (fh, _) = self.fs.opendir(Caller::default(), dir).unwrap();
        let mut entries = Vec::new();
        let mut position = 0;
        loop {
            let (before, from) = (entries.len(), position);
            let mut take = |e: stratafs::view::ListEntry<'_>| {
                if entries.len() - before == 3 {
                    return false;
                }
                position = e.position;
                entries.push((String::from_utf8(e.name.to_vec()).unwrap(), e.entry));
                true
            };
            self.fs.list(dir, fh, from, &mut take).unwrap();
            if entries.len() == before {
                break;
            }
        }
        self.fs.releasedir(fh);
        entries.retain(|(name, _)| name != "." && name != "..");
        entries
    }

    fn walk(&self, dir: NodeId, path: &str, shown: &mut Shown) {
        for (name, entry) in self.list(dir) {
            assert_eq!(
                self.fs.lookup(Caller::default(), dir, name.as_bytes()).unwrap().node,
                entry.node,
                "{path}/{name}"
            );
            let path = format!("{path}/{name}");
            let (attr, names) = (&entry.attr, entry.attr.nlink as usize);
            let item = match attr.kind {
                Kind::Dir => (Item::Dir(BTreeMap::new()), 0),
                Kind::Symlink => {
                    let target = self.fs.readlink(entry.node).unwrap();
                    (Item::Symlink(String::from_utf8(target).unwrap()), names)
                }
                _ => {
                    let data = self.read(entry.node);
                    assert_eq!(data.len() as u64, attr.size, "{path}");
                    (Item::File { data, mode: attr.mode }, names)
                }
            };
            assert!(shown.insert(path.clone(), item).is_none(), "{path} was listed twice");
            if attr.kind == Kind::Dir {
                self.walk(entry.node, &path, shown);
            }
        }
    }
}
