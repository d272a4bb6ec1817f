//! Frames: how requests and answers travel through the control socket.
//!
//! ```text
//! length u32, big-endian   of what follows, 1 to FRAME_MAX
//! kind u8                  see Kind
//! payload                  JSON, but for raw data
//! ```
//!
//! What comes in is not trusted: a length out of bounds, an unknown kind or a payload that is not what
//! its kind says is an error, and nothing is allocated before the length is known to be in bounds.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Longest frame, in bytes.
pub const FRAME_MAX: usize = 4 << 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::Request`].
    Request = 1,
    /// An [`super::Item`] of the answer.
    Item = 2,
    /// Raw bytes of the answer.
    Data = 3,
    /// The end of the answer, with the exit code.
    End = 4,
    /// The end of the answer: a [`super::Failure`].
    Failure = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Request, Kind::Item, Kind::Data, Kind::End, Kind::Failure]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame that cannot be.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The length is out of bounds.
    #[error("a frame of {0} bytes, 1 to {FRAME_MAX} are possible")]
    Length(u64),
    /// No kind has this number.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// The payload is not what its kind says.
    #[error("a frame that does not decode")]
    Payload(#[from] serde_json::Error),
    /// The other side closed the connection in the midst of things.
    #[error("the connection was closed")]
    Closed,
    /// A frame that does not belong here.
    #[error("a frame of kind {0:?} where another was due")]
    Unexpected(Kind),
}

/// Writes a frame with a JSON payload.
pub fn write_json<T: Serialize>(to: &mut impl Write, kind: Kind, value: &T) -> Result<(), FrameError> {
    write(to, kind, &serde_json::to_vec(value)?)
}

/// Writes a frame.
pub fn write(to: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    let length = payload.len() + 1;
    if length > FRAME_MAX {
        return Err(FrameError::Length(length as u64));
    }
    let mut head = [0; 5];
    head[..4].copy_from_slice(&(length as u32).to_be_bytes());
    head[4] = kind as u8;
    to.write_all(&head)?;
    to.write_all(payload)?;
    Ok(())
}

/// Reads a frame; `None` where the other side closed the connection between two frames.
pub fn read(from: &mut impl Read) -> Result<Option<(Kind, Vec<u8>)>, FrameError> {
    let mut length = [0; 4];
    if !read_or_end(from, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length) as usize;
    if !(1..=FRAME_MAX).contains(&length) {
        return Err(FrameError::Length(length as u64));
    }
    let mut kind = [0];
    from.read_exact(&mut kind).map_err(closed)?;
    let kind = Kind::from_byte(kind[0]).ok_or(FrameError::Kind(kind[0]))?;
    let mut payload = vec![0; length - 1];
    from.read_exact(&mut payload).map_err(closed)?;
    Ok(Some((kind, payload)))
}

/// Decodes a JSON payload.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(payload)?)
}

/// Fills `out`; says `false` at an end before the first byte.
fn read_or_end(from: &mut impl Read, out: &mut [u8]) -> Result<bool, FrameError> {
    let mut filled = 0;
    while filled < out.len() {
        match from.read(&mut out[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(FrameError::Closed),
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset && filled == 0 => return Ok(false),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(true)
}

fn closed(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Closed,
        _ => FrameError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, kind, payload).unwrap();
        out
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let mut bytes = framed(Kind::Data, b"raw");
        bytes.extend(framed(Kind::End, b""));
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from).unwrap(), Some((Kind::Data, b"raw".to_vec())));
        assert_eq!(read(&mut from).unwrap(), Some((Kind::End, Vec::new())));
        assert_eq!(read(&mut from).unwrap(), None, "a clean end");
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_anything_is_allocated() {
        for length in [0, FRAME_MAX as u32 + 1, u32::MAX] {
            let bytes = [&length.to_be_bytes()[..], &[1]].concat();
            assert!(matches!(read(&mut bytes.as_slice()), Err(FrameError::Length(_))), "{length}");
        }
        assert!(matches!(
            write(&mut Vec::new(), Kind::Data, &vec![0; FRAME_MAX]),
            Err(FrameError::Length(_))
        ));
        assert_eq!(framed(Kind::Data, &vec![0; FRAME_MAX - 1]).len(), FRAME_MAX + 4);
    }

    #[test]
    fn unknown_kinds_and_torn_frames_are_refused() {
        assert!(matches!(read(&mut &[0, 0, 0, 1, 99][..]), Err(FrameError::Kind(99))));
        let whole = framed(Kind::Data, b"payload");
        for len in 1..whole.len() {
            assert!(matches!(read(&mut &whole[..len]), Err(FrameError::Closed)), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut from = bytes.as_slice();
            while let Ok(Some((_, payload))) = read(&mut from) {
                prop_assert!(payload.len() <= bytes.len());
                drop(decode::<crate::daemon::Request>(&payload));
            }
        }
    }
}
