//! Making out what records were where now are bytes that are none: by the footer, by what the index
//! knows, by what is left of their headers.

use super::flip::mend_header;
use crate::model::{DatasetId, VersionId, VersionNo};
use crate::store::identity::StoreId;
use crate::store::index::change::LogRecord;
use crate::store::pack::{CODEC_RAW, FooterEntry, Place, Pos, RECORD_HEADER, RecordHeader, RecordKind};

/// Kinds a record can be of.
const KINDS: [RecordKind; 12] = [
    RecordKind::Chunk,
    RecordKind::Node,
    RecordKind::Version,
    RecordKind::Dataset,
    RecordKind::Pending,
    RecordKind::Footer,
    RecordKind::Salvaged,
    RecordKind::Void,
    RecordKind::Tag,
    RecordKind::Annotation,
    RecordKind::Retention,
    RecordKind::Reclaim,
];

/// What the index knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// A chunk or manifest node of this hash.
    Object([u8; 32]),
    /// A version.
    Version(DatasetId, VersionNo),
    /// A pending record of this sequence.
    Pending(DatasetId, u64),
}

/// A part of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A record, with what its header is to be; `how` that was found out.
    Record {
        /// Offset in the pack.
        offset: u32,
        /// Its header.
        header: RecordHeader,
        /// How it is known.
        how: &'static str,
    },
    /// Bytes, from and to, of which no header can be made; what the index knows of them.
    Unknown(u64, u64, Option<Knows>),
}

/// A gap and what is known of what was in it.
pub struct Gap<'a> {
    /// The store.
    pub store: StoreId,
    /// The pack.
    pub pack: u32,
    /// Where it begins.
    pub from: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Records the pack's footer lists in it.
    pub listed: &'a [FooterEntry],
    /// Records the index has in it, by offset of their headers.
    pub known: &'a [(Pos, Knows)],
    /// Whether the index has this version under this id.
    pub is_version: &'a dyn Fn(DatasetId, VersionNo, VersionId) -> bool,
}

impl Gap<'_> {
    /// Takes the gap apart.
    pub fn resolve(&self) -> Vec<Part> {
        let end = self.from + self.bytes.len() as u64;
        let mut parts = Vec::new();
        let mut at = self.from;
        while at < end {
            let found = u32::try_from(at).ok().and_then(|offset| self.record_at(offset, end));
            if let Some((header, how)) = found {
                parts.push(Part::Record { offset: at as u32, header, how });
                at += u64::from(RECORD_HEADER) + u64::from(header.stored);
                continue;
            }
            let known =
                self.known.iter().find(|(pos, _)| u64::from(pos.offset) == at + u64::from(RECORD_HEADER));
            let ends = known.map(|(pos, _)| u64::from(pos.offset) + u64::from(pos.stored));
            let next = self.next_known(at).unwrap_or(end);
            let next = ends.map_or(next, |ends| ends.min(next));
            parts.push(Part::Unknown(at, next, known.map(|(_, knows)| *knows)));
            at = next;
        }
        parts
    }

    /// Where after `at` the next record that is known of begins.
    fn next_known(&self, at: u64) -> Option<u64> {
        let listed = self.listed.iter().map(|entry| u64::from(entry.offset));
        let known = self.known.iter().map(|(pos, _)| u64::from(pos.offset.saturating_sub(RECORD_HEADER)));
        let end = self.from + self.bytes.len() as u64;
        listed.chain(known).filter(|offset| *offset > at && *offset < end).min()
    }

    fn record_at(&self, offset: u32, end: u64) -> Option<(RecordHeader, &'static str)> {
        let start = (u64::from(offset) - self.from) as usize;
        let header: &[u8; RECORD_HEADER as usize] = self.bytes.get(start..)?.first_chunk()?;
        let body = start + RECORD_HEADER as usize;
        let room = end - self.from - body as u64;
        let fits = |h: &RecordHeader| u64::from(h.stored) <= room;
        let place = Place { store: self.store, pack: self.pack, offset };
        if let Some(header) = RecordHeader::decode(header, place).filter(fits) {
            return Some((header, "its header"));
        }
        if let Some(header) = mend_header(header, place).filter(fits) {
            return Some((header, "a bit of its header that was flipped"));
        }
        let listed = self.listed.iter().find(|entry| entry.offset == offset);
        if let Some(entry) = listed.filter(|entry| fits(&entry.header)) {
            return Some((entry.header, "the pack's footer"));
        }
        let payload = |len: u32| self.bytes.get(body..body + len as usize);
        let known = self.known.iter().find(|(pos, _)| pos.offset == offset + RECORD_HEADER);
        if let Some((pos, knows)) = known
            && u64::from(pos.stored) <= room
            && let Some(header) = self.by_index(*pos, *knows, payload(pos.stored)?)
        {
            return Some((header, "the index"));
        }
        // What is left of the header may still name the hash that the payload has.
        let stored = u32::from_be_bytes(*header[8..].first_chunk()?);
        let rest = u32::try_from(room).ok();
        [Some(stored), rest].into_iter().flatten().find_map(|len| {
            let bytes = payload(len).filter(|_| u64::from(len) <= room)?;
            let kind = KINDS.into_iter().find(|kind| kind.hash(bytes)[..] == header[16..48])?;
            Some((header_of(kind, kind.hash(bytes), len), "the hash that is left of its header"))
        })
    }

    fn by_index(&self, pos: Pos, knows: Knows, payload: &[u8]) -> Option<RecordHeader> {
        let decode = |kind: RecordKind| LogRecord::decode(kind, kind.hash(payload), payload, pos).ok()?;
        let (kind, hash) = match knows {
            Knows::Object(hash) => {
                let node = RecordKind::Node.hash(payload) == hash;
                (if node { RecordKind::Node } else { RecordKind::Chunk }, hash)
            }
            Knows::Version(ds, number) => match decode(RecordKind::Version)? {
                LogRecord::Version(id, record)
                    if (record.dataset, record.number) == (ds, number)
                        && (self.is_version)(ds, number, id) =>
                {
                    (RecordKind::Version, id.0)
                }
                _ => return None,
            },
            // What it holds nothing vouches for.
            Knows::Pending(..) => return None,
        };
        Some(header_of(kind, hash, pos.stored))
    }
}

