//! Encoding of records and index values: bincode, big enough limits, nothing left over.
//!
//! Stored bytes are hashed as they are, never re-encoded. Decoding is safe on hostile input: lengths
//! are bounded before anything is allocated, and trailing bytes are refused.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::check::Check;

/// Longest encoded record, in bytes.
pub const RECORD_MAX: usize = 1 << 30;

/// Bytes that do not decode to what they should be.
#[derive(Debug, Error)]
pub enum CodecError {
    /// bincode refused the bytes.
    #[error("cannot decode {what}")]
    Decode {
        /// What was wanted.
        what: &'static str,
        /// bincode's reason.
        source: bincode::error::DecodeError,
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

/// Decodes a value that must fill `bytes` exactly; `what` names it in errors.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    let config = bincode::config::standard().with_limit::<RECORD_MAX>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|source| CodecError::Decode { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { what, extra }),
    }
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
