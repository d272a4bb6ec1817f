//! Times of 96 bits, which rows of the crate have cut to milliseconds, read to the nanosecond beside them.

use std::collections::VecDeque;
use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{Int96, Int96Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::super::value::Value;
use super::Chunks;
use super::values::time_of_nanos;

/// Day 0 of the epoch, in days of the Julian calendar that these times count by.
const EPOCH: i128 = 2_440_588;
const NANOS_A_DAY: i128 = 86_400_000_000_000;

/// The columns of such times that are not within others: their place in a row, and among the leaves.
pub fn columns(schema: &SchemaDescriptor) -> Vec<(usize, usize)> {
    let leaves = schema.columns().iter().enumerate();
    let times = leaves.filter(|(_, leaf)| {
        leaf.physical_type() == Physical::INT96 && leaf.path().parts().len() == 1 && leaf.max_rep_level() == 0
    });
    times.map(|(at, _)| (schema.get_column_root_idx(at), at)).collect()
}

/// The values of such a column, one after another.
pub struct Exact {
    file: Arc<SerializedFileReader<Chunks>>,
    leaf: usize,
    /// Values read at a time.
    batch: usize,
    /// The next row group.
    group: usize,
    reader: Option<ColumnReaderImpl<Int96Type>>,
    read: VecDeque<Value>,
}

impl Exact {
    /// Reads nothing yet.
    pub fn new(file: Arc<SerializedFileReader<Chunks>>, leaf: usize, batch: usize) -> Exact {
        Exact { file, leaf, batch, group: 0, reader: None, read: VecDeque::new() }
    }

    /// The value of the next row.
    pub fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(value) = self.read.pop_front() {
                return Ok(value);
            }
            let Some(reader) = &mut self.reader else {
                if self.group == self.file.num_row_groups() {
                    return Err(ParquetError::EOF("a column ends before the others".into()));
                }
                let column = self.file.get_row_group(self.group)?.get_column_reader(self.leaf)?;
                self.group += 1;
                let ColumnReader::Int96ColumnReader(reader) = column else {
                    return Err(ParquetError::General("a column is not of its type".into()));
                };
                self.reader = Some(reader);
                continue;
            };
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let (records, ..) = reader.read_records(self.batch, Some(&mut levels), None, &mut values)?;
            if records == 0 {
                self.reader = None;
            }
            let mut values = values.iter().map(value);
            if levels.is_empty() {
                self.read.extend(values);
            } else {
                let next = |level: i16| if level > 0 { values.next() } else { None };
                self.read.extend(levels.into_iter().map(next).map(|value| value.unwrap_or(Value::Null)));
            }
        }
    }
}

fn value(time: &Int96) -> Value {
    let data = time.data();
    let nanos = u64::from(data[0]) | u64::from(data[1]) << 32;
    time_of_nanos((i128::from(data[2]) - EPOCH) * NANOS_A_DAY + i128::from(nanos))
}
