//! The pack files of a store: which there are, and a bounded set kept open for reading.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::store::error::{Error, Result};

/// Most packs kept open for reading.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// Path of a pack within the directory of packs.
pub fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.pack"))
}

/// Opened packs of a directory.
#[derive(Debug)]
pub struct Packs {
    dir: PathBuf,
    open: Mutex<LruCache<u32, Arc<File>>>,
}

impl Packs {
    /// The packs of `dir`.
    pub fn new(dir: PathBuf) -> Packs {
        Packs { dir, open: Mutex::new(LruCache::new(OPEN_MAX)) }
    }

    /// Path of a pack.
    pub fn path(&self, number: u32) -> PathBuf {
        pack_path(&self.dir, number)
    }

    /// Numbers of all packs there are, ascending.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        let list = || -> io::Result<Vec<u32>> {
            let names = fs::read_dir(&self.dir)?.map(|entry| entry.map(|e| e.file_name()));
            let number = |name: std::ffi::OsString| name.to_str()?.strip_suffix(".pack")?.parse().ok();
            let mut numbers =
                names.filter_map(|n| n.map(number).transpose()).collect::<io::Result<Vec<_>>>()?;
            numbers.sort_unstable();
            Ok(numbers)
        };
        list().map_err(|e| Error::io("list", &self.dir, e))
    }

    /// A pack, open for reading.
    pub fn file(&self, number: u32) -> Result<Arc<File>> {
        if let Some(file) = self.open.lock().get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.reopen(number)?);
        self.open.lock().put(number, Arc::clone(&file));
        Ok(file)
    }

    /// A pack, opened anew with a position of its own.
    pub fn reopen(&self, number: u32) -> Result<File> {
        let path = self.path(number);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing(format!("pack {}", path.display())),
            _ => Error::io("open", &path, e),
        })
    }
}
