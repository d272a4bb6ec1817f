//! What is kept of history: pins, prunes, purges, and giving space back.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::dataset::retention::Plan;
use crate::dataset::retention::collect::How;
use crate::dataset::retention::freed::freed_by;
use crate::dataset::{Caller, Dataset, Error};
use crate::model::at::HASH_DIGITS_MIN;
use crate::model::quote::quote;
use crate::model::{Content, DatasetName, Name, Rules, Timestamp, VersionNo, VersionSet, show_path};
use crate::store::{Collection, content_id};

use super::super::failure::Failure;
use super::super::object::{VersionText, path_bytes};
use super::super::protocol::{Item, PinInfo, PlannedInfo, PrunedInfo, Purged};
use super::{Service, Sink};

/// Most paths that a prune names, of those that free most.
const PATHS_MAX: usize = 20;
/// How long after close(2) the kernel may tell of it.
const CLOSE_LAG: Duration = Duration::from_millis(100);

/// Refuses to say that something was removed that may be there still.
fn check_removed(dataset: &Dataset, path: &str, collection: &Collection) -> Result<(), Failure> {
    let name = dataset.name();
    if collection.put_again > 0 {
        return Err(Failure::new(format!(
            "content of {path} in {name} was written again while it was purged"
        ))
        .hint("remove it where it is now, and purge it again"));
    }
    match collection.damaged {
        0 => Ok(()),
        packs => Err(Failure::new(format!(
            "content of {path} in {name} can be seen no more, but {packs} damaged packs may hold its bytes"
        ))
        .hint("repair them with `strata fsck`, and purge it again")),
    }
}

/// How a prune is to be done.
pub(super) struct Wanted {
    pub rules: Rules,
    pub dry_run: bool,
    pub force: bool,
    pub message: Option<String>,
}

impl Service {
    /// Pins a version, or no longer, durably.
    pub(super) fn pin(
        &self,
        by: Caller,
        dataset: &Dataset,
        version: Option<VersionText>,
        pin: bool,
        message: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        dataset.seal()?;
        let version = match version {
            Some(version) => self.resolve(dataset, &version)?,
            None if dataset.newest() == VersionNo::EMPTY => {
                return Err(Failure::new(format!("{} has no version to pin yet", dataset.name())));
            }
            None => dataset.newest(),
        };
        if !dataset.pin(by, version, pin, message)? && !pin {
            return Err(Failure::new(format!("{version} of {} is not pinned", dataset.name()))
                .hint(format!("`strata log {}` shows what is", dataset.name())));
        }
        sink.item(Item::Pin(PinInfo { version: version.to_string(), pinned: pin }))
    }

    /// Prunes, or tells what would be pruned.
    pub(super) fn prune(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        wanted: Wanted,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let _alone = self.retaining.lock();
        let Wanted { rules, dry_run, force, message } = wanted;
        if rules.is_empty() && !force {
            return Err(Failure::usage("nothing is said of what is to be kept")
                .hint("say what to keep, such as --keep-last 10 --keep-daily 30"));
        }
        dataset.seal()?;
        let plan = self.plan(dataset, &rules)?;
        if plan.drops_everything() && !force {
            return Err(Failure::new(format!(
                "these rules would drop every version of {} but the newest",
                dataset.name()
            ))
            .hint("--keep-last 1 says that this is meant, or --force"));
        }
        for planned in &plan.versions {
            sink.item(Item::Planned(PlannedInfo {
                version: planned.version.to_string(),
                time: planned.time.to_string(),
                keep: planned.keep.clone(),
            }))?;
        }
        let all = self.every_dataset()?;
        let dropped = plan.dropped();
        let freed = freed_by(dataset, &dropped, &all, &self.open_contents())?;
        let paths = freed.paths.iter().take(PATHS_MAX);
        let paths = paths.map(|(path, bytes)| (path_bytes(path), *bytes)).collect();
        if !dry_run && !dropped.is_empty() {
            self.carry_out(by, dataset, &plan, message)?;
        }
        let number = |n: usize| n as u64;
        sink.item(Item::Pruned(PrunedInfo {
            dataset: dataset.name().to_string(),
            dry_run,
            kept: number(plan.kept()),
            dropped: number(plan.versions.len() - plan.kept()),
            bytes: freed.bytes,
            paths,
            more_paths: number(freed.paths.len().saturating_sub(PATHS_MAX)),
        }))
    }

