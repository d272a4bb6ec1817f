//! Bringing log and index together when a store is opened.
//!
//! Everything after the index's watermark is published again. A sealed pack's footer is believed, and
//! only records that are no objects are read. In the last pack everything is verified, and what a
//! crash left of an unfinished write is cut off:
//!
//! - Bad bytes up to the end of the pack are such a left-over, unless they are known to have been
//!   durable.
//! - Bad bytes before good records are one only after a power loss and beyond what is known to have
//!   been durable: the disk may have had the later ones first. All from there on is cut, later packs
//!   too, so that what is left is a prefix of what was written. Otherwise they are damage: reported,
//!   and the good records kept.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result, chain};
use super::identity::StoreId;
use super::index::change::{LogRecord, VersionMeta, decode, gap_change};
use super::index::{Replay, Target, keys};
use super::layout::{Layout, private_file, sync_dir};
use super::media::Media;
use super::pack::{
    LogPos, PACK_HEADER, Packs, Payload, Place, Pos, RECORD_HEADER, ReadAt, RecordHeader, Scanner, Step,
    Tail, create_pack, encode_pack_header, read_pack_header, read_record,
};
use super::plain;
use crate::model::{DatasetId, VersionId, VersionNo, VersionRecord};

/// Most versions in a row that can have been lost: about as many as a few packs hold.
const GAP_MAX: u64 = 1 << 24;

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
    /// Up to here the log is known to have been durable.
    synced: LogPos,
    /// Whether to go on where records that the index needs are lost.
    lenient: bool,
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
    for span in packs.files()?.into_iter().filter(|span| *span.end() >= synced.pack()) {
        let number = *span.end();
        let path = packs.path(number);
        let io = |e| Error::io("sync", &path, e);
        let pack = packs.reopen(number)?;
        if cached {
            let from = if pack.is_raw() && number == synced.pack() { synced.offset() } else { 0 };
            write_again(&path, u64::from(from))?;
        }
        media.sync(pack.file().file()).map_err(io)?;
        let len = pack.size().map_err(io)?;
        end = LogPos::new(number, u32::try_from(len).unwrap_or(u32::MAX));
    }
    sync_dir(&layout.packs()).map_err(|e| Error::io("sync", &layout.packs(), e))?;
    Ok(end)
}

