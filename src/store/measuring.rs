//! Doors to the index, for the micro-benchmarks in `tests/micro`. Nothing else is to come in by them: what
//! they lead to changes as it needs to.

pub use super::index::change::Change;
pub use super::index::{Index, Replay, Target, keys};
pub use super::pack::LogPos;
