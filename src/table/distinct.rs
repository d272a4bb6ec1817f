//! Counting different values in bounded memory: exactly as long as there are few, else by HyperLogLog.
//!
//! The estimate is that of Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation
//! algorithm" (2007), on 64-bit hashes, whose large-range correction is not needed. Its standard error is
//! 1.04 / sqrt(2^14) = 0.8 %.

use std::collections::HashSet;

/// Most values that are counted exactly.
const EXACT_MAX: usize = 4096;
/// Bits of a hash that choose a register.
const BITS: u32 = 14;
const REGISTERS: usize = 1 << BITS;

/// How many different values there are.
#[derive(Clone, Debug)]
pub enum Distinct {
    /// The hashes of all.
    Exact(HashSet<u64>),
    /// The registers.
    Estimated(Vec<u8>),
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct::Exact(HashSet::new())
    }
}

impl Distinct {
    /// Counts a value by its hash, which must be well mixed.
    pub fn add(&mut self, hash: u64) {
        match self {
            Distinct::Exact(all) => {
                all.insert(hash);
                if all.len() > EXACT_MAX {
                    let mut registers = vec![0; REGISTERS];
                    all.iter().for_each(|hash| note(&mut registers, *hash));
                    *self = Distinct::Estimated(registers);
                }
            }
            Distinct::Estimated(registers) => note(registers, hash),
        }
    }

    /// How many, and whether that is exact.
    pub fn count(&self) -> (u64, bool) {
        match self {
            Distinct::Exact(all) => (all.len() as u64, true),
            Distinct::Estimated(registers) => (estimate(registers), false),
        }
    }
}

fn note(registers: &mut [u8], hash: u64) {
    let register = (hash >> (64 - BITS)) as usize;
    // Of the other bits, the place of the first that is set.
    let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
    registers[register] = registers[register].max(rank);
}

fn estimate(registers: &[u8]) -> u64 {
    let m = registers.len() as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / m);
    let sum: f64 = registers.iter().map(|rank| 2_f64.powi(-i32::from(*rank))).sum();
    let raw = alpha * m * m / sum;
    let zeros = registers.iter().filter(|rank| **rank == 0).count();
    let small = raw <= 2.5 * m && zeros > 0;
    if small { (m * (m / zeros as f64).ln()).round() as u64 } else { raw.round() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_and_many_estimated() {
        for count in [0_u64, 1, 4096, 4097, 20_000, 50_000, 1_000_000] {
            let mut distinct = Distinct::default();
            for n in (0..count).chain(0..count / 2) {
                let hash = blake3::hash(&n.to_le_bytes());
                distinct.add(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()));
            }
            let (counted, exact) = distinct.count();
            assert_eq!(exact, count <= 4096);
            let error = (counted as f64 - count as f64).abs() / (count as f64).max(1.0);
            assert!(error <= if exact { 0.0 } else { 0.04 }, "{counted} of {count}");
        }
    }
}
