//! Reading a pack to find what is wrong with it.

use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::pack::{
    FooterEntry, LogPos, Packs, Payload, RECORD_HEADER, ReadAt, RecordKind, Scanner, Step,
};

/// What is in a pack.
#[derive(Debug, Default)]
pub struct PackScan {
    /// Its number.
    pub number: u32,
    /// Bytes of the file that are part of the log: what a crash left of a write is not.
    pub len: u64,
    /// Whether its header is what it should be.
    pub header_ok: bool,
    /// All records with an intact header but footers, in order.
    pub entries: Vec<FooterEntry>,
    /// Those whose payload is not what was stored, by offset.
    pub bad: Vec<u32>,
    /// Where bytes are no record: from and to.
    pub gaps: Vec<(u64, u64)>,
    /// The footer's records, where it is intact.
    pub footer: Option<Vec<FooterEntry>>,
    /// Where a footer is or, by its header, was.
    pub footer_at: Option<u32>,
    /// Whether it must have a footer, since other packs follow it.
    pub sealed: bool,
}

impl PackScan {
    /// Reads a pack. `last`: it is the last one, and of what is bad at its end only what lies before
    /// `synced` is damage.
    pub fn read(packs: &Packs, store: StoreId, number: u32, last: bool, synced: LogPos) -> Result<PackScan> {
        let path = packs.path(number);
        let io = |e| Error::io("read", &path, e);
        let file = packs.open_any(number)?;
        let mut scan = PackScan {
            number,
            len: file.size().map_err(io)?,
            header_ok: file.header().map_err(io)? == Some((store, number)),
            footer: file.records((store, number)).map_err(io)?,
            sealed: !last,
            ..PackScan::default()
        };
        let mut scanner = Scanner::new(file, store, number, 0, u64::MAX).map_err(io)?;
        while let Some(step) = scanner.step(|_| true).map_err(io)? {
            match step {
                Step::Gap { lost: false, .. } => {}
                Step::Gap { offset, bytes, .. } => scan.gaps.push((offset, offset + bytes)),
                Step::Record { header, pos, payload } => {
                    let offset = pos.offset - RECORD_HEADER;
                    if header.kind == RecordKind::Footer {
                        scan.footer_at = Some(offset);
                        continue;
                    }
                    if payload == Payload::Bad {
                        scan.bad.push(offset);
                    }
                    scan.entries.push(FooterEntry { offset, header });
                }
            }
        }
        if last {
            scan.sealed = scan.footer_at.is_some();
            scan.leave_torn_end(synced);
        }
        Ok(scan)
    }

    /// What is bad at the end of the last pack, and was not durable, a crash left of a write: opening
    /// the store cuts it off.
    fn leave_torn_end(&mut self, synced: LogPos) {
        let torn =
            |offset: u64| LogPos::new(self.number, u32::try_from(offset).unwrap_or(u32::MAX)) >= synced;
        loop {
            match (self.gaps.last(), self.entries.last().zip(self.bad.last())) {
                (Some(&(from, to)), _) if to == self.len && torn(from) => {
                    self.len = from;
                    self.gaps.pop();
                }
                (_, Some((entry, &bad)))
                    if entry.offset == bad && entry_end(entry) == self.len && torn(u64::from(bad)) =>
                {
                    self.len = u64::from(bad);
                    self.bad.pop();
                    self.entries.pop();
                }
                _ => return,
            }
        }
    }

    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        let footer_ok = match &self.footer {
            Some(listed) => *listed == self.entries,
            None => !self.sealed,
        };
        self.header_ok && self.bad.is_empty() && self.gaps.is_empty() && footer_ok
    }
}

/// Where a record ends.
pub fn entry_end(entry: &FooterEntry) -> u64 {
    u64::from(entry.offset) + u64::from(RECORD_HEADER) + u64::from(entry.header.stored)
}

/// The bytes from `from` to `to` of a pack; what lies beyond its end is left out.
pub fn read_range(pack: &impl ReadAt, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let to = to.min(pack.size()?);
    let mut bytes = vec![0; to.saturating_sub(from) as usize];
    pack.fill_at(&mut bytes, from)?;
    Ok(bytes)
}