    /// What rules come to; what is open is kept besides.
    fn plan(&self, dataset: &Dataset, rules: &Rules) -> Result<Plan, Failure> {
        let mut plan = dataset.plan_prune(rules)?;
        let mut open = self.open_among(dataset, &plan.dropped())?;
        if !open.is_empty() {
            // The kernel tells of a close some time after close(2), and a client's end is seen a little later.
            thread::sleep(CLOSE_LAG);
            open = self.open_among(dataset, &plan.dropped())?;
        }
        plan.keep(&open, "open");
        Ok(plan)
    }

    /// Those of these versions that are open through the mount, or read for a request.
    fn open_among(&self, dataset: &Dataset, versions: &VersionSet) -> Result<Vec<VersionNo>, Failure> {
        let mut open = self.readings.still().among(dataset.id(), versions);
        if let Some(host) = &self.host {
            open.extend(host.open_versions(dataset.id(), versions)?);
        }
        Ok(open)
    }

    fn carry_out(
        &self,
        by: Caller,
        dataset: &Dataset,
        plan: &Plan,
        message: Option<String>,
    ) -> Result<(), Failure> {
        {
            let still = self.readings.still();
            if let Some(version) = still.among(dataset.id(), &plan.dropped()).first() {
                return Err(Failure::new(format!(
                    "{version} of {} was opened meanwhile: nothing was pruned, try again",
                    dataset.name()
                )));
            }
            dataset.prune(by, plan, message)?;
        }
        if let Some(host) = &self.host {
            host.forget_versions(dataset.id(), &plan.dropped());
        }
        Ok(())
    }

    /// The contents that are open without a version that has them, or read for a request.
    pub(super) fn open_contents(&self) -> Vec<Content> {
        let mut open = self.readings.contents();
        open.extend(self.host.iter().flat_map(|host| host.open_contents()));
        open
    }

    /// Removes the content that a file ever had from all versions, for good.
    pub(super) fn purge(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        path: &[Name],
        reason: String,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        if reason.trim().is_empty() {
            return Err(Failure::usage("a purge needs a reason: --reason TEXT"));
        }
        let _alone = self.retaining.lock();
        dataset.seal()?;
        let store = self.repo.store();
        let mut underway = store.begin_collection(true)?;
        let datasets = self.every_dataset()?;
        let (named, contents) = self.contents_of(dataset, path)?;
        let purging = dataset.plan_purge(contents, &datasets)?;
        // As text that loses nothing; most paths are plain.
        let what = match String::from_utf8(path_bytes(&named)) {
            Ok(text) if !text.starts_with('"') => text,
            _ => quote(&path_bytes(&named)),
        };
        let objects: HashSet<[u8; 32]> = purging.objects.keys().copied().collect();
        if objects.is_empty() && purging.shared > 0 {
            return Err(Failure::new(format!(
                "nothing of {} was removed: it is all in use",
                show_path(&named)
            ))
            .hint("other files, of this dataset or another, or open ones have the same content"));
        }
        let mut collection = Collection::default();
        // What has a tombstone needs no second one, but may be there still: one that failed half-way left it.
        let is_new = objects.iter().any(|hash| !store.is_purged(hash));
        if is_new {
            // First the tombstone: what is missing from here on is no damage.
            dataset.note_purge(by, what, reason, &purging)?;
        }
        if !objects.is_empty() {
            store.remove_objects(&mut underway, &objects, &mut collection)?;
        }
        drop(underway);
        let removed = match is_new {
            true => (objects.len() as u64, purging.objects.values().map(|len| u64::from(*len)).sum()),
            false => (collection.objects, collection.dead),
        };
        if purging.is_garbage {
            let rest = self.collect(How { all: true, dry_run: false }, &mut |_| ControlFlow::Continue(()))?;
            collection.damaged += rest.damaged;
        }
        if let Some(host) = &self.host {
            host.forget_contents(dataset.id(), &purging.recorded);
        }
        check_removed(dataset, &show_path(path), &collection)?;
        let (objects, bytes) = removed;
        sink.item(Item::Purged(Purged {
            dataset: dataset.name().to_string(),
            path: path_bytes(&named),
            objects,
            bytes,
            shared: purging.shared,
        }))
    }

