//! `summary.json` of `@diff/A..B`.
//!
//! Its text is as long as all that differs, so it is not held: what is read of it is made of the differences.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::dataset::{Caller, Change, ChangeJson, ChangeKind, Dataset, Frozen, Result, Stat, renamed_above};
use crate::model::{Ino, Name, Place};

use super::diffs::{Differences, Of};
use super::way::can_list;

/// After so many changes it is noted again where in the text they are.
const MARKED: usize = 256;

/// A place in the text at which a change begins.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    /// The position of that change, or of one before it that is not shown.
    position: usize,
}

/// A summary, as one user may see it.
#[derive(Debug)]
pub struct DiffSummary {
    differences: Arc<Differences>,
    shown: Shown,
    /// What comes before the changes.
    head: Vec<u8>,
    /// Whether a change is in that.
    has_change: bool,
    tail: Vec<u8>,
    marks: Vec<Mark>,
    size: u64,
}

/// Which changes are shown.
#[derive(Debug)]
struct Shown {
    /// The path of the directory in each of the versions that has it: what is below that.
    above: [Option<Vec<Name>>; 2],
    /// Not what is in these directories of each version.
    hidden: [HashSet<Ino>; 2],
}

impl Shown {
    fn is_below(&self, change: &Change) -> bool {
        let is_below = |side: usize, path: &[Name]| {
            self.above[side].as_ref().is_some_and(|above| path.starts_with(above))
        };
        let side = usize::from(change.change != ChangeKind::Removed);
        is_below(side, &change.path) || change.from.as_ref().is_some_and(|from| is_below(0, from))
    }

    fn has(&self, change: &Change) -> bool {
        let is_hidden =
            |side: usize, place: Option<Place>| place.is_some_and(|at| self.hidden[side].contains(&at.dir));
        self.is_below(change) && !is_hidden(0, change.places.0) && !is_hidden(1, change.places.1)
    }
}

/// Which directories somebody may list.
struct Sight<'a> {
    by: Caller,
    trees: [&'a Frozen; 2],
    known: [HashMap<Ino, bool>; 2],
}

impl Sight<'_> {
    fn look(&mut self, side: usize, place: Option<Place>) -> Result<()> {
        if let Some(Place { dir, .. }) = place
            && !self.known[side].contains_key(&dir)
        {
            self.known[side].insert(dir, can_list(self.trees[side], dir, self.by)?);
        }
        Ok(())
    }
}

impl DiffSummary {
    /// The summary of some differences.
    pub(super) fn of(
        differences: Arc<Differences>,
        dataset: &Dataset,
        (pair, dirs, by): Of,
    ) -> Result<DiffSummary> {
        let trees = [&dataset.frozen(pair.before), &dataset.frozen(pair.after)];
        let mut above = [None, None];
        for ((above, dir), tree) in above.iter_mut().zip(dirs).zip(trees) {
            *above = dir.map(|dir| tree.dir_path(dir)).transpose()?.flatten();
        }
        // What a directory above took along is told of this one alone: the changes are of the whole dataset.
        let above_renamed = match &above[1] {
            Some(path)
                if !path.is_empty() && differences.changes.iter().all(|change| change.path != *path) =>
            {
                renamed_above(trees[0], trees[1], path)?
            }
            _ => None,
        };
        let mut shown = Shown { above, hidden: Default::default() };
        let mut sight = Sight { by, trees, known: Default::default() };
        if by.uid != 0 {
            for change in above_renamed.iter().cloned().chain(differences.changes.iter()) {
                if shown.is_below(&change) {
                    sight.look(0, change.places.0)?;
                    sight.look(1, change.places.1)?;
                }
            }
        }
        for (hidden, known) in shown.hidden.iter_mut().zip(sight.known) {
            hidden.extend(known.into_iter().filter(|(_, may)| !may).map(|(dir, _)| dir));
        }
        let (name, before, after) = (dataset.name(), pair.before, pair.after);
        let name = serde_json::Value::from(name.as_str());
        let mut head =
            format!("{{\"dataset\":{name},\"before\":\"{before}\",\"after\":\"{after}\",\"changes\":[")
                .into_bytes();
        let mut stat = Stat::default();
        let above_renamed = above_renamed.filter(|change| shown.has(change));
        if let Some(change) = &above_renamed {
            stat.add(change.change, change.sizes);
            head.extend(text_of(change, true));
        }
        let has_change = above_renamed.is_some();
        let mut summary = DiffSummary {
            differences,
            shown,
            head,
            has_change,
            tail: Vec::new(),
            marks: Vec::new(),
            size: 0,
        };
        summary.measure(&mut stat);
        summary.tail.extend(b"],\"stat\":");
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut summary.tail, &stat);
        summary.tail.extend(b"}\n");
        summary.size += summary.tail.len() as u64;
        Ok(summary)
    }

    /// Notes where the changes are, and counts them.
    fn measure(&mut self, stat: &mut Stat) {
        let mut at = self.head.len() as u64;
        let mut marks = vec![Mark { at, position: 0 }];
        let (mut position, mut count) = (0, 0_usize);
        for (next, change) in self.differences.changes.iter_from(0) {
            if self.shown.has(&change) {
                if count > 0 && count.is_multiple_of(MARKED) {
                    marks.push(Mark { at, position });
                }
                stat.add(change.change, change.sizes);
                at += text_of(&change, count == 0 && !self.has_change).len() as u64;
                count += 1;
            }
            position = next;
        }
        (self.marks, self.size) = (marks, at);
    }

    /// How long it is, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads some of it; gives how many bytes.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> usize {
        let end = offset.saturating_add(out.len() as u64).min(self.size);
        let mut copy = |at: u64, text: &[u8]| {
            let (from, to) = (offset.max(at), end.min(at + text.len() as u64));
            if from < to {
                let text = &text[(from - at) as usize..(to - at) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(text);
            }
        };
        copy(0, &self.head);
        let tail_at = self.size - self.tail.len() as u64;
        let first = self.marks.partition_point(|mark| mark.at <= offset).saturating_sub(1);
        if let Some(Mark { mut at, position }) = self.marks.get(first).copied() {
            let is_first = first == 0 && !self.has_change;
            let changes = self.differences.changes.iter_from(position);
            let shown = changes.map(|(_, change)| change).filter(|change| self.shown.has(change));
            for (n, change) in shown.enumerate() {
                if at >= end {
                    break;
                }
                let text = text_of(&change, is_first && n == 0);
                copy(at, &text);
                at += text.len() as u64;
            }
        }
        copy(tail_at, &self.tail);
        end.saturating_sub(offset) as usize
    }
}

/// A change as an element of the list.
fn text_of(change: &Change, is_first: bool) -> Vec<u8> {
    let mut text = if is_first { Vec::new() } else { b",\n".to_vec() };
    let (path, from) = (bytes(&change.path), change.from.as_deref().map(bytes));
    let what = (change.kind, change.change);
    let json = ChangeJson::new((&path, from.as_deref()), what, change.sizes, change.modes)
        .with(change.kind_before, change.attributes.iter().copied());
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut text, &json);
    text
}

fn bytes(path: &[Name]) -> Vec<u8> {
    path.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
}
