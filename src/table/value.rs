//! Values of cells.

use std::fmt;
use std::io::Write;

/// The value of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None: an empty field of CSV, null or absent in JSON Lines, null in Parquet.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// A decimal number: exactly, and as near as a double is.
    Decimal(String, f64),
    /// Text; also dates and times, in ISO 8601.
    Text(String),
    /// Bytes, in hexadecimal.
    Bytes(String),
    /// A field of CSV, whose type is what it looks like.
    Field(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, its keys in order.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// An object, whatever order its keys are in.
    pub(super) fn object(mut entries: Vec<(String, Value)>) -> Value {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Object(entries)
    }

    /// The number it is, or looks like.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) | Value::Decimal(_, value) => Some(*value),
            Value::Field(text) => looks_like(text).1,
            _ => None,
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
                Value::Decimal(text, _) | Value::Text(text) | Value::Bytes(text) | Value::Field(text) => {
                    text.len()
                }
                Value::Array(items) => items.iter().map(Value::size).sum(),
                Value::Object(entries) => {
                    entries.iter().map(|(key, value)| size_of::<String>() + key.len() + value.size()).sum()
                }
            }
    }

    /// Appends bytes that are the same for values that are the same, and for no others. A number that is whole is
    /// the same whether it is kept as a whole number or not, within others too.
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let (tag, text) = match self {
            Value::Null => return into.push(0),
            Value::Bool(value) => (b'b', if *value { "1" } else { "0" }),
            Value::Int(_) | Value::Float(_) => {
                into.push(b'n');
                let start = into.len();
                into.extend_from_slice(&[0; 8]);
                // Memory can always be written to.
                let _ = match self {
                    // All digits, as a whole number has them, and not the fewest that tell.
                    Value::Float(value) if value.fract() == 0.0 && value.abs() <= u64::MAX as f64 => {
                        write!(into, "{}", *value as i128)
                    }
                    _ => write!(into, "{self}"),
                };
                let length = (into.len() - start - 8) as u64;
                return into[start..start + 8].copy_from_slice(&length.to_le_bytes());
            }
            Value::Decimal(text, _) => (b'n', shortest(text)),
            Value::Text(text) | Value::Field(text) => (b't', text.as_str()),
            Value::Bytes(text) => (b'x', text.as_str()),
            Value::Array(items) => {
                into.push(b'a');
                into.extend_from_slice(&(items.len() as u64).to_le_bytes());
                return items.iter().for_each(|item| item.encode(into));
            }
            Value::Object(entries) => {
                into.push(b'o');
                into.extend_from_slice(&(entries.len() as u64).to_le_bytes());
                for (key, value) in entries {
                    into.extend_from_slice(&(key.len() as u64).to_le_bytes());
                    into.extend_from_slice(key.as_bytes());
                    value.encode(into);
                }
                return;
            }
        };
        into.push(tag);
        into.extend_from_slice(&(text.len() as u64).to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    }

    /// As a value of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => value.to_string().into(),
            },
            Value::Float(value) if value.is_finite() => (*value).into(),
            Value::Array(items) => items.iter().map(Value::to_json).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
            }
            _ => self.to_string().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(value) => value.fmt(f),
            // A short number is written faster as one.
            Value::Int(value) => match i64::try_from(*value) {
                Ok(value) => value.fmt(f),
                Err(_) => value.fmt(f),
            },
            // 0.0 and -0.0 are equal.
            Value::Float(value) => (value + 0.0).fmt(f),
            Value::Decimal(text, _) | Value::Text(text) | Value::Bytes(text) | Value::Field(text) => {
                f.write_str(text)
            }
            Value::Array(_) | Value::Object(_) => self.to_json().fmt(f),
        }
    }
}

/// Of which types the values of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(u8);

impl Classes {
    const BOOLEAN: Classes = Classes(1);
    const INTEGER: Classes = Classes(2);
    const NUMBER: Classes = Classes(4);
    const STRING: Classes = Classes(8);
    const ARRAY: Classes = Classes(16);
    const OBJECT: Classes = Classes(32);

    /// Takes note of a value; gives the number it is, or looks like. Where a field of the column is known to be text,
    /// all are, and none is looked at closer.
    pub fn add(&mut self, value: &Value) -> Option<f64> {
        self.0 |= match value {
            Value::Null => Classes(0),
            Value::Bool(_) => Classes::BOOLEAN,
            Value::Int(_) => Classes::INTEGER,
            Value::Float(_) | Value::Decimal(..) => Classes::NUMBER,
            Value::Text(_) | Value::Bytes(_) => Classes::STRING,
            Value::Field(_) if self.is_text() => return None,
            Value::Field(text) => {
                let (class, number) = looks_like(text);
                *self = self.and(class, true);
                return number;
            }
            Value::Array(_) => Classes::ARRAY,
            Value::Object(_) => Classes::OBJECT,
        }
        .0;
        value.number()
    }

