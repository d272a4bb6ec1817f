//! Writing and reading a version record change by change, so that one of millions of changes needs no memory for
//! them, and what is said of the version costs no look at them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::check::Check;
use super::codec::{CodecError, decode_first};
use super::hash::{TreeHash, VersionId};
use super::ids::{DatasetId, Ino, VersionNo};
use super::ops::{Ops, decoded};
use super::record::{Author, Op, VersionRecord};
use super::time::Timestamp;

/// All of a [`VersionRecord`](super::VersionRecord) but its changes, field by field as there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionHead {
    /// The dataset.
    pub dataset: DatasetId,
    /// This version's number.
    pub number: VersionNo,
    /// Id of the version before it.
    pub previous: VersionId,
    /// The version whose tree the changes apply to.
    pub base: VersionNo,
    /// Hash of the whole tree.
    pub snapshot: TreeHash,
    /// When it was made.
    pub time: Timestamp,
    /// Who made it.
    pub author: Author,
    /// What the author says of it.
    pub message: Option<String>,
    /// The hash of every directory whose tree changed, but the root's.
    pub trees: Vec<(Ino, TreeHash)>,
}

impl VersionRecord {
    /// All but the changes.
    pub fn head(&self) -> VersionHead {
        VersionHead {
            dataset: self.dataset,
            number: self.number,
            previous: self.previous,
            base: self.base,
            snapshot: self.snapshot,
            time: self.time,
            author: self.author.clone(),
            message: self.message.clone(),
            trees: self.trees.clone(),
        }
    }
}

impl VersionHead {
    /// The record of this head and these changes, encoded.
    pub fn with(&self, ops: Ops) -> Encoded {
        let count = ops.len();
        let (payload, ops_at) = ops.behind(self);
        Encoded { payload, ops_at, count }
    }
}

/// A version record as it was encoded just now.
#[derive(Debug)]
pub struct Encoded {
    payload: Vec<u8>,
    ops_at: usize,
    count: u64,
}

impl Encoded {
    /// The record's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Number of its changes.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Its changes.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        decoded(&self.payload[self.ops_at..])
    }
}

/// An encoded version record, read from front to back: an iterator over its changes.
#[derive(Debug)]
pub struct VersionReader {
    head: VersionHead,
    payload: Vec<u8>,
    /// How much of the payload has been decoded.
    at: usize,
    /// Changes that follow there.
    left: u64,
}

impl VersionReader {
    /// Reads the record that `payload` holds from byte `at` on.
    pub fn new(payload: Vec<u8>, mut at: usize) -> Result<VersionReader, CodecError> {
        let head: VersionHead = next(&payload, &mut at)?;
        let left = next(&payload, &mut at)?;
        Ok(VersionReader { head, payload, at, left })
    }

    /// What the record says beside the changes.
    pub fn head(&self) -> &VersionHead {
        &self.head
    }

    /// Number of changes that have not been read.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn next_op(&mut self) -> Result<Op, CodecError> {
        let op: Op = next(&self.payload, &mut self.at)?;
        op.check().map_err(|why| CodecError::Nonsense { what: WHAT, why })?;
        match self.payload.len() - self.at {
            extra if self.left == 1 && extra > 0 => Err(CodecError::Trailing { what: WHAT, extra }),
            _ => Ok(op),
        }
    }
}

impl Iterator for VersionReader {
    type Item = Result<Op, CodecError>;

    /// The next change; none after one that could not be read.
    fn next(&mut self) -> Option<Result<Op, CodecError>> {
        if self.left == 0 {
            return None;
        }
        let op = self.next_op();
        self.left = if op.is_ok() { self.left - 1 } else { 0 };
        Some(op)
    }
}

const WHAT: &str = "version record";

fn next<T: DeserializeOwned>(payload: &[u8], at: &mut usize) -> Result<T, CodecError> {
    let (value, used) = decode_first(WHAT, &payload[*at..])?;
    *at += used;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Name, codec};

    fn record() -> VersionRecord {
        let unlink = |n: u64| Op::Unlink { dir: Ino(n), name: Name::new(b"name").unwrap() };
        VersionRecord {
            dataset: DatasetId(3),
            number: VersionNo(7),
            previous: VersionId([1; 32]),
            base: VersionNo(6),
            snapshot: TreeHash([2; 32]),
            time: Timestamp(9),
            author: Author { uid: 1, gid: 2, pid: 3, command: "cp".into() },
            message: Some("why".into()),
            trees: vec![(Ino(4), TreeHash([5; 32]))],
            ops: (1..=300).map(unlink).collect(),
        }
    }

    #[test]
    fn a_record_reads_as_it_decodes() {
        let record = record();
        let payload = [&[0xff; 5][..], &codec::encode(&record)].concat();
        let reader = VersionReader::new(payload, 5).unwrap();
        assert_eq!(reader.left(), 300);
        let VersionHead { dataset, number, previous, base, snapshot, time, author, message, trees } =
            reader.head().clone();
        let ops = reader.collect::<Result<_, _>>().unwrap();
        let read =
            VersionRecord { dataset, number, previous, base, snapshot, time, author, message, trees, ops };
        assert_eq!(read, record);
    }

    #[test]
    fn a_record_is_written_as_it_encodes() {
        for count in [0, 1, 250, 251, 300] {
            let record = VersionRecord { ops: record().ops.into_iter().take(count).collect(), ..record() };
            let written = record.head().with(record.ops.iter().collect());
            assert_eq!(written.payload(), codec::encode(&record));
            assert_eq!(written.ops().collect::<Vec<_>>(), record.ops);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_much_is_an_error_and_the_end() {
        let payload = codec::encode(&record());
        let read = |payload: &[u8]| VersionReader::new(payload.to_vec(), 0).unwrap().collect::<Vec<_>>();
        let short = read(&payload[..payload.len() - 1]);
        assert!(short.len() == 300 && matches!(short[299], Err(CodecError::Decode { .. })));
        let long = read(&[&payload[..], &[0]].concat());
        assert!(long.len() == 300 && matches!(long[299], Err(CodecError::Trailing { extra: 1, .. })));
        assert!(VersionReader::new(payload[..40].to_vec(), 0).is_err());
    }
}
