//! Rows of any table.

use std::collections::{HashMap, HashSet};

use super::error::Result;
use super::value::Value;

/// Most bytes of a row: what is longer is no row but a file that is not what it seems.
pub(super) const ROW_MAX: usize = 64 << 20;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unlike those of the others.
    pub name: String,
    /// Its type; empty where the format declares none.
    pub kind: String,
}

/// These names, each unlike the others: one that was there before is told from it by a number.
pub(super) fn unlike(names: Vec<String>) -> Vec<String> {
    let mut seen: HashSet<String> = HashSet::new();
    // From which on numbers of a name are looked at.
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let unlike = |name: String| {
        if seen.insert(name.clone()) {
            return name;
        }
        let number = numbers.entry(name.clone()).or_default();
        loop {
            *number += 1;
            let numbered = format!("{name}.{number}");
            if seen.insert(numbered.clone()) {
                return numbered;
            }
        }
    };
    names.into_iter().map(unlike).collect()
}

/// Rows of a table, read one after another.
pub trait Rows {
    /// The columns. Those of JSON Lines are those of the rows so far: more may come at the end.
    fn columns(&self) -> &[Column];

    /// Goes on to the next row. False after the last.
    ///
    /// # Errors
    /// Where it is malformed or cannot be read.
    fn advance(&mut self) -> Result<bool>;

    /// How the row is written that reading is at, where that tells its values: rows of the same columns that
    /// are written the same are the same.
    fn written(&self) -> Option<Written<'_>> {
        None
    }

    /// Reads the row that reading is at into `row`, a value for each column, whatever was there before.
    ///
    /// # Errors
    /// Where it is malformed.
    fn read(&mut self, row: &mut Vec<Value>) -> Result<()>;

    /// Goes on to the next row and reads it. False after the last.
    ///
    /// # Errors
    /// Where it is malformed or cannot be read.
    fn next(&mut self, row: &mut Vec<Value>) -> Result<bool> {
        Ok(self.advance()? && self.read(row).map(|()| true)?)
    }
}

/// Text of a row, and where each of its fields ends if that is not in the text.
pub type Written<'a> = (&'a [u8], &'a [usize]);
