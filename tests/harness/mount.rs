//! A store and a mountpoint of its own for each test, taken down whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::command::{PATIENCE, Ran, run, try_run};
use super::dataset::Dataset;
use super::poll;

/// After this long a test's daemon is killed, so that calls stuck in the mount fail instead.
const TEST_LIMIT: Duration = Duration::from_secs(300);

/// The `strata` under test: the one just built, or `STRATA_BIN`.
pub fn binary() -> PathBuf {
    std::env::var_os("STRATA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_strata").into(), PathBuf::from)
}

/// A temporary store, and where it is mounted.
pub struct Mount {
    root: TempDir,
    store: PathBuf,
    point: PathBuf,
    pid: Arc<AtomicI32>,
    _watchdog: Sender<()>,
}

impl Mount {
    /// A new store, mounted.
    pub fn new() -> Mount {
        Mount::with(&[])
    }

    /// A new store, mounted with these options.
    pub fn with(options: &[&str]) -> Mount {
        let mount = Mount::unmounted();
        mount.up(options);
        mount
    }

    /// A place for a store and an empty mountpoint; nothing is mounted or made.
    pub fn unmounted() -> Mount {
        Mount::unmounted_for(TEST_LIMIT)
    }

    /// As [`Mount::unmounted`], for a test that may take this long.
    pub fn unmounted_for(limit: Duration) -> Mount {
        assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing: the end-to-end tests cannot run");
        let root = TempDir::with_prefix("strata-e2e-").expect("make a temporary directory");
        let (store, point) = (root.path().join("store"), root.path().join("mnt"));
        fs::create_dir(&point).expect("make the mountpoint");
        let pid = Arc::new(AtomicI32::new(0));
        let _watchdog = watch(pid.clone(), limit);
        Mount { root, store, point, pid, _watchdog }
    }

    /// Moves the (not yet made) store elsewhere.
    pub fn store_at(mut self, store: PathBuf) -> Mount {
        self.store = store;
        self
    }

    /// The store's directory.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The mountpoint.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// A temporary directory outside the mount, made at the first call.
    pub fn outside(&self) -> PathBuf {
        let outside = self.root.path().join("outside");
        fs::create_dir_all(&outside).expect("make a directory outside the mount");
        outside
    }

    /// A `strata` command on this store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env("STRATA_STORE", &self.store).env_remove("RUST_LOG");
        command
    }

    /// Runs `strata` on this store.
    #[track_caller]
    pub fn strata(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Tries to mount the store with these options.
    #[track_caller]
    pub fn try_up(&self, options: &[&str]) -> Ran {
        let mut command = self.command(&["mount"]);
        let ran = run(command.args(options).arg(&self.point));
        if ran.code == Some(0) {
            let pid = self.status()["pid"].as_i64().expect("status gives the daemon's pid");
            self.pid.store(pid as i32, Ordering::SeqCst);
        }
        ran
    }

    /// Mounts the store with these options.
    #[track_caller]
    pub fn up(&self, options: &[&str]) {
        self.try_up(options).ok();
    }

    /// Unmounts, and waits for the daemon's end.
    #[track_caller]
    pub fn down(&self) {
        self.umount().expect("unmounting ends").ok();
        self.gone();
    }

    /// Unmounts; nothing where that takes too long. A program that another test starts has our open files too,
    /// from when this process is forked until the program begins: the mount is busy for as long.
    fn umount(&self) -> Option<Ran> {
        let deadline = Instant::now() + PATIENCE / 4;
        loop {
            let ran = try_run(self.command(&["umount"]).arg(&self.point), PATIENCE / 4)?;
            if !ran.stderr.contains("is busy") || Instant::now() > deadline {
                return Some(ran);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends the daemon a signal and waits for its end.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.daemon().expect("the daemon runs"), signal).expect("signal the daemon");
        self.gone();
    }

    /// Kills the daemon with SIGKILL and waits for its end; the mountpoint is left stale.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Checks what is to last: at once, after a kill, and with an index made anew from the log.
    pub fn lasts(&self, check: impl Fn(&str)) {
        check("at once");
        self.kill();
        self.up(&[]);
        check("after a kill");
        self.down();
        self.strata(&["fsck", "--rebuild-index"]).ok();
        self.up(&[]);
        check("with a new index");
    }

    /// Takes a daemon that was started otherwise for the mount's own.
    pub fn adopt(&self, pid: i32) {
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// The daemon's process, where one was started.
    pub fn daemon(&self) -> Option<Pid> {
        Pid::from_raw(self.pid.load(Ordering::SeqCst))
    }

    /// `strata status --json`; it may tell of problems.
    #[track_caller]
    pub fn status(&self) -> Value {
        let ran = self.strata(&["status", "--json"]);
        serde_json::from_str(&ran.text()).unwrap_or_else(|e| panic!("status prints JSON: {e}: {ran:?}"))
    }

    /// Bytes of distinct chunks in the store.
    #[track_caller]
    pub fn unique_bytes(&self) -> u64 {
        self.status()["unique_bytes"].as_u64().expect("status has unique_bytes")
    }

    /// Bytes that packs and blobs take on disk.
    pub fn pack_bytes(&self) -> u64 {
        ["packs", "blobs"].iter().map(|d| disk_use(&self.store.join(d))).sum()
    }

    /// Makes a dataset of this name.
    #[track_caller]
    pub fn dataset(&self, name: &str) -> Dataset<'_> {
        let dataset = self.existing(name);
        fs::create_dir(dataset.root()).expect("make a dataset");
        dataset
    }

    /// A dataset that is there already.
    pub fn existing(&self, name: &str) -> Dataset<'_> {
        Dataset::new(self, name, self.point.join(name))
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn gone(&self) {
        if let Some(pid) = self.daemon() {
            poll("the daemon ends", || is_gone(pid));
            self.pid.store(0, Ordering::SeqCst);
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let Some(pid) = self.daemon() else {
            return detach(&self.point);
        };
        let umount = self.umount();
        let clean = umount.as_ref().is_some_and(|ran| ran.code == Some(0));
        if !clean {
            let _ = kill_process(pid, Signal::KILL);
            detach(&self.point);
        }
        assert!(clean || thread::panicking(), "unmounting after the test failed: {umount:?}");
    }
}

/// Whether the process has ended (a zombie that its parent has yet to reap has). As long as one of its threads is in a
/// system call, its files, the lock among them, are open, though the first may be a zombie by then.
fn is_gone(pid: Pid) -> bool {
    let dir = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    let is_zombie = fs::read_to_string(dir.join("stat")).is_ok_and(|s| s.contains(") Z "));
    let threads = fs::read_dir(dir.join("task")).map_or(0, Iterator::count);
    test_kill_process(pid).is_err() || (is_zombie && threads <= 1)
}

/// Takes the mountpoint out of the tree, whatever state its daemon is in.
fn detach(point: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.contains(&format!(" {} ", point.display())) {
        let _ = Command::new("fusermount3").arg("-uz").arg(point).output();
    }
}

/// Kills the process in `pid` once the test's time is over, unless the sender is dropped before.
fn watch(pid: Arc<AtomicI32>, limit: Duration) -> Sender<()> {
    let (alive, over) = mpsc::channel();
    thread::spawn(move || {
        if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the test took over {limit:?}: killing its daemon");
            if let Some(pid) = Pid::from_raw(pid.load(Ordering::SeqCst)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    });
    alive
}

/// Bytes on disk of all files below `dir` (0 where it is missing).
pub fn disk_use(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|e| match e.metadata() {
        Ok(m) if m.is_dir() => disk_use(&e.path()),
        Ok(m) => m.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
