//! Power fails at every point of a script.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use stratafs::dataset::Repo;
use stratafs::model::DatasetName;
use tempfile::TempDir;

use super::disk::{Disk, Id};
use super::opened::{Opened, open};
use super::recording::{Recording, State, script};
use super::rig::{memory, say};
use super::script::{Node, Op, is_within};
use super::trace::Event;
use super::variants::{Snapshot, Variant, hash, write};

/// What a disk's content came to when it was opened.
type Outcome = Result<Seen, String>;

/// How far the script got, by dataset: the numbers of the states it may be in, and whether half-way to
/// the next.
type Seen = BTreeMap<&'static str, Vec<(usize, bool)>>;

/// A disk's content to open; which time something was to be opened this is.
struct Job {
    hash: [u8; 32],
    snapshot: Snapshot,
    count: usize,
}

/// Where and how power failed, and what was then on the disk.
struct Failure {
    point: usize,
    variant: Variant,
    hash: [u8; 32],
}

fn variants(point: usize) -> Vec<Variant> {
    use Variant::*;
    let some = std::env::var("POWER_VARIANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let seed = std::env::var("POWER_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut all = vec![Synced, All, LastTorn, IndexLost, LogLost, LogOnly, Killed, KilledTorn];
    all.extend((0..some).map(|n: u64| Some(seed << 40 | (point as u64) << 12 | n)));
    all
}

/// Goes through a trace, and gives each content the disk may have had to be opened; which where.
fn fail_everywhere(
    disk: &mut Disk,
    events: &[Event],
    power: &PowerLoss,
    mut job: impl FnMut(Job),
) -> (Vec<Failure>, usize) {
    let (mut failures, mut known, mut points) = (vec![], HashMap::new(), 0);
    for (point, event) in events.iter().enumerate() {
        if !disk.take(event) {
            continue;
        }
        points += 1;
        let last: Option<Id> = disk.written(event);
        for variant in variants(point) {
            if last.is_none() && matches!(variant, Variant::LastTorn | Variant::KilledTorn) {
                continue;
            }
            let mut snapshot = variant.of(disk, last);
            if variant.power_failed() {
                power.change(&mut snapshot);
            }
            let hash = hash(&snapshot);
            failures.push(Failure { point, variant, hash });
            let count = known.len();
            known.entry(hash).or_insert_with(|| job(Job { hash, snapshot, count }));
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

    fn change(&self, snapshot: &mut Snapshot) {
        let Some(Some(marker)) = snapshot.get_mut("store/open") else { return };
        if marker.starts_with(&self.boot) {
            marker[..self.boot.len()].fill(b'0');
        }
    }
}

/// Opens disks' contents until there are no more.
fn open_all(
    jobs: &Mutex<Receiver<Job>>,
    recording: &Recording,
    outcomes: &Mutex<HashMap<[u8; 32], Outcome>>,
) {
    let dir = TempDir::with_prefix_in("strata-power-", memory()).expect("make a directory");
    loop {
        let job = jobs.lock().expect("no panic").recv();
        let Ok(Job { hash, snapshot, count }) = job else { return };
        write(&snapshot, dir.path());
        let store = dir.path().join("store");
        let mut outcome = open(&store).and_then(|opened| seen(recording, &opened).map(|seen| (seen, opened)));
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
    let made = Repo::open(store, false).and_then(|repo| {
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

/// What a store that was opened shows of the script.
fn seen(recording: &Recording, opened: &Opened) -> Outcome {
    if !recording.end.log.starts_with(&opened.log) {
        let common = recording.end.log.iter().zip(&opened.log).take_while(|(a, b)| a == b).count();
        return Err(format!("of {} records only the first {common} are a prefix", opened.log.len()));
    }
    if let Some(name) = opened.datasets.keys().find(|name| !recording.states.contains_key(name.as_str())) {
        return Err(format!("there is a dataset {name}"));
    }
    let mut all = Seen::new();
    for (dataset, states) in &recording.states {
        let found = opened.datasets.get(*dataset).map(|settings| settings.state());
        let mut fits = vec![];
        for (n, (_, state)) in states.iter().enumerate() {
            if *state == found {
                fits.push((n, false));
            }
            let next = states.get(n + 1).and_then(|(deed, _)| recording.deeds[(*deed)?].op.as_ref());
            if let (Some(state), Some(op)) = (state, next)
                && half_way(state, op).is_some_and(|half| Some(half) == found)
            {
                fits.push((n, true));
            }
        }
        if fits.is_empty() {
            let listed: Vec<_> = found.iter().flat_map(|state| state.tree.keys()).collect();
            return Err(format!("{dataset} is as it never was: {listed:?}"));
        }
        all.insert(dataset, fits);
    }
    Ok(all)
}

/// What may be seen while an operation is under way: a file made or emptied by being opened.
fn half_way(state: &State, op: &Op) -> Option<State> {
    let Op::Write(path, ..) = op else { return None };
    let mut half = state.clone();
    half.tree.insert((*path).to_owned(), Node::File(vec![]));
    is_within(path, op.dataset()).then_some(half)
}

/// What of the script is not there though it must be, or cannot be there yet.
fn judge(recording: &Recording, failure: &Failure, seen: &Seen) -> Option<String> {
    let done = |n: usize| recording.deeds[n].done <= failure.point;
    let syncs = |op: &Option<Op>| op.as_ref().is_none_or(Op::syncs);
    // The last moment at which everything acknowledged before was made durable.
    let acknowledged = recording.deeds.iter().filter(|deed| syncs(&deed.op) && deed.done <= failure.point);
    let durable = acknowledged.map(|deed| deed.begun).max().unwrap_or(0);
    let must = |n: usize| {
        let deed = &recording.deeds[n];
        done(n) && (!failure.variant.power_failed() || deed.done < durable || syncs(&deed.op))
    };
    for (dataset, states) in &recording.states {
        let deed_of = |n: usize| states[n].0;
        let least = (0..states.len()).filter(|n| deed_of(*n).is_some_and(must)).max().unwrap_or(0);
        let begun = |n: &usize| deed_of(*n).is_none_or(|deed| recording.deeds[deed].begun <= failure.point);
        let most = (0..states.len()).filter(begun).max().unwrap_or(0);
        let fits = &seen[dataset];
        let fit = |(n, half): &(usize, bool)| (least..=most).contains(n) && (!half || *n < most);
        if !fits.iter().any(fit) {
            return Some(format!("{dataset} is as after its deeds {fits:?}, not between {least} and {most}"));
        }
    }
    None
}

/// Fails power everywhere in a trace and judges what is then there.
fn check(name: &str, mut disk: Disk, events: &[Event], recording: &Recording, at: Option<usize>) {
    let outcomes = Mutex::new(HashMap::new());
    let (sender, jobs) = sync_channel(8);
    let jobs = Mutex::new(jobs);
    let power = PowerLoss::new();
    let (failures, points) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| open_all(&jobs, recording, &outcomes));
        }
        let sender = sender;
        fail_everywhere(&mut disk, events, &power, |job| sender.send(job).expect("somebody opens it"))
    });
    let outcomes = outcomes.into_inner().expect("no panic");
    let mut wrong = vec![];
    for failure in &failures {
        let judged = Failure { point: at.unwrap_or(failure.point), ..*failure };
        let said = match &outcomes[&failure.hash] {
            Ok(seen) => judge(recording, &judged, seen),
            Err(error) => Some(error.clone()),
        };
        if let Some(said) = said {
            let event: String = format!("{:?}", events[failure.point]).chars().take(80).collect();
            wrong.push(format!("{:?} at {} ({event}): {said}", failure.variant, failure.point));
        }
    }
    say(&format!(
        "{name}: {points} points, {} failures, {} different disks, {} wrong",
        failures.len(),
        outcomes.len(),
        wrong.len()
    ));
    let shown: Vec<_> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} of {} are wrong, among them {shown:#?}", wrong.len(), failures.len());
}

/// Wherever in a script power fails, and whatever part of what was not synced the disk then has (pages
/// lost or torn, names missing, the index lost or ahead of the log), the store opens without help; its log
/// is a prefix of what was written, every record whole; everything that was acknowledged as durable is
/// there, with the same ids; nothing is there in part; and it can be written on. The same where only the
/// daemon dies: there everything acknowledged is there.
#[test]
fn power_may_fail_at_any_point() {
    let recording = Recording::of(script());
    check("power", Disk::new(), &recording.events, &recording, None);
}
