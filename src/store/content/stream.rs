//! A stream of bytes, zero runs and known pieces that becomes a sequence of pieces.

use super::BLOCK;
use crate::model::Piece;
use crate::model::content::CHUNK_MAX;
use crate::store::chunker::find_cut;
use crate::store::error::Result;
use crate::store::objects::ObjectStore;

/// Chunks and pieces that may wait for others.
const FOUND_MAX: usize = 1024;

/// Takes the bytes of a file in order and cuts them into chunks; stores chunks when told to
/// [`drain`](ChunkStream::drain), so that many go to the store together.
///
/// Begins at a cut. What comes out is what chunking all bytes from there gives, though zeros and known
/// pieces are never looked at byte by byte.
///
/// To store chunks while more bytes are added, [take them out](ChunkStream::take_whole); nothing but writing and
/// searching goes on before they are [noted as stored](ChunkStream::note_stored) or
/// [put back](ChunkStream::put_back).
#[derive(Debug, Default)]
pub struct ChunkStream {
    /// Bytes not stored yet.
    buf: Vec<u8>,
    /// What `buf` is known to become, in order.
    found: Vec<Found>,
    /// Bytes of `buf` that are in `found`.
    cut: usize,
    /// Bytes of `buf` after `cut` that hold no cut.
    searched: usize,
    /// What has been stored.
    pieces: Vec<Piece>,
    /// An empty buffer that was used before.
    spare: Vec<u8>,
}

/// Whole chunks, and known pieces between them, on their way into the store.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The bytes of the chunks.
    bytes: Vec<u8>,
    /// What they become, in order.
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    /// A chunk of this many bytes of the buffer.
    Chunk(usize),
    /// A piece that takes no bytes from the buffer.
    Piece(Piece),
}

impl ChunkStream {
    /// A stream that goes on after `buf`, which begins at a cut.
    pub fn with_buffer(buf: Vec<u8>) -> ChunkStream {
        ChunkStream { buf, ..Default::default() }
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Adds `len` bytes, or as many as `read` says it put there; none if it fails.
    pub fn fill<E>(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let before = self.buf.len();
        self.buf.resize(before + len, 0);
        let result = read(&mut self.buf[before..]);
        self.buf.truncate(before + result.as_ref().map_or(0, |&read| read.min(len)));
        result
    }

    /// Adds `count` zero bytes, in time that does not depend on how many.
    pub fn zeros(&mut self, mut count: u64) {
        const UNIT: u64 = CHUNK_MAX as u64;
        loop {
            if self.at_cut() {
                if count >= UNIT {
                    self.piece(Piece::Zeros(count / UNIT));
                }
                self.buf.resize(self.buf.len() + (count % UNIT) as usize, 0);
                return;
            }
            let missing = CHUNK_MAX - (self.buf.len() - self.cut);
            if count < missing as u64 {
                self.buf.resize(self.buf.len() + count as usize, 0);
                return;
            }
            // Enough for a cut; as there was none before, only zeros are after it.
            self.buf.resize(self.buf.len() + missing, 0);
            count -= missing as u64;
            if let Some(len) = find_cut(&self.buf[self.cut..], self.searched) {
                self.found_chunk(len);
            }
            count += (self.buf.len() - self.cut) as u64;
            self.buf.truncate(self.cut);
        }
    }

    /// Adds a piece of another file, if the stream is [at a cut](ChunkStream::at_cut); the piece must
    /// end at a cut or at the end of the stream.
    pub fn piece(&mut self, piece: Piece) {
        debug_assert_eq!(self.buf.len(), self.cut, "pieces follow cuts");
        match self.found[..] {
            [] => push_merged(&mut self.pieces, piece),
            _ => self.found.push(Found::Piece(piece)),
        }
    }

    /// Whether so much waits that it is time to [`drain`](ChunkStream::drain).
    pub fn is_full(&self) -> bool {
        self.buf.len() >= BLOCK || self.found.len() >= FOUND_MAX
    }

    /// Whether the last byte is the last of a chunk (or there was none).
    pub fn at_cut(&mut self) -> bool {
        self.search();
        self.buf.len() == self.cut
    }

    /// The bytes not stored yet.
    pub fn buffer(&self) -> &[u8] {
        &self.buf
    }

    /// Changes the bytes not stored yet, and perhaps their number. Known pieces among them would be
    /// lost: call it right after [`drain`](ChunkStream::drain), or where there were none.
    pub fn edit_buffer(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.buf);
        self.found.clear();
        (self.cut, self.searched) = (0, 0);
    }

