//! Compares what is in a mount with what the writers' journals say.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::harness::{Mount, Random, poll};
use crate::journal::{Change, Cursor, Journal};
use crate::listing::{Digest, Lister, Tree};

/// How a dataset's versions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    EveryWrite,
    Settle,
    Manual,
}

impl Policy {
    /// As `strata set` takes it.
    pub fn text(self) -> &'static str {
        match self {
            Policy::EveryWrite => "every-write",
            Policy::Settle => "settle=100ms",
            Policy::Manual => "manual",
        }
    }

    /// As the processes takes it.
    pub fn word(self) -> &'static str {
        self.text().split('=').next().unwrap_or_default()
    }
}

/// A dataset, the journals of its writers, and what its versions were when they were last looked at.
#[derive(Debug)]
pub struct Subject {
    pub name: String,
    pub policy: Policy,
    pub journals: Vec<Journal>,
    seen: BTreeMap<u64, Digest>,
    /// State of each journal in the newest version of `seen`.
    reached: Vec<usize>,
}

/// Figures of a check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Versions that there are.
    pub versions: u64,
    /// Versions compared with the journals, and those compared with what they were before.
    pub compared: u64,
    pub again: u64,
    /// Changes that had returned and are gone.
    pub lost: u64,
    /// Longest time before the end at which a change that is gone had returned, in seconds.
    pub lost_for: f64,
}

impl Figures {
    /// Adds those of another dataset or round.
    pub fn add(&mut self, other: Figures) {
        self.versions += other.versions;
        self.compared += other.compared;
        self.again += other.again;
        self.lost += other.lost;
        self.lost_for = self.lost_for.max(other.lost_for);
    }
}

impl Subject {
    /// A dataset with one writer, or, with several, a directory for each.
    pub fn new(dir: &Path, name: &str, policy: Policy, writers: usize) -> Subject {
        let prefix = |n| if writers == 1 { String::new() } else { format!("p{n}") };
        let journals: Vec<_> = (0..writers).map(|n| Journal::new(dir, name, &prefix(n))).collect();
        let (reached, seen) = (vec![0; writers], BTreeMap::new());
        Subject { name: name.into(), policy, journals, seen, reached }
    }

    /// Makes the dataset.
    pub fn make(&self, m: &Mount) {
        let d = m.dataset(&self.name);
        d.policy(self.policy.text());
        for journal in self.journals.iter().filter(|j| !j.prefix.is_empty()) {
            d.mkdir(&journal.prefix);
        }
    }

    /// Where each journal's part is at: its last change, and the version that made.
    pub fn positions(&self) -> Vec<(usize, u64)> {
        let last = |journal: &Journal| {
            let version = journal.changes.iter().rev().find_map(|change| change.version);
            (journal.changes.len(), version.unwrap_or(0))
        };
        self.journals.iter().map(last).collect()
    }

    /// Compares everything, the journals having been read: the live tree, in which each journal has to be
    /// at least at the change in `least`, and every version not seen before; of the others, `sample`.
    /// What was lost is cut off the journals; `end` is when the daemon or machine went.
    pub fn check(
        &mut self,
        m: &Mount,
        lister: &mut Lister,
        least: &[usize],
        end: f64,
        sample: usize,
        random: &mut Random,
    ) -> Figures {
        let live = lister.list(&m.point().join(&self.name), false);
        let live = live.unwrap_or_else(|e| panic!("list {}: {e}", self.name));
        let (versions, pruned) = self.dense(m);
        let mut figures = Figures { versions, ..Figures::default() };
        let at = self.locate(&live, versions, least);
        for (journal, at) in self.journals.iter_mut().zip(&at) {
            for change in &journal.changes[*at..] {
                if let Some(returned) = change.returned {
                    figures.lost += 1;
                    figures.lost_for = figures.lost_for.max(end - returned);
                }
            }
            journal.cut(*at);
        }
        figures.compared = self.compare(m, lister, versions, &pruned);
        // Of changes that ended where they began, a file made and removed again say, it cannot be told whether
        // they were lost: no version is asked for what was in between.
        self.reached = at;
        self.seen.retain(|version, _| !pruned.contains(version));
        figures.again = self.compare_again(m, lister, sample, random);
        figures
    }

