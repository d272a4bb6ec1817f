//! What columns a table in a file has, told from its beginning.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::table::{Bytes, CsvRows, ParquetRows, Rows, Value as Cell};

/// Bytes that are looked at, of a file of whatever length.
pub const SAMPLE: usize = 1 << 20;
/// Most columns told.
const COLUMNS: usize = 10_000;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fields between commas, the first line their names.
    Csv,
    /// The same between tabs.
    Tsv,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// That of files with an extension.
    pub fn of(extension: &str) -> Option<Format> {
        match extension {
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// `true` and `false`.
    Boolean,
    /// Days: `2026-11-01`.
    Date,
    /// Points in time.
    DateTime,
    /// Anything else.
    Text,
}

impl Type {
    /// The name that Croissant has for it.
    pub fn name(self) -> &'static str {
        match self {
            Type::Integer => "sc:Integer",
            Type::Float => "sc:Float",
            Type::Boolean => "sc:Boolean",
            Type::Date => "sc:Date",
            Type::DateTime => "sc:DateTime",
            Type::Text => "sc:Text",
        }
    }

    fn of(text: &str) -> Type {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if padded {
            Type::Text
        } else if text.parse::<i64>().is_ok() {
            Type::Integer
        } else if text.parse::<f64>().is_ok() {
            Type::Float
        } else if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
            Type::Boolean
        } else if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
            Type::Date
        } else {
            Type::Text
        }
    }

    /// That of a column that Parquet declares to be `kind`; `None` of what Croissant has no name for.
    fn of_declared(kind: &str) -> Option<Type> {
        let base = kind.split(['(', '[', '<']).next().unwrap_or(kind);
        Some(match base {
            "boolean" => Type::Boolean,
            "float16" | "float" | "double" | "decimal" => Type::Float,
            "date" => Type::Date,
            "timestamp" | "int96" => Type::DateTime,
            "string" | "enum" | "json" | "uuid" => Type::Text,
            base if base.trim_start_matches('u').starts_with("int") => Type::Integer,
            _ => return None,
        })
    }

    /// What takes in both.
    fn or(self, other: Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a,
            (Type::Integer, Type::Float) | (Type::Float, Type::Integer) => Type::Float,
            _ => Type::Text,
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are, as far as the sample tells.
    pub kind: Type,
}

/// Some columns, of types that take in those of others too; `None` where these have other names.
pub fn widen(mut columns: Vec<Column>, others: &[Column]) -> Option<Vec<Column>> {
    let are_alike = columns.iter().map(|column| &column.name).eq(others.iter().map(|column| &column.name));
    columns.iter_mut().zip(others).for_each(|(column, other)| column.kind = column.kind.or(other.kind));
    are_alike.then_some(columns)
}

/// The columns of a table that begins with `sample`, `whole` if that is all of it, but for those without a name;
/// `None` where it is no table, or two have the same name.
pub fn columns(format: Format, sample: &[u8], whole: bool) -> Option<Vec<Column>> {
    let end = if whole { sample.len() } else { sample.iter().rposition(|b| *b == b'\n')? + 1 };
    let columns = match format {
        Format::Parquet => None,
        Format::Csv => separated(&sample[..end], b',', whole),
        Format::Tsv => separated(&sample[..end], b'\t', whole),
        Format::JsonLines => json_lines(&sample[..end]),
    }?;
    described(columns)
}

/// Those of some columns that have a name, which Croissant knows them by; `None` where two have the same.
fn described(mut columns: Vec<Column>) -> Option<Vec<Column>> {
    columns.retain(|column| !column.name.trim().is_empty());
    let names: HashSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let are_distinct = names.len() == columns.len();
    (are_distinct && !columns.is_empty() && columns.len() <= COLUMNS).then_some(columns)
}

/// The columns that a Parquet file declares, but for those of lists, structures, bytes and spans of time, and those
/// that pandas, by which they are read, makes an index without a name; `None` where pandas has other names for them,
/// where it is damaged, or no such file.
pub fn declared(bytes: &Arc<dyn Bytes>) -> Option<Vec<Column>> {
    let rows = ParquetRows::open(bytes).ok()?;
    if rows.repeats_names() || rows.notes().renames {
        return None;
    }
    let is_told = |name: &str| !rows.notes().index.contains(name) && !rows.notes().durations.contains(name);
    let known = rows.columns().iter().filter(|column| is_told(&column.name)).filter_map(|column| {
        Type::of_declared(&column.kind).map(|kind| Column { name: column.name.clone(), kind })
    });
    described(known.take(COLUMNS + 1).collect())
}

fn separated(sample: &[u8], separator: u8, whole: bool) -> Option<Vec<Column>> {
    let bytes: Arc<dyn Bytes> = Arc::new(sample.to_vec());
    let mut rows = CsvRows::open(&bytes, Some(separator)).ok()?;
    let names: Vec<String> = rows.columns().iter().map(|column| column.name.clone()).collect();
    let numeric = |name: &String| name.parse::<f64>().is_ok();
    if rows.repeats_names() || names.iter().any(numeric) {
        return None;
    }
    let mut kinds: Vec<Option<Type>> = vec![None; names.len()];
    let mut row = Vec::new();
    loop {
        match rows.next(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            // A line that the end of the sample cut in a quoted field.
            Err(_) if !whole => break,
            Err(_) => return None,
        }
        for (kind, value) in kinds.iter_mut().zip(&row) {
            if let Cell::Field(text) = value {
                let found = Type::of(text);
                *kind = Some(kind.map_or(found, |kind| kind.or(found)));
            }
        }
    }
    let column = |(name, kind): (String, Option<Type>)| Column { name, kind: kind.unwrap_or(Type::Text) };
    Some(names.into_iter().zip(kinds).map(column).collect())
}

