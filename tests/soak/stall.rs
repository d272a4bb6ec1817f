//! Users of the mount that stop, die, or do the unexpected in the middle of a request hold up nobody else.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::*;
use crate::{say, setting};

/// Programs that go on for ever; they say so when they begin.
const BUSY: [(&str, &str); 7] = [
    ("reads a large file of a version", "while True: open(d + '/@v1/big', 'rb').read()"),
    ("reads a large live file", "while True: open(d + '/big', 'rb').read()"),
    ("lists a large directory", "while True: [e.stat() for e in os.scandir(d + '/many')]"),
    (
        "holds open handles of live files and of versions",
        "held = [open(f'{d}/{v}many/{n}') for n in range(1500) for v in ('', '@latest/')]\nwhile True: time.sleep(1)",
    ),
    ("writes and closes", "while True: open(d + '/mine', 'wb').write(os.urandom(9000))"),
    (
        "holds what it wrote",
        "f = open(d + '/held', 'wb', 0)\nwhile True: f.write(os.urandom(9000)); f.seek(0)",
    ),
    (
        "stores through a mapping",
        "f = open(d + '/mapped', 'w+b'); f.truncate(1 << 20); m = mmap.mmap(f.fileno(), 1 << 20)\n\
         while True: m[:] = os.urandom(1 << 20); m.flush()",
    ),
];

/// A process that is killed, stopped or not, when this is dropped.
struct Busy(Child, Option<ChildStdout>);

impl Busy {
    /// Starts a program and waits until it says that it has begun.
    fn start(d: &Dataset<'_>, program: &str) -> Busy {
        let begin = "import mmap, os, sys, time; d = sys.argv[1]; print('begun', flush=True)\n";
        let mut command = Command::new("python3");
        command.args(["-c", &format!("{begin}{program}")]).arg(d.root());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start python3");
        let mut said = [0; 6];
        let stdout = child.stdout.as_mut().expect("its output");
        std::io::Read::read_exact(stdout, &mut said).expect("it says that it has begun");
        Busy(child, None)
    }

    /// Starts a command whose answer is never read.
    fn unread(mut command: Command) -> Busy {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start strata");
        let stdout = child.stdout.take();
        Busy(child, stdout)
    }

    fn stop(&self) {
        kill_process(Pid::from_raw(self.0.id() as i32).expect("a pid"), Signal::STOP).expect("stop it");
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        drop(self.1.take());
    }
}

/// A dataset with a large file and a large directory.
fn prepare(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("d");
    d.write("big", noise(1, 48 << 20));
    d.policy("manual");
    d.mkdir("many");
    (0..1500).for_each(|n| d.write(&format!("many/{n}"), format!("{n}")));
    m.strata(&["commit", "d"]).ok();
    d.policy("every-write");
    d
}

/// Uses the mount and the commands in every way; each has to end.
fn use_everything(m: &Mount, d: &Dataset<'_>, turn: usize) {
    let version = d.versions();
    let program = "import os, sys; d, t = sys.argv[1:]\n\
        open(f'{d}/new', 'w').write(t); open(f'{d}/many/7', 'w').write(t); os.rename(f'{d}/new', f'{d}/old')\n\
        f = open(f'{d}/big', 'r+b'); f.seek(1000); f.write(t.encode()); f.flush(); os.fsync(f.fileno()); f.close()\n\
        assert len(os.listdir(f'{d}/many')) == 1500 and len(os.listdir(f'{d}/@latest/many')) == 1500\n\
        assert len(open(f'{d}/@v1/big', 'rb').read()) == 48 << 20\n\
        os.mkdir(f'{d}/dir'); os.rmdir(f'{d}/dir'); os.chmod(f'{d}/old', 0o600)\n\
        fd = os.open(d, os.O_RDONLY); os.fsync(fd); os.close(fd); os.unlink(f'{d}/old')";
    python(program, &[d.root(), turn.to_string().as_ref()]);
    m.strata(&["commit", "d"]).ok();
    m.strata(&["rollback", "d", &format!("v{version}")]).ok();
    m.strata(&["batch", "--dataset", "d", "--", "true"]).ok();
    m.strata(&["set", "d", "policy=every-write"]).ok();
    m.strata(&["verify"]).ok();
    m.strata(&["status"]).ok();
}

