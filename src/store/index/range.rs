//! Walking a range of the index: memory and sled as one.

use std::collections::VecDeque;
use std::iter::Peekable;

use super::Index;
use super::keys::Key;
use super::memtable::Value;
use crate::store::error::Result;

/// Entries fetched at first; doubled with each further fetch.
const PAGE_MIN: usize = 16;
const PAGE_MAX: usize = 512;

/// A key and its value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

/// A page of one source, and whether that has more.
type Source = (bool, Peekable<std::vec::IntoIter<(Box<[u8]>, Value)>>);

/// A range of the index, fetched page by page, ascending. No lock is held between calls; what is
/// published meanwhile may or may not be seen.
#[derive(Debug)]
pub struct Range<'a> {
    index: &'a Index,
    /// Where the next page starts, or `None` after the last.
    start: Option<Key>,
    end: Key,
    page: usize,
    ready: VecDeque<Entry>,
}

impl<'a> Range<'a> {
    /// The keys from `start` up to `end`.
    pub fn new(index: &'a Index, start: Key, end: Key) -> Range<'a> {
        Range::with_page(index, start, end, PAGE_MIN)
    }

    /// The same, fetching `page` entries at first.
    pub fn with_page(index: &'a Index, start: Key, end: Key, page: usize) -> Range<'a> {
        Range { index, start: Some(start), end, page, ready: VecDeque::new() }
    }

    /// The next entry.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            let Some(start) = self.start.take() else { return Ok(None) };
            if start >= self.end {
                return Ok(None);
            }
            self.fetch(&start)?;
        }
    }

    /// Goes on from `key`, which lies ahead.
    pub fn seek(&mut self, key: Key) {
        while self.ready.front().is_some_and(|(k, _)| **k < *key) {
            self.ready.pop_front();
        }
        if self.ready.is_empty() && self.start.as_ref().is_some_and(|start| *start < key) {
            self.start = Some(key);
        }
    }

    fn fetch(&mut self, start: &[u8]) -> Result<()> {
        let limit = self.page;
        self.page = (limit * 2).min(PAGE_MAX);
        // Memory first: what moves to sled in between is then seen in both, never in neither.
        let mut pages = self.index.look(|slot| {
            let mut pages = self.index.mem.read().page(start, &self.end, limit);
            pages.push(slot.page(start, &self.end, limit)?);
            Ok(pages)
        })?;
        pages.retain(|page| !page.is_empty());
        let mut sources: Vec<Source> =
            pages.into_iter().map(|page| (page.len() == limit, page.into_iter().peekable())).collect();
        loop {
            let next = sources.iter_mut().filter_map(|(_, s)| s.peek().map(|(k, _)| k)).min();
            let Some(key) = next.cloned() else { break };
            let newest: Option<Value> = sources
                .iter_mut()
                .filter_map(|(_, s)| s.next_if(|(k, _)| *k == key).map(|(_, v)| v))
                .reduce(|newer, _older| newer);
            // Beyond the end of a source that has more, the others tell only half.
            let stop = sources.iter_mut().any(|(more, s)| *more && s.peek().is_none());
            if stop {
                self.start = Some([&*key, &[0]].concat());
            }
            if let Some(Some(value)) = newest {
                self.ready.push_back((key, value));
            }
            if stop {
                break;
            }
        }
        Ok(())
    }
}
