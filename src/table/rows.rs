//! Rows of any table.

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

/// Rows of a table, read one after another.
pub trait Rows {
    /// The columns. Those of JSON Lines are those of the rows so far: more may come at the end.
    fn columns(&self) -> &[Column];

    /// Reads the next row into `row`: a value for each column. False after the last.
    ///
    /// # Errors
    /// Where it is malformed or cannot be read.
    fn next(&mut self, row: &mut Vec<Value>) -> Result<bool>;
}
