//! End-to-end tests: the real binary on a real mount, used by real tools.
//!
//! One module for each topic. A test's comment states the claim it proves; `man/strata.7` names the
//! test of each of its claims. Nothing here measures time, except where the contract is a time.

#[path = "../harness/mod.rs"]
mod harness;

mod appends;
mod attributes;
mod cli;
mod compact;
mod control;
mod crash;
mod crowds;
mod damage;
mod deep;
mod diff;
mod direct;
mod errors;
mod files;
mod frozen;
mod history;
mod hostile;
mod hostile_rig;
mod import;
mod manual;
mod mirror;
mod names;
mod opened;
mod passthrough;
mod paths;
mod pinned;
mod policies;
mod prefetch;
mod privileges;
mod retention;
mod retention_gc;
mod rollback;
mod rot;
mod rot_rig;
mod security;
mod snapshots;
mod sparse;
mod tags;
mod times;
mod versions;
mod xattrs;
