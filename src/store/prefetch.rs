//! Reading chunks ahead of those who will want them.

use super::Store;
use super::error::Result;
use super::objects::{ObjectStore, ReadPart};
use super::pack::LogPos;
use crate::model::ChunkRef;

/// Bytes read at once.
const BATCH: usize = 4 << 20;

/// Batches that the system is told of beforehand.
const AHEAD: usize = 8;
/// Bytes between two chunks that are rather read than skipped.
const GAP_MAX: u64 = 64 << 10;

/// A chunk and where its bytes begin.
type Placed = (LogPos, ChunkRef);

fn end_of((start, chunk): &Placed) -> u64 {
    u64::from(start.offset()) + u64::from(chunk.len)
}

/// Parts of at most [`BATCH`] bytes.
fn batches(placed: &[Placed]) -> Vec<&[Placed]> {
    let mut batches = Vec::new();
    let mut rest = placed;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, chunk): &&Placed| {
            bytes += chunk.len as usize;
            bytes <= BATCH
        };
        let (batch, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        batches.push(batch);
        rest = later;
    }
    batches
}

impl Store {
    /// Reads and verifies chunks in the order in which the packs have them, so that they are in the system's
    /// cache. Gives how many of their bytes could not be read, as damaged or missing ones cannot; reading
    /// these will say why.
    ///
    /// # Errors
    /// Where the index or the disk fails.
    pub fn prefetch(&self, chunks: Vec<ChunkRef>) -> Result<u64> {
        let mut placed = Vec::with_capacity(chunks.len());
        let mut lost = 0;
        for chunk in chunks {
            match self.object_pos(&chunk.hash.0)? {
                Some(pos) => placed.push((pos.start(), chunk)),
                None => lost += u64::from(chunk.len),
            }
        }
        placed.sort_unstable_by_key(|(start, _)| *start);
        placed.dedup_by_key(|(start, _)| *start);
        let mut buffer = vec![0; BATCH];
        let batches = batches(&placed);
        for (i, batch) in batches.iter().enumerate() {
            // The disk goes on while this batch is verified.
            let ahead = if i == 0 { 0..AHEAD } else { i + AHEAD - 1..i + AHEAD };
            batches
                .get(ahead.start..ahead.end.min(batches.len()))
                .into_iter()
                .flatten()
                .for_each(|b| self.advise(b));
            if self.read_batch(batch.iter().map(|(_, chunk)| *chunk), &mut buffer).is_err() {
                // One by one, so that a damaged one costs no other.
                for (_, chunk) in *batch {
                    if self.read_batch([*chunk], &mut buffer).is_err() {
                        lost += u64::from(chunk.len);
                    }
                }
            }
        }
        Ok(lost)
    }

    /// Has the system begin to read what a batch is in; a hint, whose failure costs time alone.
    fn advise(&self, batch: &[Placed]) {
        let near = |a: &Placed, b: &Placed| {
            a.0.pack() == b.0.pack() && u64::from(b.0.offset()) < end_of(a) + GAP_MAX
        };
        for stretch in batch.chunk_by(near) {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            if let Ok(pack) = self.packs.file(first.0.pack()) {
                pack.will_need(first.0.offset().into(), end_of(last));
            }
        }
    }

    fn read_batch(&self, chunks: impl IntoIterator<Item = ChunkRef>, buffer: &mut [u8]) -> Result<()> {
        let mut left = buffer;
        let mut parts = Vec::new();
        for chunk in chunks {
            let (out, rest) = left.split_at_mut(chunk.len as usize);
            left = rest;
            parts.push(ReadPart { chunk, skip: 0, out });
        }
        self.read_parts(&mut parts)
    }
}
