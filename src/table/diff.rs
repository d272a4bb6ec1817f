//! How two tables differ: rows, columns, and what the columns hold.
//!
//! Two passes over each table: one for its columns where the format does not tell them ahead, one that sums the
//! columns up and notes a hash of each row that the other table does not have at the same place. Rows that are to be
//! shown take a third, as far as the last of them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::align::{In, walk};
use super::compare::{Spills, matched};
use super::error::{Error, Result, Side};
use super::gathered::Gathered;
use super::record::{Encoded, Plan};
use super::rows::Column;
use super::sample::{RowSamples, sample};
use super::summary::Summary;
use super::{Bytes, Format, Value, open};

/// How tables are to be compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The columns that rows are known by; none where rows are compared whole.
    pub key: Vec<String>,
    /// How many rows of each kind are to be shown.
    pub rows: usize,
    /// Where scratch files go.
    pub scratch: PathBuf,
}

/// How many rows there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// In the table before.
    pub before: u64,
    /// In the table after.
    pub after: u64,
    /// Only after.
    pub added: u64,
    /// Only before.
    pub removed: u64,
    /// Of the same key, and other values; none without a key.
    pub changed: u64,
    /// In both.
    pub unchanged: u64,
}

/// A column of either table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDiff {
    /// Its name.
    pub name: String,
    /// `added`, `removed`, `retyped`, or nothing.
    pub change: Option<&'static str>,
    /// In how many of the changed rows it differs; none without a key, and of what only one table has.
    pub changed: Option<u64>,
    /// What it held before.
    pub before: Option<Summary>,
    /// What it holds after.
    pub after: Option<Summary>,
}

/// How two tables differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDiff {
    /// What kind of table they are: `csv`, `tsv`, `jsonl`, `parquet`.
    pub format: &'static str,
    /// The columns that rows are known by.
    pub key: Vec<String>,
    /// How many rows there are of each kind, told by the columns that both tables have.
    pub rows: RowCounts,
    /// The columns, those of the table after first.
    pub columns: Vec<ColumnDiff>,
    /// Whether columns that both have come in another order.
    pub reordered: bool,
    /// The first rows of each kind.
    pub samples: RowSamples,
}

/// A table as it is given.
type Input<'a> = (&'a Arc<dyn Bytes>, Format);

/// Compares two tables.
///
/// # Errors
/// Where one cannot be read, has no such key, or has a key twice; or scratch space is missing.
pub fn diff(before: Input<'_>, after: Input<'_>, options: &Options) -> Result<TableDiff> {
    if before.1 != after.1 {
        let names = (before.1.name(), after.1.name());
        return Err(
            Error::Malformed(format!("is {}, where the other is {}", names.0, names.1)).of(Side::Before)
        );
    }
    let sides = [(Side::Before, before), (Side::After, after)];
    let [old, new] = sides.map(|(side, table)| columns_of(table).map_err(|error| error.of(side)));
    let columns = [old?, new?];
    let names = columns.each_ref().map(|columns| columns.iter().map(|column| column.name.clone()).collect());
    let plan = plan(&names, &options.key)?;
    let passed = pass(sides, &columns, &plan, options)?;
    let matched = matched(&plan, &passed.spills, options.rows)?;
    let both = passed.gathered[In::Both as usize].rows();
    let rows = RowCounts {
        before: both + passed.gathered[In::Before as usize].rows(),
        after: both + passed.gathered[In::After as usize].rows(),
        added: matched.added,
        removed: matched.removed,
        changed: matched.changed,
        unchanged: both + matched.unchanged,
    };
    let samples = sample([before, after], &matched, &plan.common, &plan.key)?;
    let shared: HashSet<&String> = plan.common.iter().collect();
    let order = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| shared.contains(name)).cloned().collect()
    };
    // Objects have no order of keys.
    let reordered = before.1 != Format::Jsonl && order(&names[0]) != order(&names[1]);
    let [old, new, both] = passed.gathered;
    let [old_columns, new_columns] = columns;
    let (old, new) = (both.clone().and(old).finish(old_columns), both.and(new).finish(new_columns));
    let columns = column_diffs(old, new, &plan, &matched.cells);
    Ok(TableDiff { format: before.1.name(), key: plan.key, rows, columns, reordered, samples })
}

