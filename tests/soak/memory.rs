//! Memory that runs short.

use std::fs;

use crate::harness::Mount;

/// Most memory the daemon had so far, in bytes.
pub fn peak(m: &Mount) -> u64 {
    let pid = m.daemon().expect("the daemon runs").as_raw_pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read the daemon's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
