//! YAML as DVC writes it.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Deepest nesting that is read; DVC's own files have a handful.
const MAX_DEPTH: usize = 64;

/// A collection that is being read: a mapping with the key whose value comes next, or a sequence.
enum Open {
    Mapping(Map<String, Value>, Option<String>),
    Sequence(Vec<Value>),
}

/// Reads one document. Scalars other than plain `true`, `false` and null are text. Aliases, which DVC never writes
/// and which can stand for far more than a file holds, are refused.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let (mut open, mut done) = (Vec::new(), None);
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|e| e.to_string())?;
        let value = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() == MAX_DEPTH => {
                return Err("it is nested too deeply".into());
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Mapping(map, _)) => Value::Object(map),
                Some(Open::Sequence(list)) => Value::Array(list),
                None => return Err("a collection ends that never began".into()),
            },
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::Alias(_) => return Err("it has aliases".into()),
            Event::DocumentStart(_) if done.is_some() => return Err("it has more than one document".into()),
            _ => continue,
        };
        match open.last_mut() {
            None => done = Some(value),
            Some(Open::Sequence(list)) => list.push(value),
            Some(Open::Mapping(map, key)) => match (key.take(), value) {
                (Some(key), value) => drop(map.insert(key, value)),
                (None, Value::String(text)) => *key = Some(text),
                (None, other) => *key = Some(other.to_string()),
            },
        }
    }
    serde_json::from_value(done.unwrap_or_default()).map_err(|e| e.to_string())
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "true") => Value::Bool(true),
        (ScalarStyle::Plain, "false") => Value::Bool(false),
        (ScalarStyle::Plain, "null" | "~" | "") => Value::Null,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dvc_writes_is_read_and_what_could_grow_is_refused() {
        let read = |text: &str| parse::<Value>(text.as_bytes());
        let text = "a: 'true'\nb:\n- md5: 12\n  x: true\n  y:\n- []\nc: {d: \"e\\n\"}\n";
        let wanted = serde_json::json!({
            "a": "true", "b": [{"md5": "12", "x": true, "y": null}, []], "c": {"d": "e\n"},
        });
        assert_eq!(read(text), Ok(wanted));
        assert_eq!(read(""), Ok(Value::Null));
        for bad in ["a: &x 1\nb: *x\n", "a: [", "a: 1\n---\nb: 2\n", "\t- a: :\n  b"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert!(read(&deep).is_err());
        }
        assert!(parse::<Value>(b"a: \xff").is_err());
    }
}
