//! Imports into datasets that are under way: for each dataset a file that tells all that is to be appended.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::Store;
use super::error::{Error, Result};
use super::identity::{self, Identity};
use super::layout::{make_dir, private_file, sync_dir};
use super::plain;
use crate::model::DatasetId;

/// What an import tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOf {
    /// Versions and tags.
    Versions,
    /// Annotations too.
    Annotated,
    /// What was given up too.
    GivenUp,
    /// Pins too.
    Pinned,
}

impl Store {
    /// The imports that were begun and not ended, each with its file.
    pub fn imports(&self) -> Result<Vec<(DatasetId, PathBuf)>> {
        let dir = self.layout.imports();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &dir, e)),
        };
        let number = |name: &str| name.parse().ok().map(DatasetId);
        let entries = entries.flatten().map(|entry| entry.file_name());
        Ok(entries.filter_map(|name| Some((number(name.to_str()?)?, dir.join(name)))).collect())
    }

    /// Makes the file of an import. A release that does not know what it tells of opens the store no more: it
    /// would not finish what is begun.
    pub fn begin_import(&self, dataset: DatasetId, what: ImportOf) -> Result<(PathBuf, File)> {
        match what {
            ImportOf::Versions => {}
            ImportOf::Annotated => Identity::require(identity::ANNOTATED_IMPORTS, &self.layout)?,
            ImportOf::GivenUp => Identity::require(identity::GIVEN_UP_IMPORTS, &self.layout)?,
            ImportOf::Pinned => Identity::require(identity::PINNED_IMPORTS, &self.layout)?,
        }
        let dir = self.layout.imports();
        make_dir(&dir, true)?;
        sync_dir(self.path()).map_err(|e| Error::io("sync", self.path(), e))?;
        let path = dir.join(dataset.0.to_string());
        let file = plain::open(&path, private_file().create(true).truncate(true));
        let file = file.map_err(|e| Error::io("write", &path, e))?;
        Ok((path, file))
    }

    /// Removes the file of an import, whose records are durable.
    pub fn end_import(&self, dataset: DatasetId) -> Result<()> {
        let path = self.layout.imports().join(dataset.0.to_string());
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))
    }
}
