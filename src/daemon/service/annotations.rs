//! Annotations: saying something of a version, and telling what was said.

use crate::dataset::{Caller, Dataset};
use crate::model::{AnnotationRecord, Remark, VersionNo};

use super::super::failure::Failure;
use super::super::object::VersionText;
use super::super::protocol::{AnnotationInfo, Item};
use super::{Service, Sink};

impl Service {
    /// Says something of a version, durably.
    pub(super) fn annotate(
        &self,
        by: Caller,
        dataset: &Dataset,
        version: Option<VersionText>,
        remark: Remark,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        dataset.seal()?;
        let version = self.wanted(dataset, version)?;
        dataset.annotate(by, version, remark)?;
        self.repo.store().sync()?;
        sink.item(Item::Version(dataset.log_entry(version)?))
    }

    /// Tells what was said of a version, newest first.
    pub(super) fn annotations(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let version = self.wanted(dataset, version)?;
        let told = dataset.annotation_history(version)?.into_iter().rev().map(told);
        told.into_iter().try_for_each(|info| sink.item(Item::Annotation(info)))
    }

    fn wanted(&self, dataset: &Dataset, version: Option<VersionText>) -> Result<VersionNo, Failure> {
        match version {
            Some(version) => self.resolve(dataset, &version),
            None if dataset.newest() == VersionNo::EMPTY => {
                Err(Failure::new(format!("{} has no version to annotate yet", dataset.name())))
            }
            None => Ok(dataset.newest()),
        }
    }
}

fn told(record: AnnotationRecord) -> AnnotationInfo {
    AnnotationInfo {
        version: record.version.to_string(),
        time: record.time.to_string(),
        uid: record.author.uid,
        command: record.author.command,
        message: record.remark.message,
        values: record.remark.values,
    }
}
