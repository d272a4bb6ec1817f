//! Datasets: the live tree, when versions are cut of it, and the history they form.
pub mod error;
pub mod trie;
pub use error::{Error, Result};
