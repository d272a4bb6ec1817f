//! What versions had that were pruned since the last collection: what may have become garbage by it.
//!
//! Versions form a tree: each but the first has one that it was made from. A value is seen by the version that
//! recorded it and, from there on down, as far as it is not superseded or loses its name. If no version that sees it
//! is kept any more, and one that was pruned just now did, then the way down from this one leads, by pruned versions
//! alone, to one of two ends: a version made from the last of them that does not see the value any more, and which
//! tells so in its record; or a last version that none was made from, and then what was recorded on the way to it
//! is looked at as a whole. So the cost follows the changes of what was pruned.
//!
//! Of a value that another superseded, only what that does not have is told: if it is not needed either, it has an
//! end of its own.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{Content, Dirent, Ino, Inode, Kind, NodeHash, Op, Piece, Span, VersionNo, VersionSet};
use crate::store::manifest::Items;
use crate::store::{Store, Suspects};

use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::super::frozen::Frozen;
use super::walk::{Difference, items, long_xattrs};

/// Finds what else may be garbage, in all datasets: takes out what versions made since the last collection have,
/// and adds what those had that were pruned since.
///
/// # Errors
/// Where a record cannot be read.
pub fn find_suspects(store: &Store, datasets: &[Arc<Dataset>], suspects: &mut Suspects) -> Result<()> {
    for dataset in datasets {
        for number in store.versions_since(suspects, dataset.id())? {
            each_op(dataset, number, &mut |op| match op {
                Op::Inode { inode, .. } => clear_inode(store, &inode, suspects),
                Op::Link { .. } | Op::Unlink { .. } => Ok(()),
            })?;
        }
    }
    let mut difference = Difference::new(store);
    for dataset in datasets {
        let newly = store.pruned_since(suspects, dataset.id())?;
        each_dropped(dataset, &dataset.pruned(), &newly, &mut |lost| {
            difference.inode(lost.inode, lost.next, &mut |hash, _| {
                suspects.add(hash);
                Ok(())
            })
        })?;
    }
    Ok(())
}

fn each_op(dataset: &Dataset, number: VersionNo, f: &mut dyn FnMut(Op) -> Result<()>) -> Result<()> {
    dataset.ops(number)?.try_for_each(|op| f(op?))
}

/// Takes what an inode holds out of the suspects. Below a manifest node that is none of them there is none either:
/// what the node names was needed as long as it was.
fn clear_inode(store: &Store, inode: &Inode, suspects: &mut Suspects) -> Result<()> {
    if let Some(chunk) = long_xattrs(inode) {
        suspects.clear(&chunk.hash.0);
    }
    match inode.content().unwrap_or(&Content::Empty) {
        Content::Empty => {}
        Content::One(chunk) => drop(suspects.clear(&chunk.hash.0)),
        Content::Few(pieces) => clear_pieces(pieces, suspects),
        Content::Tree(tree) => clear_node(store, tree.root, suspects)?,
    }
    Ok(())
}

fn clear_pieces(pieces: &[Piece], suspects: &mut Suspects) {
    for chunk in pieces.iter().filter_map(Piece::chunk) {
        suspects.clear(&chunk.hash.0);
    }
}

fn clear_node(store: &Store, node: NodeHash, suspects: &mut Suspects) -> Result<()> {
    if !suspects.clear(&node.0) {
        return Ok(());
    }
    match items(store, &node)? {
        Items::Pieces(pieces) => clear_pieces(&pieces, suspects),
        // Levels are at most a dozen, which decoding has checked.
        Items::Children(children) => {
            children.iter().try_for_each(|child| clear_node(store, child.hash, suspects))?;
        }
    }
    Ok(())
}

/// A value that may not be needed any more.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    /// The inode that had it.
    pub ino: Ino,
    /// The version that recorded it.
    pub at: VersionNo,
    /// The value.
    pub inode: &'a Inode,
    /// The one in its place, if there is one.
    pub next: Option<&'a Inode>,
}

