//! The bytes of pack headers and record headers.
//!
//! ```text
//! pack header, 40 bytes                      record header, 56 bytes
//!  0  magic "STRATAPK"                        0  magic "sRec"
//!  8  format, u32                             4  kind, u8
//! 12  pack number, u32                        5  codec, u8
//! 16  store id                                6  zero, u16
//! 32  BLAKE3 of bytes 0..32, first 8 bytes    8  stored length, u32
//!                                            12  raw length, u32
//!                                            16  hash of the raw payload
//!                                            48  BLAKE3 of store id, pack number, record offset,
//!                                                bytes 0..48; first 8 bytes
//! ```

use crate::model::{NodeHash, VersionId};
use crate::store::identity::StoreId;

/// Length of a pack's header in bytes.
pub const PACK_HEADER: u32 = 40;
/// Length of a record's header in bytes.
pub const RECORD_HEADER: u32 = 56;

pub(super) const PACK_MAGIC: [u8; 8] = *b"STRATAPK";
/// The format of packs, which is that of stores before there were compressed ones.
const PACK_FORMAT: u32 = 1;
pub(super) const RECORD_MAGIC: [u8; 4] = *b"sRec";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A chunk of file content.
    Chunk,
    /// A manifest node.
    Node,
    /// A version record.
    Version,
    /// A dataset's name and settings.
    Dataset,
    /// Changes that no version holds yet.
    Pending,
    /// The list of a sealed pack's records.
    Footer,
    /// What the index still knew of a version whose record was lost.
    Salvaged,
    /// Bytes of records that were lost, given up by `strata fsck`.
    Void,
    /// A tag that was set, moved or removed.
    Tag,
    /// Something said of a version after it was made.
    Annotation,
    /// A change in what is kept of a dataset's history.
    Retention,
    /// The list of chunks and manifest nodes that were forgotten.
    Reclaim,
    /// A kind this release does not know.
    Other(u8),
}

impl RecordKind {
    /// The number stored.
    pub fn number(self) -> u8 {
        match self {
            RecordKind::Chunk => 1,
            RecordKind::Node => 2,
            RecordKind::Version => 3,
            RecordKind::Dataset => 4,
            RecordKind::Pending => 5,
            RecordKind::Footer => 6,
            RecordKind::Salvaged => 7,
            RecordKind::Void => 8,
            RecordKind::Tag => 9,
            RecordKind::Annotation => 12,
            RecordKind::Retention => 10,
            RecordKind::Reclaim => 11,
            RecordKind::Other(n) => n,
        }
    }

    /// The kind with this number.
    pub fn from_number(n: u8) -> RecordKind {
        match n {
            1 => RecordKind::Chunk,
            2 => RecordKind::Node,
            3 => RecordKind::Version,
            4 => RecordKind::Dataset,
            5 => RecordKind::Pending,
            6 => RecordKind::Footer,
            7 => RecordKind::Salvaged,
            8 => RecordKind::Void,
            9 => RecordKind::Tag,
            12 => RecordKind::Annotation,
            10 => RecordKind::Retention,
            11 => RecordKind::Reclaim,
            n => RecordKind::Other(n),
        }
    }

    /// The hash that identifies a payload of this kind.
    pub fn hash(self, payload: &[u8]) -> [u8; 32] {
        *self.hasher().update(payload).finalize().as_bytes()
    }

    /// What makes that hash of a payload that is had part by part.
    pub fn hasher(self) -> blake3::Hasher {
        match self {
            RecordKind::Node => blake3::Hasher::new_derive_key(NodeHash::CONTEXT),
            RecordKind::Version => blake3::Hasher::new_derive_key(VersionId::CONTEXT),
            _ => blake3::Hasher::new(),
        }
    }

    /// Whether records of this kind are content-addressed objects, of which a replay needs only the
    /// position.
    pub fn is_object(self) -> bool {
        matches!(self, RecordKind::Chunk | RecordKind::Node)
    }
}

/// Where a record header stands; part of its checksum.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The store.
    pub store: StoreId,
    /// The pack's number.
    pub pack: u32,
    /// The header's offset within the pack, in bytes.
    pub offset: u32,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is.
    pub kind: RecordKind,
    /// How it is encoded.
    pub codec: u8,
    /// Its length as stored, in bytes.
    pub stored: u32,
    /// Its length decoded, in bytes.
    pub raw: u32,
    /// The hash that identifies it.
    pub hash: [u8; 32],
}

