//! Eighteen processes use one mount at the same time, in every way there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::{Figures, Policy, Subject, pruned_versions, read_journals, version_tree};
use crate::harness::*;
use crate::journal::readings;
use crate::listing::Lister;
use crate::memory::peak;
use crate::process::Crowd;
use crate::{say, setting};

/// Dataset that several write to and that is rolled back meanwhile.
const STORM: &str = "storm";
/// Dataset with one writer, of which versions are pruned meanwhile; those of the storm's are too.
const THINNED: &str = "thinned";

/// Every file of every version of the storm's dataset is one that somebody wrote.
fn check_storm(m: &Mount, lister: &mut Lister, dir: &Path) -> u64 {
    let mut written = BTreeSet::from([crate::listing::content_hash(b""), "dir".to_owned()]);
    for entry in fs::read_dir(dir).expect("list the journals") {
        let text = fs::read_to_string(entry.expect("entry").path()).unwrap_or_default();
        for line in text.lines().filter(|line| line.starts_with("[\"w\"")) {
            let entry: Value = serde_json::from_str(line).expect("a journal has JSON lines");
            written.insert(entry[1].as_str().expect("a hash").to_owned());
        }
    }
    let (versions, pruned) = (m.existing(STORM).versions(), pruned_versions(m, STORM));
    for version in (1..=versions).filter(|version| !pruned.contains(version)) {
        for (path, value) in version_tree(m, lister, STORM, version).entries() {
            assert!(written.contains(value), "{STORM}@v{version}/{path} has what nobody wrote: {value}");
        }
    }
    versions - pruned.len() as u64
}

/// Readers saw each version as it is now, if it is there.
fn check_readings(m: &Mount, lister: &mut Lister, dir: &Path) -> usize {
    let mut digests = BTreeMap::new();
    let pruned: BTreeMap<&str, _> = [STORM, THINNED].map(|name| (name, pruned_versions(m, name))).into();
    let mut readings = readings(dir);
    readings.retain(|of| pruned.get(&*of.dataset).is_none_or(|pruned| !pruned.contains(&of.version)));
    for reading in &readings {
        let now = digests
            .entry((reading.dataset.clone(), reading.version))
            .or_insert_with(|| version_tree(m, lister, &reading.dataset, reading.version).text_digest());
        assert_eq!(*now, reading.digest, "{}@v{} is as a reader saw it", reading.dataset, reading.version);
    }
    readings.len()
}

/// Eighteen processes write, rename, remove, map, read versions, commit, roll back, make batches, set policies,
/// make, rename and archive datasets, prune and pin versions, give back space, hash and verify at once. None fails
/// or hangs; afterwards every version that is left is what its writers made and what its readers saw, and the store
/// verifies.
#[test]
fn a_crowd_of_processes_finds_every_version_as_it_was_made() {
    let seconds: u64 = setting("SOAK_CROWD_SECONDS", 12);
    let seed: u64 = setting("SOAK_SEED", 1);
    let m = Mount::unmounted_for(Duration::from_secs(600 + 10 * seconds));
    m.up(&[]);
    let dir = m.outside();
    let mut subjects = vec![
        Subject::new(&dir, "one", Policy::EveryWrite, 1),
        Subject::new(&dir, "two", Policy::EveryWrite, 1),
        Subject::new(&dir, "burst", Policy::Settle, 1),
        Subject::new(&dir, "manual", Policy::Manual, 1),
        // Its policy is changed all the time, so not every state need be in a version.
        Subject::new(&dir, "shared", Policy::Manual, 4),
        Subject::new(&dir, THINNED, Policy::EveryWrite, 1),
    ];
    subjects.iter().for_each(|subject| subject.make(&m));
    let storm = m.dataset(STORM);
    ["a", "b"].iter().for_each(|name| storm.mkdir(name));

    let mut crowd = Crowd::default();
    let common = json!({"seconds": seconds, "pause": 0.04, "patience": 600, "batches": true});
    crowd.start_writers(&m, &dir, &subjects, seed, &common);
    let mut other = |role: &str, number: u64, more: Value| {
        let mut config = common.clone();
        config["role"] = json!(role);
        config["seed"] = json!(seed * 1000 + 900 + number);
        config["journal"] = json!(dir.join(format!("{role}-{number}.journal")));
        for (key, value) in more.as_object().expect("an object") {
            config[key] = value.clone();
        }
        crowd.start(&m, &dir, config);
    };
    (0..3).for_each(|n| other("storm", n, json!({"dataset": STORM})));
    let datasets = json!(["one", "two", "burst", "manual", "shared", STORM, THINNED]);
    (3..6).for_each(|n| other("reader", n, json!({"datasets": datasets})));
    other("keeper", 8, json!({"datasets": [STORM, THINNED]}));
    for (n, dataset, rollbacks) in [(6, "shared", false), (7, STORM, true)] {
        let own = format!("own-{n}");
        other(
            "clerk",
            n,
            json!({"dataset": dataset, "own": own, "rollbacks": rollbacks, "verify_every": 60}),
        );
    }
    assert_eq!(crowd.len(), 18);
    crowd.wait(Duration::from_secs(seconds + 180), false);
    let peak = peak(&m);

    read_journals(&mut subjects, f64::INFINITY);
    let (mut lister, mut random, mut total) = (Lister::default(), Random::new(seed), Figures::default());
    for subject in &mut subjects {
        let all: Vec<_> = subject.journals.iter().map(|j| j.returned_by(f64::INFINITY)).collect();
        total.add(subject.check(&m, &mut lister, &all, 0.0, 200, &mut random));
    }
    assert_eq!(total.lost, 0, "nothing that had returned is lost");
    let thinned = pruned_versions(&m, THINNED).len();
    assert!(thinned > 0, "versions were pruned");
    let storm = check_storm(&m, &mut lister, &dir);
    let read = check_readings(&m, &mut lister, &dir);
    let mut verify: Command = m.command(&["verify"]);
    let verified = command::try_run(&mut verify, Duration::from_secs(1800)).expect("verify ends").ok();
    let log = fs::read_to_string(m.store().join("daemon.log")).unwrap_or_default();
    // Who looked up a file of a version before that was pruned may come to read it when its content is gone.
    let is_wrong = |line: &&str| line.contains("ERROR") && !line.contains("reclaimed since");
    let wrong: Vec<&str> = log.lines().filter(is_wrong).collect();
    assert!(!log.contains("panicked") && wrong.is_empty(), "the daemon's log: {log}");
    say(format!(
        "crowd: 18 processes for {seconds} s (seed {seed}); {} versions compared with the journals, {} again, {storm} \
         of a dataset rolled back under its writers, {thinned} of another pruned; {read} readings of versions confirmed; differences: 0; the \
         daemon's peak memory: {} MiB; {}",
        total.compared,
        total.again,
        peak >> 20,
        verified.trim()
    ));
}
