//! Writing and reading a version record change by change, so that one of millions of changes needs no memory for
//! them, and what is said of the version costs no look at them.

use std::fmt;
use std::io;
use std::sync::Arc;

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

/// The bytes of an encoded record, wherever they are.
pub trait RecordBytes: fmt::Debug + Send + Sync {
    /// How many there are.
    fn size(&self) -> usize;

    /// Fills `out` from byte `at` on.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn fill(&self, at: usize, out: &mut [u8]) -> io::Result<()>;
}

impl RecordBytes for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn fill(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of a record that are held at a time, unless a change is longer.
const WINDOW: usize = 64 << 10;

/// An encoded version record, read from front to back: an iterator over its changes.
#[derive(Debug)]
pub struct VersionReader {
    head: VersionHead,
    window: Window,
    /// How much of the payload has been decoded.
    at: usize,
    /// Changes that follow there.
    left: u64,
}

impl VersionReader {
    /// Reads the record that `payload` holds from byte `at` on.
    pub fn new(payload: impl RecordBytes + 'static, mut at: usize) -> Result<VersionReader, CodecError> {
        let mut window = Window::of(Arc::new(payload));
        let head: VersionHead = window.next(&mut at)?;
        let left = window.next(&mut at)?;
        Ok(VersionReader { head, window, at, left })
    }

    /// What the record says beside the changes.
    pub fn head(&self) -> &VersionHead {
        &self.head
    }

    /// Number of changes that have not been read.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Where in the record the next change is.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Reads changes of this record again, by where they are.
    pub fn again(&self) -> Again {
        Again(Window::of(self.window.payload.clone()))
    }

    fn next_op(&mut self) -> Result<Op, CodecError> {
        let op = self.window.next_op(&mut self.at)?;
        match self.window.payload.size() - self.at {
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

/// Reads changes of a record again.
#[derive(Debug)]
pub struct Again(Window);

impl Again {
    /// The change at a [`VersionReader::offset`].
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn op_at(&mut self, mut at: usize) -> Result<Op, CodecError> {
        self.0.next_op(&mut at)
    }
}

const WHAT: &str = "version record";

/// A part of a payload.
#[derive(Debug)]
struct Window {
    payload: Arc<dyn RecordBytes>,
    bytes: Vec<u8>,
    /// Where in the payload they begin.
    start: usize,
}

impl Window {
    fn of(payload: Arc<dyn RecordBytes>) -> Window {
        Window { payload, bytes: Vec::new(), start: 0 }
    }

    fn next_op(&mut self, at: &mut usize) -> Result<Op, CodecError> {
        let op: Op = self.next(at)?;
        op.check().map_err(|why| CodecError::Nonsense { what: WHAT, why })?;
        Ok(op)
    }

    /// Decodes what is at byte `at` of the payload, and moves `at` behind it.
    fn next<T: DeserializeOwned>(&mut self, at: &mut usize) -> Result<T, CodecError> {
        let mut wanted = 1;
        loop {
            let bytes = self.from(*at, wanted)?;
            let (found, held) = (decode_first(WHAT, bytes), bytes.len());
            // What does not decode may only be longer than what is held of it.
            if found.is_err() && *at + held < self.payload.size() {
                wanted = held + WINDOW.max(held);
                continue;
            }
            let (value, used) = found?;
            *at += used;
            return Ok(value);
        }
    }

    /// The bytes from `at` on, as many as are held, but at least `wanted` or all.
    fn from(&mut self, at: usize, wanted: usize) -> Result<&[u8], CodecError> {
        let left = self.payload.size().saturating_sub(at);
        let is_held = self.start <= at && at + wanted.min(left) <= self.start + self.bytes.len();
        if !is_held {
            self.bytes.resize(left.min(wanted.max(WINDOW)), 0);
            self.start = at;
            let filled = self.payload.fill(at, &mut self.bytes);
            filled
                .inspect_err(|_| self.bytes.clear())
                .map_err(|source| CodecError::Read { what: WHAT, source })?;
        }
        Ok(&self.bytes[at - self.start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Content, Inode, Name, NameKey, Place, codec};

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

    /// Changes across the ends of what is held at a time, and one that is longer than that.
    #[test]
    fn a_long_record_reads_as_it_decodes_and_any_change_again() {
        let mut record = record();
        let mut inode = Inode::root(0o644, 1, 2, Timestamp(3));
        inode.body = Body::Symlink(vec![b'x'; 4000].into());
        let places = (1..=10_000_u64).map(|n| Place { dir: Ino(n), key: NameKey::of(&n.to_be_bytes()) });
        let many_names = Inode {
            body: Body::File(Content::Empty),
            place: Some(Place { dir: Ino(1), key: NameKey::MIN }),
            others: Some(places.collect()),
            ..inode.clone()
        };
        record.ops.extend((0..100).map(|n| Op::Inode { ino: Ino(1000 + n), inode: inode.clone() }));
        record.ops.push(Op::Inode { ino: Ino(2000), inode: many_names });
        record.ops.extend((0..100).map(|n| Op::Inode { ino: Ino(3000 + n), inode: inode.clone() }));
        let payload = codec::encode(&record);
        assert!(payload.len() > 8 * WINDOW);
        let mut reader = VersionReader::new(payload, 0).unwrap();
        let mut places = Vec::new();
        for op in &record.ops {
            places.push(reader.offset());
            assert_eq!(reader.next().unwrap().unwrap(), *op);
        }
        assert!(reader.next().is_none());
        let mut again = reader.again();
        for (at, op) in places.iter().zip(&record.ops).rev().chain(places.iter().zip(&record.ops)) {
            assert_eq!(again.op_at(*at).unwrap(), *op);
        }
    }
}
