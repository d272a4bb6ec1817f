//! Datasets: the live tree, when versions are cut of it, and the history they form.
//!
//! A [`Repo`] holds the [`Dataset`]s of a store. Each has one [`live::Live`] tree, changed under the
//! dataset's lock, and any number of [`Frozen`] trees, one a version, read from the index. Nothing here
//! knows of handles, kernels or permissions.

mod annotations;
pub mod archive;
pub mod author;
mod blame;
pub mod bundle;
mod climb;
mod cut;
#[allow(clippy::module_inception)]
mod dataset;
mod diff;
mod digests;
pub mod dvc;
pub mod error;
mod follow;
pub mod frozen;
pub mod git;
pub mod history;
pub mod import;
pub mod live;
pub mod meta;
pub mod open_file;
pub mod outside;
mod path_history;
mod pointed;
pub mod quota;
mod replay;
pub mod repo;
pub mod retention;
mod rollback;
mod shares;
mod sizes;
mod tags;
pub mod trie;
pub mod verify;

pub use annotations::Annotation;
pub use author::Caller;
pub use blame::{SORT_MAX, Touched};
pub use climb::Climb;
pub use dataset::Dataset;
pub use diff::{Below, Change, ChangeJson, Changes, Stat, diff_trees, renamed_above};
pub use digests::{Algorithm, Digests};
pub use error::{Error, Result};
pub use follow::PathLog;
pub use frozen::Frozen;
pub use history::{ChangeKind, LogEntry, Origin};
pub use live::{Attr, Invalid, Live, NewInode, RenameMode, SetAttr, XattrSet};
pub use open_file::OpenFile;
pub use pointed::{Extent, Pointed};
pub use repo::Repo;
pub use retention::{Pin, Pruned};
pub use rollback::RolledBack;
pub use shares::in_shares;
pub use tags::Tag;
