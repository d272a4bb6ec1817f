//! Reading a pack's records in order, past any damage.

use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::header::{PACK_HEADER, Place, RECORD_HEADER, RECORD_MAGIC, RecordHeader, RecordKind};
use super::read_at::{Cursor, ReadAt};
use super::{CODEC_RAW, Pos};
use crate::model::RecordBytes;
use crate::store::identity::StoreId;

const BUFFER: usize = 256 << 10;
/// Bytes first searched for the next header after a gap: one that damage made is short, as a rule.
const SEARCH_MIN: usize = 4 << 10;

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
        /// Whether there can have been a record. Before an intact one there was none in fewer bytes than a
        /// header has; what a pack ends with may be the beginning of one.
        lost: bool,
    },
}

/// Walks the records of one pack.
#[derive(Debug)]
pub struct Scanner<R> {
    file: BufReader<Cursor<R>>,
    store: StoreId,
    pack: u32,
    at: u64,
    end: u64,
    payload: Vec<u8>,
    /// Bytes searched for headers after gaps.
    #[cfg(test)]
    searched: u64,
}

impl<R: ReadAt> Scanner<R> {
    /// Begins at `from` (a record's header, or 0 for the first record) and goes up to `end` or the
    /// pack's end.
    pub fn new(file: R, store: StoreId, pack: u32, from: u32, end: u64) -> io::Result<Scanner<R>> {
        let at = u64::from(from.max(PACK_HEADER));
        let end = file.size()?.min(end);
        let mut file = Cursor::new(file)?;
        file.seek(SeekFrom::Start(at))?;
        let file = BufReader::with_capacity(BUFFER, file);
        Ok(Scanner {
            file,
            store,
            pack,
            at,
            end,
            payload: Vec::new(),
            #[cfg(test)]
            searched: 0,
        })
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
        let Some((header, offset)) = self.header()? else {
            return self.gap().map(Some);
        };
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

    /// Reads the header at the current place, and says where its payload lies. On success the reader stands
    /// there, else where it was.
    fn header(&mut self) -> io::Result<Option<(RecordHeader, u32)>> {
        let left = self.end - self.at;
        let (Some((offset, body)), true) = (body_at(self.at), left >= u64::from(RECORD_HEADER)) else {
            return Ok(None);
        };
        let mut bytes = [0; RECORD_HEADER as usize];
        self.file.read_exact(&mut bytes)?;
        let place = Place { store: self.store, pack: self.pack, offset };
        let fits = |h: &RecordHeader| u64::from(RECORD_HEADER) + u64::from(h.stored) <= left;
        let header = RecordHeader::decode(&bytes, place).filter(fits);
        if header.is_none() {
            self.file.seek_relative(-i64::from(RECORD_HEADER))?;
        }
        Ok(header.map(|header| (header, body)))
    }

    fn gap(&mut self) -> io::Result<Step<'static>> {
        let offset = self.at;
        self.at = self.find_header(offset + 1)?.unwrap_or(self.end);
        let bytes = self.at - offset;
        self.file.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)?;
        let lost = bytes >= u64::from(RECORD_HEADER) || self.at == self.end;
        Ok(Step::Gap { offset, bytes, lost })
    }

    /// The next offset from `from` on at which an intact header stands.
    fn find_header(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut block = Vec::new();
        let mut start = from;
        while start + u64::from(RECORD_HEADER) <= self.end {
            let size = if block.is_empty() { SEARCH_MIN } else { BUFFER };
            block.resize((self.end - start).min(size as u64) as usize, 0);
            self.file.get_ref().of().fill_at(&mut block, start)?;
            #[cfg(test)]
            {
                self.searched += block.len() as u64;
            }
            let candidates = block.windows(RECORD_HEADER as usize).enumerate();
            for (i, window) in candidates.filter(|(_, w)| w.starts_with(&RECORD_MAGIC)) {
                let at = start + i as u64;
                let (Ok(window), Some((offset, _))) = (window.try_into(), body_at(at)) else { continue };
                let place = Place { store: self.store, pack: self.pack, offset };
                let fits = |h: &RecordHeader| at + u64::from(RECORD_HEADER) + u64::from(h.stored) <= self.end;
                if RecordHeader::decode(window, place).as_ref().is_some_and(fits) {
                    return Ok(Some(at));
                }
            }
            start += (block.len() - RECORD_HEADER as usize + 1) as u64;
        }
        Ok(None)
    }
}

/// The offset of a record whose header stands at `at`, and that of its payload; `None` past what they can be.
fn body_at(at: u64) -> Option<(u32, u32)> {
    let offset = u32::try_from(at).ok()?;
    Some((offset, offset.checked_add(RECORD_HEADER)?))
}

fn check_payload<'a>(header: &RecordHeader, payload: &'a [u8]) -> Payload<'a> {
    let sound = is_raw(header) && header.kind.hash(payload) == header.hash;
    if sound { Payload::Intact(payload) } else { Payload::Bad }
}

/// Whether a record is stored as it is, which is the only way known.
fn is_raw(header: &RecordHeader) -> bool {
    header.codec == CODEC_RAW && header.raw == header.stored
}

