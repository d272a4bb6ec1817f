//! The scratch file of a file being written: bytes that would take too much memory.
//!
//! It has no name, so it is gone with the process. It is made at the first write, and bytes are at the
//! offsets they have in the file they belong to; holes cost nothing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Result};

/// A nameless file in a given directory, or none yet.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    file: Option<File>,
}

impl Scratch {
    /// Makes nothing yet.
    pub fn new(dir: &Path) -> Scratch {
        Scratch { dir: dir.to_owned(), file: None }
    }

    /// The directory it is (or would be) in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(unnamed(&self.dir)?),
        };
        file.write_all_at(bytes, offset)
            .map_err(|error| Error::io("write a scratch file in", &self.dir, error))
    }

    /// Fills `out` with what was written at `offset`.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match &self.file {
            Some(file) => file
                .read_exact_at(out, offset)
                .map_err(|error| Error::io("read a scratch file in", &self.dir, error)),
            None => Err(Error::Missing(format!("scratch file in {}", self.dir.display()))),
        }
    }

    /// Gives its space back.
    pub fn discard(&mut self) {
        self.file = None;
    }
}

/// A new file in `dir` that has no name and is gone when the last who has it open closes it.
///
/// # Errors
/// [`Error::Io`] where it cannot be made.
pub fn unnamed(dir: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        Ok(file) => Ok(file),
        // What a system says that does not know the flag is that this is a directory.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            with_name_removed(dir, &mut options)
        }
        Err(error) => Err(Error::io("create a scratch file in", dir, error)),
    }
}

/// The same on a file system without files that never had a name.
fn with_name_removed(dir: &Path, options: &mut OpenOptions) -> Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = dir.join(format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    // One left behind by a process of the same id that died between creation and removal is used up.
    let file =
        options.create(true).truncate(true).open(&path).map_err(|error| Error::io("create", &path, error))?;
    std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_without_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(dir.path());
        let mut out = [0; 5];
        assert!(matches!(scratch.read_at(0, &mut out), Err(Error::Missing(_))));
        scratch.write_at(1 << 40, b"bytes").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        scratch.read_at(1 << 40, &mut out).unwrap();
        assert_eq!(&out, b"bytes");
        assert!(matches!(scratch.read_at(1 << 41, &mut out), Err(Error::Io { .. })));
    }

    #[test]
    fn a_name_that_was_needed_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = with_name_removed(dir.path(), OpenOptions::new().read(true).write(true)).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(file.metadata().unwrap().len(), 5);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Scratch::new(Path::new("/nonexistent/scratch")).write_at(0, b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot create a scratch file in /nonexistent/scratch"));
    }
}
