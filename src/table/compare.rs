//! Matching the rows of two tables by their records.
//!
//! Rows whose hash differs in the byte that tells the partition cannot match, so that one partition after another
//! is held in memory, and one that is too large is partitioned by the next byte.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::path::Path;

use super::error::{Error, Result, Side};
use super::record::Plan;
use super::spill::{HASH, PARTITIONS, Spill};

/// Bytes of the entries of a partition that are held at a time, about.
const HELD_MAX: usize = 64 << 20;
/// What an entry takes beside its hashes, about.
const ENTRY: usize = 96;

/// How the rows of two tables match.
#[derive(Debug)]
pub(super) struct Matched {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// In how many changed rows each common column differs.
    pub cells: Vec<u64>,
    /// The first rows of each kind: the number (from 1) of the row, and how often it is there; of those that
    /// changed, the number before.
    pub added_rows: Firsts,
    pub removed_rows: Firsts,
    pub changed_rows: Firsts,
}

impl Matched {
    /// Of nothing yet, with room for `most` rows of each kind.
    fn new(most: usize) -> Matched {
        let firsts = || Firsts { most, rows: BTreeMap::new() };
        let (added_rows, removed_rows, changed_rows) = (firsts(), firsts(), firsts());
        let cells = Vec::new();
        Matched {
            added: 0,
            removed: 0,
            changed: 0,
            unchanged: 0,
            cells,
            added_rows,
            removed_rows,
            changed_rows,
        }
    }
}

/// Those with the least numbers of the rows that were added.
#[derive(Debug)]
pub(super) struct Firsts {
    most: usize,
    rows: BTreeMap<u64, u64>,
}

impl Firsts {
    fn add(&mut self, row: u64, about: u64) {
        if self.rows.len() < self.most || self.rows.last_key_value().is_some_and(|(last, _)| row < *last) {
            self.rows.insert(row, about);
            if self.rows.len() > self.most {
                self.rows.pop_last();
            }
        }
    }

    /// By number.
    pub fn rows(&self) -> &BTreeMap<u64, u64> {
        &self.rows
    }
}

/// The rows that are to be matched, and with a key those that both tables have at the same place.
pub(super) struct Spills {
    pub before: Spill,
    pub after: Spill,
    pub shared: Spill,
}

impl Spills {
    /// Of nothing yet.
    pub fn new(plan: &Plan, scratch: &Path) -> Spills {
        let spill = |size| Spill::new(scratch, size, 0);
        let (before, after) = (spill(plan.record_size()), spill(plan.record_size()));
        Spills { before, after, shared: spill(plan.shared_size()) }
    }

    /// The records of a partition, partitioned by the next byte of their hash.
    fn finer(&self, partition: usize) -> Result<Spills> {
        let [before, after, shared] =
            [&self.before, &self.after, &self.shared].map(|spill| spill.finer(partition));
        Ok(Spills { before: before?, after: after?, shared: shared? })
    }
}

/// Matches the rows of two tables, keeping up to `most` of each kind.
pub(super) fn matched(plan: &Plan, spills: &Spills, most: usize) -> Result<Matched> {
    let cells = vec![0; if plan.has_key() { plan.common.len() } else { 0 }];
    let mut matched = Matched { cells, ..Matched::new(most) };
    all(plan, spills, HELD_MAX / (plan.record_size() + ENTRY), &mut matched)?;
    Ok(matched)
}

/// Matches all partitions, each by parts where it has more than `held` entries.
fn all(plan: &Plan, spills: &Spills, held: usize, matched: &mut Matched) -> Result<()> {
    let is_last = spills.before.level() + 1 == HASH;
    let most = if is_last { usize::MAX } else { held };
    for partition in 0..PARTITIONS {
        let done = match plan.has_key() {
            true => by_key(plan, (spills, partition), most, matched)?,
            false => whole((spills, partition), most, matched)?,
        };
        if !done {
            all(plan, &spills.finer(partition)?, held, matched)?;
        }
    }
    Ok(())
}

/// A partition of all.
type Part<'a> = (&'a Spills, usize);

