//! Tables in files: reading CSV, TSV, JSON Lines and Parquet as rows of values, and telling how two differ.
//!
//! It knows bytes ([`Bytes`]) and nothing of datasets, versions or paths. Memory is bounded whatever the size of a
//! table: rows are read one after another ([`Rows`]), few of them held. Two tables are walked at once ([`mod@align`]);
//! rows that differ on the way are matched by hashes that are partitioned into scratch files ([`mod@spill`]); what is
//! told of a column is of fixed size ([`Summary`]).

mod align;
mod bound;
mod bytes;
mod compare;
mod csv;
mod diff;
mod distinct;
mod error;
mod format;
mod gathered;
mod jsonl;
mod parquet;
mod record;
mod rows;
mod sample;
mod spill;
mod summary;
mod value;

#[cfg(test)]
mod testing;

pub use bytes::Bytes;
pub use csv::CsvRows;
pub use diff::{ColumnDiff, Options, RowCounts, TableDiff, diff};
pub use error::{Error, Result, Side};
pub use format::Format;
pub use parquet::ParquetRows;
pub use rows::{Column, Rows};
pub use sample::{ChangedRow, RowSamples, ShownRow};
pub use summary::{Summary, Top};
pub use value::Value;

/// Opens a table to be read from its first row on.
///
/// # Errors
/// Where the bytes are no such table.
pub fn open(bytes: &std::sync::Arc<dyn Bytes>, format: Format) -> Result<Box<dyn Rows>> {
    Ok(match format {
        Format::Csv => Box::new(csv::CsvRows::open(bytes, None)?),
        Format::Tsv => Box::new(csv::CsvRows::open(bytes, Some(b'\t'))?),
        Format::Jsonl => Box::new(jsonl::JsonRows::open(bytes)?),
        Format::Parquet => Box::new(parquet::ParquetRows::open(bytes)?),
    })
}

/// The columns of a table, with their types: declared ones of Parquet, else those that all values have.
///
/// # Errors
/// As [`open`], and where a row cannot be read.
pub fn columns(bytes: &std::sync::Arc<dyn Bytes>, format: Format) -> Result<Vec<Column>> {
    let mut rows = open(bytes, format)?;
    if format == Format::Parquet {
        return Ok(rows.columns().to_vec());
    }
    let mut classes: Vec<value::Classes> = Vec::new();
    let mut row = Vec::new();
    while rows.next(&mut row)? {
        classes.resize(rows.columns().len(), value::Classes::default());
        for (classes, value) in classes.iter_mut().zip(&row) {
            classes.add(value);
        }
    }
    classes.resize(rows.columns().len(), value::Classes::default());
    let named = rows.columns().iter().zip(classes);
    Ok(named.map(|(column, classes)| Column { name: column.name.clone(), kind: classes.name() }).collect())
}
