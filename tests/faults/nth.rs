//! The n-th call of a kind fails, for every n that a script makes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs::getxattr;
use rustix::process::Signal;

use crate::harness::command::{Ran, run};
use crate::harness::{noise, poll};

use super::ledger::Ledger;
use super::rig::{Rig, say};
use super::script::{Op, read_tree};
use super::shim::{Class, Fault};

/// Most points of a kind that are tried unless `STRIDE` says otherwise.
const POINTS: u32 = 12;

/// The script: every sort of change, three datasets with the three policies, more than one pack.
fn script() -> Vec<Op> {
    use Op::*;
    let edits = |seed: u64, count: u64, step: u64, len: usize| {
        (0..count).map(|i| (i * step, noise(seed + i, len))).collect::<Vec<_>>()
    };
    vec![
        Mkdir("d"),
        Write("d/a", noise(1, 3000), false),
        Write("d/big", noise(2, 300_000), false),
        Remember("d"),
        Edit("d/big", edits(3, 3, 90_000, 4000), true),
        Mkdir("d/sub"),
        Write("d/sub/x", noise(4, 50_000), false),
        Rename("d/a", "d/sub/a"),
        Write("d/new", noise(5, 60_000), true),
        Rename("d/new", "d/sub/x"),
        Mkdir("m"),
        Policy("m", "manual"),
        Write("m/p", noise(6, 20_000), true),
        Commit("m"),
        Write("m/q", noise(7, 20_000), false),
        Mkdir("s"),
        Policy("s", "settle=1h"),
        Write("s/one", noise(8, 10_000), false),
        Write("s/one", noise(9, 10_000), true),
        // More than is kept in memory: this one goes through a scratch file.
        Write("d/long", vec![7; 6 << 20], false),
        Edit("d/long", edits(10, 50, 110_000, 100_000), false),
        Unlink("d/sub/a"),
        Rollback("d"),
        Commit("d"),
        Write("d/last", noise(12, 1000), false),
    ]
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Unmount,
    Kill,
}

/// What a round came to.
#[derive(Debug, Default)]
struct Outcome {
    wrong: Vec<String>,
    fired: u32,
    hit: String,
    /// Calls of each class until the end of the script, and of the daemon.
    counts: BTreeMap<Class, (u32, u32)>,
    read_only: bool,
    mount_failed: bool,
    failed: usize,
}

/// A round under way.
struct Round {
    rig: Rig,
    fault: Option<Fault>,
    ledger: Ledger,
    out: Outcome,
}

impl Round {
    fn run(fault: Option<Fault>, end: End) -> Outcome {
        let rig = Rig::new(false);
        let mut round = Round { rig, fault, ledger: Ledger::default(), out: Outcome::default() };
        if let Some(fault) = fault {
            round.rig.shim.arm(fault);
        }
        if !round.mount() {
            return round.out;
        }
        script().iter().for_each(|op| round.operation(op));
        round.live(end);
        round.end(end);
        round.anew();
        round.out
    }

    fn wrong(&mut self, what: String) {
        self.out.wrong.push(what);
    }

    /// What was hit so far.
    fn look(&mut self) {
        (self.out.fired, self.out.hit) = (self.rig.shim.fired(), self.rig.shim.hit());
    }

    /// Mounts, at the second attempt if the first fails.
    fn mount(&mut self) -> bool {
        let ran = self.rig.up(&[]);
        if ran.code == Some(0) {
            return true;
        }
        self.look();
        self.out.mount_failed = true;
        if ran.code != Some(1) || !ran.stderr.contains("strata: ") || self.out.fired == 0 {
            self.wrong(format!("mounting ended with {:?} and said: {}", ran.code, ran.stderr));
        }
        self.rig.shim.disarm();
        let again = self.rig.up(&[]);
        if again.code != Some(0) {
            self.wrong(format!(
                "after a mount that failed ({}) so did the next: {}",
                ran.stderr, again.stderr
            ));
        }
        again.code == Some(0)
    }

    /// Whether every sync of the log must fail by now.
    fn cannot_sync(&self) -> bool {
        let hit = |f: &Fault| f.class == Class::Sync && self.rig.shim.fired() > 0 && f.error != libc::EINTR;
        self.fault.as_ref().is_some_and(hit)
            && self.rig.shim.hit().contains("packs")
            && !self.out.mount_failed
    }

