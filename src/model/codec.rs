//! Encoding of records and index values: bincode, big enough limits, nothing left over.
//!
//! Stored bytes are hashed as they are, never re-encoded. Decoding is safe on hostile input: lengths
//! are bounded by what is there before anything is allocated, and trailing bytes are refused.

use bincode::error::DecodeError;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::check::Check;

/// Bytes that do not decode to what they should be.
#[derive(Debug, Error)]
pub enum CodecError {
    /// bincode refused the bytes.
    #[error("cannot decode {what}")]
    Decode {
        /// What was wanted.
        what: &'static str,
        /// bincode's reason.
        source: DecodeError,
    },
    /// The bytes cannot be had.
    #[error("cannot read {what}")]
    Read {
        /// What was wanted.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Bytes follow the value.
    #[error("{extra} bytes follow the {what}")]
    Trailing {
        /// What was wanted.
        what: &'static str,
        /// How many bytes are left.
        extra: usize,
    },
    /// The value makes no sense.
    #[error("the {what} makes no sense: {why}")]
    Nonsense {
        /// What was wanted.
        what: &'static str,
        /// What makes no sense.
        why: &'static str,
    },
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("encoding to memory fails only for types this crate does not have")
}

/// Encodes a value behind what is in `bytes`.
pub fn encode_onto<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, bytes, bincode::config::standard())
        .expect("encoding to memory fails only for types this crate does not have");
}

/// Decodes a value that must fill `bytes` exactly; `what` names it in errors.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = decode_within(bytes).map_err(|source| CodecError::Decode { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { what, extra }),
    }
}

/// Decodes the value that `bytes` begin with, and gives its length too; `what` names it in errors.
pub fn decode_first<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<(T, usize), CodecError> {
    decode_within(bytes).map_err(|source| CodecError::Decode { what, source })
}

/// Decodes with a limit that suits the number of bytes: room for a text is made by the length it claims to
/// have, and a byte can truly stand for 8 at the most, as an integer's.
fn decode_within<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes.len().div_ceil(KIB) {
        0..=1 => decode_limited::<T, { 8 * KIB }>(bytes),
        2..=64 => decode_limited::<T, { 8 * 64 * KIB }>(bytes),
        65..=8192 => decode_limited::<T, { 8 * 8 * MIB }>(bytes),
        8193..=0x8_0000 => decode_limited::<T, { 8 * 512 * MIB }>(bytes),
        // A record's length has 32 bits.
        _ => decode_limited::<T, { 8 * 4096 * MIB }>(bytes),
    }
}

fn decode_limited<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
}

/// Decodes a value as [`decode`] does, and checks that it makes sense.
pub fn decode_checked<T: DeserializeOwned + Check>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let value: T = decode(what, bytes)?;
    value.check().map_err(|why| CodecError::Nonsense { what, why })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of a length that is not there made room for up to 1 GiB, whatever the record's own length.
    #[test]
    fn a_length_beyond_what_is_there_is_refused_before_room_is_made() {
        for room in [10, 2000, 100_000] {
            let mut bytes = encode(&"x".repeat(room));
            assert_eq!(decode::<String>("text", &bytes).unwrap().len(), room);
            let claimed = (1_u32 << 29).to_le_bytes();
            let prefix = bytes.len() - room;
            bytes.splice(..prefix, [&[252][..], &claimed].concat());
            let refused = decode::<String>("text", &bytes);
            let Err(CodecError::Decode { source: DecodeError::LimitExceeded, .. }) = refused else {
                panic!("{room}: {refused:?}");
            };
        }
    }

    #[test]
    fn values_fit_the_limit_of_their_length() {
        for count in [1, 1020, 1024, 65_530, 65_536, 9_000_000] {
            let dense = vec![0_u64; count];
            assert_eq!(decode::<Vec<u64>>("numbers", &encode(&dense)).unwrap(), dense);
        }
    }
}
