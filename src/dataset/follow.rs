//! The history of a path, followed back through the names that it had before.

use crate::model::{Name, VersionNo};

use super::dataset::Dataset;
use super::diff::RENAMES_MAX;
use super::error::Result;
use super::history::ChangeKind;
use super::path_history::PathBack;

/// Versions in which what is at a path came, changed or went, newest first. Where it was renamed to that path
/// (its inode had another name before, or its content had one that went in the same version), it goes on with
/// that of the path before.
pub struct PathLog<'a> {
    dataset: &'a Dataset,
    path: Vec<Name>,
    follow: bool,
    renamed: bool,
    back: PathBack<'a>,
}

impl Dataset {
    /// The history of a path, followed through its renames or not; `None` if no version ever had such a path.
    pub fn path_log(&self, path: &[Name], follow: bool) -> Result<Option<PathLog<'_>>> {
        if !self.was_ever_named(path)? {
            return Ok(None);
        }
        let back = self.path_back(path, self.newest())?;
        Ok(Some(PathLog { dataset: self, path: path.to_vec(), follow, renamed: false, back }))
    }

    /// Where what is at `path` was before `version` renamed it to that, if it did.
    pub(super) fn came_from(&self, version: VersionNo, path: &[Name]) -> Result<Option<Vec<Name>>> {
        let (before, after) = (self.frozen(VersionNo(version.0 - 1)), self.frozen(version));
        let Some((ino, _)) = after.walk(path)? else { return Ok(None) };
        if before.version() == VersionNo::EMPTY {
            return Ok(None);
        }
        if let Some((replaced, _)) = before.walk(path)?
            && (replaced == ino || after.name_of(replaced)?.is_none())
        {
            return Ok(None);
        }
        if let Some((dir, name)) = before.name_of(ino)?
            && let Some(above) = before.dir_path(dir)?
        {
            let was = [above, vec![name]].concat();
            // What kept its other name has two of them.
            let kept = after.walk(&was)?.is_some_and(|(other, _)| other == ino);
            return Ok((!kept).then_some(was));
        }
        if self.store.summary(self.id(), version)?.is_none_or(|(_, summary)| summary.changes > RENAMES_MAX) {
            return Ok(None);
        }
        let changes = self.diff(before.version(), version, &[])?;
        let renamed = changes.iter().filter(|change| change.change == ChangeKind::Renamed);
        let above = renamed.filter(|change| path.starts_with(&change.path)).max_by_key(|c| c.path.len());
        Ok(above.and_then(|change| Some([change.from?, path[change.path.len()..].to_vec()].concat())))
    }
}

impl PathLog<'_> {
    /// The next older version, and the path in it where that is another than was asked for.
    pub fn next_version(&mut self) -> Result<Option<(VersionNo, Option<Vec<Name>>)>> {
        let Some(version) = self.back.next_version()? else { return Ok(None) };
        let path = self.renamed.then(|| self.path.clone());
        if self.follow
            && let Some(from) = self.dataset.came_from(version, &self.path)?
        {
            self.back = self.dataset.path_back(&from, VersionNo(version.0 - 1))?;
            (self.path, self.renamed) = (from, true);
        }
        Ok(Some((version, path)))
    }
}
