//! Bringing log and index together when a store is opened.
//!
//! Everything after the index's watermark is published again. A sealed pack's footer is believed, and
//! only records that are no objects are read. In the last pack everything is verified, and what a
//! crash left of an unfinished write is cut off:
//!
//! - Bad bytes up to the end of the pack are such a left-over, always.
//! - Bad bytes before good records are one only after a power loss and beyond what is known to have
//!   been durable: the disk may have had the later ones first. All from there on is cut, later packs
//!   too, so that what is left is a prefix of what was written. Otherwise they are damage: reported,
//!   and the good records kept.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result};
use super::index::change::{LogRecord, VersionMeta, decode};
use super::index::{Replay, Target, keys};
use super::layout::{Layout, StoreId, private_file, sync_dir};
use super::media::Media;
use super::pack::{
    LogPos, PACK_HEADER, Packs, Payload, Place, Pos, RECORD_HEADER, RecordHeader, Scanner, Step, Tail,
    create_pack, decode_pack_header, encode_pack_header, read_footer, read_record,
};
use crate::model::{DatasetId, VersionId, VersionNo, VersionRecord};

/// What recovery found.
pub struct Recovered {
    /// The pack to append to.
    pub tail: Tail,
    /// Bytes in the packs before it.
    pub sealed_bytes: u64,
    /// Objects found damaged.
    pub damaged: HashSet<[u8; 32]>,
}

/// A recovery under way.
pub struct Recovery<'a> {
    layout: &'a Layout,
    store: StoreId,
    packs: &'a Packs,
    index: &'a dyn Target,
    /// Up to here bad bytes before good ones are damage, beyond it they are a torn write.
    trusted: LogPos,
    heads: HashMap<DatasetId, (VersionNo, Option<VersionId>)>,
    damaged: HashSet<[u8; 32]>,
}

/// Makes the packs of a store durable as they are, of which those up to `synced` are already, and
/// gives the end of the log. Makes the first pack if there is none. `cached`: what a process before this one
/// wrote may be in the system's cache alone, see [`write_again`].
pub fn prepare(
    layout: &Layout,
    store: StoreId,
    packs: &Packs,
    media: &dyn Media,
    synced: LogPos,
    cached: bool,
) -> Result<LogPos> {
    if packs.numbers()?.is_empty() {
        create_pack(&layout.packs(), store, 1)?;
    }
    let mut end = LogPos::default();
    for number in packs.numbers()?.into_iter().filter(|&n| n >= synced.pack()) {
        let path = packs.path(number);
        let io = |e| Error::io("sync", &path, e);
        let file = packs.reopen(number)?;
        if cached {
            let from = if number == synced.pack() { synced.offset() } else { 0 };
            write_again(&path, u64::from(from))?;
        }
        media.sync(&file).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        end = LogPos::new(number, u32::try_from(len).unwrap_or(u32::MAX));
    }
    sync_dir(&layout.packs()).map_err(|e| Error::io("sync", &layout.packs(), e))?;
    Ok(end)
}

/// Writes the bytes of a pack from `from` on as they are. A sync that failed is told of once, to the process
/// that is gone by now: the system may take the bytes for written, and the next sync for done.
fn write_again(path: &Path, from: u64) -> Result<()> {
    let again = || -> io::Result<()> {
        let file = private_file().read(true).open(path)?;
        let len = file.metadata()?.len();
        let mut block = vec![0; 1 << 20];
        let mut at = from;
        while at < len {
            let block = &mut block[..(len - at).min(1 << 20) as usize];
            file.read_exact_at(block, at)?;
            file.write_all_at(block, at)?;
            at += block.len() as u64;
        }
        Ok(())
    };
    again().map_err(|e| Error::io("write again", path, e))
}

impl<'a> Recovery<'a> {
    /// A recovery into `index`.
    pub fn new(
        layout: &'a Layout,
        store: StoreId,
        packs: &'a Packs,
        index: &'a dyn Target,
        trusted: LogPos,
    ) -> Self {
        let (heads, damaged) = (HashMap::new(), HashSet::new());
        Recovery { layout, store, packs, index, trusted, heads, damaged }
    }

