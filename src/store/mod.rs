//! The store: append-only packs are the truth, the index is what a replay of them rebuilds.

pub mod chunker;
pub mod content;
pub mod error;
pub mod manifest;
pub mod objects;

#[cfg(test)]
mod testing;

pub use error::{Error, Result};
pub use manifest::Objects;
pub use objects::{ObjectStore, ReadPart};
