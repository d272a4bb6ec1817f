//! Doors to what decodes stored bytes, for the fuzz targets in `tests/fuzz`. Nothing else is to come in by
//! them: what they lead to changes as it needs to.

use std::path::Path;
use std::sync::Arc;

pub use super::fsck::flip::{Budget, mend_header, mend_payload};
pub use super::identity::Identity;
pub use super::index::change::{
    Change, LogRecord, StoredInode, decode, decode_checked, decode_inode, decode_pos,
};
pub use super::index::{Entry, keys};
pub use super::layout::Layout;
pub use super::pack::{
    CODEC_RAW, Codec, FooterEntry, Form, FrameWriter, LogPos, PACK_HEADER, Pack, PackFile, Place, PlaceNote,
    RECORD_HEADER, ReadAt, Row, Scanner, Step, check_file, compress, decode_footer, decode_pack_header,
    encode_footer, encode_pack_header, read_footer, read_record,
};

use super::error::Result;
use super::identity::StoreId;
use super::index::{Index, Range};
use super::pack::Packs;
use super::recovery::{Again, Recovery};

/// How a log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Up to here bad bytes before good ones are damage, beyond it they are a torn write.
    pub trusted: LogPos,
    /// Up to here the log is known to have been durable.
    pub synced: LogPos,
    /// Whether to go on where records are lost that the index needs.
    pub lenient: bool,
}

/// Brings the packs below `dir` in order as opening a store does, and gives all that the index then has.
///
/// # Errors
/// As opening does.
pub fn recover(dir: &Path, store: StoreId, manner: Manner) -> Result<Vec<Entry>> {
    let layout = Layout::new(dir);
    let packs = Arc::new(Packs::new(layout.packs(), store));
    let again = Again { layout: layout.clone(), store, packs: packs.clone() };
    let index = Index::in_memory(&layout.index(), store, Arc::new(again));
    let Manner { trusted, synced, lenient } = manner;
    let recovery = Recovery::new(&layout, store, &packs, &index, trusted, synced);
    let recovery = if lenient { recovery.lenient() } else { recovery };
    recovery.run(LogPos::default())?;
    let mut range = Range::new(&index, vec![0], vec![0xff]);
    std::iter::from_fn(|| range.next_entry().transpose()).collect()
}
