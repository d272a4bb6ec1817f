//! Checking what a bundle says, before anything of it is kept: that each version's changes come to the tree
//! that its record names, and that tags and annotations are of its versions.
//!
//! The tree is kept in memory and goes from version to version. Where a version restores another, those in
//! between are taken back; what that needs is noted of the versions that some rollback passes, and of no
//! others.

use std::collections::{HashMap, HashSet};

use super::frame;
use super::given_up::left_out;
use super::read::{Bundle, CONTENT};
use crate::dataset::dataset::{Dataset, Rollback};
use crate::dataset::error::{Error, Result};
use crate::dataset::replay::{Journal, Replay, Turn};
use crate::model::{Ino, Op, VersionNo, View, show_path};

impl Bundle {
    /// Checks versions, tags and annotations. `dataset` is what it is to be imported into, where that is there:
    /// of that are the trees of the versions up to the one that it begins after.
    ///
    /// # Errors
    /// Says which version is not what it says, and where in the bundle it is.
    pub fn check(
        &self,
        dataset: Option<&Dataset>,
        watch: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut trees = Trees::new(self, dataset)?;
        let mut frames = self.frames()?;
        let mut lacks = HashSet::new();
        while let Some((kind, payload)) = frames.next_frame_but(CONTENT)? {
            match kind {
                frame::LEFT_OUT => lacks = left_out(&payload),
                frame::VERSION => trees.version(payload, frames.begins, &std::mem::take(&mut lacks))?,
                frame::TAG => {
                    let tag = self.tag(&payload)?;
                    if tag.version.is_some_and(|version| version > self.last() || version == VersionNo::EMPTY)
                    {
                        return Err(self.bad(&format!("tag {} names no version of it", tag.name)));
                    }
                }
                frame::ANNOTATION => {
                    let version = self.annotation(&payload)?.version;
                    if version > self.last() {
                        return Err(
                            self.bad(&format!("an annotation is one of {version}, which is not in it"))
                        );
                    }
                }
                _ => {}
            }
            watch(self.len, 2 * self.len)?;
        }
        Ok(())
    }
}

/// The trees of a bundle's versions, one after the other.
struct Trees<'a> {
    bundle: &'a Bundle,
    dataset: Option<&'a Dataset>,
    /// Of all versions up to its last.
    rollbacks: Vec<Rollback>,
    tree: Replay,
    /// The newest version that is not of the bundle and that `tree` descends from.
    below: VersionNo,
    /// Of versions that some rollback passes, the last one that does.
    passed: HashMap<VersionNo, VersionNo>,
    /// Of these, what takes back what they changed; or where that is done, what does it again.
    journals: HashMap<VersionNo, Journal>,
}

/// From the tree of one version to that of another.
struct Way {
    /// The versions of the bundle that are to be taken back, newest first.
    back: Vec<VersionNo>,
    /// The newest version that is not of the bundle and that the other descends from.
    below: VersionNo,
    /// The versions of the bundle that are to be done again, oldest first.
    forth: Vec<VersionNo>,
}

