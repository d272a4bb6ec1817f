//! What becomes of an index whose sled failed, while the store is open.
//!
//! sled refuses everything after an error, so it is opened again. If that fails, or it fails again at
//! once, it is put aside and a new one is made of the packs. If that fails too (a full disk, a failing
//! one), everything the packs say is kept in memory, until a new sled can be made.
//!
//! The packs hold all that the index ever held, so each of these comes to the same, and readers only wait
//! a while: no error of the index is an error of theirs, unless the packs cannot be read.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::aside::put_aside;
use super::backing::Entries;
use super::change::Change;
use super::memtable::{Frozen, Memtable};
use super::packed::Packed;
use super::{Applied, Index, WAIT_AT, keys, open_backing};
use crate::store::error::{Error, Result};
use crate::store::pack::LogPos;

/// A sled that fails so soon after it was opened is not worth another try.
const AGAIN: Duration = Duration::from_secs(10);
/// How often an index that cannot be had at all is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// As often in a row applying must fail for sled itself to be in doubt.
const FAILURES: u32 = 3;
/// Free space with which a failure is none for want of space.
pub(super) const ROOM: u64 = 64 << 20;

/// Takes up what a replay of the log finds.
pub trait Target {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>>;
    /// The last key that starts with `prefix`, among keys that are never deleted.
    fn last(&self, prefix: &[u8]) -> Result<Option<Box<[u8]>>>;
    /// Takes up the changes of records that end at `end`.
    fn take(&self, changes: Vec<Change>, end: LogPos) -> Result<()>;
}

/// Reads the log again.
pub trait Replay: Debug + Send + Sync {
    /// Gives `into` the records from `from` up to `until`, which is no further than the log's end.
    fn replay(&self, from: LogPos, until: LogPos, into: &dyn Target) -> Result<()>;
}

/// What there is of sled.
#[derive(Debug)]
pub enum State {
    /// It is open.
    Sled(Packed),
    /// It is not, and everything is in memory.
    Memory,
    /// Nothing can be told.
    Failed,
}

/// The place of sled. Who looks something up holds it from before looking into memory: when sled is
/// replaced, what is in which changes.
#[derive(Debug)]
pub struct Slot {
    pub state: State,
    /// Counts replacements.
    pub generation: u64,
    pub healed: Option<Instant>,
}

impl Slot {
    pub fn new(state: State) -> Slot {
        Slot { state, generation: 0, healed: None }
    }

    /// Calls sled, if it holds anything.
    fn ask<T: Default>(&self, call: impl FnOnce(&Packed) -> Result<T>) -> Result<T> {
        match &self.state {
            State::Sled(backing) => call(backing),
            State::Memory => Ok(T::default()),
            State::Failed => Err(Error::Index("it failed, and the packs could not be read instead".into())),
        }
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.ask(|backing| backing.get(key))
    }

    pub fn page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Entries> {
        self.ask(|backing| backing.page(start, end, limit))
    }

    pub fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Box<[u8]>>> {
        self.ask(|backing| backing.last(start, end))
    }
}

/// Why sled is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A look-up failed.
    Read,
    /// Applying failed.
    Write,
    /// What it wrote may be lost.
    Doubt,
}

impl Index {
    /// Replaces sled, unless it is not the one of this generation any more. `applied` is held.
    pub(super) fn heal(
        &self,
        applied: &mut Applied,
        generation: u64,
        cause: Cause,
        why: &Error,
    ) -> Result<()> {
        let mut slot = self.slot.write();
        if slot.generation != generation {
            return Ok(());
        }
        let since = slot.healed.map(|at| at.elapsed());
        if matches!(slot.state, State::Failed) && since.is_some_and(|since| since < RETRY) {
            return Err(Error::Index(format!("it failed ({why})")));
        }
        log::error!("{why}; opening the index anew, nothing is lost");
        let again = cause == Cause::Read && since.is_some_and(|since| since < AGAIN);
        // Dropped first: it has its files locked.
        slot.state = State::Failed;
        slot.healed = Some(Instant::now());
        slot.generation += 1;
        let healed = self.healed(again || cause == Cause::Doubt, applied.until())?;
        let in_memory = matches!(healed.state, State::Memory);
        log::warn!("the index is {}", if in_memory { "kept in memory for now" } else { "open again" });
        self.install(&mut slot, applied, healed);
        Ok(())
    }

    /// Has sled fail, and be opened again (0), made anew (1) or done without (2).
    #[cfg(test)]
    pub fn lose(&self, how: u8) {
        let mut applied = self.applied.lock();
        let mut slot = self.slot.write();
        slot.state = State::Failed;
        slot.generation += 1;
        let healed = match how {
            2 => self.kept_in_memory(applied.until()),
            how => self.healed(how == 1, applied.until()),
        };
        self.install(&mut slot, &mut applied, healed.unwrap());
    }

    fn install(&self, slot: &mut Slot, applied: &mut Applied, healed: Healed) {
        self.mem.write().add_older(healed.frozen);
        applied.known = applied.known.max(applied.flushed);
        (applied.flushed, applied.durable) = (healed.end, healed.end);
        slot.state = healed.state;
    }

