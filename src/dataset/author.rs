//! Who asks for a change, and how a version names them.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::model::Author;

/// Longest command kept, in bytes.
const COMMAND_MAX: usize = 200;
/// How long a looked-up command is taken to be that of the same process.
const CACHE_FOR: Duration = Duration::from_millis(500);
/// How many commands are remembered.
const CACHE: NonZeroUsize = NonZeroUsize::new(32).expect("not 0");
/// How long a command line is waited for.
const WAIT: Duration = Duration::from_millis(50);
/// Most command lines that may be waited for at a time.
const LOOKUPS_MAX: usize = 8;

/// The process that asks for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// Turns callers into authors, remembering the last ones' commands.
#[derive(Debug)]
pub struct Authors {
    commands: LruCache<Caller, (Instant, String)>,
}

impl Default for Authors {
    fn default() -> Authors {
        Authors { commands: LruCache::new(CACHE) }
    }
}

impl Authors {
    /// The author a version made now for `caller` names.
    pub fn author(&mut self, caller: Caller) -> Author {
        let command = match self.commands.get(&caller) {
            Some((at, command)) if at.elapsed() < CACHE_FOR => command.clone(),
            _ => {
                let command = command_of(caller);
                self.commands.put(caller, (Instant::now(), command.clone()));
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
    let mut text = if own { command_line(caller.pid).unwrap_or_default() } else { Vec::new() };
    while text.last() == Some(&0) {
        text.pop();
    }
    if text.is_empty() {
        text = fs::read(format!("/proc/{}/comm", caller.pid)).unwrap_or_default();
    }
    let text: String = String::from_utf8_lossy(&text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(COMMAND_MAX)
        .collect();
    text.trim_end().to_owned()
}

/// Reads a process's command line, if that can be done at once.
///
/// It lies in the process's memory, whose lock the kernel takes to read it, and a thread of the process can
/// hold that lock while it waits for this daemon: unmapping a file writes back what was stored through the
/// mapping. So a handler must not wait for it: a thread of its own does, and is given up after a moment.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
    if LOOKUPS.fetch_add(1, Ordering::AcqRel) >= LOOKUPS_MAX {
        LOOKUPS.fetch_sub(1, Ordering::AcqRel);
        return None;
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let text = fs::read(format!("/proc/{pid}/cmdline"));
        LOOKUPS.fetch_sub(1, Ordering::AcqRel);
        // Nobody may be waiting any more.
        drop(sender.send(text));
    };
    if thread::Builder::new().name("command line".into()).stack_size(64 << 10).spawn(read).is_err() {
        LOOKUPS.fetch_sub(1, Ordering::AcqRel);
        return None;
    }
    receiver.recv_timeout(WAIT).ok()?.ok()
}
