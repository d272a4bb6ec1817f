//! JSON Lines: an object a line.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::bytes::{Bytes, Stream};
use super::error::{Error, Result};
use super::rows::{Column, ROW_MAX, Rows};
use super::value::Value;

/// Most columns: objects whose keys are data have no columns.
const COLUMNS_MAX: usize = 100_000;

/// Rows of a file of JSON Lines.
pub struct JsonRows {
    stream: Stream,
    line: u64,
    text: Vec<u8>,
    columns: Vec<Column>,
    /// Where each column is.
    places: HashMap<String, usize>,
}

impl JsonRows {
    /// Reads nothing yet.
    pub fn open(bytes: &Arc<dyn Bytes>) -> Result<JsonRows> {
        let stream = Stream::new(bytes.clone(), 0);
        let places = HashMap::new();
        Ok(JsonRows { stream, line: 0, text: Vec::new(), columns: Vec::new(), places })
    }

    /// Reads the next line. False at the end.
    fn next_line(&mut self) -> Result<bool> {
        self.text.clear();
        self.line += 1;
        loop {
            let there = self.stream.fill().map_err(Error::Read)?;
            if there.is_empty() {
                return Ok(!self.text.is_empty());
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            self.text.extend_from_slice(&there[..end.unwrap_or(there.len())]);
            let count = end.map_or(there.len(), |end| end + 1);
            self.stream.consume(count);
            if self.text.len() > ROW_MAX {
                return Err(self.failed("is longer than 64 MiB".into()));
            }
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn failed(&self, why: String) -> Error {
        Error::Line { line: self.line, why }
    }

    /// Where the column of this name is, new or not.
    fn place(&mut self, name: String) -> Result<usize> {
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        let place = self.columns.len();
        if place == COLUMNS_MAX {
            return Err(self.failed(format!("more than {COLUMNS_MAX} different keys: these are no columns")));
        }
        self.columns.push(Column { name: name.clone(), kind: String::new() });
        self.places.insert(name, place);
        Ok(place)
    }
}

impl Rows for JsonRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next(&mut self, row: &mut Vec<Value>) -> Result<bool> {
        loop {
            if !self.next_line()? {
                return Ok(false);
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        let Ok(text) = std::str::from_utf8(&self.text) else {
            return Err(self.failed("is not UTF-8".into()));
        };
        // A column is counted from 1 within the line.
        let why = |e: serde_json::Error| {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            format!("is no JSON object: {what} at column {}", e.column())
        };
        let object = match serde_json::from_str::<Json>(text) {
            Ok(Json::Object(object)) => object,
            Ok(_) => return Err(self.failed("is JSON, but no object".into())),
            Err(error) => return Err(self.failed(why(error))),
        };
        row.clear();
        row.resize(self.columns.len(), Value::Null);
        for (name, value) in object {
            let place = self.place(name)?;
            row.resize(self.columns.len(), Value::Null);
            row[place] = value_of(value);
        }
        Ok(true)
    }
}

/// A value; objects have their keys in order, so that equal ones have equal text.
fn value_of(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Value::Int(value.into()),
            (_, Some(value), _) => Value::Int(value.into()),
            (.., Some(value)) => Value::Float(value),
            _ => Value::Decimal(number.to_string(), f64::NAN),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(_) => Value::Array(json.to_string()),
        Json::Object(_) => Value::Object(sorted(json).to_string()),
    }
}

/// The same with the keys of objects in order, whatever order the parser keeps them in.
fn sorted(json: Json) -> Json {
    match json {
        Json::Object(object) => {
            let mut entries: Vec<(String, Json)> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        json => json,
    }
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
        let array = Value::Array("[1,{\"x\":2,\"y\":1}]".into());
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
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{}: {error}", String::from_utf8_lossy(text));
        }
    }
}
