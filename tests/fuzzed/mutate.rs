//! Inputs made of valid ones.

/// A source of numbers that look random (xorshift64*).
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }
}

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
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let from = at.min(bytes.len().saturating_sub(1));
        match random.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[from] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => {
                // The beginning of one, the end of another.
                let other = random.pick(seeds);
                let cut = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[cut..]);
            }
            4 | 5 => {
                let number = random.pick(&NUMBERS);
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
