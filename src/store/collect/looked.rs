//! The note of what the last complete collection found, so that the next need not find it again.
//!
//! It says of the objects in the packs before a certain one which may be garbage; every other is needed by a
//! version that was kept then. It is no part of the truth: what is forgotten is looked for in all that is needed
//! whatever a note says, and without one, all is looked at. It is removed before anything is forgotten and
//! written when all is done, since bytes that a collection that was cut off left behind are found by one only that
//! looks at all.
//!
//! ```text
//! 16 bytes: the store's id; then, encoded, the first pack that was not looked at, and pack and offset of the
//! header of each object that may be garbage; then 32 bytes: BLAKE3 of all before
//! ```

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::model::codec;
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{Layout, sync_dir};
use crate::store::plain;

/// Objects that may be garbage and are told of by the note: with more, there is none.
pub const OPEN_MAX: usize = 1 << 20;
/// Most bytes of the note.
const SIZE_MAX: u64 = 16 << 20;

/// What a collection found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The first pack it did not look at.
    pub before: u32,
    /// Objects in earlier ones that may be garbage: pack and offset of the header, ascending.
    pub open: Vec<(u32, u32)>,
}

impl Looked {
    /// Reads the note; `None` where there is none that makes sense.
    pub fn read(layout: &Layout, store: StoreId) -> Result<Option<Looked>> {
        let path = layout.collected();
        match plain::read(&path, SIZE_MAX) {
            Ok(bytes) => Ok(decode(&bytes, store)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Writes the note, at once or not at all.
    pub fn write(&self, layout: &Layout, store: StoreId) -> Result<()> {
        let path = layout.collected();
        plain::replace(&path, &encode(self, store)).map_err(|e| Error::io("write", &path, e))
    }

    /// Removes the note, durably.
    pub fn remove(layout: &Layout) -> Result<()> {
        let path = layout.collected();
        let remove = || match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_dir(layout.root())),
        };
        remove().map_err(|e| Error::io("remove", &path, e))
    }
}

fn encode(looked: &Looked, store: StoreId) -> Vec<u8> {
    let mut bytes = store.0.to_vec();
    codec::encode_onto(looked, &mut bytes);
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

fn decode(bytes: &[u8], store: StoreId) -> Option<Looked> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    let encoded = body.strip_prefix(&store.0)?;
    (blake3::hash(body) == *check).then_some(())?;
    codec::decode("note of a collection", encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_no_other_is() {
        let dir = tempfile::TempDir::new().unwrap();
        let layout = Layout::new(dir.path());
        let id = StoreId([7; 16]);
        assert_eq!(Looked::read(&layout, id).unwrap(), None);
        let looked = Looked { before: 9, open: vec![(1, 40), (8, 70_000)] };
        looked.write(&layout, id).unwrap();
        assert_eq!(Looked::read(&layout, id).unwrap(), Some(looked.clone()));
        assert_eq!(Looked::read(&layout, StoreId([8; 16])).unwrap(), None, "of another store");
        let bytes = encode(&looked, id);
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(decode(&torn, id), None);
            assert_eq!(decode(&bytes[..at], id), None);
        }
        Looked::remove(&layout).unwrap();
        Looked::remove(&layout).unwrap();
        assert_eq!(Looked::read(&layout, id).unwrap(), None);
    }
}
