//! The writing side of the packs.
//!
//! - Records are appended in one write at the end; a write that fails is taken back, so a pack ends
//!   with a whole record while the process lives, and only the last pack can have a torn one.
//! - A batch is published under the same lock as it is written: the index's order is the log's.
//! - A sync makes the packs durable in their order, and notes afterwards how far they are (see
//!   `synced`); what is beyond that note after a power loss is verified and cut at the first gap.
//! - After a failed sync nothing is written any more: what the kernel kept of the data is unknown.
//! - Syncs are shared: who asks while one is under way waits for the next, which serves all.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use super::files::{Packs, pack_path};
use super::footer::{FooterEntry, encode_footer};
use super::header::{PACK_HEADER, Place, RECORD_HEADER, RecordHeader, RecordKind, encode_pack_header};
use super::note::PlaceNote;
use super::scan::{Scanner, Step};
use super::{CODEC_RAW, LogPos, Pos, seal_size};
use crate::store::bell::Bell;
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{Layout, private_file, sync_dir};
use crate::store::media::{Media, Room, write_all_at};
use crate::store::space::{Claim, Gate};

/// As many unsynced bytes are synced without waiting for the time.
const SYNC_AT: u64 = 16 << 20;
/// As many records of the last pack are kept in mind: 3 MiB. Packs of more are read again to be sealed.
const RECORDS_MAX: usize = 64 << 10;
/// As many unsynced bytes make appends wait: about what a disk takes in a second.
const WAIT_AT: u64 = 512 << 20;

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// The hash that identifies the payload.
    pub hash: [u8; 32],
    /// The payload.
    pub payload: &'a [u8],
}

/// The pack that is appended to.
#[derive(Debug)]
pub struct Tail {
    /// Its number.
    pub number: u32,
    /// The file, open for writing.
    pub file: Arc<File>,
    /// Where the next record goes, in bytes.
    pub end: u32,
    /// Whether it has its footer, so that the next record needs a new pack.
    pub sealed: bool,
    /// Its records, for the footer; `None` where they are not known, or too many to be kept.
    pub records: Option<Vec<FooterEntry>>,
}

struct Writer {
    tail: Tail,
    /// Sealed packs that are not durable yet, in order.
    sealed: Vec<Sealed>,
    /// Whether a pack was made whose name is not durable yet.
    new_name: bool,
    gate: Gate,
}

#[derive(Clone)]
struct Sealed {
    number: u32,
    file: Arc<File>,
}

/// The log of a store, open for appending.
pub struct Log {
    layout: Layout,
    store: StoreId,
    packs: Arc<Packs>,
    media: Arc<dyn Media>,
    writer: Mutex<Writer>,
    end: AtomicU64,
    /// Bytes in all packs, and how many of them are durable.
    bytes: AtomicU64,
    durable_bytes: AtomicU64,
    /// Whether a sync is under way; `durable` moves only while one is.
    syncing: Mutex<bool>,
    durable: AtomicU64,
    bell: Bell,
    synced: Condvar,
    note: PlaceNote,
    /// Why nothing is written any more, if so.
    read_only: OnceLock<String>,
}

impl Log {
    /// The log whose last pack is `tail`, durable as it is; the packs before it have `sealed_bytes`.
    pub fn new(
        layout: Layout,
        store: StoreId,
        packs: Arc<Packs>,
        media: Arc<dyn Media>,
        note: PlaceNote,
        tail: Tail,
        sealed_bytes: u64,
    ) -> Log {
        let end = LogPos::new(tail.number, tail.end);
        let bytes = sealed_bytes + u64::from(tail.end);
        note.write(end);
        Log {
            layout,
            store,
            packs,
            media,
            writer: Mutex::new(Writer { tail, sealed: Vec::new(), new_name: false, gate: Gate::default() }),
            end: AtomicU64::new(end.0),
            bytes: AtomicU64::new(bytes),
            durable_bytes: AtomicU64::new(bytes),
            syncing: Mutex::new(false),
            durable: AtomicU64::new(end.0),
            bell: Bell::default(),
            synced: Condvar::new(),
            note,
            read_only: OnceLock::new(),
        }
    }

