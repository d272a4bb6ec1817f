//! A store and its mount with the library in between.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Mount;
use crate::harness::command::{PATIENCE, Ran, run};

use super::shim::Shim;
use super::variants::Snapshot;

/// Packs of so few bytes that a short script fills some.
const PACK_BYTES: &str = "200000";
/// After this long a round's daemon counts as hung.
const LIMIT: Duration = Duration::from_secs(60);

/// A store in memory, where syncs cost nothing, and its mount.
pub struct Rig {
    pub mount: Mount,
    pub shim: Arc<Shim>,
    hung: Arc<AtomicBool>,
    _watchdog: Sender<()>,
    _dir: TempDir,
}

impl Rig {
    /// A place for a store; nothing is made yet.
    pub fn new(traced: bool) -> Rig {
        let dir = TempDir::with_prefix_in("strata-faults-", memory()).expect("make a directory");
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).expect("make a directory");
        Rig::on(&disk, dir, traced)
    }

    /// A store as it was found on a disk, in memory; traced.
    pub fn holding(snapshot: &Snapshot) -> Rig {
        let dir = TempDir::with_prefix_in("strata-faults-", memory()).expect("make a directory");
        let disk = dir.path().join("disk");
        super::variants::write(snapshot, &disk);
        Rig::on(&disk, dir, true)
    }

    /// The same on the file system of `disk`, an empty directory.
    pub fn on(disk: &Path, dir: TempDir, traced: bool) -> Rig {
        let shim = Arc::new(Shim::new(disk, dir.path(), traced));
        let mount = Mount::unmounted().store_at(disk.join("store"));
        let hung = Arc::new(AtomicBool::new(false));
        let _watchdog = watch(shim.clone(), hung.clone());
        Rig { mount, shim, hung, _watchdog, _dir: dir }
    }

    /// A command on the store, which the library does not see.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.mount.command(arguments);
        command.env("STRATA_PACK_BYTES", PACK_BYTES);
        command
    }

    /// Mounts, with the library.
    pub fn up(&self, options: &[&str]) -> Ran {
        let mut command = self.command(&["mount"]);
        self.shim.on(&mut command, true);
        let ran = run(command.args(options).arg(self.mount.point()));
        if let (Some(0), Some(pid)) = (ran.code, self.shim.pid()) {
            self.mount.adopt(pid);
        }
        ran
    }

    /// `strata status --json`, if it is to be had. That a purge which failed is not finished is its one problem.
    pub fn status(&self) -> Result<Value, String> {
        let ran = run(&mut self.command(&["status", "--json"]));
        let Ok(status) = serde_json::from_slice::<Value>(&ran.stdout) else { return Err(ran.stderr) };
        let problems = status["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        match problems.into_iter().find(|problem| !problem.contains("is not finished")) {
            Some(problem) => Err(problem.to_owned()),
            None => Ok(status),
        }
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.mount.store().join("daemon.log")).unwrap_or_default()
    }

    /// Whether the daemon had to be killed because it did not answer.
    pub fn hung(&self) -> bool {
        self.hung.load(Ordering::SeqCst)
    }
}

/// Says something that is seen whether or not output is captured.
pub fn say(text: &str) {
    let _ = OpenOptions::new().append(true).open("/proc/self/fd/2").map(|mut f| writeln!(f, "{text}"));
}

/// A directory in memory, where there is one.
pub fn memory() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

/// Kills the daemon once its time is over.
fn watch(shim: Arc<Shim>, hung: Arc<AtomicBool>) -> Sender<()> {
    let (alive, over) = mpsc::channel();
    thread::spawn(move || {
        if over.recv_timeout(LIMIT.max(PATIENCE / 4)) == Err(RecvTimeoutError::Timeout) {
            hung.store(true, Ordering::SeqCst);
            if let Some(pid) = shim.pid().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    });
    alive
}
