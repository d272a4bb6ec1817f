//! Compressing sealed packs and joining small ones, beside everything else that goes on.
//!
//! A pack is compressed once all of it and the beginning of the next are durable, and no sooner than the log
//! has been quiet for a while, unless much has piled up: never on a writer's path. The compressed pack is
//! written under another name, made durable, compared with what it was made from, and then renamed over it:
//! at any time there is one whole pack, and what had the old one open reads on in it. Which packs are joined is
//! found by [`join`].

mod join;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bell::Bell;
use super::error::{Error, Result, chain};
use super::identity::{Identity, StoreId};
use super::layout::Layout;
use super::pack::{
    Cursor, Effort, FooterEntry, Hollow, Log, LogPos, Pack, PackFile, Packs, PlaceNote, RECORD_HEADER,
    ReadAt, RecordKind, Row, Span, check_file, compress, is_compressible, rewrite, seal_size,
};
use super::space::reserve;

use self::join::Known;

pub use self::join::Eagerness;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As long nothing must have been appended before packs are compressed.
const QUIET: Duration = Duration::from_secs(5);
/// As long nothing must have been appended before the last pack is sealed, if it has so many bytes.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_BYTES: u32 = 8 << 20;
/// As many packs are not left to wait for a quiet moment: 4 GiB.
const BACKLOG: u32 = 64;
/// Bytes that the last pack must have to be sealed on request.
const ASKED_BYTES: u32 = 64 << 10;

/// What compressing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Packs looked at.
    pub packs: u64,
    /// Of these, how many were compressed.
    pub compressed: u64,
    /// Their bytes before.
    pub before: u64,
    /// Their bytes after.
    pub after: u64,
}

/// Up to where packs have been compressed, or found not to be worth it, with either effort.
struct Done {
    usual: Progress,
    best: Progress,
    /// What is known for joining packs.
    known: Known,
}

impl Done {
    fn of(&mut self, effort: Effort) -> &mut Progress {
        match effort {
            Effort::Usual => &mut self.usual,
            Effort::Best => &mut self.best,
        }
    }
}

/// The next pack to see to, and the note of it.
struct Progress {
    note: PlaceNote,
    next: u32,
}

impl Progress {
    fn open(path: &Path) -> Result<Progress> {
        let (note, place) = PlaceNote::open(path)?;
        Ok(Progress { note, next: place.unwrap_or_default().pack().max(1) })
    }
}

/// Compresses the packs of a store.
pub struct Compactor {
    layout: Layout,
    id: StoreId,
    packs: Arc<Packs>,
    log: Arc<Log>,
    /// What has been done; held by who does more.
    done: Mutex<Done>,
    saved: AtomicI64,
    bell: Bell,
}

/// A pack and its records.
type Listed = (Pack, Vec<FooterEntry>);
/// The same as it is to be written.
type Written<'a> = (Box<dyn ReadAt + 'a>, Vec<FooterEntry>);

impl Compactor {
    /// One for a store.
    pub fn new(layout: Layout, id: StoreId, packs: Arc<Packs>, log: Arc<Log>) -> Result<Compactor> {
        let [usual, best] = [layout.compacted(), layout.compacted_best()].map(|path| Progress::open(&path));
        let done = Done { usual: usual?, best: best?, known: Known::default() };
        let (done, saved) = (Mutex::new(done), AtomicI64::new(0));
        Ok(Compactor { layout, id, packs, log, done, saved, bell: Bell::default() })
    }

    /// Bytes of all packs.
    pub fn pack_bytes(&self) -> u64 {
        self.log.bytes().saturating_add_signed(-self.saved.load(Ordering::Acquire))
    }

    fn note_saved(&self, before: u64, after: u64) {
        self.saved.fetch_add(before as i64 - after as i64, Ordering::AcqRel);
    }

