//! Runs programs with a time limit and keeps what they said for the failure message.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How long any one program may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A program that ended.
#[derive(Debug)]
pub struct Ran {
    /// The command line.
    pub what: String,
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

impl Ran {
    /// Asserts success and gives standard output as text.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{} failed: {}{}", self.what, self.stderr, self.text());
        self.text()
    }

    /// Asserts this exit code and gives standard error.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}: {}{}", self.what, self.stderr, self.text());
        self.stderr
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `command` to its end without input. Past [`PATIENCE`], kills it with its children and fails.
///
/// The end is that of its output too: a daemon that keeps its caller's output open counts as a hang,
/// as it would in `$(…)`.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let ran = try_run(command, PATIENCE);
    ran.unwrap_or_else(|| panic!("{command:?} did not end, or kept its output open, for {PATIENCE:?}"))
}

/// As [`run`], but gives `None` when the time is over.
#[track_caller]
pub fn try_run(command: &mut Command, limit: Duration) -> Option<Ran> {
    let what = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {what}: {e} (scripts/test installs what is needed)"));
    let group = Pid::from_raw(child.id() as i32).expect("a child's pid is not 0");
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(limit) else {
        let _ = kill_process_group(group, Signal::KILL);
        return None;
    };
    let output = output.unwrap_or_else(|e| panic!("cannot wait for {what}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(Ran { what, code: output.status.code(), stdout: output.stdout, stderr })
}

/// Runs a tool and asserts success; gives its standard output.
#[track_caller]
pub fn tool<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    run(Command::new(program).args(arguments)).ok()
}

/// Runs a shell script with `$1`, `$2`, … set; asserts success, gives its standard output.
#[track_caller]
pub fn shell<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> String {
    run(Command::new("sh").args(["-euc", script, "sh"]).args(arguments)).ok()
}

/// Runs a Python program with `sys.argv[1:]` set; asserts success, gives its standard output.
#[track_caller]
pub fn python<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    run(Command::new("python3").args(["-c", program]).args(arguments)).ok()
}

/// A command that runs as root: by itself, or through `sudo` where it asks no password.
pub fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}
