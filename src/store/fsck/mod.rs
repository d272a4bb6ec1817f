//! Checking a closed store and putting right what can be put right.
//!
//! 1. `place`: which store this is, and whether its packs are there under their names.
//! 2. `compressed`, `joined`, `scan`, `gap`, `restore`: every record of every pack. What is damaged is restored
//!    where it lies, from what tells what it was: the footer or the index for a header, a copy elsewhere in the log for a
//!    payload, the hash for a single flipped bit (`flip`).
//! 3. `index`: whether the index is what a replay of the log gives. What only the old one still knows of
//!    versions whose records are lost goes into the log.
//!
//! Nothing is destroyed: a file is never changed but replaced, and the old one kept in `damaged/`. What
//! the versions then still lack is found by verifying them, which is not done here.

mod compressed;
pub(super) mod flip;
mod gap;
mod index;
mod joined;
mod place;
mod restore;
mod salvage;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use self::gap::{Knows, Part};
use self::restore::{Copies, Plan, Planner};
use self::scan::PackScan;
use super::error::{Error, Result};
use super::identity::Identity;
use super::index::keys;
use super::layout::{LastSession, Layout};
use super::media::Disk;
use super::pack::{
    LogPos, PACK_HEADER, Packs, Place, PlaceNote, Pos, ReadAt, Scanner, Step, create_pack, read_record,
};
use super::{Store, plain};
use crate::model::VersionId;

/// How a store is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsckOptions {
    /// Change nothing, only say what would be done.
    pub dry_run: bool,
    /// Make the index anew even if nothing is wrong with it.
    pub rebuild_index: bool,
}

/// What became of a problem, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as it was before the damage, or as good.
    Repaired,
    /// It cannot be restored. Verifying the versions tells whether anything needs it.
    GivenUp,
    /// It cannot be restored, and nothing else tells of it.
    Lost,
}

/// Something wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// The file, from the store's directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What was done about it.
    pub action: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Problem {
    fn of(file: &str, offset: Option<u64>, what: String, action: String, outcome: Outcome) -> Problem {
        Problem { file: file.to_owned(), offset, what, action, outcome }
    }
}

/// A check under way.
struct Fsck<'a> {
    layout: Layout,
    options: FsckOptions,
    report: &'a mut dyn FnMut(Problem) -> Result<()>,
    problems: u64,
    /// Whether packs would be under other names than they are.
    moved: bool,
    /// The indexes there are: the present one, if it opens, and those put aside.
    sources: Vec<index::Source>,
    index_error: Option<String>,
    salvage: index::Salvage,
}

/// Checks the closed store in `dir` and repairs it, calling `report` with each problem. Gives their
/// number.
///
/// # Errors
/// [`Error::InUse`] where it is open, [`Error::NotAStore`], [`Error::NewerFormat`]; where the disk fails,
/// or too little is left to tell what store this is.
pub fn fsck(dir: &Path, options: FsckOptions, report: &mut dyn FnMut(Problem) -> Result<()>) -> Result<u64> {
    let layout = Layout::new(dir);
    if let Err((error @ (Error::NotAStore(_) | Error::NewerFormat { .. }), false)) =
        Identity::read_or_tell(&layout)
    {
        return Err(error);
    }
    layout.check_dirs()?;
    let lock = layout.lock()?;
    let (sources, salvage) = (Vec::new(), Default::default());
    let (problems, moved, index_error) = (0, false, None);
    let mut fsck = Fsck { layout, options, report, problems, moved, sources, index_error, salvage };
    fsck.run(lock)?;
    Ok(fsck.problems)
}

