//! The pack files of a store: which there are, and a bounded set kept open for reading.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::header::{PACK_HEADER, decode_pack_header};
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::plain;

/// Most packs kept open for reading.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

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

/// What a pack's header says of it; `None` where it says nothing.
pub fn read_pack_header(file: &File) -> io::Result<Option<(StoreId, u32)>> {
    let mut header = [0; PACK_HEADER as usize];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(decode_pack_header(&header)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opened packs of a directory.
#[derive(Debug)]
pub struct Packs {
    dir: PathBuf,
    store: StoreId,
    open: Mutex<LruCache<u32, Arc<File>>>,
}

impl Packs {
    /// The packs of a store, which are in `dir`.
    pub fn new(dir: PathBuf, store: StoreId) -> Packs {
        Packs { dir, store, open: Mutex::new(LruCache::new(OPEN_MAX)) }
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
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is another pack, by its header. One whose header is damaged is taken
    /// for what its name says: each record has a checksum of its own.
    pub fn reopen(&self, number: u32) -> Result<File> {
        let file = self.open_any(number)?;
        let path = self.path(number);
        match read_pack_header(&file).map_err(|e| Error::io("read", &path, e))? {
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
    pub fn open_any(&self, number: u32) -> Result<File> {
        let path = self.path(number);
        plain::open(&path, OpenOptions::new().read(true)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing(format!("pack {}", path.display())),
            _ => Error::io("open", &path, e),
        })
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
