//! Whether the file of a compressed pack is what was written.

use std::io;

use super::file::PackFile;
use super::frames::{FrameHeader, Frames, table_and_trailer};
use super::header::PACK_HEADER;
use super::read_at::ReadAt;

/// Something wrong with the file of a compressed pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDamage {
    /// Its header.
    Header,
    /// The header of a frame, which the table has as well.
    FrameHeader,
    /// A frame's payload is not what was written.
    Frame(FrameHeader),
    /// So many bytes of the pack are in no frame that can be found.
    NoFrame(u64),
    /// Its table, its trailer, or what follows.
    End,
}

/// Looks at all of a pack's file, and calls `found` with what is wrong and where in the file; of one that has no
/// frames there is nothing to say.
pub fn check_file(pack: &PackFile, mut found: impl FnMut(u64, FileDamage)) -> io::Result<()> {
    let Some(Frames { form, whose, frames, len }) = pack.frames() else { return Ok(()) };
    let file = pack.file();
    let size = file.size()?;
    let is_there = |at: u64, bytes: &[u8]| {
        let mut there = vec![0; bytes.len()];
        Ok::<_, io::Error>(
            at + bytes.len() as u64 <= size && {
                file.fill_at(&mut there, at)?;
                there == bytes
            },
        )
    };
    if !is_there(0, &form.header(*whose))? {
        found(0, FileDamage::Header);
    }
    let (mut at, mut file_at) = (0, u64::from(PACK_HEADER));
    for frame in frames {
        let missing = u64::from(frame.at) - at;
        if missing > 0 {
            found(file_at, FileDamage::NoFrame(missing));
        }
        if !is_there(frame.offset.into(), &frame.encode(*whose))? {
            found(frame.offset.into(), FileDamage::FrameHeader);
        }
        let mut payload = vec![0; frame.stored as usize];
        let whole = frame.file_end() <= size;
        if whole {
            file.fill_at(&mut payload, frame.payload())?;
        }
        if !whole || *blake3::hash(&payload).as_bytes() != frame.hash {
            found(frame.offset.into(), FileDamage::Frame(*frame));
        }
        (at, file_at) = (frame.end(), frame.file_end());
    }
    if at < u64::from(*len) {
        found(file_at, FileDamage::NoFrame(u64::from(*len) - at));
    }
    let end = table_and_trailer(*form, *whose, frames, *len);
    if size != file_at + end.len() as u64 || !is_there(file_at, &end)? {
        found(file_at, FileDamage::End);
    }
    Ok(())
}
