//! Tags: giving, taking away and listing them.

use std::collections::{BTreeMap, HashMap};

use crate::dataset::{Caller, Dataset};
use crate::model::{TagName, TagRecord, VersionNo};

use super::super::failure::Failure;
use super::super::object::VersionText;
use super::super::protocol::{Item, NewTag, Step, TagInfo};
use super::{Service, Sink};

/// A tag that is wanted.
pub(super) struct Wanted {
    pub name: NewTag,
    pub message: Option<String>,
    pub force: bool,
}

impl Service {
    /// Gives a version a tag, durably.
    pub(super) fn tag(
        &self,
        by: Caller,
        dataset: &Dataset,
        version: Option<VersionText>,
        wanted: Wanted,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        dataset.seal()?;
        let version = match version {
            Some(version) => self.resolve(dataset, &version)?,
            None if dataset.newest() == VersionNo::EMPTY => {
                return Err(Failure::new(format!("{} has no version to tag yet", dataset.name())));
            }
            None => dataset.newest(),
        };
        // No two get the same next release, and none is moved by who did not see it.
        let _alone = self.tagging.lock();
        let name = match wanted.name {
            NewTag::Named(name) => name,
            NewTag::Next(step) => next(dataset, step)?,
            NewTag::After { step, highest } => {
                let found = dataset.highest_tag(None);
                if let Some((name, tag)) = found.filter(|(name, _)| Some(name) != highest.as_ref()) {
                    return Err(Failure::new(format!(
                        "{} of {} was released as {name} meanwhile: nothing was released",
                        tag.version,
                        dataset.name()
                    )));
                }
                next(dataset, step)?
            }
        };
        let moves = dataset.tag(&name).map(|tag| tag.version).filter(|before| *before != version);
        if let Some(before) = moves
            && name.semantic().is_some()
            && !wanted.force
        {
            return Err(Failure::new(format!("{name} of {} is {before} already", dataset.name()))
                .hint("a release stays what it is; --force moves it all the same"));
        }
        dataset.set_tag(by, name.clone(), version, wanted.message)?;
        self.repo.store().sync()?;
        tell_newest(dataset, &name, sink)
    }

    /// Takes a tag away, durably.
    pub(super) fn untag(
        &self,
        by: Caller,
        dataset: &Dataset,
        name: TagName,
        message: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        dataset.remove_tag(by, name.clone(), message)?;
        self.repo.store().sync()?;
        tell_newest(dataset, &name, sink)
    }

    /// Lists the tags, or all that was done to any.
    pub(super) fn tags(&self, dataset: &Dataset, history: bool, sink: &mut dyn Sink) -> Result<(), Failure> {
        let all = told(dataset.tag_history()?);
        if history {
            return all.into_iter().rev().try_for_each(|info| sink.item(Item::Tag(info)));
        }
        let newest: BTreeMap<String, TagInfo> =
            all.into_iter().map(|info| (info.tag.clone(), info)).collect();
        let current = newest.into_values().filter(|info| info.version.is_some());
        current.into_iter().try_for_each(|info| sink.item(Item::Tag(info)))
    }
}

/// Tells what was done last to a tag.
fn tell_newest(dataset: &Dataset, name: &TagName, sink: &mut dyn Sink) -> Result<(), Failure> {
    let newest = told(dataset.tag_history()?).into_iter().rev().find(|info| info.tag == name.as_str());
    newest.map_or(Ok(()), |info| sink.item(Item::Tag(info)))
}

/// The tag after the highest semantic version of a dataset.
fn next(dataset: &Dataset, step: Step) -> Result<TagName, Failure> {
    next_release(dataset.highest_tag(None).map(|(name, _)| name).as_ref(), step)
}

/// The tag after the highest semantic version; `1.0.0`, `0.1.0` or `0.0.1` where there is none.
///
/// # Errors
/// Where there is no number after it.
pub fn next_release(highest: Option<&TagName>, step: Step) -> Result<TagName, Failure> {
    let (prefix, (major, minor, patch)) = match highest.and_then(|name| Some((name.semantic()?, name))) {
        Some((version, name)) => {
            let prefix = if name.as_str().starts_with('v') { "v" } else { "" };
            (prefix, (version.major, version.minor, version.patch))
        }
        None => ("", (0, 0, 0)),
    };
    let next = match step {
        Step::Major => major.checked_add(1).map(|major| (major, 0, 0)),
        Step::Minor => minor.checked_add(1).map(|minor| (major, minor, 0)),
        Step::Patch => patch.checked_add(1).map(|patch| (major, minor, patch)),
    };
    let Some((major, minor, patch)) = next else {
        return Err(Failure::new(format!("no number comes after that of {major}.{minor}.{patch}"))
            .hint("`strata tag` gives any other"));
    };
    TagName::new(&format!("{prefix}{major}.{minor}.{patch}")).map_err(|e| Failure::new(e.to_string()))
}

/// What was done to tags, each time with what it was before.
fn told(records: Vec<TagRecord>) -> Vec<TagInfo> {
    let mut now: HashMap<TagName, VersionNo> = HashMap::new();
    let tell = |record: TagRecord| {
        let was = match record.version {
            Some(version) => now.insert(record.name.clone(), version),
            None => now.remove(&record.name),
        };
        TagInfo {
            tag: record.name.into(),
            version: record.version.map(|v| v.to_string()),
            was: was.map(|v| v.to_string()),
            time: record.time.to_string(),
            uid: record.author.uid,
            command: record.author.command,
            message: record.message,
        }
    };
    records.into_iter().map(tell).collect()
}
