//! Power fails at every point of a script.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use stratafs::model::DatasetName;
use tempfile::TempDir;

use crate::harness::command::run;
use crate::harness::noise;

use super::disk::{Disk, Id};
use super::judge::{Outcome, Reference, judge, seen};
use super::opened::{Opened, open, open_repo};
use super::recording::{Recording, durable_script, script};
use super::rig::{Rig, memory, say};
use super::script::Node;
use super::shim::{Class, Fault};
use super::trace::{Event, events};
use super::variants::{Snapshot, Variant, hash, write as write_snapshot};

/// A disk's content to open; which time something was to be opened this is.
struct Job {
    hash: [u8; 32],
    snapshot: Snapshot,
    count: usize,
}

/// How it came that a store is opened.
struct Failure {
    /// Where in the trace.
    at: usize,
    variant: Variant,
    /// What was then on the disk.
    hash: [u8; 32],
}

/// A script that was recorded once, for all tests.
fn recording() -> &'static Recording {
    static RECORDED: OnceLock<Recording> = OnceLock::new();
    RECORDED.get_or_init(|| Recording::of(script()))
}

fn variants(at: usize, few: bool) -> Vec<Variant> {
    use Variant::*;
    let some = std::env::var("POWER_VARIANTS").ok().and_then(|n| n.parse().ok());
    let some = some.unwrap_or(if few { 2 } else { 12 });
    let seed = std::env::var("POWER_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut all = vec![Synced, All, LastTorn, LastFirst, IndexLost, LogLost, LogOnly, Killed, KilledTorn];
    all.extend((0..some).map(|n: u64| Some(seed << 40 | (at as u64) << 12 | n)));
    all
}

/// Goes through a trace, and gives each content the disk may have had to be opened; says which where, and
/// at how many points.
fn fail_everywhere(
    mut disk: Disk,
    events: &[Event],
    few: bool,
    mut job: impl FnMut(Job),
) -> (Vec<Failure>, usize) {
    let power = PowerLoss::new();
    let (mut failures, mut known, mut points) = (vec![], HashSet::new(), 0);
    for (at, event) in events.iter().enumerate() {
        if !disk.take(event) {
            continue;
        }
        points += 1;
        let last: Option<Id> = disk.written(event);
        for variant in variants(at, few) {
            if last.is_none() && matches!(variant, Variant::LastTorn | Variant::KilledTorn) {
                continue;
            }
            let snapshot = power.found(variant, &disk, last);
            let hash = hash(&snapshot);
            failures.push(Failure { at, variant, hash });
            if known.insert(hash) {
                job(Job { hash, snapshot, count: known.len() });
            }
        }
    }
    (failures, points)
}

/// How a disk that power failed on differs for who opens it: the machine was started again.
struct PowerLoss {
    boot: Vec<u8>,
}

impl PowerLoss {
    fn new() -> PowerLoss {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the machine has a boot id");
        PowerLoss { boot: boot.trim().as_bytes().to_vec() }
    }

    /// What is found on the disk.
    fn found(&self, variant: Variant, disk: &Disk, last: Option<Id>) -> Snapshot {
        let mut snapshot = variant.of(disk, last);
        if variant.power_failed()
            && let Some(Some(marker)) = snapshot.get_mut("store/open")
            && marker.starts_with(&self.boot)
        {
            marker[..self.boot.len()].fill(b'0');
        }
        snapshot
    }
}

/// Opens disks' contents until there are no more.
fn open_all(
    jobs: &Mutex<Receiver<Job>>,
    reference: &Reference<'_>,
    outcomes: &Mutex<HashMap<[u8; 32], Outcome>>,
) {
    let dir = TempDir::with_prefix_in("strata-power-", memory()).expect("make a directory");
    loop {
        let job = jobs.lock().expect("no panic").recv();
        let Ok(Job { hash, snapshot, count }) = job else { return };
        write_snapshot(&snapshot, dir.path());
        let store = dir.path().join("store");
        let mut outcome = open(&store).and_then(|opened| seen(reference, &opened).map(|seen| (seen, opened)));
        // It can be written on; that takes a while, so not each time.
        if let (0, Ok((_, opened))) = (count % 8, &outcome)
            && let Err(error) = goes_on(&store, opened)
        {
            outcome = Err(error);
        }
        outcomes.lock().expect("no panic").insert(hash, outcome.map(|(seen, _)| seen));
    }
}

fn goes_on(store: &std::path::Path, before: &Opened) -> Result<(), String> {
    let name = DatasetName::new(b"after").expect("a name");
    let made = open_repo(store).and_then(|repo| {
        repo.create(name, 0o755, 0, 0)?;
        repo.finish()
    });
    made.map_err(|e| format!("cannot be written on: {e}"))?;
    let mut after = open(store)?;
    after.datasets.remove("after");
    // What waited for a cut may have been cut.
    let same = after.datasets == before.datasets && after.log.starts_with(&before.log);
    if same && after.log.len() > before.log.len() {
        Ok(())
    } else {
        Err("is another once it was written on".into())
    }
}

/// What came of failing everywhere.
#[derive(Default)]
struct Tally {
    points: usize,
    failures: usize,
    disks: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.failures += other.failures;
        self.disks += other.disks;
        self.wrong.extend(other.wrong);
    }

    fn report(&self, name: &str) {
        let Tally { points, failures, disks, wrong } = self;
        say(&format!(
            "{name}: {points} points, {failures} failures, {disks} different disks, {} wrong",
            wrong.len()
        ));
        let shown: Vec<_> = wrong.iter().take(20).collect();
        assert!(wrong.is_empty(), "{} of {failures} are wrong, among them {shown:#?}", wrong.len());
    }
}

