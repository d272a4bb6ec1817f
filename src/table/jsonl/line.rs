//! A line of JSON Lines, read right into the values of a row.
//!
//! Nothing is made of a line that the row does not keep: keys are looked up where they stand, and text goes into
//! the room that the row before had for its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::rows::Column;
use super::super::value::Value;

/// Bytes of the room for text that a row leaves to the next one, for each column.
const ROOM_MAX: usize = 1 << 10;

/// The columns of the rows so far.
#[derive(Default)]
pub struct Columns {
    all: Vec<Column>,
    places: HashMap<String, usize>,
    /// The place of the key that came last after that of each, and before all first: most lines have their keys
    /// in the same order.
    follows: Vec<usize>,
    /// In which line, counted from 1, each column had a value last.
    lines: Vec<u64>,
    line: u64,
}

impl Columns {
    /// All of them, in their order.
    pub fn all(&self) -> &[Column] {
        &self.all
    }

    /// One more; gives its place.
    pub fn add(&mut self, name: String) -> usize {
        let place = self.all.len();
        self.all.push(Column { name: name.clone(), kind: String::new() });
        self.lines.push(0);
        self.follows.resize(place + 2, 0);
        self.places.insert(name, place);
        place
    }

    /// Where the column of a key is that comes after one whose place is known, or as the first.
    fn place(&mut self, key: &str, after: Option<usize>) -> Option<usize> {
        let at = after.map_or(0, |place| place + 1);
        let guess = self.follows.get(at).copied();
        if guess.is_some_and(|place| self.all[place].name == key) {
            return guess;
        }
        let place = self.places.get(key).copied()?;
        self.follows[at] = place;
        Some(place)
    }
}

/// Reads an object into `row`; gives the values of columns that are new.
pub fn read(
    text: &str,
    columns: &mut Columns,
    row: &mut Vec<Value>,
) -> serde_json::Result<BTreeMap<String, Value>> {
    let mut from = serde_json::Deserializer::from_str(text);
    let new = from.deserialize_map(Line { columns, row })?;
    from.end()?;
    Ok(new)
}

struct Line<'a> {
    columns: &'a mut Columns,
    row: &'a mut Vec<Value>,
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Line { columns, row } = self;
        row.resize(columns.all.len(), Value::Null);
        columns.line += 1;
        let (mut last, mut filled) = (None, 0);
        let mut new = BTreeMap::new();
        while let Some(key) = map.next_key_seed(Key { columns, after: last })? {
            match key {
                Ok(place) => {
                    last = Some(place);
                    map.next_value_seed(Into(&mut row[place]))?;
                    filled += usize::from(columns.lines[place] != columns.line);
                    columns.lines[place] = columns.line;
                }
                Err(name) => {
                    let mut value = Value::Null;
                    map.next_value_seed(Into(&mut value))?;
                    new.insert(name, value);
                }
            }
        }
        // What is there of the row before.
        if filled < row.len() {
            let values = row.iter_mut().zip(&columns.lines);
            values.filter(|(_, line)| **line != columns.line).for_each(|(value, _)| *value = Value::Null);
        }
        Ok(new)
    }
}

/// A key after one in another place: gives the place of its column, or its name where that is new.
struct Key<'a> {
    columns: &'a mut Columns,
    after: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.columns.place(key, self.after).ok_or_else(|| key.to_owned()))
    }
}

/// Where a value goes.
struct Into<'a>(&'a mut Value);

impl<'de> DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        *self.0 = Value::Null;
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        *self.0 = Value::Bool(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        *self.0 = Value::Int(value.into());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        *self.0 = Value::Int(value.into());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        *self.0 = Value::Float(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.0 {
            Value::Text(text) if text.capacity() <= ROOM_MAX => value.clone_into(text),
            other => *other = Value::Text(value.to_owned()),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut items = Vec::new();
        let mut item = Value::Null;
        while seq.next_element_seed(Into(&mut item))?.is_some() {
            items.push(std::mem::replace(&mut item, Value::Null));
        }
        *self.0 = Value::Array(items);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Of a key that is there twice, the last value counts.
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let mut value = Value::Null;
            map.next_value_seed(Into(&mut value))?;
            entries.insert(key, value);
        }
        *self.0 = Value::object(entries.into_iter().collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads lines one after another into one row.
    fn rows(lines: &[&str]) -> (Columns, Vec<Vec<Value>>) {
        let (mut columns, mut row) = (Columns::default(), Vec::new());
        let mut all = Vec::new();
        for line in lines {
            for (name, value) in read(line, &mut columns, &mut row).unwrap() {
                columns.add(name);
                row.push(value);
            }
            all.push(row.clone());
        }
        (columns, all)
    }

    #[test]
    fn a_row_keeps_nothing_of_the_one_before() {
        let (columns, rows) = rows(&[
            r#"{"b": "text", "a": [1, {"x": 1}], "c": 1}"#,
            r#"{"c": "longer than before", "b": 2}"#,
            r#"{}"#,
            r#" {"a": {"y": 1, "x": 2, "y": 3}, "b": "t", "b": "last", "d": 1, "d": null} "#,
        ]);
        let names: Vec<&str> = columns.all().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"], "new ones by name");
        let (int, text) = (Value::Int, |text: &str| Value::Text(text.into()));
        let object = |entries: &[(&str, i128)]| {
            Value::Object(entries.iter().map(|(key, n)| ((*key).into(), int(*n))).collect())
        };
        let null = Value::Null;
        assert_eq!(rows[0], [Value::Array(vec![int(1), object(&[("x", 1)])]), text("text"), int(1)]);
        assert_eq!(rows[1], [null.clone(), int(2), text("longer than before")]);
        assert_eq!(rows[2], [null.clone(), null.clone(), null.clone()]);
        assert_eq!(rows[3], [object(&[("x", 2), ("y", 3)]), text("last"), null.clone(), null]);
    }

    /// Keys are found in whatever order they come, and text that was long leaves no room behind.
    #[test]
    fn order_is_a_guess_and_room_is_bounded() {
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(ROOM_MAX + 1));
        let mut lines =
            vec![r#"{"a": 1, "b": 2, "c": 3}"#, r#"{"c": 3, "a": 1, "b": 2}"#, r#"{"b": 2, "a": 1}"#];
        let (_, all) = rows(&lines);
        assert!(all.iter().all(|row| row[..2] == [Value::Int(1), Value::Int(2)]));
        lines.extend([long.as_str(), r#"{"a": "x"}"#]);
        let (mut columns, mut row) = (Columns::default(), vec![Value::Null]);
        columns.add("a".into());
        for line in &lines[3..] {
            read(line, &mut columns, &mut row).unwrap();
        }
        assert!(matches!(&row[0], Value::Text(text) if text == "x" && text.capacity() <= ROOM_MAX));
    }
}