/// Columns of values that are neither objects nor lists.
fn json_lines(sample: &[u8]) -> Option<Vec<Column>> {
    let mut columns: Vec<(String, Option<Type>)> = Vec::new();
    let mut nested = Vec::new();
    let mut at = std::collections::HashMap::new();
    for line in sample.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let Value::Object(object) = serde_json::from_slice(line).ok()? else { return None };
        for (name, value) in object {
            let kind = match value {
                Value::Null => None,
                Value::Bool(_) => Some(Type::Boolean),
                Value::Number(number) if number.is_f64() => Some(Type::Float),
                Value::Number(_) => Some(Type::Integer),
                Value::String(_) => Some(Type::Text),
                Value::Array(_) | Value::Object(_) => {
                    nested.push(name);
                    continue;
                }
            };
            let index = *at.entry(name.clone()).or_insert_with(|| {
                columns.push((name, None));
                columns.len() - 1
            });
            let before = &mut columns[index].1;
            *before = kind.map(|kind| before.map_or(kind, |before| before.or(kind))).or(*before);
        }
    }
    columns.retain(|(name, _)| !nested.contains(name));
    Some(columns.into_iter().map(|(name, k)| Column { name, kind: k.unwrap_or(Type::Text) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(format: Format, text: &str, whole: bool) -> Option<Vec<(String, Type)>> {
        let columns = columns(format, text.as_bytes(), whole)?;
        Some(columns.into_iter().map(|column| (column.name, column.kind)).collect())
    }

    #[test]
    fn columns_without_a_name_are_left_out() {
        let id = || Some(vec![("id".to_owned(), Type::Integer)]);
        assert_eq!(found(Format::Csv, ",id\n0,1\n", true), id());
        assert_eq!(found(Format::JsonLines, "{\"\":1,\"id\":2}\n", true), id());
        assert_eq!(found(Format::JsonLines, "{\"\":1}\n", true), None);
        let column = |name: &str| Column { name: name.into(), kind: Type::Text };
        assert_eq!(described(vec![column("a"), column(" ")]), Some(vec![column("a")]));
        assert_eq!(described(vec![column("a"), column("b"), column("a")]), None);
    }

    #[test]
    fn types_are_told_from_values() {
        let columns = found(
            Format::Csv,
            "i,f,b,d,t,zip,none,mix\n1,1,true,2026-11-01,\"a,\nb\",01234,,1\n-2,1.5e3,False,2026-11-02,c,1,,x\n,,,,,,,\n",
            true,
        );
        let wanted = [
            ("i", Type::Integer),
            ("f", Type::Float),
            ("b", Type::Boolean),
            ("d", Type::Date),
            ("t", Type::Text),
            ("zip", Type::Text),
            ("none", Type::Text),
            ("mix", Type::Text),
        ];
        assert_eq!(columns, Some(wanted.map(|(name, kind)| (name.to_owned(), kind)).to_vec()));
        let columns =
            found(Format::JsonLines, "{\"a\":1,\"b\":[1],\"c\":null}\n\n{\"a\":0.5,\"c\":\"x\"}\n", true);
        assert_eq!(columns, Some(vec![("a".into(), Type::Float), ("c".into(), Type::Text)]));
    }

    #[test]
    fn what_is_no_table_has_no_columns() {
        for bad in ["", "a,b\n1,2,3\n", "1,2\n3,4\n", "a,a\n1,2\n"] {
            assert_eq!(found(Format::Csv, bad, true), None, "{bad:?}");
        }
        assert_eq!(columns(Format::Csv, b"a,\xff\n", true), None);
        for bad in ["[1]\n", "{\"a\":1", "x\n", ""] {
            assert_eq!(found(Format::JsonLines, bad, true), None, "{bad:?}");
        }
    }

    #[test]
    fn declared_types_are_those_of_croissant() {
        for (declared, kind) in [
            ("int64", Some(Type::Integer)),
            ("uint8", Some(Type::Integer)),
            ("int96", Some(Type::DateTime)),
            ("decimal(10, 2)", Some(Type::Float)),
            ("timestamp[us, utc]", Some(Type::DateTime)),
            ("string", Some(Type::Text)),
            ("list<int32>", None),
            ("struct<a: double>", None),
            ("binary[16]", None),
        ] {
            assert_eq!(Type::of_declared(declared), kind, "{declared}");
        }
    }

    #[test]
    fn a_sample_ends_anywhere() {
        let columns = Some(vec![("a".to_owned(), Type::Integer), ("b".to_owned(), Type::Text)]);
        assert_eq!(found(Format::Csv, "a,b\n1,x\n2", false), columns);
        assert_eq!(found(Format::Csv, "a", false), None);
    }
}
