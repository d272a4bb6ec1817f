//! Parquet, as rows. The only place that names the crate `parquet`.
//!
//! Pages are read one at a time, column by column; what is held is a page of each column, a few of its values, and
//! the list of row groups. The crate panics on some files that are damaged: that is caught, and such a file is
//! malformed.

mod encrypted;
mod exact;
mod kinds;
mod names;
mod notes;
mod panics;
mod values;
mod within;

use std::ops::Range;
use std::sync::Arc;

use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::reader::RowIter;
use parquet::schema::types::SchemaDescPtr;

use super::bytes::{Bytes, Stream, fill};
use super::error::{Error, Result};
use super::format::PARQUET_MAGIC;
use super::rows::{Column, Rows};
use super::value::Value;
use exact::Exact;
pub use notes::Notes;
use panics::caught;

/// Magic, and the length of the footer before the last one.
const SMALLEST: u64 = 12;

/// Values read ahead, of all columns together, as far as the least for each allows that.
const VALUES_HELD: usize = 64 << 10;
/// How many of a column: each takes some 40 bytes, which of thousands of columns are a lot.
const BATCH: Range<usize> = 16..1024;

/// Rows of a Parquet file.
pub struct ParquetRows {
    bytes: Arc<dyn Bytes>,
    schema: SchemaDescPtr,
    columns: Vec<Column>,
    repeats_names: bool,
    rows: RowIter<'static>,
    /// Columns that the crate reads less exactly than they are, and where they are.
    exact: Vec<(usize, Exact)>,
    notes: Notes,
    /// How many rows there are to be.
    total: u64,
    /// How many were read.
    read: u64,
    /// The last of them.
    row: Vec<Value>,
}

impl ParquetRows {
    /// Reads the footer.
    pub fn open(bytes: &Arc<dyn Bytes>) -> Result<ParquetRows> {
        check_ends(&**bytes)?;
        let malformed = |why: String| Error::Malformed(format!("is no sound Parquet file: {why}"));
        let mut file = caught(|| SerializedFileReader::new(Chunks(bytes.clone()))).map_err(malformed)?;
        let mut schema = file.metadata().file_metadata().schema_descr_ptr();
        let repeats_names = names::repeats(schema.root_schema());
        let open = |schema: SchemaDescPtr| {
            let options = ReadOptionsBuilder::new().with_parquet_schema(schema).build();
            SerializedFileReader::new_with_options(Chunks(bytes.clone()), options)
        };
        if let Some(apart) = caught(|| names::told_apart(&schema)).map_err(malformed)? {
            schema = Arc::new(apart);
            file = caught(|| open(schema.clone())).map_err(malformed)?;
        }
        let fields = schema.root_schema().get_fields();
        let columns =
            fields.iter().map(|field| Column { name: field.name().into(), kind: kinds::name(field) });
        let columns: Vec<Column> = columns.collect();
        let notes = Notes::of(file.metadata().file_metadata());
        let total = file.metadata().file_metadata().num_rows();
        let total = u64::try_from(total).map_err(|_| malformed(format!("it claims to have {total} rows")))?;
        let batch = (VALUES_HELD / schema.num_columns().max(1)).clamp(BATCH.start, BATCH.end);
        let mut exact = Vec::new();
        let exactly = exact::columns(&schema);
        if !exactly.is_empty() {
            let file = Arc::new(caught(|| open(schema.clone())).map_err(malformed)?);
            let column = |(place, leaf)| (place, Exact::new(file.clone(), leaf, batch));
            exact.extend(exactly.into_iter().map(column));
        }
        let rows = RowIter::from_file_into(Box::new(file)).with_batch_size(batch);
        let bytes = bytes.clone();
        Ok(ParquetRows {
            bytes,
            schema,
            columns,
            repeats_names,
            rows,
            exact,
            notes,
            total,
            read: 0,
            row: Vec::new(),
        })
    }

    /// What its writer noted of columns.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Whether it has a name more than once: columns are told apart by numbers then.
    pub fn repeats_names(&self) -> bool {
        self.repeats_names
    }

    /// Why a row cannot be read.
    fn failed(&self, row: u64, why: String) -> Error {
        if row == 1 && encrypted::is_encrypted(&*self.bytes) {
            let why = "is encrypted Parquet: its footer can be read, its columns cannot";
            return Error::Malformed(why.into());
        }
        Error::Row { row, why }
    }
}

impl Rows for ParquetRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn advance(&mut self) -> Result<bool> {
        let number = self.read + 1;
        let failed = |why| Error::Row { row: number, why };
        let read = caught(|| self.rows.next().transpose()).map_err(|why| self.failed(number, why))?;
        let Some(read) = read else {
            return match self.total - self.read {
                0 => Ok(false),
                missing => Err(failed(format!("is missing, and so are {} more", missing - 1))),
            };
        };
        if self.read == self.total {
            return Err(failed(format!("the file says that it has {} rows, and has more", self.total)));
        }
        self.read = number;
        let row = &mut self.row;
        row.clear();
        caught(|| {
            let fields = read.into_columns().into_iter().enumerate();
            let root = self.schema.root_schema();
            row.extend(fields.map(|(at, (_, field))| values::value(field, within::field(root, at))));
            Ok(())
        })
        .map_err(failed)?;
        if row.len() != self.columns.len() {
            return Err(failed(format!("has {} values for {} columns", row.len(), self.columns.len())));
        }
        for (place, exact) in &mut self.exact {
            row[*place] = caught(|| exact.next()).map_err(failed)?;
        }
        Ok(true)
    }

    fn read(&mut self, row: &mut Vec<Value>) -> Result<()> {
        std::mem::swap(row, &mut self.row);
        Ok(())
    }
}

/// Tells what is cut off from what is no Parquet at all.
fn check_ends(bytes: &dyn Bytes) -> Result<()> {
    let (mut start, mut end) = ([0; 4], [0; 4]);
    let size = bytes.size();
    let read = |at: u64, out: &mut [u8]| fill(bytes, at, out).map_err(Error::Read);
    read(0, &mut start)?;
    read(size.saturating_sub(4), &mut end)?;
    if start != *PARQUET_MAGIC {
        let why = if &start == b"PARE" {
            "is encrypted Parquet"
        } else {
            "is no Parquet file: it does not begin with PAR1"
        };
        return Err(Error::Malformed(why.into()));
    }
    if size < SMALLEST || end != *PARQUET_MAGIC {
        let why = format!("is a truncated Parquet file: its {size} bytes do not end with PAR1");
        return Err(Error::Malformed(why));
    }
    Ok(())
}

/// Bytes as the crate wants to read them.
pub(super) struct Chunks(Arc<dyn Bytes>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Chunks {
    type T = Stream;

    fn get_read(&self, start: u64) -> ParquetResult<Stream> {
        Ok(Stream::new(self.0.clone(), start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<bytes::Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.size()) {
            return Err(ParquetError::EOF("what it points to lies beyond its end".into()));
        }
        let mut out = vec![0; length];
        match fill(&*self.0, start, &mut out)? {
            filled if filled == length => Ok(out.into()),
            _ => Err(ParquetError::EOF("it ends early".into())),
        }
    }
}
