//! Keeps the books of what was acknowledged, where operations may fail: what a path must hold, or may.

use std::collections::BTreeMap;

use super::script::{Node, Op, Tree, is_within};

/// What a path is that an operation failed on.
#[derive(Clone, Debug)]
enum Doubt {
    /// This, or nothing.
    Is(Option<Node>),
    /// A file that was being written anew: the first bytes of these.
    Begins(Vec<u8>),
    /// A file that was being written to: of each byte, what it was or what it was to be.
    Between(Vec<u8>, Vec<u8>),
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What there would be if nothing had failed.
    tree: Tree,
    /// Paths on which something failed.
    doubts: BTreeMap<String, Vec<Doubt>>,
    /// What [`Op::Remember`] noted, and of which version.
    noted: Tree,
    noted_version: Option<String>,
    /// What versions must hold.
    versions: Vec<Held>,
}

/// Whether something was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    No,
    /// It was asked for, and failed.
    Perhaps,
    Yes,
}

/// What must be found by an `@` name.
#[derive(Clone, Debug)]
pub struct Held {
    /// DATASET@NAME
    pub name: String,
    dataset: String,
    /// The number of a version that no tag keeps from being pruned.
    number: Option<u64>,
    /// Paths, the `@` name in them.
    pub tree: Tree,
    /// Whether it was pruned.
    pub pruned: Gone,
    /// The file in it that was purged, if any.
    pub purged: Option<(String, Gone)>,
}

impl Ledger {
    /// Whether the operation depends on nothing that is in doubt.
    pub fn allows(&self, op: &Op) -> bool {
        let paths = op.paths(&self.tree, &self.noted);
        let clear = |path: &String| {
            self.doubts
                .keys()
                .all(|doubt| path != doubt && !is_within(path, doubt) && !is_within(doubt, path))
        };
        let there = match op {
            Op::Edit(path, ..) | Op::Rename(path, _) | Op::Unlink(path) | Op::Rmdir(path) => {
                self.tree.contains_key(*path)
            }
            Op::Rollback(_) => self.noted_version.is_some(),
            _ => true,
        };
        let dataset = op.dataset();
        let has_dataset =
            matches!(op, Op::Mkdir(path) if *path == dataset) || self.tree.contains_key(dataset);
        there && has_dataset && paths.iter().all(clear) && clear(&dataset.to_owned())
    }

    /// The version to go back to.
    pub fn noted_version(&self) -> &str {
        self.noted_version.as_deref().unwrap_or_default()
    }

    /// Enters that an operation was done; `version` is what its dataset was at afterwards, where known.
    pub fn done(&mut self, op: &Op, version: Option<String>) {
        op.apply(&mut self.tree, &self.noted);
        let dataset = op.dataset();
        self.give_up(op, version.as_deref(), Gone::Yes);
        let of_dataset = |(path, _): &(&String, &Node)| {
            is_within(path, dataset) && !self.doubts.keys().any(|d| d == *path || is_within(path, d))
        };
        let now: Tree =
            self.tree.iter().filter(of_dataset).map(|(path, node)| (path.clone(), node.clone())).collect();
        if let Op::Remember(_) = op {
            (self.noted, self.noted_version) = (now, version);
        } else if let Some(version) = version {
            self.must_hold(dataset, &version, now.clone());
            if let Op::Tag(_, tag) = op {
                self.must_hold(dataset, &format!("tag/{tag}"), now);
                let name = format!("{dataset}@{version}");
                let tagged = self.versions.iter_mut().filter(|held| held.name == name);
                tagged.for_each(|held| held.number = None);
            }
        }
    }

    /// Enters what is to be found by an `@` name.
    fn must_hold(&mut self, dataset: &str, at: &str, tree: Tree) {
        let name = |path: String| path.replacen(dataset, &format!("{dataset}/@{at}"), 1);
        let tree = tree.into_iter().map(|(path, node)| (name(path), node)).collect();
        let (name, dataset) = (format!("{dataset}@{at}"), dataset.to_owned());
        if self.versions.iter().any(|held| held.name == name && held.tree == tree) {
            return;
        }
        let number = number_of(at);
        self.versions.push(Held { name, dataset, number, tree, pruned: Gone::No, purged: None });
    }

