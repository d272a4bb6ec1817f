//! Packs: append-only files that hold everything a store keeps.
//!
//! A pack is a 40-byte header and records one after the other; a record is a 56-byte header and its
//! payload. All integers are big-endian. A pack of [`SEAL_SIZE`] bytes is sealed with a footer that
//! lists its records and never written again, and the next one is begun.
//!
//! A record header's checksum covers the store's id, the pack's number and the record's offset, so a
//! header found anywhere else (a pack stored as a file in another pack, say) is not taken for one.

mod compress;
mod file;
mod files;
mod footer;
mod frames;
mod header;
mod hollow;
mod joined;
mod log;
mod member;
mod note;
mod read_at;
mod scan;
mod sound;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub use compress::{Effort, FrameWriter, compress, is_compressible, rewrite};
pub use file::{PackFile, read_pack_header};
pub use files::{Packs, packs_of};
pub use footer::{FOOTER_END, FooterEntry, decode_footer, encode_footer, read_footer};
pub use frames::{Codec, Form, FrameHeader};
pub use header::{
    PACK_HEADER, Place, RECORD_HEADER, RecordHeader, RecordKind, decode_pack_header, encode_pack_header,
};
pub use hollow::Hollow;
pub use joined::{MEMBERS_MAX, Row, list_len};
pub(super) use log::create_pack;
pub use log::{Log, NewRecord, Tail};
pub use member::{Pack, Span};
pub use note::PlaceNote;
pub use read_at::{Cursor, ReadAt};
pub use scan::{InPack, Payload, Scanner, Step, open_record, read_record};
pub use sound::{FileDamage, check_file};

/// A pack is sealed once it has this many bytes: 64 MiB, and less in tests of the store alone, which make
/// many stores of several packs.
pub const SEAL_SIZE: u32 = if cfg!(test) { 2 << 20 } else { 64 << 20 };

/// The same, or fewer bytes where `STRATA_PACK_BYTES` says so: packs of any size can be read, and tests
/// need not fill large ones.
pub fn seal_size() -> u32 {
    static SIZE: OnceLock<u32> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let wanted = std::env::var("STRATA_PACK_BYTES").ok().and_then(|text| text.parse().ok());
        wanted.map_or(SEAL_SIZE, |wanted: u32| wanted.clamp(4096, SEAL_SIZE))
    })
}

/// The only codec so far: payloads are stored as they are.
pub const CODEC_RAW: u8 = 0;

/// Where a record's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Pos {
    /// Number of the pack.
    pub pack: u32,
    /// Offset of the payload within the pack, in bytes.
    pub offset: u32,
    /// Length of the payload as stored, in bytes.
    pub stored: u32,
    /// Length of the payload decoded, in bytes.
    pub raw: u32,
    /// How it is encoded.
    pub codec: u8,
}

impl Pos {
    /// Length of [`Pos::to_bytes`].
    pub const BYTES: usize = 17;

    /// Fixed form: pack, offset, stored, raw (4 bytes each), codec.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        for (slot, value) in out.chunks_exact_mut(4).zip([self.pack, self.offset, self.stored, self.raw]) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        out[16] = self.codec;
        out
    }

    /// The inverse of [`Pos::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Pos> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Pos { pack: word(0), offset: word(4), stored: word(8), raw: word(12), codec: bytes[16] })
    }

    /// Where in the log the payload begins.
    pub fn start(&self) -> LogPos {
        LogPos::new(self.pack, self.offset)
    }

    /// Where in the log the record ends.
    pub fn end(&self) -> LogPos {
        LogPos::new(self.pack, self.offset.saturating_add(self.stored))
    }
}

/// A place in the log (all packs in order): pack number and offset within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPos(pub u64);

impl LogPos {
    /// Byte `offset` of pack `pack`.
    pub fn new(pack: u32, offset: u32) -> LogPos {
        LogPos(u64::from(pack) << 32 | u64::from(offset))
    }

    /// The pack's number.
    pub fn pack(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The offset within the pack, in bytes.
    pub fn offset(self) -> u32 {
        self.0 as u32
    }
}
