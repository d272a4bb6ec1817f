//! Telling what was renamed from what went and came.

use std::collections::HashSet;

use crate::model::{Ino, Kind};

use super::changes::Changes;
use super::differing::{DROPPED, Differing, Lone, NONE, NOWHERE, changed_at_place};
use super::facts::{Digest, Facts, digest};

/// By what something is known again under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The inode, else the content: both trees are of one dataset.
    InodeOrContent,
    /// The content.
    Content,
}

/// Pairs what was removed with what was added. A file without bytes is like any other such, and not known again by
/// that.
pub fn pair(mut differing: Differing, by: By) -> Changes {
    let again = inodes_that_came(&differing);
    settle_replaced(&mut differing, |old, new| {
        old.kind == Kind::Dir || new.kind == Kind::Dir || again.contains(&old.ino)
    });
    let mut changes = Changes::new(differing);
    // What is certain first, then by content: where several were alike, the one of the same name.
    if by == By::InodeOrContent {
        pair_by(&mut changes, |of, lone| Some(key(&[&of.facts_of(lone).ino.0.to_le_bytes()])));
        pair_by(&mut changes, |of, lone| {
            (lone.dir != NOWHERE).then(|| key(&[&lone.dir.0.to_le_bytes(), of.paths.name(lone.at)]))
        });
        // What was at the path of a directory that was made again.
        pair_by(&mut changes, |of, lone| Some(of.paths.key(lone.at)));
    }
    pair_by(&mut changes, |of, lone| Some(key(&[&of.facts_of(lone).content()?, of.paths.name(lone.at)])));
    pair_by(&mut changes, |of, lone| of.facts_of(lone).content());
    changes
}

/// Gives what differs as it was found, where it is not all.
pub fn unpaired(mut differing: Differing) -> Changes {
    settle_replaced(&mut differing, |_, _| false);
    Changes::new(differing)
}

fn key(parts: &[&[u8]]) -> Digest {
    digest(&parts.concat())
}

/// Inodes that some path names now and did not before, of those that are no longer at their place.
fn inodes_that_came(differing: &Differing) -> HashSet<Ino> {
    let ino = |lone: &Lone| differing.facts_of(lone).ino;
    let went: HashSet<Ino> =
        differing.replaced.iter().map(|(gone, _)| ino(&differing.gone[*gone as usize])).collect();
    differing.came.iter().map(ino).filter(|ino| went.contains(ino)).collect()
}

/// Where a path names another inode than before, that the one is gone and the other came: each may be known
/// again elsewhere. Not so of a file that is nowhere now: it was replaced, as editors do that save to another name
/// and rename that, and the path was modified, wherever what replaced it was before.
fn settle_replaced(differing: &mut Differing, are_apart: impl Fn(&Facts, &Facts) -> bool) {
    for (gone, came) in std::mem::take(&mut differing.replaced) {
        let (gone, came) = (gone as usize, came as usize);
        let Lone { at, dir, .. } = differing.came[came];
        let old = *differing.facts_of(&differing.gone[gone]);
        let new = *differing.facts_of(&differing.came[came]);
        if are_apart(&old, &new) {
            continue;
        }
        (differing.gone[gone].pair, differing.came[came].pair) = (DROPPED, DROPPED);
        if let Some(change) = changed_at_place(&old, &new) {
            differing.add_both((&old, &new), at, dir, change);
        }
    }
}

/// Something that is gone, as it is looked for.
struct Gone {
    key: Digest,
    /// How many before it are ordered before it.
    at: u32,
    /// Of the first of those with the same key: how many of them are known again.
    taken: u32,
}

/// Pairs what has the same key, each time the first by path.
fn pair_by(changes: &mut Changes, key: impl Fn(&Differing, &Lone) -> Option<Digest>) {
    let mut gone: Vec<Gone> = Vec::new();
    for (at, lone) in changes.gone().filter(|(_, lone)| lone.pair == NONE) {
        gone.extend(key(changes.of(), lone).map(|key| Gone { key, at, taken: 0 }));
    }
    if gone.is_empty() {
        return;
    }
    gone.sort_unstable_by_key(|gone| (gone.key, gone.at));
    for number in 0..changes.count() {
        let Some(lone) = changes.came(number).filter(|lone| lone.pair == NONE) else { continue };
        let Some(key) = key(changes.of(), lone) else { continue };
        let first = gone.partition_point(|gone| gone.key < key);
        let Some(taken) = gone.get(first).filter(|gone| gone.key == key).map(|gone| gone.taken) else {
            continue;
        };
        if let Some(was) = gone.get(first + taken as usize).filter(|gone| gone.key == key) {
            changes.pair(number, was.at);
            gone[first].taken += 1;
        }
    }
}
