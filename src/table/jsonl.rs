//! JSON Lines: an object a line.

mod line;

use std::io::{BufRead, Read};
use std::sync::Arc;

use serde_json::Value as Json;

use super::bytes::{Bytes, Stream};
use super::error::{Error, Result};
use super::rows::{Column, ROW_MAX, Rows, Written};
use super::value::Value;

/// Most columns: objects whose keys are data have no columns, and each row takes time for all of them.
const COLUMNS_MAX: usize = 10_000;

/// Rows of a file of JSON Lines.
pub struct JsonRows {
    stream: Stream,
    line: u64,
    text: Vec<u8>,
    columns: line::Columns,
}

impl JsonRows {
    /// Reads nothing yet but a mark that says that it is UTF-8, if that is there.
    pub fn open(bytes: &Arc<dyn Bytes>) -> Result<JsonRows> {
        let stream = Stream::after_mark(bytes.clone()).map_err(Error::Read)?;
        Ok(JsonRows { stream, line: 0, text: Vec::new(), columns: line::Columns::default() })
    }

    /// Reads the next line. False at the end.
    fn next_line(&mut self) -> Result<bool> {
        self.text.clear();
        self.line += 1;
        // The end of the line, too.
        let most = ROW_MAX as u64 + 1;
        let read = self.stream.by_ref().take(most).read_until(b'\n', &mut self.text).map_err(Error::Read)?;
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
        }
        if self.text.len() > ROW_MAX {
            return Err(self.failed("is longer than 64 MiB".into()));
        }
        Ok(read > 0)
    }

    fn failed(&self, why: String) -> Error {
        Error::Line { line: self.line, why }
    }

    /// Why a line is no object.
    fn no_object(&self, text: &str) -> Error {
        let Err(error) = serde_json::from_str::<Json>(text) else {
            return self.failed("is JSON, but no object".into());
        };
        // A column is counted from 1 within the line.
        if let Some(number) = no_number(text, error.column()) {
            return self.failed(format!(
                "has {number}, which JSON has no number for: write null or \"{number}\" there"
            ));
        }
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        self.failed(format!("is no JSON object: {what} at column {}", error.column()))
    }
}

impl Rows for JsonRows {
    fn columns(&self) -> &[Column] {
        self.columns.all()
    }

    fn advance(&mut self) -> Result<bool> {
        while self.next_line()? {
            if !self.text.trim_ascii_start().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn written(&self) -> Option<Written<'_>> {
        Some((&self.text, &[]))
    }

    fn read(&mut self, row: &mut Vec<Value>) -> Result<()> {
        let Ok(text) = std::str::from_utf8(&self.text) else {
            return Err(self.failed("is not UTF-8".into()));
        };
        let new = line::read(text, &mut self.columns, row).map_err(|_| self.no_object(text))?;
        for (name, value) in new {
            if self.columns.all().len() == COLUMNS_MAX {
                let why = format!("more than {COLUMNS_MAX} different keys: these are no columns");
                return Err(self.failed(why));
            }
            let place = self.columns.add(name);
            row.resize(place + 1, Value::Null);
            row[place] = value;
        }
        Ok(())
    }
}

/// What programs write that have numbers JSON has not, where it is what is wrong with a line.
fn no_number(text: &str, column: usize) -> Option<&'static str> {
    let starts = |name: &str, before: usize| {
        let rest = column.checked_sub(before).and_then(|at| text.as_bytes().get(at..));
        rest.is_some_and(|rest| rest.starts_with(name.as_bytes()))
    };
    // After a sign, what is wrong is told of the sign or of what comes next.
    let is_there = |name: &str| starts(name, 1) || (name.starts_with('-') && starts(name, 2));
    ["NaN", "-Infinity", "Infinity"].into_iter().find(|name| is_there(name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::bytes;
    use super::*;

    fn read(text: &[u8]) -> Result<(Vec<String>, Vec<Vec<Value>>)> {
        let mut rows = JsonRows::open(&bytes(text))?;
        let (mut all, mut row) = (Vec::new(), Vec::new());
        while rows.next(&mut row)? {
            all.push(row.clone());
        }
        Ok((rows.columns().iter().map(|column| column.name.clone()).collect(), all))
    }

    #[test]
    fn keys_are_columns_as_they_come() {
        let text =
            b"{\"a\": 1, \"b\": [1, {\"y\": 1, \"x\": 2}]}\n\n{\"c\": \"x\", \"a\": 1.5}\r\n{\"a\": null}";
        let (columns, rows) = read(text).unwrap();
        assert_eq!(columns, ["a", "b", "c"]);
        let object = Value::Object(vec![("x".into(), Value::Int(2)), ("y".into(), Value::Int(1))]);
        let array = Value::Array(vec![Value::Int(1), object]);
        assert_eq!(array.to_string(), "[1,{\"x\":2,\"y\":1}]");
        assert_eq!(rows[0], [Value::Int(1), array]);
        assert_eq!(rows[1], [Value::Float(1.5), Value::Null, Value::Text("x".into())]);
        assert_eq!(rows[2], [Value::Null, Value::Null, Value::Null]);
    }

    #[test]
    fn what_is_no_object_is_told_with_its_line() {
        for (text, wanted) in [
            (&b"{}\n{\"a\": }\n"[..], "line 2: is no JSON object: expected value at column 7"),
            (b"{}\n\n[1]\n", "line 3: is JSON, but no object"),
            (b"{}\n{\"a\": 1", "line 2: is no JSON object: EOF"),
            (b"\xff\n", "line 1: is not UTF-8"),
            (
                b"{}\n{\"a\": NaN}",
                "line 2: has NaN, which JSON has no number for: write null or \"NaN\" there",
            ),
            (b"{\"b\": {\"a\": [1, Infinity]}}", "line 1: has Infinity, which"),
            (b"{\"a\": -Infinity, \"b\": 1}", "line 1: has -Infinity, which"),
            (b"{\"NaN\": nan}", "line 1: is no JSON object: expected ident"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{}: {error}", String::from_utf8_lossy(text));
        }
    }
}
