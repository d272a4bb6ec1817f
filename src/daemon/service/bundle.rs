//! Bundles.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::dataset::bundle::{self, Bundle};
use crate::dataset::{self, Dataset, Error, Invalid};
use crate::model::{DatasetName, DatasetRecord, Span, VersionNo};
use crate::store;
use crate::store::scratch::unnamed;

use super::super::failure::Failure;
use super::super::object::VersionText;
use super::super::protocol::{Bundled, Item, Made};
use super::report::Pace;
use super::{Service, Sink, made};

/// Bytes of a bundle that are taken at a time.
const PIECE: usize = 256 << 10;

/// Where a bundle is.
pub(super) enum Source<'a> {
    /// At this path.
    Path(&'a Path),
    /// In a file of the store's, to which it was written as it came.
    Open(File),
}

impl Source<'_> {
    /// What one that came is called.
    const PIPED: &'static str = "standard input";

    fn path(&self) -> &Path {
        match self {
            Source::Path(path) => path,
            Source::Open(_) => Path::new(Source::PIPED),
        }
    }

    fn open(self, watch: &mut dyn FnMut(u64, u64) -> dataset::Result<()>) -> dataset::Result<Bundle> {
        match self {
            Source::Path(path) => Bundle::open(path, watch),
            Source::Open(file) => Bundle::of(file, Path::new(Source::PIPED), watch),
        }
    }
}

/// The settings of a dataset that say what its store keeps, as `strata set` takes them.
fn settings(dataset: &Dataset) -> Vec<String> {
    let rules = dataset.retention_rules().map(|rules| format!("retention={rules}"));
    rules.into_iter().chain(dataset.quota().map(|bytes| format!("quota={bytes}"))).collect()
}

impl Service {
    /// Sends all versions of a dataset up to one, or those after `since`, with what is said of them at the end.
    pub(super) fn bundle(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        since: Option<VersionText>,
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
        let since = since.map(|since| self.resolve(dataset, &since)).transpose()?;
        let since = since.unwrap_or(VersionNo::EMPTY);
        if since >= last {
            return Err(Failure::new(format!("{name} has nothing after {since} up to {last} to bundle")));
        }
        let _reading = self.hold_all(dataset, Span { first: since.max(VersionNo(1)), last });
        // They may have been pruned before they were held.
        [since, last].into_iter().try_for_each(|version| dataset.check_kept(version))?;
        let (id, _) = dataset.version_reader(last)?;
        let mut gone = None;
        let mut out = |bytes: &[u8]| {
            sink.data(bytes).map_err(|failure| {
                gone = Some(failure);
                Error::Invalid("nobody waits for it any more".into())
            })
        };
        let done = bundle::bundle(self.repo.store(), dataset, since, last, &mut out);
        let done = done.map_err(|error| {
            let why = || Failure::because(format!("cannot bundle {name}@{last}"), &error);
            gone.take().unwrap_or_else(|| why().hint("`strata verify` tells what of the store is damaged"))
        })?;
        sink.item(Item::Bundled(Bundled {
            dataset: name.to_string(),
            since: (since > VersionNo::EMPTY).then(|| since.to_string()),
            version: last.to_string(),
            id: id.to_hex(),
            chunks: done.chunks,
            tags: done.tags,
            annotations: done.annotations,
            pins: done.pins,
            pruned: done.pruned,
            purges: done.purges,
            left_out: settings(dataset),
            bytes: done.bytes,
        }))
    }

    /// The same of a bundle that comes piece by piece.
    pub(super) fn unbundle_from(
        &self,
        name: &DatasetName,
        input: &mut dyn Read,
        sink: &mut dyn Sink,
    ) -> Result<Made, Failure> {
        let store = self.repo.store();
        store.check_writable()?;
        drop(self.existing(name)?);
        let file = self.spool(input)?;
        let _held = store.hold();
        self.unbundle(name, Source::Open(file), sink)
    }

    /// Writes what comes to a file without a name in the store's directory: a bundle is looked at from its
    /// beginning to its end before anything of it counts.
    fn spool(&self, input: &mut dyn Read) -> Result<File, Failure> {
        let store = self.repo.store();
        let dir = store.scratch_dir();
        let failed = |e: io::Error| Failure::because(format!("cannot import {}", Source::PIPED), &e);
        let mut start = Vec::new();
        (&mut *input).take(bundle::KNOWN_BY as u64).read_to_end(&mut start).map_err(failed)?;
        if !bundle::begins(&start) {
            return Err(Failure::new(format!("cannot import {}: it is no bundle", Source::PIPED))
                .hint("`strata bundle ... -o -` writes one; a tar or zip archive is imported as a file"));
        }
        let mut file = unnamed(&dir)?;
        let mut write = |bytes: &[u8]| -> Result<(), Failure> {
            store.check_can_grow()?;
            file.write_all(bytes).map_err(|e| store::Error::io("write a scratch file in", &dir, e).into())
        };
        write(&start)?;
        let mut buffer = vec![0; PIECE];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(file),
                Ok(read) => write(&buffer[..read])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// Makes a dataset of a bundle, or brings the one of that name up to date.
    pub(super) fn unbundle(
        &self,
        name: &DatasetName,
        source: Source<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Made, Failure> {
        let existing = self.existing(name)?;
        let mut gone = None;
        let mut pace = Pace::new();
        let mut watch = |bytes: u64, bytes_total: u64| {
            if !pace.is_due() {
                return Ok(());
            }
            let item = Item::Importing { files: 0, files_total: 0, bytes, bytes_total, counted: true };
            sink.item(item).map_err(|failure| {
                gone = Some(failure);
                Error::Invalid("nobody waits for it any more".into())
            })
        };
        let (store, objects) = (self.repo.store(), self.repo.objects());
        let shown = source.path().display().to_string();
        let checked = source.open(&mut watch).and_then(|bundle| {
            match &existing {
                Some(dataset) => drop(bundle.is_ahead_of(dataset)?),
                None if bundle.since() > VersionNo::EMPTY => {
                    return Err(Error::Invalid(format!(
                        "cannot import {shown}: it begins after {}, and there is no dataset {name} that has it: import \
                         a bundle of all versions up to that first",
                        bundle.since()
                    )));
                }
                None => {}
            }
            bundle.check(existing.as_deref(), &mut watch)?;
            bundle.put_objects(objects, store, &mut watch).map(|()| bundle)
        });
        let bundle = checked.map_err(|error| gone.take().unwrap_or_else(|| error.into()))?;
        if let Some(dataset) = existing {
            let forget = |invalid: &Invalid| self.invalidate(dataset.id(), invalid);
            let version = dataset.advance(&bundle, forget)?;
            return Ok(made(&dataset, version.map(|version| version.to_string())));
        }
        let record = DatasetRecord { name: name.clone(), ..bundle.record().clone() };
        let was = record.id;
        let dataset = self.repo.adopt(record, |store, id| bundle.append(store, id, VersionNo::EMPTY))?;
        if dataset.id() != was {
            log::info!("{name}: the number of the dataset was taken, its version ids are others");
        }
        if let Some(host) = &self.host {
            host.dataset_made(name);
        }
        Ok(made(&dataset, Some(dataset.newest().to_string())))
    }
}
