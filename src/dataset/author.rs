//! Who asks for a change, and how a version names them.

use std::fs;
use std::time::{Duration, Instant};

use crate::model::Author;

/// Longest command kept, in bytes.
const COMMAND_MAX: usize = 200;
/// How long a looked-up command is taken to be that of the same process.
const CACHE_FOR: Duration = Duration::from_millis(500);

/// The process that asks for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process or thread id; 0 for the daemon itself.
    pub pid: u32,
}

impl Caller {
    /// Whether it is a member of the group, as far as that can be found out.
    pub fn is_in_group(&self, gid: u32) -> bool {
        let others = || status_of(self.pid, "Groups:").unwrap_or_default();
        self.gid == gid || others().split_whitespace().any(|other| other.parse() == Ok(gid))
    }
}

/// Turns callers into authors, remembering the last one's command.
#[derive(Debug, Default)]
pub struct Authors {
    last: Option<(Caller, Instant, String)>,
}

impl Authors {
    /// The author a version made now for `caller` names.
    pub fn author(&mut self, caller: Caller) -> Author {
        let command = match &self.last {
            Some((last, at, command)) if *last == caller && at.elapsed() < CACHE_FOR => command.clone(),
            _ => {
                let command = command_of(caller);
                self.last = Some((caller, Instant::now(), command.clone()));
                command
            }
        };
        Author { uid: caller.uid, gid: caller.gid, pid: caller.pid, command }
    }
}

/// Whether two threads are known to be of different processes, both alive.
pub fn are_different_processes(a: u32, b: u32) -> bool {
    matches!((process_of(a), process_of(b)), (Some(a), Some(b)) if a != b)
}

fn process_of(thread: u32) -> Option<u32> {
    status_of(thread, "Tgid:")?.parse().ok()
}

/// What the kernel says of a thread under `field`.
fn status_of(thread: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(field))?.trim().to_owned())
}

/// The caller's command line; only the program's name if it is another user's process, whose arguments
/// are not for everybody who may read the history.
fn command_of(caller: Caller) -> String {
    if caller.pid == 0 {
        return "strata".into();
    }
    let own = caller.uid == rustix::process::geteuid().as_raw();
    let read = |file: &str| fs::read(format!("/proc/{}/{file}", caller.pid)).unwrap_or_default();
    let mut text = if own { read("cmdline") } else { Vec::new() };
    while text.last() == Some(&0) {
        text.pop();
    }
    if text.is_empty() {
        text = read("comm");
    }
    let text: String = String::from_utf8_lossy(&text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(COMMAND_MAX)
        .collect();
    text.trim_end().to_owned()
}
