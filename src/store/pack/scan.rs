//! Reading a pack's records in order, past any damage.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::header::{PACK_HEADER, Place, RECORD_HEADER, RECORD_MAGIC, RecordHeader, RecordKind};
use super::{CODEC_RAW, Pos};
use crate::store::identity::StoreId;

const BUFFER: usize = 256 << 10;

/// A payload met in a scan.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Not asked for.
    Skipped,
    /// It has the hash its header gives.
    Intact(&'a [u8]),
    /// Its hash is another, or its codec is unknown.
    Bad,
}

/// What a scan came to.
#[derive(Debug)]
pub enum Step<'a> {
    /// A record with an intact header.
    Record {
        /// The header.
        header: RecordHeader,
        /// Where the payload lies.
        pos: Pos,
        /// The payload.
        payload: Payload<'a>,
    },
    /// Bytes that are no record.
    Gap {
        /// Where they begin.
        offset: u64,
        /// How many there are up to the next record or the end.
        bytes: u64,
    },
}

/// Walks the records of one pack.
#[derive(Debug)]
pub struct Scanner {
    file: BufReader<File>,
    store: StoreId,
    pack: u32,
    at: u64,
    end: u64,
    payload: Vec<u8>,
}

impl Scanner {
    /// Begins at `from` (a record's header, or 0 for the first record) and goes up to `end` or the
    /// file's end.
    pub fn new(mut file: File, store: StoreId, pack: u32, from: u32, end: u64) -> io::Result<Scanner> {
        let at = u64::from(from.max(PACK_HEADER));
        let end = file.metadata()?.len().min(end);
        file.seek(SeekFrom::Start(at))?;
        let file = BufReader::with_capacity(BUFFER, file);
        Ok(Scanner { file, store, pack, at, end, payload: Vec::new() })
    }

    /// Where the next step begins, in bytes from the pack's start.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next record or gap; `want` says of which kinds the payload is read and verified.
    pub fn step(&mut self, want: impl Fn(RecordKind) -> bool) -> io::Result<Option<Step<'_>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let Some(header) = self.header()? else {
            return self.gap().map(Some);
        };
        let offset = self.at as u32 + RECORD_HEADER;
        let pos =
            Pos { pack: self.pack, offset, stored: header.stored, raw: header.raw, codec: header.codec };
        let payload = if want(header.kind) {
            self.payload.resize(header.stored as usize, 0);
            self.file.read_exact(&mut self.payload)?;
            check_payload(&header, &self.payload)
        } else {
            self.file.seek_relative(i64::from(header.stored))?;
            Payload::Skipped
        };
        self.at += u64::from(RECORD_HEADER) + u64::from(header.stored);
        Ok(Some(Step::Record { header, pos, payload }))
    }

    /// Reads the header at the current place; on success the reader stands at its payload.
    fn header(&mut self) -> io::Result<Option<RecordHeader>> {
        let Ok(offset) = u32::try_from(self.at) else { return Ok(None) };
        if self.end - self.at < u64::from(RECORD_HEADER) {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER as usize];
        self.file.read_exact(&mut bytes)?;
        let place = Place { store: self.store, pack: self.pack, offset };
        let left = self.end - self.at - u64::from(RECORD_HEADER);
        Ok(RecordHeader::decode(&bytes, place).filter(|h| u64::from(h.stored) <= left))
    }

    fn gap(&mut self) -> io::Result<Step<'static>> {
        let offset = self.at;
        self.at = self.find_header(offset + 1)?.unwrap_or(self.end);
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok(Step::Gap { offset, bytes: self.at - offset })
    }

    /// The next offset from `from` on at which an intact header stands.
    fn find_header(&self, from: u64) -> io::Result<Option<u64>> {
        let mut block = vec![0; BUFFER];
        let mut start = from;
        while start + u64::from(RECORD_HEADER) <= self.end {
            let len = (self.end - start).min(BUFFER as u64) as usize;
            let bytes = &mut block[..len];
            self.file.get_ref().read_exact_at(bytes, start)?;
            let candidates = bytes.windows(RECORD_HEADER as usize).enumerate();
            for (i, window) in candidates.filter(|(_, w)| w.starts_with(&RECORD_MAGIC)) {
                let at = start + i as u64;
                let (Ok(window), Ok(offset)) = (window.try_into(), u32::try_from(at)) else { continue };
                let place = Place { store: self.store, pack: self.pack, offset };
                let fits = |h: &RecordHeader| at + u64::from(RECORD_HEADER) + u64::from(h.stored) <= self.end;
                if RecordHeader::decode(window, place).as_ref().is_some_and(fits) {
                    return Ok(Some(at));
                }
            }
            start += (len - RECORD_HEADER as usize + 1) as u64;
        }
        Ok(None)
    }
}

fn check_payload<'a>(header: &RecordHeader, payload: &'a [u8]) -> Payload<'a> {
    let sound =
        header.codec == CODEC_RAW && header.raw == header.stored && header.kind.hash(payload) == header.hash;
    if sound { Payload::Intact(payload) } else { Payload::Bad }
}

/// The record at `place` of a pack of `len` bytes: `None` where no intact header stands, a `None`
/// payload where its hash does not match.
pub fn read_record(
    file: &File,
    len: u64,
    place: Place,
) -> io::Result<Option<(RecordHeader, Option<Vec<u8>>)>> {
    let body = u64::from(place.offset) + u64::from(RECORD_HEADER);
    if body > len {
        return Ok(None);
    }
    let mut bytes = [0; RECORD_HEADER as usize];
    file.read_exact_at(&mut bytes, u64::from(place.offset))?;
    let header = RecordHeader::decode(&bytes, place).filter(|h| body + u64::from(h.stored) <= len);
    let Some(header) = header else { return Ok(None) };
    let mut payload = vec![0; header.stored as usize];
    file.read_exact_at(&mut payload, body)?;
    let sound = matches!(check_payload(&header, &payload), Payload::Intact(_));
    Ok(Some((header, sound.then_some(payload))))
}
