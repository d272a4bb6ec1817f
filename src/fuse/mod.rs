//! The kernel's side: FUSE requests to calls of [`crate::view::FileSystem`] and back.
//!
//! The only place that names `fuser`. A handler decodes, calls one method, replies; a panic in one is
//! caught, logged and answered with EIO, and the mount lives on.

mod adapter;
mod answer;
mod errno;
mod mount;
mod passthrough;
mod pool;
#[cfg(test)]
mod tests;

pub use errno::errno;
pub use mount::{Mount, MountOptions, mount, unmount};
