//! CSV and TSV as RFC 4180 has it: fields in quotes may hold separators, line ends and doubled quotes.
//!
//! Strict where leniency would give rows that nobody wrote: every row has as many fields as the header, a quote
//! that opens is closed, and what is not UTF-8 is refused. The first row is the header; empty lines are none.

use std::collections::HashSet;
use std::io::BufRead;
use std::sync::Arc;

use super::bytes::{Bytes, Stream};
use super::error::{Error, Result};
use super::rows::{Column, ROW_MAX, Rows, Written, unlike};
use super::value::Value;

/// Separators that a header may have, in order of preference.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Rows of a file of CSV.
pub struct CsvRows {
    records: Records,
    columns: Vec<Column>,
    repeats_names: bool,
    /// Where the row begins that reading is at.
    line: u64,
}

impl CsvRows {
    /// Reads the header. Without a separator given, it is the one that the header has.
    pub fn open(bytes: &Arc<dyn Bytes>, separator: Option<u8>) -> Result<CsvRows> {
        let mut stream = Stream::after_mark(bytes.clone()).map_err(Error::Read)?;
        let separator = match separator {
            Some(separator) => separator,
            None => separator_of(stream.fill_buf().map_err(Error::Read)?),
        };
        let mut records = Records { stream, separator, line: 1, text: Vec::new(), ends: Vec::new() };
        let names: Vec<String> = match records.next()? {
            Some(line) => records.fields(line)?.map(str::to_owned).collect(),
            // A file that nothing was written to yet.
            None => Vec::new(),
        };
        let repeats_names = names.iter().collect::<HashSet<_>>().len() < names.len();
        let columns = unlike(names).into_iter().map(|name| Column { name, kind: String::new() }).collect();
        Ok(CsvRows { records, columns, repeats_names, line: 1 })
    }

    /// Whether the header has a name more than once: columns are told apart by numbers then.
    pub fn repeats_names(&self) -> bool {
        self.repeats_names
    }
}

impl Rows for CsvRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn advance(&mut self) -> Result<bool> {
        let Some(line) = self.records.next()? else { return Ok(false) };
        self.line = line;
        let (fields, columns) = (self.records.ends.len(), self.columns.len());
        if fields != columns {
            let why = format!("{} where the header has {columns}", count(fields));
            return Err(Error::Line { line, why });
        }
        Ok(true)
    }

    fn written(&self) -> Option<Written<'_>> {
        Some((&self.records.text, &self.records.ends))
    }

    fn read(&mut self, row: &mut Vec<Value>) -> Result<()> {
        row.clear();
        row.extend(self.records.fields(self.line)?.map(|field| match field {
            "" => Value::Null,
            text => Value::Field(text.to_owned()),
        }));
        Ok(())
    }
}

fn count(fields: usize) -> String {
    if fields == 1 { "1 field".into() } else { format!("{fields} fields") }
}

/// The separator that a header has; a comma where it has none.
fn separator_of(start: &[u8]) -> u8 {
    let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    SEPARATORS.into_iter().find(|separator| header.contains(separator)).unwrap_or(b',')
}

/// Where in a record reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    Start,
    /// In a field without quotes.
    Bare,
    /// In quotes that were opened on this line.
    Quoted(u64),
    /// After a quote that closes.
    Closed,
}