/// The header of a record as they are written.
pub fn header_of(kind: RecordKind, hash: [u8; 32], len: u32) -> RecordHeader {
    RecordHeader { kind, codec: CODEC_RAW, stored: len, raw: len, hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 16]);

    /// Records with these payloads from byte 40 of pack 1 on; their bytes and headers.
    fn records(payloads: &[&[u8]]) -> (Vec<u8>, Vec<FooterEntry>) {
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        for payload in payloads {
            let offset = 40 + bytes.len() as u32;
            let kind = RecordKind::Chunk;
            let header = header_of(kind, kind.hash(payload), payload.len() as u32);
            bytes.extend(header.encode(Place { store: STORE, pack: 1, offset }));
            bytes.extend(*payload);
            entries.push(FooterEntry { offset, header });
        }
        (bytes, entries)
    }

    fn resolve(bytes: &[u8], listed: &[FooterEntry], known: &[(Pos, Knows)]) -> Vec<Part> {
        let is_version = &|_, _, _| false;
        Gap { store: STORE, pack: 1, from: 40, bytes, listed, known, is_version }.resolve()
    }

    fn record(entry: &FooterEntry, how: &'static str) -> Part {
        Part::Record { offset: entry.offset, header: entry.header, how }
    }

    #[test]
    fn headers_come_back_from_a_flipped_bit_the_footer_the_index_or_what_is_left() {
        let (good, entries) = records(&[b"first", b"second", b"third"]);
        let mut bytes = good.clone();
        // A bit of the first header, all of the second, the magic of the third.
        bytes[9] ^= 4;
        bytes[61..61 + 56].fill(0);
        let third = (entries[2].offset - 40) as usize;
        bytes[third..third + 4].fill(0xff);
        let flipped = record(&entries[0], "a bit of its header that was flipped");
        let left = record(&entries[2], "the hash that is left of its header");
        assert_eq!(
            resolve(&bytes, &entries, &[]),
            [flipped, record(&entries[1], "the pack's footer"), record(&entries[2], "the pack's footer")]
        );
        let known = [(entries[1].pos(1), Knows::Object(entries[1].header.hash))];
        assert_eq!(resolve(&bytes, &[], &known), [flipped, record(&entries[1], "the index"), left]);
        let third_known = [(entries[2].pos(1), Knows::Object(entries[2].header.hash))];
        let unknown = Part::Unknown(101, u64::from(entries[2].offset), None);
        assert_eq!(resolve(&bytes, &[], &third_known), [flipped, unknown, record(&entries[2], "the index")]);
        assert_eq!(resolve(&[0; 200], &[], &[]), [Part::Unknown(40, 240, None)]);
        assert_eq!(resolve(&good[..30], &entries, &[]), [Part::Unknown(40, 70, None)]);
    }
}
