//! The search for a flipped bit.

use stratafs::store::RecordKind;
use stratafs::store::fuzzing::{Budget, Place, RECORD_HEADER, mend_header, mend_payload};
use stratafs::store::{RecordHeader, StoreId};

use super::input::{Input, Script};
use super::samples::{noise, records};

/// Longest payload: a search costs its length squared, up to the length of a leaf of the hash.
const LEN_MAX: usize = 3000;

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// One flipped bit is found, two are left as they are, and a header is what it was.
pub fn bit_flips(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = RecordKind::from_number(input.byte());
    let (first, second) = (usize::from(input.u16()), usize::from(input.u16()));
    let good = &input.0[..input.0.len().min(LEN_MAX)];
    let wanted = kind.hash(good);
    header(kind, wanted, good.len() as u32, first);
    if good.is_empty() {
        assert!(!mend_payload(kind, &mut [], &[0; 32], &mut Budget::default()));
        return;
    }
    let bits = good.len() * 8;
    let (first, second) = (first % bits, second % bits);
    let mut bad = good.to_vec();
    flip(&mut bad, first);
    let mut budget = Budget::default();
    if first == second {
        assert!(mend_payload(kind, &mut bad, &wanted, &mut budget), "bit {first} of {bits}");
        assert_eq!(bad, good);
    } else {
        flip(&mut bad, second);
        let before = bad.clone();
        assert!(!mend_payload(kind, &mut bad, &wanted, &mut budget), "bits {first} and {second} of {bits}");
        assert_eq!(bad, before, "what cannot be mended stays as it is");
    }
}

fn header(kind: RecordKind, hash: [u8; 32], len: u32, bit: usize) {
    let place = Place { store: StoreId([5; 16]), pack: 1, offset: 40 };
    let header = RecordHeader { kind, codec: 0, stored: len, raw: len, hash };
    let mut bytes = header.encode(place);
    flip(&mut bytes, bit % (RECORD_HEADER as usize * 8));
    assert_eq!(mend_header(&bytes, place), Some(header));
}

/// Payloads of all kinds.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |kind: u8, bytes: &[u8], bits: [u8; 4]| Script(vec![kind]).raw(&bits).raw(bytes).0;
    let long = noise(3, 2500);
    let mut seeds: Vec<_> = records().iter().map(|(kind, bytes)| seed(*kind, bytes, [9, 0, 9, 0])).collect();
    seeds.extend([seed(1, &long, [1, 40, 1, 40]), seed(2, &long, [1, 0, 2, 0]), seed(3, &[], [0; 4])]);
    seeds
}
