//! The journals that writers keep (see `processes/`), and the states their trees went through.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::listing::{Digest, Tree};

/// A change that a writer began.
#[derive(Debug)]
pub struct Change {
    /// What it makes of paths: a hash, `dir`, `->target`; nothing.
    pub delta: BTreeMap<String, Option<String>>,
    /// The version it makes, where that is known beforehand.
    pub version: Option<u64>,
    /// The hash of the file that it closes.
    pub closes: Option<String>,
    /// When it had returned, in seconds of the monotonic clock.
    pub returned: Option<f64>,
}

/// A version that a reader read.
#[derive(Debug)]
pub struct Reading {
    /// Of this dataset.
    pub dataset: String,
    /// Its number.
    pub version: u64,
    /// Its tree.
    pub digest: String,
}

/// What one writer did to its part of a dataset, from an empty tree on.
#[derive(Debug)]
pub struct Journal {
    /// The writer's part: nothing for all of the dataset, or a directory.
    pub prefix: String,
    /// All its changes, the first being number 1.
    pub changes: Vec<Change>,
    path: PathBuf,
    read: usize,
}

impl Journal {
    /// An empty one, to be kept in `dir`.
    pub fn new(dir: &Path, dataset: &str, prefix: &str) -> Journal {
        let path = dir.join(format!("{dataset}-{prefix}.journal"));
        Journal { prefix: prefix.into(), changes: Vec::new(), path, read: 0 }
    }

    /// Where the writer keeps it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is more in it than was taken in.
    pub fn has_grown(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() > self.read as u64)
    }

    /// Takes in what was written since. Gives, for each fsync or commit that had returned by `end`, the last
    /// change it was about and when it had begun. What returned later counts as not returned.
    pub fn read(&mut self, end: f64) -> Vec<(usize, f64)> {
        let by_end = |time: &Value| time.as_f64().filter(|time| *time <= end);
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let mut durable = Vec::new();
        for line in text[self.read..].lines() {
            let entry: Value = serde_json::from_str(line).expect("a journal has JSON lines");
            let number = || entry[1].as_u64().expect("a number") as usize;
            match entry[0].as_str() {
                Some("b") => {
                    assert_eq!(
                        number(),
                        self.changes.len() + 1,
                        "{}: changes are in order",
                        self.path.display()
                    );
                    let delta = entry[3].as_object().expect("a delta").iter();
                    let delta =
                        delta.map(|(path, v)| (path.clone(), v.as_str().map(str::to_owned))).collect();
                    let closes = entry[5].as_str().map(str::to_owned);
                    self.changes.push(Change { delta, version: entry[4].as_u64(), closes, returned: None });
                }
                Some("a") => self.changes[number() - 1].returned = by_end(&entry[2]),
                Some("d") if by_end(&entry[3]).is_some() => {
                    durable.push((number(), entry[2].as_f64().expect("a time")));
                }
                _ => {}
            }
        }
        self.read = text.len();
        durable
    }

    /// The number of the last change that had returned, at `time` at the latest.
    pub fn returned_by(&self, time: f64) -> usize {
        let returned = |change: &Change| change.returned.is_some_and(|at| at <= time);
        self.changes.iter().rposition(returned).map_or(0, |at| at + 1)
    }

    /// Forgets the changes after number `last`: they were lost, and numbers go on from there.
    pub fn cut(&mut self, last: usize) {
        self.changes.truncate(last);
    }
}

/// Goes through the states of a journal's tree in order.
#[derive(Debug)]
pub struct Cursor<'a> {
    journal: &'a Journal,
    /// The number of the change that made this state; 0 for the empty tree.
    pub number: usize,
    /// The tree, with the paths it has in the dataset.
    pub tree: Tree,
    /// The newest version that is known to have been made by then.
    pub version: u64,
}

impl<'a> Cursor<'a> {
    /// At the start.
    pub fn new(journal: &'a Journal) -> Cursor<'a> {
        Cursor { journal, number: 0, tree: Tree::default(), version: 0 }
    }

    /// The journal's part of the dataset.
    pub fn prefix(&self) -> &'a str {
        &self.journal.prefix
    }

    /// Goes to the next state; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(change) = self.journal.changes.get(self.number) else { return false };
        for (path, value) in &change.delta {
            let path = match self.journal.prefix.as_str() {
                "" => path.clone(),
                prefix => format!("{prefix}/{path}"),
            };
            self.tree.set(path, value.clone());
        }
        self.version = change.version.unwrap_or(self.version);
        self.number += 1;
        true
    }

    /// Goes to state `number`.
    pub fn go_to(&mut self, number: usize) {
        while self.number < number && self.step() {}
    }

    /// Goes on to the first state from here on that has this digest; false where there is none.
    pub fn find(&mut self, digest: Digest) -> bool {
        while self.tree.digest() != digest {
            if !self.step() {
                return false;
            }
        }
        true
    }
}

/// What readers noted in the journals below `dir`.
pub fn readings(dir: &Path) -> Vec<Reading> {
    let mut readings = Vec::new();
    for entry in fs::read_dir(dir).expect("list the journals") {
        let text = fs::read_to_string(entry.expect("entry").path()).expect("read a journal");
        for line in text.lines().filter(|line| line.starts_with("[\"r\"")) {
            let entry: Value = serde_json::from_str(line).expect("a journal has JSON lines");
            readings.push(Reading {
                dataset: entry[1].as_str().expect("a dataset").to_owned(),
                version: entry[2].as_u64().expect("a version"),
                digest: entry[3].as_str().expect("a digest").to_owned(),
            });
        }
    }
    readings
}
