//! Batches: versions held back until a command is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dataset::{Caller, Dataset};
use crate::model::{DatasetId, DatasetName};

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
        let mut batch =
            Batch { service, by, named: Vec::new(), all, rollback_on_error: false, message, ended: false };
        if all {
            batch.named = named;
        } else {
            for dataset in named {
                // What was begun before one fails is ended when the batch is dropped, taking back nothing.
                dataset.begin_batch()?;
                batch.named.push(dataset);
            }
        }
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
                Ok(version) => all.push(made(&dataset, version)),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    fn finish_one(&self, dataset: &Dataset, success: bool) -> Result<Option<String>, Failure> {
        if success || !self.rollback_on_error {
            let version = dataset.end_batch(self.by, self.message.clone())?;
            return Ok(version.map(|v| v.to_string()));
        }
        let invalid = dataset.abort_batch()?;
        self.service.invalidate(dataset.id(), &invalid);
        Ok(None)
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
