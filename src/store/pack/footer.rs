//! The footer of a sealed pack: a record that lists all others, so that an index is rebuilt without
//! reading chunks.
//!
//! ```text
//! payload: one 46-byte entry per record: kind u8, codec u8, offset u32, stored u32, raw u32, hash
//!          then the footer record's own offset u32, magic "sEnd"
//! ```
//! Being the pack's last record, it is found from the file's end.

use std::io;

use super::Pos;
use super::header::{PACK_HEADER, Place, RECORD_HEADER, RecordHeader, RecordKind, be32};
use super::read_at::ReadAt;
use super::scan::read_record;
use crate::store::identity::StoreId;

const ENTRY: usize = 46;
const TRAILER: usize = 8;
const MAGIC: [u8; 4] = *b"sEnd";
/// What a sealed pack ends with.
pub const FOOTER_END: [u8; 4] = MAGIC;

/// A record as a footer lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterEntry {
    /// Offset of the record's header within the pack.
    pub offset: u32,
    /// The header.
    pub header: RecordHeader,
}

impl FooterEntry {
    /// Where the payload lies, in pack `pack`.
    pub fn pos(&self, pack: u32) -> Pos {
        Pos {
            pack,
            offset: self.offset.saturating_add(RECORD_HEADER),
            stored: self.header.stored,
            raw: self.header.raw,
            codec: self.header.codec,
        }
    }
}

/// The payload of a footer that will stand at `offset`.
pub fn encode_footer(entries: &[FooterEntry], offset: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY + TRAILER);
    for FooterEntry { offset, header } in entries {
        out.extend_from_slice(&[header.kind.number(), header.codec]);
        for value in [*offset, header.stored, header.raw] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&header.hash);
    }
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&MAGIC);
    out
}

/// The records that the payload of a footer lists, if it is one.
pub fn decode_footer(payload: &[u8]) -> Option<Vec<FooterEntry>> {
    let entries = payload.get(..payload.len().checked_sub(TRAILER)?)?;
    if !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[14..]);
        FooterEntry {
            offset: be32(bytes, 2),
            header: RecordHeader {
                kind: RecordKind::from_number(bytes[0]),
                codec: bytes[1],
                stored: be32(bytes, 6),
                raw: be32(bytes, 10),
                hash,
            },
        }
    };
    Some(entries.chunks_exact(ENTRY).map(entry).collect())
}

/// The records of a sealed pack; `None` where there is no intact footer at the file's end.
pub fn read_footer(file: &impl ReadAt, store: StoreId, pack: u32) -> io::Result<Option<Vec<FooterEntry>>> {
    let len = file.size()?;
    if len < u64::from(PACK_HEADER + RECORD_HEADER) + TRAILER as u64 {
        return Ok(None);
    }
    let mut trailer = [0; TRAILER];
    file.fill_at(&mut trailer, len - TRAILER as u64)?;
    let offset = be32(&trailer, 0);
    if trailer[4..] != MAGIC || u64::from(offset) + u64::from(RECORD_HEADER) > len {
        return Ok(None);
    }
    let Some((header, payload)) = read_record(file, len, Place { store, pack, offset })? else {
        return Ok(None);
    };
    let ends_here = u64::from(offset) + u64::from(RECORD_HEADER) + u64::from(header.stored) == len;
    if header.kind != RecordKind::Footer || !ends_here {
        return Ok(None);
    }
    Ok(payload.and_then(|p| decode_footer(&p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_decode_to_what_was_encoded_and_refuse_other_lengths() {
        let header = RecordHeader { kind: RecordKind::Node, codec: 0, stored: 9, raw: 9, hash: [7; 32] };
        let entries = vec![FooterEntry { offset: 40, header }, FooterEntry { offset: 105, header }];
        let bytes = encode_footer(&entries, 170);
        assert_eq!(bytes.len(), 2 * ENTRY + TRAILER);
        assert_eq!(&bytes[..6], [2, 0, 0, 0, 0, 40]);
        assert_eq!(&bytes[bytes.len() - 8..], [0, 0, 0, 170, b's', b'E', b'n', b'd']);
        assert_eq!(decode_footer(&bytes), Some(entries));
        assert_eq!(decode_footer(&bytes[1..]), None);
        assert_eq!(decode_footer(&[]), None);
    }
}
