//! A content's bytes: read, hashed, and made from other bytes as they stream by.
//!
//! Nothing here holds more than a few MiB, whatever the size of the content.

mod build;
mod copy;
mod read;
mod stream;

pub use build::{Builder, from_file, from_file_watched, from_many, from_reader};
pub use copy::write_out;
pub(super) use read::read_pieces;
pub use read::{b3sum, for_each_block, md5, next_data, next_hole, read_at, sha256};
pub(super) use stream::{Batch, ChunkStream};

/// Bytes that are worth a call to the store: what is read, and what is written, at a time.
pub const BLOCK: usize = 1 << 20;

#[cfg(test)]
mod tests;
