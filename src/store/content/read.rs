//! Reading contents: bytes at an offset, data and holes, whole files in blocks.

use md5::Md5;
use sha2::digest::Output;
use sha2::{Digest, Sha256};

use super::BLOCK;
use crate::model::content::CHUNK_MAX;
use crate::model::{Content, Piece};
use crate::store::error::{Error, Result};
use crate::store::manifest::{Objects, locate, pieces_from};
use crate::store::objects::ReadPart;

/// Reads from `offset` on into `out`; gives the number of bytes, less than asked for only at the end
/// of the file.
pub fn read_at(objects: &Objects, content: &Content, offset: u64, out: &mut [u8]) -> Result<usize> {
    let left = content.size().saturating_sub(offset);
    let len = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
    if len > 0 {
        read_pieces(objects, pieces_from(objects, content, offset), offset, &mut out[..len])?;
    }
    Ok(len)
}

/// Fills `out` from the pieces that lie from `offset` on, the first of which `offset` lies in.
pub fn read_pieces(
    objects: &Objects,
    pieces: impl Iterator<Item = Result<(u64, Piece)>>,
    offset: u64,
    out: &mut [u8],
) -> Result<()> {
    let mut parts = Vec::new();
    let mut at = offset;
    let mut rest = out;
    for piece in pieces {
        let (start, piece) = piece?;
        let skip = at - start;
        let len = (piece.len() - skip).min(rest.len() as u64);
        let (out, after) = rest.split_at_mut(len as usize);
        match piece {
            Piece::Data(chunk) => parts.push(ReadPart { chunk, skip: skip as u32, out }),
            Piece::Zeros(_) => out.fill(0),
        }
        rest = after;
        at += len;
        if rest.is_empty() {
            break;
        }
    }
    if !rest.is_empty() {
        return Err(Error::Corrupt(format!("content ends at {at}, before its size")));
    }
    if parts.is_empty() { Ok(()) } else { objects.read_parts(&mut parts) }
}

/// As many pieces (at least 8 GiB of data) are searched for one of another kind. A file made to be in the way
/// can have any number of them in few nodes.
const SEARCH_MAX: usize = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// The first offset from `offset` on with data, as SEEK_DATA finds it: what is not a run of zero
/// chunks. `None` if only a hole follows, or nothing. Where that takes too long, zeros count as data.
pub fn next_data(objects: &Objects, content: &Content, offset: u64) -> Result<Option<u64>> {
    for (searched, piece) in pieces_from(objects, content, offset).enumerate() {
        let (start, piece) = piece?;
        if matches!(piece, Piece::Data(_)) || searched == SEARCH_MAX {
            return Ok(Some(start.max(offset)));
        }
    }
    Ok(None)
}

/// The first offset from `offset` on in a hole, as SEEK_HOLE finds it; the end of the file is one.
/// `None` from the end on. Where that takes too long, all is data up to the end.
pub fn next_hole(objects: &Objects, content: &Content, offset: u64) -> Result<Option<u64>> {
    for piece in pieces_from(objects, content, offset).take(SEARCH_MAX) {
        if let (start, Piece::Zeros(_)) = piece? {
            return Ok(Some(start.max(offset)));
        }
    }
    Ok(Some(content.size()).filter(|&size| offset < size))
}

/// Calls `each` with the bytes of a content in order, some 1 MiB at a time.
pub fn for_each_block(
    objects: &Objects,
    content: &Content,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    static ZEROS: [u8; CHUNK_MAX] = [0; CHUNK_MAX];
    let mut buf = vec![0; content.size().min(BLOCK as u64) as usize];
    let mut at = 0;
    while let Some((start, piece)) = locate(objects, content, at)? {
        match piece {
            Piece::Zeros(_) if start == at => {
                (0..piece.len() / CHUNK_MAX as u64).try_for_each(|_| each(&ZEROS))?;
                at += piece.len();
            }
            _ => {
                let len = read_at(objects, content, at, &mut buf)?;
                each(&buf[..len])?;
                at += len as u64;
            }
        }
    }
    Ok(())
}

/// BLAKE3 of all bytes: what `b3sum` prints.
pub fn b3sum(objects: &Objects, content: &Content) -> Result<[u8; 32]> {
    if let Content::One(chunk) = content {
        return Ok(chunk.hash.0);
    }
    let mut hasher = blake3::Hasher::new();
    for_each_block(objects, content, |block| {
        hasher.update(block);
        Ok(())
    })?;
    Ok(*hasher.finalize().as_bytes())
}

/// SHA-256 of all bytes: what `sha256sum` prints.
pub fn sha256(objects: &Objects, content: &Content) -> Result<[u8; 32]> {
    digest::<Sha256>(objects, content).map(Into::into)
}

/// MD5 of all bytes: what `md5sum` prints.
pub fn md5(objects: &Objects, content: &Content) -> Result<[u8; 16]> {
    digest::<Md5>(objects, content).map(Into::into)
}

fn digest<D: Digest>(objects: &Objects, content: &Content) -> Result<Output<D>> {
    let mut hasher = D::new();
    for_each_block(objects, content, |block| {
        hasher.update(block);
        Ok(())
    })?;
    Ok(hasher.finalize())
}
