//! Walking two tables at once: a row that both have at the same place, as most rows of two versions are, is looked at
//! once, and never matched with others. Where it is written the same in both, it is read once, too.
//!
//! Where rows differ, the nearest place ahead is looked for from where they are the same again, in a window that
//! grows as far as memory is to be spent. Whether rows are told as one or as two, what is found out of them is the
//! same: it only takes longer.

use std::collections::{HashMap, VecDeque};

use super::error::{Result, Side};
use super::record::mixed;
use super::rows::Rows;
use super::value::Value;

/// Rows of a window, first and at most.
const WINDOW: (usize, usize) = (16, 4096);
/// Bytes of the rows of a window, at most, about.
const HELD_MAX: usize = 8 << 20;

/// Which tables have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    Before = 0,
    After = 1,
    Both = 2,
}

/// A table to be walked.
pub(super) type Table = (Side, Box<dyn Rows>);

/// Which columns tables have.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// How many those are of each that are known so far.
    pub counts: [usize; 2],
    /// How many of both are the same, from the first on.
    pub alike: usize,
}

/// Walks all rows of two tables, in the order of each. Compared are rows with values for the same columns.
/// False where there are more columns than are known: then all of them are those of `tables`, and the walk is
/// to be begun anew.
///
/// # Errors
/// Where one cannot be read, and what `take` gives.
pub(super) fn walk(
    tables: &mut [Table; 2],
    known: Known,
    mut take: impl FnMut(In, &[Value]) -> Result<()>,
) -> Result<bool> {
    let alike = known.alike;
    let [before, after] = tables;
    let (mut before, mut after) = (Ahead::new(before), Ahead::new(after));
    let mut row = Vec::new();
    loop {
        while before.is_written_as(&mut after)? {
            before.read(&mut row)?;
            if row.len() != after.source.columns().len() || row.len() > alike {
                before.hold(std::mem::take(&mut row));
                break;
            }
            after.unread = false;
            take(In::Both, &row)?;
        }
        before.fill(1)?;
        after.fill(1)?;
        if before.source.columns().len() > known.counts[0] || after.source.columns().len() > known.counts[1] {
            before.read_all()?;
            after.read_all()?;
            return Ok(false);
        }
        let (only_before, only_after) = match (before.rows.front(), after.rows.front()) {
            (None, None) => return Ok(true),
            (Some(a), Some(b)) if a.is_comparable(b, alike) => {
                if a.is_same(b) {
                    take(In::Both, &a.row)?;
                    before.pass(1, |_| Ok(()))?;
                    after.pass(1, |_| Ok(()))?;
                    continue;
                }
                distance(&mut before, &mut after, alike)?
            }
            (a, b) => (usize::from(a.is_some()), usize::from(b.is_some())),
        };
        before.pass(only_before, |row| take(In::Before, row))?;
        after.pass(only_after, |row| take(In::After, row))?;
    }
}

/// How many rows of each come before the nearest that is in both.
fn distance(before: &mut Ahead<'_>, after: &mut Ahead<'_>, alike: usize) -> Result<(usize, usize)> {
    let (mut window, most) = WINDOW;
    loop {
        before.fill(window)?;
        after.fill(window)?;
        let held = (before.rows.len().min(window), after.rows.len().min(window));
        if let Some(nearest) = nearest(before, after, held, alike) {
            return Ok(nearest);
        }
        if window == most || (held.0 < window && held.1 < window) {
            return Ok(held);
        }
        window *= 4;
    }
}

/// Of the rows that are in both, how many come before the one before which the fewest come.
fn nearest(
    before: &mut Ahead<'_>,
    after: &mut Ahead<'_>,
    held: (usize, usize),
    alike: usize,
) -> Option<(usize, usize)> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    for (at, row) in after.rows.iter_mut().take(held.1).enumerate() {
        places.entry(row.hash()).or_insert(at);
    }
    let mut best: Option<(usize, usize)> = None;
    for (at, row) in before.rows.iter_mut().take(held.0).enumerate() {
        let so_far = best.map_or(usize::MAX, |(i, j)| i + j);
        if at >= so_far {
            break;
        }
        let other = places.get(&row.hash()).copied().filter(|other| at + other < so_far);
        if let Some(other) = other
            && row.is_comparable(&after.rows[other], alike)
            && row.is_same(&after.rows[other])
        {
            best = Some((at, other));
        }
    }
    best
}

/// Bytes that a row takes, about.
fn bytes_of(row: &[Value]) -> usize {
    row.iter().map(Value::size).sum()
}

/// A row that was read ahead.
struct Held {
    row: Vec<Value>,
    bytes: usize,
    hash: Option<u64>,
}

impl Held {
    fn is_comparable(&self, other: &Held, alike: usize) -> bool {
        self.row.len() == other.row.len() && self.row.len() <= alike
    }

    fn is_same(&self, other: &Held) -> bool {
        self.row.iter().zip(&other.row).all(|(a, b)| match (a, b) {
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => a == b,
        })
    }

    fn hash(&mut self) -> u64 {
        *self.hash.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            self.row.iter().for_each(|value| value.encode(&mut bytes));
            mixed(&bytes)
        })
    }
}

/// The rows of a table from where the walk is.
struct Ahead<'a> {
    side: Side,
    source: &'a mut dyn Rows,
    /// Whether the row that the source is at is the next one after those that are held, not read yet.
    unread: bool,
    rows: VecDeque<Held>,
    bytes: usize,
    ended: bool,
}