/// A table's columns.
fn columns_of((bytes, format): Input<'_>) -> Result<Vec<Column>> {
    let mut rows = open(bytes, format)?;
    if format == Format::Jsonl {
        let mut row = Vec::new();
        while rows.next(&mut row)? {}
    }
    Ok(rows.columns().to_vec())
}

/// The columns that both have, once it is known that those of the key are among them.
fn plan(columns: &[Vec<String>; 2], key: &[String]) -> Result<Plan> {
    for (side, columns) in [Side::Before, Side::After].into_iter().zip(columns) {
        if let Some(missing) = key.iter().find(|name| !columns.contains(name)) {
            return Err(Error::NoColumn(missing.clone()).of(side));
        }
    }
    let before: HashSet<&String> = columns[0].iter().collect();
    let common = columns[1].iter().filter(|name| before.contains(name)).cloned().collect();
    Ok(Plan { common, key: key.to_vec() })
}

/// What a pass over both tables gives.
struct Passed {
    /// Of the rows that only the table before, only that after, and both have at the same place.
    gathered: [Gathered; 3],
    spills: Spills,
}

fn pass(
    sides: [(Side, Input<'_>); 2],
    columns: &[Vec<Column>; 2],
    plan: &Plan,
    options: &Options,
) -> Result<Passed> {
    let alike = columns[0].iter().zip(&columns[1]).take_while(|(old, new)| old.name == new.name).count();
    let places = columns.each_ref().map(|columns| plan.places(columns));
    let mut spills = Spills::new(plan, &options.scratch);
    let mut gathered: [Gathered; 3] = Default::default();
    let (mut encoded, mut record) = (Encoded::default(), Vec::new());
    let mut numbers = [0, 0];
    let take = |which: In, row: &[Value]| {
        encoded.take(row);
        gathered[which as usize].add(row, encoded.hashes());
        let (side, spill) = match which {
            In::Both => {
                numbers.iter_mut().for_each(|number| *number += 1);
                if !plan.has_key() {
                    return Ok(());
                }
                plan.shared(numbers, &mut encoded, &places[0], &mut record);
                return spills.shared.push(&record);
            }
            In::Before => (0, &mut spills.before),
            In::After => (1, &mut spills.after),
        };
        numbers[side] += 1;
        plan.record(numbers[side], &mut encoded, &places[side], &mut record);
        spill.push(&record)
    };
    let [before, after] = sides.map(|(side, (bytes, format))| {
        open(bytes, format).map(|rows| (side, rows)).map_err(|error| error.of(side))
    });
    walk([before?, after?], alike, take)?;
    Ok(Passed { gathered, spills })
}

fn column_diffs(
    old: Vec<(String, Summary)>,
    new: Vec<(String, Summary)>,
    plan: &Plan,
    cells: &[u64],
) -> Vec<ColumnDiff> {
    let changed: BTreeMap<&String, u64> = plan.common.iter().zip(cells.iter().copied()).collect();
    let order: Vec<String> = old.iter().map(|(name, _)| name.clone()).collect();
    let mut old: BTreeMap<String, Summary> = old.into_iter().collect();
    let mut all = Vec::new();
    for (name, after) in new {
        let before = old.remove(&name);
        let change = match &before {
            None => Some("added"),
            // A column without values has no type yet.
            Some(before) if before.kind != after.kind && before.values > 0 && after.values > 0 => {
                Some("retyped")
            }
            Some(_) => None,
        };
        all.push(ColumnDiff {
            change,
            changed: changed.get(&name).copied(),
            before,
            after: Some(after),
            name,
        });
    }
    for name in order {
        if let Some(before) = old.remove(&name) {
            all.push(ColumnDiff {
                name,
                change: Some("removed"),
                changed: None,
                before: Some(before),
                after: None,
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::testing::bytes;
    use super::*;

    type Table = Vec<(u8, u8)>;

    fn told(before: &Table, after: &Table, key: &[&str]) -> Result<TableDiff> {
        let csv = |table: &Table| {
            let rows: String = table.iter().map(|(k, v)| format!("{k},{v}\n")).collect();
            bytes(format!("k,v\n{rows}").as_bytes())
        };
        let (before, after) = (csv(before), csv(after));
        let key = key.iter().map(|name| (*name).to_owned()).collect();
        let options = Options { key, rows: 1000, scratch: std::env::temp_dir() };
        diff((&before, Format::Csv), (&after, Format::Csv), &options)
    }

    fn times(table: &Table) -> BTreeMap<(u8, u8), i64> {
        let mut times = BTreeMap::new();
        table.iter().for_each(|row| *times.entry(*row).or_default() += 1);
        times
    }

    fn has_key_twice(table: &Table) -> bool {
        table.iter().map(|(k, _)| k).collect::<BTreeSet<_>>().len() < table.len()
    }

    /// A table, and the same with runs of rows put in, taken out and written anew.
    fn versions() -> impl Strategy<Value = (Table, Table)> {
        let rows = |most| prop::collection::vec((any::<u8>(), 0_u8..3), 0..most);
        let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_usize..9, rows(4)), 0..5);
        (rows(80), edits, any::<bool>()).prop_map(|(mut before, edits, distinct)| {
            if distinct {
                before = before.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
            }
            let mut after = before.clone();
            for (at, count, rows) in edits {
                let start = at.index(after.len() + 1);
                after.splice(start..(start + count).min(after.len()), rows);
            }
            (before, after)
        })
    }

    proptest! {
        /// Rows are counted as a table that is held would have it, wherever both have the same ones.
        #[test]
        fn rows_are_counted_whatever_is_the_same((before, after) in versions()) {
            let (old, new) = (times(&before), times(&after));
            let more = |a: &BTreeMap<(u8, u8), i64>, b: &BTreeMap<(u8, u8), i64>| -> i64 {
                a.iter().map(|(row, times)| (times - b.get(row).unwrap_or(&0)).max(0)).sum()
            };
            let (added, removed) = (more(&new, &old) as u64, more(&old, &new) as u64);
            let table = told(&before, &after, &[]).unwrap();
            let (size_before, size_after) = (before.len() as u64, after.len() as u64);
            let unchanged = size_before - removed;
            let wanted = RowCounts { before: size_before, after: size_after, added, removed, changed: 0, unchanged };
            prop_assert_eq!(table.rows, wanted);
            let shown: u64 = table.samples.added.iter().map(|row| row.count).sum();
            prop_assert_eq!(shown, added);

            let keyed = told(&before, &after, &["k"]);
            if has_key_twice(&before) || has_key_twice(&after) {
                let error = keyed.unwrap_err().to_string();
                prop_assert!(error.contains("have the same key (k)"), "{}", error);
                return Ok(());
            }
            let (old, new): (BTreeMap<u8, u8>, BTreeMap<u8, u8>) =
                (before.iter().copied().collect(), after.iter().copied().collect());
            let changed = new.iter().filter(|(k, v)| old.get(k).is_some_and(|old| old != *v)).count() as u64;
            let added = new.keys().filter(|k| !old.contains_key(k)).count() as u64;
            let removed = old.keys().filter(|k| !new.contains_key(k)).count() as u64;
            let unchanged = size_after - added - changed;
            let wanted = RowCounts { before: size_before, after: size_after, added, removed, changed, unchanged };
            prop_assert_eq!(keyed.unwrap().rows, wanted);
        }
    }

    /// A key that rows at the same place have, and another row has too, is there twice.
    #[test]
    fn keys_of_rows_that_both_have_are_not_had_twice() {
        let base = vec![(1, 1), (2, 1), (3, 1)];
        let more = vec![(1, 1), (2, 1), (3, 1), (1, 2)];
        let same = "rows 1 and 4 have the same key (k)";
        for (before, after, side) in
            [(&base, &more, Side::After), (&more, &base, Side::Before), (&more, &more, Side::Before)]
        {
            let Err(Error::Of { side: told, error }) = told(before, after, &["k"]) else {
                panic!("{before:?} {after:?}")
            };
            assert_eq!((told, error.to_string().as_str()), (side, same));
        }
    }
}