    /// What has been stored so far.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What has been stored so far, to change or to take away.
    pub fn pieces_mut(&mut self) -> &mut Vec<Piece> {
        &mut self.pieces
    }

    /// Stores all whole chunks, in one call. After an error all is as before.
    pub fn drain(&mut self, store: &dyn ObjectStore) -> Result<()> {
        self.search();
        self.store_found(store)
    }

    /// Stores everything, the bytes after the last cut as the file's last chunk. After an error all
    /// is as before.
    pub fn finish(&mut self, store: &dyn ObjectStore) -> Result<()> {
        self.search();
        let last = self.buf.len() - self.cut;
        if last == 0 {
            return self.store_found(store);
        }
        let searched = self.searched;
        self.found_chunk(last);
        let result = self.store_found(store);
        if result.is_err() {
            self.found.pop();
            self.cut -= last;
            self.searched = searched;
        }
        result
    }

    /// Takes out all whole chunks, for [`Batch::store`].
    pub fn take_whole(&mut self) -> Batch {
        self.search();
        self.take_found()
    }

    /// Takes note that a batch, the first taken out of those still out, became these pieces.
    pub fn note_stored(&mut self, batch: Batch, pieces: Vec<Piece>) {
        pieces.into_iter().for_each(|piece| push_merged(&mut self.pieces, piece));
        self.spare = batch.bytes;
        self.spare.clear();
    }

    /// Puts a batch, the last taken out of those still out, back where it was.
    pub fn put_back(&mut self, batch: Batch) {
        let Batch { mut bytes, mut found } = batch;
        self.cut += bytes.len();
        bytes.append(&mut self.buf);
        found.append(&mut self.found);
        (self.buf, self.found) = (bytes, found);
    }

    /// Finds the chunks that are complete. To take or store them does so first.
    pub fn search(&mut self) {
        while let Some(len) = find_cut(&self.buf[self.cut..], self.searched) {
            self.found_chunk(len);
        }
        self.searched = self.buf.len() - self.cut;
    }

    fn found_chunk(&mut self, len: usize) {
        self.found.push(Found::Chunk(len));
        self.cut += len;
        self.searched = 0;
    }

    fn take_found(&mut self) -> Batch {
        let mut rest = std::mem::take(&mut self.spare);
        rest.extend_from_slice(&self.buf[self.cut..]);
        let mut bytes = std::mem::replace(&mut self.buf, rest);
        bytes.truncate(self.cut);
        self.cut = 0;
        Batch { bytes, found: std::mem::take(&mut self.found) }
    }

    fn store_found(&mut self, store: &dyn ObjectStore) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        let batch = self.take_found();
        match batch.store(store) {
            Ok(pieces) => {
                self.note_stored(batch, pieces);
                Ok(())
            }
            Err(error) => {
                self.put_back(batch);
                Err(error)
            }
        }
    }
}

impl Batch {
    /// Number of bytes of the chunks.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Stores the chunks, in one call; gives the pieces.
    pub fn store(&self, store: &dyn ObjectStore) -> Result<Vec<Piece>> {
        let mut rest = &self.bytes[..];
        let mut chunks = Vec::new();
        let mut pieces = Vec::with_capacity(self.found.len());
        for found in &self.found {
            pieces.push(match *found {
                Found::Piece(piece) => Some(piece),
                Found::Chunk(len) => {
                    let (chunk, after) = rest.split_at(len);
                    rest = after;
                    let zeros = is_zero_piece(chunk);
                    if !zeros {
                        chunks.push(chunk);
                    }
                    zeros.then_some(Piece::Zeros(1))
                }
            });
        }
        let refs = if chunks.is_empty() { Vec::new() } else { store.put_chunks(&chunks)? };
        let mut refs = refs.into_iter().map(Piece::Data);
        Ok(pieces.into_iter().filter_map(|known| known.or_else(|| refs.next())).collect())
    }
}

fn push_merged(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Zeros(count)), Piece::Zeros(more)) => *count += more,
        _ => pieces.push(piece),
    }
}

/// Whether a chunk is kept as a [`Piece::Zeros`].
pub(super) fn is_zero_piece(chunk: &[u8]) -> bool {
    // Most chunks differ from zeros at once.
    chunk.len() == CHUNK_MAX && chunk.chunks(256).all(|part| part.iter().fold(0, |or, byte| or | byte) == 0)
}
