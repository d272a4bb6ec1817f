//! Compressing sealed packs, beside everything else that goes on.
//!
//! A pack is compressed once all of it and the beginning of the next are durable, and no sooner than the log
//! has been quiet for a while, unless much has piled up: never on a writer's path. The compressed pack is
//! written under another name, made durable, compared with what it was made from, and then renamed over it:
//! at any time there is one whole pack, and what had the old one open reads on in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bell::Bell;
use super::error::{Error, Result, chain};
use super::identity::{self, Identity, StoreId};
use super::layout::Layout;
use super::pack::{
    Cursor, Effort, FooterEntry, Hollow, Log, LogPos, PackFile, Packs, PlaceNote, RECORD_HEADER, ReadAt,
    RecordKind, check_file, compress, is_compressible, read_footer, rewrite, seal_size,
};
use super::space::reserve;

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
    saved: AtomicU64,
    bell: Bell,
}

impl Compactor {
    /// One for a store.
    pub fn new(layout: Layout, id: StoreId, packs: Arc<Packs>, log: Arc<Log>) -> Result<Compactor> {
        let [usual, best] = [layout.compacted(), layout.compacted_best()].map(|path| Progress::open(&path));
        let (done, saved) = (Mutex::new(Done { usual: usual?, best: best? }), AtomicU64::new(0));
        Ok(Compactor { layout, id, packs, log, done, saved, bell: Bell::default() })
    }

