//! What only shows under load and after disasters: the machine losing power, the daemon being killed, many
//! processes at once, readers that stall, memory that runs short.
//!
//! Each test is short by default and as long as `scripts/soak` wants it. The processes of the crowd keep
//! journals of what they did, outside the mount, and the tests compare every version with those.

#[path = "../harness/mod.rs"]
mod harness;

mod check;
mod crowd;
mod journal;
mod kill;
mod listing;
mod memory;
mod power;
mod process;
mod stall;
mod unchanged;

use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;

/// The number in an environment variable that makes a test longer.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// Says something past the test runner, which keeps what a passing test prints to itself.
fn say(text: impl Display) {
    // One write, so that lines of several tests do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
