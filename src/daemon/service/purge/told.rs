//! What is told of a purge: what it removed, and what stays, with what has it.

use std::path::PathBuf;

use crate::dataset::Dataset;
use crate::dataset::retention::{Place, Purging, Staying, Target};
use crate::model::show_path;
use crate::store::error::chain;
use crate::store::{self, Aside, Collection};

use super::super::super::failure::Failure;
use super::super::super::object::path_bytes;
use super::super::super::protocol::{Item, Purged, PurgedPath};
use super::super::Sink;

/// Most places that an error names for each path.
const NAMED: usize = 5;
/// Most paths that it names.
const PATHS_NAMED: usize = 100;

/// What came of a purge, or would.
pub(super) struct Outcome<'a> {
    /// How many objects were removed, and their bytes.
    pub removed: (u64, u64),
    /// What was removed of what a repair had put aside.
    pub aside: &'a [PathBuf],
    pub dry_run: bool,
}

/// Tells of each target, and of all together.
pub(super) fn tell(
    dataset: &Dataset,
    targets: &[Target],
    purging: &Purging,
    outcome: Outcome<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let places = || purging.stays.live.iter().chain(&purging.stays.past);
    let mut holders = vec![Vec::new(); targets.len()];
    for Place { name, of } in places() {
        of.iter().for_each(|number| holders[*number as usize].push(name.clone()));
    }
    for ((target, share), holders) in targets.iter().zip(&purging.shares).zip(holders) {
        sink.item(Item::PurgedPath(PurgedPath {
            path: path_bytes(&target.path),
            files: target.held.files,
            objects: share.objects,
            bytes: share.bytes,
            shared: share.stays,
            holders,
        }))?;
    }
    let (objects, bytes) = outcome.removed;
    sink.item(Item::Purged(Purged {
        dataset: dataset.name().to_string(),
        objects,
        bytes,
        shared: purging.stays.objects,
        others: purging.others.iter().map(|other| other.dataset.name().to_string()).collect(),
        also: purging.also.clone(),
        more: purging.more_also,
        holders: places().map(|place| place.name.clone()).collect(),
        aside: outcome.aside.iter().map(|path| path.display().to_string()).collect(),
        dry_run: outcome.dry_run,
    }))
}

/// Says that a purge is recorded, and what it takes away is still there.
pub(super) fn not_finished(path: &str, error: &store::Error) -> Failure {
    Failure::new(format!(
        "content of {path} can be seen no more, but its bytes are still on the disk: {}",
        chain(error)
    ))
    .hint("the next `strata gc` or mount goes on with it, `strata status` tells")
}

/// Refuses to say that something was removed that may be there still.
pub(super) fn check_removed(dataset: &Dataset, path: &str, collection: &Collection) -> Result<(), Failure> {
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

/// Refuses to say that all was removed where files put aside by a repair may have it.
pub(super) fn check_aside(path: &str, aside: &Aside) -> Result<(), Failure> {
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

/// Says that some of a content stays, of which paths it is, and what has it.
pub(super) fn check_nothing_stays(
    targets: &[Target],
    stays: &Staying,
    is_some_removed: bool,
) -> Result<(), Failure> {
    if stays.objects == 0 {
        return Ok(());
    }
    let all = match targets {
        [target] => show_path(&target.path),
        targets => format!("{} paths", targets.len()),
    };
    let bytes = stays.bytes;
    let (objects, stay, are) = match stays.objects {
        1 => ("1 object".to_owned(), "stays", "is"),
        more => (format!("{more} objects"), "stay", "are"),
    };
    let what = match is_some_removed {
        true => format!("not all of {all} was removed: {bytes} bytes in {objects} {stay}, in use"),
        false => format!("nothing of {all} was removed: {bytes} bytes in {objects} {are} in use"),
    };
    let failure = Failure::new(format!("{what}{}", in_use_by(targets, stays)));
    Err(match (stays.live.is_empty(), stays.past.is_empty()) {
        (true, _) => failure.hint("--everywhere removes it from the versions of all files and datasets"),
        (false, true) => failure.hint("remove or close it there, and purge it again"),
        (false, false) => failure.hint(
            "remove or close it where no version is named, and purge it again with --everywhere, which removes it \
             from the versions of all files and datasets",
        ),
    })
}

/// By what the rest is in use, for each of several paths of which anything is.
fn in_use_by(targets: &[Target], stays: &Staying) -> String {
    let all = || stays.live.iter().chain(&stays.past);
    let some = |number: u32| {
        let of = || all().filter(|place| place.of.contains(&number)).map(|place| place.name.as_str());
        let names: Vec<&str> = of().take(NAMED).collect();
        let more = if stays.more || of().nth(NAMED).is_some() { " and others" } else { "" };
        (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
    };
    if targets.len() == 1 {
        return format!(" by {}", some(0).unwrap_or_default());
    }
    let each = (0..).zip(targets);
    let mut used = each.filter_map(|(number, target)| Some((show_path(&target.path), some(number)?)));
    let shown: Vec<String> =
        used.by_ref().take(PATHS_NAMED).map(|(path, by)| format!("{path} by {by}")).collect();
    let more = match used.count() {
        0 => String::new(),
        more => format!("; and {more} more, which --json names"),
    };
    format!(": {}{more}", shown.join("; "))
}
