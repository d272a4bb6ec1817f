//! Which versions are open.
//!
//! A directory of a version has a node of its own, so that it is known what an open one is a directory of. A
//! file's node is shared by all versions that have it just so, and the kernel tells no more of it: an open file
//! is of one of the versions that have it and of which files were looked up.

use std::collections::HashSet;

use parking_lot::RwLock;

use crate::dataset::Result;
use crate::model::{DatasetId, VersionNo, VersionSet};

use super::fs::FileSystem;

/// The versions of which files were looked up.
#[derive(Debug, Default)]
pub struct Visited(RwLock<HashSet<(DatasetId, VersionNo)>>);

impl Visited {
    /// Notes that a file of a version is looked up.
    pub fn note(&self, dataset: DatasetId, version: VersionNo) {
        let known = self.0.read().contains(&(dataset, version));
        if !known {
            self.0.write().insert((dataset, version));
        }
    }

    /// Forgets versions that are there no more.
    pub fn forget(&self, dataset: DatasetId, versions: &VersionSet) {
        self.0.write().retain(|(id, version)| *id != dataset || !versions.contains(*version));
    }

    fn among(&self, dataset: DatasetId, versions: &VersionSet) -> Vec<VersionNo> {
        let visited = self.0.read();
        let wanted = visited.iter().filter(|(id, version)| *id == dataset && versions.contains(*version));
        wanted.map(|(_, version)| *version).collect()
    }
}

impl FileSystem {
    /// Those of these versions of a dataset of which a directory is open, or a file that was found in them.
    ///
    /// # Errors
    /// Where it cannot be read which files a version has.
    pub fn open_versions(&self, id: DatasetId, among: &VersionSet) -> Result<Vec<VersionNo>> {
        let (dirs, files) = self.handles.of_versions(id);
        if files.is_empty() {
            return Ok(dirs.into_iter().filter(|version| among.contains(*version)).collect());
        }
        let dataset = self.dataset(id)?;
        let mut open: Vec<VersionNo> =
            dirs.iter().copied().filter(|version| among.contains(*version)).collect();
        for version in self.visited.among(id, among).into_iter().filter(|version| !dirs.contains(version)) {
            let tree = dataset.frozen(version);
            for &(recorded, ino) in &files {
                if tree.sees(ino, recorded)? {
                    open.push(version);
                    break;
                }
            }
        }
        Ok(open)
    }
}
