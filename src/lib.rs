//! stratafs: a FUSE filesystem in which every completed write of a dataset makes an immutable,
//! deduplicated version that any path can be read as of.
//!
//! Layers, each importing only what stands above it in this list:
//!
//! - [`model`]: plain types and their encoding
//! - [`store`]: packs (the truth), the index (rebuilt from packs), chunks, manifests, recovery
//!
//! The binary `strata` is the user's side: see `man/strata.1` and `man/strata.7`.

pub mod cli;
pub mod daemon;
pub mod dataset;
pub mod fuse;
pub mod model;
pub mod store;
pub mod view;