impl<'a> Trees<'a> {
    fn new(bundle: &'a Bundle, dataset: Option<&'a Dataset>) -> Result<Trees<'a>> {
        let before = dataset.map(|dataset| dataset.rollbacks());
        let before = before.iter().flat_map(|all| all.iter()).filter(|(at, _)| *at <= bundle.since());
        let rollbacks = before.chain(&bundle.rollbacks).copied().collect();
        let mut trees = Trees {
            bundle,
            dataset,
            rollbacks,
            tree: Replay::default(),
            below: bundle.since(),
            passed: HashMap::new(),
            journals: HashMap::new(),
        };
        for &(number, restored) in &bundle.rollbacks {
            let way = trees.way(number, restored);
            trees.passed.extend(way.back.into_iter().chain(way.forth).map(|version| (version, number)));
        }
        trees.tree = trees.load(bundle.since())?;
        Ok(trees)
    }

    /// The tree of a version that is not of the bundle.
    fn load(&self, version: VersionNo) -> Result<Replay> {
        let Some(dataset) = self.dataset.filter(|_| version > VersionNo::EMPTY) else {
            return Ok(Replay::default());
        };
        let frozen = dataset.frozen(version);
        let mut tree = Replay::load(&frozen)?;
        if frozen.is_patchy() || tree.snapshot()? != dataset.snapshot(version)? {
            return Err(self.bundle.bad(&format!(
                "it builds on {version} of {}, whose tree is damaged here (`strata verify` tells how): import a bundle \
                 of all versions under the name of a new dataset",
                dataset.name()
            )));
        }
        Ok(tree)
    }

    /// The way of the rollback that makes version `number`.
    fn way(&self, number: VersionNo, restored: VersionNo) -> Way {
        let since = self.bundle.since();
        let from = View::of(VersionNo(number.0 - 1), &self.rollbacks);
        let to = View::of(restored, &self.rollbacks);
        let common = from.common(&to).max(since);
        let mut forth: Vec<VersionNo> = to.versions_after(common).collect();
        forth.reverse();
        let below = to.spans().iter().find(|span| span.first <= since);
        let below = below.map_or(VersionNo::EMPTY, |span| span.last.min(since));
        Way { back: from.versions_after(common).collect(), below, forth }
    }

    /// Makes the tree that of an earlier version.
    fn restore(&mut self, number: VersionNo, restored: VersionNo) -> Result<()> {
        let Way { back, below, forth } = self.way(number, restored);
        back.iter().for_each(|version| self.pass(*version));
        if below != self.below {
            self.tree = self.load(below)?;
            self.below = below;
        }
        forth.iter().for_each(|version| self.pass(*version));
        for version in back.iter().chain(&forth) {
            if self.passed.get(version) == Some(&number) {
                self.journals.remove(version);
            }
        }
        Ok(())
    }

    /// Takes back what a version changed, or does it again.
    fn pass(&mut self, version: VersionNo) {
        if let Some(journal) = self.journals.remove(&version) {
            let journal = self.tree.take_back(journal);
            self.journals.insert(version, journal);
        }
    }

    /// Goes on to the next version, whose frame is at `begins`; of these inodes the bundle lacks what it
    /// recorded.
    fn version(&mut self, payload: Vec<u8>, begins: u64, lacks: &HashSet<Ino>) -> Result<()> {
        let mut reader = self.bundle.reader(payload)?;
        let head = reader.head().clone();
        let number = head.number;
        let bad = |what: &str| self.bundle.bad(&format!("{number} (at byte {begins}) was altered: {what}"));
        if head.base.next() != number {
            self.restore(number, head.base)?;
        }
        let is_passed = self.passed.contains_key(&number);
        if is_passed {
            self.tree.note();
        }
        let mut turn = Turn::default();
        for op in &mut reader {
            let op = op.map_err(|e| bad(&e.to_string()))?;
            self.tree.change(&op, &mut turn);
            if let Op::Inode { ino, .. } = op {
                self.tree.set_lacking(ino, lacks.contains(&ino));
            }
        }
        self.tree.end(turn);
        if is_passed {
            self.journals.insert(number, self.tree.noted());
        }
        let snapshot = match self.tree.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error @ Error::NotFound(_)) => return Err(bad(&format!("in its tree, {error}"))),
            Err(error) => return Err(error),
        };
        if snapshot != head.snapshot {
            return Err(bad(&format!("its tree is {snapshot}, its record says {}", head.snapshot)));
        }
        if !self.bundle.given_up.pruned.contains(number)
            && let Some(path) = self.tree.lacking()
        {
            return Err(bad(&format!("what it has at /{} was left out", show_path(&path))));
        }
        let mut wrong =
            head.trees.iter().filter(|(dir, hash)| self.tree.tree(*dir).is_some_and(|t| t != *hash));
        match wrong.next() {
            Some((dir, _)) => {
                Err(bad(&format!("the hash of directory {} is not what its record says", dir.0)))
            }
            None => Ok(()),
        }
    }
}
