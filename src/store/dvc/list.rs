//! Lists of directories' files, as plain files named by their MD5.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use md5::{Digest, Md5 as Hasher};

use crate::store::error::{Error, Result};
use crate::store::layout::{private_file, sync_dir};
use crate::store::plain;

use super::Md5;

/// Bytes read at a time.
const BLOCK: usize = 1 << 18;

/// A list that was told of, its bytes found to be right.
#[derive(Debug)]
pub struct DirList {
    file: File,
    path: PathBuf,
}

impl DirList {
    pub(super) fn open(path: &Path, md5: &Md5) -> Result<Option<DirList>> {
        let mut file = match plain::open(path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let (mut hasher, mut block) = (Hasher::new(), vec![0; BLOCK]);
        loop {
            let read = file.read(&mut block).map_err(|e| Error::io("read", path, e))?;
            if read == 0 {
                break;
            }
            hasher.update(&block[..read]);
        }
        match Md5::from(hasher.finalize()) == *md5 {
            true => Ok(Some(DirList { file, path: path.to_owned() })),
            false => Err(Error::Corrupt(format!("{} is not what its name says", path.display()))),
        }
    }

    /// Reads at `offset` into `out`; gives the number of bytes, fewer than asked for perhaps at the end.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < out.len() {
            let read = self.file.read_at(&mut out[done..], offset + done as u64);
            match read.map_err(|e| Error::io("read", &self.path, e))? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}

/// A list that is being written; gone again unless it is told of.
#[derive(Debug)]
pub struct NewList {
    out: BufWriter<File>,
    path: PathBuf,
    hasher: Hasher,
}

impl NewList {
    pub(super) fn begin(scratch: &Path) -> Result<NewList> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let path = scratch.join(format!("dvc-{}", LAST.fetch_add(1, Ordering::Relaxed)));
        let file = plain::open(&path, private_file().create(true).truncate(true));
        let file = file.map_err(|e| Error::io("make", &path, e))?;
        Ok(NewList { out: BufWriter::with_capacity(BLOCK, file), path, hasher: Hasher::new() })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Where the disk fails or is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Ends the list, durably; gives its MD5.
    ///
    /// # Errors
    /// As [`NewList::write`].
    pub fn finish(&mut self) -> Result<Md5> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|e| Error::io("write", &self.path, e))?;
        Ok(self.hasher.clone().finalize().into())
    }

    /// Puts a finished list where it belongs.
    pub(super) fn keep(mut self, place: impl FnOnce(&Md5) -> PathBuf) -> Result<()> {
        let to = place(&self.finish()?);
        fs::rename(&self.path, &to).map_err(|e| Error::io("write", &to, e))?;
        to.parent().map_or(Ok(()), sync_dir).map_err(|e| Error::io("write", &to, e))
    }
}

impl Drop for NewList {
    fn drop(&mut self) {
        // It is not there any more where it was kept.
        let _ = fs::remove_file(&self.path);
    }
}