/// Processes stopped while they read, list, write, map, or hold thousands of handles, commands whose answers
/// nobody reads, and connections that never finish their request: everybody else goes on, and when they are
/// gone the store is unmounted in order.
#[test]
fn who_stalls_blocks_nobody() {
    let m = Mount::new();
    let d = prepare(&m);
    for n in 0..200 {
        d.write("often", format!("{n}"));
    }
    let mut busy: Vec<_> = BUSY.iter().map(|(_, program)| Busy::start(&d, program)).collect();
    for arguments in [&["cat", "d/big"][..], &["cat", "d@v1/big"], &["log", "d", "--json"], &["ls", "d/many"]]
    {
        busy.push(Busy::unread(m.command(arguments)));
    }
    busy.push(Busy::unread(m.command(&["batch", "--dataset", "d", "--", "sleep", "1000"])));
    poll("the batch is under way", || m.strata(&["commit", "d"]).code == Some(1));
    let control = m.store().join("control.sock");
    let connect = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&control).expect("connect");
        stream.write_all(bytes).expect("begin a request");
        stream
    };
    let unfinished: Vec<_> = (0..40).map(|n| connect(&[1, 0, 0, 0, 9][..n % 5])).collect();
    thread::sleep(Duration::from_millis(300));
    for process in &busy {
        process.stop();
    }
    // The batch is on; it ends with its command's process, and then the rest can be tried.
    drop(busy.pop());
    poll("the batch is over", || m.strata(&["commit", "d"]).code == Some(0));
    for turn in 0..3 {
        use_everything(&m, &d, turn);
    }
    drop(busy);
    drop(unfinished);
    use_everything(&m, &d, 3);
    m.down();
}

/// Processes killed while requests of theirs are under way leave a mount that works and a store that verifies.
#[test]
fn who_is_killed_in_a_request_blocks_nobody() {
    let rounds: usize = setting("SOAK_KILLED_USERS", 2);
    let m = Mount::new();
    let d = prepare(&m);
    let mut random = Random::new(1);
    for _ in 0..rounds {
        let busy: Vec<_> = BUSY.iter().map(|(_, program)| Busy::start(&d, program)).collect();
        thread::sleep(Duration::from_millis(random.below(150) as u64));
        drop(busy);
        assert_eq!(d.list("many").len(), 1500);
        d.write("after", "x");
        assert_eq!(d.text("@latest/after"), "x");
    }
    use_everything(&m, &d, 0);
    m.down();
    say(format!("killed in requests: {} processes; the mount lives", rounds * BUSY.len()));
}

/// A process whose threads map and unmap files of the mount, read and write them through the mappings, and
/// close others, all at once, is served: the daemon, which looks up who wrote, waits for none of its locks.
#[test]
fn who_maps_and_writes_at_once_is_served() {
    let seconds: u64 = setting("SOAK_MAP_SECONDS", 4);
    let m = Mount::new();
    let d = m.dataset("d");
    (0..4).for_each(|n| d.write(&format!("m{n}"), noise(n, 2 << 20)));
    // Each close by a thread of its own: whose process that is, is looked up anew.
    let program = "import mmap, os, sys, threading, time; d, s = sys.argv[1], float(sys.argv[2]); end = time.time() + s\n\
        def maps(n):\n\
        \x20   while time.time() < end:\n\
        \x20       f = os.open(f'{d}/m{n}', os.O_RDWR); m = mmap.mmap(f, 2 << 20); m[::4096] = os.urandom(512)\n\
        \x20       m.close(); os.close(f)\n\
        def write(n):\n\
        \x20   open(f'{d}/w{n}', 'wb').write(os.urandom(9)); open(f'{d}/m{n}', 'rb').read(100_000)\n\
        def writes(n):\n\
        \x20   while time.time() < end:\n\
        \x20       t = threading.Thread(target=write, args=(n,)); t.start(); t.join()\n\
        ts = [threading.Thread(target=t, args=(n,)) for n in range(4) for t in (maps, writes)]\n\
        [t.start() for t in ts]; [t.join() for t in ts]";
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| python(program, &[d.root(), seconds.to_string().as_ref()]));
        }
    });
    assert!(d.versions() > 20);
    m.strata(&["verify"]).ok();
    File::open(d.path("m1")).and_then(|f| f.sync_all()).expect("fsync");
    fs::remove_file(d.path("m1")).expect("unlink");
}
