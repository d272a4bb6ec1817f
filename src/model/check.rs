//! What decodes may still make no sense: numbers out of range, content longer than any file, a version
//! that is its own past. Records that somebody else may have written are checked for it.

use super::annotation::AnnotationRecord;
use super::content::{CHUNK_MAX, ChunkRef, Content, INLINE_PIECES, Piece};
use super::ids::{DatasetId, Ino, VersionNo};
use super::inode::{Body, Dirent, Inode, Kind, Place, Xattrs};
use super::record::{DatasetRecord, Op, PendingRecord, SalvagedVersion, VersionRecord};
use super::retention::{ReclaimRecord, RetentionAction, RetentionRecord};
use super::tag::TagRecord;

/// Longest target of a symbolic link, in bytes (PATH_MAX without the closing NUL).
pub const TARGET_MAX: usize = 4095;
/// Most levels of a manifest.
pub const DEPTH_MAX: u8 = 13;
/// Highest sequence of a pending, tag or annotation record.
const SEQUENCE_MAX: u64 = 1 << 62;

/// What can be decoded and may make no sense.
pub trait Check {
    /// What makes no sense in it.
    ///
    /// # Errors
    /// The first thing that does not.
    fn check(&self) -> Result<(), &'static str>;
}

fn all<T: Check>(items: &[T]) -> Result<(), &'static str> {
    items.iter().try_for_each(Check::check)
}

fn holds(what: &'static str, holds: bool) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

impl Check for DatasetId {
    fn check(&self) -> Result<(), &'static str> {
        holds("the number of a dataset is out of range", (1..=DatasetId::MAX.0).contains(&self.0))
    }
}

impl Check for Ino {
    fn check(&self) -> Result<(), &'static str> {
        holds("an inode number is out of range", (1..=Ino::MAX.0).contains(&self.0))
    }
}

impl Check for VersionNo {
    fn check(&self) -> Result<(), &'static str> {
        holds("the number of a version is out of range", (1..=VersionNo::MAX.0).contains(&self.0))
    }
}

impl Check for Place {
    fn check(&self) -> Result<(), &'static str> {
        self.dir.check()
    }
}

impl Check for ChunkRef {
    fn check(&self) -> Result<(), &'static str> {
        holds("a chunk of an impossible length", (1..=CHUNK_MAX).contains(&(self.len as usize)))
    }
}

impl Check for Piece {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Piece::Data(chunk) => chunk.check(),
            Piece::Zeros(count) => {
                let possible = 1..=i64::MAX as u64 / CHUNK_MAX as u64;
                holds("an impossible number of zero chunks", possible.contains(count))
            }
        }
    }
}

impl Check for Content {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Content::Empty => Ok(()),
            Content::One(chunk) => chunk.check(),
            Content::Few(pieces) => {
                holds("an impossible number of pieces", (1..=INLINE_PIECES).contains(&pieces.len()))?;
                all(pieces)?;
                let add = |sum: u64, piece: &Piece| sum.checked_add(piece.len());
                let size = pieces.iter().try_fold(0, add).filter(|size| *size <= i64::MAX as u64);
                holds("a file of an impossible size", size.is_some())
            }
            Content::Tree(tree) => {
                holds("a file of an impossible size", (1..=i64::MAX as u64).contains(&tree.size))?;
                holds("a manifest of an impossible depth", (1..=DEPTH_MAX).contains(&tree.depth))
            }
        }
    }
}

impl Check for Body {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Body::File(content) => content.check(),
            Body::Dir => Ok(()),
            Body::Symlink(target) => {
                let possible = (1..=TARGET_MAX).contains(&target.len()) && !target.contains(&0);
                holds("a symbolic link to nothing that can be", possible)
            }
            Body::Special(kind, _) => {
                let special = !matches!(kind, Kind::File | Kind::Dir | Kind::Symlink);
                holds("a special file of a kind that is not", special)
            }
        }
    }
}

impl Check for Inode {
    fn check(&self) -> Result<(), &'static str> {
        holds("a mode of over 12 bits", self.mode <= 0o7777)?;
        holds("an impossible number of names", self.nlink <= i32::MAX as u32)?;
        self.body.check()?;
        if let Some(Xattrs::Chunk(chunk)) = self.xattrs.as_deref() {
            chunk.check()?;
        }
        self.place.iter().try_for_each(Check::check)?;
        holds("further places without a first", self.place.is_some() || self.others.is_none())?;
        self.others.iter().try_for_each(|others| all(others))
    }
}

impl Check for Dirent {
    fn check(&self) -> Result<(), &'static str> {
        self.ino.check()?;
        holds("a name for the root", self.ino != Ino::ROOT)
    }
}

impl Check for Op {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Op::Link { dir, ino, .. } => {
                dir.check()?;
                ino.check()?;
                holds("a name for the root", *ino != Ino::ROOT)?;
                holds("a directory within itself", dir != ino)
            }
            Op::Unlink { dir, .. } => dir.check(),
            Op::Inode { ino, inode } => {
                ino.check()?;
                inode.check()?;
                let is_root = inode.kind() == Kind::Dir && inode.place.is_none();
                holds("a root that is none", *ino != Ino::ROOT || is_root)
            }
        }
    }
}

impl Check for VersionRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.dataset.check()?;
        self.number.check()?;
        holds("a version based on one that is not before it", self.base < self.number)?;
        self.trees.iter().try_for_each(|(ino, _)| ino.check())?;
        all(&self.ops)
    }
}

impl Check for SalvagedVersion {
    fn check(&self) -> Result<(), &'static str> {
        self.record.check()
    }
}

impl Check for DatasetRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.id.check()?;
        self.root.check()?;
        holds("a root that is no directory", self.root.kind() == Kind::Dir)
    }
}

impl Check for TagRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.dataset.check()?;
        holds("a sequence out of range", (1..=SEQUENCE_MAX).contains(&self.sequence))?;
        self.version.iter().try_for_each(Check::check)
    }
}

impl Check for AnnotationRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.dataset.check()?;
        holds("a sequence out of range", (1..=SEQUENCE_MAX).contains(&self.sequence))?;
        self.version.check()
    }
}

impl Check for RetentionRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.dataset.check()?;
        holds("a sequence out of range", (1..=SEQUENCE_MAX).contains(&self.sequence))?;
        match &self.action {
            RetentionAction::Pin(version) | RetentionAction::Unpin(version) => version.check(),
            RetentionAction::Prune { versions, .. } => versions.iter().try_for_each(|(first, last)| {
                first.check()?;
                last.check()?;
                holds("a run of versions that ends before it begins", first <= last)
            }),
            RetentionAction::Rules(_) | RetentionAction::Purge { .. } | RetentionAction::Quota(_) => Ok(()),
        }
    }
}

impl Check for ReclaimRecord {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl Check for PendingRecord {
    fn check(&self) -> Result<(), &'static str> {
        self.dataset.check()?;
        holds("a sequence out of range", (1..=SEQUENCE_MAX).contains(&self.sequence))?;
        all(&self.ops)
    }
}