    /// The number of versions, which are without gaps; and those that were pruned.
    fn dense(&self, m: &Mount) -> (u64, BTreeSet<u64>) {
        let listed = listed(m, &self.name);
        let numbers: Vec<u64> = listed.iter().map(|(number, _)| *number).collect();
        let newest = numbers.len() as u64;
        assert!(numbers.iter().copied().eq((1..=newest).rev()), "{}: versions are without gaps", self.name);
        (newest, pruned(listed))
    }

    /// Finds the change that each journal's part of the live tree is at: the last one that made such a tree
    /// (a file made and removed again leaves the same).
    fn locate(&self, live: &Tree, versions: u64, least: &[usize]) -> Vec<usize> {
        let known = self.is_told();
        let mut all = Vec::new();
        for (journal, &least) in self.journals.iter().zip(least) {
            let part = live.part(&journal.prefix);
            let mut cursor = Cursor::new(journal);
            cursor.go_to(least);
            let (first, version) = (cursor.tree.clone(), cursor.version);
            let mut at = None;
            while cursor.find(part.digest()) {
                if !known || cursor.version == versions {
                    at = Some(cursor.number);
                }
                if !cursor.step() {
                    break;
                }
            }
            let Some(at) = at else {
                panic!(
                    "{}/{}: the live tree (at v{versions}) is at none of the changes {least} to {}; compared with \
                     the first of these (at v{version}):\n{}\n{}",
                    self.name,
                    journal.prefix,
                    journal.changes.len(),
                    part.differences(&first),
                    origins(journal, &part, &first)
                );
            };
            all.push(at);
        }
        all
    }

    /// Whether the journal tells beforehand which change makes which version.
    fn is_told(&self) -> bool {
        self.policy != Policy::Settle && self.journals.len() == 1
    }

    /// Compares each version that was not seen before with the states of the journals: it has to be the
    /// state that the version's number was told for, or else one that comes no earlier than that of the
    /// version before. All states up to the last closed one have to have been kept.
    fn compare(&mut self, m: &Mount, lister: &mut Lister, versions: u64, pruned: &BTreeSet<u64>) -> u64 {
        let from = self.seen.last_key_value().map_or(0, |(v, _)| *v) + 1;
        let mut cursors: Vec<Cursor<'_>> = self.journals.iter().map(Cursor::new).collect();
        for (cursor, at) in cursors.iter_mut().zip(&self.reached) {
            cursor.go_to(*at);
        }
        let mut kept = HashSet::new();
        let known = self.is_told();
        for version in (from..=versions).filter(|version| !pruned.contains(version)) {
            let tree = version_tree(m, lister, &self.name, version);
            for cursor in &mut cursors {
                if known {
                    while cursor.version < version && cursor.step() {}
                }
                let part = tree.part(cursor.prefix());
                let before = (cursor.number, cursor.tree.clone());
                // Where the number is told there is one state that it can be.
                let found =
                    if known { cursor.tree.digest() == part.digest() } else { cursor.find(part.digest()) };
                assert!(
                    found && (!known || cursor.version == version),
                    "{}@v{version}/{} is not change {}, nor any after it:\n{}",
                    self.name,
                    cursor.prefix(),
                    before.0,
                    part.differences(&before.1)
                );
            }
            kept.extend(tree.entries().values().cloned());
            self.seen.insert(version, tree.digest());
        }
        if self.policy != Policy::Manual && pruned.is_empty() {
            for (cursor, journal) in cursors.iter().zip(&self.journals) {
                let closed = journal.changes[..cursor.number].iter().filter_map(|c| c.closes.as_ref());
                let new = closed.skip(self.reached_closes(journal));
                let missing: Vec<_> = new.filter(|hash| !kept.contains(*hash)).collect();
                assert!(
                    missing.is_empty(),
                    "{}: states at a close that no version has: {missing:?}",
                    self.name
                );
            }
        }
        self.reached = cursors.iter().map(|cursor| cursor.number).collect();
        versions + 1 - from - pruned.range(from..).count() as u64
    }

