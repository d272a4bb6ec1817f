//! Tells of most hashes that a run does not have that it does not.
//!
//! A Bloom filter whose bits for one hash all lie in one line of the processor's cache (Putze, Sanders and Singler,
//! "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). The hashes are BLAKE3's, so their own bytes say which.

/// Bits for each hash. With these, some 1 in 80 of the hashes that are not there seems to be.
const BITS: u64 = 10;
/// Bits set for a hash.
const SET: u32 = 7;
/// Bits of a line.
const LINE: u64 = 512;

/// Bytes of a line.
const LINE_BYTES: usize = (LINE / 8) as usize;

/// What may be among some hashes.
#[derive(Debug)]
pub struct Filter {
    lines: Vec<[u64; 8]>,
}

impl Filter {
    /// Of up to `count` hashes, none yet.
    pub fn new(count: u64) -> Filter {
        let lines = (count * BITS).div_ceil(LINE).max(1);
        Filter { lines: vec![[0; 8]; lines as usize] }
    }

    /// Takes up a hash.
    pub fn add(&mut self, hash: &[u8; 32]) {
        let line = self.line(hash);
        bits(hash).for_each(|(word, bit)| self.lines[line][word] |= bit);
    }

    /// Whether a hash may have been taken up.
    pub fn may_have(&self, hash: &[u8; 32]) -> bool {
        let line = &self.lines[self.line(hash)];
        bits(hash).all(|(word, bit)| line[word] & bit != 0)
    }

    fn line(&self, hash: &[u8; 32]) -> usize {
        ((u128::from(word(hash, 8)) * self.lines.len() as u128) >> 64) as usize
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The inverse of [`Filter::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Filter> {
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        let line = |bytes: &[u8; LINE_BYTES]| {
            let words = bytes.as_chunks::<8>().0;
            std::array::from_fn(|nth| u64::from_le_bytes(words[nth]))
        };
        let filter = Filter { lines: lines.iter().map(line).collect() };
        (rest.is_empty() && !filter.lines.is_empty()).then_some(filter)
    }
}

/// The bits of a hash: of which word of its line, and the bit in it.
fn bits(hash: &[u8; 32]) -> impl Iterator<Item = (usize, u64)> {
    let from = word(hash, 16);
    (0..SET).map(move |nth| {
        let bit = (from >> (9 * nth)) % LINE;
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

fn word(hash: &[u8; 32], at: usize) -> u64 {
    hash[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> [u8; 32] {
        *blake3::hash(&n.to_be_bytes()).as_bytes()
    }

    #[test]
    fn all_that_was_taken_up_is_there_and_little_else() {
        let mut filter = Filter::new(20_000);
        (0..20_000).for_each(|n| filter.add(&hash(n)));
        let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!((0..20_000).all(|n| filter.may_have(&hash(n))));
        let wrong = (20_000..120_000).filter(|n| filter.may_have(&hash(*n))).count();
        assert!((200..3000).contains(&wrong), "{wrong} of 100,000");
    }

    #[test]
    fn bytes_that_are_no_lines_are_no_filter() {
        assert!(Filter::from_bytes(&[]).is_none());
        assert!(Filter::from_bytes(&[0; 65]).is_none());
        assert!(Filter::from_bytes(&[0; 128]).is_some());
    }
}
