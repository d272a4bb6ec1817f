//! fsx: random operations on one file, each read compared with what was written.
//!
//! `FSX_OPS` operations (3000) for each of the seeds 1 to `FSX_SEEDS` (1).

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::*;
use crate::installed::{beside, judge, number};

/// Runs fsx with each seed on a mount of its own, and calls `meanwhile` over and over while it runs.
fn exercise(mut meanwhile: impl FnMut(&Mount, &Dataset<'_>, u64)) {
    let operations = number("FSX_OPS", 3000);
    for seed in 1..=number("FSX_SEEDS", 1) {
        // A history of so many versions of one file takes gigabytes: each seed has a store of its own.
        let m = Mount::unmounted_for(Duration::from_secs(300 + operations / 10));
        m.up(&[]);
        let d = m.dataset("d");
        let mut fsx = Command::new(judge("fsx"));
        fsx.arg("-q").arg("-f").arg(beside("fsx.toml")).arg("-P").arg(m.outside());
        fsx.args(["-N", &operations.to_string(), "-S", &seed.to_string()]).arg(d.path("file"));
        let mut fsx = Ending(fsx.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start fsx"));
        while fsx.0.try_wait().expect("wait for fsx").is_none() {
            meanwhile(&m, &d, seed);
        }
        let output = fsx.output();
        assert!(output.contains("A-OK"), "seed {seed}: {output}");
    }
}

/// A child that does not outlive the test.
struct Ending(Child);

impl Ending {
    fn output(&mut self) -> String {
        use std::io::Read;
        let mut text = String::new();
        self.0.stdout.take().expect("piped").read_to_string(&mut text).expect("read what fsx said");
        self.0.stderr.take().expect("piped").read_to_string(&mut text).expect("read what fsx said");
        text
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A live file reads as it was written through any mix of reads and writes, mapped and not, truncation,
/// allocation, holes, copies within the file, syncs and reopening.
#[test]
fn fsx_finds_no_difference() {
    exercise(|_, _, _| std::thread::sleep(Duration::from_millis(10)));
}

/// So it does while others read old versions of the file, which never change, and commit, under the
/// policy every-write (odd seeds) and manual (even ones).
#[test]
fn fsx_finds_no_difference_beside_readers_of_versions() {
    let mut random = Random::new(1);
    let (mut seen, mut of_seed) = (BTreeMap::new(), 0);
    let mut rounds = 0u64;
    exercise(|m, d, seed| {
        if of_seed != seed {
            (of_seed, seen) = (seed, BTreeMap::new());
            d.policy(if seed % 2 == 1 { "every-write" } else { "manual" });
        }
        rounds += 1;
        m.strata(&["commit", "d"]).ok();
        let newest = d.versions();
        for _ in 0..8.min(newest) {
            // A version of before is met again now and then.
            let version = match seen.keys().nth(random.below(seen.len().max(1))) {
                Some(seen) if random.below(2) == 0 => *seen,
                _ => 1 + random.below(newest as usize) as u64,
            };
            let path = d.path(&format!("@v{version}/file"));
            let Ok(bytes) = std::fs::read(&path) else {
                assert!(!d.has(&format!("@v{version}/file")), "v{version} cannot be read");
                continue;
            };
            assert_eq!(bytes.len() as u64, path.metadata().expect("stat").len(), "size in v{version}");
            let hash = blake3::hash(&bytes);
            assert_eq!(*seen.entry(version).or_insert(hash), hash, "v{version} changed");
        }
    });
    assert!(rounds > 0, "nobody read meanwhile");
}
