//! Where an export goes: a new file or directory, which has its name once it is whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, getpid, test_kill_process};

use crate::daemon::protocol::Exported;
use crate::daemon::{Client, Failure, Item, Request, Sink};

use super::super::out::human;
use super::super::progress::Progress;
use super::unpack::unpack;

/// How names of what is not whole yet begin; the number of the process follows.
const UNFINISHED: &str = ".strata-export.";

/// Asks for what comes as bytes, hands them on, and gives what is said of it at the end.
pub fn receive(
    mut client: Client,
    request: Request,
    data: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Option<Item>, Failure> {
    let mut sink = Receive { data, progress: Progress::default(), bytes: 0, last: None };
    client.run(request, &mut sink)?;
    sink.progress.clear();
    client.close()?;
    Ok(sink.last)
}

struct Receive<'a> {
    data: &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    progress: Progress,
    bytes: u64,
    last: Option<Item>,
}

impl Sink for Receive<'_> {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.last = Some(item);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        self.progress.counting(&format!("{} written", human(self.bytes)));
        (self.data)(bytes)
    }
}

/// What is made.
pub enum Kind {
    /// A tar archive.
    Archive,
    /// A directory.
    Directory,
}

/// What `target` is to become, by its name.
pub fn kind(target: &Path) -> Result<Kind, Failure> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if target.is_dir() {
        return Ok(Kind::Directory);
    }
    let packed = [".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip"];
    match packed.iter().find(|end| name.ends_with(*end)) {
        Some(end) => {
            Err(Failure::usage(format!("cannot export to {}: {end} is not written", target.display()))
                .hint("export to - and compress that: strata export OBJECT - | zstd > FILE.tar.zst"))
        }
        None if name.ends_with(".tar") => Ok(Kind::Archive),
        None => Ok(Kind::Directory),
    }
}

/// Asks for an archive and gives it, part by part, to a function.
pub trait Ask<T>: FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<T, Failure> {}

impl<T, F: FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<T, Failure>> Ask<T> for F {}

/// Writes an archive.
pub fn archive<T>(target: &Path, force: bool, umask: u32, ask: impl Ask<T>) -> Result<T, Failure> {
    // Putting a file in the place of /dev/null would harm all there is.
    if target.metadata().is_ok_and(|meta| !meta.is_file()) {
        let what = format!("cannot export to {}: it is no ordinary file", target.display());
        return Err(Failure::new(what).hint("name another file, or - for standard output"));
    }
    if !force && target.symlink_metadata().is_ok() {
        return Err(exists(target).hint("--force replaces it"));
    }
    let temporary = Temporary::beside(target)?;
    let failed = |e: io::Error| Failure::because(format!("cannot write {}", target.display()), &e);
    let mut options = File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary.path).map_err(failed)?;
    mark(&file);
    let exported = ask(&mut |bytes| file.write_all(bytes).map_err(failed))?;
    file.set_permissions(Permissions::from_mode(0o666 & !umask)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    temporary.keep(target, force)?;
    Ok(exported)
}

/// Writes a directory.
pub fn directory(
    target: &Path,
    preserve: bool,
    umask: u32,
    ask: impl Ask<Exported>,
) -> Result<Exported, Failure> {
    let failed = |e: io::Error| Failure::because(format!("cannot write {}", target.display()), &e);
    match fs::read_dir(target) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Failure::new(format!("cannot export to {}: it is not empty", target.display()))
                    .hint("name a directory that is new or empty, or an archive: FILE.tar"));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(exists(target).hint("name a directory that is new or empty, or an archive: FILE.tar"));
        }
        Err(e) => return Err(failed(e)),
    }
    let temporary = Temporary::beside(target)?;
    fs::create_dir(&temporary.path).map_err(failed)?;
    let dir = File::open(&temporary.path).map_err(failed)?;
    mark(&dir);
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    let exported = thread::scope(|scope| {
        let root = &temporary.path;
        let unpacking = scope.spawn(move || unpack(reader, root, target, preserve));
        let asked = ask(&mut |bytes| writer.write_all(bytes).map_err(|e| Failure::output(&e)));
        drop(writer);
        let unpacked = unpacking.join().map_err(|_| Failure::new("internal error: unpacking ended early"))?;
        match (asked, unpacked) {
            // Its end is why nobody took the archive any more.
            (Err(asked), Err(unpacked)) if asked.message.is_empty() => Err(unpacked),
            (Err(asked), _) => Err(asked),
            // Those of the archive that it came as are nobody's business here.
            (Ok(exported), unpacked) => unpacked.map(|bytes| Exported { bytes, ..exported }),
        }
    })?;
    fs::set_permissions(&temporary.path, Permissions::from_mode(0o777 & !umask)).map_err(failed)?;
    rustix::fs::syncfs(&dir).map_err(|e| failed(e.into()))?;
    temporary.keep(target, true)?;
    Ok(exported)
}

fn exists(target: &Path) -> Failure {
    Failure::new(format!("cannot export to {}: it exists already", target.display()))
}

/// A file or directory that is gone unless it is kept.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// A name in the directory of `target`.
    fn beside(target: &Path) -> Result<Temporary, Failure> {
        let whole = std::path::absolute(target).ok();
        let dir = whole.as_deref().and_then(Path::parent).filter(|_| target.file_name().is_some());
        let dir = dir.ok_or_else(|| Failure::usage(format!("cannot export to {}", target.display())))?;
        sweep(dir);
        Ok(Temporary { path: dir.join(format!("{UNFINISHED}{}", std::process::id())) })
    }

    /// Gives it its name, durably.
    fn keep(self, target: &Path, replace: bool) -> Result<(), Failure> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let done = renameat_with(CWD, &self.path, CWD, target, flags).map_err(io::Error::from);
        let done = done.and_then(|()| File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all());
        done.map_err(|e| Failure::because(format!("cannot export to {}", target.display()), &e))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    let gone = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    if let Err(error) = gone {
        log::warn!("{} is left behind: {error}", path.display());
    }
}

/// Marks as being written what is written, for as long as it is open. Not every file system can.
fn mark(file: &File) {
    if let Err(error) = flock(file, FlockOperation::NonBlockingLockExclusive) {
        log::debug!("an export is not marked: {error}");
    }
}

/// Removes what exports of this user left in a directory when they were killed. Numbers of processes are those of
/// one container, and may be used again: the mark tells too.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)).and_then(|n| n.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        let runs = pid != getpid() && test_kill_process(pid) != Err(Errno::SRCH);
        if runs || entry.metadata().is_ok_and(|meta| meta.uid() != geteuid().as_raw()) {
            continue;
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let left = File::options().read(true).custom_flags(flags).open(entry.path());
        if left.is_ok_and(|left| flock(left, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            remove(&entry.path());
        }
    }
}
