//! End-to-end tests: the real binary on a real mount, used by real tools.
//!
//! One module for each topic. A test's comment states the claim it proves; `man/strata.7` names the
//! test of each of its claims. Nothing here measures time, except where the contract is a time.

mod attributes;
mod files;
mod frozen;
mod harness;
mod history;
mod names;
mod paths;
mod policies;
mod rollback;
mod snapshots;
mod tools;
mod versions;
mod xattrs;
