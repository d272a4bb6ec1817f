//! Makes the files that an answer tells of.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::cli::progress::Progress;
use crate::daemon::pointer::Pointer;
use crate::daemon::protocol::PlaceInfo;
use crate::daemon::{Failure, Item, Sink};
use crate::dataset::outside::Reach;
use crate::model::Kind;

/// Makes files below a directory.
pub struct Placer {
    root: PathBuf,
    umask: u32,
    open: Option<Open>,
    files: u64,
    bytes: u64,
    total: u64,
    files_total: u64,
    progress: Progress,
    interrupted: Arc<AtomicBool>,
}

/// A file whose bytes are coming.
struct Open {
    file: File,
    path: PathBuf,
    at: u64,
    size: u64,
    mode: u32,
}

impl Placer {
    /// Makes what is pointed to at `root`, until `interrupted`.
    pub fn new(root: PathBuf, umask: u32, pointer: &Pointer, interrupted: Arc<AtomicBool>) -> Placer {
        let (total, files_total) = (pointer.size, pointer.files);
        let progress = Progress::default();
        Placer { root, umask, open: None, files: 0, bytes: 0, total, files_total, progress, interrupted }
    }

    /// Refuses to once it is interrupted.
    ///
    /// # Errors
    /// Then.
    pub fn go_on(&self) -> Result<(), Failure> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Failure::new("interrupted: nothing was put there")),
            false => Ok(()),
        }
    }

    /// Ends it; gives the number of files and their bytes.
    ///
    /// # Errors
    /// Where the last file is not complete.
    pub fn finish(&mut self) -> Result<(u64, u64), Failure> {
        self.close()?;
        self.progress.clear();
        Ok((self.files, self.bytes))
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "not all of it came");
        let closed = match open.at == open.size {
            true => open
                .file
                .set_len(open.size)
                .and_then(|()| open.file.set_permissions(Permissions::from_mode(open.mode))),
            false => Err(cut()),
        };
        self.bytes = self.bytes.saturating_add(open.size);
        self.progress.show(self.bytes, self.total, &format!("{} of {} files", self.files, self.files_total));
        closed.map_err(|e| failed(&open.path, &e))
    }

    fn place(&mut self, place: PlaceInfo) -> Result<(), Failure> {
        self.close()?;
        let mut path = self.root.clone();
        path.extend(place.path.iter().map(|name| OsStr::from_bytes(name.as_bytes())));
        let made = Reach::new(&path).and_then(|at| {
            let at = at.path();
            match place.kind {
                Kind::Dir => DirBuilder::new().mode(0o700).create(at).and_then(|()| {
                    fs::set_permissions(at, Permissions::from_mode(0o777 & !self.umask | 0o700))
                }),
                Kind::File => {
                    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
                    let mode = if place.mode & 0o100 != 0 { 0o777 } else { 0o666 };
                    let mode = mode & !self.umask | mode & 0o700;
                    self.files += 1;
                    self.open = Some(Open { file, path: path.clone(), at: 0, size: place.size, mode });
                    Ok(())
                }
                Kind::Symlink => symlink(OsStr::from_bytes(place.target.as_deref().unwrap_or_default()), at),
                kind => special(at, kind, place.device, 0o666 & !self.umask),
            }
        });
        made.map_err(|e| failed(&path, &e))
    }
}

impl Sink for &mut Placer {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.go_on()?;
        match item {
            Item::Place(place) => self.place(place),
            Item::Hole(len) => match &mut self.open {
                Some(open) => {
                    open.at += len;
                    let seek = open.file.seek(SeekFrom::Start(open.at));
                    seek.map(drop).map_err(|e| failed(&open.path, &e))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.go_on()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.write_all(bytes).map_err(|e| failed(&open.path, &e))?;
        open.at += bytes.len() as u64;
        Ok(())
    }
}

fn special(path: &Path, kind: Kind, device: u32, mode: u32) -> io::Result<()> {
    let kind = match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharacterDevice,
        _ => FileType::BlockDevice,
    };
    let device = rustix::fs::makedev(device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    mknodat(CWD, path, kind, Mode::from_raw_mode(mode), device)?;
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::because(format!("cannot make {}", path.display()), error)
}