/// Writes the bytes of a pack from `from` on as they are. A sync that failed is told of once, to the process
/// that is gone by now: the system may take the bytes for written, and the next sync for done.
fn write_again(path: &Path, from: u64) -> Result<()> {
    let again = || -> io::Result<()> {
        let file = plain::open(path, private_file().read(true))?;
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
        synced: LogPos,
    ) -> Self {
        let (heads, damaged) = (HashMap::new(), HashSet::new());
        Recovery { layout, store, packs, index, trusted, synced, lenient: false, heads, damaged }
    }

    /// Goes on where records are lost that the index needs, as a look at what is left.
    pub fn lenient(self) -> Self {
        Recovery { lenient: true, ..self }
    }

    /// Publishes all records after `from` of the log as it is, and leaves the packs alone.
    pub fn replay(mut self, from: LogPos) -> Result<()> {
        for number in self.packs.numbers()?.into_iter().filter(|number| *number >= from.pack()) {
            let start = if number == from.pack() { from.offset() } else { 0 };
            if self.is_sealed(number)? {
                self.sealed_pack(number, start..u32::MAX)?;
            } else {
                self.scan(number, start, u64::MAX, true)?;
            }
        }
        Ok(())
    }

    /// Publishes all records after `from`, and brings the end of the log in order.
    pub fn run(mut self, from: LogPos) -> Result<Recovered> {
        let numbers = self.packs.numbers()?;
        self.trusted = self.trusted.max(self.shown_durable()?);
        let mut sealed_bytes = 0;
        for (i, &number) in numbers.iter().enumerate() {
            let later = &numbers[i + 1..];
            let start = if number == from.pack() { from.offset() } else { 0 };
            let doubtful = later.is_empty() || LogPos::new(number, u32::MAX) >= self.trusted;
            let path = self.packs.path(number);
            let len = std::fs::metadata(&path).map_err(|e| Error::io("stat", &path, e))?.len();
            // A file of several packs counts once.
            let bytes = if *self.packs.span(number).start() == number { len } else { 0 };
            if doubtful && !self.packs.file(number)?.is_raw() {
                // A pack is compressed, or joined with others, only when all of it and the beginning of the next
                // are durable.
                if number >= from.pack() {
                    self.sealed_pack(number, start..u32::MAX)?;
                }
                if later.is_empty() {
                    let tail = self.next_tail(number)?;
                    return Ok(Recovered { tail, sealed_bytes: sealed_bytes + bytes, damaged: self.damaged });
                }
            } else if doubtful {
                let cut = if number >= from.pack() { self.scan(number, start, len, true)? } else { None };
                let goes_on = cut.is_none() && later.first() == Some(&(number + 1));
                if !(goes_on && self.is_sealed(number)?) {
                    self.remove_packs(later)?;
                    let tail = self.open_tail(number, cut.unwrap_or(len), len)?;
                    return Ok(Recovered { tail, sealed_bytes, damaged: self.damaged });
                }
            } else {
                if number >= from.pack() {
                    self.sealed_pack(number, start..u32::MAX)?;
                }
            }
            sealed_bytes += bytes;
        }
        Err(Error::Missing(format!("any pack in {}", self.layout.packs().display())))
    }

    /// Up to where the files themselves show that the log was durable: packs are compressed and joined no sooner.
    fn shown_durable(&self) -> Result<LogPos> {
        for span in self.packs.files()?.into_iter().rev() {
            if LogPos::new(*span.end(), u32::MAX) < self.trusted {
                break;
            }
            if !self.packs.file(*span.end())?.is_raw() {
                return Ok(LogPos::new(span.end() + 1, 0));
            }
        }
        Ok(LogPos::default())
    }

    fn is_sealed(&self, number: u32) -> Result<bool> {
        let file = self.packs.file(number)?;
        let footer = file.records((self.store, number));
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
        // That it is this pack, and no other.
        drop(self.packs.reopen(number)?);
        let path = self.packs.path(number);
        let io = |e| Error::io("open", &path, e);
        let file = plain::open(&path, private_file().read(true)).map_err(io)?;
        match read_pack_header(&file).map_err(io)? {
            Some(_) => {}
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
        let records = (end == PACK_HEADER).then(Vec::new);
        Ok(Tail { number, file: Arc::new(file), end, sealed: self.is_sealed(number)?, records })
    }

    /// Begins the pack after `number`, which is not written to any more.
    fn next_tail(&self, number: u32) -> Result<Tail> {
        let next = number.checked_add(1).filter(|next| *next < u32::MAX);
        let next = next.ok_or_else(|| Error::Corrupt("there can be no pack of a higher number".into()))?;
        drop(create_pack(&self.layout.packs(), self.store, next)?);
        let dir = self.layout.packs();
        sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
        self.open_tail(next, u64::from(PACK_HEADER), u64::from(PACK_HEADER))
    }

    /// Publishes the records of a sealed pack that begin in a part of it.
    fn sealed_pack(&mut self, number: u32, part: Range<u32>) -> Result<()> {
        let path = self.packs.path(number);
        let io = |e| Error::io("read", &path, e);
        let file = self.packs.file(number)?;
        let len = file.size().map_err(io)?;
        let Some(entries) = file.records((self.store, number)).map_err(io)? else {
            log::error!("{} has no intact footer: its records are searched for", path.display());
            return self.scan(number, part.start, len.min(u64::from(part.end)), false).map(drop);
        };
        for entry in entries.iter().filter(|e| part.contains(&e.offset)) {
            let pos = entry.pos(number);
            if entry.header.kind.is_object() {
                self.publish(&LogRecord::Object(entry.header.hash), pos)?;
                continue;
            }
            let place = Place { store: self.store, pack: number, offset: entry.offset };
            match read_record(&file, len, place) {
                Ok(Some((header, Some(payload)))) => self.take(&header, &payload, pos)?,
                Ok(_) => self.lost(pos, &entry.header)?,
                Err(e) => return Err(io(e)),
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
        let torn_at = |at: u64| LogPos::new(number, u32::try_from(at).unwrap_or(u32::MAX));
        let mut bad: Option<u64> = None;
        let mut bad_records = Vec::new();
        let mut gaps = false;
        loop {
            let at = scanner.offset();
            match scanner.step(|kind| verify || !kind.is_object()).map_err(io)? {
                None => break,
                Some(Step::Gap { offset, lost, .. }) => {
                    bad.get_or_insert(offset);
                    gaps |= lost;
                }
                Some(Step::Record { header, pos, payload: Payload::Bad }) => {
                    bad.get_or_insert(at);
                    bad_records.push((header, pos));
                }
                Some(Step::Record { header, pos, payload }) => {
                    if bad.is_some_and(|bad| torn_at(bad) >= self.trusted) {
                        break;
                    }
                    self.report_damage(number, bad.take(), at, &mut bad_records, gaps)?;
                    gaps = false;
                    match payload {
                        Payload::Intact(bytes) => self.take(&header, bytes, pos)?,
                        _ => self.publish(&LogRecord::Object(header.hash), pos)?,
                    }
                }
            }
        }
        if verify && bad.is_none_or(|bad| torn_at(bad) >= self.synced) {
            return Ok(bad);
        }
        let end = scanner.offset();
        self.report_damage(number, bad, end, &mut bad_records, gaps)?;
        Ok(None)
    }

    /// Reports bad bytes from `bad` to `end` and the records with an intact header among them; `gaps`: there
    /// can have been others.
    fn report_damage(
        &mut self,
        number: u32,
        bad: Option<u64>,
        end: u64,
        records: &mut Vec<(RecordHeader, Pos)>,
        gaps: bool,
    ) -> Result<()> {
        if let Some(bad) = bad {
            log::error!("{}: damaged from byte {bad} to {end}", self.packs.path(number).display());
        }
        for (header, pos) in std::mem::take(records) {
            if !header.kind.is_object() {
                self.lost(pos, &header)?;
                continue;
            }
            // Found, so that reading it says where it is damaged; and so that putting it again mends it.
            self.damaged.insert(header.hash);
            self.publish(&LogRecord::Object(header.hash), pos)?;
        }
        match bad {
            Some(bad) if gaps => self.gone(number, bad, "bytes that are no record"),
            _ => Ok(()),
        }
    }

    /// A record that the index needs cannot be read.
    fn lost(&self, pos: Pos, header: &RecordHeader) -> Result<()> {
        let what = format!("a record ({:?}) that is not what was stored", header.kind);
        self.gone(pos.pack, u64::from(pos.offset.saturating_sub(RECORD_HEADER)), &what)
    }

    /// What the index would lack must not be taken for never written: numbers of versions would be used
    /// again, and files be shown as they were before.
    fn gone(&self, pack: u32, offset: u64, what: &str) -> Result<()> {
        let what = format!("{} has at byte {offset} {what}", self.packs.path(pack).display());
        if self.lenient {
            log::error!("{what}");
            return Ok(());
        }
        let advice = "`strata fsck` repairs what can be repaired and lists what is lost";
        Err(Error::Damaged { what, advice })
    }

    /// A record that is what was stored makes no sense: it is left out.
    fn nonsense(&self, pos: Pos, header: &RecordHeader, why: &str) {
        let path = self.packs.path(pos.pack);
        let at = pos.offset - RECORD_HEADER;
        log::error!("{}: {:?} record at byte {at} is left out: {why}", path.display(), header.kind);
    }

    fn take(&mut self, header: &RecordHeader, payload: &[u8], pos: Pos) -> Result<()> {
        let record = match LogRecord::decode(header.kind, header.hash, payload, pos) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(e) => {
                self.nonsense(pos, header, &chain(&e));
                return Ok(());
            }
        };
        let goes_in = match &record {
            LogRecord::Version(id, version) => self.continues(*id, version, pos)?,
            LogRecord::Salvaged(salvaged) if !self.is_news(&salvaged.record, pos)? => return Ok(()),
            _ => true,
        };
        if !goes_in {
            self.nonsense(pos, header, "another record has its version's number, or it is far too high");
            return Ok(());
        }
        self.publish(&record, pos)
    }

    /// Whether a version that was salvaged goes into the index: where its own record did not come.
    fn is_news(&mut self, record: &VersionRecord, pos: Pos) -> Result<bool> {
        let (ds, number) = (record.dataset, record.number);
        let known = self.index.get(&keys::version(ds, number))?;
        let meta: Option<VersionMeta> = known.map(|v| decode("version", &v)).transpose()?;
        if meta.is_some_and(|meta| meta.record != pos) {
            return Ok(false);
        }
        let (last, _) = self.head(ds)?;
        if number > last {
            self.note_gap(ds, last, number)?;
            self.heads.insert(ds, (number, None));
        }
        Ok(true)
    }

    fn head(&self, ds: DatasetId) -> Result<(VersionNo, Option<VersionId>)> {
        match self.heads.get(&ds) {
            Some(head) => Ok(*head),
            None => Ok((last_version(self.index, ds)?, None)),
        }
    }

    /// Notes that the records between two versions of a dataset are lost, if there were any.
    fn note_gap(&self, ds: DatasetId, last: VersionNo, number: VersionNo) -> Result<()> {
        if number == last.next() {
            return Ok(());
        }
        let before = VersionNo(number.0 - 1);
        log::error!("dataset {}: {} to {before} are lost", ds.0, last.next());
        self.index.take(vec![gap_change(ds, last.next(), before)], LogPos::default())
    }

    /// Whether a version goes into the index. One that leaves a gap does (what is left of a history is
    /// worth having), a second one of a number does not.
    fn continues(&mut self, id: VersionId, record: &VersionRecord, pos: Pos) -> Result<bool> {
        let (ds, number) = (record.dataset, record.number);
        let (last, last_id) = self.head(ds)?;
        if number <= last {
            // Indexed before the watermark was written; the same record does no harm.
            let known = self.index.get(&keys::version(ds, number))?;
            let meta: Option<VersionMeta> = known.map(|v| decode("version", &v)).transpose()?;
            if meta.is_some_and(|m| m.record != pos) {
                return Ok(false);
            }
            return Ok(true);
        }
        if number.0 - last.0 > GAP_MAX {
            return Ok(false);
        }
        self.note_gap(ds, last, number)?;
        if number == last.next() && last_id.is_some_and(|last_id| last_id != record.previous) {
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
        let trusted = LogPos(u64::MAX);
        let mut recovery = Recovery::new(&self.layout, self.store, &self.packs, into, trusted, until);
        let wanted = |number: &u32| (from.pack()..=until.pack()).contains(number);
        for number in self.packs.numbers()?.into_iter().filter(wanted) {
            let start = if number == from.pack() { from.offset() } else { 0 };
            if number < until.pack() {
                recovery.sealed_pack(number, start..u32::MAX)?;
            } else if recovery.is_sealed(number)? {
                // A collection may have left a record of nothing where others were, on both sides of the end.
                recovery.sealed_pack(number, start..until.offset())?;
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