impl Fsck<'_> {
    fn problem(&mut self, problem: Problem) -> Result<()> {
        self.problems += 1;
        (self.report)(problem)
    }

    fn run(&mut self, lock: File) -> Result<()> {
        let mut session = self.layout.last_session()?;
        if session == LastSession::PowerLoss && !self.options.dry_run {
            // What a power loss leaves, opening brings in order; what it does not is damage.
            let locked = lock.try_clone().map_err(|e| Error::io("lock", self.layout.root(), e))?;
            let opened = Identity::read(&self.layout).and_then(|identity| {
                Store::open_locked(self.layout.clone(), identity, locked, Arc::new(Disk))
            });
            match opened.and_then(Store::close) {
                Ok(()) => session = LastSession::Closed,
                Err(e) => log::info!("not opened as it is: {e}"),
            }
        }
        if !plain::is_dir(&self.layout.packs()).map_err(|e| Error::io("use", &self.layout.packs(), e))? {
            let what = format!("{} is missing", self.layout.packs().display());
            return Err(Error::Damaged { what, advice: "without its packs nothing is left of a store" });
        }
        let mut identity = self.identity()?;
        let packs = Packs::new(self.layout.packs(), identity.id);
        if !self.options.dry_run {
            packs.clear_left_over()?;
        }
        self.joined_names(&packs, identity.id)?;
        self.names(&packs, identity.id)?;
        if self.moved {
            // What the packs hold can only be seen once they have their names.
            return Ok(());
        }
        let synced = PlaceNote::read(&self.layout.synced())?;
        self.open_sources(identity.id)?;
        let watermark = self.watermark();
        // The log was at least as long as these say.
        let reached = synced.unwrap_or_default().max(watermark);
        self.missing(&packs, &mut identity, reached.pack())?;
        let end = self.packs(&packs, &identity, synced.unwrap_or_default(), reached)?;
        self.note_synced(synced, end)?;
        if self.options.dry_run && self.problems > 0 {
            // What the index should be shows only once the packs are put right.
            return Ok(());
        }
        self.index(identity.id, &packs, session, end)?;
        if self.options.dry_run {
            return Ok(());
        }
        let salvage = std::mem::take(&mut self.salvage);
        let layout = self.layout.clone();
        let store = Store::open_locked(layout, Identity::read(&self.layout)?, lock, Arc::new(Disk))?;
        self.write_salvage(&store, salvage)?;
        self.adopt_datasets(&store)?;
        store.close()
    }

    /// Checks the packs; gives the end of the log.
    fn packs(
        &mut self,
        packs: &Packs,
        identity: &Identity,
        synced: LogPos,
        reached: LogPos,
    ) -> Result<LogPos> {
        let numbers = packs.numbers()?;
        let last = numbers.last().copied();
        let mut end = LogPos::default();
        let mut troubled = Vec::new();
        for file in packs.files()? {
            self.compressed(packs, &file)?;
            if !self.lists(packs, identity.id, &file)? {
                continue;
            }
            for number in file {
                let is_last = Some(number) == last;
                let mut scan = PackScan::read(packs, identity.id, number, is_last, synced)?;
                let short = is_last && LogPos::new(number, scan.len as u32) < reached;
                if short {
                    // What follows is written to the next pack: no place in the log is used twice.
                    scan.sealed = true;
                }
                if short && number == reached.pack() {
                    let name = packs.name(number);
                    let what =
                        format!("{} bytes are missing from its end", u64::from(reached.offset()) - scan.len);
                    let action = "gone on without".into();
                    self.problem(Problem::of(&name, Some(scan.len), what, action, Outcome::GivenUp))?;
                }
                end = LogPos::new(number, scan.len as u32);
                if !scan.is_sound() {
                    troubled.push(scan);
                }
            }
        }
        if !troubled.is_empty() {
            self.restore(packs, identity, troubled)?;
        }
        let next = reached.pack().max(last.unwrap_or(0)) + 1;
        if end < reached {
            if !self.options.dry_run {
                create_pack(&self.layout.packs(), identity.id, next)?
                    .sync_all()
                    .map_err(|e| Error::io("sync", &packs.path(next), e))?;
            }
            end = LogPos::new(next, PACK_HEADER);
        }
        Ok(end)
    }

    fn restore(&mut self, packs: &Packs, identity: &Identity, troubled: Vec<PackScan>) -> Result<()> {
        let known = self.knowledge(&troubled);
        let sources = std::mem::take(&mut self.sources);
        let name = |ds| index::name_of(&sources, ds);
        let is_version = |ds, number, id: VersionId| {
            let key = keys::hash(ds, &id.0, keys::TAG_VERSION, number);
            sources.iter().any(|source| matches!(source.index.get(&key), Ok(Some(_))))
        };
        let store = identity.id;
        let (copies, budget) = (Copies::new(), Default::default());
        let has_index = !sources.is_empty();
        let is_version = &is_version;
        let mut planner = Planner { store, packs, copies, known, has_index, is_version, name: &name, budget };
        let mut damaged = Vec::new();
        for scan in &troubled {
            damaged.push(planner.damaged(scan)?);
        }
        planner.copies = find_copies(packs, identity, &troubled, &damaged)?;
        for (scan, damaged) in troubled.iter().zip(&damaged) {
            let mut plan: Plan = planner.plan(scan, damaged)?;
            if !plan.is_empty() && !self.options.dry_run {
                let span = packs.span(scan.number);
                if span.start() < span.end() {
                    joined::take_apart(&self.layout, packs, store, &span)?;
                }
                plan.carry_out(&self.layout, packs, scan.number)?;
            }
            std::mem::take(&mut plan.problems).into_iter().try_for_each(|problem| self.problem(problem))?;
        }
        self.sources = sources;
        Ok(())
    }

    /// Brings the note of what is durable in line with the log, where it makes no sense.
    fn note_synced(&mut self, synced: Option<LogPos>, end: LogPos) -> Result<()> {
        if synced.is_none() {
            let what = "missing, or it makes no sense".into();
            self.problem(Problem::of("synced", None, what, "written anew".into(), Outcome::Repaired))?;
        }
        if !self.options.dry_run && synced.is_none_or(|synced| synced > end) {
            PlaceNote::open(&self.layout.synced())?.0.write(end);
        }
        Ok(())
    }
}

