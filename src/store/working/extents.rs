//! Which bytes of a file being written are not those of its base, and where they are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::Content;
use crate::store::error::Result;

/// What an extent costs in memory beside its bytes, roughly.
const OVERHEAD: usize = 64;

/// Where the bytes of an extent are.
#[derive(Debug)]
pub enum Kind {
    /// Here.
    Ram(Vec<u8>),
    /// In the scratch file, at the offset they have in the file.
    Scratch,
    /// Nowhere: they are zero.
    Zeros,
    /// In another file's content, from this offset on.
    Copy(Arc<Content>, u64),
}

/// A stretch of bytes from one place.
#[derive(Debug)]
pub struct Extent {
    /// How many bytes; at least 1.
    pub len: u64,
    /// Where they are.
    pub kind: Kind,
}

impl Extent {
    fn ram(bytes: &[u8]) -> Extent {
        Extent { len: bytes.len() as u64, kind: Kind::Ram(bytes.to_vec()) }
    }

    /// Bytes of memory it takes while its bytes are there; 0 for others, whose number is bounded.
    fn cost(&self) -> usize {
        match &self.kind {
            Kind::Ram(bytes) => bytes.len() + OVERHEAD,
            _ => 0,
        }
    }

    /// Cuts off and returns what is past the first `len` bytes.
    fn split_off(&mut self, len: u64) -> Extent {
        let kind = match &mut self.kind {
            Kind::Ram(bytes) => Kind::Ram(bytes.split_off(len as usize)),
            Kind::Scratch => Kind::Scratch,
            Kind::Zeros => Kind::Zeros,
            Kind::Copy(content, offset) => Kind::Copy(content.clone(), *offset + len),
        };
        let rest = Extent { len: self.len - len, kind };
        self.len = len;
        rest
    }

    /// Takes in the extent that follows, if the two are one stretch; else gives it back.
    fn merge(&mut self, next: Extent) -> Option<Extent> {
        match (&mut self.kind, &next.kind) {
            (Kind::Ram(bytes), Kind::Ram(more)) => bytes.extend_from_slice(more),
            (Kind::Scratch, Kind::Scratch) | (Kind::Zeros, Kind::Zeros) => {}
            (Kind::Copy(content, offset), Kind::Copy(more, at))
                if content == more && *offset + self.len == *at => {}
            _ => return Some(next),
        }
        self.len += next.len;
        None
    }
}

/// Extents by offset; they do not overlap.
#[derive(Debug, Default)]
pub struct Extents {
    map: BTreeMap<u64, Extent>,
    ram: usize,
}

impl Extents {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Bytes of memory taken by those whose bytes are in memory.
    pub fn ram(&self) -> usize {
        self.ram
    }

    /// Where the last one ends.
    pub fn end(&self) -> u64 {
        self.map.last_key_value().map_or(0, |(start, extent)| start + extent.len)
    }

    /// The contents that some of them are copies of.
    pub fn contents(&self) -> impl Iterator<Item = &Arc<Content>> {
        self.map.values().filter_map(|extent| match &extent.kind {
            Kind::Copy(content, _) => Some(content),
            _ => None,
        })
    }

    /// The first that ends after `offset`, and where it starts.
    pub fn from(&self, offset: u64) -> Option<(u64, &Extent)> {
        let containing = self.map.range(..=offset).next_back();
        containing
            .filter(|(start, extent)| offset - **start < extent.len)
            .or_else(|| self.map.range(offset..).next())
            .map(|(start, extent)| (*start, extent))
    }

