//! Reading what is in files, by several threads.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use parking_lot::Mutex;

use super::batch::{BATCH_BYTES, BATCH_FILES, Batch, SMALL};
use super::scan::{io_error, mtime_of};
use super::{Entry, Progress, Source, TELL_EVERY, Teller, Tree};
use crate::dataset::error::{Error, Result};
use crate::model::{Body, Timestamp};
use crate::store::Objects;
use crate::store::content::from_file_watched;

/// Threads that read, for each processor: most of them wait for the disk where files are read for the first
/// time. 50,000 small files took 6.2 s with one, 4.7 s with two, 3.7 s with four and 3.5 s with eight.
const THREADS_EACH: usize = 4;
/// Most threads that read.
const THREADS_MAX: usize = 32;

/// Reads the files of `tree`, which is at `root`, into the store. The contents are in the tree then.
///
/// # Errors
/// Where one cannot be read, is no file any more, or cannot be stored.
pub fn read(objects: &Objects, root: &Path, tree: &mut Tree, teller: &mut Teller<'_>) -> Result<()> {
    let (before, dirs) = (before(&tree.entries), dirs(root, &tree.entries));
    let batches = batches(&mut tree.entries);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = (processors * THREADS_EACH).min(THREADS_MAX).min(batches.len());
    let reading = Reading {
        objects,
        dirs,
        batches: Mutex::new(batches.into_iter()),
        stop: AtomicBool::new(false),
        bytes: AtomicU64::new(0),
        files: AtomicU64::new(0),
    };
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, reading) = (sender.clone(), &reading);
            scope.spawn(move || reading.work(|result| sender.send(result).is_ok()));
        }
        drop(sender);
        loop {
            let step = match results.recv_timeout(TELL_EVERY) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => Ok(()),
                // What nobody waits for any more is not to come after all.
                Err(RecvTimeoutError::Disconnected) => return teller.tell_now(reading.progress(before)),
            };
            let told = step.and_then(|()| teller.tell(|| reading.progress(before)));
            if told.is_err() {
                reading.stop.store(true, Ordering::Release);
                return told;
            }
        }
    })
}

/// What there is altogether, with what need not be read taken for done.
fn before(entries: &[Entry]) -> Progress {
    let mut progress = Progress { counted: true, ..Progress::default() };
    for entry in entries {
        let (bytes, read) = match entry.source {
            Source::Read(bytes) => (bytes, true),
            Source::Known => (entry.inode.size(), false),
            Source::Link(_) => (0, false),
        };
        progress.files_total += 1;
        progress.bytes_total += bytes;
        if !read {
            progress.files += 1;
            progress.bytes += bytes;
        }
    }
    progress
}

/// The paths outside of all directories that have files to be read.
fn dirs(root: &Path, entries: &[Entry]) -> HashMap<Option<usize>, PathBuf> {
    let mut dirs = HashMap::new();
    for entry in entries.iter().filter(|entry| matches!(entry.source, Source::Read(_))) {
        dirs.entry(entry.dir).or_insert_with(|| path_of(root, entries, entry.dir));
    }
    dirs
}

/// Runs of entries whose files are read together: of many small files, or with one larger file each.
fn batches(mut entries: &mut [Entry]) -> Vec<&mut [Entry]> {
    let mut batches = Vec::new();
    let (mut at, mut bytes, mut files) = (0, 0, 0);
    while let Some(entry) = entries.get(at) {
        if let Source::Read(size) = entry.source {
            if files > 0 && (bytes + size > BATCH_BYTES as u64 || files == BATCH_FILES) {
                let (batch, rest) = entries.split_at_mut(at);
                batches.push(batch);
                (entries, at, bytes, files) = (rest, 0, 0, 0);
            }
            bytes += size;
            files += 1;
        }
        at += 1;
    }
    if files > 0 {
        batches.push(entries);
    }
    batches
}

/// What the threads share.
struct Reading<'a> {
    objects: &'a Objects,
    dirs: HashMap<Option<usize>, PathBuf>,
    batches: Mutex<std::vec::IntoIter<&'a mut [Entry]>>,
    stop: AtomicBool,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Reading<'_> {
    /// Reads batches until there is none left, `give` takes no more, or it is to stop.
    fn work(&self, give: impl Fn(Result<()>) -> bool) {
        loop {
            let next = self.batches.lock().next();
            let Some(batch) = next else { return };
            let result = self.batch(batch);
            let failed = result.is_err();
            if !give(result) || failed || self.stop.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn batch(&self, entries: &mut [Entry]) -> Result<()> {
        let mut small = Batch::default();
        for (at, entry) in entries.iter_mut().enumerate() {
            let Source::Read(size) = entry.source else { continue };
            self.check()?;
            let path = self.dirs[&entry.dir].join(entry.name.as_os_str());
            let (file, mtime) = open(&path)?;
            entry.inode.mtime = mtime;
            match self.whole(&file, &path, size)? {
                Some(bytes) => small.push(at, bytes),
                None => {
                    let content = from_file_watched(self.objects, &path, &file, &mut |bytes| {
                        self.pass(bytes).map_err(|_| crate::store::Error::Refused("going on".into()))
                    })?;
                    entry.inode.body = Body::File(content);
                }
            }
            self.files.fetch_add(1, Ordering::AcqRel);
        }
        for (at, content) in small.store(self.objects)? {
            entries[at].inode.body = Body::File(content);
        }
        Ok(())
    }

    /// All bytes of a file that was listed as a small one; `None` where it is none, by now perhaps.
    fn whole(&self, file: &File, path: &Path, size: u64) -> Result<Option<Vec<u8>>> {
        if size > SMALL {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(size as usize + 1);
        let mut at = file;
        at.take(SMALL + 1).read_to_end(&mut bytes).map_err(|e| io_error("read", path, e))?;
        if bytes.len() as u64 > SMALL {
            at.rewind().map_err(|e| io_error("read", path, e))?;
            return Ok(None);
        }
        self.pass(bytes.len() as u64)?;
        Ok(Some(bytes))
    }

    /// Counts bytes as passed.
    fn pass(&self, bytes: u64) -> Result<()> {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.check()
    }

    fn check(&self) -> Result<()> {
        // Nobody looks at this error: another one, or the end of the command, came first.
        if self.stop.load(Ordering::Acquire) { Err(Error::Invalid("stopped".into())) } else { Ok(()) }
    }

    fn progress(&self, before: Progress) -> Progress {
        Progress {
            files: before.files + self.files.load(Ordering::Acquire),
            bytes: before.bytes + self.bytes.load(Ordering::Acquire),
            ..before
        }
    }
}

/// The path outside of a directory.
fn path_of(root: &Path, entries: &[Entry], mut dir: Option<usize>) -> PathBuf {
    let mut names = Vec::new();
    while let Some(at) = dir {
        names.push(entries[at].name.as_os_str());
        dir = entries[at].dir;
    }
    let mut path = root.to_owned();
    names.into_iter().rev().for_each(|name| path.push(name));
    path
}

/// Opens a file that was listed as one, and gives its time of change, as it is before it is read.
fn open(path: &Path) -> Result<(File, Timestamp)> {
    let at = crate::dataset::outside::Reach::new(path).map_err(|e| io_error("open", path, e))?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(at.path()).map_err(|e| io_error("open", path, e))?;
    let meta = file.metadata().map_err(|e| io_error("inspect", path, e))?;
    if !meta.is_file() {
        return Err(Error::Invalid(format!("{} was replaced while it was imported", path.display())));
    }
    Ok((file, mtime_of(&meta)))
}
