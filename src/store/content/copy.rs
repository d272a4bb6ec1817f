//! Writing a content out to a plain file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::BLOCK;
use crate::model::{ChunkHash, ChunkRef, Content, Piece};
use crate::store::error::{Error, Result};
use crate::store::manifest::{Objects, pieces_from};
use crate::store::objects::ReadPart;

/// Writes the bytes of a content to the empty `file`, in order, holes as holes; `dir` names the file in
/// errors. Every chunk is checked against its hash, those that were read before included. `go_on` is told
/// how many bytes (about 1 MiB) are to be written next, and may end it; gives whether all was written.
///
/// # Errors
/// [`Error::Corrupt`] and [`Error::Missing`] where a chunk is damaged or lost; [`Error::Io`] where the disk
/// fails or is full; what `go_on` gives.
pub fn write_out(
    objects: &Objects,
    content: &Content,
    (file, dir): (&File, &Path),
    mut go_on: impl FnMut(u64) -> Result<bool>,
) -> Result<bool> {
    let failed = |error| Error::io("write a plain copy in", dir, error);
    file.set_len(content.size()).map_err(failed)?;
    let mut buffer = vec![0; BLOCK];
    let mut pieces = pieces_from(objects, content, 0).peekable();
    while let Some(piece) = pieces.next() {
        let (start, Piece::Data(first)) = piece? else { continue };
        let mut chunks = vec![first];
        let mut len = first.len as usize;
        while let Some(Ok((_, Piece::Data(chunk)))) = pieces.peek()
            && len + chunk.len as usize <= BLOCK
        {
            len += chunk.len as usize;
            chunks.push(*chunk);
            pieces.next();
        }
        if !go_on(len as u64)? {
            return Ok(false);
        }
        read_checked(objects, &chunks, &mut buffer[..len])?;
        file.write_all_at(&buffer[..len], start).map_err(failed)?;
    }
    Ok(true)
}

/// Fills `out` with whole chunks, one after the other.
fn read_checked(objects: &Objects, chunks: &[ChunkRef], out: &mut [u8]) -> Result<()> {
    let mut parts = Vec::with_capacity(chunks.len());
    let mut rest = out;
    for chunk in chunks {
        let (out, after) = rest.split_at_mut(chunk.len as usize);
        rest = after;
        parts.push(ReadPart { chunk: *chunk, skip: 0, out });
    }
    objects.read_parts(&mut parts)?;
    match parts.iter().find(|part| ChunkHash::of(part.out) != part.chunk.hash) {
        Some(part) => Err(Error::Corrupt(format!("chunk {} is not what was stored", part.chunk.hash))),
        None => Ok(()),
    }
}
