//! What a pointer points to: a file or directory of a version, told apart by its content.

use std::sync::Arc;

use crate::model::{DatasetId, DatasetName, Ino, Kind, Name, TreeHash, VersionNo, VersionSpec};
use crate::store::{HashKind, content_id};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::repo::Repo;

/// A file or directory of a version.
#[derive(Debug)]
pub struct Pointed {
    /// The version's tree.
    pub tree: Frozen,
    /// The inode.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
}

/// How much there is in a file or directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Pointed {
    /// What has this path in a version; `None` where nothing has.
    pub fn find(tree: Frozen, path: &[Name]) -> Result<Option<Pointed>> {
        Ok(tree.walk(path)?.map(|(ino, kind)| Pointed { tree, ino, kind }))
    }

    /// What `strata hash` prints of it: of a directory, the hash of its tree, of a file the id of its content;
    /// `None` of anything else.
    pub fn content(&self) -> Result<Option<String>> {
        match self.kind {
            Kind::Dir => {
                let hash = self.tree.tree(self.ino)?.map(|hash| hash.to_hex());
                hash.map(Some).ok_or_else(|| Error::Lost("the hash of a directory".into()))
            }
            Kind::File => {
                let inode = self.tree.certain_inode(self.ino)?.1;
                Ok(inode.content().map(|content| content_id(content).to_hex()))
            }
            _ => Ok(None),
        }
    }

    /// Counts the files and their bytes. `each` hears of it after every directory, and may end it.
    pub fn extent<E: From<Error>>(&self, mut each: impl FnMut(Extent) -> Result<(), E>) -> Result<Extent, E> {
        let mut extent = Extent::default();
        let mut found = vec![(self.ino, self.kind)];
        while let Some((ino, kind)) = found.pop() {
            match kind {
                Kind::File => {
                    extent.files += 1;
                    extent.bytes = extent.bytes.saturating_add(self.tree.certain_inode(ino)?.1.size());
                }
                Kind::Dir => {
                    each(extent)?;
                    found
                        .extend(self.tree.all_entries(ino)?.into_iter().map(|entry| (entry.ino, entry.kind)));
                }
                _ => {}
            }
        }
        Ok(extent)
    }
}

impl Repo {
    /// The version that has a snapshot id: of the dataset of this name the one of this number, else its first,
    /// else the first of any dataset, by name.
    pub fn find_snapshot(
        &self,
        name: &str,
        number: VersionNo,
        snapshot: TreeHash,
    ) -> Result<Option<(Arc<Dataset>, VersionNo)>> {
        let named = self.get(name);
        if let Some(dataset) = &named {
            dataset.seal_to_look()?;
            let spec = VersionSpec::Number { number, back: 0 };
            if there(dataset.resolve(&spec))?.is_some() && dataset.snapshot(number)? == snapshot {
                return Ok(Some((dataset.clone(), number)));
            }
        }
        let others = self.datasets().into_iter().filter(|dataset| dataset.name().as_str() != name);
        for dataset in named.into_iter().chain(others) {
            dataset.seal_to_look()?;
            if let Some(version) = there(dataset.resolve(&VersionSpec::Hash(snapshot.to_hex())))? {
                return Ok(Some((dataset, version)));
            }
        }
        Ok(None)
    }

    /// The first archived dataset that has a snapshot id.
    pub fn archived_with(&self, snapshot: TreeHash) -> Result<Option<DatasetName>> {
        for record in self.archived() {
            if self.first_with(record.id, snapshot)?.is_some() {
                return Ok(Some(record.name));
            }
        }
        Ok(None)
    }

    /// The first version that has a snapshot id.
    fn first_with(&self, dataset: DatasetId, snapshot: TreeHash) -> Result<Option<VersionNo>> {
        let found = self.store().by_hash_prefix(dataset, &snapshot.to_hex())?;
        Ok(found.into_iter().find(|found| found.kind == HashKind::Snapshot).map(|found| found.version))
    }
}

/// A version, if it is there to be looked at.
fn there(resolved: Result<VersionNo>) -> Result<Option<VersionNo>> {
    match resolved {
        Ok(version) => Ok(Some(version)),
        Err(Error::NoVersion { .. } | Error::Lost(_) | Error::Pruned { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
