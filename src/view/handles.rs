//! Open handles.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::dataset::meta::Told;
use crate::dataset::{Dataset, OpenFile, Tag};
use crate::model::{Content, DatasetId, Ino, Name, TagName, Timestamp, VersionNo};
use crate::store::dvc::DirList;

use super::diff_summary::DiffSummary;
use super::diffs::Differences;
use super::nodes::NodeId;

/// What is open.
#[derive(Debug)]
pub enum Handle {
    /// A live file.
    Live {
        /// Its dataset.
        dataset: Arc<Dataset>,
        /// Its inode.
        ino: Ino,
        /// What all its handles share.
        file: Arc<OpenFile>,
        /// Whether every write goes to the end.
        append: bool,
        /// Whether it may be written to.
        writable: bool,
        /// Whether closing it makes a version of what was written.
        flushes: bool,
        /// Whether the kernel runs a program from it.
        executes: bool,
    },
    /// A file of a version.
    Frozen {
        /// What it holds.
        content: Content,
        /// Its inode, by the version that recorded it.
        recorded: (DatasetId, VersionNo, Ino),
        /// Its node where openings of it are counted.
        counted: Option<NodeId>,
    },
    /// A list of files, for DVC.
    List(DirList),
    /// The summary of what two versions differ in.
    DiffSummary(Arc<DiffSummary>),
    /// A generated text.
    Text(Arc<Vec<u8>>),
    /// A text about a version.
    Told(Arc<Told>),
    /// A live directory.
    LiveDir(Arc<Dataset>, Ino),
    /// A directory of a version.
    FrozenDir(DatasetId, VersionNo),
    /// A directory whose listing is computed again for each read.
    Dir,
    /// A listing of versions, taken when it was opened.
    Versions(Vec<VersionNo>),
    /// The same for `@history`, with when each was made, where that is known.
    History(Vec<(VersionNo, Option<Timestamp>)>),
    /// What two versions differ in, with the size of the summary for who opened it.
    DiffRoot(u64),
    /// A directory of differences.
    Diff(Arc<Differences>),
    /// A listing of names of `@dvc`, taken when it was opened.
    Names(Vec<Name>),
    /// A listing of tags, taken when it was opened.
    Tags(Vec<(TagName, Tag)>),
}

/// Handles by number. Number 0 is never given out.
#[derive(Debug, Default)]
pub struct Handles {
    open: RwLock<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
}

impl Handles {
    /// Gives a handle a number.
    pub fn insert(&self, handle: Handle) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.write().insert(number, Arc::new(handle));
        number
    }

    /// The handle of a number.
    pub fn get(&self, number: u64) -> Option<Arc<Handle>> {
        self.open.read().get(&number).cloned()
    }

    /// The contents of the open files of versions.
    pub fn contents(&self) -> Vec<Content> {
        let open = self.open.read();
        let content = |handle: &Arc<Handle>| match &**handle {
            Handle::Frozen { content, .. } => Some(content.clone()),
            _ => None,
        };
        open.values().filter_map(content).collect()
    }

    /// What is open of versions of a dataset: the versions of directories, and the inodes of files with the
    /// versions that recorded them.
    pub fn of_versions(&self, dataset: DatasetId) -> (HashSet<VersionNo>, HashSet<(VersionNo, Ino)>) {
        let (mut dirs, mut files) = (HashSet::new(), HashSet::new());
        for handle in self.open.read().values() {
            match &**handle {
                Handle::FrozenDir(id, version) if *id == dataset => drop(dirs.insert(*version)),
                Handle::Frozen { recorded: (id, version, ino), .. } if *id == dataset => {
                    files.insert((*version, *ino));
                }
                _ => {}
            }
        }
        (dirs, files)
    }

    /// Takes a handle out.
    pub fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        self.open.write().remove(&number)
    }
}
