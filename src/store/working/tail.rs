//! Bytes written one after the other, streaming into the store.

use std::ops::Range;
use std::sync::Arc;

use super::ahead::Ahead;
use crate::model::Piece;
use crate::model::content::CHUNK_MAX;
use crate::store::content::{Batch, ChunkStream, read_pieces};
use crate::store::error::Result;
use crate::store::manifest::Objects;
use crate::store::objects::ObjectStore;

/// As many batches of 1 MiB may be on their way into the store.
const AHEAD_MAX: usize = 3;

/// A stretch of the file, from a cut to its end or to where it is being written: first the bytes stored as
/// chunks, then those in memory.
///
/// No known pieces wait in the stream between calls, so `start`, stored and buffered bytes add up to
/// [`end`](Tail::end).
///
/// While the stream is drained on another thread ([`Tail::drain_ahead`]), bytes can be added and nothing
/// else be done or asked before [`Tail::join`].
#[derive(Debug)]
pub struct Tail {
    start: u64,
    /// Bytes of the stream's pieces.
    stored: u64,
    stream: ChunkStream,
    ahead: Ahead,
}

impl Tail {
    /// A tail from the cut `start` on that so far is `buffer`.
    pub fn new(start: u64, buffer: Vec<u8>) -> Tail {
        Tail { start, stored: 0, stream: ChunkStream::with_buffer(buffer), ahead: Ahead::default() }
    }

    /// Where it starts in the file, which is a cut whatever follows.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Where the bytes in memory start in the file.
    pub fn buffer_start(&self) -> u64 {
        self.start + self.stored
    }

    /// Where it ends in the file.
    pub fn end(&self) -> u64 {
        self.buffer_start() + (self.ahead.bytes() + self.buffer().len()) as u64
    }

    /// The bytes in memory.
    pub fn buffer(&self) -> &[u8] {
        self.stream.buffer()
    }

    /// What has been stored.
    pub fn pieces(&self) -> &[Piece] {
        self.stream.pieces()
    }

    /// What has been stored, from the piece on that `offset` lies in.
    pub fn pieces_from(&self, offset: u64) -> impl Iterator<Item = (u64, Piece)> {
        let mut end = self.start;
        self.pieces()
            .iter()
            .map(move |&piece| {
                end += piece.len();
                (end - piece.len(), piece)
            })
            .skip_while(move |(start, piece)| start + piece.len() <= offset)
    }

    /// Adds bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        self.stream.write(bytes);
    }

    /// Finds the chunks that are complete.
    pub fn search(&mut self) {
        self.stream.search();
    }

    /// Bytes that wait for a thread to store them.
    pub fn waiting(&self) -> usize {
        self.buffer().len()
    }

    /// Whether another thread is at work on it, or was since [`join`](Tail::join).
    pub fn is_ahead(&self) -> bool {
        self.ahead.count() > 0
    }

    /// Has another thread hash and store all whole chunks, while more is added and cut, which takes about as
    /// long. Waits where much is on its way. If storing failed before, all is as if it had not been begun.
    pub fn drain_ahead(&mut self, store: Arc<dyn ObjectStore>) -> Result<()> {
        self.join_most(AHEAD_MAX - 1)?;
        self.hand_over(store)
    }

    /// The same, unless it would wait or storing failed before, which is left for who can be told.
    pub fn drain_if_free(&mut self, store: Arc<dyn ObjectStore>) -> Result<()> {
        while let Some((batch, pieces)) = self.ahead.take_stored() {
            self.note_stored(batch, pieces);
        }
        if self.ahead.is_free(AHEAD_MAX) { self.hand_over(store) } else { Ok(()) }
    }

    fn hand_over(&mut self, store: Arc<dyn ObjectStore>) -> Result<()> {
        self.ahead.hand_over(self.stream.take_whole(), store).map_err(|(batch, error)| {
            self.stream.put_back(batch);
            error
        })
    }

    fn note_stored(&mut self, batch: Batch, pieces: Vec<Piece>) {
        self.stored += batch.len() as u64;
        self.stream.note_stored(batch, pieces);
    }

    /// Waits for the other thread. If storing failed, all is as if it had not been begun.
    pub fn join(&mut self) -> Result<()> {
        self.join_most(0)
    }

    /// The same, until the other thread has at most `left` batches to store.
    fn join_most(&mut self, left: usize) -> Result<()> {
        while let Some((batch, stored)) = self.ahead.take_back(self.ahead.count() > left) {
            match stored {
                Ok(pieces) => self.note_stored(batch, pieces),
                Err(error) => {
                    // Those after it too, whatever became of them: pieces come in order.
                    let mut unstored = vec![batch];
                    unstored
                        .extend(std::iter::from_fn(|| self.ahead.take_back(true)).map(|(batch, _)| batch));
                    unstored.into_iter().rev().for_each(|batch| self.stream.put_back(batch));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Adds zero bytes, or fails and adds none.
    pub fn zeros(&mut self, objects: &Objects, count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.drain(objects)?;
        let before = self.buffer().to_vec();
        self.stream.zeros(count);
        if let Err(error) = self.stream.drain(objects.store()) {
            self.stream.edit_buffer(|buffer| *buffer = before);
            return Err(error);
        }
        self.stored += before.len() as u64 + count - self.buffer().len() as u64;
        Ok(())
    }

    /// Stores all whole chunks.
    pub fn drain(&mut self, objects: &Objects) -> Result<()> {
        let before = self.buffer().len();
        self.stream.drain(objects.store())?;
        self.stored += (before - self.buffer().len()) as u64;
        Ok(())
    }

    /// Changes bytes in memory.
    pub fn edit(&mut self, range: Range<u64>, edit: impl FnOnce(&mut [u8])) {
        let start = self.buffer_start();
        let range = (range.start - start) as usize..(range.end - start) as usize;
        self.stream.edit_buffer(|buffer| edit(&mut buffer[range]));
    }

    /// Drops what is past `end`, which is after the start. Reads the chunk that `end` is in back.
    pub fn truncate(&mut self, objects: &Objects, end: u64) -> Result<()> {
        if let Some(len) = end.checked_sub(self.buffer_start()) {
            self.stream.edit_buffer(|buffer| buffer.truncate(len as usize));
            return Ok(());
        }
        let Some((start, cut)) = self.pieces_from(end).next() else { return Ok(()) };
        let whole = match cut {
            Piece::Data(_) => 0,
            Piece::Zeros(_) => (end - start) / CHUNK_MAX as u64,
        };
        let keep = self.pieces_from(end).count();
        let buffer_start = start + whole * CHUNK_MAX as u64;
        let mut rest = vec![0; (end - buffer_start) as usize];
        read_pieces(objects, std::iter::once(Ok((start, cut))), buffer_start, &mut rest)?;
        let pieces = self.stream.pieces_mut();
        pieces.truncate(pieces.len() - keep);
        if whole > 0 {
            pieces.push(Piece::Zeros(whole));
        }
        self.stored = buffer_start - self.start;
        self.stream.edit_buffer(|buffer| *buffer = rest);
        Ok(())
    }

    /// Lets go of what has been stored: the tail goes on after it.
    pub fn forget_stored(&mut self) {
        self.start += self.stored;
        self.stored = 0;
        self.stream.pieces_mut().clear();
    }
}