/// Fails everywhere in a trace and judges what is then there.
fn check(disk: Disk, events: &[Event], reference: &Reference<'_>) -> Tally {
    let outcomes = Mutex::new(HashMap::new());
    let (sender, jobs) = sync_channel(8);
    let jobs = Mutex::new(jobs);
    let (failures, points) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| open_all(&jobs, reference, &outcomes));
        }
        let sender = sender;
        let few = reference.within.is_some();
        fail_everywhere(disk, events, few, |job| sender.send(job).expect("somebody opens it"))
    });
    let outcomes = outcomes.into_inner().expect("no panic");
    let mut wrong = vec![];
    for Failure { at, variant, hash } in &failures {
        let (script_at, failed) = reference.within.unwrap_or((*at, false));
        let said = match &outcomes[hash] {
            Ok(seen) => judge(reference.recording, script_at, failed || variant.power_failed(), seen),
            Err(error) => Some(error.clone()),
        };
        if let Some(said) = said {
            let event: String = format!("{:?}", events[*at]).chars().take(80).collect();
            let within = reference.within.map_or(String::new(), |(at, _)| format!(" within {at}"));
            wrong.push(format!("{variant:?} at {at}{within} ({event}): {said}"));
        }
    }
    Tally { points, failures: failures.len(), disks: outcomes.len(), wrong }
}

/// Wherever in a script power fails, and whatever part of what was not synced the disk then has (pages
/// lost or torn, names missing, the index lost or ahead of the log), the store opens without help; its log
/// is a prefix of what was written, every record whole; everything that was acknowledged as durable is
/// there, with the same ids; nothing is there in part; and it can be written on. The same where only the
/// daemon dies: there everything acknowledged is there.
#[test]
fn power_may_fail_at_any_point() {
    let recording = recording();
    let reference = Reference { recording, log: &recording.end.log, within: None };
    check(Disk::new(), &recording.events, &reference).report("faults, power");
}

/// With `--sync=always` everything acknowledged is there, wherever power fails.
#[test]
fn with_sync_always_no_power_failure_loses_anything() {
    let recording = Recording::of(durable_script());
    let reference = Reference { recording: &recording, log: &recording.end.log, within: None };
    check(Disk::new(), &recording.events, &reference).report("faults, power with --sync=always");
}

