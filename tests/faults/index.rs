//! The index fails, and nobody notices: what it holds is in the log too.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::command::run;
use crate::harness::{noise, poll};

use super::rig::Rig;
use super::shim::{Class, Fault};

fn content(n: u64) -> Vec<u8> {
    noise(n, 500 + (n as usize * 7919) % 20_000)
}

/// A store whose index fails, and how many files it has, each a version.
struct Sick {
    rig: Rig,
    files: u64,
}

impl Sick {
    fn new() -> Sick {
        let rig = Rig::new(false);
        rig.shim.only("store/index");
        rig.up(&[]).ok();
        fs::create_dir(rig.mount.point().join("d")).expect("make a dataset");
        Sick { rig, files: 0 }
    }

    fn write(&mut self) {
        self.files += 1;
        let path = self.rig.mount.point().join(format!("d/f{}", self.files));
        fs::write(path, content(self.files)).expect("writing goes on");
    }

    fn strata(&self, arguments: &[&str]) -> Command {
        self.rig.command(arguments)
    }

    /// Everything can be read, live and in versions, by path and by command, and nothing is damaged.
    fn check(&self) {
        let root = self.rig.mount.point().join("d");
        let log = run(&mut self.strata(&["log", "d", "--json"])).ok();
        let log: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(log.len() as u64, self.files, "versions in the log");
        for n in 1..=self.files {
            let (name, bytes) = (format!("f{n}"), content(n));
            assert!(fs::read(root.join(&name)).expect("read a live file") == bytes, "{name}");
            let old = fs::read(root.join(format!("@v{n}/{name}"))).expect("read a version's file");
            assert!(old == bytes, "{name} at v{n}");
            assert!(fs::symlink_metadata(root.join(format!("@v{n}/f{}", n + 1))).is_err(), "v{n} is v{n}");
        }
        let cat = run(&mut self.strata(&["cat", &format!("d@v{}/f1", self.files)]));
        assert!(cat.stdout == content(1), "{}", cat.stderr);
        run(&mut self.strata(&["verify"])).ok();
        let status = self.rig.status().expect("status answers");
        assert_eq!(status["read_only"], false, "the index is no reason to take no writes");
        let log = self.rig.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Waits until what is there has been applied to sled.
    fn applied(&self) {
        let synced = || self.rig.shim.count(Class::Sync);
        let before = synced();
        poll("the index is written", || synced() > before);
    }
}

fn round(fault: Fault, killed: bool) {
    let mut sick = Sick::new();
    (0..8).for_each(|_| sick.write());
    sick.applied();
    sick.rig.shim.arm(fault);
    let deadline = Instant::now() + Duration::from_secs(20);
    while sick.rig.shim.fired() == 0 {
        assert!(Instant::now() < deadline, "{fault:?} did not come");
        sick.write();
        thread::sleep(Duration::from_millis(50));
    }
    // Time enough for several attempts of the index to get on.
    for _ in 0..4 {
        sick.check();
        sick.write();
        thread::sleep(Duration::from_millis(700));
    }
    sick.check();
    if !killed {
        sick.rig.shim.disarm();
        sick.write();
        sick.applied();
        sick.check();
    }
    sick.rig.mount.kill();
    sick.rig.shim.disarm();
    sick.rig.up(&[]).ok();
    sick.check();
    sick.write();
    sick.check();
    sick.rig.mount.kill();
    fs::remove_dir_all(sick.rig.mount.store().join("index")).expect("the index is there");
    sick.rig.up(&[]).ok();
    sick.check();
}

/// Whatever fails below the index, once or for good: reading, writing, history, verification and
/// `status` go on as if nothing were; when it can be written again, it is, without a remount; and a
/// daemon killed meanwhile loses nothing.
#[test]
fn a_failing_index_is_not_noticed() {
    let mut faults = vec![];
    for class in [Class::Write, Class::Sync, Class::Open] {
        for error in [libc::EIO, libc::ENOSPC] {
            for until in [1, 3, u32::MAX] {
                faults.push((Fault { class, from: 1, until, error }, faults.len() % 3 == 2));
            }
        }
    }
    // Nothing is slow here but waiting.
    let (todo, failed) = (Mutex::new(faults), Mutex::new(vec![]));
    thread::scope(|scope| {
        for _ in 0..9 {
            scope.spawn(|| {
                while let Some((fault, killed)) = { todo.lock().expect("no panic").pop() } {
                    if thread::scope(|s| s.spawn(|| round(fault, killed)).join()).is_err() {
                        failed.lock().expect("no panic").push((fault, killed));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "{failed:#?}");
}
