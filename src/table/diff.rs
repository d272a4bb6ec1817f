//! How two tables differ: rows, columns, and what the columns hold.
//!
//! One pass over each table sums its columns up and notes a hash of each row that the other table does not have
//! at the same place. Where the format does not tell the columns ahead and later rows have others than the first,
//! that pass finds them all, and there is a second one. Rows that are to be shown take another, as far as the last
//! of them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::align::{In, Known, walk};
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

/// Of how many rows the columns are looked at before all are.
const FIRST_ROWS: u64 = 1000;

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
    let passed = passed(sides, options).map_err(|error| first_error(sides, error));
    let Passed { columns, plan, gathered, spills } = passed?;
    let matched = matched(&plan, &spills, options.rows)?;
    let both = gathered[In::Both as usize].rows();
    let rows = RowCounts {
        before: both + gathered[In::Before as usize].rows(),
        after: both + gathered[In::After as usize].rows(),
        added: matched.added,
        removed: matched.removed,
        changed: matched.changed,
        unchanged: both + matched.unchanged,
    };
    let samples = sample([before, after], &matched, &plan.common, &plan.key)?;
    let shared: HashSet<&String> = plan.common.iter().collect();
    let [old, new] = columns.each_ref().map(|columns| {
        let names = columns.iter().map(|column| &column.name);
        names.filter(|name| shared.contains(name)).collect::<Vec<_>>()
    });
    // Objects have no order of keys.
    let reordered = before.1 != Format::Jsonl && old != new;
    let [old, new, both] = gathered;
    let [old_columns, new_columns] = columns;
    let (old, new) = (both.clone().and(old).finish(old_columns), both.and(new).finish(new_columns));
    let columns = column_diffs(old, new, &plan, &matched.cells);
    Ok(TableDiff { format: before.1.name(), key: plan.key, rows, columns, reordered, samples })
}

/// Two tables, as they are given.
type Sides<'a> = [(Side, Input<'a>); 2];

/// The columns of two tables.
type Columns = [Vec<Column>; 2];

/// The columns that a table has as far as so many rows tell.
fn columns_of((side, (bytes, format)): (Side, Input<'_>), most: u64) -> Result<Vec<Column>> {
    let columns = || {
        let mut rows = open(bytes, format)?;
        if format == Format::Jsonl {
            let (mut row, mut count) = (Vec::new(), 0);
            while count < most && rows.next(&mut row)? {
                count += 1;
            }
        }
        Ok(rows.columns().to_vec())
    };
    columns().map_err(|error: Error| error.of(side))
}

/// The columns that both have, once it is known that those of the key are among them.
fn plan(columns: &Columns, key: &[String]) -> Result<Plan> {
    let [before, after] =
        columns.each_ref().map(|columns| columns.iter().map(|column| &column.name).collect::<HashSet<_>>());
    for (side, columns) in [(Side::Before, &before), (Side::After, &after)] {
        if let Some(missing) = key.iter().find(|name| !columns.contains(name)) {
            return Err(Error::NoColumn(missing.clone()).of(side));
        }
    }
    let names = columns[1].iter().map(|column| &column.name);
    let common = names.filter(|name| before.contains(name)).cloned().collect();
    Ok(Plan { common, key: key.to_vec() })
}

/// What is told by passes over two tables.
struct Passed {
    columns: Columns,
    plan: Plan,
    /// Of the rows that only the table before, only that after, and both have at the same place.
    gathered: [Gathered; 3],
    spills: Spills,
}

/// Passes over two tables, once if their first rows have all columns.
fn passed(sides: Sides<'_>, options: &Options) -> Result<Passed> {
    let [before, after] = sides;
    let mut columns = [columns_of(before, FIRST_ROWS)?, columns_of(after, FIRST_ROWS)?];
    if plan(&columns, &options.key).is_err() {
        // Later rows may have what is missing.
        columns = [columns_of(before, u64::MAX)?, columns_of(after, u64::MAX)?];
    }
    loop {
        let plan = plan(&columns, &options.key)?;
        match pass(sides, columns, plan, options)? {
            Ok(passed) => return Ok(passed),
            Err(more) => columns = more,
        }
    }
}

/// What is wrong first: where rows are read for columns, too, with the table before, wherever it is.
fn first_error([before, _]: Sides<'_>, error: Error) -> Error {
    match &error {
        Error::Of { side: Side::After, error: after }
            if before.1.1 == Format::Jsonl && matches!(**after, Error::Line { .. } | Error::Read(_)) =>
        {
            columns_of(before, u64::MAX).err().unwrap_or(error)
        }
        _ => error,
    }
}

/// A pass over two tables; gives their columns where they have more than these.
fn pass(
    sides: Sides<'_>,
    columns: Columns,
    plan: Plan,
    options: &Options,
) -> Result<std::result::Result<Passed, Columns>> {
    let alike = columns[0].iter().zip(&columns[1]).take_while(|(old, new)| old.name == new.name).count();
    let known = Known { counts: columns.each_ref().map(Vec::len), alike };
    let places = columns.each_ref().map(|columns| plan.places(columns));
    let mut spills = Spills::new(&plan, &options.scratch);
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
    let mut tables = [before?, after?];
    Ok(match walk(&mut tables, known, take)? {
        true => Ok(Passed { columns, plan, gathered, spills }),
        false => Err(tables.map(|(_, rows)| rows.columns().to_vec())),
    })
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

    /// JSON Lines of rows that have some of their keys, each line ending in what is given.
    fn lines(rows: &[Vec<(u8, u8)>], end: &str) -> Arc<dyn Bytes> {
        let line = |row: &Vec<(u8, u8)>| {
            let entries: Vec<String> = row.iter().map(|(key, n)| format!("\"{}\": {n}", key % 4)).collect();
            format!("{{{}}}{end}\n", entries.join(", "))
        };
        bytes(rows.iter().map(line).collect::<String>().as_bytes())
    }

    proptest! {
        /// Rows that are written alike, and so are read once, are told as those that are not.
        #[test]
        fn how_rows_are_written_tells_nothing(
            rows in prop::collection::vec(prop::collection::vec((any::<u8>(), 0_u8..3), 0..4), 0..40),
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0_u8..3)), 0..4),
        ) {
            let mut after = rows.clone();
            for (at, new) in edits {
                let at = at.index(after.len() + 1);
                after.splice(at..(at + usize::from(new.is_none())).min(after.len()), new.map(|n| vec![(n, n)]));
            }
            let options = Options { key: Vec::new(), rows: 1000, scratch: std::env::temp_dir() };
            let before = lines(&rows, "");
            let told = ["", " "].map(|end| {
                diff((&before, Format::Jsonl), (&lines(&after, end), Format::Jsonl), &options).unwrap()
            });
            prop_assert_eq!(&told[0], &told[1]);
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
