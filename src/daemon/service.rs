//! Does what a command asks for, on an open store: in the daemon for its clients, or in the command's
//! own process where no daemon runs.
//!
//! Whoever looks at history seals first, so that history never lags behind the live tree. Answers are
//! streamed: nothing is held that grows with the history or the size of a file.

mod annotations;
mod bundle;
mod collect;
mod compact;
mod export;
mod history;
mod import;
mod import_history;
mod meta;
mod pointer;
mod prefetch;
mod purge;
mod read;
mod reading;
mod report;
mod retention;
mod status;
mod tags;
mod verify;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use crate::dataset::git::Scope;
use crate::dataset::retention::collect::How;
use crate::dataset::{Caller, Dataset, Error, Invalid, Repo, RolledBack};
use crate::model::{Content, DatasetId, DatasetName, Ino, VersionNo, VersionSet, show_path};

use super::batch::Batch;
use super::failure::{FAILED, Failure};
use super::object::VersionText;
use super::policy;
use super::protocol::{Item, Made, Request};

pub use reading::Session;
pub use tags::next_release;

/// Where an answer goes.
pub trait Sink {
    /// Takes an item.
    ///
    /// # Errors
    /// Where nobody takes it any more; the answer is broken off then.
    fn item(&mut self, item: Item) -> Result<(), Failure>;

    /// Takes raw bytes, at most 1 MiB.
    ///
    /// # Errors
    /// As [`Sink::item`].
    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// Takes what nobody asked for.
pub struct Nowhere;

impl Sink for Nowhere {
    fn item(&mut self, _: Item) -> Result<(), Failure> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// The mount a service stands beside.
pub trait Host: Send + Sync {
    /// Where it is mounted.
    fn mountpoint(&self) -> &Path;

    /// Whether it was unmounted while programs use it: it ends with the last of them, and has no place any more.
    fn is_detached(&self) -> bool {
        false
    }

    /// What it shows: `DATASET` or `DATASET@VERSION`; `None` for the whole store.
    fn shows(&self) -> Option<String>;

    /// Whether it takes no writes.
    fn is_read_only(&self) -> bool;

    /// Bytes that its plain copies of large files hold.
    fn copy_bytes(&self) -> u64;

    /// Makes the kernel forget what was changed by other means than through the mount.
    fn invalidate(&self, dataset: DatasetId, invalid: &Invalid);

    /// Contents of files that are open by way of a version.
    fn open_contents(&self) -> Vec<Content> {
        Vec::new()
    }

    /// Those of some versions of a dataset that are open.
    fn open_versions(&self, _dataset: DatasetId, _among: &VersionSet) -> Result<Vec<VersionNo>, Error> {
        Ok(Vec::new())
    }

    /// Makes the kernel forget the names of versions that are there no more.
    fn forget_versions(&self, _dataset: DatasetId, _versions: &VersionSet) {}

    /// Makes the kernel forget the bytes of what versions recorded of files.
    fn forget_contents(&self, _dataset: DatasetId, _recorded: &[(VersionNo, Ino)]) {}

    /// Makes the kernel see a dataset that was made by other means than through the mount.
    fn dataset_made(&self, name: &DatasetName);
}

/// Answers requests on an open store.
pub struct Service {
    repo: Arc<Repo>,
    host: Option<Arc<dyn Host>>,
    /// Held by who tells `@dvc` of files.
    telling_dvc: Mutex<()>,
    /// Held by who decides what is kept, or gives space back.
    retaining: Mutex<()>,
    /// Whether what was pruned may not be collected: by this daemon or the one before.
    is_uncollected: AtomicBool,
    /// What is being read for requests.
    readings: Arc<reading::Readings>,
    /// Held by who gives a tag, from looking at those there are on.
    tagging: Mutex<()>,
}

impl Service {
    /// A service on `repo`, beside the mount `host` if there is one.
    pub fn new(repo: Arc<Repo>, host: Option<Arc<dyn Host>>) -> Service {
        Service {
            repo,
            host,
            telling_dvc: Mutex::default(),
            retaining: Mutex::default(),
            is_uncollected: AtomicBool::new(true),
            readings: Arc::default(),
            tagging: Mutex::default(),
        }
    }

    /// The store's datasets.
    pub fn repo(&self) -> &Arc<Repo> {
        &self.repo
    }

