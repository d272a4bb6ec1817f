//! What the test programs share: mounts that are always taken down, commands that never hang,
//! seeded data.

// Each test program uses its part of it.
#![allow(dead_code, unused_imports)]

pub mod command;
pub mod data;
pub mod dataset;
pub mod mount;

pub use command::{Ran, as_root, python, run, shell, tool};
pub use data::{Facts, Random, age, assert_same_facts, assert_same_tree, digits, facts, noise, sample_tree};
pub use dataset::Dataset;
pub use mount::{Mount, binary};

use std::fmt::Debug;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// Waits for a condition that comes by itself; fails after 30 s.
#[track_caller]
pub fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited 30 s in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Says that a test could not be run, past the test runner, which keeps what a passing test prints to
/// itself.
pub fn skipped(what: &str, why: &str) {
    use std::io::Write;
    let _ = io::stderr().lock().write_all(format!("SKIPPED {what}: {why}\n").as_bytes());
}

/// Asserts that a call was refused with this error.
#[track_caller]
pub fn refused<T: Debug, E: Into<io::Error>>(result: Result<T, E>, wanted: Errno) {
    match result {
        Ok(value) => panic!("worked ({value:?}) where it was to fail with {wanted}"),
        Err(e) => {
            let got: io::Error = e.into();
            assert_eq!(got.raw_os_error(), Some(wanted.raw_os_error()), "{got} instead of {wanted}");
        }
    }
}
