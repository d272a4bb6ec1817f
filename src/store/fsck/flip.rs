//! Finding the one flipped bit that keeps bytes from having their hash.
//!
//! A hash says no more than that the bytes are wrong, but where a single bit is, flipping each back in
//! turn finds it. BLAKE3 is a tree over pieces of 1 KiB: for each try only one piece is hashed anew and
//! what lies above it, so that a chunk of 128 KiB takes a few seconds and not minutes.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, hash_derive_key_context, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};

use crate::model::{NodeHash, VersionId};
use crate::store::pack::{Place, RECORD_HEADER, RecordHeader, RecordKind};

/// Bytes of a leaf of BLAKE3's tree.
const LEAF: usize = 1024;
/// Bytes it hashes at a time.
const BLOCK: usize = 64;

/// How many flips are tried in all: a store with very many hopeless places must come to an end.
#[derive(Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(16 << 20)
    }
}

/// Finds the bit of `payload` to flip so that it hashes to `wanted`, and flips it.
pub fn mend_payload(kind: RecordKind, payload: &mut [u8], wanted: &[u8; 32], budget: &mut Budget) -> bool {
    let bits = payload.len() as u64 * 8;
    let Some(left) = budget.0.checked_sub(bits) else { return false };
    budget.0 = left;
    let context = match kind {
        RecordKind::Node => Some(hash_derive_key_context(NodeHash::CONTEXT)),
        RecordKind::Version => Some(hash_derive_key_context(VersionId::CONTEXT)),
        _ => None,
    };
    let tree = Tree { context, wanted };
    let mended = if payload.len() <= LEAF {
        flips(payload, |bytes| kind.hash(bytes) == *wanted)
    } else {
        tree.search(payload, 0, &mut Vec::new())
    };
    if mended {
        // As far as it was tried, it cost nothing worth a budget.
        budget.0 += bits;
    }
    mended && kind.hash(payload) == *wanted
}

/// Finds the header at `place` that `bytes` are but for one bit.
pub fn mend_header(bytes: &[u8; RECORD_HEADER as usize], place: Place) -> Option<RecordHeader> {
    let mut tried = *bytes;
    let mut found = None;
    flips(&mut tried, |bytes| {
        found = <&[u8; RECORD_HEADER as usize]>::try_from(bytes)
            .ok()
            .and_then(|bytes| RecordHeader::decode(bytes, place));
        found.is_some()
    });
    found
}

/// Flips each bit in turn until `is_good`; leaves the bytes as they were if none is.
fn flips(bytes: &mut [u8], mut is_good: impl FnMut(&[u8]) -> bool) -> bool {
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if is_good(bytes) {
            return true;
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    false
}

struct Tree<'a> {
    context: Option<[u8; 32]>,
    wanted: &'a [u8; 32],
}

/// What a subtree is merged with on the way up.
enum Sibling {
    Left(ChainingValue),
    Right(ChainingValue),
}

