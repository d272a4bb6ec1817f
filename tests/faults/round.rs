//! A round: a script on a mount of which some calls to the disk fail, and what must be so all the same.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rustix::fs::getxattr;
use rustix::process::Signal;

use crate::harness::command::{Ran, run};
use crate::harness::poll;

use super::ledger::{Gone, Held, Ledger};
use super::rig::Rig;
use super::script::{Node, Op, read_tree};
use super::scripts::Script;
use super::shim::{Class, Fault};

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Unmount,
    Kill,
}

/// What a round came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub wrong: Vec<String>,
    pub fired: u32,
    pub hit: String,
    /// Calls of each class until the end of the script, and of the daemon.
    pub counts: BTreeMap<Class, (u32, u32)>,
    pub read_only: bool,
    pub mount_failed: bool,
    pub failed: usize,
}

/// A round under way.
pub struct Round {
    rig: Rig,
    fault: Option<Fault>,
    /// What failed and is to be done again at the end.
    again: Vec<Op>,
    ledger: Ledger,
    out: Outcome,
}

impl Round {
    /// Runs it, and says what was wrong.
    pub fn run(script: Script, fault: Option<Fault>, end: End) -> Outcome {
        let rig = Rig::new(false);
        let (again, ledger, out) = (vec![], Ledger::default(), Outcome::default());
        let mut round = Round { rig, fault, again, ledger, out };
        let (before, under) = script.ops();
        // Counts calls in any case.
        let fault = fault.unwrap_or(Fault { class: Class::Write, from: u32::MAX, until: 0, error: 0 });
        if before.is_empty() {
            round.rig.shim.arm(fault);
        }
        if !round.mount() {
            return round.out;
        }
        if !before.is_empty() {
            before.iter().for_each(|op| round.operation(op));
            round.rig.shim.arm(fault);
        }
        under.iter().for_each(|op| round.operation(op));
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
        // A pack in the making takes the place of one that is whole and durable.
        let of_log = |path: &str| path.contains("packs") && !path.ends_with(".pack.new");
        self.fault.as_ref().is_some_and(hit) && of_log(&self.rig.shim.hit()) && !self.out.mount_failed
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
                let version = self.version(op);
                self.ledger.failed(op, version.as_deref());
                if op.is_retention() {
                    self.again.push(op.clone());
                }
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
            // An index that could not be had at all is tried again after 200 ms.
            std::thread::sleep(std::time::Duration::from_millis(400));
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
        // An index that could not be had at all is tried again in a moment.
        let mut status = self.rig.status();
        for _ in 0..50 {
            if status.is_err() {
                thread::sleep(Duration::from_millis(100));
                status = self.rig.status();
            }
        }
        let status = match status {
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

    fn check_versions(&mut self, when: &str) {
        let mut wrong = vec![];
        for Held { name, tree, pruned, purged, .. } in self.ledger.versions() {
            let point = self.rig.mount.point();
            let top = point.join(name.replacen('@', "/@", 1));
            let is_there = top.is_dir();
            if is_there == (*pruned == Gone::Yes) && *pruned != Gone::Perhaps {
                wrong.push(format!("{when}: {name} is {}there", if is_there { "" } else { "not " }));
            }
            for (path, node) in tree.iter().filter(|_| is_there) {
                let gone = purged.as_ref().filter(|(purged, _)| purged == path).map_or(Gone::No, |p| p.1);
                let fits = match (node, std::fs::read(point.join(path)), gone) {
                    (Node::File(_), Err(error), Gone::Yes | Gone::Perhaps) => {
                        error.raw_os_error() == Some(libc::EIO)
                    }
                    (Node::File(bytes), Ok(found), Gone::No | Gone::Perhaps) => found == *bytes,
                    (Node::Dir, ..) => point.join(path).is_dir(),
                    _ => false,
                };
                if !fits {
                    wrong.push(format!("{when}: {name} has no whole {path} ({gone:?})"));
                }
            }
        }
        self.out.wrong.extend(wrong);
    }

    /// No pack has the bytes of what was purged.
    fn check_purged(&mut self) {
        let mut wrong = vec![];
        for Held { name, tree, purged, .. } in self.ledger.versions() {
            let Some((path, Gone::Yes)) = purged else { continue };
            let Some(Node::File(bytes)) = tree.get(path) else { continue };
            let packs = std::fs::read_dir(self.rig.mount.store().join("packs")).expect("list the packs");
            for pack in packs.map(|entry| entry.expect("an entry").path()) {
                let held = std::fs::read(&pack).expect("read a pack");
                if bytes.chunks(20_000).any(|part| held.windows(64).any(|window| window == &part[..64])) {
                    wrong.push(format!(
                        "{} has the bytes of {path} of {name}, which was purged",
                        pack.display()
                    ));
                }
            }
        }
        self.out.wrong.extend(wrong);
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
        self.check_versions("mounted anew");
        self.check_verify("mounted anew");
        for op in std::mem::take(&mut self.again) {
            match op.run(self.rig.mount.point(), |arguments| self.rig.command(arguments), "") {
                Ok(()) => {
                    let version = self.version(&op);
                    self.ledger.done(&op, version);
                }
                Err(error) => self.wrong(format!("{op:?} fails when it is done again: {error}")),
            }
            self.check_versions("once what failed was done again");
            self.check_verify("once what failed was done again");
        }
        self.check_purged();
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
