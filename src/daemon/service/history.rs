//! Versions: listing them, and what one of them changed.

use std::collections::BTreeSet;

use crate::dataset::{Dataset, Error};
use crate::model::{Ino, Kind, Name, VersionNo};

use super::super::failure::Failure;
use super::super::object::{VersionText, path_bytes, show_path};
use super::super::protocol::{ChangeInfo, Item};
use super::{Service, Sink};

impl Service {
    pub(super) fn log(
        &self,
        dataset: &Dataset,
        path: &[Name],
        limit: Option<u64>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let mut each = |number| sink.item(Item::Version(dataset.log_entry(number)?));
        if path.is_empty() {
            return (1..=dataset.newest().0).rev().take(limit).map(VersionNo).try_for_each(each);
        }
        path_versions(dataset, path)?.into_iter().rev().take(limit).try_for_each(&mut each)
    }

    pub(super) fn show(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let latest = VersionText::parse("latest").map_err(Failure::usage)?;
        let number = self.resolve(dataset, &version.unwrap_or(latest))?;
        sink.item(Item::Version(dataset.log_entry(number)?))?;
        for change in dataset.changes(number)? {
            sink.item(Item::Change(ChangeInfo {
                path: path_bytes(&change.path),
                kind: change.kind,
                change: change.change,
                size_before: change.sizes.0,
                size_after: change.sizes.1,
            }))?;
        }
        Ok(())
    }

    pub(super) fn resolve(&self, dataset: &Dataset, version: &VersionText) -> Result<VersionNo, Failure> {
        let unknown =
            || Error::NoVersion { dataset: dataset.name().to_string(), spec: version.as_str().into() };
        let spec = version.spec().ok_or_else(unknown)?;
        match dataset.resolve(&spec) {
            // As the user wrote it, not as it is kept.
            Err(Error::NoVersion { .. }) => Err(unknown().into()),
            found => Ok(found?),
        }
    }
}

/// The versions that changed what is at `path`: of a directory, also those that changed anything in it
/// while it was there.
fn path_versions(dataset: &Dataset, path: &[Name]) -> Result<BTreeSet<VersionNo>, Failure> {
    let never = || Failure::new(format!("no version of {} has {}", dataset.name(), show_path(path)));
    let own = dataset.path_versions(path)?.ok_or_else(never)?;
    let mut dirs = BTreeSet::new();
    for &number in &own {
        for at in [number, VersionNo(number.0 - 1)] {
            dirs.extend(dir_at(dataset, path, at)?);
        }
    }
    dirs.extend(dir_at(dataset, path, dataset.newest())?);
    let mut versions: BTreeSet<VersionNo> = own.into_iter().collect();
    for dir in dirs {
        for number in dataset.dir_versions(dir)? {
            let there = |at| Ok::<_, Failure>(dir_at(dataset, path, at)? == Some(dir));
            if there(number)? || there(VersionNo(number.0 - 1))? {
                versions.insert(number);
            }
        }
    }
    Ok(versions)
}

fn dir_at(dataset: &Dataset, path: &[Name], at: VersionNo) -> Result<Option<Ino>, Failure> {
    let found = dataset.frozen(at).walk(path)?;
    Ok(found.filter(|(_, kind)| *kind == Kind::Dir).map(|(ino, _)| ino))
}
