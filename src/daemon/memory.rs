//! Giving memory back. The C library's allocator keeps most of what was freed: after a version of a million
//! files, and after a walk through a large tree, hundreds of megabytes. The only place of unsafe code.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Growth that makes giving back worth it, in bytes.
const GROWTH: u64 = 32 << 20;

/// Gives back what is free, now and then, if the process has grown.
pub struct Memory {
    looked: Instant,
    /// Resident memory after the last time, in bytes.
    resident: u64,
}

impl Default for Memory {
    /// Of a process that has just begun.
    fn default() -> Memory {
        Memory { looked: Instant::now(), resident: 0 }
    }
}

impl Memory {
    /// Does what is due.
    pub fn tick(&mut self) {
        if self.looked.elapsed() < EVERY {
            return;
        }
        self.looked = Instant::now();
        // All that is free is looked at: that may take a while where there is much.
        if resident().is_some_and(|now| now > self.resident + GROWTH) {
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
        let kept: Vec<Vec<u8>> = (0..10_000).map(|n| vec![n as u8; 1000]).collect();
        drop(kept.iter().map(|bytes| bytes.repeat(2)).collect::<Vec<_>>());
        assert!(resident().is_some_and(|bytes| bytes > 10_000_000));
        let mut memory = Memory { looked: Instant::now() - EVERY, resident: 0 };
        memory.tick();
        assert!(memory.resident > 10_000_000);
        assert!(kept.iter().enumerate().all(|(n, bytes)| bytes.iter().all(|byte| *byte == n as u8)));
    }
}
