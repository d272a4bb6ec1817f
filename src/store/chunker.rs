//! Where a file is cut into chunks: gear content-defined chunking.
//!
//! A cut falls where the gear hash of the 64 bytes before it has its 16 top bits clear, but never
//! before [`CHUNK_MIN`] and always at [`CHUNK_MAX`] bytes of chunk (the parameters Xet published; 62 KB
//! on average). The rolling hash is that of Xia et al., "Ddelta" (2014) and FastCDC (2016):
//! `h = (h << 1) + GEAR[byte]`, so what a byte adds is shifted out after 64 more.
//!
//! Invariants:
//! - a cut depends on nothing before the cut before it: chunking begun anew at any cut of a file finds
//!   the same cuts after it;
//! - zeros are never cut before [`CHUNK_MAX`], so a long run of them is whole zero chunks.
//!
//! Cuts are part of what a snapshot id is: none of this can change without changing every id.

use crate::model::content::{CHUNK_MAX, CHUNK_MIN};

/// Bytes before a position that its hash depends on: the bits of the hash.
const WINDOW: usize = u64::BITS as usize;

/// A hash below this has its 16 top bits clear: one position in 64 Ki.
const CUT_BELOW: u64 = 1 << 48;

/// What each byte value adds to the hash: the first 256 outputs of SplitMix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014) seeded with the bytes of "stratafs".
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = u64::from_le_bytes(*b"stratafs");
    let mut i = 0;
    while i < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[i] = z ^ (z >> 31);
        i += 1;
    }
    table
};

/// Length of the first chunk of `bytes`, which reach the end of the file or are at least
/// [`CHUNK_MAX`] long.
pub fn next_cut(bytes: &[u8]) -> usize {
    find_cut(bytes, 0).unwrap_or(bytes.len())
}

/// Length of the first chunk of `bytes`, whatever follows them, or `None` where that is still open
/// (only with less than [`CHUNK_MAX`] bytes). The first `searched` bytes are known to hold no cut.
pub fn find_cut(bytes: &[u8], searched: usize) -> Option<usize> {
    static TABLE: [u64; 256] = GEAR;
    let first = CHUNK_MIN.max(searched + 1);
    let end = bytes.len().min(CHUNK_MAX);
    if first > end {
        return (end == CHUNK_MAX).then_some(CHUNK_MAX);
    }
    let warm_up = &bytes[first - WINDOW..first - 1];
    let mut hash = warm_up.iter().fold(0, |h: u64, &b| (h << 1).wrapping_add(TABLE[usize::from(b)]));
    let mut at = first - 1;
    // Two bytes a turn: the second hash follows from the one before the first, which halves the
    // chain of dependent operations.
    let mut pairs = bytes[at..end].chunks_exact(2);
    for pair in &mut pairs {
        let (a, b) = (TABLE[usize::from(pair[0])], TABLE[usize::from(pair[1])]);
        let one = (hash << 1).wrapping_add(a);
        let two = (hash << 2).wrapping_add((a << 1).wrapping_add(b));
        if one < CUT_BELOW {
            return Some(at + 1);
        }
        if two < CUT_BELOW {
            return Some(at + 2);
        }
        hash = two;
        at += 2;
    }
    if let [last] = pairs.remainder()
        && (hash << 1).wrapping_add(TABLE[usize::from(*last)]) < CUT_BELOW
    {
        return Some(at + 1);
    }
    (end == CHUNK_MAX).then_some(CHUNK_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::noise;

    fn cuts(bytes: &[u8]) -> Vec<usize> {
        let mut at = 0;
        let mut cuts = Vec::new();
        while at < bytes.len() {
            at += next_cut(&bytes[at..]);
            cuts.push(at);
        }
        cuts
    }

    #[test]
    fn the_table_and_the_cuts_stay_as_they_are() {
        assert_eq!([GEAR[0], GEAR[255]], [0x396f_fc28_b927_04a1, 0x94f4_a545_8b55_97bb]);
        // As a straightforward program outside this crate finds them.
        let expected = [62_927, 131_380, 140_656, 271_728, 306_318, 325_938, 400_000];
        assert_eq!(cuts(&noise(1, 400_000)), expected);
    }

    #[test]
    fn zeros_are_never_cut_early() {
        assert_eq!(find_cut(&[0; CHUNK_MAX - 1], 0), None);
        assert_eq!(find_cut(&[0; 2 * CHUNK_MAX], 0), Some(CHUNK_MAX));
    }

    #[test]
    fn short_input_is_one_chunk() {
        for len in [0, 1, CHUNK_MIN - 1, CHUNK_MIN] {
            assert_eq!(next_cut(&noise(2, len)), len);
        }
    }

    #[test]
    fn sizes_are_within_bounds_and_average_to_the_target() {
        let bytes = noise(3, 32 << 20);
        let cuts = cuts(&bytes);
        let sizes: Vec<usize> =
            std::iter::once(cuts[0]).chain(cuts.windows(2).map(|pair| pair[1] - pair[0])).collect();
        assert!(sizes[..sizes.len() - 1].iter().all(|len| (CHUNK_MIN..=CHUNK_MAX).contains(len)));
        let average = bytes.len() / cuts.len();
        assert!((55_000..70_000).contains(&average), "{average}");
    }

    #[test]
    fn a_cut_hides_what_was_before_it_and_search_can_resume_anywhere() {
        let bytes = noise(4, 3 << 20);
        let whole = cuts(&bytes);
        for (i, &cut) in whole.iter().enumerate().take(20) {
            let rest: Vec<usize> = cuts(&bytes[cut..]).iter().map(|c| c + cut).collect();
            assert_eq!(rest, whole[i + 1..]);
        }
        let first = whole[0];
        for searched in [0, 1, CHUNK_MIN - 1, CHUNK_MIN, CHUNK_MIN + 1, first - 65, first - 2, first - 1] {
            assert_eq!(find_cut(&bytes, searched), Some(first));
            assert_eq!(find_cut(&bytes[..first], searched), Some(first));
            assert_eq!(find_cut(&bytes[..first - 1], searched), None);
        }
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let old = noise(5, 8 << 20);
        let mut new = old.clone();
        new.splice(4_000_000..4_000_000, *b"inserted");
        let (old, new) = (cuts(&old), cuts(&new));
        let before = old.iter().take_while(|&&c| c <= 4_000_000).count();
        assert_eq!(old[..before], new[..before]);
        let kept = old.iter().filter(|&&c| new.contains(&(c + 8))).count();
        assert!(before + kept >= old.len() - 3, "{before} + {kept} of {}", old.len());
    }
}
