//! The pack files of a store: which there are, and a bounded set kept open for reading.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::file::{FrameCache, PackFile};
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{private_file, sync_dir};
use crate::store::plain;

/// Most packs kept open for reading.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// Most decompressed frames kept: 32 MiB as a rule.
const FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Path of a pack within the directory of packs.
pub fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.pack"))
}

/// The number of the pack with this file name, if it is one of a pack.
pub fn pack_number(name: &OsStr) -> Option<u32> {
    let digits = name.to_str()?.strip_suffix(".pack")?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| plain)?;
    (format!("{number:08}") == digits && (1..u32::MAX).contains(&number)).then_some(number)
}

/// Opened packs of a directory.
#[derive(Debug)]
pub struct Packs {
    dir: PathBuf,
    store: StoreId,
    open: Mutex<LruCache<u32, Arc<PackFile>>>,
    frames: Arc<FrameCache>,
}

impl Packs {
    /// The packs of a store, which are in `dir`.
    pub fn new(dir: PathBuf, store: StoreId) -> Packs {
        let frames = Arc::new(FrameCache::new(FRAMES_MAX));
        Packs { dir, store, open: Mutex::new(LruCache::new(OPEN_MAX)), frames }
    }

    /// Path of a pack.
    pub fn path(&self, number: u32) -> PathBuf {
        pack_path(&self.dir, number)
    }

    /// Numbers of all packs there are, ascending.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        let list = || -> io::Result<Vec<u32>> {
            let names = fs::read_dir(&self.dir)?.map(|entry| entry.map(|e| e.file_name()));
            let number = |name: std::ffi::OsString| pack_number(&name);
            let mut numbers =
                names.filter_map(|n| n.map(number).transpose()).collect::<io::Result<Vec<_>>>()?;
            numbers.sort_unstable();
            Ok(numbers)
        };
        list().map_err(|e| Error::io("list", &self.dir, e))
    }

    /// Leaves nothing of packs that were being made in the place of others.
    pub fn clear_temporary(&self) -> Result<()> {
        let io = |e| Error::io("clear", &self.dir, e);
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.to_string_lossy().ends_with(".pack.new") {
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// A pack, open for reading.
    pub fn file(&self, number: u32) -> Result<Arc<PackFile>> {
        if let Some(file) = self.open.lock().get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.reopen(number)?);
        self.open.lock().put(number, Arc::clone(&file));
        Ok(file)
    }

    /// A pack, opened anew.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is another pack, by its header. One whose header is damaged is taken
    /// for what its name says: each record has a checksum of its own.
    pub fn reopen(&self, number: u32) -> Result<PackFile> {
        let file = self.open_any(number)?;
        let path = self.path(number);
        match file.whose().map_err(|e| Error::io("read", &path, e))? {
            Some((store, found)) if (store, found) != (self.store, number) => {
                let what = if store == self.store { "pack" } else { "a pack of another store, number" };
                Err(Error::Damaged {
                    what: format!("{} is {what} {found}", path.display()),
                    advice: "put the right file back, or let `strata fsck` see what can be done",
                })
            }
            _ => Ok(file),
        }
    }

    /// The file of a pack, whatever is in it.
    pub fn open_any(&self, number: u32) -> Result<PackFile> {
        let path = self.path(number);
        let open = || PackFile::new(plain::open(&path, OpenOptions::new().read(true))?, self.frames.clone());
        open().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing(format!("pack {}", path.display())),
            _ => Error::io("open", &path, e),
        })
    }

    /// Writes a file that is to take the place of a pack, durably; gives its path and what `write` gave.
    pub fn write_new<T>(
        &self,
        number: u32,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> Result<(PathBuf, T)> {
        let new = self.path(number).with_extension("pack.new");
        let io = |e| Error::io("write", &new, e);
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let mut file = private_file().read(true).create_new(true).open(&new).map_err(io)?;
        match write(&mut file).and_then(|out| file.sync_all().map(|()| out)) {
            Ok(out) => Ok((new, out)),
            Err(e) => {
                drop(fs::remove_file(&new));
                Err(io(e))
            }
        }
    }

    /// Puts a file that was written by [`Packs::write_new`] in the place of its pack; for good only once
    /// [`Packs::sync_names`] is done.
    pub fn replace(&self, number: u32, new: &Path) -> Result<()> {
        fs::rename(new, self.path(number)).map_err(|e| Error::io("rename", new, e))?;
        self.open.lock().pop(&number);
        Ok(())
    }

    /// Makes durable which packs there are.
    pub fn sync_names(&self) -> Result<()> {
        sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))
    }

    /// Forgets the open files: they may have been replaced.
    pub fn forget(&self) {
        self.open.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_a_name_is_a_pack() {
        let number = |name: &str| pack_number(OsStr::new(name));
        assert_eq!(number("00000042.pack"), Some(42));
        assert_eq!(number("4294967294.pack"), Some(u32::MAX - 1));
        for other in [
            "42.pack",
            "+0000042.pack",
            "000000042.pack",
            "00000000.pack",
            "00000042.pack.new",
            "4294967295.pack",
            "99999999999.pack",
            "x",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
