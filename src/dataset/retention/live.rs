//! Which chunks and manifest nodes are needed: by a version that is kept, a pending change, the live tree or an
//! open file.
//!
//! A value that an inode got at version `a` is seen, in a history without rollbacks, by the versions from `a` up
//! to where it is superseded or loses its last name, and by no later one. So it is enough to look at the first
//! version from `a` on that is kept; with rollbacks, at the first one in each stretch between two of them from
//! which `a` is seen. A value that a kept version itself recorded is needed without a look.
//!
//! To find out whether some objects are needed, all values are gone through, but of most no more than which chunks
//! they name: whether a value is needed is asked of those alone that have one of the objects. Manifests have to be
//! read, each node once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{Content, Ino, Inode, Op, Piece, Span, VersionNo, VersionSet, View};
use crate::store::error::chain;
use crate::store::{Need, Sought, Store};

use super::super::dataset::Dataset;
use super::super::error::Result;
use super::super::frozen::Frozen;
use super::walk::{Walker, long_xattrs};

/// Trees of versions kept in mind.
const TREES_MAX: usize = 4096;

/// A value that an inode has, or had.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The inode.
    pub ino: Ino,
    /// The version that recorded it.
    pub at: VersionNo,
    /// The value.
    pub inode: &'a Inode,
}

/// Which values of inodes are needed by the versions that are kept.
pub struct Keeping<'a> {
    dataset: &'a Dataset,
    pruned: VersionSet,
    newest: VersionNo,
    /// Stretches of versions between rollbacks, and what the first version of each sees.
    stretches: Vec<(Span, View)>,
    trees: HashMap<VersionNo, Frozen>,
}

/// The stretches of versions between rollbacks, up to `newest`, and what the first version of each sees.
pub(super) fn stretches(dataset: &Dataset, newest: VersionNo) -> Vec<(Span, View)> {
    let rollbacks = dataset.rollbacks();
    let starts = rollbacks.iter().map(|(version, _)| *version).filter(|version| version.0 > 1);
    let starts: Vec<VersionNo> = std::iter::once(VersionNo(1)).chain(starts).collect();
    let ends = starts.iter().skip(1).map(|next| VersionNo(next.0 - 1)).chain([newest]);
    let stretch =
        |(first, last): (&VersionNo, VersionNo)| (Span { first: *first, last }, View::of(*first, &rollbacks));
    starts.iter().zip(ends).map(stretch).collect()
}

impl<'a> Keeping<'a> {
    /// Of a dataset of which these versions are pruned.
    pub fn new(dataset: &'a Dataset, pruned: VersionSet) -> Keeping<'a> {
        let (newest, trees) = (dataset.newest(), HashMap::new());
        Keeping { dataset, pruned, newest, stretches: stretches(dataset, newest), trees }
    }

    /// Whether a version that is kept sees the value that `ino` got at version `at`.
    pub fn needs(&mut self, ino: Ino, at: VersionNo) -> Result<bool> {
        Ok(self.needed_by(ino, at)?.is_some())
    }

    /// A version that is kept and sees the value that `ino` got at version `at`.
    pub fn needed_by(&mut self, ino: Ino, at: VersionNo) -> Result<Option<VersionNo>> {
        if at > self.newest || !self.pruned.contains(at) {
            return Ok(Some(at));
        }
        for n in 0..self.stretches.len() {
            let (span, view) = &self.stretches[n];
            if span.last < at || (at < span.first && !view.contains(at)) {
                continue;
            }
            // Every version of a stretch sees what the ones before it there recorded.
            let kept = self.pruned.first_outside(at.max(span.first));
            if kept <= span.last && self.sees(kept, ino, at)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    fn sees(&mut self, version: VersionNo, ino: Ino, at: VersionNo) -> Result<bool> {
        if self.trees.len() >= TREES_MAX {
            self.trees.clear();
        }
        let tree = self.trees.entry(version).or_insert_with(|| self.dataset.frozen(version));
        tree.sees(ino, at)
    }
}

/// Marks what comes and goes with no version telling of it. It is to be come by before the values of versions are
/// gone through, where it goes, but its manifests are walked after these: most are theirs too.
pub struct Passing<'a> {
    sought: &'a mut dyn Sought,
    trees: &'a mut Vec<Content>,
}

impl<'a> Passing<'a> {
    /// Marks these objects, and puts contents with manifests to be walked into `trees`.
    pub fn new(sought: &'a mut dyn Sought, trees: &'a mut Vec<Content>) -> Passing<'a> {
        Passing { sought, trees }
    }

    fn inode(&mut self, inode: &Inode) {
        if let Some(chunk) = long_xattrs(inode) {
            self.sought.mark(&chunk.hash.0, Need::Passing);
        }
        inode.content().into_iter().for_each(|content| self.content(content));
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Empty => {}
            Content::One(chunk) => self.sought.mark(&chunk.hash.0, Need::Passing),
            Content::Few(list) => self.pieces(list),
            Content::Tree(_) => self.trees.push(content.clone()),
        }
    }

    fn pieces(&mut self, list: &[Piece]) {
        for chunk in list.iter().filter_map(Piece::chunk) {
            self.sought.mark(&chunk.hash.0, Need::Passing);
        }
    }
}

