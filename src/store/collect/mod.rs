//! Giving back the space of objects that nothing needs any more.
//!
//! Which those are is found out by who knows the datasets, and given as [`Candidates`] that were not marked. To
//! be forgotten, an object is first named in a record of the log ([`ReclaimRecord`]), with which it is gone from
//! the index, now and in every replay: whoever puts it again stores it again. Only once that record is durable
//! are the packs rewritten, file by file, with the bytes of what is dead left out ([`super::compact`]); what stays
//! in a pack stays where it was. Last, small packs are joined ([`Store::join_packs`]): each collection seals one.
//! A process that dies in between leaves bytes that the next collection finds, since the index has nothing at
//! their place.
//!
//! Which objects can be garbage at all follows, for the most part, from what the last collection found (`looked`)
//! and what was put and pruned since (`suspects`). So only these are looked for, and not even these as long as no
//! pack has so many of them that it would be rewritten, or it would cost more than it can gain: then they are noted
//! for the next one. Whatever is forgotten was looked for in all that is needed.
//!
//! What is put while a collection is under way is not forgotten by it: what is new goes to packs that it does
//! not look at, and what is found to be there already by who puts it is noted. So is what is copied from one file
//! to another, which is not put ([`Store::note_copied`]). What was put before and is not part of a tree yet is for
//! the caller to mark, or to exclude by [`Store::hold`].

mod candidates;
mod looked;
mod suspects;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::Store;
use super::compact::Eagerness;
use super::error::{Error, Result, chain};
use super::manifest::content_id;
use super::pack::{FooterEntry, Pos, RECORD_HEADER, RecordKind, Span, seal_size};
use crate::model::{Content, ContentId, ReclaimRecord};

use self::candidates::short;
use self::looked::{Looked, OPEN_MAX};

pub use self::candidates::{Candidates, Need, Sought};
pub use self::suspects::{Suspects, Weighed};

/// Objects of which it is found out at once whether they are needed: 8 bytes each and a bit.
const CANDIDATES_MAX: usize = 4 << 20;
/// Objects named in one record.
const FORGET_MAX: usize = 8192;
/// Bytes that the last pack must have to be sealed for a collection.
const SEAL_BYTES: u32 = 64 << 10;
/// A file of packs of which one part in so many is dead is rewritten.
const SHARE: u64 = 5;

/// What is put while a collection is under way; and who holds objects that no tree has yet.
#[derive(Debug, Default)]
pub struct Collecting {
    touched: RwLock<Option<Touched>>,
    in_flight: RwLock<()>,
}

/// What is used anew while a collection is under way.
#[derive(Debug, Default)]
struct Touched {
    /// Objects that were put and there already.
    objects: Mutex<HashSet<[u8; 32]>>,
    /// Contents of which a part was copied.
    copied: Mutex<HashMap<ContentId, Content>>,
}

impl Collecting {
    /// Asks `is_known` of an object that is put; one that is there stays there.
    pub fn touch(&self, hash: &[u8; 32], is_known: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let touched = self.touched.read();
        let known = is_known()?;
        if let (true, Some(touched)) = (known, &*touched) {
            touched.objects.lock().insert(*hash);
        }
        Ok(known)
    }
}

/// What a collection came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Packs looked at.
    pub packs: u64,
    /// Packs rewritten.
    pub rewritten: u64,
    /// Objects that nothing needs.
    pub objects: u64,
    /// Their bytes.
    pub dead: u64,
    /// Bytes of them in packs that have too few of them to be rewritten.
    pub left: u64,
    /// Bytes the packs take less on disk.
    pub freed: u64,
    /// Packs that are damaged, and were left as they are.
    pub damaged: u64,
    /// Objects that were to go and are needed again.
    pub put_again: u64,
    /// Bytes of objects that may be garbage, and were not looked for: they are too few to be worth it.
    pub unsure: u64,
    /// By how many files there are fewer, since small packs were joined.
    pub joined: u64,
}

/// What is known of an object of a pack.
enum Verdict {
    /// It stays.
    Kept,
    /// It stays, and may be garbage before long with nothing in the log to tell of it.
    Open,
    /// Nothing needs it.
    Dead,
}