    /// Of values of these types and of others. One field of CSV that is text makes all of its column text.
    pub fn and(self, others: Classes, are_fields: bool) -> Classes {
        let all = Classes(self.0 | others.0);
        let are_alike = all == Classes::BOOLEAN || all.0 & !(Classes::INTEGER.0 | Classes::NUMBER.0) == 0;
        if are_fields && !are_alike { Classes::STRING } else { all }
    }

    /// Whether all values are numbers.
    pub fn is_numeric(self) -> bool {
        self.0 != 0 && self.0 & !(Classes::INTEGER.0 | Classes::NUMBER.0) == 0
    }

    /// Whether all values are text.
    pub fn is_text(self) -> bool {
        self == Classes::STRING
    }

    /// The name of the type, or of all; `empty` where there are no values.
    pub fn name(self) -> String {
        let names = ["boolean", "integer", "number", "string", "array", "object"];
        match self.0 {
            0 => "empty".into(),
            both if both == Classes::INTEGER.0 | Classes::NUMBER.0 => "number".into(),
            bits => {
                let named = names.iter().enumerate().filter(|(at, _)| bits & 1 << at != 0);
                named.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
            }
        }
    }
}

/// A decimal without zeros at its end that mean nothing.
fn shortest(decimal: &str) -> &str {
    match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.'),
        false => decimal,
    }
}

/// What a field looks like, and the number it is then. Digits after a leading zero are a code, not a number.
fn looks_like(text: &str) -> (Classes, Option<f64>) {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_code = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    if is_code || text.starts_with('+') {
        return (Classes::STRING, None);
    }
    let number = text.parse::<f64>().ok();
    let class = if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        Classes::INTEGER
    } else if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
        Classes::BOOLEAN
    } else if number.is_some() {
        Classes::NUMBER
    } else {
        Classes::STRING
    };
    (class, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_type_that_all_of_them_look_like() {
        for (fields, name) in [
            (&["1", "-2", "0"][..], "integer"),
            (&["1", "2.5"], "number"),
            (&["1e3", "nan"], "number"),
            (&["007"], "string"),
            (&["+1"], "string"),
            (&["true", "False"], "boolean"),
            (&["true", "1"], "string"),
            (&["1", "true"], "string"),
            (&["x", "1"], "string"),
            (&["1", "x"], "string"),
            (&["-"], "string"),
            (&[], "empty"),
        ] {
            let mut classes = Classes::default();
            for field in fields {
                classes.add(&Value::Field((*field).into()));
            }
            assert_eq!(classes.name(), name, "{fields:?}");
        }
        let mut mixed = Classes::default();
        for value in [Value::Int(1), Value::Text("a".into()), Value::Null] {
            mixed.add(&value);
        }
        assert_eq!(mixed.name(), "integer|string");
    }

    #[test]
    fn equal_values_have_equal_bytes_and_others_not() {
        let bytes = |value: Value| {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            bytes
        };
        assert_eq!(bytes(Value::Int(1)), bytes(Value::Float(1.0)));
        assert_eq!(bytes(Value::Float(0.0)), bytes(Value::Float(-0.0)));
        assert_eq!(bytes(Value::Float(1e20)), bytes(Value::Int(100_000_000_000_000_000_000)));
        assert_eq!(bytes(Value::Decimal("1.50".into(), 1.5)), bytes(Value::Float(1.5)));
        assert_eq!(bytes(Value::Decimal("20.00".into(), 20.0)), bytes(Value::Decimal("20".into(), 20.0)));
        let nested = |value: Value| Value::Array(vec![Value::Object(vec![("a".into(), value)])]);
        for (a, b) in [
            (Value::Int(1), Value::Float(1.0)),
            (Value::Float(0.0), Value::Float(-0.0)),
            (Value::Decimal("1.50".into(), 1.5), Value::Decimal("1.5".into(), 1.5)),
        ] {
            assert_eq!(bytes(nested(a)), bytes(nested(b)));
        }
        let all = [
            Value::Null,
            Value::Bool(true),
            Value::Int(1),
            Value::Int(i128::from(u64::MAX)),
            Value::Float(1.5),
            Value::Text("1".into()),
            Value::Text(String::new()),
            Value::Bytes("1".into()),
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Null]),
            Value::Array(vec![Value::Text("1".into())]),
            Value::Array(vec![Value::Bytes("1".into())]),
            Value::Array(vec![Value::Int(1), Value::Int(2)]),
            Value::Array(vec![Value::Array(vec![Value::Int(1)]), Value::Int(2)]),
            Value::Object(Vec::new()),
            Value::Object(vec![("a".into(), Value::Int(1))]),
        ];
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                assert_ne!(bytes(a.clone()), bytes(b.clone()), "{a:?} {b:?}");
            }
        }
    }
}
