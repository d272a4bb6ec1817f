//! All paths in which two trees differ, in order.
//!
//! Of each some tens of bytes are kept beside its name, and of a rename twice as many: a path as a whole, and what
//! is told of it, is made when it is asked for.

use crate::model::{Kind, Place};

use super::super::history::ChangeKind;
use super::Change;
use super::differing::{Differing, Lone, NONE};
use super::paths::At;

/// Paths that differ, ordered.
#[derive(Debug)]
pub struct Changes {
    of: Differing,
    /// Numbers of what came, then of what both trees have, then of what is gone.
    order: Vec<u32>,
}

/// What a number of the order stands for.
enum Numbered<'a> {
    Came(&'a Lone),
    Both(usize),
    Gone(&'a Lone),
}

impl Changes {
    pub(super) fn new(of: Differing) -> Changes {
        let (came, both) = (of.came.len(), of.both.len());
        let count = came + both + of.gone.len();
        let at = |number: u32| match number as usize {
            number if number < came => of.came[number].at,
            number if number < came + both => of.both[number - came].at,
            number => of.gone[number - came - both].at,
        };
        // None of the three has more than 32 bits can count, and together they would take more than there is.
        let order = of.paths.order(u32::try_from(count).unwrap_or(u32::MAX), at);
        Changes { of, order }
    }

    fn numbered(&self, number: u32) -> Numbered<'_> {
        let (number, came, both) = (number as usize, self.of.came.len(), self.of.both.len());
        match number {
            number if number < came => Numbered::Came(&self.of.came[number]),
            number if number < came + both => Numbered::Both(number - came),
            number => Numbered::Gone(&self.of.gone[number - came - both]),
        }
    }

    /// What differs, in no order.
    pub(super) fn of(&self) -> &Differing {
        &self.of
    }

    /// How many may be told at most: what was renamed counts twice.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// What is gone, in order, each with how many are before it.
    pub(super) fn gone(&self) -> impl Iterator<Item = (u32, &Lone)> {
        (0..).zip(&self.order).filter_map(|(at, number)| match self.numbered(*number) {
            Numbered::Gone(lone) => Some((at, lone)),
            _ => None,
        })
    }

    /// What is behind `at` others, if it came.
    pub(super) fn came(&self, at: usize) -> Option<&Lone> {
        match self.numbered(self.order[at]) {
            Numbered::Came(lone) => Some(lone),
            _ => None,
        }
    }

    /// Notes that what came is what is gone, each by how many are before it.
    pub(super) fn pair(&mut self, came: usize, gone: u32) {
        let came = self.order[came];
        let gone = self.order[gone as usize] - (self.of.came.len() + self.of.both.len()) as u32;
        self.of.came[came as usize].pair = gone;
        self.of.gone[gone as usize].pair = came;
    }

    /// The paths, ordered.
    pub fn iter(&self) -> impl Iterator<Item = Change> + '_ {
        self.iter_from(0).map(|(_, change)| change)
    }

    /// Those from a position on, each with the next one's.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = (usize, Change)> + '_ {
        (start + 1..).zip(&self.order[start..]).filter_map(|(next, n)| Some((next, self.change(*n)?)))
    }

    fn change(&self, number: u32) -> Option<Change> {
        let of = &self.of;
        let lone = |lone: &Lone, change| {
            let facts = of.facts_of(lone);
            let place = of.place(lone.at, lone.dir);
            let one = |is_new: bool| (change == ChangeKind::Added) == is_new;
            Change {
                path: of.paths.path(lone.at),
                from: None,
                kind: facts.kind,
                kind_before: None,
                change,
                attributes: Vec::new(),
                is_rewritten: false,
                sizes: (one(false).then_some(facts.size), one(true).then_some(facts.size)),
                modes: (one(false).then_some(facts.mode.into()), one(true).then_some(facts.mode.into())),
                places: (place.filter(|_| one(false)), place.filter(|_| one(true))),
            }
        };
        match self.numbered(number) {
            Numbered::Gone(gone) => (gone.pair == NONE).then(|| lone(gone, ChangeKind::Removed)),
            Numbered::Came(came) if came.pair == NONE => Some(lone(came, ChangeKind::Added)),
            Numbered::Came(came) => of.gone.get(came.pair as usize).and_then(|gone| self.paired(gone, came)),
            Numbered::Both(number) => {
                let both = &of.both[number];
                let place = of.place(both.at, both.dir);
                let mut change = self.of_both(both.at, both.sizes, both.modes, both.kinds, [place; 2]);
                change.change = both.change;
                change.attributes = both.attributes.names();
                Some(change)
            }
        }
    }

    /// What is known again.
    fn paired(&self, gone: &Lone, came: &Lone) -> Option<Change> {
        let of = &self.of;
        let [old, new] = [gone, came].map(|lone| of.facts_of(lone));
        let places = [gone, came].map(|lone| of.place(lone.at, lone.dir));
        let (sizes, modes, kinds) = ([old.size, new.size], [old.mode, new.mode], [old.kind, new.kind]);
        let mut change = self.of_both(came.at, sizes, modes, kinds, places);
        if of.paths.are_same(gone.at, came.at) || (places[0].is_some() && places[0] == places[1]) {
            // Another inode took the place of one that is not known again.
            change.change = old.changed(new)?;
            if change.change == ChangeKind::Attributes && places[1].is_some() {
                change.attributes = of.owners.attributes(old, new).names();
            }
        } else {
            change.from = Some(of.paths.path(gone.at));
            change.is_rewritten = !old.is_like(new);
        }
        Some(change)
    }

    /// Something that both trees have, as if it were renamed.
    fn of_both(
        &self,
        at: At,
        sizes: [u64; 2],
        modes: [u16; 2],
        kinds: [Kind; 2],
        places: [Option<Place>; 2],
    ) -> Change {
        Change {
            path: self.of.paths.path(at),
            from: None,
            kind: kinds[1],
            kind_before: Some(kinds[0]).filter(|before| *before != kinds[1]),
            change: ChangeKind::Renamed,
            attributes: Vec::new(),
            is_rewritten: false,
            sizes: (Some(sizes[0]), Some(sizes[1])),
            modes: (Some(modes[0].into()), Some(modes[1].into())),
            places: places.into(),
        }
    }
}