    /// Publishes all records after `from`.
    pub fn run(mut self, from: LogPos) -> Result<Recovered> {
        let numbers = self.packs.numbers()?;
        let mut sealed_bytes = 0;
        for (i, &number) in numbers.iter().enumerate() {
            let later = &numbers[i + 1..];
            let start = if number == from.pack() { from.offset() } else { 0 };
            let path = self.packs.path(number);
            let len = std::fs::metadata(&path).map_err(|e| Error::io("stat", &path, e))?.len();
            let doubtful = LogPos::new(number, u32::MAX) >= self.trusted;
            if later.is_empty() || doubtful {
                let cut = if number >= from.pack() { self.scan(number, start, len, true)? } else { None };
                let goes_on = cut.is_none() && later.first() == Some(&(number + 1));
                if !(goes_on && self.is_sealed(number)?) {
                    self.remove_packs(later)?;
                    let tail = self.open_tail(number, cut.unwrap_or(len), len)?;
                    return Ok(Recovered { tail, sealed_bytes, damaged: self.damaged });
                }
            } else {
                if number >= from.pack() {
                    self.sealed_pack(number, start)?;
                }
                if later[0] > number + 1 {
                    let dir = self.layout.packs();
                    log::error!(
                        "packs {} to {} are missing from {}",
                        number + 1,
                        later[0] - 1,
                        dir.display()
                    );
                }
            }
            sealed_bytes += len;
        }
        Err(Error::Missing(format!("any pack in {}", self.layout.packs().display())))
    }

    fn is_sealed(&self, number: u32) -> Result<bool> {
        let file = self.packs.file(number)?;
        let footer = read_footer(&file, self.store, number);
        Ok(footer.map_err(|e| Error::io("read", &self.packs.path(number), e))?.is_some())
    }

