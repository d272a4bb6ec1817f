//! Failing disks and failing power: the real daemon on a real mount, with a library of ours between it
//! and the C library (see `shim.c`), so that every file of a store is concerned: the log, the index and
//! the rest.

#[path = "../harness/mod.rs"]
mod harness;

mod disk;
mod full;
mod given_up;
mod import;
mod index;
mod judge;
mod ledger;
mod nth;
mod opened;
mod power;
mod readonly;
mod recording;
mod rig;
mod round;
mod script;
mod scripts;
mod shim;
mod synchronous;
mod trace;
mod variants;
