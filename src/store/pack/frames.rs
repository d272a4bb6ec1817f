//! The bytes of a compressed pack: what a sealed pack is rewritten as, in frames that are compressed each on
//! its own. What it holds, a reader sees at the places where it was before.
//!
//! ```text
//! header, 40 bytes       as a pack's, but for its magic "STRATAPZ"
//! frames                 each a header and its payload
//! table                  the headers of all frames once more
//! trailer, 48 bytes
//!
//! frame header, 64 bytes                         trailer
//!  0  magic "sFrm"                                0  magic "STRATAZT"
//!  4  codec, u8: 0 as it is, 1 zstd               8  format, u32
//!  5  zero                                       12  pack number, u32
//!  8  where in the pack it begins, u32           16  store id
//! 12  length there, u32                          32  number of frames, u32
//! 16  where in the file its header stands, u32   36  length of the pack, u32
//! 20  length of the payload, u32                 40  BLAKE3 of bytes 0..40, first 8 bytes
//! 24  BLAKE3 of the payload
//! 56  BLAKE3 of store id, pack number,
//!     bytes 0..56; first 8 bytes
//! ```
//! All of this is there twice or can be found by searching, so that damage in one place costs at most the
//! frame it is in.
//!
//! A file of several packs ([`super::joined`]) has the same form, but for its magics, "STRATAPJ" and "STRATAJT":
//! what its frames hold are those packs, and the pack number is that of the first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::header::{PACK_HEADER, PACK_MAGIC, be32, check, decode_header, encode_header};
use crate::store::identity::{self, StoreId};

/// Length of a frame's header in bytes.
pub const FRAME_HEADER: usize = 64;
/// Length of the trailer in bytes.
pub const TRAILER: usize = 48;
/// Longest frame in bytes, compressed or not. Those written are shorter; a reader takes no longer one.
pub const FRAME_MAX: u32 = 1 << 20;

const FRAME_MAGIC: [u8; 4] = *b"sFrm";
/// Most frames of a pack.
const FRAMES_MAX: u32 = 1 << 16;
/// Bytes read at once in a search.
const BLOCK: usize = 1 << 20;

/// How a frame's payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Raw,
    /// As one zstd frame (RFC 8878).
    Zstd,
}

/// What a file of frames holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One pack.
    Compressed,
    /// Several.
    Joined,
}

impl Form {
    const ALL: [Form; 2] = [Form::Compressed, Form::Joined];

    /// What the file begins with.
    fn magic(self) -> [u8; 8] {
        match self {
            Form::Compressed => *b"STRATAPZ",
            Form::Joined => *b"STRATAPJ",
        }
    }

    fn trailer_magic(self) -> [u8; 8] {
        match self {
            Form::Compressed => *b"STRATAZT",
            Form::Joined => *b"STRATAJT",
        }
    }

    /// The format of the first stores that had any.
    pub fn format(self) -> u32 {
        match self {
            Form::Compressed => identity::COMPRESSED,
            Form::Joined => identity::JOINED,
        }
    }

    /// The header of such a file.
    pub fn header(self, whose: Whose) -> [u8; PACK_HEADER as usize] {
        encode_header(self.magic(), self.format(), whose)
    }
}

/// Which pack a compressed one is.
pub type Whose = (StoreId, u32);

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the payload is stored.
    pub codec: Codec,
    /// Where in the pack the frame begins, in bytes.
    pub at: u32,
    /// How many bytes of the pack it holds.
    pub len: u32,
    /// Where in the file the header stands, in bytes.
    pub offset: u32,
    /// Length of the payload in bytes.
    pub stored: u32,
    /// BLAKE3 of the payload.
    pub hash: [u8; 32],
}

impl FrameHeader {
    /// The header's bytes in a compressed pack of `whose`.
    pub fn encode(&self, whose: Whose) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[..4].copy_from_slice(&FRAME_MAGIC);
        out[4] = matches!(self.codec, Codec::Zstd).into();
        for (slot, value) in [self.at, self.len, self.offset, self.stored].into_iter().enumerate() {
            out[8 + slot * 4..][..4].copy_from_slice(&value.to_be_bytes());
        }
        out[24..56].copy_from_slice(&self.hash);
        let sum = header_check(whose, &out[..56]);
        out[56..].copy_from_slice(&sum);
        out
    }

    /// The header in `bytes`, if they are one of a compressed pack of `whose` and make sense.
    pub fn decode(bytes: &[u8; FRAME_HEADER], whose: Whose) -> Option<FrameHeader> {
        if bytes[..4] != FRAME_MAGIC || bytes[56..] != header_check(whose, &bytes[..56]) {
            return None;
        }
        let codec = match bytes[4] {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return None,
        };
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[24..56]);
        let [at, len, offset, stored] = [8, 12, 16, 20].map(|place| be32(bytes, place));
        let header = FrameHeader { codec, at, len, offset, stored, hash };
        let raw_is_as_long = codec == Codec::Zstd || stored == len;
        let fits = at.checked_add(len).is_some() && offset.checked_add(stored).is_some();
        let short = (1..=FRAME_MAX).contains(&len) && stored <= FRAME_MAX;
        (raw_is_as_long && fits && short).then_some(header)
    }

    /// Where in the file the payload begins.
    pub fn payload(&self) -> u64 {
        u64::from(self.offset) + FRAME_HEADER as u64
    }

    /// Where in the pack the frame ends.
    pub fn end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.len)
    }

    /// Where in the file the frame ends.
    pub fn file_end(&self) -> u64 {
        self.payload() + u64::from(self.stored)
    }
}