    /// Makes everything up to `until` known again.
    fn healed(&self, fresh: bool, until: LogPos) -> Result<Healed> {
        let told = |e: &Error| log::error!("{e}; trying otherwise");
        if !fresh {
            match self.opened(until) {
                Err(e) => told(&e),
                healed => return healed,
            }
        }
        match put_aside(&self.dir).and_then(|()| self.opened(until)) {
            Err(e) => told(&e),
            healed => return healed,
        }
        self.kept_in_memory(until)
    }

    fn replay(&self, from: LogPos, until: LogPos, into: &dyn Target) -> Result<()> {
        match &self.replay {
            Some(replay) => replay.replay(from, until, into),
            None => Err(Error::Index("it is only looked at".into())),
        }
    }

    fn kept_in_memory(&self, until: LogPos) -> Result<Healed> {
        let part = Part::new(LogPos::default(), BTreeSet::new(), None);
        self.replay(LogPos::default(), until, &part)?;
        Ok(part.finish())
    }

    /// Opens what is there, or a new one, and replays what it does not have.
    fn opened(&self, until: LogPos) -> Result<Healed> {
        let (backing, watermark) = open_backing(&self.dir, &self.meta)?;
        if watermark > until {
            return Err(Error::Index("it knows more than was applied".into()));
        }
        let pending = super::stored_pending(&backing)?;
        let part = Part::new(watermark, pending, Some(backing));
        self.replay(watermark, until, &part)?;
        Ok(part.finish())
    }

    /// What to do about a failed application.
    pub(super) fn heal_applying(&self, applied: &mut Applied, why: &Error) {
        applied.failures += 1;
        let room = || rustix::fs::statvfs(&self.dir).is_ok_and(|s| s.f_bavail * s.f_frsize >= ROOM);
        let cause = match applied {
            Applied { in_doubt: true, .. } => Cause::Doubt,
            Applied { failures: FAILURES.., .. } if room() => Cause::Doubt,
            _ => Cause::Write,
        };
        applied.in_doubt = false;
        let slot = self.slot.read();
        let (generation, in_memory) = (slot.generation, matches!(slot.state, State::Memory));
        drop(slot);
        if in_memory {
            return;
        }
        if cause == Cause::Doubt {
            applied.failures = 0;
        }
        if let Err(e) = self.heal(applied, generation, cause, why) {
            log::error!("{e}");
        }
    }

    /// Makes a new sled where everything is in memory, to be applied to it.
    pub(super) fn leave_memory(&self, applied: &mut Applied) -> Result<()> {
        if !matches!(self.slot.read().state, State::Memory) {
            return Ok(());
        }
        put_aside(&self.dir)?;
        let (backing, watermark) = open_backing(&self.dir, &self.meta)?;
        let mut slot = self.slot.write();
        slot.state = State::Sled(backing);
        slot.generation += 1;
        (applied.flushed, applied.durable) = (watermark, watermark);
        log::warn!("the index is on disk again, as far as it can be written");
        Ok(())
    }
}

/// Sled, or nothing, and in memory what it does not have.
struct Healed {
    state: State,
    frozen: VecDeque<Frozen>,
    /// Up to here sled has it, durably.
    end: LogPos,
}

/// An index in the making.
struct Part {
    mem: Mutex<Memtable>,
    backing: Option<Packed>,
    end: Mutex<LogPos>,
}

impl Part {
    fn new(end: LogPos, pending: BTreeSet<keys::PendingKey>, backing: Option<Packed>) -> Part {
        Part { mem: Mutex::new(Memtable::new(end, pending)), backing, end: Mutex::new(end) }
    }

    fn finish(self) -> Healed {
        let mut mem = self.mem.into_inner();
        mem.freeze();
        let state = self.backing.map_or(State::Memory, State::Sled);
        Healed { state, frozen: mem.into_frozen(), end: self.end.into_inner() }
    }
}

impl Target for Part {
    fn get(&self, key: &[u8]) -> Result<Option<Box<[u8]>>> {
        match (self.mem.lock().get(key), &self.backing) {
            (Some(value), _) => Ok(value),
            (None, Some(backing)) => backing.get(key),
            (None, None) => Ok(None),
        }
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Box<[u8]>>> {
        let end = keys::after_prefix(prefix);
        let stored = self.backing.as_ref().map_or(Ok(None), |backing| backing.last(prefix, &end))?;
        Ok(self.mem.lock().last(prefix, &end).max(stored))
    }

    fn take(&self, changes: Vec<Change>, end: LogPos) -> Result<()> {
        let mut mem = self.mem.lock();
        mem.publish(changes, end);
        let Some(backing) = self.backing.as_ref().filter(|_| mem.bytes() >= WAIT_AT / 2) else {
            return Ok(());
        };
        // All this was applied before, so the log is durable that far.
        mem.freeze();
        while let Some(frozen) = mem.oldest() {
            backing.apply(&frozen.changes)?;
            backing.flush()?;
            backing.sync()?;
            *self.end.lock() = frozen.end;
            mem.drop_oldest();
        }
        Ok(())
    }
}