fn hash_of(record: &[u8]) -> [u8; HASH] {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&record[..HASH]);
    hash
}

fn number_of(record: &[u8]) -> u64 {
    number_at(record, HASH)
}

fn number_at(record: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&record[at..at + 8]);
    u64::from_le_bytes(number)
}

/// How often a row is there in each table, and where it is first.
#[derive(Default)]
struct Times {
    counts: [u64; 2],
    firsts: [u64; 2],
}

/// Matches whole rows of a partition. False where there are too many different ones to hold.
fn whole((spills, partition): Part<'_>, most: usize, matched: &mut Matched) -> Result<bool> {
    let mut rows: HashMap<[u8; HASH], Times> = HashMap::new();
    let mut fits = true;
    for (side, spill) in [&spills.before, &spills.after].into_iter().enumerate() {
        spill.each(partition, |record| {
            if fits {
                let times = rows.entry(hash_of(record)).or_default();
                if times.counts[side] == 0 {
                    times.firsts[side] = number_of(record);
                }
                times.counts[side] += 1;
                fits = rows.len() <= most;
            }
            Ok(())
        })?;
        if !fits {
            return Ok(false);
        }
    }
    for Times { counts: [old, new], firsts } in rows.into_values() {
        matched.unchanged += old.min(new);
        if old > new {
            matched.removed += old - new;
            matched.removed_rows.add(firsts[0], old - new);
        } else if new > old {
            matched.added += new - old;
            matched.added_rows.add(firsts[1], new - old);
        }
    }
    Ok(true)
}

/// A row before: its number, the hashes of it and its cells, and the number of the row after with its key.
struct Keyed {
    number: u64,
    hashes: Box<[u8]>,
    /// 0 where there is none.
    after: u64,
}

