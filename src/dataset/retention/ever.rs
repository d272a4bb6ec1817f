//! What versions ever had at or below a path.
//!
//! A path is followed by name, as its history is: what was renamed to it, into a directory of that path, or
//! with one of the directories above, counts for the versions in which it was there, and for no others. So it
//! is found out of each directory in which versions it was at or below the path, from there down, and of each
//! file which of its values these versions see. Every name and every value is looked at once, however many
//! versions there are.

use std::collections::BTreeMap;

use crate::model::{Content, Ino, Kind, Name, Span, VersionNo, VersionSet, View};
use crate::store::Written;

use super::super::dataset::Dataset;
use super::super::error::Result;
use super::live::stretches;

/// What was at or below a path.
#[derive(Debug, Default)]
pub struct Found {
    /// The contents of files, some of them more than once.
    pub contents: Vec<Content>,
    /// Number of files, each counted once whatever its names.
    pub files: u64,
}

/// Inodes, their kinds, and the versions in which they were somewhere.
type Named = BTreeMap<Ino, (Kind, Vec<Span>)>;

/// Finds out what versions ever had at or below paths.
pub struct Ever<'a> {
    dataset: &'a Dataset,
    newest: VersionNo,
    times: Times,
}

impl<'a> Ever<'a> {
    /// Of the versions that a dataset has now.
    pub fn new(dataset: &'a Dataset) -> Ever<'a> {
        let newest = dataset.newest();
        Ever { dataset, newest, times: Times { stretches: stretches(dataset, newest) } }
    }

    /// What was at or below `path` in any version that is kept or was pruned; `None` where nothing ever was.
    pub fn at(&self, path: &[Name]) -> Result<Option<Found>> {
        let all = Span { first: VersionNo(1), last: self.newest };
        let mut named = Named::from([(Ino::ROOT, (Kind::Dir, vec![all]))]);
        for name in path {
            let mut next = Named::new();
            for (dir, (kind, versions)) in named {
                if kind == Kind::Dir {
                    let (store, id, key) = (&self.dataset.store, self.dataset.id(), name.key());
                    let entries = store.entry_versions(id, dir, key, self.newest, usize::MAX)?;
                    self.times.add_named(&entries, &VersionSet::of(versions), &mut next);
                }
            }
            named = next;
        }
        if named.is_empty() { Ok(None) } else { self.below(named).map(Some) }
    }

    /// What is at or below these inodes in the versions in which they count.
    fn below(&self, named: Named) -> Result<Found> {
        let (mut todo, mut done) = (named, BTreeMap::<Ino, VersionSet>::new());
        let mut files = BTreeMap::<Ino, Vec<Span>>::new();
        while let Some((ino, (kind, versions))) = todo.pop_first() {
            if kind == Kind::File {
                files.entry(ino).or_default().extend(versions);
                continue;
            }
            // One may be come by again, with other versions; and in a store of somebody else's be within
            // itself.
            let known = done.entry(ino).or_default();
            let fresh = VersionSet::of(versions).without(known);
            if kind != Kind::Dir || fresh.is_empty() {
                continue;
            }
            *known = known.with(fresh.spans().iter().copied());
            self.dataset.store.each_entry(self.dataset.id(), ino, &mut |entries| {
                self.times.add_named(entries, &fresh, &mut todo);
            })?;
        }
        let mut found = Found { files: files.len() as u64, ..Found::default() };
        for (ino, versions) in files {
            let values =
                self.dataset.store.inode_versions(self.dataset.id(), ino, self.newest, usize::MAX)?;
            let seen = self.times.seen(&values, &VersionSet::of(versions));
            found.contents.extend(seen.into_iter().filter_map(|(_, inode)| inode.content().cloned()));
        }
        Ok(found)
    }
}

/// When what versions recorded is seen: from the one that did up to where another takes its place, and again
/// after a rollback to one of these.
struct Times {
    /// Stretches of versions between rollbacks, and what the first version of each sees.
    stretches: Vec<(Span, View)>,
}

impl Times {
    /// Of what was recorded of one thing, newest first, what these versions see, and which of them.
    fn seen<'r, T>(&self, recorded: &'r [(VersionNo, T)], versions: &VersionSet) -> Vec<(Span, &'r T)> {
        let mut seen = Vec::new();
        for (stretch, view) in &self.stretches {
            if versions.first_from(stretch.first).is_none_or(|first| first > stretch.last) {
                continue;
            }
            let mut last = stretch.last;
            let mut take = |first: VersionNo, value: &'r T| {
                let span = VersionSet::of([Span { first, last }]).and(versions);
                seen.extend(span.spans().iter().map(|span| (*span, value)));
                last = VersionNo(first.0 - 1);
            };
            let up_to = |version: VersionNo| recorded.partition_point(|(at, _)| *at > version);
            for (at, value) in &recorded[up_to(stretch.last)..up_to(stretch.first)] {
                take(*at, value);
            }
            let before = view.spans().iter().find_map(|span| {
                let (at, value) = recorded.get(up_to(span.last))?;
                (*at >= span.first).then_some(value)
            });
            before.into_iter().for_each(|value| take(stretch.first, value));
        }
        seen
    }

    /// Adds what a name names in these versions, by what versions wrote of it.
    fn add_named(&self, entries: &[Written], versions: &VersionSet, to: &mut Named) {
        for (span, entry) in self.seen(entries, versions) {
            if let Some(entry) = entry {
                to.entry(entry.ino).or_insert_with(|| (entry.kind, Vec::new())).1.push(span);
            }
        }
    }
}
