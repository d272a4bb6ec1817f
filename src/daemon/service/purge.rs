//! Purges.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dataset::retention::collect::How;
use crate::dataset::retention::{Losing, Purging, Staying};
use crate::dataset::{Caller, Dataset, Error};
use crate::model::at::HASH_DIGITS_MIN;
use crate::model::quote::quote;
use crate::model::{Content, Name, show_path};
use crate::store::error::chain;
use crate::store::{self, Aside, Collection, Underway, UnfinishedPurge, content_id};

use super::super::failure::Failure;
use super::super::object::path_bytes;
use super::super::protocol::{Item, Purged};
use super::{Nowhere, Service, Sink};

/// Most places that an error names.
const NAMED: usize = 5;

/// How a purge is to be done.
pub(super) struct Wanted<'a> {
    pub path: &'a [Name],
    pub reason: String,
    pub everywhere: bool,
    pub dry_run: bool,
}

/// What is to go, and the collection that takes it.
struct Planned<'a> {
    underway: Underway<'a>,
    named: Vec<Name>,
    purging: Purging,
}

/// Says that a purge is recorded, and what it takes away is still there.
fn not_finished(path: &str, error: &store::Error) -> Failure {
    Failure::new(format!(
        "content of {path} can be seen no more, but its bytes are still on the disk: {}",
        chain(error)
    ))
    .hint("the next `strata gc` or mount goes on with it, `strata status` tells")
}

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

/// Says that some of a content stays, and what has it.
fn check_nothing_stays(path: &str, stays: &Staying, is_some_removed: bool) -> Result<(), Failure> {
    if stays.objects == 0 {
        return Ok(());
    }
    let bytes = stays.bytes;
    let (objects, stay, are) = match stays.objects {
        1 => ("1 object".to_owned(), "stays", "is"),
        more => (format!("{more} objects"), "stay", "are"),
    };
    let what = match is_some_removed {
        true => format!("not all of {path} was removed: {bytes} bytes in {objects} {stay}, in use"),
        false => format!("nothing of {path} was removed: {bytes} bytes in {objects} {are} in use"),
    };
    let all = || stays.live.iter().chain(&stays.past).map(String::as_str);
    let places: Vec<&str> = all().take(NAMED).collect();
    let more = if stays.more || all().count() > NAMED { " and others" } else { "" };
    let failure = Failure::new(format!("{what} by {}{more}", places.join(", ")));
    Err(match (stays.live.is_empty(), stays.past.is_empty()) {
        (true, _) => failure.hint("--everywhere removes it from the versions of all files and datasets"),
        (false, true) => failure.hint("remove or close it there, and purge it again"),
        (false, false) => failure.hint(
            "remove or close it where no version is named, and purge it again with --everywhere, which removes it \
             from the versions of all files and datasets",
        ),
    })
}

impl Service {
    /// Removes the content that a file ever had from all versions, for good.
    pub(super) fn purge(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        wanted: Wanted<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        if wanted.reason.trim().is_empty() && !wanted.dry_run {
            return Err(Failure::usage("a purge needs a reason: --reason TEXT"));
        }
        let _alone = self.retaining.lock();
        dataset.seal()?;
        let underway = self.repo.store().begin_collection(true)?;
        let datasets = self.every_dataset()?;
        let (named, contents) = self.contents_of(dataset, wanted.path)?;
        let purging = dataset.plan_purge(contents, &datasets, wanted.everywhere)?;
        self.carry_purge_out(by, dataset, &wanted, Planned { underway, named, purging }, sink)
    }

    /// Finishes the purges that were begun and not finished: of some the process died, and some found no room.
    pub fn finish_purges(&self) {
        let store = self.repo.store();
        if store.is_read_only() || self.host.as_ref().is_some_and(|host| host.is_read_only()) {
            return;
        }
        let unfinished = store.unfinished_purges().unwrap_or_else(|error| {
            log::error!("purges that are not finished: {}", chain(&error));
            Vec::new()
        });
        for purge in unfinished {
            match self.finish_purge(&purge) {
                Ok(true) => log::info!("finished the purge of {}", purge.shown()),
                Ok(false) => {
                    log::warn!(
                        "the purge of {} was cut off before it began: nothing was removed",
                        purge.shown()
                    );
                }
                Err(failure) => log::error!("the purge of {}: {}", purge.shown(), failure.message),
            }
        }
    }

    /// Finishes one; gives whether it had begun.
    fn finish_purge(&self, purge: &UnfinishedPurge) -> Result<bool, Failure> {
        let store = self.repo.store();
        let _alone = self.retaining.lock();
        let datasets = self.every_dataset()?;
        let Some(dataset) = datasets.iter().find(|dataset| dataset.id() == purge.dataset) else {
            store.end_purge(purge)?;
            return Ok(false);
        };
        let wanted = Wanted {
            path: &purge.path,
            reason: purge.reason.clone(),
            everywhere: purge.everywhere,
            dry_run: false,
        };
        let underway = store.begin_collection(true)?;
        let (named, contents) = self.contents_of(dataset, wanted.path)?;
        let mut purging = match dataset.plan_purge(contents, &datasets, wanted.everywhere) {
            // It is in use again: whoever wants it to go has to say so anew.
            Err(error @ Error::Invalid(_)) => {
                store.end_purge(purge)?;
                return Err(error.into());
            }
            planned => planned?,
        };
        if !purging.objects.keys().any(|hash| store.was_purged(hash)) {
            // Nobody was told of it.
            store.end_purge(purge)?;
            return Ok(false);
        }
        purging.fresh.retain(|hash| !store.was_purged(hash));
        let planned = Planned { underway, named, purging };
        self.carry_purge_out(Caller::default(), dataset, &wanted, planned, &mut Nowhere)?;
        Ok(true)
    }

