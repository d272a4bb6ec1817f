//! Versions: listing them, and what one of them changed.

use crate::dataset::{Dataset, Error};
use crate::model::{Name, VersionNo};

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
            return dataset.versions().rev().take(limit).try_for_each(each);
        }
        let never = || Failure::new(format!("no version of {} has {}", dataset.name(), show_path(path)));
        let versions = dataset.path_versions(path)?.ok_or_else(never)?;
        versions.into_iter().rev().take(limit).try_for_each(&mut each)
    }

    pub(super) fn show(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        limit: Option<u64>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let latest = VersionText::parse("latest").map_err(Failure::usage)?;
        let number = self.resolve(dataset, &version.unwrap_or(latest))?;
        sink.item(Item::Version(dataset.log_entry(number)?))?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let (changes, more) = dataset.changes(number, limit)?;
        for change in changes {
            sink.item(Item::Change(ChangeInfo {
                path: path_bytes(&change.path),
                kind: change.kind,
                change: change.change,
                size_before: change.sizes.0,
                size_after: change.sizes.1,
            }))?;
        }
        if more { sink.item(Item::More) } else { Ok(()) }
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