    /// Compresses all that there is, the last pack too; see [`super::Store::compact`].
    pub fn compact(
        &self,
        effort: Effort,
        step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Compacted> {
        self.log.seal(ASKED_BYTES.min(seal_size() / 2))?;
        let end = self.log.sync()?.pack();
        let mut done = self.done.lock();
        let waits = |file: &Span, next: u32| *file.end() >= next && *file.end() < end;
        let next = done.of(effort).next;
        let size = |number| fs::metadata(self.packs.path(number)).map_or(0, |meta| meta.len());
        let files = self.packs.files()?.into_iter().filter(|file| waits(file, next));
        let total = files.map(|file| size(*file.start())).sum();
        let (mut all, mut bytes) = (Compacted::default(), 0);
        while done.of(effort).next < end && step(bytes, total).is_continue() {
            bytes += size(done.of(effort).next);
            let one = self.next(effort, &mut done)?;
            all.packs += one.packs;
            all.compressed += one.compressed;
            all.before += one.before;
            all.after += one.after;
        }
        Ok(all)
    }

    /// Sees to the next file of packs.
    fn next(&self, effort: Effort, done: &mut Done) -> Result<Compacted> {
        let progress = done.of(effort);
        let span = self.packs.span(progress.next);
        let packs = u64::from(span.end() - span.start()) + 1;
        let one = match self.compress(&span, effort) {
            // It, or a copy of it, may come back.
            Err(Error::Missing(_)) => Compacted::default(),
            Err(e @ Error::Damaged { .. }) => {
                log::error!("{}", chain(&e));
                Compacted::default()
            }
            result => result?,
        };
        progress.next = span.end() + 1;
        progress.note.write(LogPos::new(progress.next, 0));
        self.note_saved(one.before, one.after);
        let compressed = if one.compressed > 0 { packs } else { 0 };
        Ok(Compacted { packs, compressed, ..one })
    }

    /// The file of these packs, opened anew: what others read of it stays in their cache.
    fn open(&self, span: &Span) -> Result<Arc<PackFile>> {
        let file = self.packs.file(*span.start())?;
        let file = file.file().file().try_clone().and_then(PackFile::read_once);
        file.map(Arc::new).map_err(|e| Error::io("read", &self.packs.path(*span.start()), e))
    }

    /// The packs of a file and their records; `None` where it is damaged, and to be left as it is: a damaged frame is
    /// read as zeros, and with these in its place could never be repaired.
    fn packs_of(&self, file: &Arc<PackFile>, span: &Span) -> Result<Option<Vec<Listed>>> {
        let io = |e| Error::io("read", &self.packs.path(*span.start()), e);
        let mut sound = true;
        check_file(file, |_, _| sound = false).map_err(io)?;
        if !sound {
            return Ok(None);
        }
        let read = |number| {
            let Some(pack) = Pack::of(file.clone(), span, number) else { return Ok(None) };
            Ok(pack.records((self.id, number))?.map(|records| (pack, records)))
        };
        span.clone().map(read).collect::<io::Result<_>>().map_err(io)
    }

    /// Writes packs to a file in the place of those that have them; `write` gives its length, or `None` where it is
    /// not worth it. Gives that length.
    fn put(
        &self,
        span: &Span,
        row: &Row<'_>,
        write: impl FnOnce(&mut File) -> io::Result<Option<u64>>,
    ) -> Result<Option<u64>> {
        let (new, after) = self.packs.write_new(span, |file| {
            let after = write(file)?;
            match after.is_none() || holds_the_same(&PackFile::read_once(file.try_clone()?)?, row)? {
                true => Ok(after),
                false => Err(io::Error::other("it does not hold what it was made from")),
            }
        })?;
        if after.is_none() {
            fs::remove_file(&new).map_err(|e| Error::io("remove", &new, e))?;
            return Ok(None);
        }
        // A release that knows no such files must not open the store any more.
        Identity::require(row.form().format(), &self.layout)?;
        self.packs.replace(span, &new)?;
        // The name of a new pack may be among what was not written.
        self.packs.sync_names().inspect_err(|e| self.log.fail(&chain(e)))?;
        Ok(after)
    }

    /// Leaves the bytes of the records at these offsets out of the packs of a file, for good; what else is in it stays
    /// where it is. Gives how many bytes it takes less; `None` where it is damaged, and left as it is.
    pub fn reclaim(&self, dead: &BTreeMap<u32, BTreeSet<u32>>) -> Result<Option<u64>> {
        let Some(number) = dead.keys().next() else { return Ok(Some(0)) };
        let mut done = self.done.lock();
        let span = self.packs.span(*number);
        let path = self.packs.path(*number);
        let io = |e| Error::io("rewrite", &path, e);
        // What it was made of must not keep what goes.
        self.packs.remove_covered(Some(&span))?;
        let file = self.open(&span)?;
        let Some(packs) = self.packs_of(&file, &span)? else {
            log::error!("{}: damaged, and left as it is: see strata verify", path.display());
            return Ok(None);
        };
        let none = BTreeSet::new();
        let dead_of = |number: u32| dead.get(&number).unwrap_or(&none);
        let needed =
            span.clone().zip(&packs).map(|(number, (_, records))| room_for(records, dead_of(number)));
        let before = file.file().metadata().map_err(io)?.len();
        // What is kept free on a disk is for this, too: it is what makes it less full.
        if self.log.room()?.free < before.min(needed.sum::<u64>() + MARGIN) {
            return Err(Error::NoSpace(self.layout.root().to_owned()));
        }
        let hollow = |(number, (pack, records)): (u32, Listed)| -> io::Result<Written<'_>> {
            if dead_of(number).is_empty() {
                return Ok((Box::new(pack), records));
            }
            let (hollow, records) = Hollow::new(pack, (self.id, number), records, dead_of(number))?;
            Ok((Box::new(hollow), records))
        };
        let packs = span.clone().zip(packs).map(hollow).collect::<io::Result<_>>().map_err(io)?;
        let row = Row::new((self.id, *span.start()), packs).map_err(io)?;
        let after = self.put(&span, &row, |file| rewrite(&row, Effort::Usual, file).map(Some))?;
        let freed = before.saturating_sub(after.unwrap_or(before));
        self.note_saved(freed, 0);
        done.known.until = 0;
        Ok(Some(freed))
    }