    /// Does what is asked for and gives the exit code.
    ///
    /// # Errors
    /// Where it failed, or nobody takes the answer any more.
    pub fn execute(&self, by: Caller, request: Request, sink: &mut dyn Sink) -> Result<u8, Failure> {
        match request {
            Request::Status { count_all } => {
                let status = self.status(count_all);
                let whole = status.problems.is_empty();
                sink.item(Item::Status(status))?;
                return Ok(if whole { 0 } else { FAILED });
            }
            Request::Datasets => {
                for dataset in self.repo.datasets() {
                    sink.item(Item::Dataset(self.dataset_info(&dataset)?))?;
                }
            }
            Request::Log { dataset, path, follow, limit } => {
                self.log(&*self.sealed(&dataset)?, &path, follow, limit, sink)?;
            }
            Request::Blame { object, deep } => self.blame(&object, deep, sink)?,
            Request::Show { dataset, version, limit } => {
                self.show(&*self.sealed(&dataset)?, version, limit, sink)?;
            }
            Request::Diff { before, after, path } => self.diff(&before, &after, &path, sink)?,
            Request::Tag { dataset, version, name, message, force } => {
                let dataset = self.writable(&dataset)?;
                self.tag(by, &dataset, version, tags::Wanted { name, message, force }, sink)?;
            }
            Request::Untag { dataset, name, message } => {
                self.untag(by, &*self.writable(&dataset)?, name, message, sink)?;
            }
            Request::Tags { dataset, history } => self.tags(&*self.sealed(&dataset)?, history, sink)?,
            Request::Annotate { dataset, version, history: true, .. } => {
                self.annotations(&*self.sealed(&dataset)?, version, sink)?;
            }
            Request::Annotate { dataset, version, remark, .. } => {
                self.annotate(by, &*self.writable(&dataset)?, version, remark, sink)?;
            }
            Request::Meta { object, about } => self.meta(&object, about, sink)?,
            Request::SetPolicy { dataset, policy } => {
                policy::check(policy).map_err(Failure::usage)?;
                self.writable(&dataset)?.set_policy(policy)?;
            }
            Request::SetRetention { dataset, rules } => self.set_retention(by, &dataset, rules, sink)?,
            Request::SetQuota { dataset, quota } => self.writable(&dataset)?.set_quota(by, quota)?,
            Request::Pin { dataset, version, pin, message } => {
                self.pin(by, &*self.writable(&dataset)?, version, pin, message, sink)?;
            }
            Request::Prune { dataset, rules, dry_run, force, message } => {
                let dataset = if dry_run { self.sealed(&dataset) } else { self.writable(&dataset) }?;
                self.prune(by, &dataset, retention::Wanted { rules, dry_run, force, message }, sink)?;
            }
            Request::Gc { all, dry_run } => {
                if !dry_run {
                    self.check_writable()?;
                }
                self.gc(How { all, dry_run }, sink)?;
            }
            Request::Tombstones { dataset } => {
                let tombstones = self.repo.dataset(dataset.as_str())?.tombstones();
                tombstones.into_iter().try_for_each(|tombstone| sink.item(Item::Tombstone(tombstone)))?;
            }
            Request::Purge { .. } => return Err(Failure::new("no paths follow")),
            Request::Commit { dataset, message } => {
                let dataset = self.writable(&dataset)?;
                let version = dataset.commit(by, message)?;
                sink.item(Item::Made(made(&dataset, version.map(|v| v.to_string()))))?;
            }
            Request::Rollback { dataset, version, message, skip_purged } => {
                self.rollback(by, &*self.writable(&dataset)?, &version, message, skip_purged, sink)?;
            }
            Request::Import { source, dataset, message, delete, checksum } => {
                let how = import::Wanted { source: &source, message, delete, checksum };
                let made = self.import(by, &dataset, how, sink)?;
                sink.item(Item::Made(made))?;
            }
            Request::Unbundle { .. } => return Err(Failure::new("no bundle follows")),
            Request::ImportHistory { source, dataset, branch, path, skip_missing, dry_run } => {
                let scope = Scope { branch: &branch, path: path.as_deref(), skip_missing };
                self.import_history(by, &dataset, &source, scope, dry_run, sink)?;
            }
            Request::Export { dataset, version, preserve, sums, skip_purged } => {
                let wanted = export::Wanted { preserve, sums, skip_purged };
                self.export(&*self.sealed(&dataset)?, version, wanted, sink)?;
            }
            Request::Bundle { dataset, version, since } => {
                self.bundle(&*self.sealed(&dataset)?, version, since, sink)?;
            }
            Request::Cat(object) => self.cat(&object, sink)?,
            Request::Read { object, offset, len } => self.read(&object, offset, len, sink)?,
            Request::Resolve(object) => drop(self.resolve_object(object, sink)?),
            Request::List(object) => self.list(&object, sink)?,
            Request::Pointer { object, dvc } => self.point(by, &object, dvc, sink)?,
            Request::Checkout { pointer, locate } => self.checkout(&pointer, locate, sink)?,
            Request::Verify => return self.verify(sink),
            Request::Compact { best } => {
                self.check_writable()?;
                self.compact(best, sink)?;
            }
            Request::Prefetch(object) => self.prefetch(&object, sink)?,
            Request::Batch { .. } => {
                return Err(Failure::new("a batch needs the store to be mounted")
                    .hint("mount it first: strata mount MOUNTPOINT"));
            }
            Request::EndBatch { .. } => return Err(Failure::new("no batch is under way")),
        }
        Ok(0)
    }