impl Tree<'_> {
    fn mode(&self) -> Mode<'_> {
        self.context.as_ref().map_or(Mode::Hash, Mode::DeriveKeyMaterial)
    }

    fn hasher(&self, offset: u64) -> Hasher {
        let mut hasher = match &self.context {
            Some(context) => Hasher::new_from_context_key(context),
            None => Hasher::new(),
        };
        hasher.set_input_offset(offset);
        hasher
    }

    fn value(&self, bytes: &[u8], offset: u64) -> ChainingValue {
        self.hasher(offset).update(bytes).finalize_non_root()
    }

    /// Searches the subtree of `bytes`; `siblings` leads up from it, the root's children first.
    fn search(&self, bytes: &mut [u8], offset: u64, siblings: &mut Vec<Sibling>) -> bool {
        if bytes.len() <= LEAF {
            return self.search_leaf(bytes, offset, siblings);
        }
        let middle = left_subtree_len(bytes.len() as u64);
        let (left, right) = bytes.split_at_mut(middle as usize);
        let right_offset = offset + middle;
        siblings.push(Sibling::Right(self.value(right, right_offset)));
        let found = self.search(left, offset, siblings);
        siblings.pop();
        if found {
            return true;
        }
        siblings.push(Sibling::Left(self.value(left, offset)));
        let found = self.search(right, right_offset, siblings);
        siblings.pop();
        found
    }

    fn search_leaf(&self, leaf: &mut [u8], offset: u64, siblings: &[Sibling]) -> bool {
        // What comes before the block with the flipped bit is hashed once.
        let mut before = self.hasher(offset);
        for start in (0..leaf.len()).step_by(BLOCK) {
            let rest = &mut leaf[start..];
            let len = rest.len().min(BLOCK);
            for bit in 0..len * 8 {
                rest[bit / 8] ^= 1 << (bit % 8);
                let value = before.clone().update(rest).finalize_non_root();
                if self.root(value, siblings) == *self.wanted {
                    return true;
                }
                rest[bit / 8] ^= 1 << (bit % 8);
            }
            before.update(&rest[..len]);
        }
        false
    }

    fn root(&self, mut value: ChainingValue, siblings: &[Sibling]) -> [u8; 32] {
        let (Some(top), below) = (siblings.first(), siblings.get(1..).unwrap_or_default()) else {
            return value;
        };
        for sibling in below.iter().rev() {
            value = match sibling {
                Sibling::Left(left) => merge_subtrees_non_root(left, &value, self.mode()),
                Sibling::Right(right) => merge_subtrees_non_root(&value, right, self.mode()),
            };
        }
        let root = match top {
            Sibling::Left(left) => merge_subtrees_root(left, &value, self.mode()),
            Sibling::Right(right) => merge_subtrees_root(&value, right, self.mode()),
        };
        *root.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::identity::StoreId;
    use crate::store::testing::noise;

    #[test]
    fn one_flipped_bit_is_found_in_payloads_of_all_lengths_and_kinds() {
        for kind in [RecordKind::Chunk, RecordKind::Node, RecordKind::Version, RecordKind::Dataset] {
            for len in [1, 63, 1024, 1025, 2048, 3000, 9000] {
                let good = noise(len as u64, len);
                let wanted = kind.hash(&good);
                for bit in [0, len * 4, len * 8 - 1] {
                    let mut bad = good.clone();
                    bad[bit / 8] ^= 1 << (bit % 8);
                    assert!(mend_payload(kind, &mut bad, &wanted, &mut Budget::default()));
                    assert_eq!(bad, good, "{kind:?} of {len} bytes, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn two_flipped_bits_are_left_and_the_budget_ends_the_search() {
        let good = noise(1, 3000);
        let wanted = RecordKind::Chunk.hash(&good);
        let mut bad = good.clone();
        bad[5] ^= 1;
        bad[2500] ^= 1;
        let before = bad.clone();
        let mut budget = Budget(2 * 3000 * 8);
        assert!(!mend_payload(RecordKind::Chunk, &mut bad, &wanted, &mut budget));
        assert_eq!(bad, before);
        bad[5] ^= 1;
        assert!(mend_payload(RecordKind::Chunk, &mut bad, &wanted, &mut budget));
        bad[7] ^= 1;
        bad[8] ^= 1;
        assert!(!mend_payload(RecordKind::Chunk, &mut bad, &wanted, &mut budget));
        bad[8] ^= 1;
        assert!(!mend_payload(RecordKind::Chunk, &mut bad, &wanted, &mut budget), "the budget is used up");
    }

    #[test]
    fn one_flipped_bit_of_a_header_is_found() {
        let place = Place { store: StoreId([3; 16]), pack: 2, offset: 400 };
        let header = RecordHeader { kind: RecordKind::Node, codec: 0, stored: 9, raw: 9, hash: [7; 32] };
        let good = header.encode(place);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(mend_header(&bad, place), Some(header), "bit {bit}");
        }
        assert_eq!(mend_header(&[0; RECORD_HEADER as usize], place), None);
    }
}