/// The same while a store is opened that power failed on, or whose daemon was killed.
#[test]
fn power_may_fail_again_while_the_store_is_opened() {
    /// How many points of the script are looked at.
    const POINTS: usize = 10;
    let recording = recording();
    let (mut disk, power, mut tally) = (Disk::new(), PowerLoss::new(), Tally::default());
    let writes = recording.events.iter().filter(|event| matches!(event, Event::Write { .. })).count();
    let mut nth = 0_usize;
    for (at, event) in recording.events.iter().enumerate() {
        disk.take(event);
        let Some(last) = disk.written(event) else { continue };
        nth += 1;
        if !nth.is_multiple_of(writes / POINTS) {
            continue;
        }
        // A different one each time.
        let seed = at as u64;
        let kinds =
            [Variant::KilledTorn, Variant::Some(seed), Variant::Killed, Variant::LastTorn, Variant::All];
        let variant = kinds[nth / (writes / POINTS) % kinds.len()];
        let snapshot = power.found(variant, &disk, Some(last));
        let found = if variant.power_failed() {
            let mut found = Disk::new();
            snapshot.iter().for_each(|(path, bytes)| found.put(path, bytes.clone()));
            found
        } else {
            let mut left = disk.clone().left();
            if variant == Variant::KilledTorn {
                left.tear(last);
            }
            left
        };
        let rig = Rig::holding(&snapshot);
        if !rig.mount.store().join("strata.json").exists() {
            continue;
        }
        let mut verify = rig.command(&["verify"]);
        rig.shim.on(&mut verify, false);
        run(&mut verify).ok();
        let events = events(&rig.shim.trace());
        let log = open(rig.mount.store()).expect("it opens").log;
        let reference = Reference { recording, log: &log, within: Some((at, variant.power_failed())) };
        tally.add(check(found, &events, &reference));
    }
    tally.report("faults, power within recovery");
}

/// Bytes whose sync failed may be in the system's cache alone, and a later sync says nothing of them. When
/// the store is opened again they are written again: what is acknowledged as durable from then on is, and
/// all before it.
#[test]
fn what_a_failed_sync_lost_is_written_again() {
    let rig = Rig::new(true);
    rig.up(&[]).ok();
    let root = rig.mount.point().join("d");
    let write = |name: &str, sync: bool| {
        let mut file = fs::File::create(root.join(name))?;
        file.write_all(&noise(name.len() as u64, 6000))?;
        if sync { file.sync_all() } else { Ok(()) }
    };
    fs::create_dir(&root).expect("mkdir");
    write("a", true).expect("a sound disk");
    write("bb", false).expect("closing needs no sync");
    rig.shim.only("store/packs");
    rig.shim.arm(Fault { class: Class::Sync, from: 1, until: 1, error: libc::EIO });
    write("ccc", true).expect_err("the sync fails");
    rig.shim.disarm();
    rig.mount.down();
    rig.up(&[]).ok();
    assert!(fs::read(root.join("bb")).is_ok_and(|bytes| bytes == noise(2, 6000)));
    write("dddd", true).expect("the disk is sound again");
    rig.shim.mark("acknowledged");
    rig.mount.kill();
    let mut disk = Disk::new();
    let events = events(&rig.shim.trace());
    for event in events.iter().take_while(|event| !matches!(event, Event::Mark(_))) {
        disk.take(event);
    }
    let power = PowerLoss::new();
    let dir = TempDir::with_prefix_in("strata-power-", memory()).expect("make a directory");
    let variants = [Variant::Synced, Variant::All, Variant::Killed, Variant::IndexLost];
    for variant in variants.into_iter().chain((0..20).map(Variant::Some)) {
        write_snapshot(&power.found(variant, &disk, None), dir.path());
        let opened = open(&dir.path().join("store")).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        let tree = &opened.datasets["d"].tree;
        for name in ["a", "bb", "dddd"] {
            let wanted = Node::File(noise(name.len() as u64, 6000));
            assert!(tree.get(&format!("d/{name}")) == Some(&wanted), "{variant:?}: {name}");
        }
    }
}