    /// Removes packs that a power loss left behind a torn one.
    fn remove_packs(&self, numbers: &[u32]) -> Result<()> {
        for &number in numbers.iter().rev() {
            let path = self.packs.path(number);
            log::warn!("{}: removed, the pack before it was not durable", path.display());
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        let dir = self.layout.packs();
        sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))
    }

    /// Opens the pack to go on with, cutting its `len` bytes down to `end`.
    fn open_tail(&self, number: u32, end: u64, len: u64) -> Result<Tail> {
        let path = self.packs.path(number);
        let io = |e| Error::io("open", &path, e);
        let file = private_file().read(true).open(&path).map_err(io)?;
        let mut header = [0; PACK_HEADER as usize];
        match file.read_exact_at(&mut header, 0).ok().and_then(|()| decode_pack_header(&header)) {
            Some(found) if found == (self.store, number) => {}
            Some(_) => return Err(Error::Corrupt(format!("{} is a pack of another store", path.display()))),
            None => {
                log::warn!("the header of {} is torn: it is written again", path.display());
                file.write_all_at(&encode_pack_header(self.store, number), 0).map_err(io)?;
            }
        }
        if end < len {
            log::warn!("{}: cut off {} bytes of an unfinished write", path.display(), len - end);
            file.set_len(end).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        let end = u32::try_from(end.max(u64::from(PACK_HEADER)))
            .map_err(|_| Error::Corrupt(format!("{} is longer than any pack", path.display())))?;
        Ok(Tail { number, file: Arc::new(file), end, sealed: self.is_sealed(number)? })
    }

    fn sealed_pack(&mut self, number: u32, start: u32) -> Result<()> {
        let path = self.packs.path(number);
        let io = |e| Error::io("read", &path, e);
        let file = self.packs.file(number)?;
        let len = file.metadata().map_err(io)?.len();
        let Some(entries) = read_footer(&file, self.store, number).map_err(io)? else {
            log::error!("{} has no intact footer: its records are searched for", path.display());
            return self.scan(number, start, len, false).map(drop);
        };
        for entry in entries.iter().filter(|e| e.offset >= start) {
            let pos = entry.pos(number);
            if entry.header.kind.is_object() {
                self.publish(&LogRecord::Object(entry.header.hash), pos)?;
                continue;
            }
            let place = Place { store: self.store, pack: number, offset: entry.offset };
            match read_record(&file, len, place) {
                Ok(Some((header, Some(payload)))) => self.take(&header, &payload, pos)?,
                Ok(_) => self.damage(pos, &entry.header, "its bytes are not what was stored"),
                Err(e) => self.damage(pos, &entry.header, &e.to_string()),
            }
        }
        Ok(())
    }

    /// Publishes the records of a pack found by reading it. Where everything is to be verified, gives
    /// where to cut it.
    fn scan(&mut self, number: u32, start: u32, end: u64, verify: bool) -> Result<Option<u64>> {
        let path = self.packs.path(number);
        let io = |e| Error::io("read", &path, e);
        let file = self.packs.reopen(number)?;
        let mut scanner = Scanner::new(file, self.store, number, start, end).map_err(io)?;
        let mut bad: Option<u64> = None;
        let mut bad_records = Vec::new();
        loop {
            let at = scanner.offset();
            match scanner.step(|kind| verify || !kind.is_object()).map_err(io)? {
                None => break,
                Some(Step::Gap { offset, .. }) => {
                    bad.get_or_insert(offset);
                }
                Some(Step::Record { header, pos, payload: Payload::Bad }) => {
                    bad.get_or_insert(at);
                    bad_records.push((header, pos));
                }
                Some(Step::Record { header, pos, payload }) => {
                    let torn = |at: u64| LogPos::new(number, u32::try_from(at).unwrap_or(u32::MAX));
                    if bad.is_some_and(|bad| torn(bad) >= self.trusted) {
                        break;
                    }
                    self.report_damage(number, bad.take(), at, &mut bad_records)?;
                    match payload {
                        Payload::Intact(bytes) => self.take(&header, bytes, pos)?,
                        _ => self.publish(&LogRecord::Object(header.hash), pos)?,
                    }
                }
            }
        }
        if verify {
            return Ok(bad);
        }
        self.report_damage(number, bad, end, &mut bad_records)?;
        Ok(None)
    }

    /// Reports bad bytes from `bad` to `end` and the records with an intact header among them.
    fn report_damage(
        &mut self,
        number: u32,
        bad: Option<u64>,
        end: u64,
        records: &mut Vec<(RecordHeader, Pos)>,
    ) -> Result<()> {
        if let Some(bad) = bad {
            log::error!("{}: damaged from byte {bad} to {end}", self.packs.path(number).display());
        }
        for (header, pos) in records.drain(..) {
            self.damage(pos, &header, "its bytes are not what was stored");
            if header.kind.is_object() {
                // Found, so that reading it says where it is damaged; and so that putting it again
                // mends it.
                self.damaged.insert(header.hash);
                self.publish(&LogRecord::Object(header.hash), pos)?;
            }
        }
        Ok(())
    }

    fn damage(&self, pos: Pos, header: &RecordHeader, why: &str) {
        let path = self.packs.path(pos.pack);
        let at = pos.offset - RECORD_HEADER;
        log::error!("{}: {:?} record at byte {at} is damaged: {why}", path.display(), header.kind);
    }

    fn take(&mut self, header: &RecordHeader, payload: &[u8], pos: Pos) -> Result<()> {
        let record = match LogRecord::decode(header.kind, header.hash, payload, pos) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(e) => {
                self.damage(pos, header, &e.to_string());
                return Ok(());
            }
        };
        if let LogRecord::Version(id, version) = &record
            && !self.continues(*id, version, pos)?
        {
            self.damage(pos, header, "another record has its version's number");
            return Ok(());
        }
        self.publish(&record, pos)
    }

    /// Whether a version goes into the index. One that leaves a gap does (what is left of a history is
    /// worth having), a second one of a number does not.
    fn continues(&mut self, id: VersionId, record: &VersionRecord, pos: Pos) -> Result<bool> {
        let (ds, number) = (record.dataset, record.number);
        let (last, last_id) = match self.heads.get(&ds) {
            Some(head) => *head,
            None => (last_version(self.index, ds)?, None),
        };
        if number <= last {
            // Indexed before the watermark was written; the same record does no harm.
            let known = self.index.get(&keys::version(ds, number))?;
            let meta: Option<VersionMeta> = known.map(|v| decode("version", &v)).transpose()?;
            if meta.is_some_and(|m| m.record != pos) {
                return Ok(false);
            }
            return Ok(true);
        }
        if number != last.next() {
            log::error!(
                "dataset {}: versions {} to v{} are missing before {number}",
                ds.0,
                last.next(),
                number.0 - 1
            );
        } else if last_id.is_some_and(|last_id| last_id != record.previous) {
            log::error!("dataset {}: {number} does not follow from {last}: its previous id is another", ds.0);
        }
        self.heads.insert(ds, (number, Some(id)));
        Ok(true)
    }

    fn publish(&mut self, record: &LogRecord, pos: Pos) -> Result<()> {
        self.index.take(record.changes(pos), pos.end())
    }
}

/// Reads the log of an open store again, for an index that failed.
#[derive(Debug)]
pub struct Again {
    /// The store's places.
    pub layout: Layout,
    /// The store.
    pub store: StoreId,
    /// Its packs.
    pub packs: Arc<Packs>,
}

impl Replay for Again {
    fn replay(&self, from: LogPos, until: LogPos, into: &dyn Target) -> Result<()> {
        let mut recovery = Recovery::new(&self.layout, self.store, &self.packs, into, LogPos(u64::MAX));
        let wanted = |number: &u32| (from.pack()..=until.pack()).contains(number);
        for number in self.packs.numbers()?.into_iter().filter(wanted) {
            let start = if number == from.pack() { from.offset() } else { 0 };
            if number < until.pack() {
                recovery.sealed_pack(number, start)?;
            } else {
                recovery.scan(number, start, u64::from(until.offset()), false)?;
            }
        }
        Ok(())
    }
}

/// Number of the last version the index has of a dataset.
pub fn last_version(index: &dyn Target, ds: DatasetId) -> Result<VersionNo> {
    let last = index.last(&keys::versions(ds))?;
    Ok(last.and_then(|key| keys::tail8(&key)).map_or(VersionNo::EMPTY, VersionNo))
}
