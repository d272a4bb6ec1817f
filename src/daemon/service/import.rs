//! Imports.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::archive::{self, Owners};
use crate::dataset::bundle;
use crate::dataset::import::{self, Placement, Teller, Tree};
use crate::dataset::{Caller, Dataset, Error, Invalid};
use crate::model::DatasetName;

use super::super::failure::Failure;
use super::super::protocol::Made;
use super::bundle::Source;
use super::import_history::telling;
use super::{Service, Sink, made};

/// An import to be made.
pub(super) struct Wanted<'a> {
    pub source: &'a Path,
    pub message: Option<String>,
    pub delete: bool,
    pub checksum: bool,
}

impl Service {
    /// Takes a directory into a dataset as one version.
    pub(super) fn import(
        &self,
        by: Caller,
        name: &DatasetName,
        wanted: Wanted<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Made, Failure> {
        let Wanted { source, message, delete, checksum } = wanted;
        self.repo.store().check_writable()?;
        // What is read is part of no tree until all of it is.
        let _held = self.repo.store().hold();
        self.apart(source)?;
        if bundle::is_one(source)? {
            if message.is_some() || delete {
                return Err(Failure::usage(
                    "a bundle's versions are what they are: no --message and no --delete",
                ));
            }
            return self.unbundle(name, Source::Path(source), sink);
        }
        let existing = self.existing(name)?;
        let tree =
            telling(sink, |teller| self.read_source(by, source, existing.as_deref(), checksum, teller))?;
        let dataset = match existing {
            Some(dataset) => dataset,
            None => self.make(name, (tree.root.mode, tree.root.uid, tree.root.gid))?,
        };
        let forget = |invalid: &Invalid| self.invalidate(dataset.id(), invalid);
        let attributes_left_out = tree.bared;
        let version = dataset.take_in(by, tree, Placement { root: source, delete, message }, forget)?;
        Ok(Made { attributes_left_out, ..made(&dataset, version.map(|version| version.to_string())) })
    }

    fn read_source(
        &self,
        by: Caller,
        source: &Path,
        existing: Option<&Dataset>,
        checksum: bool,
        teller: &mut Teller<'_>,
    ) -> crate::dataset::Result<Tree> {
        if source.is_dir() {
            return self.read_tree(source, existing, checksum, teller);
        }
        let root = existing.map(|dataset| dataset.read(|live| live.root())).transpose()?;
        let owners = Owners { otherwise: (by.uid, by.gid), keep: by.uid == 0, root };
        archive::read_archive(self.repo.objects(), source, owners, teller)
    }

    fn read_tree(
        &self,
        source: &Path,
        into: Option<&Dataset>,
        checksum: bool,
        teller: &mut Teller<'_>,
    ) -> crate::dataset::Result<Tree> {
        let objects = self.repo.objects();
        let newest = into.filter(|_| !checksum).map(|dataset| dataset.frozen(dataset.newest()));
        let mut tree = import::scan(objects, source, newest.as_ref(), teller)?;
        if let Some(dataset) = into {
            dataset.check_can_hold(tree.bytes())?;
        }
        import::read(objects, source, &mut tree, teller)?;
        Ok(tree)
    }

    /// Makes a dataset whose root has this mode and these owners.
    pub(super) fn make(
        &self,
        name: &DatasetName,
        (mode, uid, gid): (u32, u32, u32),
    ) -> Result<Arc<Dataset>, Failure> {
        let dataset = match self.repo.create(name.clone(), mode, uid, gid) {
            // Somebody else made it meanwhile.
            Err(Error::Exists(_)) => return self.writable(name),
            made => made?,
        };
        if let Some(host) = &self.host {
            host.dataset_made(name);
        }
        Ok(dataset)
    }

    /// The dataset of that name, if there is one; refuses where it cannot be changed, or made.
    pub(super) fn existing(&self, name: &DatasetName) -> Result<Option<Arc<Dataset>>, Failure> {
        match self.repo.get(name.as_str()) {
            Some(_) => self.writable(name).map(Some),
            None => self.may_make(name).map(|()| None),
        }
    }

    /// Whether a dataset can be made.
    fn may_make(&self, name: &DatasetName) -> Result<(), Failure> {
        match self.host.as_ref().filter(|host| host.is_read_only()) {
            Some(host) => Err(Failure::new(format!(
                "cannot make dataset {name}: {} is mounted read-only",
                host.mountpoint().display()
            ))
            .hint("mount the store without --read-only and --at to change it")),
            None => Ok(()),
        }
    }

    /// Refuses to import what grows by being imported.
    pub(super) fn apart(&self, source: &Path) -> Result<(), Failure> {
        let store = self.repo.store().path();
        let mounted = self.host.as_ref().map(|host| host.mountpoint());
        let inside = std::iter::once(store).chain(mounted).find(|place| place.starts_with(source));
        match inside.or_else(|| Some(store).filter(|store| source.starts_with(store))) {
            Some(place) => Err(Failure::new(format!(
                "cannot import {}: {} would be imported into itself",
                source.display(),
                place.display()
            ))),
            None => Ok(()),
        }
    }
}