    /// The end of the log.
    pub fn end(&self) -> LogPos {
        LogPos(self.end.load(Ordering::Acquire))
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> LogPos {
        LogPos(self.durable.load(Ordering::Acquire))
    }

    /// What wakes the thread that syncs.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Bytes in all packs.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Bytes that are not durable yet.
    pub fn unsynced(&self) -> u64 {
        self.bytes().saturating_sub(self.durable_bytes.load(Ordering::Acquire))
    }

    /// Why nothing is written any more, if so.
    pub fn read_only(&self) -> Option<&str> {
        self.read_only.get().map(String::as_str)
    }

    /// Room on the store's disk.
    pub fn room(&self) -> Result<Room> {
        let root = self.layout.root();
        self.media.room(root).map_err(|e| Error::io("ask for the free space of", root, e))
    }

    /// Appends records next to each other and calls `publish` with the places of their payloads and
    /// the log's new end, before anyone else can append.
    ///
    /// # Errors
    /// Nothing is written or published. [`Error::NoSpace`], [`Error::ReadOnly`], [`Error::Io`].
    pub fn append(
        &self,
        claim: Claim,
        records: &[NewRecord<'_>],
        publish: impl FnOnce(&[Pos], LogPos),
    ) -> Result<Vec<Pos>> {
        if self.unsynced() >= WAIT_AT {
            self.sync()?;
        }
        let mut writer = self.writer.lock();
        self.check_writable()?;
        let bytes: u64 = records.iter().map(|r| u64::from(RECORD_HEADER) + r.payload.len() as u64).sum();
        if !writer.gate.admit(claim, bytes, || self.media.room(self.layout.root())).unwrap_or(true) {
            return Err(Error::NoSpace(self.layout.root().to_owned()));
        }
        if writer.tail.sealed || writer.tail.end >= seal_size() {
            self.begin_pack(&mut writer)?;
        }
        let placed = self.write(&mut writer.tail, records)?;
        let end = LogPos::new(writer.tail.number, writer.tail.end);
        self.end.store(end.0, Ordering::Release);
        publish(&placed, end);
        drop(writer);
        if self.unsynced() >= SYNC_AT {
            self.bell.ring();
        }
        Ok(placed)
    }

    /// Seals the last pack, if it has at least so many bytes of records, and begins the next.
    pub fn seal(&self, least: u32) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        if writer.tail.end.saturating_sub(PACK_HEADER) < least {
            return Ok(());
        }
        self.begin_pack(&mut writer)
    }

    /// Refuses where nothing is written any more.
    pub fn check_writable(&self) -> Result<()> {
        let refuse = |why: &str| Error::ReadOnly { path: self.layout.root().to_owned(), why: why.to_owned() };
        self.read_only().map_or(Ok(()), |why| Err(refuse(why)))
    }

    /// Writes records at the tail's end, or nothing.
    fn write(&self, tail: &mut Tail, records: &[NewRecord<'_>]) -> Result<Vec<Pos>> {
        let too_long = || Error::Refused("appending records of over 4 GiB at once".into());
        let mut end = tail.end;
        let mut headers = Vec::with_capacity(records.len());
        let mut entries = Vec::with_capacity(records.len());
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let len = u32::try_from(record.payload.len()).map_err(|_| too_long())?;
            let header = RecordHeader {
                kind: record.kind,
                codec: CODEC_RAW,
                stored: len,
                raw: len,
                hash: record.hash,
            };
            headers.push(header.encode(Place { store: self.store, pack: tail.number, offset: end }));
            entries.push(FooterEntry { offset: end, header });
            let offset = end.checked_add(RECORD_HEADER).ok_or_else(too_long)?;
            placed.push(Pos { pack: tail.number, offset, stored: len, raw: len, codec: CODEC_RAW });
            end = offset.checked_add(len).ok_or_else(too_long)?;
        }
        let mut bufs: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(records)
            .flat_map(|(header, record)| [IoSlice::new(header), IoSlice::new(record.payload)])
            .filter(|buf| !buf.is_empty())
            .collect();
        let written = write_all_at(&*self.media, &tail.file, &mut bufs, u64::from(tail.end));
        if let Err(e) = written {
            let path = self.packs.path(tail.number);
            if let Err(e) = tail.file.set_len(u64::from(tail.end)) {
                // Left-overs beyond the end could be taken for records after a crash.
                self.fail(&format!("cannot take back a failed write to {}: {e}", path.display()));
            }
            return Err(self.error("write", &path, e));
        }
        self.bytes.fetch_add(u64::from(end - tail.end), Ordering::AcqRel);
        tail.end = end;
        tail.records = tail.records.take().filter(|known| known.len() + entries.len() <= RECORDS_MAX);
        if let Some(known) = &mut tail.records {
            known.append(&mut entries);
        }
        Ok(placed)
    }

    /// Seals the tail and begins the next pack.
    fn begin_pack(&self, writer: &mut Writer) -> Result<()> {
        let Writer { tail, sealed, new_name, .. } = writer;
        if !tail.sealed {
            let entries = match tail.records.take() {
                Some(known) => known,
                None => self
                    .list_records(tail)
                    .map_err(|e| Error::io("read", &self.packs.path(tail.number), e))?,
            };
            let payload = encode_footer(&entries, tail.end);
            let hash = RecordKind::Footer.hash(&payload);
            self.write(tail, &[NewRecord { kind: RecordKind::Footer, hash, payload: &payload }])?;
            tail.sealed = true;
            self.end.store(LogPos::new(tail.number, tail.end).0, Ordering::Release);
        }
        let number = tail.number + 1;
        let file = Arc::new(create_pack(&self.layout.packs(), self.store, number)?);
        self.bytes.fetch_add(u64::from(PACK_HEADER), Ordering::AcqRel);
        let full = std::mem::replace(
            tail,
            Tail { number, file, end: PACK_HEADER, sealed: false, records: Some(Vec::new()) },
        );
        sealed.push(Sealed { number: full.number, file: full.file });
        *new_name = true;
        Ok(())
    }

    fn list_records(&self, tail: &Tail) -> io::Result<Vec<FooterEntry>> {
        let file = File::open(self.packs.path(tail.number))?;
        let mut scanner = Scanner::new(file, self.store, tail.number, 0, u64::from(tail.end))?;
        let mut entries = Vec::new();
        while let Some(step) = scanner.step(|_| false)? {
            if let Step::Record { header, pos, .. } = step {
                entries.push(FooterEntry { offset: pos.offset - RECORD_HEADER, header });
            }
        }
        Ok(entries)
    }

    /// Makes everything appended so far durable; gives the place up to which the log then is.
    ///
    /// # Errors
    /// [`Error::Io`] where the sync failed (the log is read-only from then on), [`Error::ReadOnly`]
    /// where one failed before.
    pub fn sync(&self) -> Result<LogPos> {
        let target = self.end();
        let mut syncing = self.syncing.lock();
        loop {
            if self.durable() >= target {
                return Ok(self.durable());
            }
            self.check_writable()?;
            if *syncing {
                self.synced.wait(&mut syncing);
                continue;
            }
            *syncing = true;
            drop(syncing);
            let turn = Turn(self);
            self.durable.fetch_max(self.sync_packs()?.0, Ordering::AcqRel);
            drop(turn);
            syncing = self.syncing.lock();
        }
    }

    /// Makes the packs as they now are durable, in order. One at a time does this.
    fn sync_packs(&self) -> Result<LogPos> {
        let (mut packs, new_name, end, bytes) = {
            let writer = self.writer.lock();
            let tail = &writer.tail;
            let end = LogPos::new(tail.number, tail.end);
            let mut packs = writer.sealed.clone();
            packs.push(Sealed { number: tail.number, file: tail.file.clone() });
            (packs, writer.new_name, end, self.bytes())
        };
        for pack in &packs {
            self.synced_or_fail(self.media.sync(&pack.file), &self.packs.path(pack.number))?;
        }
        if new_name {
            let dir = self.layout.packs();
            self.synced_or_fail(sync_dir(&dir), &dir)?;
        }
        packs.pop();
        let mut writer = self.writer.lock();
        writer.sealed.drain(..packs.len());
        // A pack made meanwhile is the tail now, and its name still to be synced.
        writer.new_name &= writer.tail.number != end.pack();
        drop(writer);
        self.durable_bytes.fetch_max(bytes, Ordering::AcqRel);
        self.note.write(end);
        Ok(end)
    }

    fn synced_or_fail(&self, result: io::Result<()>, path: &Path) -> Result<()> {
        result.map_err(|e| {
            self.fail(&format!("cannot sync {}: {e}", path.display()));
            self.error("sync", path, e)
        })
    }

    /// Lets nothing more be written, and says why.
    pub fn fail(&self, why: &str) {
        if self.read_only.set(why.to_owned()).is_ok() {
            log::error!(
                "{why}; the store in {} takes no more writes until it is opened anew",
                self.layout.root().display()
            );
        }
    }

    fn error(&self, what: &'static str, path: &Path, e: io::Error) -> Error {
        match Error::io(what, path, e) {
            Error::NoSpace(_) => Error::NoSpace(self.layout.root().to_owned()),
            e => e,
        }
    }
}

/// A sync under way. Whoever waits for it is woken at its end, however it ends.
struct Turn<'a>(&'a Log);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a sync panicked");
        }
        *self.0.syncing.lock() = false;
        self.0.synced.notify_all();
    }
}

/// Makes an empty pack; it is for the caller to make it and its name durable.
pub(in crate::store) fn create_pack(dir: &Path, store: StoreId, number: u32) -> Result<File> {
    let path = pack_path(dir, number);
    let make = || {
        let file = private_file().create_new(true).open(&path)?;
        let header = encode_pack_header(store, number);
        let written = std::os::unix::fs::FileExt::write_all_at(&file, &header, 0);
        if written.is_err() {
            fs::remove_file(&path)?;
        }
        written.map(|()| file)
    };
    make().map_err(|e| Error::io("make pack", &path, e))
}
