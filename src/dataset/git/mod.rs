//! The history of a git repository as versions of a dataset: one version for each commit that changes the data.
//!
//! First the whole history is [planned](plan()): which commits there are, what each changes, and whether all the
//! bytes are at hand. Only then are versions made, [commit by commit](Importer), each as a whole and durably,
//! so that what was imported stays where the rest fails. Each version is annotated with its commit: that is how
//! the next import finds where to go on.
//!
//! Pointers of git-lfs and DVC stand for their objects, which are checked against their names while they are
//! read. git itself is asked through its program, and only what its plumbing commands say is used.

mod apply;
mod before;
mod command;
mod delta;
mod import;
mod objects;
mod plan;
mod pointers;
mod yaml;

pub use before::Before;
pub use command::{Commit, Repository};
pub use import::{Contents, Imported, Importer};
pub use plan::{Plan, Planned, Scope, plan};

/// The key of the annotation that names a version's commit.
pub const COMMIT: &str = "git.commit";
/// The key of the annotation that tells which part of the repository a version holds.
pub const PATH: &str = "git.path";

/// What a file of a commit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// A file in git.
    Blob {
        /// The object.
        oid: String,
        /// Whether it is executable.
        exec: bool,
    },
    /// A symbolic link in git.
    Symlink(String),
    /// A file of git-lfs.
    Lfs {
        /// SHA-256 of the content, in hex.
        oid: String,
        /// Its length.
        size: u64,
        /// Whether it is executable.
        exec: bool,
    },
    /// A file of DVC.
    Dvc {
        /// MD5 of the content.
        md5: crate::store::dvc::Md5,
        /// Whether it is executable.
        exec: bool,
    },
}

/// What a commit does to a path of the dataset.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The path.
    pub path: Vec<u8>,
    /// What is there from now on; nothing where the path goes away.
    pub leaf: Option<Leaf>,
    /// Bytes of it.
    pub size: u64,
}
