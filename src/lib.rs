//! stratafs: a FUSE filesystem in which every completed write of a dataset makes an immutable,
//! deduplicated version that any path can be read as of.
//!
//! Layers, each importing only what stands above it in this list:
//!
//! - [`model`]: plain types and their encoding
//! - [`store`]: packs (the truth), the index (rebuilt from packs), chunks, manifests, recovery
//! - [`table`]: rows of CSV, JSON Lines and Parquet, and how two tables differ
//! - [`dataset`]: live trees, when versions are cut of them, history, rollback, verification
//! - [`view`]: POSIX calls on live trees, versions and special directories
//! - [`fuse`]: the kernel's requests, decoded and answered
//! - [`daemon`]: life cycle of the mount, and the socket commands reach it by
//! - [`cli`]: the commands
//!
//! The binary `strata` is the user's side: see `man/strata.1` and `man/strata.7`.

pub mod cli;
pub mod daemon;
pub mod dataset;
pub mod fuse;
pub mod model;
pub mod store;
pub mod table;
pub mod view;