    /// Makes a version that has the tree of another.
    fn rollback(
        &self,
        by: Caller,
        dataset: &Dataset,
        version: &VersionText,
        message: Option<String>,
        skip_purged: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        dataset.seal()?;
        let target = self.resolve(dataset, version)?;
        let forget = |invalid: &Invalid| self.invalidate(dataset.id(), invalid);
        let rolled = dataset.rollback(by, target, message, skip_purged, forget).map_err(|error| {
            let is_purged = matches!(error, Error::Purged { .. });
            let failure = Failure::from(error);
            match is_purged {
                true => failure.hint("nothing was changed; --skip-purged brings back all other files"),
                false => failure,
            }
        })?;
        let (version, left_out) = match rolled {
            Some(RolledBack { version, left_out }) => (Some(version.to_string()), left_out),
            None => (None, Vec::new()),
        };
        let left_out = left_out.iter().map(|path| show_path(path)).collect();
        let restores = Some(target.to_string());
        sink.item(Item::Made(Made { restores, left_out, ..made(dataset, version) }))
    }

    /// Begins to hold back versions.
    ///
    /// # Errors
    /// Where a dataset does not exist or is in a batch already; nothing is held back then.
    pub fn begin_batch(
        &self,
        by: Caller,
        datasets: &[DatasetName],
        rollback_on_error: bool,
        message: Option<String>,
    ) -> Result<Batch<'_>, Failure> {
        datasets.iter().try_for_each(|name| self.writable(name).map(drop))?;
        Batch::begin(self, by, datasets, rollback_on_error, message)
    }

    /// Makes the kernel, if the store is mounted, forget what is no longer as it was.
    pub fn invalidate(&self, dataset: DatasetId, invalid: &Invalid) {
        if let Some(host) = &self.host {
            host.invalidate(dataset, invalid);
        }
    }

    /// A dataset whose history is looked at.
    fn sealed(&self, name: &DatasetName) -> Result<Arc<Dataset>, Failure> {
        let dataset = self.repo.dataset(name.as_str())?;
        dataset.seal_to_look()?;
        Ok(dataset)
    }

    /// A dataset that is to be changed.
    fn writable(&self, name: &DatasetName) -> Result<Arc<Dataset>, Failure> {
        let dataset = self.repo.dataset(name.as_str())?;
        self.check_writable().map(|()| dataset)
    }

    /// Refuses where the mount takes no changes.
    fn check_writable(&self) -> Result<(), Failure> {
        match &self.host {
            Some(host) if host.is_read_only() => {
                Err(Failure::new(format!("{} is mounted read-only", host.mountpoint().display()))
                    .hint("mount the store without --read-only and --at to change it"))
            }
            _ => Ok(()),
        }
    }
}

/// An answer about a dataset whose version `version` was made.
pub(super) fn made(dataset: &Dataset, version: Option<String>) -> Made {
    Made {
        dataset: dataset.name().to_string(),
        version,
        restores: None,
        left_out: Vec::new(),
        attributes_left_out: 0,
        objects_missing: 0,
        newest: dataset.newest().to_string(),
    }
}
