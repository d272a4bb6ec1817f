//! Giving the space of what nothing needs back.

use std::sync::Arc;

use crate::dataset::Dataset;
use crate::dataset::retention::collect::{How, Step, Users, collect};
use crate::store::Collection;

use super::super::failure::Failure;
use super::super::protocol::{Collected, Item};
use super::report::reporting;
use super::{Service, Sink};

impl Service {
    /// Gives the space of what nothing needs back.
    pub(super) fn gc(&self, how: How, sink: &mut dyn Sink) -> Result<(), Failure> {
        if !how.dry_run {
            self.finish_purges();
        }
        let _alone = self.retaining.lock();
        let collection = reporting(sink, |step| self.collect(how, &mut |packs| step(packs, 0)))?;
        let Collection { packs, rewritten, objects, dead, left, freed, unsure, joined, .. } = collection;
        let How { dry_run, .. } = how;
        sink.item(Item::Collected(Collected {
            dry_run,
            packs,
            rewritten,
            objects,
            dead,
            left,
            freed,
            unsure,
            joined,
        }))
    }

    pub(super) fn collect(&self, how: How, step: Step<'_>) -> Result<Collection, Failure> {
        let users = Users { datasets: &|| self.whole_datasets(), open: &|| self.open_contents() };
        collect(self.repo.store(), &users, how, step)
    }

    /// All datasets, of each of which it is known what it needs.
    fn whole_datasets(&self) -> Result<Vec<Arc<Dataset>>, Failure> {
        let datasets = self.every_dataset()?;
        for dataset in &datasets {
            if let Some(lost) = dataset.lost().first() {
                return Err(Failure::new(format!(
                    "the record of {} of {} is lost: it is not known what it needs",
                    lost.first,
                    dataset.name()
                ))
                .hint("nothing is given back before `strata verify` finds nothing lost"));
            }
        }
        Ok(datasets)
    }
}