    /// Bytes saved since the store was opened.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Acquire)
    }

    /// Compresses all that there is, the last pack too; see [`super::Store::compact`].
    pub fn compact(
        &self,
        effort: Effort,
        step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Compacted> {
        self.log.seal(ASKED_BYTES.min(seal_size() / 2))?;
        let end = self.log.sync()?.pack();
        let size = |number| fs::metadata(self.packs.path(number)).map_or(0, |meta| meta.len());
        let mut done = self.done.lock();
        let total = (done.of(effort).next..end).map(size).sum();
        let (mut all, mut bytes) = (Compacted::default(), 0);
        while done.of(effort).next < end && step(bytes, total).is_continue() {
            bytes += size(done.of(effort).next);
            let one = self.next(effort, &mut done)?;
            all.packs += 1;
            all.compressed += one.compressed;
            all.before += one.before;
            all.after += one.after;
        }
        Ok(all)
    }

    /// Sees to the next pack.
    fn next(&self, effort: Effort, done: &mut Done) -> Result<Compacted> {
        let progress = done.of(effort);
        let number = progress.next;
        let one = match self.compress(number, effort) {
            // It, or a copy of it, may come back.
            Err(Error::Missing(_)) => Compacted::default(),
            Err(e @ Error::Damaged { .. }) => {
                log::error!("{}", chain(&e));
                Compacted::default()
            }
            result => result?,
        };
        progress.next = number + 1;
        progress.note.write(LogPos::new(progress.next, 0));
        self.saved.fetch_add(one.before - one.after, Ordering::AcqRel);
        Ok(one)
    }

    /// Leaves the bytes of the records at these offsets out of a pack, for good; what else is in it stays where
    /// it is. Gives how many bytes it takes less; `None` where it is damaged, and left as it is.
    pub fn reclaim(&self, number: u32, dead: &BTreeSet<u32>) -> Result<Option<u64>> {
        let _alone = self.done.lock();
        let path = self.packs.path(number);
        let io = |e| Error::io("rewrite", &path, e);
        let pack = self.packs.file(number)?.file().try_clone().and_then(PackFile::read_once).map_err(io)?;
        let Some(records) = read_footer(&pack, self.id, number).map_err(io)? else { return Ok(None) };
        let mut sound = true;
        check_file(&pack, |_, _| sound = false).map_err(io)?;
        if !sound {
            log::error!("{}: damaged, and left as it is: see strata verify", path.display());
            return Ok(None);
        }
        let before = pack.file().metadata().map_err(io)?.len();
        let room = self.log.room()?;
        // What is kept free on a disk is for this, too: it is what makes it less full.
        if room.free < before.min(room_for(&records, dead)) {
            return Err(Error::NoSpace(self.layout.root().to_owned()));
        }
        let (hollow, records) = Hollow::new(&pack, (self.id, number), records, dead).map_err(io)?;
        let (new, after) = self.packs.write_new(number, |file| {
            let after = rewrite(&hollow, (self.id, number), &records, file)?;
            match holds_the_same(&PackFile::read_once(file.try_clone()?)?, &hollow)? {
                true => Ok(after),
                false => Err(io::Error::other("it does not hold what it was made from")),
            }
        })?;
        Identity::require(identity::COMPRESSED, &self.layout)?;
        self.packs.replace(number, &new)?;
        self.packs.sync_names().inspect_err(|e| self.log.fail(&chain(e)))?;
        let freed = before.saturating_sub(after);
        self.saved.fetch_add(freed, Ordering::AcqRel);
        Ok(Some(freed))
    }

    fn compress(&self, number: u32, effort: Effort) -> Result<Compacted> {
        let path = self.packs.path(number);
        let io = |e| Error::io("compress", &path, e);
        // Opened anew: what others read of it stays in their cache.
        let pack = self.packs.file(number)?.file().try_clone().and_then(PackFile::read_once).map_err(io)?;
        let again = pack.frames().is_some();
        if again && effort == Effort::Usual {
            return Ok(Compacted::default());
        }
        let Some(records) = read_footer(&pack, self.id, number).map_err(io)? else {
            return Ok(Compacted::default());
        };
        if !again && !is_compressible(&pack, &records).map_err(io)? {
            return Ok(Compacted::default());
        }
        let before = pack.file().metadata().map_err(io)?.len();
        let room = self.log.room()?;
        if room.free < reserve(room.total) + before {
            return Err(Error::NoSpace(self.layout.root().to_owned()));
        }
        let whose = (self.id, number);
        let (new, after) = self.packs.write_new(number, |file| {
            let after = compress(&pack, whose, &records, effort, file)?.filter(|after| *after < before);
            match after.is_none() || holds_the_same(&PackFile::read_once(file.try_clone()?)?, &pack)? {
                true => Ok(after),
                false => Err(io::Error::other("it does not hold what it was made from")),
            }
        })?;
        let Some(after) = after else {
            fs::remove_file(&new).map_err(|e| Error::io("remove", &new, e))?;
            return Ok(Compacted::default());
        };
        // A damaged frame is read as zeros: with these in its place, it could never be repaired.
        let mut sound = true;
        check_file(&pack, |_, _| sound = false).map_err(io)?;
        if !sound {
            fs::remove_file(&new).map_err(|e| Error::io("remove", &new, e))?;
            log::error!("{}: damaged, and left as it is: see strata verify", path.display());
            return Ok(Compacted::default());
        }
        // A release that knows no compressed packs must not open the store any more.
        Identity::require(identity::COMPRESSED, &self.layout)?;
        self.packs.replace(number, &new)?;
        // The name of a new pack may be among what was not written.
        self.packs.sync_names().inspect_err(|e| self.log.fail(&chain(e)))?;
        Ok(Compacted { packs: 1, compressed: 1, before, after })
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
        let waiting = self.log.durable().pack().saturating_sub(done.usual.next);
        if waiting > BACKLOG || (waiting > 0 && quiet >= QUIET) {
            self.next(Effort::Usual, &mut done)?;
            self.bell.ring();
        }
        Ok(())
    }
}

/// Bytes that a pack takes at most without the records at these offsets.
fn room_for(records: &[FooterEntry], dead: &BTreeSet<u32>) -> u64 {
    const MARGIN: u64 = 1 << 20;
    let kept = records.iter().filter(|entry| !dead.contains(&entry.offset));
    let kept = kept.filter(|entry| entry.header.kind != RecordKind::Void);
    let size = |entry: &FooterEntry| u64::from(RECORD_HEADER) + u64::from(entry.header.stored);
    // Each has an entry of about the size of its header in the footer.
    kept.map(|entry| size(entry) + u64::from(RECORD_HEADER)).sum::<u64>() + MARGIN
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
