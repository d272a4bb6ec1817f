//! Exports.

use crate::dataset::archive::{self, How};
use crate::dataset::{Dataset, Error};
use crate::model::{Ino, VersionNo};

use super::super::failure::Failure;
use super::super::object::VersionText;
use super::super::protocol::{Exported, Item};
use super::{Service, Sink};

/// What is asked for.
pub(super) struct Wanted {
    /// Whether attributes are as they were.
    pub preserve: bool,
    /// Whether checksums are in it.
    pub sums: bool,
    /// Whether files whose content was purged are left out.
    pub skip_purged: bool,
}

impl Service {
    /// Sends a version as a tar archive, with what is said of it at the end.
    pub(super) fn export(
        &self,
        dataset: &Dataset,
        version: Option<VersionText>,
        Wanted { preserve, sums, skip_purged }: Wanted,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let version = match version {
            Some(version) => self.resolve(dataset, &version)?,
            None if dataset.newest() == VersionNo::EMPTY => {
                return Err(Failure::new(format!("{} has no version to export yet", dataset.name())));
            }
            None => dataset.newest(),
        };
        let _reading = self.hold(dataset, version)?;
        let (name, snapshot) = (dataset.name(), dataset.snapshot(version)?);
        let tree = dataset.frozen(version);
        let purged = dataset.purged_files(&tree, Ino::ROOT)?;
        if !purged.is_empty() && !skip_purged {
            return Err(Failure::from(dataset.purged_error(&tree, &purged))
                .hint("--skip-purged leaves them out and exports all else"));
        }
        let without = purged.into_iter().map(|file| (file.dir, file.name)).collect();
        let scratch = self.repo.store().scratch_dir();
        let mut gone = None;
        let mut out = |bytes: &[u8]| {
            sink.data(bytes).map_err(|failure| {
                gone = Some(failure);
                Error::Invalid("nobody waits for it any more".into())
            })
        };
        let how = How { preserve, sums, without: &without, scratch: &scratch };
        let done = archive::export(self.repo.objects(), (&tree, snapshot), how, &mut out);
        let done = done.map_err(|error| {
            let why = || Failure::because(format!("cannot export {name}@{version}"), &error);
            gone.take().unwrap_or_else(|| why().hint("`strata verify` tells what of the store is damaged"))
        })?;
        sink.item(Item::Exported(Exported {
            dataset: name.to_string(),
            version: version.to_string(),
            snapshot: snapshot.to_hex(),
            files: done.files,
            bytes: done.bytes,
            sums: done.sums,
            left_out: done.left_out,
            purged: done.purged,
        }))
    }
}
