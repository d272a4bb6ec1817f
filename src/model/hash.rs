//! 256-bit BLAKE3 hashes, one type for each thing that is hashed.
//!
//! Chunks are hashed plainly, so a one-chunk file's [`ContentId`] is what `b3sum` prints. Everything
//! else is hashed in BLAKE3's key-derivation mode under a context of its own, so that no file's bytes
//! can be passed off as a manifest node, a directory or a version record.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Text that was to be a hash and is not 64 hexadecimal digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a hash: 64 hexadecimal digits wanted")]
pub struct ParseHashError(pub String);

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The hash as lower-case hexadecimal, 64 digits.
            pub fn to_hex(&self) -> String {
                self.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseHashError;
            fn from_str(s: &str) -> Result<Self, ParseHashError> {
                parse_hex(s).map(Self).ok_or_else(|| ParseHashError(s.to_owned()))
            }
        }
    };
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(s: &str) -> Option<[u8; 32]> {
    let digits = s.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(out)
}

hash_type! {
    /// BLAKE3 of a chunk's bytes.
    ChunkHash
}
hash_type! {
    /// Hash of a manifest node's encoded bytes.
    NodeHash
}
hash_type! {
    /// Identity of a file's whole content: equal exactly when the bytes are equal.
    ContentId
}
hash_type! {
    /// Hash of a directory tree's content; of a dataset's root, the snapshot id.
    TreeHash
}
hash_type! {
    /// Hash of a version record; it covers the previous one, so history is a hash chain.
    VersionId
}

impl ChunkHash {
    /// Hashes a chunk's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl NodeHash {
    /// The context in which manifest nodes are hashed.
    pub const CONTEXT: &'static str = "stratafs 2026 manifest node";

    /// Hashes an encoded manifest node.
    pub fn of(encoded: &[u8]) -> Self {
        Self(blake3::derive_key(Self::CONTEXT, encoded))
    }
}

impl TreeHash {
    /// Hashes an encoded tree node.
    pub fn of(encoded: &[u8]) -> Self {
        Self(blake3::derive_key("stratafs 2026 tree node", encoded))
    }
}

impl VersionId {
    /// The context in which version records are hashed.
    pub const CONTEXT: &'static str = "stratafs 2026 version record";

    /// The id before the first version of a dataset.
    pub const ROOT: VersionId = VersionId([0; 32]);

    /// Hashes an encoded version record.
    pub fn of(encoded: &[u8]) -> Self {
        Self(blake3::derive_key(Self::CONTEXT, encoded))
    }
}