/// The record at `place` of a pack of `len` bytes: `None` where no intact header stands, a `None`
/// payload where its hash does not match.
pub fn read_record(
    file: &impl ReadAt,
    len: u64,
    place: Place,
) -> io::Result<Option<(RecordHeader, Option<Vec<u8>>)>> {
    let Some(header) = header_at(file, len, place)? else { return Ok(None) };
    let mut payload = vec![0; header.stored as usize];
    file.fill_at(&mut payload, u64::from(place.offset) + u64::from(RECORD_HEADER))?;
    let sound = matches!(check_payload(&header, &payload), Payload::Intact(_));
    Ok(Some((header, sound.then_some(payload))))
}

/// The header that stands at `place` of a pack of `len` bytes, if it is intact and the pack has all of its payload.
fn header_at(file: &impl ReadAt, len: u64, place: Place) -> io::Result<Option<RecordHeader>> {
    let body = u64::from(place.offset) + u64::from(RECORD_HEADER);
    if body > len || body_at(place.offset.into()).is_none() {
        return Ok(None);
    }
    let mut bytes = [0; RECORD_HEADER as usize];
    file.fill_at(&mut bytes, u64::from(place.offset))?;
    Ok(RecordHeader::decode(&bytes, place).filter(|h| body + u64::from(h.stored) <= len))
}

/// Bytes of a payload that are held at a time.
const PART: usize = 64 << 10;

/// The payload of a record of a pack, read from there as it is wanted.
#[derive(Debug)]
pub struct InPack<R> {
    file: R,
    at: u64,
    len: usize,
    /// A short one as a whole.
    held: Vec<u8>,
}

impl<R: ReadAt + fmt::Debug + Send + Sync> RecordBytes for InPack<R> {
    fn size(&self) -> usize {
        self.len
    }

    fn fill(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        match self.held.get(at..at + out.len()) {
            Some(held) => out.copy_from_slice(held),
            None => self.file.fill_at(out, self.at + at as u64)?,
        }
        Ok(())
    }
}

/// The same record as [`read_record`] gives, of which no more than a part is held at a time: it is read once to
/// find out that it is intact.
pub fn open_record<R: ReadAt>(
    file: R,
    len: u64,
    place: Place,
) -> io::Result<Option<(RecordHeader, Option<InPack<R>>)>> {
    let Some(header) = header_at(&file, len, place)? else { return Ok(None) };
    let at = u64::from(place.offset) + u64::from(RECORD_HEADER);
    let len = header.stored as usize;
    let mut hasher = header.kind.hasher();
    let mut part = vec![0; len.min(PART)];
    let mut done = 0;
    while done < len {
        let part = &mut part[..PART.min(len - done)];
        file.fill_at(part, at + done as u64)?;
        hasher.update(part);
        done += part.len();
    }
    let sound = is_raw(&header) && *hasher.finalize().as_bytes() == header.hash;
    let held = if len <= PART { part } else { Vec::new() };
    Ok(Some((header, sound.then_some(InPack { file, at, len, held }))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::store::pack::encode_pack_header;

    const STORE: StoreId = StoreId([4; 16]);

    fn header_at(offset: u32, stored: u32) -> [u8; RECORD_HEADER as usize] {
        let kind = RecordKind::Chunk;
        let header = RecordHeader { kind, codec: CODEC_RAW, stored, raw: stored, hash: kind.hash(b"") };
        header.encode(Place { store: STORE, pack: 1, offset })
    }

    /// The offset of a payload overflowed, and the scan panicked.
    #[test]
    fn a_header_at_the_end_of_all_offsets_is_none() {
        let file = tempfile::tempfile().unwrap();
        let at = u32::MAX - 30;
        file.set_len(u64::from(at) + 1000).unwrap();
        file.write_all_at(&header_at(at, 0), at.into()).unwrap();
        let len = file.metadata().unwrap().len();
        let place = Place { store: STORE, pack: 1, offset: at };
        assert_eq!(read_record(&file, len, place).unwrap(), None);
        let mut scanner = Scanner::new(file, STORE, 1, at, u64::MAX).unwrap();
        let step = scanner.step(|_| true).unwrap();
        assert!(matches!(step, Some(Step::Gap { bytes: 1000, lost: true, .. })), "{step:?}");
        assert!(scanner.step(|_| true).unwrap().is_none());
    }

    /// Every gap read and cleared half a MiB: a pack full of short ones took minutes.
    #[test]
    fn many_short_gaps_are_passed_quickly() {
        const GAPS: usize = 20_000;
        let mut bytes = encode_pack_header(STORE, 1).to_vec();
        for _ in 0..GAPS {
            bytes.push(0);
            bytes.extend(header_at(bytes.len() as u32, 0));
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let mut scanner = Scanner::new(file, STORE, 1, 0, u64::MAX).unwrap();
        let (mut gaps, mut records) = (0, 0);
        while let Some(step) = scanner.step(|_| true).unwrap() {
            match step {
                Step::Gap { bytes, lost, .. } => {
                    assert_eq!((bytes, lost), (1, false));
                    gaps += 1;
                }
                Step::Record { payload, .. } => {
                    assert_eq!(payload, Payload::Intact(b""));
                    records += 1;
                }
            }
        }
        assert_eq!((gaps, records), (GAPS, GAPS));
        assert!(scanner.searched <= (GAPS * SEARCH_MIN) as u64, "{} bytes for {GAPS} gaps", scanner.searched);
    }
}