    /// The contents that a path ever had; or, of the id of a content or how it begins, that content. With the
    /// path, or the whole id.
    fn contents_of(&self, dataset: &Dataset, path: &[Name]) -> Result<(Vec<Name>, Vec<Content>), Failure> {
        let never = match dataset.contents_at(path) {
            Err(error @ Error::NotFound(_)) => Failure::from(error),
            found => return Ok((path.to_vec(), found?)),
        };
        let [name] = path else { return Err(never) };
        let prefix = name.to_string().to_ascii_lowercase();
        let is_id =
            (HASH_DIGITS_MIN..=64).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_id {
            return Err(never);
        }
        let content = dataset.content_of_id(&prefix)?.ok_or_else(|| {
            Failure::new(format!(
                "no version of {} ever had a file of the path '{name}', nor one whose content has this id",
                dataset.name()
            ))
            .hint("`strata hash FILE` prints the id of a content")
        })?;
        let id = content_id(&content).to_hex();
        Ok((vec![Name::new(id.as_bytes()).map_err(Error::from)?], vec![content]))
    }

    /// Sets the rules that the daemon applies.
    pub(super) fn set_retention(
        &self,
        by: Caller,
        name: &DatasetName,
        rules: Option<Rules>,
    ) -> Result<(), Failure> {
        Ok(self.writable(name)?.set_retention_rules(by, rules)?)
    }

    /// Applies the rules of datasets where that is due, and gives the space back, unless it is to stop.
    pub fn apply_retention(&self, stop: &AtomicBool) {
        if self.host.as_ref().is_some_and(|host| host.is_read_only()) || self.repo.store().is_read_only() {
            return;
        }
        let now = Timestamp::now();
        let mut dropped = 0;
        for dataset in self.repo.datasets().into_iter().filter(|dataset| dataset.is_retention_due(now)) {
            match self.apply_to(&dataset, now) {
                Ok(count) => dropped += count,
                Err(failure) => log::error!("pruning {}: {}", dataset.name(), failure.message),
            }
        }
        if dropped > 0 {
            let _alone = self.retaining.lock();
            let how = How { all: false, dry_run: false };
            match self.collect(how, &mut |_| match stop.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }) {
                Ok(collection) => log::info!("gave back {} bytes", collection.freed),
                Err(failure) => log::warn!("no space was given back: {}", failure.message),
            }
        }
    }

    fn apply_to(&self, dataset: &Dataset, now: Timestamp) -> Result<usize, Failure> {
        let _alone = self.retaining.lock();
        // Whatever comes of it, it is tried again only when it is due again.
        dataset.note_retention_applied(now);
        let Some(rules) = dataset.retention_rules() else { return Ok(0) };
        let plan = self.plan(dataset, &rules)?;
        if plan.drops_everything() {
            let name = dataset.name();
            return Err(Failure::new(format!("its rules would drop every version of {name} but the newest")));
        }
        let count = plan.versions.len() - plan.kept();
        if count > 0 {
            self.carry_out(Caller::default(), dataset, &plan, Some("retention".into()))?;
            log::info!("{}: pruned {count} versions by {rules}", dataset.name());
        }
        Ok(count)
    }
}
