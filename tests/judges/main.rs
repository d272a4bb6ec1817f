//! Judges not written here: suites for file systems, and programs people use, at work in the mount.
//!
//! `scripts/test` installs what is not part of Debian below `target/`; a test whose judge is missing
//! fails and says so. Long runs take their length from the environment, see `scripts/soak`.

#[path = "../harness/mod.rs"]
mod harness;

mod installed;

mod builds;
mod croissant;
mod dvc;
mod dvc_history;
mod editors;
mod fsx;
mod git;
mod hub;
mod loader;
mod memmap;
mod pjdfstest;
mod sqlite;
mod tables;
mod tools;
