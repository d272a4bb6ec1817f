//! Rewriting sealed packs as compressed ones.
//!
//! A frame holds about 16 neighbouring records: the more there are the better they compress, and the more
//! there is to decompress to read one. Measured on five releases of three Python packages (371 MB of
//! records) and on 200 MB of CSV, with zstd at level 3: frames of 64 KiB leave 35 % and 43 %, of 256 KiB
//! 33 % and 42 %, of 512 KiB 32 % and 40 %, of 1 MiB 31 % and 39 %; level 6 saves 5 % more at a third of the
//! speed.

use std::fs::File;
use std::io::{self, Write};

use super::frames::{Codec, Form, FrameHeader, Whose, table_and_trailer};
use super::header::PACK_HEADER;
use super::joined::Row;
use super::read_at::ReadAt;

/// How much is done to make a pack small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What reading hardly notices, and writers not at all.
    Usual,
    /// As small as it gets: text takes another 7 % less, at a quarter of the speed; to read a small file, up to
    /// 1 MiB is decompressed.
    Best,
}

/// What an effort comes to.
struct Measure {
    /// Level of zstd.
    level: i32,
    /// Longest frame written, in bytes: so many chunks of a large file.
    frame_size: u64,
    /// Shortest, but for a pack's last, in bytes.
    frame_min: u64,
    /// Records after which a frame that is long enough ends.
    records: usize,
}

impl Effort {
    fn measure(self) -> Measure {
        match self {
            Effort::Usual => Measure { level: 3, frame_size: 512 << 10, frame_min: 128 << 10, records: 16 },
            Effort::Best => Measure { level: 9, frame_size: 1 << 20, frame_min: 1 << 20, records: 16 },
        }
    }
}

/// What compressing must save, of a frame or a pack, as a part of it.
const WORTH: u64 = 20;

/// Writes the file of a compressed pack, or of several.
pub struct FrameWriter<'a> {
    out: &'a mut File,
    form: Form,
    whose: Whose,
    frames: Vec<FrameHeader>,
    offset: u64,
}

impl<'a> FrameWriter<'a> {
    /// Begins the file of the pack of `whose`, or of several of which it is the first.
    pub fn begin(form: Form, whose: Whose, out: &'a mut File) -> io::Result<FrameWriter<'a>> {
        out.write_all(&form.header(whose))?;
        Ok(FrameWriter { out, form, whose, frames: Vec::new(), offset: PACK_HEADER.into() })
    }

    /// Adds the frame of the `len` bytes of the pack from `at` on.
    pub fn add(&mut self, codec: Codec, at: u64, len: u32, payload: &[u8]) -> io::Result<()> {
        let header = FrameHeader {
            codec,
            at: short(at)?,
            len,
            offset: short(self.offset)?,
            stored: short(payload.len() as u64)?,
            hash: *blake3::hash(payload).as_bytes(),
        };
        self.out.write_all(&header.encode(self.whose))?;
        self.out.write_all(payload)?;
        self.offset = header.file_end();
        self.frames.push(header);
        Ok(())
    }

    /// Ends the file of a pack of `len` bytes, and gives the file's length.
    pub fn end(self, len: u64) -> io::Result<u64> {
        let end = table_and_trailer(self.form, self.whose, &self.frames, short(len)?);
        self.out.write_all(&end)?;
        Ok(self.offset + end.len() as u64)
    }
}

fn short(value: u64) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::Error::other("a pack has over 4 GiB"))
}

/// Writes packs to `out` in compressed form. Gives the length of what was written; `None` where it would save too
/// little, and then what is in `out` is of no use.
pub fn compress(row: &Row<'_>, effort: Effort, out: &mut File) -> io::Result<Option<u64>> {
    let written = rewrite(row, effort, out)?;
    Ok(is_worth(written, row.size()?).then_some(written))
}

/// Writes packs to `out` in compressed form, whatever that saves. Gives the length of what was written.
pub fn rewrite(row: &Row<'_>, effort: Effort, out: &mut File) -> io::Result<u64> {
    let measure = effort.measure();
    let mut compressor = zstd::bulk::Compressor::new(measure.level)?;
    let mut writer = FrameWriter::begin(row.form(), row.whose(), out)?;
    let (mut raw, mut packed) = (Vec::new(), Vec::new());
    for (from, to) in cuts(row, &measure)? {
        raw.resize((to - from) as usize, 0);
        row.fill_at(&mut raw, from)?;
        packed.clear();
        packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        compressor.compress_to_buffer(&raw, &mut packed)?;
        let worth = is_worth(packed.len() as u64, raw.len() as u64);
        let (codec, payload) = if worth { (Codec::Zstd, &packed) } else { (Codec::Raw, &raw) };
        writer.add(codec, from, raw.len() as u32, payload)?;
    }
    writer.end(row.size()?)
}

/// Whether compressing packs seems to be worth it: by a part of them.
pub fn is_compressible(row: &Row<'_>) -> io::Result<bool> {
    /// Of so many frames one is tried.
    const EACH: usize = 8;
    let measure = Effort::Usual.measure();
    let mut compressor = zstd::bulk::Compressor::new(measure.level)?;
    let (mut before, mut after) = (0, 0);
    for (from, to) in cuts(row, &measure)?.into_iter().step_by(EACH) {
        let mut raw = vec![0; (to - from) as usize];
        row.fill_at(&mut raw, from)?;
        before += raw.len() as u64;
        after += (compressor.compress(&raw)?.len() as u64).min(raw.len() as u64);
    }
    Ok(is_worth(after, before))
}

fn is_worth(packed: u64, raw: u64) -> bool {
    packed + raw / WORTH <= raw
}

/// Where frames begin and end: between records, as far as these are not too long, and at the edges of a row.
fn cuts(row: &Row<'_>, measure: &Measure) -> io::Result<Vec<(u64, u64)>> {
    let len = row.size()?;
    let mut cuts = Vec::new();
    let (mut from, mut count) = (0, 0);
    let mut edges = row.edges().into_iter().peekable();
    let mut cut = |from: &mut u64, to: u64| {
        while *from < to {
            while edges.next_if(|edge| edge <= from).is_some() {}
            let next = to.min(*from + measure.frame_size).min(edges.peek().copied().unwrap_or(to));
            cuts.push((*from, next));
            *from = next;
        }
    };
    for record in row.records() {
        let start = record.start.min(len);
        let end = record.end.min(len);
        if end.saturating_sub(from) > measure.frame_size {
            cut(&mut from, start);
            count = 0;
        }
        count += 1;
        let size = end.saturating_sub(from);
        if size >= measure.frame_size || (count >= measure.records && size >= measure.frame_min) {
            cut(&mut from, end);
            count = 0;
        }
    }
    cut(&mut from, len);
    Ok(cuts)
}
