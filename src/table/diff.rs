//! How two tables differ: rows, columns, and what the columns hold.
//!
//! Two passes over each table: one for its columns where the format does not tell them ahead, one that sums the
//! columns up and notes a hash of each row. Rows that are to be shown take a third, as far as the last of them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::compare::matched;
use super::error::{Error, Result, Side};
use super::record::{Encoded, Plan};
use super::rows::Column;
use super::sample::{RowSamples, sample};
use super::spill::Spill;
use super::summary::{Gather, Summary};
use super::{Bytes, Format, open};

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

/// Compares two tables.
///
/// # Errors
/// Where one cannot be read, has no such key, or has a key twice; or scratch space is missing.
pub fn diff(
    before: (&Arc<dyn Bytes>, Format),
    after: (&Arc<dyn Bytes>, Format),
    options: &Options,
) -> Result<TableDiff> {
    if before.1 != after.1 {
        let names = (before.1.name(), after.1.name());
        return Err(
            Error::Malformed(format!("is {}, where the other is {}", names.0, names.1)).of(Side::Before)
        );
    }
    let sides = [(Side::Before, before), (Side::After, after)];
    let mut columns = Vec::new();
    for (side, table) in sides {
        columns.push(names(table).map_err(|error| error.of(side))?);
    }
    let plan = plan(&columns, &options.key)?;
    let mut passed = Vec::new();
    for (side, table) in sides {
        passed.push(pass(table, &plan, options).map_err(|error| error.of(side))?);
    }
    let matched = matched(&plan, &passed[0].spill, &passed[1].spill, options.rows)?;
    let rows = RowCounts {
        before: passed[0].rows,
        after: passed[1].rows,
        added: matched.added,
        removed: matched.removed,
        changed: matched.changed,
        unchanged: matched.unchanged,
    };
    let samples = sample([before, after], &matched, &plan.common, &plan.key)?;
    let order = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| plan.common.contains(name)).cloned().collect()
    };
    // Objects have no order of keys.
    let reordered = before.1 != Format::Jsonl && order(&columns[0]) != order(&columns[1]);
    let mut summaries = passed.into_iter().map(|passed| passed.columns);
    let (old, new) = (summaries.next().unwrap_or_default(), summaries.next().unwrap_or_default());
    let columns = column_diffs(old, new, &plan, &matched.cells);
    Ok(TableDiff { format: before.1.name(), key: plan.key, rows, columns, reordered, samples })
}

/// The names of a table's columns.
fn names((bytes, format): (&Arc<dyn Bytes>, Format)) -> Result<Vec<String>> {
    let mut rows = open(bytes, format)?;
    if format == Format::Jsonl {
        let mut row = Vec::new();
        while rows.next(&mut row)? {}
    }
    Ok(rows.columns().iter().map(|column| column.name.clone()).collect())
}

/// The columns that both have, once it is known that those of the key are among them.
fn plan(columns: &[Vec<String>], key: &[String]) -> Result<Plan> {
    for (side, columns) in [Side::Before, Side::After].into_iter().zip(columns) {
        if let Some(missing) = key.iter().find(|name| !columns.contains(name)) {
            return Err(Error::NoColumn(missing.clone()).of(side));
        }
    }
    let before: HashSet<&String> = columns[0].iter().collect();
    let common = columns[1].iter().filter(|name| before.contains(name)).cloned().collect();
    Ok(Plan { common, key: key.to_vec() })
}

/// What a pass over a table gives.
struct Passed {
    rows: u64,
    spill: Spill,
    columns: Vec<(String, Summary)>,
}

fn pass((bytes, format): (&Arc<dyn Bytes>, Format), plan: &Plan, options: &Options) -> Result<Passed> {
    let mut rows = open(bytes, format)?;
    let mut spill = Spill::new(&options.scratch, plan.record_size(), 0);
    let mut gathers: Vec<Gather> = Vec::new();
    let (mut row, mut record, mut encoded) = (Vec::new(), Vec::new(), Encoded::default());
    let mut known: Vec<Column> = Vec::new();
    let mut places = plan.places(&known);
    let mut number = 0;
    while rows.next(&mut row)? {
        if rows.columns().len() != known.len() || number == 0 {
            known = rows.columns().to_vec();
            places = plan.places(&known);
            // Rows before had no value in a column that is new.
            let missing = |gather: &mut Gather| gather.add_nulls(number);
            let old = gathers.len();
            gathers.extend((old..known.len()).map(Gather::new));
            gathers[old..].iter_mut().for_each(missing);
        }
        number += 1;
        encoded.take(&row);
        for ((gather, value), hash) in gathers.iter_mut().zip(&row).zip(encoded.hashes()) {
            gather.add(value, *hash);
        }
        plan.record(number, &mut encoded, &places, &mut record);
        spill.push(&record)?;
    }
    known = rows.columns().to_vec();
    gathers.extend((gathers.len()..known.len()).map(Gather::new));
    let columns = known.into_iter().zip(gathers);
    let columns = columns.map(|(column, gather)| (column.name, gather.finish(&column.kind))).collect();
    Ok(Passed { rows: number, spill, columns })
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