    /// Enters that what an operation gives up is gone, or perhaps; `newest`: the version its dataset is at, where
    /// known.
    fn give_up(&mut self, op: &Op, newest: Option<&str>, gone: Gone) {
        let newest = newest.and_then(number_of).unwrap_or(u64::MAX);
        let of_dataset = self.versions.iter_mut().filter(|held| held.dataset == op.dataset());
        match op {
            Op::Prune(_, last) => {
                let is_old = |number: u64| number <= newest.saturating_sub(*last);
                for held in of_dataset.filter(|held| held.number.is_some_and(is_old)) {
                    held.pruned = gone;
                }
            }
            Op::Purge(path) => {
                let (dataset, path) = path.split_once('/').expect("a path in a dataset");
                for held in of_dataset {
                    let at = held.name.trim_start_matches(dataset);
                    let path = format!("{dataset}/{at}/{path}");
                    if held.tree.contains_key(&path) {
                        held.purged = Some((path, gone));
                    }
                }
            }
            _ => {}
        }
    }

    /// Enters that an operation failed; `version` is what its dataset is at, where known.
    pub fn failed(&mut self, op: &Op, version: Option<&str>) {
        self.give_up(op, version, Gone::Perhaps);
        let mut after = self.tree.clone();
        op.apply(&mut after, &self.noted);
        for path in op.paths(&self.tree, &self.noted) {
            let (old, new) = (self.tree.get(&path).cloned(), after.get(&path).cloned());
            let mut may = vec![];
            match (op, &old, &new) {
                (Op::Write(..), _, Some(Node::File(bytes))) => may.push(Doubt::Begins(bytes.clone())),
                (Op::Edit(..), Some(Node::File(old)), Some(Node::File(new))) => {
                    may.push(Doubt::Between(old.clone(), new.clone()));
                }
                _ => may.push(Doubt::Is(new)),
            }
            may.push(Doubt::Is(old));
            self.doubts.insert(path, may);
        }
    }

    /// What is wrong with the files that are there.
    pub fn wrong(&self, found: &Tree) -> Vec<String> {
        let paths = self.tree.keys().chain(found.keys()).chain(self.doubts.keys());
        let paths: std::collections::BTreeSet<_> = paths.collect();
        let mut wrong = vec![];
        for path in paths {
            let is = found.get(path);
            let fits = match self.doubts.get(path) {
                Some(may) => may.iter().any(|doubt| doubt.allows(is)),
                // Something failed on a directory above: it may be there or not, with all that is in it.
                None if self.doubts.keys().any(|doubt| is_within(path, doubt)) => true,
                None => is == self.tree.get(path),
            };
            if !fits {
                wrong.push(format!("{path} is {}, not {}", show(is), show(self.tree.get(path))));
            }
        }
        wrong
    }

    /// What versions must hold.
    pub fn versions(&self) -> &[Held] {
        &self.versions
    }
}

fn number_of(version: &str) -> Option<u64> {
    version.strip_prefix('v')?.parse().ok()
}

impl Doubt {
    fn allows(&self, is: Option<&Node>) -> bool {
        match (self, is) {
            (Doubt::Is(node), is) => node.as_ref() == is,
            (Doubt::Begins(whole), Some(Node::File(bytes))) => whole.starts_with(bytes),
            (Doubt::Between(old, new), Some(Node::File(bytes))) => {
                let fits = |(i, byte): (usize, &u8)| old.get(i) == Some(byte) || new.get(i) == Some(byte);
                (old.len()..=new.len()).contains(&bytes.len()) && bytes.iter().enumerate().all(fits)
            }
            _ => false,
        }
    }
}

/// A node in few words.
pub fn show(node: Option<&Node>) -> String {
    match node {
        None => "missing".into(),
        Some(Node::Dir) => "a directory".into(),
        Some(Node::Purged) => "a file that was purged".into(),
        Some(Node::File(bytes)) => {
            let hash = blake3::hash(bytes).to_hex();
            format!("a file of {} bytes ({})", bytes.len(), &hash[..8])
        }
    }
}