    fn operation(&mut self, op: &Op) {
        if !self.ledger.allows(op) || self.rig.hung() {
            return;
        }
        let could_not_sync = self.cannot_sync();
        let version = self.ledger.noted_version().to_owned();
        let point = self.rig.mount.point();
        let result = op.run(point, |arguments| self.rig.command(arguments), &version);
        match result {
            Ok(()) => {
                if could_not_sync && op.syncs() {
                    self.wrong(format!("{op:.60?} says that all is durable after a sync failed"));
                }
                let version = self.version(op);
                self.ledger.done(op, version);
            }
            Err(error) => {
                self.out.failed += 1;
                self.ledger.failed(op);
                if self.rig.shim.fired() == 0 || self.is_invisible() {
                    self.wrong(format!("{op:.60?} failed: {error}"));
                }
                let known = [libc::EIO, libc::ENOSPC, libc::EROFS];
                if error.raw_os_error().is_some_and(|code| !known.contains(&code)) {
                    self.wrong(format!("{op:.60?} failed in another way: {error}"));
                }
            }
        }
    }

    /// Whether the caller is to notice nothing.
    fn is_invisible(&self) -> bool {
        self.fault.is_none_or(|fault| fault.error == 0 || fault.error == libc::EINTR)
    }

    /// The version that holds what an operation did.
    fn version(&self, op: &Op) -> Option<String> {
        let dataset = op.dataset();
        if dataset == "s" || (dataset == "m" && !matches!(op, Op::Commit(_))) {
            return None;
        }
        let mut buffer = [0; 64];
        let len = getxattr(self.rig.mount.point().join(dataset), "user.strata.version", &mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned()).filter(|version| version != "v0")
    }

    /// What can be seen of it while the daemon lives.
    fn live(&mut self, end: End) {
        self.look();
        let reads_may_fail =
            self.fault.is_some_and(|fault| fault.class == Class::Open && !self.is_invisible());
        if !reads_may_fail {
            self.check_tree("before the fault ends");
        }
        self.out.counts = Class::ALL.iter().map(|class| (*class, (self.rig.shim.count(*class), 0))).collect();
        if end == End::Kill {
            self.rig.shim.disarm();
            self.check_tree("while mounted");
            self.check_state();
        }
    }

    fn check_tree(&mut self, when: &str) {
        match read_tree(self.rig.mount.point()) {
            Ok(tree) => {
                let wrong = self.ledger.wrong(&tree);
                self.out.wrong.extend(wrong.into_iter().map(|what| format!("{when}: {what}")));
            }
            Err(error) => self.wrong(format!("{when}: reading fails: {error}")),
        }
    }

    /// What the store says of itself, and whether it goes on.
    fn check_state(&mut self) {
        let status = match self.rig.status() {
            Ok(status) => status,
            Err(error) => return self.wrong(format!("status fails: {error}")),
        };
        self.out.read_only = status["read_only"] == true;
        if self.cannot_sync() && !self.out.read_only {
            self.wrong("a sync of the log failed, and the store takes writes".into());
        }
        if self.out.read_only {
            if !self.rig.log().contains("takes no more writes") {
                self.wrong("read-only, and the log does not say why".into());
            }
            return;
        }
        let written = std::fs::write(self.rig.mount.point().join("d/after"), "after the fault");
        match written {
            Ok(()) => self.ledger.done(&Op::Write("d/after", b"after the fault".into(), false), None),
            Err(error) if self.rig.mount.point().join("d").is_dir() => {
                self.wrong(format!("after the fault writing fails: {error}"));
            }
            Err(_) => {}
        }
        self.check_verify("while mounted");
    }

    fn check_verify(&mut self, when: &str) {
        let ran = run(&mut self.rig.command(&["verify"]));
        if ran.code != Some(0) {
            self.wrong(format!("{when}: verify ends with {:?}: {}{}", ran.code, ran.text(), ran.stderr));
        }
    }

    /// Unmounts; a program another round starts may have our files open for a moment.
    fn unmount(&self) -> Ran {
        let mut ran = None;
        poll("the mount is not busy", || {
            let last = run(self.rig.command(&["umount"]).arg(self.rig.mount.point()));
            let busy = last.stderr.contains("is busy");
            ran = Some(last);
            !busy
        });
        ran.expect("it was tried")
    }

    fn end(&mut self, end: End) {
        match end {
            End::Kill => self.rig.mount.kill(),
            End::Unmount => {
                let ran = self.unmount();
                if ran.code != Some(0) {
                    self.wrong(format!("unmounting ends with {:?}: {}", ran.code, ran.stderr));
                    self.rig.mount.signal(Signal::KILL);
                }
                self.rig.mount.adopt(0);
                self.look();
                let counts = &mut self.out.counts;
                counts.iter_mut().for_each(|(class, counts)| counts.1 = self.rig.shim.count(*class));
            }
        }
        if self.rig.hung() {
            self.wrong("the daemon hung".into());
        }
        let log = self.rig.log();
        for line in log.lines().filter(|l| l.contains("panicked") || l.contains("by a defect")) {
            self.out.wrong.push(format!("the log has: {line}"));
        }
    }

