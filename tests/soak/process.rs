//! The processes of the crowd.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::check::Subject;
use crate::harness::{Mount, binary};

/// The program that they run.
const PROGRAM: &str = concat!(
    include_str!("processes/common.py"),
    include_str!("processes/writer.py"),
    include_str!("processes/others.py"),
);

/// Seconds of the monotonic clock, which journals use.
pub fn now() -> f64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processes that use a mount; those still there when this is dropped are killed.
#[derive(Debug, Default)]
pub struct Crowd(Vec<Process>);

#[derive(Debug)]
struct Process {
    what: String,
    errors: PathBuf,
    child: Child,
}

impl Crowd {
    /// Starts a process. `config` is completed by where the mount is.
    pub fn start(&mut self, m: &Mount, dir: &Path, mut config: Value) {
        config["mount"] = json!(m.point());
        config["store"] = json!(m.store());
        config["strata"] = json!(binary());
        let what = config.to_string();
        let errors = dir.join(format!("errors-{}", self.0.len()));
        let child = Command::new("python3")
            .args(["-c", PROGRAM, &what])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("make a file for errors"))
            .spawn()
            .expect("start python3");
        self.0.push(Process { what, errors, child });
    }

    /// Starts the writers of `subjects`, each to go on where its journal ends; what `more` has is added to
    /// their configuration.
    pub fn start_writers(&mut self, m: &Mount, dir: &Path, subjects: &[Subject], seed: u64, more: &Value) {
        for (s, subject) in subjects.iter().enumerate() {
            for (j, (journal, (number, version))) in
                subject.journals.iter().zip(subject.positions()).enumerate()
            {
                let mut config = json!({
                    "role": "writer", "dataset": subject.name, "prefix": journal.prefix,
                    "policy": if journal.prefix.is_empty() { subject.policy.word() } else { "shared" },
                    "seed": seed.wrapping_mul(1000) + (s * 10 + j) as u64,
                    "number": number + 1, "version": version, "journal": journal.path(),
                    "pending": journal.changes.last().is_some_and(|change| change.version.is_none()),
                });
                for (key, value) in more.as_object().expect("an object") {
                    config[key] = value.clone();
                }
                self.start(m, dir, config);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until all have ended, which they have to within `limit`. `may_die`: by a signal too, as what a
    /// program gets that touches a mapped page of a file that is gone.
    pub fn wait(&mut self, limit: Duration, may_die: bool) {
        let deadline = Instant::now() + limit;
        for mut process in std::mem::take(&mut self.0) {
            let status = loop {
                if let Some(status) = process.child.try_wait().expect("wait for a process") {
                    break status;
                }
                if Instant::now() > deadline {
                    let stack = fs::read_to_string(format!("/proc/{}/stack", process.child.id()));
                    let _ = process.child.kill();
                    panic!("hangs, {limit:?} after it was to end, in {stack:?}: {}", process.what);
                }
                thread::sleep(Duration::from_millis(5));
            };
            let errors = fs::read_to_string(&process.errors).unwrap_or_default();
            let died = may_die && status.code().is_none();
            assert!(status.success() || died, "{status}: {}\n{errors}", process.what);
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
