//! Giving memory back. The C library's allocator keeps most of what was freed: after a version of a million
//! files, and after a walk through a large tree, hundreds of megabytes. The only place of unsafe code.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Growth that makes giving back worth it, in bytes.
const GROWTH: u64 = 32 << 20;

/// As many looks after the process grew, what it needed for that is free if it ever is.
const LOOKS: u32 = 16;

/// Gives back what is free when the process has grown, and ever more rarely for a while after that: what is in
/// use at first, until the index has taken it up for instance, is free later.
pub struct Memory {
    looked: Instant,
    /// Looks since the process grew.
    since: u32,
    /// Resident memory after the last time, in bytes.
    resident: u64,
}

impl Default for Memory {
    /// Of a process that has just begun.
    fn default() -> Memory {
        Memory { looked: Instant::now(), since: LOOKS, resident: 0 }
    }
}

impl Memory {
    /// Does what is due.
    pub fn tick(&mut self) {
        if self.looked.elapsed() < EVERY {
            return;
        }
        self.looked = Instant::now();
        let grown = resident().is_some_and(|now| now > self.resident + GROWTH);
        self.since = if grown { 0 } else { self.since.saturating_add(1) };
        // All that is free is looked at: that may take a while where there is much.
        if grown || (self.since.is_power_of_two() && self.since <= LOOKS) {
            give_back();
            self.resident = resident().unwrap_or(0);
        }
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes no pointer, and the allocator's own locks keep other threads out.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_known_and_giving_back_breaks_nothing() {
        let kept: Vec<Vec<u8>> = (0..50_000).map(|n| vec![n as u8; 1000]).collect();
        drop(kept.iter().map(|bytes| bytes.repeat(2)).collect::<Vec<_>>());
        assert!(resident().is_some_and(|bytes| bytes > GROWTH));
        let mut memory = Memory { looked: Instant::now() - EVERY, since: LOOKS, resident: 0 };
        memory.tick();
        assert!(memory.resident > GROWTH);
        assert!(kept.iter().enumerate().all(|(n, bytes)| bytes.iter().all(|byte| *byte == n as u8)));
    }
}