type Take<'a> = &'a mut dyn FnMut(Lost<'_>) -> Result<()>;

/// Calls `take` with every value that the versions in `newly` saw, which are in `pruned` too, and that no version
/// sees that is not; and perhaps with others.
pub fn each_dropped(
    dataset: &Dataset,
    pruned: &VersionSet,
    newly: &VersionSet,
    take: Take<'_>,
) -> Result<()> {
    if newly.is_empty() {
        return Ok(());
    }
    let rollbacks = dataset.rollbacks();
    for (from, span) in below(pruned, newly, &rollbacks, dataset.newest()) {
        let mut parent = from;
        for number in (span.first.0..=span.last.0).map(VersionNo) {
            if let Some(parent) = parent {
                each_end(dataset, parent, number, take)?;
            }
            parent = Some(number);
        }
        let last = span.last;
        if pruned.contains(last) && is_leaf(last, &rollbacks, dataset.newest()) {
            each_recorded(dataset, last, pruned, &rollbacks, take)?;
        }
    }
    Ok(())
}

type Rollbacks = [(VersionNo, VersionNo)];

/// Whether no version was made from this one.
fn is_leaf(version: VersionNo, rollbacks: &Rollbacks, newest: VersionNo) -> bool {
    let next_is_rollback = rollbacks.binary_search_by_key(&version.next(), |(at, _)| *at).is_ok();
    (version == newest || next_is_rollback) && !rollbacks.iter().any(|(_, base)| *base == version)
}

/// The ways down from the newly pruned versions, as far as all are pruned: for each, the version that its first was
/// made from, if that is on a way too, and its versions, with the one after the last pruned one.
fn below(
    pruned: &VersionSet,
    newly: &VersionSet,
    rollbacks: &Rollbacks,
    newest: VersionNo,
) -> Vec<(Option<VersionNo>, Span)> {
    let mut ways = Vec::new();
    let mut on_way = VersionSet::default();
    let starts = rollbacks.iter().map(|(at, base)| (*at, Some(*base)));
    let starts: Vec<_> = std::iter::once((VersionNo(1), None)).chain(starts).collect();
    for (n, &(start, base)) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(newest, |(next, _)| VersionNo(next.0 - 1));
        let base = base.filter(|base| on_way.contains(*base));
        let mut found = Vec::new();
        if base.is_some() && !pruned.contains(start) {
            found.push((base, Span { first: start, last: start }));
        }
        for run in pruned.spans() {
            let (first, last) = (run.first.max(start), run.last.min(end));
            if first > last {
                continue;
            }
            // What a base on the way leads to is on it from its first; else, from the first that is newly pruned.
            let from_base = base.filter(|_| first == start);
            let from = from_base.map(|_| first).or_else(|| newly.first_from(first));
            if let Some(from) = from.filter(|from| *from <= last) {
                on_way = on_way.with([Span { first: from, last }]);
                found.push((from_base, Span { first: from, last: last.next().min(end) }));
            }
        }
        ways.extend(found);
    }
    ways
}

/// Calls `take` with the values that `parent` saw and `number`, which was made from it, does not.
fn each_end(dataset: &Dataset, parent: VersionNo, number: VersionNo, take: Take<'_>) -> Result<()> {
    let (before, after) = (dataset.frozen(parent), dataset.frozen(number));
    let mut done = HashSet::new();
    each_op(dataset, number, &mut |op| match op {
        Op::Inode { ino, inode } => match before.inode(ino) {
            Ok((at, old)) => take(Lost { ino, at, inode: &old, next: Some(&inode) }),
            Err(Error::Stale) => Ok(()),
            Err(error) => Err(error),
        },
        Op::Link { dir, name, ino, .. } => match before.lookup(dir, &name)?.filter(|was| was.ino != ino) {
            Some(was) => unnamed(&before, &after, was, &mut done, take),
            None => Ok(()),
        },
        Op::Unlink { dir, name } => match before.lookup(dir, &name)? {
            Some(was) => unnamed(&before, &after, was, &mut done, take),
            None => Ok(()),
        },
    })
}

/// What lost a name, and with a directory all below it, unless it has another one.
fn unnamed(
    before: &Frozen,
    after: &Frozen,
    entry: Dirent,
    done: &mut HashSet<Ino>,
    take: Take<'_>,
) -> Result<()> {
    let mut all = vec![entry];
    while let Some(Dirent { ino, kind, .. }) = all.pop() {
        let (at, old) = match before.inode(ino) {
            Ok(found) => found,
            Err(Error::Stale) => continue,
            Err(error) => return Err(error),
        };
        let now = match after.inode(ino) {
            Ok(found) => after.path_of(ino, &found.1)?.map(|_| found),
            Err(Error::Stale) => None,
            Err(error) => return Err(error),
        };
        match now {
            Some((now_at, _)) if now_at == at => continue,
            Some((_, new)) => {
                take(Lost { ino, at, inode: &old, next: Some(&new) })?;
                continue;
            }
            None => take(Lost { ino, at, inode: &old, next: None })?,
        }
        if kind == Kind::Dir && done.insert(ino) {
            all.extend(before.all_entries(ino)?);
        }
    }
    Ok(())
}

/// Calls `take` with the values that a version and those that it was made from recorded, up to one that is kept.
fn each_recorded(
    dataset: &Dataset,
    leaf: VersionNo,
    pruned: &VersionSet,
    rollbacks: &Rollbacks,
    take: Take<'_>,
) -> Result<()> {
    let mut at = leaf;
    while pruned.contains(at) {
        each_op(dataset, at, &mut |op| match op {
            Op::Inode { ino, inode } => take(Lost { ino, at, inode: &inode, next: None }),
            Op::Link { .. } | Op::Unlink { .. } => Ok(()),
        })?;
        let base = rollbacks.binary_search_by_key(&at, |(at, _)| *at).map(|n| rollbacks[n].1);
        at = base.unwrap_or(VersionNo(at.0 - 1));
    }
    Ok(())
}
