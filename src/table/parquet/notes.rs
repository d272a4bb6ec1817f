//! What writers note of columns besides the schema: pandas as JSON, Arrow as its own schema, in base64.

use std::collections::HashSet;

use parquet::file::metadata::FileMetaData;
use serde_json::Value;

/// Arrow's number for a type of columns: spans of time.
const DURATION: u8 = 18;
/// Arrow's number for a message that is a schema.
const SCHEMA: u8 = 1;

/// Columns that are not what the schema alone says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Names of those that pandas makes an index of rows without a name when it reads the file: none has that name then.
    pub index: HashSet<String>,
    /// Names of those that are declared as numbers, and are spans of time.
    pub durations: HashSet<String>,
    /// Whether pandas has other names for the columns than the schema, such as numbers, or one name twice.
    pub renames: bool,
}

/// What pandas calls an index without a name; a number follows.
const UNNAMED: &str = "__index_level_";

impl Notes {
    /// Those of a file. What cannot be understood says nothing.
    pub(super) fn of(file: &FileMetaData) -> Notes {
        let mut notes = Notes::default();
        for noted in file.key_value_metadata().into_iter().flatten() {
            match (noted.key.as_str(), noted.value.as_deref()) {
                ("pandas", Some(text)) => notes.take_pandas(text),
                ("ARROW:schema", Some(text)) => {
                    let schema = base64(text).and_then(|bytes| durations(&bytes));
                    notes.durations.extend(schema.unwrap_or_default());
                }
                _ => {}
            }
        }
        notes
    }