/// Records of a file: the fields of one at a time.
struct Records {
    stream: Stream,
    separator: u8,
    /// The line that reading is at, from 1.
    line: u64,
    /// The fields, one after another.
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Records {
    /// Reads the next record; gives the line that it begins at.
    fn next(&mut self) -> Result<Option<u64>> {
        self.text.clear();
        self.ends.clear();
        let mut first = self.line;
        let mut state = State::Start;
        loop {
            let byte = self.stream.peek().map_err(Error::Read)?;
            if self.text.len() > ROW_MAX {
                let why = "a row is longer than 64 MiB; perhaps a quote is not closed".into();
                return Err(Error::Line { line: first, why });
            }
            let is_empty = state == State::Start && self.ends.is_empty();
            state = match (state, byte) {
                (State::Quoted(line), None) => {
                    return Err(Error::Line { line, why: "a quote is opened and never closed".into() });
                }
                (State::Quoted(line), Some(b'"')) => {
                    self.stream.consume(1);
                    if self.stream.peek().map_err(Error::Read)? == Some(b'"') {
                        self.stream.consume(1);
                        self.text.push(b'"');
                        State::Quoted(line)
                    } else {
                        State::Closed
                    }
                }
                (State::Quoted(line), Some(_)) => {
                    self.take_until(|byte| byte == b'"')?;
                    State::Quoted(line)
                }
                (_, None) if is_empty => return Ok(None),
                (_, None) => {
                    self.ends.push(self.text.len());
                    return Ok(Some(first));
                }
                (_, Some(b'\n' | b'\r')) => {
                    self.end_line()?;
                    if !is_empty {
                        self.ends.push(self.text.len());
                        return Ok(Some(first));
                    }
                    first = self.line;
                    State::Start
                }
                (_, Some(byte)) if byte == self.separator => {
                    self.stream.consume(1);
                    self.ends.push(self.text.len());
                    // Something is there, if only a separator.
                    State::Start
                }
                (State::Start, Some(b'"')) => {
                    self.stream.consume(1);
                    State::Quoted(self.line)
                }
                (State::Closed, Some(_)) => {
                    let why = "text after a closing quote; a quote within quotes is to be doubled".into();
                    return Err(Error::Line { line: self.line, why });
                }
                (State::Start | State::Bare, Some(_)) => {
                    let separator = self.separator;
                    self.take_until(|byte| byte == separator || byte == b'\n' || byte == b'\r')?;
                    State::Bare
                }
            };
        }
    }

    /// Takes what is there up to a byte that ends it, or more is to be read.
    fn take_until(&mut self, ends: impl Fn(u8) -> bool) -> Result<()> {
        let there = self.stream.fill_buf().map_err(Error::Read)?;
        let count = there.iter().position(|byte| ends(*byte)).unwrap_or(there.len());
        let taken = &there[..count];
        self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.text.extend_from_slice(taken);
        self.stream.consume(count);
        Ok(())
    }

    /// Passes over the end of a line: LF, CR LF, or CR.
    fn end_line(&mut self) -> Result<()> {
        let first = self.stream.peek().map_err(Error::Read)?;
        self.stream.consume(1);
        if first == Some(b'\r') && self.stream.peek().map_err(Error::Read)? == Some(b'\n') {
            self.stream.consume(1);
        }
        self.line += 1;
        Ok(())
    }

    /// The fields of the record that was read, which began at `line`.
    fn fields(&self, line: u64) -> Result<impl Iterator<Item = &str>> {
        let Ok(text) = std::str::from_utf8(&self.text) else {
            return Err(Error::Line { line, why: "is not UTF-8".into() });
        };
        let cut = |start: usize, end: usize| {
            let why = || Error::Line { line, why: "is not UTF-8: a field ends within a character".into() };
            text.get(start..end).ok_or_else(why)
        };
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let fields = starts.zip(&self.ends).map(|(start, end)| cut(start, *end));
        fields.collect::<Result<Vec<&str>>>().map(Vec::into_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    struct Slow(Vec<u8>);

    impl Bytes for Slow {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        /// A byte at a time: every state is left and come back to.
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            let Some(byte) = self.0.get(offset as usize) else { return Ok(0) };
            out[0] = *byte;
            Ok(1)
        }
    }

    fn read(text: &[u8]) -> Result<Vec<Vec<String>>> {
        let bytes: Arc<dyn Bytes> = Arc::new(Slow(text.to_vec()));
        let mut rows = CsvRows::open(&bytes, None)?;
        let mut all = vec![rows.columns().iter().map(|column| column.name.clone()).collect()];
        let mut row = Vec::new();
        while rows.next(&mut row)? {
            all.push(row.iter().map(Value::to_string).collect());
        }
        Ok(all)
    }

    #[test]
    fn records_are_read_as_the_rules_say() {
        for (text, wanted) in [
            ("", vec![vec![]]),
            ("\n\n", vec![vec![]]),
            ("a\n", vec![vec!["a"]]),
            ("a", vec![vec!["a"]]),
            ("\u{feff}a,b\r\n1,2\r\n", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a,b\n\n1,\n\n,2", vec![vec!["a", "b"], vec!["1", ""], vec!["", "2"]]),
            ("a,b\n\"x,\"\"y\nz\",\"\"\n", vec![vec!["a", "b"], vec!["x,\"y\nz", ""]]),
            ("a,b\n5\" pipe,x\"y\"\n", vec![vec!["a", "b"], vec!["5\" pipe", "x\"y\""]]),
            ("a\n\"\"\nx\n", vec![vec!["a"], vec![""], vec!["x"]]),
            ("a,a,a.1\n", vec![vec!["a", "a.1", "a.1.1"]]),
            ("\"a;b\";c\n1;2\n", vec![vec!["a;b", "c"], vec!["1", "2"]]),
        ] {
            // The separator is looked for in what is there at first, which is a byte here.
            let bytes: Arc<dyn Bytes> = Arc::new(Slow(text.as_bytes().to_vec()));
            let separator = if text.contains(';') { b';' } else { b',' };
            let mut rows = CsvRows::open(&bytes, Some(separator)).unwrap();
            let mut all = vec![rows.columns().iter().map(|column| column.name.clone()).collect::<Vec<_>>()];
            let mut row = Vec::new();
            while rows.next(&mut row).unwrap() {
                all.push(row.iter().map(Value::to_string).collect());
            }
            assert_eq!(all, wanted, "{text:?}");
        }
        assert_eq!(separator_of(b"a;b\n1,5;2"), b';');
        assert_eq!(separator_of(b"a\tb\n"), b'\t');
        assert_eq!(separator_of(b"a\n"), b',');
    }

    #[test]
    fn what_is_malformed_is_told_with_its_line() {
        for (text, wanted) in [
            (&b"a,b\n1,2\n\n1\n"[..], "line 4: 1 field where the header has 2"),
            (b"a,b\n\"x\ny\",2\n1,2,3\n", "line 4: 3 fields"),
            (b"a,b\n1,2\n\"x,3\n4,5\n", "line 3: a quote is opened"),
            (b"a\n\"x\"y\n", "line 2: text after a closing quote"),
            (b"a\n1\n\xff\n", "line 3: is not UTF-8"),
            (b"a,b\n\xc3,\xa9\n", "line 2: is not UTF-8"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{}: {error}", String::from_utf8_lossy(text));
        }
    }
}