impl RecordHeader {
    /// The header's bytes at `place`.
    pub fn encode(&self, place: Place) -> [u8; RECORD_HEADER as usize] {
        let mut out = [0; RECORD_HEADER as usize];
        out[0..4].copy_from_slice(&RECORD_MAGIC);
        out[4] = self.kind.number();
        out[5] = self.codec;
        out[8..12].copy_from_slice(&self.stored.to_be_bytes());
        out[12..16].copy_from_slice(&self.raw.to_be_bytes());
        out[16..48].copy_from_slice(&self.hash);
        let check = record_check(place, &out[..48]);
        out[48..].copy_from_slice(&check);
        out
    }

    /// The header in `bytes`, if they are one that was written at `place`.
    pub fn decode(bytes: &[u8; RECORD_HEADER as usize], place: Place) -> Option<RecordHeader> {
        if bytes[..4] != RECORD_MAGIC || bytes[48..] != record_check(place, &bytes[..48]) {
            return None;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[16..48]);
        Some(RecordHeader {
            kind: RecordKind::from_number(bytes[4]),
            codec: bytes[5],
            stored: be32(bytes, 8),
            raw: be32(bytes, 12),
            hash,
        })
    }
}

fn record_check(place: Place, fields: &[u8]) -> [u8; 8] {
    let mut input = [0; 72];
    input[..16].copy_from_slice(&place.store.0);
    input[16..20].copy_from_slice(&place.pack.to_be_bytes());
    input[20..24].copy_from_slice(&place.offset.to_be_bytes());
    input[24..].copy_from_slice(fields);
    check(&input)
}

/// The header of pack `number` of a store.
pub fn encode_pack_header(store: StoreId, number: u32) -> [u8; PACK_HEADER as usize] {
    encode_header(PACK_MAGIC, PACK_FORMAT, (store, number))
}

/// The header of a pack or, with another magic, of a compressed one.
pub(super) fn encode_header(
    magic: [u8; 8],
    format: u32,
    (store, number): (StoreId, u32),
) -> [u8; PACK_HEADER as usize] {
    let mut out = [0; PACK_HEADER as usize];
    out[0..8].copy_from_slice(&magic);
    out[8..12].copy_from_slice(&format.to_be_bytes());
    out[12..16].copy_from_slice(&number.to_be_bytes());
    out[16..32].copy_from_slice(&store.0);
    let check = check(&out[..32]);
    out[32..].copy_from_slice(&check);
    out
}

/// The store id and pack number a pack header gives, if it is one.
pub fn decode_pack_header(bytes: &[u8; PACK_HEADER as usize]) -> Option<(StoreId, u32)> {
    decode_header(bytes, PACK_MAGIC)
}

pub(super) fn decode_header(bytes: &[u8; PACK_HEADER as usize], magic: [u8; 8]) -> Option<(StoreId, u32)> {
    if bytes[..8] != magic || bytes[32..] != check(&bytes[..32]) {
        return None;
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    Some((StoreId(id), be32(bytes, 12)))
}

pub(super) fn check(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    out
}

pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::hex;

    const PLACE: Place = Place { store: StoreId([0xab; 16]), pack: 7, offset: 40 };

    fn header() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Chunk,
            codec: 0,
            stored: 3,
            raw: 3,
            hash: RecordKind::Chunk.hash(b"abc"),
        }
    }

    #[test]
    fn record_headers_keep_their_bytes() {
        assert_eq!(
            hex(&header().encode(PLACE)),
            "73526563\
             01000000\
             00000003\
             00000003\
             6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\
             74290e2d8ccdb84a"
        );
        assert_eq!(RecordHeader::decode(&header().encode(PLACE), PLACE), Some(header()));
    }

    #[test]
    fn pack_headers_keep_their_bytes() {
        let bytes = encode_pack_header(StoreId([0xab; 16]), 7);
        assert_eq!(
            hex(&bytes),
            "535452415441504b\
             00000001\
             00000007\
             abababababababababababababababab\
             22f9252d169f9828"
        );
        assert_eq!(decode_pack_header(&bytes), Some((StoreId([0xab; 16]), 7)));
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_moved_is_refused() {
        let good = header().encode(PLACE);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bad, PLACE), None, "bit {bit}");
        }
        assert_eq!(RecordHeader::decode(&good, Place { offset: 41, ..PLACE }), None);
        assert_eq!(RecordHeader::decode(&good, Place { pack: 8, ..PLACE }), None);
        assert_eq!(RecordHeader::decode(&good, Place { store: StoreId([0; 16]), ..PLACE }), None);
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for n in 0..=255 {
            assert_eq!(RecordKind::from_number(n).number(), n);
        }
        assert_eq!(RecordKind::from_number(6), RecordKind::Footer);
        assert_eq!(RecordKind::from_number(8), RecordKind::Void);
    }
}