/// Packs that are being collected.
struct Round<'a> {
    verdict: &'a dyn Fn(&[u8; 32]) -> Verdict,
    all: bool,
    dry_run: bool,
    collection: &'a mut Collection,
    /// What is left open: pack and offset.
    open: &'a mut Vec<(u32, u32)>,
}

/// Records of a pack that nothing needs: what they hold, and where, by offset.
type Dead = BTreeMap<u32, ([u8; 32], Pos)>;

/// Bytes of a record; those of one of nothing take next to no room.
fn size_of(entry: &FooterEntry) -> u64 {
    match entry.header.kind {
        RecordKind::Void => 0,
        _ => u64::from(RECORD_HEADER) + u64::from(entry.header.stored),
    }
}

/// A collection under way, of the packs before the one that was written to when it began; a drop ends it.
pub struct Underway<'a> {
    store: &'a Store,
    end: u32,
    /// What it leaves open: pack and offset.
    open: Vec<(u32, u32)>,
    /// Values of inodes that were gone through when it was last found out what is needed.
    values: u64,
}

impl Underway<'_> {
    /// Notes how many values of inodes were gone through to find out what is needed; it may have been known before
    /// all were.
    pub fn note_values(&mut self, values: u64) {
        self.values = self.values.max(values);
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        *self.store.collecting.touched.write() = None;
    }
}

