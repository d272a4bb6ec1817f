//! Where objects lie, by their hashes, which come in no order.
//!
//! A new hash belongs anywhere among all those before it, so that each would have sled write another page. Instead,
//! objects that come by the thousand are a file of their own, a [`run`], beside sled's; runs of about the same size are
//! merged into a larger one, as a log-structured merge tree does (O'Neil et al., "The Log-Structured Merge-Tree", 1996).
//! Few objects at a time are entries of sled, until they are gathered into a run. Most look-ups are of hashes that are
//! not there, those of new chunks: the [`filter`] of each run answers these from memory.
//!
//! sled says which runs there are. A run is durable before sled names it, and removed when a sled that does not name it
//! any more is durable: at any time the runs that sled names are there.

mod filter;
mod merge;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use self::merge::Merge;
use self::run::{Entry, Run, unwritten};
use super::super::backing::{Backing, Entries, failed};
use super::super::heal::ROOM;
use super::super::keys;
use super::{Changed, within};
use crate::store::error::{Error, Result};
use crate::store::layout::{make_dir, sync_dir};

/// As many objects are worth a run.
const RUN_FROM: usize = if cfg!(test) { 6 } else { 4096 };
/// As many runs are merged, of up to the size of the last. At most one less of each size there are.
const FANOUT: usize = if cfg!(test) { 3 } else { 8 };
/// Runs of as many sizes are merged: larger ones, of two million entries and more, would take long. Each level is of
/// runs [`FANOUT`] times as large as those of the one before.
const LEVELS: u32 = 3;
/// Most entries of sled gathered into one run.
const GATHER: usize = if cfg!(test) { 20 } else { 1 << 16 };

/// Bytes of the key of an object: `c hash32`.
const KEY: usize = 33;

/// Whether a key is of an object.
pub fn is_key(key: &[u8]) -> bool {
    key.len() == KEY && key[0] == b'c'
}

/// The runs of an index.
#[derive(Debug)]
pub struct Objects {
    dir: PathBuf,
    /// Oldest first.
    runs: RwLock<Arc<[Arc<Run>]>>,
    /// About how many objects are entries of sled; none if 0.
    alone: AtomicUsize,
    /// Files of runs that were merged into others, to be removed when that is durable.
    merged: Mutex<Vec<PathBuf>>,
}

