//! A pack as its readers see it, whether it has a file of its own or is one of several in a file.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::file::{PackFile, read_pack_header};
use super::footer::{FooterEntry, read_footer};
use super::frames::Whose;
use super::read_at::ReadAt;

/// The packs of a file, by their numbers.
pub type Span = RangeInclusive<u32>;

/// A pack, open for reading.
#[derive(Clone, Debug)]
pub struct Pack {
    file: Arc<PackFile>,
    /// How many packs of its file are before it.
    before: u32,
    /// Where in its file it begins, and how long it is; `None` where that is all of the file.
    part: Option<(u64, u64)>,
}

impl Pack {
    /// Pack `number` of a file that has those of `span` by its name; `None` where it is not to be found there.
    pub fn of(file: Arc<PackFile>, span: &Span, number: u32) -> Option<Pack> {
        let before = number.checked_sub(*span.start())?;
        let part = match file.frames().filter(|_| file.is_joined()) {
            None => None,
            Some(frames) => {
                let (from, len) = file.members()?.place(before)?;
                // Of a file that was cut short, what is left.
                let end = u64::from(frames.len);
                Some((from.min(end), len.min(end.saturating_sub(from))))
            }
        };
        (part.is_some() || span.start() == span.end()).then_some(Pack { file, before, part })
    }

    /// The file it is in.
    pub fn file(&self) -> &PackFile {
        &self.file
    }

    /// The file it is in, to be kept open.
    pub fn shared(&self) -> Arc<PackFile> {
        self.file.clone()
    }

    /// Whose pack it is by its file, if that says so.
    pub fn whose(&self) -> io::Result<Option<Whose>> {
        let first = self.file.whose()?;
        Ok(first.map(|(store, first)| (store, first.saturating_add(self.before))))
    }

    /// What the pack's own header says, which a compressed one holds as it holds all of the pack.
    pub fn header(&self) -> io::Result<Option<Whose>> {
        read_pack_header(self)
    }

    /// The records of a pack that is sealed; `None` where there is no intact footer.
    pub fn records(&self, whose: Whose) -> io::Result<Option<Vec<FooterEntry>>> {
        read_footer(self, whose.0, whose.1)
    }

    /// Whether its file is as it was written, for more to be written to.
    pub fn is_raw(&self) -> bool {
        self.file.frames().is_none()
    }

    /// Tells the system that the bytes of the pack from `from` to `to` are wanted soon.
    pub fn will_need(&self, from: u64, to: u64) {
        let base = self.part.map_or(0, |(base, _)| base);
        self.file.will_need(base + from, base + to);
    }
}

impl ReadAt for Pack {
    fn size(&self) -> io::Result<u64> {
        self.part.map_or_else(|| self.file.size(), |(_, len)| Ok(len))
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let Some((base, len)) = self.part else { return self.file.fill_at(out, at) };
        if at.checked_add(out.len() as u64).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.fill_at(out, base + at)
    }
}
