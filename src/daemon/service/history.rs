//! Versions: listing them, and what one of them changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::dataset::{Change, Dataset, Error, Origin, Touched, diff_trees};
use crate::model::{DatasetName, Name, VersionNo, VersionSpec, show_path};

use super::super::failure::Failure;
use super::super::object::{ObjectSpec, VersionText, path_bytes};
use super::super::protocol::{BlameInfo, Item};
use super::reading::Reading;
use super::{Service, Sink};

impl Service {
    pub(super) fn log(
        &self,
        dataset: &Dataset,
        path: &[Name],
        follow: bool,
        limit: Option<u64>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        if path.is_empty() {
            let each = |number| sink.item(Item::Version(dataset.log_entry(number)?));
            return dataset.versions().rev().take(limit).try_for_each(each);
        }
        let never = || Failure::new(format!("no version of {} has {}", dataset.name(), show_path(path)));
        let mut log = dataset.path_log(path, follow)?.ok_or_else(never)?;
        for _ in 0..limit {
            let Some((number, was)) = log.next_version()? else { break };
            let entry = dataset.log_entry(number)?;
            sink.item(match was {
                Some(was) => Item::VersionOf { entry, path: path_bytes(&was) },
                None => Item::Version(entry),
            })?;
        }
        Ok(())
    }

    pub(super) fn blame(&self, object: &ObjectSpec, deep: bool, sink: &mut dyn Sink) -> Result<(), Failure> {
        let (dataset, version, _reading) = self.version_of(object)?;
        if version == VersionNo::EMPTY {
            return Err(Failure::new(format!("{} has no version yet", dataset.name())));
        }
        dataset.blame(version, &object.path, deep, |entries| {
            // In the order of the versions: that is how their records lie in the packs.
            let versions: BTreeSet<VersionNo> = entries.iter().map(|touched| touched.version).collect();
            let origins = versions.into_iter().map(|version| Ok((version, dataset.origin(version)?)));
            let origins = origins.collect::<Result<HashMap<VersionNo, Origin>, Error>>()?;
            entries.into_iter().try_for_each(|Touched { path, kind, version, change }| {
                let Origin { time, uid, command, message } = origins[&version].clone();
                sink.item(Item::Blame(BlameInfo {
                    path: path_bytes(&path),
                    kind,
                    change,
                    version: version.to_string(),
                    time: time.to_string(),
                    uid,
                    command,
                    message,
                }))
            })
        })
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
        let mut shown = changes.iter().take(limit.unwrap_or(usize::MAX));
        shown.try_for_each(|change| sink.item(Item::Change(change.into())))?;
        if more { sink.item(Item::More) } else { Ok(()) }
    }

    pub(super) fn diff(
        &self,
        before: &ObjectSpec,
        after: &ObjectSpec,
        path: &[Name],
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let ((a, va, _reading_a), (b, vb, _reading_b)) = (self.version_of(before)?, self.version_of(after)?);
        let ways = [before, after].map(|object| [&object.path, path].concat());
        let mut tell = |change: Change| sink.item(Item::Change(change.into()));
        if a.id() == b.id() && ways[0] == ways[1] {
            return a.diff(va, vb, &ways[0])?.iter().try_for_each(tell);
        }
        let changes = diff_trees((&*a, va, &ways[0]), (&*b, vb, &ways[1]))?;
        // Named from the datasets' roots where that is the same on both sides.
        let above: &[Name] = if ways[0] == ways[1] { &ways[0] } else { &[] };
        changes.iter().try_for_each(|mut change| {
            change.put_below(above);
            tell(change)
        })
    }

    /// A dataset, and the version of it that an object names, which stays meanwhile: the newest where it names
    /// none.
    pub(super) fn version_of(
        &self,
        object: &ObjectSpec,
    ) -> Result<(Arc<Dataset>, VersionNo, Reading), Failure> {
        if let Some(version) = &object.version {
            return self.at_version(&object.dataset, version);
        }
        let dataset = self.sealed(&object.dataset)?;
        let newest = dataset.newest();
        let reading = self.hold(&dataset, newest)?;
        Ok((dataset, newest, reading))
    }

    /// A dataset, and the version of it that is named, which stays meanwhile. One that is there by its number
    /// is as it is: whoever reads on in it cuts no versions of what is written meanwhile.
    pub(super) fn at_version(
        &self,
        name: &DatasetName,
        version: &VersionText,
    ) -> Result<(Arc<Dataset>, VersionNo, Reading), Failure> {
        if let Some(VersionSpec::Number { number, back: 0 }) = version.spec() {
            let dataset = self.repo.dataset(name.as_str())?;
            if number <= dataset.newest() {
                let version = self.resolve(&dataset, version)?;
                let reading = self.hold(&dataset, version)?;
                return Ok((dataset, version, reading));
            }
        }
        let dataset = self.sealed(name)?;
        let version = self.resolve(&dataset, version)?;
        let reading = self.hold(&dataset, version)?;
        Ok((dataset, version, reading))
    }

    pub(super) fn resolve(&self, dataset: &Dataset, version: &VersionText) -> Result<VersionNo, Failure> {
        let unknown =
            || Error::NoVersion { dataset: dataset.name().to_string(), spec: version.as_str().into() };
        let spec = version.spec().ok_or_else(unknown)?;
        if dataset.newest() == VersionNo::EMPTY {
            return Err(Failure::new(format!("{} has no version yet", dataset.name())));
        }
        match dataset.resolve(&spec) {
            // As the user wrote it, not as it is kept.
            Err(Error::NoVersion { .. }) => Err(unknown().into()),
            found => Ok(found?),
        }
    }
}
