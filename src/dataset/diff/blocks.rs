//! A list that grows without being moved: of millions of things, a move would take their memory twice.

use std::ops::{Index, IndexMut};

/// Elements of a block.
const BLOCK: usize = 1024;

/// A list.
#[derive(Debug)]
pub struct Blocks<T>(Vec<Vec<T>>);

impl<T> Default for Blocks<T> {
    fn default() -> Blocks<T> {
        Blocks(Vec::new())
    }
}

impl<T> Blocks<T> {
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * BLOCK + last.len())
    }

    pub fn push(&mut self, one: T) {
        match self.0.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => last.push(one),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(one);
                self.0.push(block);
            }
        }
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / BLOCK)?.get(at % BLOCK)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// Puts them in the order of their keys, in which they are as a rule.
    pub fn order_by<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        if self.iter().map(&key).is_sorted() {
            return;
        }
        let mut all: Vec<T> = std::mem::take(&mut self.0).into_iter().flatten().collect();
        all.sort_unstable_by_key(key);
        all.into_iter().for_each(|one| self.push(one));
    }
}

impl<T> Index<usize> for Blocks<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at / BLOCK][at % BLOCK]
    }
}

impl<T> IndexMut<usize> for Blocks<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / BLOCK][at % BLOCK]
    }
}

/// How many of the numbers below `len` come before the first that `is_before` is not true of.
pub fn partition(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_list_stays_in_its_order() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let mut list = Blocks::default();
            (0..len).for_each(|n| list.push(n));
            assert_eq!((list.len(), list.get(len)), (len, None));
            assert!(list.iter().copied().eq(0..len) && (0..len).all(|n| list[n] == n));
            (0..len).for_each(|n| list[n] = len - n);
            list.order_by(|n| *n);
            assert!(list.iter().copied().eq(1..=len));
        }
    }
}