impl Store {
    /// Keeps collections from beginning while objects are put that no tree has yet.
    pub fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.collecting.in_flight.read()
    }

    /// Begins a collection: what is put from here on is not forgotten by it. The pack that is written to is
    /// sealed first, and taken in, if it has some bytes; if `all`, any.
    ///
    /// # Errors
    /// [`Error::Refused`] where one is under way, or something that holds objects.
    pub fn begin_collection(&self, all: bool) -> Result<Underway<'_>> {
        self.log.check_writable()?;
        let mut touched = self.collecting.touched.write();
        if touched.is_some() {
            return Err(Error::Refused("another collection is under way: try again when it is done".into()));
        }
        *touched = Some(Touched::default());
        drop(touched);
        let mut underway = Underway { store: self, end: 0, open: Vec::new(), values: 0 };
        // Held until it is known which packs are looked at: what is in flight later is in none of them.
        let Some(_none) = self.collecting.in_flight.try_write() else {
            return Err(Error::Refused("an import is under way: try again when it is done".into()));
        };
        self.log.seal(if all { 1 } else { SEAL_BYTES.min(seal_size() / 2) })?;
        underway.end = self.log.sync()?.pack();
        Ok(underway)
    }

    /// The records of a pack; `None` where it is damaged.
    fn footer_of(&self, pack: u32) -> Result<Option<Vec<FooterEntry>>> {
        let file = self.packs.file(pack)?;
        file.records((self.id, pack)).map_err(|e| Error::io("read", &self.packs.path(pack), e))
    }

    /// Notes that a part of a content is used by another file from now on: by a collection that is under way,
    /// it is needed, whatever becomes of the file that it is the content of.
    pub fn note_copied(&self, content: &Content) {
        if let Some(touched) = &*self.collecting.touched.read() {
            touched.copied.lock().insert(content_id(content), content.clone());
        }
    }

    /// The contents that were noted since a collection began, if one is under way.
    pub fn copied(&self) -> Vec<Content> {
        let touched = self.collecting.touched.read();
        touched.as_ref().map_or_else(Vec::new, |touched| touched.copied.lock().values().cloned().collect())
    }

    /// The objects of the packs after `after`, of as many packs as can be dealt with at once; `None` after the
    /// last.
    pub fn candidates(&self, underway: &Underway<'_>, after: u32) -> Result<Option<Candidates>> {
        let (mut packs, mut hashes) = (Vec::new(), Vec::new());
        for pack in self.packs.numbers()?.into_iter().filter(|n| *n > after && *n < underway.end) {
            let entries = self.footer_of(pack)?.unwrap_or_default();
            let objects = entries.iter().filter(|entry| entry.header.kind.is_object());
            hashes.extend(objects.map(|entry| short(&entry.header.hash)));
            packs.push(pack);
            if hashes.len() >= CANDIDATES_MAX {
                break;
            }
        }
        Ok((!packs.is_empty()).then(|| Candidates::new(packs, hashes)))
    }

    /// Forgets the candidates that were not marked, and rewrites the packs that have enough of them; all that
    /// have any if `all`. Adds to `collection` what it came to, and gives the last pack looked at. With
    /// `dry_run` nothing is changed.
    pub fn collect(
        &self,
        underway: &mut Underway<'_>,
        candidates: &Candidates,
        (all, dry_run): (bool, bool),
        collection: &mut Collection,
        step: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<u32> {
        let verdict = |hash: &[u8; 32]| match candidates.verdict(hash) {
            None | Some(Some(Need::Version)) => Verdict::Kept,
            Some(Some(Need::Passing)) => Verdict::Open,
            Some(None) => Verdict::Dead,
        };
        let open = &mut underway.open;
        let mut round = Round { verdict: &verdict, all, dry_run, collection, open };
        let done = self.collect_packs(candidates.packs.clone(), &mut round, step)?;
        let last = candidates.packs.last().filter(|_| done.is_continue());
        Ok(last.copied().unwrap_or(u32::MAX))
    }

    /// Removes these objects from every pack that has them, of a collection of `all`.
    pub fn remove_objects(
        &self,
        underway: &mut Underway<'_>,
        objects: &HashSet<[u8; 32]>,
        collection: &mut Collection,
    ) -> Result<()> {
        let packs = self.packs.numbers()?.into_iter().filter(|n| *n < underway.end).collect();
        let verdict = |hash: &[u8; 32]| if objects.contains(hash) { Verdict::Dead } else { Verdict::Kept };
        let open = &mut underway.open;
        let mut round = Round { verdict: &verdict, all: true, dry_run: false, collection, open };
        self.collect_packs(packs, &mut round, &mut || ControlFlow::Continue(())).map(drop)
    }

    /// Leaves it at what the suspects are: it is not worth to find out whether they are needed.
    pub fn leave(&self, underway: &mut Underway<'_>, weighed: Weighed, collection: &mut Collection) {
        collection.unsure += weighed.bytes;
        underway.open.extend(weighed.open);
    }

    /// Notes what a collection found, for the next one: to be called once all of it is done.
    pub fn note_collected(&self, underway: Underway<'_>, collection: &Collection) {
        let mut open = underway.open.clone();
        // In a damaged pack nothing was found.
        if collection.damaged > 0 || open.len() > OPEN_MAX {
            return;
        }
        open.sort_unstable();
        let looked = Looked { before: underway.end, open, values: underway.values };
        if let Err(e) = looked.write(&self.layout, self.id) {
            log::warn!("{}; the next collection looks at all again", chain(&e));
        }
    }

    /// Joins small packs that are neighbours into one file, as far as that costs little over time; all that fit
    /// into one if `all`. Gives how many files there are fewer.
    pub fn join_packs(&self, all: bool, step: &mut dyn FnMut() -> ControlFlow<()>) -> Result<u64> {
        self.compactor.join(if all { Eagerness::All } else { Eagerness::Amortised }, step)
    }

    /// Collects packs file by file. One that there is no room to rewrite may find it when others are done.
    fn collect_packs(
        &self,
        packs: Vec<u32>,
        round: &mut Round<'_>,
        step: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut files: Vec<(Span, Vec<u32>)> = Vec::new();
        for pack in packs {
            match files.last_mut() {
                Some((span, file)) if span.contains(&pack) => file.push(pack),
                _ => files.push((self.packs.span(pack), vec![pack])),
            }
        }
        let mut files: Vec<Vec<u32>> = files.into_iter().map(|(_, file)| file).collect();
        while !files.is_empty() {
            let (count, mut full) = (files.len(), Vec::new());
            for file in files {
                if step().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let before = (*round.collection, round.open.len());
                match self.collect_file(&file, round) {
                    Err(Error::NoSpace(_)) => {
                        *round.collection = before.0;
                        round.open.truncate(before.1);
                        full.push(file);
                    }
                    done => done?,
                }
            }
            if full.len() == count {
                return Err(Error::Refused(format!(
                    "{} bytes were given back, but the disk has no room to rewrite {} further pack{}, which takes \
                     what is kept of one and 1 MiB: free some space on it, and try again",
                    round.collection.freed,
                    full.len(),
                    if full.len() == 1 { "" } else { "s" },
                )));
            }
            files = full;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Collects packs that are in one file.
    fn collect_file(&self, packs: &[u32], round: &mut Round<'_>) -> Result<()> {
        let Round { verdict, all, dry_run, collection, open } = round;
        let mut dead: BTreeMap<u32, Dead> = BTreeMap::new();
        let (mut bytes, mut total) = (0, 0);
        for &pack in packs {
            collection.packs += 1;
            let Some(entries) = self.footer_of(pack)? else {
                log::error!("{}: damaged, and left as it is", self.packs.path(pack).display());
                collection.damaged += 1;
                continue;
            };
            let mut here = Dead::new();
            for entry in &entries {
                total += size_of(entry);
                if !entry.header.kind.is_object() {
                    continue;
                }
                match verdict(&entry.header.hash) {
                    Verdict::Kept => {}
                    Verdict::Open => open.push((pack, entry.offset)),
                    Verdict::Dead => {
                        bytes += size_of(entry);
                        here.insert(entry.offset, (entry.header.hash, entry.pos(pack)));
                    }
                }
            }
            if !here.is_empty() {
                dead.insert(pack, here);
            }
        }
        let places = |dead: &BTreeMap<u32, Dead>| -> Vec<(u32, u32)> {
            dead.iter().flat_map(|(pack, here)| here.keys().map(|offset| (*pack, *offset))).collect()
        };
        let wanted = places(&dead);
        if dead.is_empty() {
            return Ok(());
        }
        collection.objects += wanted.len() as u64;
        collection.dead += bytes;
        if !*all && bytes < total / SHARE {
            collection.left += bytes;
            open.extend(wanted);
            return Ok(());
        }
        if *dry_run {
            return Ok(());
        }
        dead.values_mut().try_for_each(|here| self.forget(here))?;
        dead.retain(|_, here| !here.is_empty());
        let gone: HashSet<(u32, u32)> = places(&dead).into_iter().collect();
        collection.put_again += (wanted.len() - gone.len()) as u64;
        open.extend(wanted.into_iter().filter(|place| !gone.contains(place)));
        if dead.is_empty() {
            return Ok(());
        }
        let count = dead.len() as u64;
        let offsets = dead.into_iter().map(|(pack, here)| (pack, here.into_keys().collect())).collect();
        match self.compactor.reclaim(&offsets)? {
            Some(freed) => {
                collection.rewritten += count;
                collection.freed += freed;
            }
            None => collection.damaged += count,
        }
        Ok(())
    }

    /// Takes objects out of the index, durably; those that were put meanwhile are left out of `dead`.
    fn forget(&self, dead: &mut Dead) -> Result<()> {
        Looked::remove(&self.layout)?;
        let offsets: Vec<u32> = dead.keys().copied().collect();
        for part in offsets.chunks(FORGET_MAX) {
            // No one finds an object there while it is decided that it goes.
            let touched = self.collecting.touched.write();
            let mut objects = Vec::new();
            for offset in part {
                let Some((hash, pos)) = dead.get(offset).copied() else { continue };
                match self.object_pos(&hash)? {
                    Some(found) if found == pos => {
                        if touched.as_ref().is_some_and(|touched| touched.objects.lock().contains(&hash)) {
                            dead.remove(offset);
                        } else {
                            objects.push(hash);
                        }
                    }
                    // What is here is no longer what is read: it was forgotten before, or stored again.
                    _ => {}
                }
            }
            if !objects.is_empty() {
                self.append_reclaim(&ReclaimRecord { objects })?;
            }
        }
        self.log.sync().map(drop)
    }
}
