//! What is kept of history: pins, prunes and rules.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::dataset::retention::Plan;
use crate::dataset::retention::collect::How;
use crate::dataset::retention::freed::freed_by;
use crate::dataset::{self, Caller, Dataset};
use crate::model::{Content, DatasetName, Rules, Timestamp, VersionNo, VersionSet};

use super::super::failure::Failure;
use super::super::object::{VersionText, path_bytes};
use super::super::protocol::{Item, PinInfo, PlannedInfo, PrunedInfo};
use super::reading::Still;
use super::{Service, Sink};

/// Most paths that a prune names, of those that free most.
const PATHS_MAX: usize = 20;
/// How long after close(2) the kernel may tell of it.
const CLOSE_LAG: Duration = Duration::from_millis(100);

/// How often a prune is planned anew where versions are claimed meanwhile that it would drop.
const TRIES: usize = 8;

/// Refuses where a pin may not be known.
pub(super) fn check_pins_known(dataset: &Dataset, force: bool) -> Result<(), Failure> {
    if force || !dataset.is_unsure_of_pins() {
        return Ok(());
    }
    let name = dataset.name();
    Err(Failure::new(format!(
        "a record of what is kept of {name} is lost, and with it perhaps pins: nothing was pruned"
    ))
    .hint(format!(
        "pin again what is to stay, then `strata set {name} retention=RULES` or `retention=none` says that all pins \
         are known; --force prunes without"
    )))
}

fn claimed_meanwhile(dataset: &Dataset, claimed: &[VersionNo]) -> Failure {
    let claimed: Vec<String> = claimed.iter().take(3).map(ToString::to_string).collect();
    let (claimed, name) = (claimed.join(", "), dataset.name());
    Failure::new(format!(
        "versions of {name} were opened meanwhile, or tagged or pinned, again and again ({claimed}): nothing was pruned"
    ))
    .hint("try again, or keep them: strata pin")
}

