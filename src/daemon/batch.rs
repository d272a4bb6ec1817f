//! Batches: versions held back until a command is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dataset::{Caller, Dataset};
use crate::model::{DatasetId, DatasetName, VersionNo};

use super::failure::Failure;
use super::protocol::{Item, Made};
use super::service::{Service, Sink, made};

/// A batch under way. Dropped without [`Batch::end`] it ends as if the command had failed.
pub struct Batch<'a> {
    service: &'a Service,
    by: Caller,
    named: Vec<Arc<Dataset>>,
    /// Whether all datasets take part, also those made meanwhile.
    all: bool,
    /// The newest version of each dataset as it began.
    begun: Vec<(DatasetId, DatasetName, VersionNo)>,
    rollback_on_error: bool,
    message: Option<String>,
    ended: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn begin(
        service: &'a Service,
        by: Caller,
        datasets: &[DatasetName],
        rollback_on_error: bool,
        message: Option<String>,
    ) -> Result<Batch<'a>, Failure> {
        let repo = service.repo();
        let all = datasets.is_empty();
        let named = if all {
            repo.begin_batch(by)?
        } else {
            let mut seen = BTreeSet::<DatasetId>::new();
            let mut named = Vec::new();
            for name in datasets {
                let dataset = repo.dataset(name.as_str())?;
                if seen.insert(dataset.id()) {
                    named.push(dataset);
                }
            }
            named
        };
        let mut batch = Batch {
            service,
            by,
            named: Vec::new(),
            all,
            begun: Vec::new(),
            rollback_on_error: false,
            message,
            ended: false,
        };
        if all {
            batch.named = named;
        } else {
            for dataset in named {
                // What was begun before one fails is ended when the batch is dropped, taking back nothing.
                dataset.begin_batch()?;
                batch.named.push(dataset);
            }
        }
        let begun = batch.named.iter().map(|dataset| (dataset.id(), dataset.name(), dataset.newest()));
        batch.begun = begun.collect();
        batch.rollback_on_error = rollback_on_error;
        Ok(batch)
    }

    /// Ends the batch; tells which versions it made.
    ///
    /// # Errors
    /// The first failure; the other datasets are ended all the same.
    pub fn end(mut self, success: bool, sink: &mut dyn Sink) -> Result<(), Failure> {
        for made in self.finish(success)? {
            sink.item(Item::Made(made))?;
        }
        Ok(())
    }

    fn finish(&mut self, success: bool) -> Result<Vec<Made>, Failure> {
        self.ended = true;
        if self.all {
            self.named = self.service.repo().end_batch();
        }
        let mut all = Vec::new();
        let mut failed = None;
        // One that was archived meanwhile has left the batch.
        for dataset in std::mem::take(&mut self.named).into_iter().filter(|dataset| dataset.in_batch()) {
            match self.finish_one(&dataset, success) {
                Ok(made) => all.extend(made),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        if !success && self.rollback_on_error {
            for (id, name, before) in std::mem::take(&mut self.begun) {
                match self.bring_back(id, &name, before) {
                    Ok(Some(made)) => {
                        all.retain(|other| other.dataset != made.dataset);
                        all.push(made);
                    }
                    Ok(None) => {}
                    Err(failure) => failed = failed.or(Some(failure)),
                }
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Ends the batch on a dataset; tells of it, unless nothing was to be taken back.
    fn finish_one(&self, dataset: &Dataset, success: bool) -> Result<Option<Made>, Failure> {
        if success || !self.rollback_on_error {
            let version = dataset.end_batch(self.by, self.message.clone())?;
            return Ok(Some(made(dataset, version.map(|v| v.to_string()))));
        }
        let invalid = dataset.abort_batch()?;
        let is_untouched = invalid.names.is_empty() && invalid.inodes.is_empty();
        self.service.invalidate(dataset.id(), &invalid);
        Ok((!is_untouched).then(|| made(dataset, None)))
    }

    /// Brings back what a dataset had that the command removed, which cut a version: by a rollback, if it made a dataset
    /// of that name again.
    fn bring_back(
        &self,
        id: DatasetId,
        name: &DatasetName,
        before: VersionNo,
    ) -> Result<Option<Made>, Failure> {
        let (active, archived) = self.service.repo().datasets_and_archived();
        if archived.iter().any(|record| record.id == id) && active.iter().any(|other| other.name() == *name) {
            return Err(Failure::new(format!(
                "the command removed {name}, which stays so, and another dataset has the name now"
            ))
            .hint(format!(
                "rename that one in the mount; then `mkdir {name}` there brings the removed one back, and \
                 `strata rollback {name} {before}` what it had"
            )));
        }
        if archived.iter().any(|record| record.id == id) {
            return Err(Failure::new(format!("the command removed {name}, which stays so")).hint(format!(
                "`mkdir {name}` in the mount brings it back, and `strata rollback {name} {before}` what it had"
            )));
        }
        let Some(dataset) = active.into_iter().find(|dataset| dataset.id() == id) else { return Ok(None) };
        if dataset.newest() == before {
            return Ok(None);
        }
        let done = dataset.rollback(self.by, before, self.message.clone(), false, |invalid| {
            self.service.invalidate(id, invalid);
        })?;
        Ok(done.map(|done| Made {
            restores: Some(before.to_string()),
            ..made(&dataset, Some(done.version.to_string()))
        }))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.ended
            && let Err(failure) = self.finish(false)
        {
            log::error!("ending a batch: {}", failure.message);
        }
    }
}
