//! Memory that runs short.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::thread;
use std::time::Duration;

use crate::harness::*;
use crate::{say, setting};

/// Most memory the daemon had so far, in bytes.
pub fn peak(m: &Mount) -> u64 {
    let pid = m.daemon().expect("the daemon runs").as_raw_pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read the daemon's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// A group of processes that may have so much memory, their page cache included.
struct Group(PathBuf);

impl Group {
    /// A new group, or why there can be none.
    fn new(name: &str, limit: u64) -> Result<Group, String> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (parent, file) = match v1.is_dir() {
            true => (v1, "memory.limit_in_bytes"),
            false => (Path::new("/sys/fs/cgroup"), "memory.max"),
        };
        let group = parent.join(format!("strata-test-{name}-{}", id()));
        fs::create_dir(&group).map_err(|e| format!("{}: {e}", group.display()))?;
        let group = Group(group);
        fs::write(group.0.join(file), limit.to_string()).map_err(|e| format!("{file}: {e}"))?;
        Ok(group)
    }

    fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Takes the mount's daemon in.
    fn take(&self, m: &Mount) {
        let pid = m.daemon().expect("the daemon runs").as_raw_pid();
        fs::write(self.procs(), pid.to_string()).expect("move the daemon to the group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty once its last process is gone.
        let gone = || fs::remove_dir(&self.0).is_ok() || !self.0.exists();
        (0..500).any(|_| {
            gone() || {
                thread::sleep(Duration::from_millis(10));
                false
            }
        });
    }
}

/// Reads files of versions, edits and writes, each at random, and lists.
const USE: &str = "import os, random, sys; d, seed, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n\
    r = random.Random(seed)\n\
    for t in range(turns):\n\
    \x20   at = r.choice(['', '@v4/', '@latest/'])\n\
    \x20   with open(f'{d}/{at}big{r.randrange(4)}', 'rb') as f:\n\
    \x20       f.seek(r.randrange(30 << 20)); assert len(f.read(4 << 20)) > 0\n\
    \x20   assert len(os.listdir(f'{d}/{at}')) >= 4\n\
    \x20   with open(f'{d}/own{seed}', 'r+b' if t else 'w+b') as f:\n\
    \x20       f.seek(r.randrange(8 << 20)); f.write(r.randbytes(1 << 20))\n";

/// With many readers and writers the daemon's memory stays bounded; and where there is less than it would
/// take for its caches, it goes on all the same.
#[test]
fn the_daemon_makes_do_with_little_memory() {
    let turns: usize = setting("SOAK_MEMORY_TURNS", 6);
    let m = Mount::new();
    let group = match Group::new("daemon", 128 << 20) {
        Ok(group) => group,
        Err(why) => return skipped("memory::the_daemon_makes_do_with_little_memory", &why),
    };
    group.take(&m);
    let d = m.dataset("d");
    (0..4).for_each(|n| d.write(&format!("big{n}"), noise(n, 32 << 20)));
    thread::scope(|scope| {
        for seed in 0..16 {
            let root = d.root();
            scope.spawn(move || {
                python(USE, &[root.as_os_str(), seed.to_string().as_ref(), turns.to_string().as_ref()])
            });
        }
    });
    for n in 0..4 {
        assert!(d.bytes(&format!("@latest/big{n}")) == noise(n, 32 << 20), "big{n}");
    }
    m.strata(&["verify"]).ok();
    let peak = peak(&m);
    assert!(peak < 128 << 20, "the daemon had {peak} bytes");
    say(format!("memory: 16 processes beside a daemon with 128 MiB; its own peak: {} MiB", peak >> 20));
    m.down();
}

/// Where the daemon shares what little memory there is with a program that dirties more of it by mapped
/// stores than there is, neither waits for the other for ever: the pages get written.
#[test]
fn writing_back_under_pressure_does_not_deadlock() {
    let m = Mount::new();
    let group = match Group::new("shared", 96 << 20) {
        Ok(group) => group,
        Err(why) => return skipped("memory::writing_back_under_pressure_does_not_deadlock", &why),
    };
    group.take(&m);
    let d = m.dataset("d");
    let program = "import mmap, os, sys; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); size = 160 << 20\n\
        os.ftruncate(f, size); m = mmap.mmap(f, size)\n\
        for at in range(0, size, 1 << 20): m[at:at + (1 << 20)] = bytes([at >> 20]) * (1 << 20)\n\
        m.flush(); m.close(); os.close(f)";
    let mut command = Command::new("sh");
    let join = "echo $$ > \"$1\"; exec python3 -c \"$2\" \"$3\"";
    command.args(["-c", join, "sh"]).arg(group.procs()).arg(program).arg(d.path("f"));
    run(&mut command).ok();
    let bytes = d.bytes("@latest/f");
    assert_eq!(bytes.len(), 160 << 20);
    assert!(bytes.chunks(1 << 20).zip(0..).all(|(part, n): (&[u8], u8)| part.iter().all(|byte| *byte == n)));
    m.down();
}
