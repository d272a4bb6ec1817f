//! Reading everything in the packs: to verify it, to count it, to look for records.

use std::ops::ControlFlow;

use super::Store;
use super::error::{Error, Result, chain};
use super::index::change::LogRecord;
use super::pack::{
    FileDamage, FooterEntry, LogPos, PACK_HEADER, Payload, Pos, RECORD_HEADER, ReadAt, RecordHeader,
    RecordKind, Scanner, Step, check_file,
};

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read in all.
    pub total: u64,
}

/// What is wrong in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The pack's header is not what it should be.
    PackHeader,
    /// These many bytes are no record.
    NoRecord(u64),
    /// A record's payload does not have the hash its header gives.
    Payload(RecordKind),
    /// The pack should be sealed, and its footer is missing, damaged or lists other records.
    Footer,
    /// The whole pack is missing, unreadable, or another one.
    Pack,
    /// A record is what was stored, and makes no sense.
    Nonsense(RecordKind),
    /// The file of a compressed pack is not what was written; the place is one in the file. What the records
    /// suffered is told of each.
    File(FileDamage),
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the pack.
    pub pack: u32,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub kind: DamageKind,
    /// The hash that identifies the damaged record, where its header is intact.
    pub hash: Option<[u8; 32]>,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged places, in order.
    pub damages: Vec<Damage>,
    /// Whether all packs were read (progress was not broken off).
    pub complete: bool,
}

/// What is wrong with the file of a compressed pack, as a user is told.
pub fn name_file_damage(damage: FileDamage) -> String {
    match damage {
        FileDamage::Header => "the header of the compressed pack is damaged".into(),
        FileDamage::FrameHeader => "the header of a frame is damaged".into(),
        FileDamage::Frame(frame) => format!("a frame of {} bytes is not what was written", frame.len),
        FileDamage::NoFrame(bytes) => format!("the frames of {bytes} bytes are missing"),
        FileDamage::End => "the table of frames is damaged".into(),
    }
}

/// What there is in the packs, by kind: numbers and payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Chunks of file content.
    pub chunks: u64,
    /// Their bytes: the unique data of all versions.
    pub chunk_bytes: u64,
    /// Manifest nodes.
    pub nodes: u64,
    /// Their bytes.
    pub node_bytes: u64,
    /// Versions, dataset settings and all else.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
}

impl Totals {
    fn add(&mut self, header: &RecordHeader) {
        if header.kind == RecordKind::Void {
            return;
        }
        let (count, bytes) = match header.kind {
            RecordKind::Chunk => (&mut self.chunks, &mut self.chunk_bytes),
            RecordKind::Node => (&mut self.nodes, &mut self.node_bytes),
            _ => (&mut self.records, &mut self.record_bytes),
        };
        *count += 1;
        *bytes += u64::from(header.raw);
    }
}