fn header_check(whose: Whose, fields: &[u8]) -> [u8; 8] {
    let mut input = [0; 76];
    input[..16].copy_from_slice(&whose.0.0);
    input[16..20].copy_from_slice(&whose.1.to_be_bytes());
    input[20..].copy_from_slice(fields);
    check(&input)
}

fn encode_trailer(form: Form, whose: Whose, frames: u32, len: u32) -> [u8; TRAILER] {
    let mut out = [0; TRAILER];
    out[..8].copy_from_slice(&form.trailer_magic());
    out[8..12].copy_from_slice(&form.format().to_be_bytes());
    out[12..16].copy_from_slice(&whose.1.to_be_bytes());
    out[16..32].copy_from_slice(&whose.0.0);
    out[32..36].copy_from_slice(&frames.to_be_bytes());
    out[36..40].copy_from_slice(&len.to_be_bytes());
    let sum = check(&out[..40]);
    out[40..].copy_from_slice(&sum);
    out
}

/// What follows the frames of a file that hold `len` bytes.
pub fn table_and_trailer(form: Form, whose: Whose, frames: &[FrameHeader], len: u32) -> Vec<u8> {
    let mut out: Vec<u8> = frames.iter().flat_map(|frame| frame.encode(whose)).collect();
    out.extend_from_slice(&encode_trailer(form, whose, frames.len() as u32, len));
    out
}

/// What a trailer says.
struct Trailer {
    form: Form,
    whose: Whose,
    /// How many frames there are, and how many bytes they hold.
    frames: u32,
    len: u32,
}

fn decode_trailer(bytes: &[u8; TRAILER]) -> Option<Trailer> {
    let form = Form::ALL.into_iter().find(|form| bytes[..8] == form.trailer_magic())?;
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    (bytes[40..] == check(&bytes[..40])).then(|| Trailer {
        form,
        whose: (StoreId(id), be32(bytes, 12)),
        frames: be32(bytes, 32),
        len: be32(bytes, 36),
    })
}

/// What is known of the frames of a compressed pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// What they hold.
    pub form: Form,
    /// Whose pack it is.
    pub whose: Whose,
    /// The frames, by where they begin in the pack; none overlaps another.
    pub frames: Vec<FrameHeader>,
    /// Length of the pack in bytes.
    pub len: u32,
}

/// Finds the frames of a compressed pack; `None` where a file is none, by its header and its trailer.
pub fn read_frames(file: &File) -> io::Result<Option<Frames>> {
    let size = file.metadata()?.len();
    let header = read_array::<{ PACK_HEADER as usize }>(file, 0, size)?;
    // A pack as it was written may end with a file that is a compressed one.
    if size > u64::from(u32::MAX) || header.is_some_and(|bytes| bytes.starts_with(&PACK_MAGIC)) {
        return Ok(None);
    }
    let header = header.and_then(|bytes| {
        Form::ALL.into_iter().find_map(|form| Some((form, decode_header(&bytes, form.magic())?)))
    });
    let end = size.saturating_sub(TRAILER as u64);
    let trailer = read_array(file, end, size)?.and_then(|bytes| decode_trailer(&bytes));
    let said = trailer.as_ref().map(|trailer| (trailer.form, trailer.whose));
    let Some((form, whose)) = said.or(header) else { return Ok(None) };
    if let Some(trailer) = &trailer
        && trailer.frames <= FRAMES_MAX
        && let Some(frames) = read_table(file, end, whose, trailer.frames)?
        && sorted_apart(&frames)
    {
        return Ok(Some(Frames { form, whose, frames, len: trailer.len }));
    }
    let frames = search(file, size, whose)?;
    let last = frames.last().map_or(0, |frame| frame.at + frame.len);
    Ok(Some(Frames { form, whose, frames, len: trailer.map_or(last, |trailer| trailer.len) }))
}

/// The table of `count` frames that ends at `end`, if it is whole.
fn read_table(file: &File, end: u64, whose: Whose, count: u32) -> io::Result<Option<Vec<FrameHeader>>> {
    let bytes = u64::from(count) * FRAME_HEADER as u64;
    let Some(start) = end.checked_sub(bytes).filter(|start| *start >= u64::from(PACK_HEADER)) else {
        return Ok(None);
    };
    let mut table = vec![0; bytes as usize];
    file.read_exact_at(&mut table, start)?;
    Ok(table.as_chunks().0.iter().map(|bytes| FrameHeader::decode(bytes, whose)).collect())
}

fn sorted_apart(frames: &[FrameHeader]) -> bool {
    frames.windows(2).all(|pair| pair[0].end() <= u64::from(pair[1].at))
}

/// All frames whose header is somewhere in the file.
fn search(file: &File, size: u64, whose: Whose) -> io::Result<Vec<FrameHeader>> {
    let mut found = BTreeMap::new();
    let mut block = Vec::new();
    let mut start = 0;
    while start + FRAME_HEADER as u64 <= size {
        block.resize((size - start).min(BLOCK as u64) as usize, 0);
        file.read_exact_at(&mut block, start)?;
        for window in block.windows(FRAME_HEADER).filter(|window| window.starts_with(&FRAME_MAGIC)) {
            let header = window.try_into().ok().and_then(|bytes| FrameHeader::decode(bytes, whose));
            if let Some(header) = header.filter(|_| found.len() < FRAMES_MAX as usize) {
                found.insert(header.at, header);
            }
        }
        start += (block.len() - FRAME_HEADER + 1) as u64;
    }
    let mut frames: Vec<FrameHeader> = Vec::with_capacity(found.len());
    for frame in found.into_values() {
        if frames.last().is_none_or(|last| last.end() <= u64::from(frame.at)) {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn read_array<const N: usize>(file: &File, at: u64, size: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    if at + N as u64 > size {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, at).map(|()| Some(bytes))
}
