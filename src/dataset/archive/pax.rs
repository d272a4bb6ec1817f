//! Records of pax headers: `LENGTH KEY=VALUE\n`, where the length counts itself.

use crate::dataset::error::{Error, Result};

/// Adds a record.
pub fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while rest + digits(len) != len {
        len = rest + digits(len);
    }
    records.extend(len.to_string().bytes());
    records.push(b' ');
    records.extend(key);
    records.push(b'=');
    records.extend(value);
    records.push(b'\n');
}

/// A name as a part of a key, which cannot have an equals sign; as GNU tar does it.
pub fn escape(name: &[u8]) -> Vec<u8> {
    let escaped = name.iter().map(|byte| match byte {
        b'%' => &b"%25"[..],
        b'=' => b"%3D",
        other => std::slice::from_ref(other),
    });
    escaped.flatten().copied().collect()
}

/// The name of [`escape`].
pub fn unescape(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    while let Some((first, rest)) = key.split_first() {
        let (byte, used) = match key.get(..3) {
            Some(b"%25") => (b'%', 3),
            Some(b"%3D") => (b'=', 3),
            _ => (*first, 1),
        };
        name.push(byte);
        key = if used == 3 { &key[3..] } else { rest };
    }
    name
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// The records of a header. Values may hold any byte.
///
/// # Errors
/// Where they are not well-formed.
pub fn parse(mut bytes: &[u8]) -> Result<Vec<Record>> {
    let bad = || Error::Invalid("a pax header is malformed".into());
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(bad)?;
        let len = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse::<usize>().ok());
        let len = len.filter(|len| *len > space + 2 && *len <= bytes.len()).ok_or_else(bad)?;
        let (record, rest) = bytes.split_at(len);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        bytes = rest;
    }
    Ok(records)
}

/// A number in decimal digits.
pub fn number(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Error::Invalid(format!("'{}' is no number", String::from_utf8_lossy(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_they_were_written() {
        for len in [0, 1, 88, 89, 90, 91, 92, 93, 985, 986, 987, 988, 989, 990, 991, 5000] {
            let mut bytes = Vec::new();
            let value: Vec<u8> = (0..len).map(|n| n as u8).collect();
            push(&mut bytes, b"path", &value);
            push(&mut bytes, b"size", b"7");
            let records = parse(&bytes).unwrap();
            assert_eq!(records, [(b"path".to_vec(), value), (b"size".to_vec(), b"7".to_vec())]);
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"7 ab=\xff",
            b"6 abc\n",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(number(b"1x").is_err() && number(b"").is_err() && number(b"-1").is_err());
    }
}
