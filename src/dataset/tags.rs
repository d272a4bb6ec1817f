//! Tags: names of versions that can be given, moved and taken away.
//!
//! A tag record says what becomes of one tag; the records of a dataset, which the index keeps in order, are the
//! history of all of its tags. What each tag names now is kept in memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{TagName, TagRange, TagRecord, Timestamp, VersionNo};
use crate::store::Store;

use super::author::Caller;
use super::dataset::Dataset;
use super::error::{Error, Result};

/// A tag as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The version it names.
    pub version: VersionNo,
    /// The change of tags that gave it that.
    pub sequence: u64,
}

/// The tags of a dataset.
#[derive(Debug, Default)]
pub(super) struct Tags {
    current: BTreeMap<TagName, Tag>,
    by_version: BTreeMap<VersionNo, BTreeSet<TagName>>,
    /// Sequence of the last tag record.
    pub last: u64,
}

impl Tags {
    /// What the records of a dataset come to.
    pub fn load(store: &Store, dataset: crate::model::DatasetId) -> Result<Tags> {
        let mut tags = Tags::default();
        store.tags(dataset)?.into_iter().for_each(|record| tags.take(record));
        Ok(tags)
    }

    fn take(&mut self, record: TagRecord) {
        self.last = record.sequence;
        if let Some(before) = self.current.remove(&record.name)
            && let Some(others) = self.by_version.get_mut(&before.version)
        {
            others.remove(&record.name);
        }
        if let Some(version) = record.version {
            self.by_version.entry(version).or_default().insert(record.name.clone());
            self.current.insert(record.name, Tag { version, sequence: record.sequence });
        }
    }
}

impl Dataset {
    /// All tags, by name.
    pub fn tags(&self) -> BTreeMap<TagName, Tag> {
        self.tags.read().current.clone()
    }

    /// The tags that name a version, by name.
    pub fn tags_of(&self, version: VersionNo) -> Vec<TagName> {
        let tags = self.tags.read();
        tags.by_version.get(&version).into_iter().flatten().cloned().collect()
    }

    /// A tag.
    pub fn tag(&self, name: &TagName) -> Option<Tag> {
        self.tags.read().current.get(name).cloned()
    }

    /// The tag of the highest semantic version in a range, or of all; of those before a release, none.
    pub fn highest_tag(&self, range: Option<&TagRange>) -> Option<(TagName, Tag)> {
        let tags = self.tags.read();
        let found = tags.current.iter().filter_map(|(name, tag)| Some((name.semantic()?, name, tag)));
        let fits = |version: &semver::Version| match range {
            Some(range) => range.contains(version),
            None => version.pre.is_empty(),
        };
        let found = found.filter(|(version, ..)| fits(version)).max_by(|(a, ..), (b, ..)| a.cmp(b));
        found.map(|(_, name, tag)| (name.clone(), tag.clone()))
    }

    /// What was done to the tags, oldest first.
    pub fn tag_history(&self) -> Result<Vec<TagRecord>> {
        Ok(self.store.tags(self.id())?)
    }

    /// Gives `version` a tag, or moves the tag there. What is so already is not recorded again, unless there is
    /// something to say.
    ///
    /// # Errors
    /// [`Error::NoVersion`] where there is no such version.
    pub fn set_tag(
        &self,
        by: Caller,
        name: TagName,
        version: VersionNo,
        message: Option<String>,
    ) -> Result<()> {
        if version == VersionNo::EMPTY || version > self.newest() {
            return Err(Error::NoVersion { dataset: self.name().to_string(), spec: version.to_string() });
        }
        self.check_kept(version)?;
        let is_so = self.tag(&name).is_some_and(|tag| tag.version == version);
        if is_so && message.is_none() { Ok(()) } else { self.note_tag(by, name, Some(version), message) }
    }

    /// Takes a tag away.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such tag.
    pub fn remove_tag(&self, by: Caller, name: TagName, message: Option<String>) -> Result<()> {
        if self.tag(&name).is_none() {
            return Err(Error::NotFound(format!("tag '{name}' of {}", self.name())));
        }
        self.note_tag(by, name, None, message)
    }

    fn note_tag(
        &self,
        by: Caller,
        name: TagName,
        version: Option<VersionNo>,
        message: Option<String>,
    ) -> Result<()> {
        self.store.check_writable()?;
        let author = self.lock().authors.author(by);
        // Until it is recorded no prune may drop the version.
        let kept = version.map(|version| self.keeping(version)).transpose()?;
        let mut tags = self.tags.write();
        let (dataset, sequence) = (self.id(), tags.last + 1);
        let record = TagRecord { dataset, sequence, name, version, time: Timestamp::now(), author, message };
        self.store.append_tag(&record)?;
        tags.take(record);
        drop((tags, kept));
        self.make_durable()
    }
}