/// Looks in the log for intact copies of damaged objects.
fn find_copies(
    packs: &Packs,
    identity: &Identity,
    troubled: &[PackScan],
    damaged: &[Vec<Part>],
) -> Result<Copies> {
    let wanted: HashSet<[u8; 32]> = damaged
        .iter()
        .flatten()
        .filter_map(|part| match part {
            Part::Record { header, .. } => Some(header.hash),
            Part::Unknown(..) => None,
        })
        .collect();
    let mut copies = Copies::new();
    if wanted.is_empty() {
        return Ok(copies);
    }
    for number in packs.numbers()? {
        let path = packs.path(number);
        let io = |e| Error::io("read", &path, e);
        let file = packs.open_any(number)?;
        let mut found = Vec::new();
        let mut look = |offset: u32, hash: [u8; 32]| {
            if wanted.contains(&hash) {
                found.push((offset, hash));
            }
        };
        if let Some(scan) = troubled.iter().find(|scan| scan.number == number) {
            let good = scan.entries.iter().filter(|e| scan.bad.binary_search(&e.offset).is_err());
            good.for_each(|entry| look(entry.offset, entry.header.hash));
        } else if let Some(entries) = file.records((identity.id, number)).map_err(io)? {
            entries.iter().for_each(|entry| look(entry.offset, entry.header.hash));
        } else {
            let mut scanner = Scanner::new(&file, identity.id, number, 0, u64::MAX).map_err(io)?;
            while let Some(step) = scanner.step(|_| false).map_err(io)? {
                if let Step::Record { header, pos, .. } = step {
                    look(pos.offset - super::pack::RECORD_HEADER, header.hash);
                }
            }
        }
        let len = file.size().map_err(io)?;
        for (offset, hash) in found {
            let place = Place { store: identity.id, pack: number, offset };
            if let Some((_, Some(_))) = read_record(&file, len, place).map_err(io)? {
                copies.insert(hash, (number, offset));
            }
        }
    }
    Ok(copies)
}

/// What the index has in packs, by pack.
type Known = HashMap<u32, Vec<(Pos, Knows)>>;
