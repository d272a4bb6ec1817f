//! The store: append-only packs are the truth, the index is what a replay of them rebuilds.

pub mod error;
pub mod objects;

pub use error::{Error, Result};
pub use objects::{ObjectStore, ReadPart};