/// Marks those of the objects sought that these datasets, which are to be all of the store, need if `planned` says
/// which versions of one of them are pruned besides. `extra`: contents that are open without being part of any
/// tree. Gives how many values of inodes were gone through.
///
/// # Errors
/// Where anything that is needed cannot be read, so that it is not known what else is.
pub fn find_needed(
    store: &Store,
    datasets: &[Arc<Dataset>],
    planned: Option<(&Dataset, &VersionSet)>,
    extra: &[Content],
    sought: &mut dyn Sought,
) -> Result<u64> {
    if sought.is_settled() {
        return Ok(0);
    }
    let mut trees = Vec::new();
    let mut passing = Passing::new(sought, &mut trees);
    extra.iter().for_each(|content| passing.content(content));
    // Where things come from first, where they go last: what moves meanwhile is met at one of the two.
    datasets.iter().try_for_each(|dataset| dataset.each_held(&mut passing))?;
    each_copied(store, &mut passing);
    let (mut walker, mut values) = (Walker::new(store), 0);
    for dataset in datasets {
        let mut passing = Passing::new(sought, &mut trees);
        for pending in store.pending(dataset.id()) {
            for op in pending?.1? {
                if let Op::Inode { inode, .. } = op {
                    passing.inode(&inode);
                }
            }
        }
        let mut pruned = dataset.pruned();
        if let Some((of, more)) = planned
            && of.id() == dataset.id()
        {
            pruned = pruned.with(more.spans().iter().copied());
        }
        let keeping = Keeping::new(dataset, pruned);
        values += find_in_values(dataset, keeping, &mut walker, sought)?;
    }
    walk_passing(trees, &mut walker, sought)?;
    Ok(values)
}

/// Marks what the values need that a kept version sees. Gives how many were gone through.
fn find_in_values(
    dataset: &Dataset,
    mut keeping: Keeping<'_>,
    walker: &mut Walker<'_>,
    sought: &mut dyn Sought,
) -> Result<u64> {
    let mut values = 0;
    dataset.each_value(&mut |value| {
        if sought.is_settled() {
            return Ok(ControlFlow::Break(()));
        }
        values += 1;
        let Value { ino, at, inode } = value;
        if walker.may_hold(inode, sought) && keeping.needs(ino, at)? {
            walker.inode(inode, &mut |hash, _| {
                sought.mark(hash, Need::Version);
                Ok(())
            })?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(values)
}

/// Marks what was copied between files while it was found out what these hold: the one it was copied to may have
/// been looked at before, and the one it was copied from be another since.
fn each_copied(store: &Store, passing: &mut Passing<'_>) {
    store.copied().iter().for_each(|content| passing.content(content));
}

/// Marks what the manifests name that something passing has.
fn walk_passing(trees: Vec<Content>, walker: &mut Walker<'_>, sought: &mut dyn Sought) -> Result<()> {
    let mut mark = |hash: &[u8; 32], _| {
        sought.mark(hash, Need::Passing);
        Ok(())
    };
    trees.iter().try_for_each(|content| walker.content(content, &mut mark))
}

/// Whether an inode has anything in the store.
fn holds(inode: &Inode) -> bool {
    inode.content().is_some_and(|content| *content != Content::Empty) || long_xattrs(inode).is_some()
}

impl Dataset {
    /// Calls `f` with every value that an inode ever had and that holds anything in the store, until that is
    /// enough.
    ///
    /// The records of versions have them one after the other, so that all of an import are read at once: a million
    /// values take a tenth of the time that they take from the index.
    pub(super) fn each_value(&self, f: &mut dyn FnMut(Value<'_>) -> Result<ControlFlow<()>>) -> Result<()> {
        let mut unreadable = VersionSet::default();
        for at in self.store.version_numbers(self.id(), VersionNo(1), usize::MAX)? {
            let ops = match self.ops(at) {
                Ok(ops) => ops,
                Err(error) => {
                    log::warn!("values are read from the index: {}", chain(&error));
                    unreadable = unreadable.with([Span { first: at, last: at }]);
                    continue;
                }
            };
            for op in ops {
                if let Op::Inode { ino, inode } = op?
                    && holds(&inode)
                    && f(Value { ino, at, inode: &inode })?.is_break()
                {
                    return Ok(());
                }
            }
        }
        if unreadable.is_empty() { Ok(()) } else { self.each_indexed(&unreadable, f) }
    }

    /// The same, of what these versions recorded, by what the index has of it.
    fn each_indexed(
        &self,
        versions: &VersionSet,
        f: &mut dyn FnMut(Value<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut failed = Ok(());
        self.store.each_inode(self.id(), &mut |ino, at, inode| {
            if !versions.contains(at) || !holds(&inode) {
                return ControlFlow::Continue(());
            }
            f(Value { ino, at, inode: &inode }).unwrap_or_else(|error| {
                failed = Err(error);
                ControlFlow::Break(())
            })
        })?;
        failed
    }

    /// What the live tree and open files hold.
    fn each_held(&self, passing: &mut Passing<'_>) -> Result<()> {
        let files = self.read(|live| Ok(live.open_files()))?;
        for (_, file) in files {
            let (contents, pieces) = file.references();
            contents.iter().for_each(|content| passing.content(content));
            passing.pieces(&pieces);
        }
        self.read(|live| {
            live.each_inode(&mut |_, inode| passing.inode(inode));
            Ok(())
        })
    }

    /// Whether a version that is kept sees the value that `ino` got at version `at`.
    pub fn needs(&self, ino: Ino, at: VersionNo) -> Result<bool> {
        match self.is_pruned(at) {
            true => Keeping::new(self, self.pruned()).needs(ino, at),
            false => Ok(true),
        }
    }
}