    /// Everything acknowledged is there after a mount without faults.
    fn anew(&mut self) {
        self.rig.shim.disarm();
        let ran = self.rig.up(&[]);
        if ran.code != Some(0) {
            return self.wrong(format!("cannot be mounted any more: {}", ran.stderr));
        }
        self.check_tree("mounted anew");
        for (name, tree) in self.ledger.versions() {
            for (path, node) in tree {
                let found = match node {
                    super::script::Node::Dir => self.rig.mount.point().join(path).is_dir(),
                    super::script::Node::File(bytes) => {
                        std::fs::read(self.rig.mount.point().join(path)).is_ok_and(|found| found == *bytes)
                    }
                };
                if !found {
                    self.out.wrong.push(format!("{name} has no whole {path}"));
                }
            }
        }
        self.check_verify("mounted anew");
        let point = self.rig.mount.point().join("d");
        if point.is_dir()
            && let Err(error) = std::fs::write(point.join("goes on"), "x")
        {
            self.wrong(format!("mounted anew, writing fails: {error}"));
        }
        let ran = self.unmount();
        if ran.code == Some(0) {
            self.rig.mount.adopt(0);
        } else {
            self.wrong(format!("mounted anew, unmounting fails: {}", ran.stderr));
            self.rig.mount.kill();
        }
    }
}

/// Runs rounds on some threads, and says what was wrong.
fn rounds(name: &str, todo: Vec<(Fault, End)>) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let seen = Mutex::new(BTreeMap::<String, usize>::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((fault, end)) = todo.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let out = Round::run(Some(*fault), *end);
                    let what = match (out.fired, out.mount_failed, out.read_only, out.failed) {
                        (0, ..) => "never came",
                        (_, true, ..) => "failed the mount",
                        (.., true, _) => "made it read-only",
                        (.., 0) => "went unnoticed",
                        _ => "failed calls",
                    };
                    *seen.lock().expect("no panic").entry(what.into()).or_default() += 1;
                    if !out.wrong.is_empty() {
                        let text =
                            format!("{fault:?}, {end:?}, hit {}:\n  {}", out.hit, out.wrong.join("\n  "));
                        failures.lock().expect("no panic").push(text);
                    }
                }
            });
        }
    });
    say(&format!("{name}: {} rounds: {:?}", todo.len(), seen.into_inner().expect("no panic")));
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} rounds went wrong:\n{}", failures.len(), failures.join("\n"));
}

/// Points of a class to try, of `count` that there are.
fn points(class: Class, count: u32) -> Vec<u32> {
    let stride = std::env::var("STRIDE").ok().and_then(|s| s.parse().ok());
    let stride = stride.unwrap_or_else(|| count.div_ceil(POINTS)).max(1);
    if stride > 1 {
        say(&format!("{class:?}: every {stride}th of {count} calls (STRIDE=1 tries all)"));
    }
    (1..=count).step_by(stride as usize).collect()
}

fn try_all(class: Class) {
    let clean = Round::run(None, End::Unmount);
    assert!(clean.wrong.is_empty(), "without a fault: {:#?}", clean.wrong);
    let (while_mounted, count) = clean.counts[&class];
    let mut todo = vec![];
    for n in points(class, count) {
        let mut errors = vec![libc::EIO, libc::ENOSPC];
        if matches!(class, Class::Write | Class::Sync | Class::Open | Class::Size) {
            errors.push(libc::EINTR);
        }
        if class == Class::Write {
            errors.push(0);
        }
        for error in errors {
            for until in [n, u32::MAX] {
                if error == libc::EINTR && until > n {
                    continue; // Nothing can be done about calls that never succeed.
                }
                let killed = n <= while_mounted && todo.len() % 2 == 0;
                let end = if killed { End::Kill } else { End::Unmount };
                todo.push((Fault { class, from: n, until, error }, end));
            }
        }
    }
    rounds(&format!("{class:?}"), todo);
}

#[test]
fn any_write_may_fail() {
    try_all(Class::Write);
}

#[test]
fn any_sync_may_fail() {
    try_all(Class::Sync);
}

#[test]
fn any_open_may_fail() {
    try_all(Class::Open);
}

#[test]
fn any_change_of_names_may_fail() {
    try_all(Class::Rename);
    try_all(Class::Names);
    try_all(Class::Size);
}
