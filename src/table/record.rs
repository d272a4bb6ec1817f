//! Records of rows: hashes by which they are matched without being held.
//!
//! Hashes of rows and keys are 128 bits of BLAKE3: different rows count as equal with a probability below 2^-64 for
//! any table that fits a disk. What tells which cells of a changed row differ is 64 bits of SipHash a cell.

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::Hasher;

use super::rows::Column;
use super::spill::HASH;
use super::value::Value;

/// 64 well-mixed bits of an encoded value, the same within a process.
pub(super) fn mixed(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The values of a row, encoded and hashed once for all that is done with them.
#[derive(Default)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Where the bytes of each value end.
    ends: Vec<usize>,
    /// The hash of each value.
    hashes: Vec<u64>,
    /// Bytes of several values, one after another.
    joined: Vec<u8>,
}

impl Encoded {
    /// Takes up another row.
    pub fn take(&mut self, row: &[Value]) {
        self.bytes.clear();
        self.ends.clear();
        self.hashes.clear();
        let null = mixed(&[0]);
        for value in row {
            let start = self.bytes.len();
            value.encode(&mut self.bytes);
            self.ends.push(self.bytes.len());
            // Of many columns, most may be null.
            let is_null = matches!(value, Value::Null);
            self.hashes.push(if is_null { null } else { mixed(&self.bytes[start..]) });
        }
    }

    /// The hash of each value.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The hash of values together; of columns that the row does not reach yet, as of nulls.
    fn hash(&mut self, places: &[Option<usize>]) -> [u8; HASH] {
        self.joined.clear();
        for place in places {
            match place.filter(|at| *at < self.ends.len()) {
                Some(at) => {
                    let start = if at == 0 { 0 } else { self.ends[at - 1] };
                    self.joined.extend_from_slice(&self.bytes[start..self.ends[at]]);
                }
                None => Value::Null.encode(&mut self.joined),
            }
        }
        hash(&self.joined)
    }
}

fn hash(bytes: &[u8]) -> [u8; HASH] {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..HASH]);
    hash
}

/// By what rows are matched, and which of their columns are compared.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The columns that both tables have, in the order of the table after.
    pub common: Vec<String>,
    /// Those of them that rows are known by; none where rows are compared whole.
    pub key: Vec<String>,
}

/// Where the columns of a plan are in one of the tables.
pub(super) struct Places {
    common: Vec<Option<usize>>,
    key: Vec<Option<usize>>,
}

impl Plan {
    /// Whether rows are known by a key.
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// Bytes of the record of a row that both tables have: the hash of its key, and its numbers.
    pub fn shared_size(&self) -> usize {
        HASH + 16
    }

    /// The record of a row that both tables have, of these numbers.
    pub fn shared(&self, numbers: [u64; 2], row: &mut Encoded, places: &Places, record: &mut Vec<u8>) {
        record.clear();
        record.extend_from_slice(&row.hash(&places.key));
        numbers.iter().for_each(|number| record.extend_from_slice(&number.to_le_bytes()));
    }

    /// Where the columns are among these.
    pub fn places(&self, columns: &[Column]) -> Places {
        let by_name: HashMap<&str, usize> =
            columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at)).collect();
        let place = |names: &[String]| names.iter().map(|name| by_name.get(name.as_str()).copied()).collect();
        Places { common: place(&self.common), key: place(&self.key) }
    }

    /// Bytes of the record of a row: its hash (or its key's) and number; with a key, its own hash and those of
    /// its cells.
    pub fn record_size(&self) -> usize {
        HASH + 8 + if self.has_key() { HASH + 8 * self.common.len() } else { 0 }
    }

    /// The record of row `number`.
    pub fn record(&self, number: u64, row: &mut Encoded, places: &Places, record: &mut Vec<u8>) {
        record.clear();
        record.extend_from_slice(&row.hash(if self.has_key() { &places.key } else { &places.common }));
        record.extend_from_slice(&number.to_le_bytes());
        if self.has_key() {
            record.extend_from_slice(&row.hash(&places.common));
            let null = mixed(&[0]);
            for place in &places.common {
                let hash = place.and_then(|at| row.hashes.get(at)).unwrap_or(&null);
                record.extend_from_slice(&hash.to_le_bytes());
            }
        }
    }
}
