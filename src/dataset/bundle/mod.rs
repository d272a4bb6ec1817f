//! Bundles: all versions of a dataset up to one, or those after one, in a file, each chunk once.
//!
//! ```text
//! "strata bundle 1\n"; where it begins after a version, "strata bundle 2\n"; with annotations, be it one or the
//! other, "strata bundle 3\n"; where something of them was given up, whatever else, "strata bundle 4\n"; with pins,
//! whatever else, "strata bundle 5\n"
//! frames   kind u8, length u64 big-endian, payload
//!   D      once, first: the dataset's record
//!   P      where it begins after a version, once, second: number (u64 big-endian) and id of that version
//!   R      in form 4 or 5, behind these: the record of a prune, as far as it dropped versions that are in it, or
//!          of a purge
//!   C, Z   a chunk as it is, or compressed with zstd
//!   N      a manifest node; chunks and nodes come before what needs them
//!   L      in form 4 or 5, before a version that was pruned: the inodes (u64 big-endian each) of which that version
//!          recorded what no version that is kept has, so that it is left out
//!   V      a version record, whose hash is the version id; in order, from v1 on, or from behind P on
//!   T      a tag record
//!   A      in form 3, 4 or 5, an annotation record
//!   K      in form 5, the record of a pin
//!   E      once, last: BLAKE3 of all before this frame
//! ```
//! Records are encoded as in the log; a frame of another kind is refused. What was said of versions comes with
//! them, by whom and when, and so do their pins. Retention and quota do not: they are settings of a store, about
//! what it has room for.
//! Of versions that were pruned there are the records, which are part of the hash chain and of later trees,
//! and the content that others need; what was purged is named by its hashes. What is read is not trusted:
//! nothing of a bundle is made a dataset, or part of one, before its end was seen and its checksum fits, its
//! versions were found to be a chain of hashes and to have the trees that they say they have, and all that
//! they need was found to be there, or to be named as purged. What the tree of P holds is not in the bundle.

mod advance;
mod append;
mod check;
mod given_up;
mod output;
mod pins;
mod read;
mod said;
#[cfg(test)]
pub(super) mod tests;
mod write;

pub use append::finish_imports;
pub use read::{Bundle, KNOWN_BY, begins, is_one};
pub use write::{Bundled, bundle};

/// How a bundle of all versions up to one begins.
const MAGIC: &[u8; 16] = b"strata bundle 1\n";
/// How a bundle of the versions after one begins.
const MAGIC_AFTER: &[u8; 16] = b"strata bundle 2\n";
/// How one with annotations begins, of all versions or of some.
const MAGIC_ANNOTATED: &[u8; 16] = b"strata bundle 3\n";
/// How one of which something was given up begins, of all versions or of some, with annotations or without.
const MAGIC_GIVEN_UP: &[u8; 16] = b"strata bundle 4\n";
/// How one with pins begins, whatever else it has.
const MAGIC_PINNED: &[u8; 16] = b"strata bundle 5\n";
/// Bytes before a frame's payload.
const HEADER: usize = 9;

/// What a frame holds.
mod frame {
    pub const DATASET: u8 = b'D';
    pub const AFTER: u8 = b'P';
    pub const GIVEN_UP: u8 = b'R';
    pub const CHUNK: u8 = b'C';
    pub const PACKED_CHUNK: u8 = b'Z';
    pub const NODE: u8 = b'N';
    pub const LEFT_OUT: u8 = b'L';
    pub const VERSION: u8 = b'V';
    pub const TAG: u8 = b'T';
    pub const ANNOTATION: u8 = b'A';
    pub const PIN: u8 = b'K';
    pub const END: u8 = b'E';
}

/// Whether one that begins so may have frames of a kind that is in newer forms alone.
fn may_have(magic: &[u8; 16], kind: u8) -> bool {
    match kind {
        frame::ANNOTATION => [MAGIC_ANNOTATED, MAGIC_GIVEN_UP, MAGIC_PINNED].contains(&magic),
        frame::PIN => magic == MAGIC_PINNED,
        _ => [MAGIC_GIVEN_UP, MAGIC_PINNED].contains(&magic),
    }
}