    fn take_pandas(&mut self, text: &str) {
        let Ok(told) = serde_json::from_str::<Value>(text) else { return };
        let list = |key: &str| told[key].as_array().map_or(&[][..], Vec::as_slice);
        // One with a name of its own is a column again for who asks pandas for that.
        let index = list("index_columns").iter().filter_map(Value::as_str);
        self.index.extend(index.filter(|name| name.starts_with(UNNAMED)).map(str::to_owned));
        let is_span = |column: &&Value| {
            let kind = column["numpy_type"].as_str().unwrap_or_default();
            kind.starts_with("timedelta") || kind.starts_with("period")
        };
        let spans = list("columns").iter().filter(is_span).filter_map(|column| column["field_name"].as_str());
        self.durations.extend(spans.map(str::to_owned));
        let is_text = |index: &Value| {
            matches!(index["pandas_type"].as_str(), None | Some("unicode" | "string" | "empty" | "mixed"))
        };
        let labels = list("column_indexes");
        let names = list("columns").iter().filter_map(|column| column["name"].as_str());
        let names: Vec<&str> = names.collect();
        let are_distinct = names.iter().collect::<HashSet<_>>().len() == names.len();
        self.renames = labels.len() > 1 || !labels.iter().all(is_text) || !are_distinct;
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

/// Names of the columns that are spans of time in a schema of Arrow's: a message in the form of FlatBuffers, after
/// a mark and its length.
fn durations(message: &[u8]) -> Option<Vec<String>> {
    let start = if message.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let buffer = Buffer(message.get(start..)?);
    let message = buffer.follow(0)?;
    if buffer.byte(buffer.field(message, 1)?)? != SCHEMA {
        return None;
    }
    let schema = buffer.follow(buffer.field(message, 2)?)?;
    let fields = buffer.follow(buffer.field(schema, 1)?)?;
    let count = buffer.number(fields)?;
    let mut names = Vec::new();
    for at in 0..count {
        let field = buffer.follow(fields.checked_add(4 + 4 * at)?)?;
        let kind = buffer.field(field, 2).and_then(|at| buffer.byte(at));
        if kind == Some(DURATION) {
            names.push(buffer.text(buffer.follow(buffer.field(field, 0)?)?)?);
        }
    }
    Some(names)
}

/// FlatBuffers; every offset is checked.
struct Buffer<'a>(&'a [u8]);

impl Buffer<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn short(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at..at.checked_add(2)?)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    }

    fn number(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    /// Where the offset at `at` leads.
    fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(self.number(at)?)
    }

    /// Where a table has its field of this number, if it has it.
    fn field(&self, table: usize, number: usize) -> Option<usize> {
        // How far before the table its layout is; behind it, where this is negative.
        let back = i64::from(self.number(table)? as u32 as i32);
        let layout = usize::try_from(i64::try_from(table).ok()? - back).ok()?;
        let slot = 4 + 2 * number;
        if slot + 2 > self.short(layout)? {
            return None;
        }
        let offset = self.short(layout.checked_add(slot)?)?;
        if offset == 0 { None } else { table.checked_add(offset) }
    }

    fn text(&self, at: usize) -> Option<String> {
        let start = at.checked_add(4)?;
        let bytes = self.0.get(start..start.checked_add(self.number(at)?)?)?;
        String::from_utf8(bytes.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `pyarrow.table({"a": int64, "dur": duration("us"), "l": list(int64)})`.
    const SCHEMA: &str = "\
        /////xABAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAMAAACoAAAAZAAA\
        AAQAAAB0////AAABDBQAAAAcAAAABAAAAAEAAAAUAAAAAQAAAGwAAAAEAAQABAAAAKD///8AAAECEAAAABgA\
        AAAEAAAAAAAAAAQAAABpdGVtAAAAAJT///8AAAABQAAAAND///8AAAESEAAAABwAAAAEAAAAAAAAAAMAAABk\
        dXIAAAAGAAgABgAGAAAAAAACABAAFAAIAAYABwAMAAAAEAAQAAAAAAABAhAAAAAcAAAABAAAAAAAAAABAAAA\
        YQAAAAgADAAIAAcACAAAAAAAAAFAAAAAAAAAAA==";

    #[test]
    fn spans_of_time_are_found_in_a_schema() {
        let bytes = base64(SCHEMA).unwrap();
        assert_eq!(durations(&bytes), Some(vec!["dur".to_owned()]));
        for end in 0..bytes.len() {
            // Whatever is missing, it ends.
            let _ = durations(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = byte;
                let _ = durations(&broken);
            }
        }
        assert_eq!(base64("QUJD").as_deref(), Some(&b"ABC"[..]));
        assert_eq!((base64("QUI=").as_deref(), base64("Q?==")), (Some(&b"AB"[..]), None));
    }

    #[test]
    fn what_pandas_makes_the_index_is_no_column() {
        let mut notes = Notes::default();
        notes.take_pandas(
            r#"{"index_columns": ["__index_level_0__", {"kind": "range", "name": null}], "columns": [
                {"name": "a", "field_name": "a", "pandas_type": "int64", "numpy_type": "int64"},
                {"name": "t", "field_name": "t", "pandas_type": "object", "numpy_type": "timedelta64[us]"}]}"#,
        );
        assert_eq!(notes.index, HashSet::from(["__index_level_0__".to_owned()]));
        assert_eq!(notes.durations, HashSet::from(["t".to_owned()]));
        assert!(!notes.renames);
        for renamed in [
            r#"{"column_indexes": [{"name": null, "pandas_type": "int64"}]}"#,
            r#"{"column_indexes": [{"pandas_type": "unicode"}, {"pandas_type": "unicode"}]}"#,
            r#"{"columns": [{"name": "x", "field_name": "x"}, {"name": "x", "field_name": "__index_level_0__"}]}"#,
        ] {
            let mut notes = Notes::default();
            notes.take_pandas(renamed);
            assert!(notes.renames, "{renamed}");
        }
        let before = notes.clone();
        for odd in ["", "[]", "{\"index_columns\": 1, \"columns\": [1, null]}"] {
            notes.take_pandas(odd);
        }
        assert_eq!(notes, before);
    }
}
