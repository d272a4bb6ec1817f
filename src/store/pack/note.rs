//! Notes of a place in the log, beside the packs: a file with the pack number and offset (4 bytes each), then
//! the same bytes inverted. `synced` says how far the log is known to be durable, `compacted` which is the
//! first pack that is still to be compressed.
//!
//! They are written when there is something new and, but for their first bytes, never synced: an old one
//! tells less, but nothing wrong.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::LogPos;
use crate::store::error::{Error, Result};
use crate::store::layout::private_file;
use crate::store::plain;

/// The note, open for writing if it could be made.
#[derive(Debug)]
pub struct PlaceNote(Option<File>);

impl PlaceNote {
    /// Makes a note that says the start of the log, durably but for its name.
    pub fn create(path: &Path) -> Result<()> {
        let make = || {
            let file = plain::open(path, private_file().create(true))?;
            file.write_all_at(&encode(LogPos::default()), 0)?;
            file.sync_all()
        };
        make().map_err(|e| Error::io("make", path, e))
    }

    /// Opens the note in `path`, making it if it is not there, and gives what it says; `None` where it
    /// says nothing that makes sense, and may have said anything. On a full disk there may be none.
    pub fn open(path: &Path) -> Result<(PlaceNote, Option<LogPos>)> {
        let open = || -> io::Result<_> {
            let file = plain::open(path, private_file().read(true).create(true))?;
            let mut bytes = [0; 16];
            match file.read_exact_at(&mut bytes, 0) {
                Ok(()) => Ok((file, decode(bytes))),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok((file, None)),
                Err(e) => Err(e),
            }
        };
        match open().map_err(|e| Error::io("open", path, e)) {
            Ok((file, synced)) => Ok((PlaceNote(Some(file)), synced)),
            Err(Error::NoSpace(_)) => Ok((PlaceNote(None), None)),
            Err(e) => Err(e),
        }
    }

    /// What the note in `path` says, without making one.
    pub fn read(path: &Path) -> Result<Option<LogPos>> {
        match plain::read(path, 16) {
            Ok(bytes) => Ok(bytes.try_into().ok().and_then(decode)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    /// Notes that the log is durable up to `end`.
    pub fn write(&self, end: LogPos) {
        let Some(file) = &self.0 else { return };
        if let Err(e) = file.write_all_at(&encode(end), 0) {
            log::warn!("cannot note a place in the log: {e}; work that is done will be done again");
        }
    }
}

fn encode(end: LogPos) -> [u8; 16] {
    (u128::from(end.0) << 64 | u128::from(!end.0)).to_be_bytes()
}

fn decode(bytes: [u8; 16]) -> Option<LogPos> {
    let value = u128::from_be_bytes(bytes);
    let (end, inverted) = ((value >> 64) as u64, value as u64);
    (end == !inverted).then_some(LogPos(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_keep_their_bytes_and_torn_ones_say_nothing() {
        let bytes = encode(LogPos::new(1, 2));
        assert_eq!(bytes, [0, 0, 0, 1, 0, 0, 0, 2, 255, 255, 255, 254, 255, 255, 255, 253]);
        assert_eq!(decode(bytes), Some(LogPos::new(1, 2)));
        let mut torn = bytes;
        torn[7] = 3;
        assert_eq!(decode(torn), None);
        assert_eq!(decode([0; 16]), None);
    }
}