    fn carry_purge_out(
        &self,
        by: Caller,
        dataset: &Arc<Dataset>,
        wanted: &Wanted<'_>,
        planned: Planned<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let Planned { mut underway, named, purging } = planned;
        let store = self.repo.store();
        let unfinished = UnfinishedPurge {
            dataset: dataset.id(),
            path: wanted.path.to_vec(),
            everywhere: wanted.everywhere,
            reason: wanted.reason.clone(),
        };
        let objects: HashSet<[u8; 32]> = purging.objects.keys().copied().collect();
        let mut collection = Collection::default();
        let lens = purging.fresh.iter().filter_map(|hash| purging.objects.get(hash));
        let (fresh, fresh_bytes) = (purging.fresh.len() as u64, lens.map(|len| u64::from(*len)).sum::<u64>());
        let purged = |(objects, bytes), aside: &[PathBuf]| Purged {
            dataset: dataset.name().to_string(),
            path: path_bytes(&named),
            objects,
            bytes,
            shared: purging.stays.objects,
            others: purging.others.iter().map(|other| other.dataset.name().to_string()).collect(),
            also: purging.also.clone(),
            more: purging.more_also,
            holders: purging.stays.live.iter().chain(&purging.stays.past).cloned().collect(),
            aside: aside.iter().map(|path| path.display().to_string()).collect(),
            dry_run: wanted.dry_run,
        };
        if wanted.dry_run {
            return sink.item(Item::Purged(purged((fresh, fresh_bytes), &[])));
        }
        let reason = &wanted.reason;
        if !objects.is_empty() {
            store.begin_purge(&unfinished)?;
        }
        // What has a tombstone needs no second one, but may be there still: one that failed half-way left it.
        if !purging.fresh.is_empty() {
            // First the tombstones: what is missing from here on is no damage.
            for Losing { dataset: other, path, objects: lost } in &purging.others {
                let what = path.as_ref().unwrap_or(&named);
                other.note_purge(by, as_text(what), reason.clone(), lost)?;
            }
            dataset.note_purge(by, as_text(&named), reason.clone(), &purging.fresh)?;
        }
        let shown = show_path(&named);
        if !objects.is_empty() {
            let removed = store.remove_objects(&mut underway, &objects, &mut collection);
            removed.map_err(|error| not_finished(&shown, &error))?;
        }
        drop(underway);
        let (removed, bytes) = match purging.fresh.is_empty() {
            true => (collection.objects, collection.dead),
            false => (fresh, fresh_bytes),
        };
        if purging.is_garbage {
            let rest = self.collect(How { all: true, dry_run: false }, &mut |_| ControlFlow::Continue(()))?;
            collection.damaged += rest.damaged;
        }
        let aside = store.purge_aside(&objects)?;
        if collection.damaged == 0 {
            store.end_purge(&unfinished)?;
        }
        if let Some(host) = &self.host {
            purging.recorded.iter().for_each(|(id, recorded)| host.forget_contents(*id, recorded));
        }
        check_removed(dataset, &shown, &collection)?;
        let stays = &purging.stays;
        if stays.objects == 0 || removed > 0 {
            sink.item(Item::Purged(purged((removed, bytes), &aside.removed)))?;
        }
        check_aside(&shown, &aside)?;
        check_nothing_stays(&shown, stays, removed > 0)
    }

    /// The contents that a path ever had; or, of the id of a content or how it begins, that content. With the
    /// path, or the whole id.
    fn contents_of(&self, dataset: &Dataset, path: &[Name]) -> Result<(Vec<Name>, Vec<Content>), Failure> {
        let never = match dataset.contents_at(path) {
            Err(error @ Error::NotFound(_)) => Failure::from(error),
            found => return Ok((path.to_vec(), found?)),
        };
        if dataset.path_versions(path)?.is_some() {
            return Err(never.hint(
                "what had that path was never a file with bytes: purge the files below, each by its path",
            ));
        }
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
}

/// A path as text that loses nothing; most paths are plain.
fn as_text(path: &[Name]) -> String {
    match String::from_utf8(path_bytes(path)) {
        Ok(text) if !text.starts_with('"') => text,
        _ => quote(&path_bytes(path)),
    }
}

/// Refuses to say that all was removed where files put aside by a repair may have it.
fn check_aside(path: &str, aside: &Aside) -> Result<(), Failure> {
    if aside.unknown.is_empty() {
        return Ok(());
    }
    let files: Vec<String> = aside.unknown.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::new(format!(
        "content of {path} can be seen no more, but what `strata fsck` put aside may have its bytes: {}",
        files.join(", ")
    ))
    .hint("these are damaged packs as they were before a repair, of which not all can be read: remove them"))
}