/// Whether a prune is done where some of what it would drop was opened, tagged or pinned since it was planned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum If {
    /// Not: what was told of it would not hold.
    NothingWasClaimed,
    /// It is, but for that.
    Anything,
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
        let mut plan = self.plan(dataset, &rules)?;
        if plan.drops_everything() && !force {
            return Err(Failure::new(format!(
                "these rules would drop every version of {} but the newest",
                dataset.name()
            ))
            .hint("--keep-last 1 says that this is meant, or --force"));
        }
        check_pins_known(dataset, force)?;
        let all = self.every_dataset()?;
        let mut tries = 0;
        let freed = loop {
            let dropped = plan.dropped();
            let freed = freed_by(dataset, &dropped, &all, &self.open_contents())?;
            if dry_run || dropped.is_empty() {
                break freed;
            }
            let claimed = self.carry_out(by, dataset, &mut plan, message.clone(), If::NothingWasClaimed)?;
            if claimed.is_empty() {
                break freed;
            }
            tries += 1;
            if tries == TRIES {
                return Err(claimed_meanwhile(dataset, &claimed));
            }
        };
        for planned in &plan.versions {
            sink.item(Item::Planned(PlannedInfo {
                version: planned.version.to_string(),
                time: planned.time.to_string(),
                keep: planned.keep.clone(),
            }))?;
        }
        let paths = freed.paths.iter().take(PATHS_MAX);
        let paths = paths.map(|(path, bytes)| (path_bytes(path), *bytes)).collect();
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
        let mut open = self.open_among(&self.readings.still(), dataset, &plan.dropped())?;
        if !open.is_empty() {
            // The kernel tells of a close some time after close(2), and a client's end is seen a little later.
            thread::sleep(CLOSE_LAG);
            open = self.open_among(&self.readings.still(), dataset, &plan.dropped())?;
        }
        plan.keep(&open, "open");
        Ok(plan)
    }

    /// Those of these versions that are open through the mount, or read for a request.
    fn open_among(
        &self,
        still: &Still<'_>,
        dataset: &Dataset,
        versions: &VersionSet,
    ) -> Result<Vec<VersionNo>, Failure> {
        let mut open = still.among(dataset.id(), versions);
        if let Some(host) = &self.host {
            open.extend(host.open_versions(dataset.id(), versions)?);
        }
        Ok(open)
    }

    /// Prunes what a plan drops; what of that was opened, tagged or pinned since the plan was made is given, and kept
    /// in the plan.
    fn carry_out(
        &self,
        by: Caller,
        dataset: &Dataset,
        plan: &mut Plan,
        message: Option<String>,
        when: If,
    ) -> Result<Vec<VersionNo>, Failure> {
        let (claimed, dropped) = {
            let still = self.readings.still();
            let mut claimed = self.open_among(&still, dataset, &plan.dropped())?;
            plan.keep(&claimed, "open");
            loop {
                let dropped = plan.dropped();
                if dropped.is_empty() || when == If::NothingWasClaimed && !claimed.is_empty() {
                    return Ok(claimed);
                }
                match dataset.prune(by, plan, message.clone()) {
                    Ok(()) => break (claimed, dropped),
                    Err(dataset::Error::Named { version, .. }) => {
                        plan.keep(&[version], "tagged or pinned");
                        claimed.push(version);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if let Some(host) = &self.host {
            host.forget_versions(dataset.id(), &dropped);
        }
        Ok(claimed)
    }

    /// The contents that are open without a version that has them, or read for a request.
    pub(super) fn open_contents(&self) -> Vec<Content> {
        let mut open = self.readings.contents();
        open.extend(self.host.iter().flat_map(|host| host.open_contents()));
        open
    }

    /// Sets the rules that the daemon applies, and says so where as it is now it would not.
    pub(super) fn set_retention(
        &self,
        by: Caller,
        name: &DatasetName,
        rules: Option<Rules>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let dataset = self.writable(name)?;
        dataset.set_retention_rules(by, rules.clone())?;
        let Some(rules) = rules else { return Ok(()) };
        match dataset.plan_prune(&rules)?.drops_everything() {
            false => Ok(()),
            true => sink.item(Item::Notice(format!(
                "as it is now, these rules would drop every version of {name} but the newest, and the daemon prunes \
                 nothing as long as they would; keep-last=1 among them says that this is meant"
            ))),
        }
    }

    /// Applies the rules of datasets where that is due, and gives the space back, unless it is to stop.
    pub fn apply_retention(&self, stop: &AtomicBool) {
        if self.host.as_ref().is_some_and(|host| host.is_read_only()) || self.repo.store().is_read_only() {
            return;
        }
        let now = Timestamp::now();
        let mut dropped = 0;
        let mut due = self.repo.datasets();
        due.retain(|dataset| dataset.is_retention_due(now));
        for dataset in &due {
            match self.apply_to(dataset, now) {
                Ok(count) => dropped += count,
                Err(failure) => log::error!("pruning {}: {}", dataset.name(), failure.message),
            }
        }
        // A collection that was refused, failed or was cut off with its daemon is made up for.
        let is_owed = self.is_uncollected.load(Ordering::Acquire)
            && due.iter().any(|dataset| !dataset.pruned().is_empty());
        if dropped > 0 || is_owed {
            let _alone = self.retaining.lock();
            let how = How { all: false, dry_run: false };
            let collected = self.collect(how, &mut |_| match stop.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            });
            self.is_uncollected.store(collected.is_err(), Ordering::Release);
            match collected {
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
        check_pins_known(dataset, false)?;
        let mut plan = self.plan(dataset, &rules)?;
        if plan.drops_everything() {
            let name = dataset.name();
            return Err(Failure::new(format!("its rules would drop every version of {name} but the newest")));
        }
        self.carry_out(Caller::default(), dataset, &mut plan, Some("retention".into()), If::Anything)?;
        let count = plan.versions.len() - plan.kept();
        if count > 0 {
            log::info!("{}: pruned {count} versions by {rules}", dataset.name());
        }
        Ok(count)
    }
}