impl Objects {
    /// Opens the runs in `dir` that `sled` names.
    pub fn open(dir: PathBuf, sled: &Backing) -> Result<Objects> {
        let named = sled.get(keys::OBJECT_RUNS)?.unwrap_or_default();
        let (numbers, rest) = named.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(Error::Index("the list of runs of objects has no known form".into()));
        }
        let runs = numbers.iter().map(|n| Run::open(&dir, u64::from_be_bytes(*n)).map(Arc::new));
        let runs: Vec<Arc<Run>> = runs.collect::<Result<_>>()?;
        let any_alone = !sled.page(b"c", b"d", 1)?.is_empty();
        Ok(Objects {
            dir,
            runs: RwLock::new(runs.into()),
            // Counting them would take long where there are many.
            alone: AtomicUsize::new(if any_alone { RUN_FROM / 2 } else { 0 }),
            merged: Mutex::default(),
        })
    }

    /// Removes what was being written, or was not yet removed, when the index was left.
    pub fn remove_others(&self) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        let runs = self.runs();
        let is_of_run = |name: &str| runs.iter().any(|run| name == run.number.to_string());
        let removed = || {
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(is_of_run) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        removed().map_err(|e| failed(&self.dir, "clear", &e))
    }

    /// The value of `key`.
    pub fn get(&self, sled: &Backing, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        // In this order: what is gathered is in a run before sled has it no more.
        if self.alone.load(Ordering::Acquire) > 0
            && let Some(value) = sled.get(key)?
        {
            return Ok(Some(value));
        }
        let Some(hash) = key.get(1..).and_then(|hash| hash.try_into().ok()) else { return Ok(None) };
        for run in self.runs().iter().rev() {
            if let Some(entry) = run.get(hash)? {
                return Ok(Some(entry.value().into()));
            }
        }
        Ok(None)
    }

    /// Adds objects that are in runs, from `start` up to `end`, until there are `limit` altogether.
    pub fn page(&self, start: &[u8], end: &[u8], limit: usize, found: &mut Entries) -> Result<()> {
        let Some((start, end)) = within::<KEY>(b'c', start, end) else { return Ok(()) };
        let (runs, end) = (self.runs(), (end[0] == b'c').then_some(end));
        let from = std::array::from_fn(|at| start[at + 1]);
        let mut merge = Merge::new(runs.iter().rev().map(|run| &**run), &from)?;
        while found.len() < limit
            && let Some(entry) = merge.next().transpose()?
        {
            if end.is_some_and(|end| entry.hash()[..] >= end[1..]) {
                break;
            }
            found.push((keys::object(entry.hash()).into(), Some(entry.value().into())));
        }
        Ok(())
    }

    /// Applies changes of objects, in the order of their keys.
    pub fn apply(&self, sled: &Backing, changes: &[Changed<'_>]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let entry =
            |(key, value): &Changed<'_>| value.as_deref().and_then(|value| Entry::new(key.get(1..)?, value));
        let new: Vec<Entry> = changes.iter().filter_map(entry).collect();
        let alone = self.alone.load(Ordering::Acquire);
        if new.len() < changes.len() || new.len() + alone < RUN_FROM {
            self.alone.store(alone + changes.len(), Ordering::Release);
            return sled.apply(changes.iter().copied());
        }
        let in_sled = if alone > 0 { sled.page(b"c", b"d", GATHER)? } else { Entries::new() };
        let old: Vec<Entry> = in_sled.iter().filter_map(|(key, value)| entry(&(key, value))).collect();
        let is_all = in_sled.len() < GATHER && old.len() == in_sled.len();
        self.add(sled, &united(&new, &old))?;
        // Those of sled would count as newer.
        let new: &[Entry] = if is_all { &[] } else { &new };
        let outdated = old.iter().chain(new).map(|entry| keys::object(entry.hash()));
        sled.apply(outdated.map(|key| (key, &None)))?;
        self.alone.store(if is_all { 0 } else { RUN_FROM }, Ordering::Release);
        self.merge(sled)
    }

    /// To be called when what `sled` has is durable.
    pub fn synced(&self) {
        for path in self.merged.lock().drain(..) {
            if let Err(e) = fs::remove_file(&path) {
                log::debug!("cannot remove {}: {e}", path.display());
            }
        }
    }

    fn runs(&self) -> Arc<[Arc<Run>]> {
        self.runs.read().clone()
    }

    /// Adds a run.
    fn add(&self, sled: &Backing, entries: &[Entry]) -> Result<()> {
        let mut runs = self.runs().to_vec();
        let entries_of_it = entries.iter().copied().map(Ok);
        runs.push(self.write(entries.len() as u64, entries_of_it)?);
        self.install(sled, runs)
    }

    fn write(&self, most: u64, entries: impl Iterator<Item = Result<Entry>>) -> Result<Arc<Run>> {
        let io = |e| failed(&self.dir, "make", &e);
        if !self.dir.exists() {
            make_dir(&self.dir, true).map_err(unwritten)?;
            self.dir.parent().map_or(Ok(()), sync_dir).map_err(io)?;
        }
        let last = self.runs().iter().map(|run| run.number).max().unwrap_or(0);
        let run = Run::write(&self.dir, last + 1, most, entries)?;
        sync_dir(&self.dir).map_err(io)?;
        Ok(Arc::new(run))
    }

    fn install(&self, sled: &Backing, runs: Vec<Arc<Run>>) -> Result<()> {
        let named: Vec<u8> = runs.iter().flat_map(|run| run.number.to_be_bytes()).collect();
        sled.put(keys::OBJECT_RUNS, &named)?;
        *self.runs.write() = runs.into();
        Ok(())
    }

    /// Merges runs until there are few of each size. Where there is no room for that, another time will do.
    fn merge(&self, sled: &Backing) -> Result<()> {
        loop {
            let runs = self.runs();
            let counts: Vec<u64> = runs.iter().map(|run| run.count).collect();
            let (kept, merged) = runs.split_at(runs.len() - to_merge(&counts));
            let most: u64 = merged.iter().map(|run| run.count).sum();
            if merged.is_empty() || !has_room(&self.dir, most * size_of::<Entry>() as u64) {
                return Ok(());
            }
            let entries = Merge::new(merged.iter().rev().map(|run| &**run), &[0; 32])?;
            let run = match self.write(most, entries) {
                Err(Error::NoSpace(_)) => return Ok(()),
                run => run?,
            };
            self.install(sled, kept.iter().cloned().chain([run]).collect())?;
            self.merged.lock().extend(merged.iter().map(|run| self.dir.join(run.number.to_string())));
        }
    }
}

/// How many of the newest runs, of these many entries, are to be merged.
fn to_merge(counts: &[u64]) -> usize {
    let level = |count: u64| (count / RUN_FROM as u64).max(1).ilog(FANOUT as u64);
    let Some(newest) = counts.last().map(|count| level(*count)).filter(|newest| *newest < LEVELS) else {
        return 0;
    };
    let alike = counts.iter().rev().take_while(|count| level(**count) <= newest).count();
    if alike >= FANOUT { alike } else { 0 }
}

fn has_room(dir: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= bytes + ROOM)
}

/// Entries in the order of their hashes: new ones, and old ones that are not among these.
fn united(new: &[Entry], old: &[Entry]) -> Vec<Entry> {
    let mut all = [new, old].concat();
    // Stable: the new ones stay before the old.
    all.sort_by_key(|entry| *entry.hash());
    all.dedup_by_key(|entry| *entry.hash());
    all
}

#[cfg(test)]
mod tests;
