//! The files of a store's packs: which there are, what is in which, and a bounded set kept open for reading.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::file::{FrameCache, PackFile};
use super::member::{Pack, Span};
use super::sound::check_file;
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{private_file, sync_dir};
use crate::store::plain;

/// Most files of packs kept open for reading.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// Most decompressed frames kept: 32 MiB as a rule.
const FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Name of the file of these packs.
pub fn file_name(span: &Span) -> String {
    let (first, last) = (span.start(), span.end());
    if first == last { format!("{first:08}.pack") } else { format!("{first:08}-{last:08}.pack") }
}

/// Path of a pack in a file of its own, within the directory of packs.
pub fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(file_name(&(number..=number)))
}

/// The packs that the file of this name has, if it is one of packs.
pub fn packs_of(name: &OsStr) -> Option<Span> {
    let text = name.to_str()?.strip_suffix(".pack")?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| {
        let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|n| plain && (1..u32::MAX).contains(n))
    };
    let span = number(first)?..=number(last)?;
    (!span.is_empty() && name.to_str() == Some(&file_name(&span))).then_some(span)
}

/// The files that count, in order, and those whose packs another of them has as well. Files that share packs
/// without one having all of the other's are none of ours: the first counts.
fn sort_out(mut all: Vec<Span>) -> (Vec<Span>, Vec<Span>) {
    all.sort_unstable_by_key(|span| (*span.start(), u32::MAX - *span.end()));
    let mut end = 0;
    all.into_iter().partition(|span| {
        let counts = *span.start() > end;
        end = end.max(if counts { *span.end() } else { 0 });
        counts
    })
}

/// Files that are open, and what is where.
#[derive(Debug)]
struct Held {
    /// Files of several packs: the numbers of their first and last.
    joined: BTreeMap<u32, u32>,
    /// By the number of the first pack.
    open: LruCache<u32, Arc<PackFile>>,
    /// Counts changes of files.
    turn: u64,
}

impl Held {
    fn span(&self, number: u32) -> Span {
        let before = self.joined.range(..=number).next_back();
        before.filter(|(_, last)| **last >= number).map_or(number..=number, |(first, last)| *first..=*last)
    }
}

/// The packs of a directory.
#[derive(Debug)]
pub struct Packs {
    dir: PathBuf,
    store: StoreId,
    held: Mutex<Held>,
    /// Held while files are listed, and while several make place for one: a list has all packs.
    listing: RwLock<()>,
    frames: Arc<FrameCache>,
}

impl Packs {
    /// The packs of a store, which are in `dir`.
    pub fn new(dir: PathBuf, store: StoreId) -> Packs {
        let frames = Arc::new(FrameCache::new(FRAMES_MAX));
        let held = Held { joined: BTreeMap::new(), open: LruCache::new(OPEN_MAX), turn: 0 };
        let packs = Packs { dir, store, held: Mutex::new(held), listing: RwLock::new(()), frames };
        packs.forget();
        packs
    }

    /// The file that has a pack: its packs.
    pub fn span(&self, number: u32) -> Span {
        self.held.lock().span(number)
    }

    /// Path of the file that has a pack.
    pub fn path(&self, number: u32) -> PathBuf {
        self.path_of(&self.span(number))
    }

    /// Path of the file of these packs.
    pub fn path_of(&self, span: &Span) -> PathBuf {
        self.dir.join(file_name(span))
    }

    /// Path of a pack in a file of its own.
    pub fn own_path(&self, number: u32) -> PathBuf {
        pack_path(&self.dir, number)
    }

    /// The file that has a pack, as it is named in reports: from the store's directory.
    pub fn name(&self, number: u32) -> String {
        format!("packs/{}", file_name(&self.span(number)))
    }

    fn list(&self) -> Result<Vec<Span>> {
        let list = || -> io::Result<Vec<Span>> {
            let names = fs::read_dir(&self.dir)?.map(|entry| entry.map(|e| e.file_name()));
            names.filter_map(|name| name.map(|name| packs_of(&name)).transpose()).collect()
        };
        let _none_goes = self.listing.read();
        list().map_err(|e| Error::io("list", &self.dir, e))
    }

