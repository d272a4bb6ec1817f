//! Inputs made of valid ones.

use crate::harness::Random;

/// What decoders take for a length or a number when they meet it: the ends of ranges, in the byte orders of
/// records, and as bincode has them.
const NUMBERS: [&[u8]; 14] = [
    &[0],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0xff, 0xff],
    &[0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0, 0x40, 0, 0],
    &[0xff; 8],
    &[0xfb, 0xff, 0xff],
    &[0xfc, 0xff, 0xff, 0xff, 0x3f],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0x80],
];

/// A valid input with up to four things changed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pick(random, seeds).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let from = at.min(bytes.len().saturating_sub(1));
        match random.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[from] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => {
                // The beginning of one, the end of another.
                let other = pick(random, seeds);
                let cut = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[cut..]);
            }
            4 | 5 => {
                let number = pick(random, &NUMBERS);
                let end = bytes.len().min(at + number.len());
                bytes.splice(at..end, number.iter().copied());
            }
            6 => {
                let len = 1 + random.below(16);
                let inserted = random.bytes(len);
                bytes.splice(at..at, inserted);
            }
            _ => {
                let end = bytes.len().min(at + random.below(64));
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
        }
    }
    bytes
}

/// One of the items.
fn pick<'a, T>(random: &mut Random, items: &'a [T]) -> &'a T {
    &items[random.below(items.len())]
}
