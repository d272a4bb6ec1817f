//! Batches: versions held back until a command is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dataset::{Caller, Dataset};
use crate::model::{DatasetId, DatasetName, VersionNo};

use super::failure::Failure;
use super::protocol::{Item, Made};
use super::service::{Service, Sink, made};

/// A dataset as the batch began.
struct Begun {
    id: DatasetId,
    name: DatasetName,
    newest: VersionNo,
}

/// A batch under way. Dropped without [`Batch::end`] it ends as if the command had failed.
pub struct Batch<'a> {
    service: &'a Service,
    by: Caller,
    named: Vec<Arc<Dataset>>,
    /// Whether all datasets take part, also those made meanwhile.
    all: bool,
    begun: Vec<Begun>,
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
        let begun = |dataset: &Arc<Dataset>| Begun {
            id: dataset.id(),
            name: dataset.name(),
            newest: dataset.newest(),
        };
        batch.begun = batch.named.iter().map(begun).collect();
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
        // Before any dataset is let go: what others write to it from then on is theirs.
        let left = if success || !self.rollback_on_error { Vec::new() } else { self.left() };
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
        for begun in &left {
            match self.bring_back(begun) {
                Ok(Some(made)) => {
                    all.retain(|other| other.dataset != made.dataset);
                    all.push(made);
                }
                Ok(None) => {}
                Err(failure) => failed = failed.or(Some(failure)),
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

    /// The datasets that the command removed: that cut a version, which nothing else does while a batch is under way.
    fn left(&mut self) -> Vec<Begun> {
        let active = self.service.repo().datasets();
        let is_in = |begun: &Begun| {
            active.iter().any(|dataset| dataset.id() == begun.id && dataset.newest() == begun.newest)
        };
        let mut left = std::mem::take(&mut self.begun);
        left.retain(|begun| !is_in(begun));
        left
    }

    /// Brings back what a dataset had that the command removed: by a rollback, if it made a dataset of that name again.
    fn bring_back(&self, begun: &Begun) -> Result<Option<Made>, Failure> {
        let Begun { id, name, newest: before } = begun;
        let active = self.service.repo().datasets();
        let Some(dataset) = active.iter().find(|dataset| dataset.id() == *id) else {
            let is_taken = active.iter().any(|other| other.name() == *name);
            let (also, first) = match is_taken {
                true => (", and another dataset has the name now", "rename that one in the mount; then "),
                false => ("", ""),
            };
            return Err(Failure::new(format!("the command removed {name}, which stays so{also}")).hint(format!(
                "{first}`mkdir {name}` in the mount brings it back, and `strata rollback {name} {before}` what it had"
            )));
        };
        let done = dataset.rollback(self.by, *before, self.message.clone(), false, |invalid| {
            self.service.invalidate(*id, invalid);
        })?;
        Ok(done.map(|done| Made {
            restores: Some(before.to_string()),
            ..made(dataset, Some(done.version.to_string()))
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