impl<'a> Ahead<'a> {
    fn new((side, source): &'a mut Table) -> Ahead<'a> {
        let rows = VecDeque::new();
        Ahead { side: *side, source: &mut **source, unread: false, rows, bytes: 0, ended: false }
    }

    /// Goes on to a row that is not read yet. False at the end.
    fn advance(&mut self) -> Result<bool> {
        if !self.unread && !self.ended {
            self.unread = self.source.advance().map_err(|error| error.of(self.side))?;
            self.ended = !self.unread;
        }
        Ok(self.unread)
    }

    /// Reads the row that was gone on to.
    fn read(&mut self, row: &mut Vec<Value>) -> Result<()> {
        self.unread = false;
        self.source.read(row).map_err(|error| error.of(self.side))
    }

    /// Whether none of both is held, and the next one of both is written in the same way.
    fn is_written_as(&mut self, other: &mut Ahead<'_>) -> Result<bool> {
        if !self.rows.is_empty() || !other.rows.is_empty() || !self.advance()? {
            return Ok(false);
        }
        let is_there = other.advance();
        if is_there.is_err() {
            // What is wrong here comes first.
            self.fill(1)?;
        }
        if !is_there? {
            return Ok(false);
        }
        let written = self.source.written();
        Ok(written.is_some() && written == other.source.written())
    }

    /// Has so many rows there, as far as there are that many and they do not take too much.
    fn fill(&mut self, count: usize) -> Result<()> {
        while self.rows.len() < count && (self.bytes < HELD_MAX || self.rows.is_empty()) && self.advance()? {
            let mut row = Vec::with_capacity(self.source.columns().len());
            self.read(&mut row)?;
            self.hold(row);
        }
        Ok(())
    }

    fn hold(&mut self, row: Vec<Value>) {
        let bytes = bytes_of(&row);
        self.bytes += bytes;
        self.rows.push_back(Held { row, bytes, hash: None });
    }

    /// Reads all that is left, for its columns.
    fn read_all(&mut self) -> Result<()> {
        let mut row = Vec::new();
        while self.advance()? {
            self.read(&mut row)?;
        }
        Ok(())
    }

    /// Goes past so many rows.
    fn pass(&mut self, count: usize, mut take: impl FnMut(&[Value]) -> Result<()>) -> Result<()> {
        for held in self.rows.drain(..count) {
            self.bytes -= held.bytes;
            take(&held.row)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::bytes;
    use super::super::{Format, open};
    use super::*;

    /// What a walk tells of two tables with a column of numbers.
    fn walked(before: &[usize], after: &[usize], alike: usize) -> Vec<(In, usize)> {
        let table = |rows: &[usize]| {
            let rows: String = rows.iter().map(|n| format!("{n}\n")).collect();
            bytes(format!("n\n{rows}").as_bytes())
        };
        let opened = |side, rows| (side, open(&table(rows), Format::Csv).unwrap());
        let mut told = Vec::new();
        let take = |which, row: &[Value]| {
            told.push((which, row[0].to_string().parse().unwrap()));
            Ok(())
        };
        let mut tables = [opened(Side::Before, before), opened(Side::After, after)];
        assert!(walk(&mut tables, Known { counts: [1, 1], alike }, take).unwrap());
        told
    }

    /// The rows of each table are all told, in their order.
    fn assert_whole(before: &[usize], after: &[usize], told: &[(In, usize)]) {
        let of = |side| -> Vec<usize> {
            told.iter().filter(|(which, _)| [side, In::Both].contains(which)).map(|(_, n)| *n).collect()
        };
        assert!(of(In::Before) == before && of(In::After) == after);
    }

    fn shared(told: &[(In, usize)]) -> usize {
        told.iter().filter(|(which, _)| *which == In::Both).count()
    }

    #[test]
    fn what_was_put_in_taken_out_and_changed_is_told_apart() {
        let before: Vec<usize> = (0..20_000).collect();
        for (at, taken, put) in [(0, 1, 1), (10_000, 0, 3000), (10_000, 3000, 0), (19_999, 1, 0), (5, 7, 900)]
        {
            let mut after = before.clone();
            after.splice(at..at + taken, 50_000..50_000 + put);
            let told = walked(&before, &after, 1);
            assert_whole(&before, &after, &told);
            assert_eq!(shared(&told), before.len() - taken, "{taken} for {put} at {at}");
        }
    }

    #[test]
    fn nothing_is_lost_where_little_or_nothing_is_the_same() {
        let before: Vec<usize> = (0..10_000).collect();
        let turned: Vec<usize> = (0..10_000).rev().collect();
        let again: Vec<usize> = (0..10_000).map(|n| n % 3).collect();
        for after in [&turned, &again, &Vec::new(), &before[5000..].to_vec()] {
            assert_whole(&before, after, &walked(&before, after, 1));
            assert_whole(after, &before, &walked(after, &before, 1));
        }
        let told = walked(&before, &before, 0);
        assert_whole(&before, &before, &told);
        assert_eq!(shared(&told), 0, "of other columns");
    }

    #[test]
    fn numbers_that_are_none_are_the_same() {
        let held = |value: f64| Held { row: vec![Value::Float(value)], bytes: 0, hash: None };
        assert!(held(f64::NAN).is_same(&held(-f64::NAN)) && held(0.0).is_same(&held(-0.0)));
        assert!(!held(f64::NAN).is_same(&held(0.0)) && held(1.0).hash() != held(2.0).hash());
    }

    /// Rows that are long are not held in great numbers.
    #[test]
    fn a_window_takes_little_memory() {
        let long =
            format!("n\n{}", (0..64).map(|n| format!("{n}{}\n", "x".repeat(1 << 20))).collect::<String>());
        let table = open(&bytes(long.as_bytes()), Format::Csv).unwrap();
        let mut table = (Side::Before, table);
        let mut ahead = Ahead::new(&mut table);
        ahead.fill(64).unwrap();
        assert!(ahead.rows.len() <= 9, "{}", ahead.rows.len());
    }
}
