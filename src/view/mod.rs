//! The file system as programs see it: POSIX calls on plain types.
//!
//! [`FileSystem`] routes a name or node to the live tree of a dataset, to the frozen tree of a version,
//! or to one of the special directories (`@history`, `@file`, `@hash`). It knows nothing of FUSE, so all
//! of it can be tested without a mount.
//!
//! Node numbers: 1 is what is mounted; a live inode is its dataset's number above 40 bits of inode
//! number, the same for ever; nodes of versions and special directories have the top bit set and a
//! number that is given out when they are first looked up and taken back when the kernel forgets them.

mod copies;
mod diff_summary;
mod diffs;
mod dirs;
mod dvc;
mod files;
mod fs;
mod handles;
mod meta;
mod names;
mod nodes;
mod special;
mod visited;
mod way;
mod xattrs;

pub use copies::{Copies, Source, Wanted};
pub use dirs::ListEntry;
pub use files::{Opened, SeekTo};
pub use fs::{Entry, FileSystem, Lifetime, Scope};
pub use nodes::NodeId;