    /// The files that packs are read from, ascending.
    pub fn files(&self) -> Result<Vec<Span>> {
        Ok(sort_out(self.list()?).0)
    }

    /// Numbers of all packs there are, ascending.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        Ok(self.files()?.into_iter().flatten().collect())
    }

    /// Leaves nothing of files that were being made in the place of others, nor of those that others were made of.
    pub fn clear_left_over(&self) -> Result<()> {
        let io = |e| Error::io("clear", &self.dir, e);
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.to_string_lossy().ends_with(".pack.new") {
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        self.remove_covered(None)
    }

    /// Removes files whose packs another has as well, if that is sound; all, or those of one file.
    pub fn remove_covered(&self, of: Option<&Span>) -> Result<()> {
        let (files, covered) = sort_out(self.list()?);
        for file in files.iter().filter(|file| of.is_none_or(|of| of == *file)) {
            let has = |other: &&Span| file.contains(other.start()) && file.contains(other.end());
            let mut covered = covered.iter().filter(has).peekable();
            if covered.peek().is_none() || !self.is_sound(file)? {
                continue;
            }
            for other in covered {
                let path = self.path_of(other);
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Two files that share packs with neither having all of the other's, by name.
    pub fn at_odds(&self) -> Result<Option<(String, String)>> {
        let (files, covered) = sort_out(self.list()?);
        let crosses = |one: &Span, other: &Span| one.contains(other.start()) && !one.contains(other.end());
        let mut pairs =
            covered.iter().filter_map(|other| Some((files.iter().find(|one| crosses(one, other))?, other)));
        Ok(pairs.next().map(|(one, other)| (file_name(one), file_name(other))))
    }

    fn is_sound(&self, span: &Span) -> Result<bool> {
        let file = self.open_file(span)?;
        let count = span.end() - span.start() + 1;
        let mut sound = file.members().is_some_and(|members| members.is_whole() && members.count() == count);
        check_file(&file, |_, _| sound = false).map_err(|e| Error::io("read", &self.path_of(span), e))?;
        Ok(sound)
    }

    /// A file of packs, whatever is in it.
    pub fn open_file(&self, span: &Span) -> Result<PackFile> {
        let path = self.path_of(span);
        let open = || PackFile::new(plain::open(&path, OpenOptions::new().read(true))?, self.frames.clone());
        open().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing(format!("pack {}", path.display())),
            _ => Error::io("open", &path, e),
        })
    }

    /// A pack, open for reading.
    pub fn file(&self, number: u32) -> Result<Pack> {
        let mut held = self.held.lock();
        let (span, turn) = (held.span(number), held.turn);
        let found = held.open.get(span.start()).cloned();
        drop(held);
        if let Some(file) = found {
            return Pack::of(file, &span, number).ok_or_else(|| self.unlisted(&span));
        }
        let pack = self.reopen(number)?;
        self.keep_open(&span, turn, &pack.shared());
        Ok(pack)
    }

    /// A pack, opened anew.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is another pack, by its header. One whose header is damaged is taken
    /// for what its name says: each record has a checksum of its own.
    pub fn reopen(&self, number: u32) -> Result<Pack> {
        let pack = self.open_any(number)?;
        let path = self.path(number);
        match pack.whose().map_err(|e| Error::io("read", &path, e))? {
            Some((store, found)) if (store, found) != (self.store, number) => {
                let what = if store == self.store { "pack" } else { "a pack of another store, number" };
                Err(Error::Damaged {
                    what: format!("{} is {what} {found}", path.display()),
                    advice: "put the right file back, or let `strata fsck` see what can be done",
                })
            }
            _ => Ok(pack),
        }
    }

    /// A pack, whatever is in its file. One of several is opened anew with the first of them: what is read of the
    /// others is kept as it comes.
    pub fn open_any(&self, number: u32) -> Result<Pack> {
        loop {
            let mut held = self.held.lock();
            let (span, turn) = (held.span(number), held.turn);
            let found = if *span.start() < number { held.open.get(span.start()).cloned() } else { None };
            drop(held);
            let file = match found {
                Some(file) => file,
                None => match self.open_file(&span) {
                    // It was joined with others meanwhile.
                    Err(Error::Missing(_)) if self.held.lock().turn != turn => continue,
                    file => Arc::new(file?),
                },
            };
            if span.start() < span.end() {
                self.keep_open(&span, turn, &file);
            }
            return Pack::of(file, &span, number).ok_or_else(|| self.unlisted(&span));
        }
    }

    fn keep_open(&self, span: &Span, turn: u64, file: &Arc<PackFile>) {
        let mut held = self.held.lock();
        if held.turn == turn {
            held.open.put(*span.start(), file.clone());
        }
    }

    fn unlisted(&self, span: &Span) -> Error {
        let path = self.path_of(span);
        Error::Damaged {
            what: format!("{} does not tell where its packs are", path.display()),
            advice: "put the right file back, or let `strata fsck` see what can be done",
        }
    }

    /// Writes a file that is to take the place of those of these packs, durably; gives its path and what `write`
    /// gave.
    pub fn write_new<T>(
        &self,
        span: &Span,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> Result<(PathBuf, T)> {
        let new = self.path_of(span).with_extension("pack.new");
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

    /// Puts a file that was written by [`Packs::write_new`] in the place of those of its packs, of which all but one
    /// of the same name are left for [`Packs::remove_covered`]; for good only once [`Packs::sync_names`] is done.
    pub fn replace(&self, span: &Span, new: &Path) -> Result<()> {
        let _no_list = self.listing.write();
        fs::rename(new, self.path_of(span)).map_err(|e| Error::io("rename", new, e))?;
        let mut held = self.held.lock();
        held.turn += 1;
        let within: Vec<u32> =
            held.open.iter().map(|(first, _)| *first).filter(|n| span.contains(n)).collect();
        within.iter().for_each(|first| drop(held.open.pop(first)));
        held.joined.retain(|first, _| !span.contains(first));
        if span.start() < span.end() {
            held.joined.insert(*span.start(), *span.end());
        }
        Ok(())
    }

    /// Makes durable which files there are.
    pub fn sync_names(&self) -> Result<()> {
        sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))
    }

    /// Forgets what is known of the files: they may be others now.
    pub fn forget(&self) {
        let files = self.files().unwrap_or_default();
        let mut held = self.held.lock();
        held.turn += 1;
        held.open.clear();
        held.joined = files.into_iter().filter(|f| f.start() < f.end()).map(|f| f.into_inner()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_a_name_is_a_pack() {
        let packs = |name: &str| packs_of(OsStr::new(name));
        assert_eq!(packs("00000042.pack"), Some(42..=42));
        assert_eq!(packs("4294967294.pack"), Some(u32::MAX - 1..=u32::MAX - 1));
        assert_eq!(packs("00000007-00000042.pack"), Some(7..=42));
        for other in [
            "42.pack",
            "+0000042.pack",
            "000000042.pack",
            "00000000.pack",
            "00000042.pack.new",
            "4294967295.pack",
            "99999999999.pack",
            "00000042-00000042.pack",
            "00000042-00000041.pack",
            "00000042-.pack",
            "00000042-00000043-00000044.pack",
            "00000042-43.pack",
            "x",
        ] {
            assert_eq!(packs(other), None, "{other}");
        }
    }

    #[test]
    fn of_files_that_share_packs_the_one_with_more_counts() {
        let all = vec![3..=3, 1..=2, 1..=1, 4..=9, 3..=9, 12..=12, 4..=6, 2..=2, 10..=10];
        let (files, covered) = sort_out(all);
        assert_eq!(files, [1..=2, 3..=9, 10..=10, 12..=12]);
        assert_eq!(covered, [1..=1, 2..=2, 3..=3, 4..=9, 4..=6]);
    }
}
