//! A sealed pack as it is to be without some of its records: in their place is a record of nothing, of zeros,
//! that takes the same room, so that all others stay where they are. Compressed, it takes next to none.

use std::collections::BTreeSet;
use std::io;

use super::CODEC_RAW;
use super::footer::{FooterEntry, encode_footer};
use super::frames::Whose;
use super::header::{Place, RECORD_HEADER, RecordHeader, RecordKind};
use super::read_at::ReadAt;

/// See the [module](self).
pub struct Hollow<R> {
    pack: R,
    /// Records of nothing: where each begins and ends, and its header.
    voids: Vec<(u64, u64, [u8; RECORD_HEADER as usize])>,
    footer_at: u64,
    footer: Vec<u8>,
}

impl<R: ReadAt> Hollow<R> {
    /// A pack without the records at these offsets; and the records it then has. Records of nothing that are
    /// neighbours become one.
    pub fn new(
        pack: R,
        whose: Whose,
        records: Vec<FooterEntry>,
        dead: &BTreeSet<u32>,
    ) -> io::Result<(Hollow<R>, Vec<FooterEntry>)> {
        let end = |entry: &FooterEntry| {
            u64::from(entry.offset) + u64::from(RECORD_HEADER) + u64::from(entry.header.stored)
        };
        let footer_at = match records.iter().map(end).max() {
            Some(at) => at,
            None => return Err(io::Error::other("a pack without records")),
        };
        let is_void =
            |entry: &FooterEntry| entry.header.kind == RecordKind::Void || dead.contains(&entry.offset);
        let mut kept: Vec<FooterEntry> = Vec::new();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for entry in records {
            let (from, to) = (u64::from(entry.offset), end(&entry));
            if !is_void(&entry) {
                kept.push(entry);
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.1 == from => run.1 = to,
                _ => runs.push((from, to)),
            }
        }
        let mut voids = Vec::with_capacity(runs.len());
        for (from, to) in runs {
            let offset = u32::try_from(from).map_err(io::Error::other)?;
            let len = u32::try_from(to - from - u64::from(RECORD_HEADER)).map_err(io::Error::other)?;
            let hash = hash_of_zeros(len);
            let header =
                RecordHeader { kind: RecordKind::Void, codec: CODEC_RAW, stored: len, raw: len, hash };
            kept.push(FooterEntry { offset, header });
            voids.push((from, to, header.encode(Place { store: whose.0, pack: whose.1, offset })));
        }
        kept.sort_unstable_by_key(|entry| entry.offset);
        let offset = u32::try_from(footer_at).map_err(io::Error::other)?;
        let payload = encode_footer(&kept, offset);
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let hash = RecordKind::Footer.hash(&payload);
        let header = RecordHeader { kind: RecordKind::Footer, codec: CODEC_RAW, stored: len, raw: len, hash };
        let mut footer = header.encode(Place { store: whose.0, pack: whose.1, offset }).to_vec();
        footer.extend(payload);
        Ok((Hollow { pack, voids, footer_at, footer }, kept))
    }
}

fn hash_of_zeros(len: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let zeros = [0; 16 << 10];
    let mut left = len as usize;
    while left > 0 {
        let part = left.min(zeros.len());
        hasher.update(&zeros[..part]);
        left -= part;
    }
    *hasher.finalize().as_bytes()
}

/// Copies to `out`, which is what is from `at` on, the bytes of `part` that begin at `from`, as far as they are
/// in it.
fn lay(out: &mut [u8], at: u64, part: &[u8], from: u64) {
    let (begin, end) = (at.max(from), (at + out.len() as u64).min(from + part.len() as u64));
    if begin < end {
        out[(begin - at) as usize..(end - at) as usize]
            .copy_from_slice(&part[(begin - from) as usize..(end - from) as usize]);
    }
}

impl<R: ReadAt> ReadAt for Hollow<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.footer_at + self.footer.len() as u64)
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let to = at + out.len() as u64;
        if to > self.size()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = self.footer_at.saturating_sub(at).min(out.len() as u64) as usize;
        self.pack.fill_at(&mut out[..before], at)?;
        let first = self.voids.partition_point(|(_, end, _)| *end <= at);
        for (from, end, header) in self.voids[first..].iter().take_while(|(from, ..)| *from < to) {
            let (begin, end) = ((*from).max(at), (*end).min(to));
            out[(begin - at) as usize..(end - at) as usize].fill(0);
            lay(out, at, header, *from);
        }
        lay(out, at, &self.footer, self.footer_at);
        Ok(())
    }
}
