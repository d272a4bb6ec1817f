//! Bundles.

use std::path::Path;

use crate::dataset::bundle::{self, Bundle};
use crate::dataset::{Dataset, Error};
use crate::model::{DatasetName, DatasetRecord, VersionNo};

use super::super::failure::Failure;
use super::super::object::VersionText;
use super::super::protocol::{Bundled, Item, Made};
use super::{Service, Sink, made};

impl Service {
    /// Sends all versions of a dataset up to one, with what is said of them at the end.
    pub(super) fn bundle(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let last = match version {
            Some(version) => self.resolve(dataset, &version)?,
            None => dataset.newest(),
        };
        let name = dataset.name();
        if last == VersionNo::EMPTY {
            return Err(Failure::new(format!("{name} has no version to bundle yet")));
        }
        if let Some(pruned) = dataset.pruned().spans().first().filter(|span| span.first <= last) {
            return Err(Failure::new(format!("{name} lacks {}, which was pruned", pruned.first))
                .hint("a bundle holds all versions up to one; `strata export` writes a single one"));
        }
        let (id, _) = dataset.version_reader(last)?;
        let mut gone = None;
        let mut out = |bytes: &[u8]| {
            sink.data(bytes).map_err(|failure| {
                gone = Some(failure);
                Error::Invalid("nobody waits for it any more".into())
            })
        };
        let done = bundle::bundle(self.repo.store(), dataset, last, &mut out);
        let done = done.map_err(|error| {
            let why = || Failure::because(format!("cannot bundle {name}@{last}"), &error);
            gone.take().unwrap_or_else(|| why().hint("`strata verify` tells what of the store is damaged"))
        })?;
        sink.item(Item::Bundled(Bundled {
            dataset: name.to_string(),
            version: last.to_string(),
            id: id.to_hex(),
            chunks: done.chunks,
            tags: done.tags,
            bytes: done.bytes,
        }))
    }

    /// Makes a dataset of a bundle.
    pub(super) fn unbundle(
        &self,
        name: &DatasetName,
        source: &Path,
        sink: &mut dyn Sink,
    ) -> Result<Made, Failure> {
        if self.repo.get(name.as_str()).is_some() {
            return Err(Failure::new(format!(
                "cannot import {}: dataset {name} exists already",
                source.display()
            ))
            .hint("a bundle has a history of its own: name a dataset that is new"));
        }
        self.may_make(name)?;
        let mut gone = None;
        let mut told = std::time::Instant::now();
        let mut watch = |bytes: u64, bytes_total: u64| {
            if told.elapsed() < super::verify::REPORT_EVERY {
                return Ok(());
            }
            told = std::time::Instant::now();
            let item = Item::Importing { files: 0, files_total: 0, bytes, bytes_total, counted: true };
            sink.item(item).map_err(|failure| {
                gone = Some(failure);
                Error::Invalid("nobody waits for it any more".into())
            })
        };
        let (store, objects) = (self.repo.store(), self.repo.objects());
        let checked = Bundle::open(source, &mut watch)
            .and_then(|bundle| bundle.put_objects(objects, store, &mut watch).map(|_| bundle));
        let bundle = checked.map_err(|error| gone.take().unwrap_or_else(|| error.into()))?;
        let record = DatasetRecord { name: name.clone(), ..bundle.record().clone() };
        let was = record.id;
        let dataset = self.repo.adopt(record, |store, id| bundle.append(store, id))?;
        if dataset.id() != was {
            log::info!("{name}: the number of the dataset was taken, its version ids are others");
        }
        if let Some(host) = &self.host {
            host.dataset_made(name);
        }
        Ok(made(&dataset, Some(dataset.newest().to_string())))
    }
}