impl Store {
    /// Reads every record of every pack, as far as they are written now, and verifies it. `progress`
    /// is called now and then and may break off.
    pub fn verify(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let end = self.log.end();
        let total = self.pack_lengths(end);
        let mut expected = None;
        for pack in self.packs.numbers()?.into_iter().filter(|&n| n <= end.pack()) {
            for missing in (expected.unwrap_or(pack)..pack).filter(|n| !self.lost.contains(n)) {
                verdict.damages.push(Damage { pack: missing, offset: 0, kind: DamageKind::Pack, hash: None });
            }
            expected = pack.checked_add(1);
            let last = pack == end.pack();
            let until = if last { u64::from(end.offset()) } else { u64::MAX };
            let step = |verdict: &Verdict| progress(Progress { done: verdict.bytes, total });
            match self.verify_pack(pack, until, last, &mut verdict, step) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(verdict),
                Err(e) => {
                    log::error!("{}", chain(&e));
                    verdict.damages.push(Damage { pack, offset: 0, kind: DamageKind::Pack, hash: None });
                }
            }
        }
        verdict.complete = true;
        Ok(verdict)
    }

    /// Bytes of all packs up to the end of the log, as long as they are before they are compressed.
    fn pack_lengths(&self, end: LogPos) -> u64 {
        let len = |pack| match pack == end.pack() {
            true => Some(end.offset().into()),
            false => self.packs.open_any(pack).ok().and_then(|pack| pack.size().ok()),
        };
        let numbers = self.packs.numbers().unwrap_or_default();
        numbers.into_iter().filter(|&n| n <= end.pack()).filter_map(len).sum()
    }

    fn verify_pack(
        &self,
        pack: u32,
        end: u64,
        last: bool,
        verdict: &mut Verdict,
        mut progress: impl FnMut(&Verdict) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        /// Records between two calls of `progress`.
        const STEP: u64 = 256;
        let path = self.packs.path(pack);
        let io = |e| Error::io("read", &path, e);
        let file = self.packs.reopen(pack)?;
        let mut damages = Vec::new();
        let mut damage = |offset, kind, hash| damages.push(Damage { pack, offset, kind, hash });
        // A file of several is looked at with the first.
        if *self.packs.span(pack).start() == pack {
            check_file(file.file(), |at, what| damage(at, DamageKind::File(what), None)).map_err(io)?;
        }
        if file.header().map_err(io)? != Some((self.id, pack)) {
            damage(0, DamageKind::PackHeader, None);
        }
        let footer = file.records((self.id, pack)).map_err(io)?;
        let mut scanner = Scanner::new(file, self.id, pack, 0, end).map_err(io)?;
        let mut found = Vec::new();
        loop {
            match scanner.step(|_| true).map_err(io)? {
                None => break,
                Some(Step::Gap { lost: false, .. }) => {}
                Some(Step::Gap { offset, bytes, .. }) => damage(offset, DamageKind::NoRecord(bytes), None),
                Some(Step::Record { header, pos, payload }) => {
                    let offset = pos.offset - RECORD_HEADER;
                    let kind = match payload {
                        Payload::Bad => Some(DamageKind::Payload(header.kind)),
                        Payload::Intact(bytes) => LogRecord::decode(header.kind, header.hash, bytes, pos)
                            .is_err()
                            .then_some(DamageKind::Nonsense(header.kind)),
                        Payload::Skipped => None,
                    };
                    if let Some(kind) = kind {
                        damage(u64::from(offset), kind, Some(header.hash));
                    }
                    if header.kind != RecordKind::Footer {
                        found.push(FooterEntry { offset, header });
                    }
                    verdict.records += 1;
                    verdict.bytes += u64::from(RECORD_HEADER) + u64::from(header.stored);
                }
            }
            if verdict.records.is_multiple_of(STEP) && progress(verdict).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if last && scanner.offset() < end {
            damage(scanner.offset(), DamageKind::NoRecord(end - scanner.offset()), None);
        }
        // The last pack may have been sealed since: then its footer lists what came after, too.
        let listed =
            |entries: &Vec<FooterEntry>| entries.iter().filter(|e| u64::from(e.offset) < end).eq(&found);
        let lists_others = footer.as_ref().is_some_and(|entries| !listed(entries));
        if lists_others || (!last && footer.is_none()) {
            damage(scanner.offset(), DamageKind::Footer, None);
        }
        verdict.bytes += u64::from(PACK_HEADER);
        verdict.damages.append(&mut damages);
        Ok(progress(verdict))
    }

    /// Calls `f` with every record of the packs, in the order of the log; the payload is read and
    /// verified for the kinds that `want` chooses. Places that are no record are passed over.
    pub fn each_record(
        &self,
        want: impl Fn(RecordKind) -> bool,
        mut f: impl FnMut(&RecordHeader, Pos, Payload<'_>) -> Result<()>,
    ) -> Result<()> {
        let end = self.log.end();
        for pack in self.packs.numbers()?.into_iter().filter(|&n| n <= end.pack()) {
            let until = if pack == end.pack() { u64::from(end.offset()) } else { u64::MAX };
            let io = |e| Error::io("read", &self.packs.path(pack), e);
            let mut scanner = Scanner::new(self.packs.reopen(pack)?, self.id, pack, 0, until).map_err(io)?;
            while let Some(step) = scanner.step(&want).map_err(io)? {
                if let Step::Record { header, pos, payload } = step {
                    f(&header, pos, payload)?;
                }
            }
        }
        Ok(())
    }

    /// The record that a chunk or manifest node is read from: pack and offset, as in [`Damage`]. `None`
    /// where the store has none.
    pub fn locate(&self, hash: &[u8; 32]) -> Result<Option<(u32, u64)>> {
        let found = self.object_pos(hash)?;
        Ok(found.map(|pos| (pos.pack, u64::from(pos.offset.saturating_sub(RECORD_HEADER)))))
    }

    /// Counts what is in the packs: from the footers of sealed ones, by reading the headers of the last. What
    /// cannot be read is left out.
    pub fn totals(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        let end = self.log.end();
        for pack in self.packs.numbers()?.into_iter().filter(|&n| n <= end.pack()) {
            let io = |e| Error::io("read", &self.packs.path(pack), e);
            let file = match self.packs.reopen(pack) {
                Ok(file) => file,
                Err(e @ (Error::Damaged { .. } | Error::Missing(_))) => {
                    log::error!("{e}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            if let Some(entries) = file.records((self.id, pack)).map_err(io)? {
                entries.iter().for_each(|entry| totals.add(&entry.header));
                continue;
            }
            let until = if pack == end.pack() { u64::from(end.offset()) } else { u64::MAX };
            let mut scanner = Scanner::new(file, self.id, pack, 0, until).map_err(io)?;
            while let Some(step) = scanner.step(|_| false).map_err(io)? {
                if let Step::Record { header, .. } = step {
                    totals.add(&header);
                }
            }
        }
        Ok(totals)
    }
}
