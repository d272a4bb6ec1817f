//! Notes: small files beside the log that spare or remember work. What they say is encoded, after the store's id and
//! before a BLAKE3 hash of all that; one that is another store's, or damaged, is none.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::codec;

use super::error::{Error, Result};
use super::identity::StoreId;
use super::layout::sync_dir;
use super::plain;

/// Most bytes of a note.
const SIZE_MAX: u64 = 16 << 20;

/// Reads a note; `None` where there is none that makes sense.
pub fn read<T: DeserializeOwned>(path: &Path, store: StoreId) -> Result<Option<T>> {
    match plain::read(path, SIZE_MAX) {
        Ok(bytes) => Ok(decode(&bytes, store)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Writes a note, durably, at once or not at all.
pub fn write<T: Serialize>(path: &Path, store: StoreId, note: &T) -> Result<()> {
    plain::replace(path, &encode(note, store)).map_err(|e| Error::io("write", path, e))
}

/// Removes a note, durably.
pub fn remove(path: &Path) -> Result<()> {
    let remove = || match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| path.parent().map_or(Ok(()), sync_dir)),
    };
    remove().map_err(|e| Error::io("remove", path, e))
}

fn encode<T: Serialize>(note: &T, store: StoreId) -> Vec<u8> {
    let mut bytes = store.0.to_vec();
    codec::encode_onto(note, &mut bytes);
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8], store: StoreId) -> Option<T> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    let encoded = body.strip_prefix(&store.0)?;
    (blake3::hash(body) == *check).then_some(())?;
    codec::decode("note", encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_no_other_is() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, id) = (dir.path().join("note"), StoreId([7; 16]));
        type Note = Vec<(u32, u32)>;
        assert_eq!(read::<Note>(&path, id).unwrap(), None);
        let note = vec![(1, 40), (8, 70_000)];
        write(&path, id, &note).unwrap();
        assert_eq!(read(&path, id).unwrap(), Some(note.clone()));
        assert_eq!(read::<Note>(&path, StoreId([8; 16])).unwrap(), None, "of another store");
        let bytes = encode(&note, id);
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(decode::<Note>(&torn, id), None);
            assert_eq!(decode::<Note>(&bytes[..at], id), None);
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read::<Note>(&path, id).unwrap(), None);
    }
}
