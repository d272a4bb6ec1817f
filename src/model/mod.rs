//! Plain types everything else is built on: hashes, ids, names, file content, inodes, version
//! records and their encoding.
//!
//! Nothing here does I/O. Constructors validate, so a value of these types is always well formed.

pub mod acl;
mod annotation;
pub mod at;
pub mod check;
pub mod codec;
pub mod content;
pub mod hash;
pub mod ids;
pub mod inode;
pub mod json_name;
pub mod name;
pub mod ops;
mod purged;
pub mod quote;
pub mod record;
pub mod retention;
pub mod tag;
pub mod time;
pub mod version_reader;

pub use annotation::{ANNOTATION_MAX, AnnotationError, AnnotationKey, AnnotationRecord, Remark};
pub use at::{AtName, VersionSpec};
pub use content::{ChunkRef, Content, Piece, TreeRef};
pub use hash::{ChunkHash, ContentId, NodeHash, TreeHash, VersionId};
pub use ids::{DatasetId, Ino, Span, VersionNo, View};
pub use inode::{Body, Dirent, Inode, Kind, Place};
pub use json_name::JsonName;
pub use name::{DatasetName, Name, NameKey, show_path};
pub use ops::Ops;
pub use purged::{purged_paths, purged_text};
pub use quote::word;
pub use record::{Author, DatasetRecord, Op, PendingRecord, Policy, SalvagedVersion, VersionRecord};
pub use retention::{ReclaimRecord, RetentionAction, RetentionRecord, Rules, VersionSet, parse_span};
pub use tag::{TagError, TagName, TagRange, TagRecord};
pub use time::Timestamp;
pub use version_reader::{Again, Encoded, RecordBytes, VersionHead, VersionReader};