    fn compress(&self, span: &Span, effort: Effort) -> Result<Compacted> {
        let path = self.packs.path(*span.start());
        let io = |e| Error::io("compress", &path, e);
        let file = self.open(span)?;
        let again = file.frames().is_some();
        if again && effort == Effort::Usual {
            return Ok(Compacted::default());
        }
        let Some(packs) = self.packs_of(&file, span)? else {
            log::error!("{}: damaged, and left as it is: see strata verify", path.display());
            return Ok(Compacted::default());
        };
        let row = self.row(span, packs).map_err(io)?;
        if !again && !is_compressible(&row).map_err(io)? {
            return Ok(Compacted::default());
        }
        let before = file.file().metadata().map_err(io)?.len();
        self.need_room(before)?;
        let after = self.put(span, &row, |file| {
            let written = compress(&row, effort, file)?;
            Ok(written.filter(|after| *after < before))
        })?;
        Ok(after.map_or_else(Compacted::default, |after| Compacted {
            packs: 1,
            compressed: 1,
            before,
            after,
        }))
    }

    fn row<'a>(&self, span: &Span, packs: Vec<Listed>) -> io::Result<Row<'a>> {
        let packs = packs.into_iter().map(|(pack, records)| -> Written<'a> { (Box::new(pack), records) });
        Row::new((self.id, *span.start()), packs.collect())
    }

    fn need_room(&self, bytes: u64) -> Result<()> {
        let room = self.log.room()?;
        match room.free < reserve(room.total) + bytes {
            true => Err(Error::NoSpace(self.layout.root().to_owned())),
            false => Ok(()),
        }
    }

    /// Compresses in the background until the bell stops it.
    fn follow(&self) {
        if let Err(e) = rustix::process::setpriority_process(None, 19) {
            log::debug!("compressing at the usual priority: {e}");
        }
        let (mut end, mut since, mut failures) = (self.log.end(), Instant::now(), 0u32);
        while self.bell.wait(LOOK_EVERY * (failures.min(9) + 1)) {
            if self.log.read_only().is_some() {
                return;
            }
            if self.log.end() != end {
                (end, since) = (self.log.end(), Instant::now());
            }
            match self.round(since.elapsed()) {
                Ok(()) => failures = 0,
                Err(e) => {
                    failures += 1;
                    // Not over and over for as long as a disk is full.
                    if failures.is_power_of_two() {
                        log::warn!("packs are not compressed for now: {}", chain(&e));
                    }
                }
            }
        }
    }

    /// Sees to one pack if there is one and the log has been quiet for long enough.
    fn round(&self, quiet: Duration) -> Result<()> {
        if quiet >= IDLE {
            self.log.seal(IDLE_BYTES)?;
        }
        let mut done = self.done.lock();
        let sealed = self.log.durable().pack();
        let waiting = sealed.saturating_sub(done.usual.next);
        if waiting > BACKLOG || (waiting > 0 && quiet >= QUIET) {
            self.next(Effort::Usual, &mut done)?;
            self.bell.ring();
        } else if quiet >= QUIET && done.known.until != sealed {
            match self.join_next(&mut done, Eagerness::Amortised)? {
                Some(_) => self.bell.ring(),
                None => done.known.until = sealed,
            }
        }
        Ok(())
    }
}

/// Bytes that a file takes besides what is kept of its packs, at most.
const MARGIN: u64 = 1 << 20;

/// Bytes that a pack takes at most without the records at these offsets.
fn room_for(records: &[FooterEntry], dead: &BTreeSet<u32>) -> u64 {
    let kept = records.iter().filter(|entry| !dead.contains(&entry.offset));
    let kept = kept.filter(|entry| entry.header.kind != RecordKind::Void);
    let size = |entry: &FooterEntry| u64::from(RECORD_HEADER) + u64::from(entry.header.stored);
    // Each has an entry of about the size of its header in the footer.
    kept.map(|entry| size(entry) + u64::from(RECORD_HEADER)).sum()
}

fn holds_the_same(compressed: &PackFile, pack: &impl ReadAt) -> io::Result<bool> {
    let [mut new, mut old] = [vec![0; 1 << 20], vec![0; 1 << 20]];
    let (mut a, mut b) = (Cursor::new(compressed)?, Cursor::new(pack)?);
    loop {
        let count = a.read(&mut new)?;
        let other = b.read(&mut old)?;
        if new[..count] != old[..other] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// The thread that compresses in the background; a drop ends it.
pub struct Background(Arc<Compactor>, Option<JoinHandle<()>>);

impl Background {
    /// Starts it.
    pub fn start(compactor: &Arc<Compactor>) -> io::Result<Background> {
        let follower = compactor.clone();
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| follower.follow())).is_err() {
                log::error!("compressing packs failed by a defect: the store lives on without");
            }
        };
        let thread = Builder::new().name("strata-compact".into()).spawn(run)?;
        Ok(Background(compactor.clone(), Some(thread)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.bell.stop();
        if let Some(Err(_)) = self.1.take().map(JoinHandle::join) {
            log::error!("a thread of the store panicked");
        }
    }
}