    /// Puts bytes in place of what was there.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        if let Some((start, extent)) = self.map.range_mut(..=offset).next_back()
            && let Kind::Ram(old) = &mut extent.kind
        {
            let skip = offset - start;
            if skip + bytes.len() as u64 <= extent.len {
                old[skip as usize..][..bytes.len()].copy_from_slice(bytes);
                return;
            }
            if skip == extent.len {
                // Sequential writes grow one extent without a copy in between.
                let end = offset + bytes.len() as u64;
                self.remove(offset..end);
                if let Some((_, Extent { len, kind: Kind::Ram(old) })) =
                    self.map.range_mut(..offset).next_back()
                {
                    old.extend_from_slice(bytes);
                    *len += bytes.len() as u64;
                    self.ram += bytes.len();
                }
                return;
            }
        }
        self.insert(offset, Extent::ram(bytes));
    }

    /// Puts an extent in place of what was there; it becomes one with its neighbours where it can.
    pub fn insert(&mut self, offset: u64, extent: Extent) {
        let end = offset + extent.len;
        self.remove(offset..end);
        if let Some(extent) = self.merge_before(offset, extent) {
            self.put(offset, extent);
        }
        // Bytes in memory are not moved to those before them: writing backwards would move them each
        // time.
        if let Some(next) = self.map.get(&end)
            && !matches!(next.kind, Kind::Ram(_))
            && let Some(next) = self.take(end)
            && let Some(next) = self.merge_before(end, next)
        {
            self.put(end, next);
        }
    }

    /// Takes all of a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        self.split_at(range.start);
        self.split_at(range.end);
        while let Some((&start, _)) = self.map.range(range.clone()).next() {
            self.take(start);
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Extents::default();
    }

    /// Hands all bytes in memory to `store`, which puts them in the scratch file. Where it fails, the
    /// bytes not handed over stay in memory.
    pub fn spill(&mut self, mut store: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut from = 0;
        while let Some((&start, extent)) = self.map.range(from..).next() {
            from = start + extent.len;
            if let Kind::Ram(bytes) = &extent.kind {
                store(start, bytes)?;
                let len = extent.len;
                self.insert(start, Extent { len, kind: Kind::Scratch });
            }
        }
        Ok(())
    }

    /// Gives the extent to the one that ends where it starts, if the two are one stretch.
    fn merge_before(&mut self, offset: u64, extent: Extent) -> Option<Extent> {
        let Some((&start, before)) = self.map.range_mut(..offset).next_back() else { return Some(extent) };
        if start + before.len != offset {
            return Some(extent);
        }
        let cost = before.cost();
        let rest = before.merge(extent);
        self.ram = self.ram - cost + before.cost();
        rest
    }

    /// Makes `offset` the boundary of two extents if it lies within one.
    fn split_at(&mut self, offset: u64) {
        if let Some((&start, extent)) = self.map.range_mut(..offset).next_back()
            && offset - start < extent.len
        {
            let cost = extent.cost();
            let rest = extent.split_off(offset - start);
            self.ram = self.ram - cost + extent.cost();
            self.put(offset, rest);
        }
    }

    fn put(&mut self, offset: u64, extent: Extent) {
        self.ram += extent.cost();
        self.map.insert(offset, extent);
    }

    fn take(&mut self, offset: u64) -> Option<Extent> {
        let extent = self.map.remove(&offset)?;
        self.ram -= extent.cost();
        Some(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(extents: &Extents) -> Vec<(u64, u64)> {
        extents.map.iter().map(|(start, extent)| (*start, extent.len)).collect()
    }

    fn recount(extents: &Extents) -> usize {
        extents.map.values().map(Extent::cost).sum()
    }

    #[test]
    fn later_writes_win_and_neighbours_become_one() {
        let mut extents = Extents::default();
        extents.write(10, b"abcdef");
        extents.write(12, b"XY");
        extents.write(16, b"gh");
        assert_eq!(shape(&extents), [(10, 8)]);
        extents.write(14, b"longer than before");
        assert_eq!(shape(&extents), [(10, 22)]);
        let Some((10, Extent { kind: Kind::Ram(bytes), .. })) = extents.from(31) else { panic!() };
        assert_eq!(bytes, b"abXYlonger than before");
        assert!(extents.from(32).is_none());
        extents.insert(12, Extent { len: 4, kind: Kind::Zeros });
        assert_eq!(shape(&extents), [(10, 2), (12, 4), (16, 16)]);
        assert_eq!(extents.ram(), recount(&extents));
        extents.remove(0..20);
        assert_eq!((shape(&extents), extents.end()), (vec![(20, 12)], 32));
        assert_eq!(extents.ram(), recount(&extents));
        assert_eq!(extents.from(0).unwrap().0, 20);
    }

    #[test]
    fn scratch_extents_merge_on_both_sides() {
        let mut extents = Extents::default();
        for offset in [0, 8, 4, 12] {
            extents.insert(offset, Extent { len: 4, kind: Kind::Scratch });
        }
        assert_eq!(shape(&extents), [(0, 16)]);
    }

    #[test]
    fn copies_that_go_on_merge() {
        let chunk = crate::model::ChunkRef { hash: crate::model::ChunkHash([1; 32]), len: 100 };
        let copy = |at| Kind::Copy(Arc::new(Content::One(chunk)), at);
        let mut extents = Extents::default();
        extents.insert(10, Extent { len: 20, kind: copy(0) });
        extents.insert(30, Extent { len: 20, kind: copy(20) });
        assert_eq!(shape(&extents), [(10, 40)]);
        extents.insert(50, Extent { len: 20, kind: copy(41) });
        assert_eq!(shape(&extents), [(10, 40), (50, 20)]);
    }

    #[test]
    fn what_could_not_be_spilled_stays() {
        let mut extents = Extents::default();
        for offset in [0, 10, 20] {
            extents.write(offset, b"abcd");
        }
        let mut left = 2;
        let result = extents.spill(|_, _| {
            left -= 1;
            if left == 0 { Err(crate::store::Error::NoSpace("x".into())) } else { Ok(()) }
        });
        assert!(result.is_err());
        assert!(matches!(extents.from(0).unwrap().1.kind, Kind::Scratch));
        assert!(matches!(extents.from(10).unwrap().1.kind, Kind::Ram(_)));
        assert_eq!(extents.ram(), recount(&extents));
        extents.spill(|_, _| Ok(())).unwrap();
        assert_eq!(extents.ram(), 0);
    }
}
