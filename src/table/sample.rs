//! Rows that differ, to be shown: read again by their numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::compare::Matched;
use super::error::{Result, Side};
use super::{Bytes, Format, Value, open};

/// A row of one of the tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownRow {
    /// Its number, from 1.
    pub row: u64,
    /// How many rows like it were added or removed.
    pub count: u64,
    /// Its values by column.
    pub values: Map<String, Json>,
}

/// A row that has the same key in both tables, and other values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangedRow {
    /// Its number before, from 1.
    pub row_before: u64,
    /// Its number after.
    pub row_after: u64,
    /// The values of the key.
    pub key: Map<String, Json>,
    /// The values before of the columns that differ.
    pub before: Map<String, Json>,
    /// Their values after.
    pub after: Map<String, Json>,
}

/// The first rows of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RowSamples {
    /// Rows only the table after has.
    pub added: Vec<ShownRow>,
    /// Rows only the table before has.
    pub removed: Vec<ShownRow>,
    /// Rows of the same key.
    pub changed: Vec<ChangedRow>,
}

/// A row's values by column.
type Named = BTreeMap<String, Value>;

/// Reads the rows that were matched and are to be shown.
pub(super) fn sample(
    sides: [(&Arc<dyn Bytes>, Format); 2],
    matched: &Matched,
    common: &[String],
    key: &[String],
) -> Result<RowSamples> {
    let (added, removed) = (matched.added_rows.rows(), matched.removed_rows.rows());
    let changed = matched.changed_rows.rows();
    let wanted_before: BTreeSet<u64> = removed.keys().chain(changed.values()).copied().collect();
    let wanted_after: BTreeSet<u64> = added.keys().chain(changed.keys()).copied().collect();
    let before = read(sides[0], &wanted_before).map_err(|error| error.of(Side::Before))?;
    let after = read(sides[1], &wanted_after).map_err(|error| error.of(Side::After))?;
    let show = |rows: &BTreeMap<u64, Named>, wanted: &BTreeMap<u64, u64>| {
        let shown = wanted.iter().filter_map(|(row, count)| {
            Some(ShownRow { row: *row, count: *count, values: json(rows.get(row)?.iter()) })
        });
        shown.collect()
    };
    let change = |(row_after, row_before): (&u64, &u64)| {
        let (old, new) = (before.get(row_before)?, after.get(row_after)?);
        let named = |row: &Named, names: &[&String]| -> Map<String, Json> {
            names.iter().filter_map(|name| Some(((*name).clone(), row.get(*name)?.to_json()))).collect()
        };
        let differ: Vec<&String> =
            common.iter().filter(|name| encoded(old, name) != encoded(new, name)).collect();
        let key = named(new, &key.iter().collect::<Vec<_>>());
        let (before, after) = (named(old, &differ), named(new, &differ));
        Some(ChangedRow { row_before: *row_before, row_after: *row_after, key, before, after })
    };
    Ok(RowSamples {
        added: show(&after, added),
        removed: show(&before, removed),
        changed: changed.iter().filter_map(change).collect(),
    })
}

fn encoded(row: &Named, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    row.get(name).unwrap_or(&Value::Null).encode(&mut bytes);
    bytes
}

fn json<'a>(row: impl Iterator<Item = (&'a String, &'a Value)>) -> Map<String, Json> {
    row.map(|(name, value)| (name.clone(), value.to_json())).collect()
}

/// Reads rows by number.
fn read((bytes, format): (&Arc<dyn Bytes>, Format), wanted: &BTreeSet<u64>) -> Result<BTreeMap<u64, Named>> {
    let mut found = BTreeMap::new();
    let Some(last) = wanted.last() else { return Ok(found) };
    let mut rows = open(bytes, format)?;
    let mut row = Vec::new();
    let mut number = 0;
    while number < *last && rows.next(&mut row)? {
        number += 1;
        if wanted.contains(&number) {
            let names = rows.columns().iter().map(|column| column.name.clone());
            found.insert(number, names.zip(row.iter().cloned()).collect());
        }
    }
    Ok(found)
}
