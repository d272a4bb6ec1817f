//! Changes as a record holds them: encoded one behind the other. A million of them take a third of what they
//! do as values, and most are looked at once.

use super::codec;
use super::record::Op;

/// Encoded changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops {
    count: u64,
    bytes: Vec<u8>,
}

impl Ops {
    /// Adds one.
    pub fn push(&mut self, op: &Op) {
        codec::encode_onto(op, &mut self.bytes);
        self.count += 1;
    }

    /// Number of changes.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The changes, decoded one by one.
    pub fn iter(&self) -> impl Iterator<Item = Op> {
        decoded(&self.bytes)
    }

    /// `head` and a list of these changes behind it, encoded; and where in that the changes begin.
    pub(super) fn behind(self, head: &impl serde::Serialize) -> (Vec<u8>, usize) {
        let Ops { count, mut bytes } = self;
        let mut before = codec::encode(head);
        codec::encode_onto(&count, &mut before);
        let at = before.len();
        bytes.splice(..0, before);
        (bytes, at)
    }
}

impl<'a> FromIterator<&'a Op> for Ops {
    fn from_iter<I: IntoIterator<Item = &'a Op>>(ops: I) -> Ops {
        let mut all = Ops::default();
        ops.into_iter().for_each(|op| all.push(op));
        all
    }
}

/// The changes that were encoded to these bytes just now.
pub(super) fn decoded(mut bytes: &[u8]) -> impl Iterator<Item = Op> {
    std::iter::from_fn(move || {
        let (op, used) = codec::decode_first("change", (!bytes.is_empty()).then_some(bytes)?)
            .expect("what was encoded decodes");
        bytes = &bytes[used..];
        Some(op)
    })
}