/// Matches the rows of a partition by key. False where there are too many to hold.
fn by_key(
    plan: &Plan,
    (Spills { before, after, shared }, partition): Part<'_>,
    most: usize,
    matched: &mut Matched,
) -> Result<bool> {
    // What is held of a row that both have takes less than half as much.
    if before.count(partition) + after.count(partition) + shared.count(partition) / 2 > most {
        return Ok(false);
    }
    let twice = |one: u64, other: u64| {
        Err(Error::DuplicateKey { first: one.min(other), second: one.max(other), key: plan.key.join(", ") })
    };
    // Rows that both have match each other, so that no other may have their key.
    let mut taken: HashMap<[u8; HASH], [u64; 2]> = HashMap::new();
    shared
        .each(partition, |record| {
            let numbers = [number_of(record), number_at(record, HASH + 8)];
            match taken.insert(hash_of(record), numbers) {
                Some(there) => twice(there[0], numbers[0]),
                None => Ok(()),
            }
        })
        .map_err(|error| error.of(Side::Before))?;
    let mut rows: HashMap<[u8; HASH], Keyed> = HashMap::new();
    before
        .each(partition, |record| {
            let number = number_of(record);
            if let Some(there) = taken.get(&hash_of(record)) {
                return twice(there[0], number);
            }
            match rows.entry(hash_of(record)) {
                Entry::Occupied(there) => return twice(there.get().number, number),
                Entry::Vacant(free) => {
                    free.insert(Keyed { number, hashes: record[HASH + 8..].into(), after: 0 })
                }
            };
            Ok(())
        })
        .map_err(|error| error.of(Side::Before))?;
    let mut added: HashMap<[u8; HASH], u64> = HashMap::new();
    after
        .each(partition, |record| {
            let number = number_of(record);
            if let Some(there) = taken.get(&hash_of(record)) {
                return twice(there[1], number);
            }
            let Some(row) = rows.get_mut(&hash_of(record)) else {
                return match added.insert(hash_of(record), number) {
                    Some(first) => twice(first, number),
                    None => Ok(()),
                };
            };
            if row.after > 0 {
                return twice(row.after, number);
            }
            row.after = number;
            let hashes = &record[HASH + 8..];
            if row.hashes[..HASH] == hashes[..HASH] {
                matched.unchanged += 1;
                return Ok(());
            }
            matched.changed += 1;
            matched.changed_rows.add(number, row.number);
            let cells = row.hashes[HASH..].chunks_exact(8).zip(hashes[HASH..].chunks_exact(8));
            for ((old, new), changes) in cells.zip(&mut matched.cells) {
                *changes += u64::from(old != new);
            }
            Ok(())
        })
        .map_err(|error| error.of(Side::After))?;
    matched.added += added.len() as u64;
    added.into_values().for_each(|number| matched.added_rows.add(number, 1));
    for row in rows.into_values().filter(|row| row.after == 0) {
        matched.removed += 1;
        matched.removed_rows.add(row.number, 1);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::record::Encoded;
    use super::super::rows::Column;
    use super::super::value::Value;
    use super::*;

    fn spilled(plan: &Plan, before: &[(i128, i128)], after: &[(i128, i128)]) -> Spills {
        let dir = std::env::temp_dir();
        let shared = Spill::new(&dir, plan.shared_size(), 0);
        Spills { before: spill(plan, before), after: spill(plan, after), shared }
    }

    fn spill(plan: &Plan, rows: &[(i128, i128)]) -> Spill {
        let columns = ["k", "v"].map(|name| Column { name: name.into(), kind: String::new() });
        let places = plan.places(&columns);
        let dir = std::env::temp_dir();
        let mut spill = Spill::new(&dir, plan.record_size(), 0);
        let mut record = Vec::new();
        for (at, (k, v)) in rows.iter().enumerate() {
            let mut row = Encoded::default();
            row.take(&[Value::Int(*k), Value::Int(*v)]);
            plan.record(at as u64 + 1, &mut row, &places, &mut record);
            spill.push(&record).unwrap();
        }
        spill
    }

    fn plan(key: &[&str]) -> Plan {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Plan { common: names(&["k", "v"]), key: names(key) }
    }

    /// Partitions that are too large to hold are matched by parts, with the same result.
    #[test]
    fn large_partitions_are_matched_by_parts() {
        let before: Vec<(i128, i128)> = (0..3000).map(|n| (n, n % 7)).collect();
        let after: Vec<(i128, i128)> =
            (100..3100).map(|n| (n, if n % 10 == 0 { -1 } else { n % 7 })).rev().collect();
        for key in [&["k"][..], &[]] {
            let plan = plan(key);
            let spills = spilled(&plan, &before, &after);
            let whole_at_once = matched(&plan, &spills, 5).unwrap();
            let mut by_parts =
                Matched { cells: whole_at_once.cells.iter().map(|_| 0).collect(), ..Matched::new(5) };
            all(&plan, &spills, 3, &mut by_parts).unwrap();
            assert_eq!(format!("{whole_at_once:?}"), format!("{by_parts:?}"));
            let (added, removed, changed) = if key.is_empty() { (390, 390, 0) } else { (100, 100, 290) };
            let m = &by_parts;
            assert_eq!((m.added, m.removed, m.changed, m.unchanged), (added, removed, changed, 2610));
        }
    }

    #[test]
    fn rows_are_counted_as_often_as_they_are_there() {
        let plan = plan(&[]);
        let spills = spilled(&plan, &[(1, 1); 5], &[(1, 1), (2, 2), (1, 1)]);
        let m = matched(&plan, &spills, 9).unwrap();
        assert_eq!((m.added, m.removed, m.unchanged), (1, 3, 2));
        assert_eq!(m.removed_rows.rows(), &BTreeMap::from([(1, 3)]));
        assert_eq!(m.added_rows.rows(), &BTreeMap::from([(2, 1)]));
    }

    #[test]
    fn keys_must_tell_rows_apart() {
        let plan = plan(&["k"]);
        let (once, twice) = (&[(1, 1)][..], &[(1, 1), (2, 2), (1, 3)][..]);
        for (before, after) in [(once, twice), (twice, once), (twice, twice)] {
            let error = matched(&plan, &spilled(&plan, before, after), 0).unwrap_err().to_string();
            assert!(error.contains("rows 1 and 3 have the same key (k)"), "{error}");
        }
    }
}