    /// How many closes there are up to where a journal was when the versions were last compared.
    fn reached_closes(&self, journal: &Journal) -> usize {
        let at = self.journals.iter().position(|j| std::ptr::eq(j, journal)).map_or(0, |n| self.reached[n]);
        journal.changes[..at].iter().filter(|c| c.closes.is_some()).count()
    }

    /// Compares some of the versions with what they were when they were first seen.
    fn compare_again(&self, m: &Mount, lister: &mut Lister, sample: usize, random: &mut Random) -> u64 {
        let count = self.seen.len().min(sample);
        let seen: Vec<(&u64, &Digest)> = self.seen.iter().collect();
        for _ in 0..count {
            let (version, digest) = seen[random.below(seen.len())];
            let tree = version_tree(m, lister, &self.name, *version);
            assert_eq!(tree.digest(), *digest, "{}@v{version} is as it was", self.name);
        }
        count as u64
    }
}

/// Which changes the entries of a tree come from that another has not.
fn origins(journal: &Journal, tree: &Tree, other: &Tree) -> String {
    let differing = tree.entries().iter().filter(|(path, value)| other.entries().get(*path) != Some(*value));
    let origin = |(path, value): (&String, &String)| {
        let by = |change: &Change| change.delta.values().any(|v| v.as_ref() == Some(value));
        let changes: Vec<_> = (1..).zip(&journal.changes).filter(|(_, c)| by(c)).map(|(n, _)| n).collect();
        format!("{path} is as of the changes {changes:?}")
    };
    differing.map(origin).collect::<Vec<_>>().join("\n")
}

/// The versions of a dataset, newest first, and whether each was pruned.
fn listed(m: &Mount, dataset: &str) -> Vec<(u64, bool)> {
    let lines = m.strata(&["log", dataset, "--json"]).ok();
    let version = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("log prints JSON lines");
        let number = record["version"].as_str().and_then(|v| v[1..].parse().ok());
        (number.expect("versions are spelled vN"), !record["pruned"].is_null())
    };
    lines.lines().map(version).collect()
}

fn pruned(listed: Vec<(u64, bool)>) -> BTreeSet<u64> {
    listed.into_iter().filter(|(_, pruned)| *pruned).map(|(number, _)| number).collect()
}

/// The versions of a dataset that were pruned.
pub fn pruned_versions(m: &Mount, dataset: &str) -> BTreeSet<u64> {
    pruned(listed(m, dataset))
}

/// The tree of a version.
pub fn version_tree(m: &Mount, lister: &mut Lister, dataset: &str, version: u64) -> Tree {
    let root = m.point().join(dataset).join(format!("@v{version}"));
    lister.list(&root, true).unwrap_or_else(|e| panic!("list {}: {e}", root.display()))
}

/// Waits until all writers have begun.
pub fn wait_for_writers(subjects: &[Subject]) {
    let journals = subjects.iter().flat_map(|subject| &subject.journals);
    poll("all writers write", || journals.clone().all(Journal::has_grown));
}

/// Reads what the writers wrote to their journals, as of the time `end`. Gives, for each journal of each subject, the last
/// change that is durable: that of its own fsyncs, and all that had returned before the last fsync of
/// anyone began.
pub fn read_journals(subjects: &mut [Subject], end: f64) -> Vec<Vec<usize>> {
    let mut last = 0.0_f64;
    let mut own = Vec::new();
    for subject in &mut *subjects {
        let mut of_subject = Vec::new();
        for journal in &mut subject.journals {
            let durable = journal.read(end);
            last = durable.iter().fold(last, |last, (_, began)| last.max(*began));
            of_subject.push(durable.iter().map(|(number, _)| *number).max().unwrap_or(0));
        }
        own.push(of_subject);
    }
    for (subject, of_subject) in subjects.iter().zip(&mut own) {
        for (journal, least) in subject.journals.iter().zip(of_subject) {
            *least = (*least).max(journal.returned_by(last));
        }
    }
    own
}
