//! The mounted daemon and how commands reach a store.
//!
//! - [`protocol`]: what is asked and answered, and the frames it travels in
//! - [`service`]: does what a command asks for, on an open store
//! - [`control`]: serves requests on the store's socket, beside the mount
//! - [`client`]: finds who serves a store, or opens the store itself, so that commands need not care
//! - [`lifecycle`]: from `strata mount` to the end of the mount
//!
//! One process has a store at a time. Only its owner and root may ask it anything.

pub mod ask;
pub mod batch;
pub mod client;
pub mod control;
pub mod failure;
pub mod frame;
pub mod lifecycle;
pub mod logging;
pub mod memory;
pub mod mounts;
pub mod object;
pub mod pointer;
pub mod policy;
pub mod preflight;
pub mod protocol;
pub mod service;
pub mod spawn;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use failure::Failure;
pub use object::ObjectSpec;
pub use protocol::{Item, Request};
pub use service::{Nowhere, Service, Sink, next_release};
