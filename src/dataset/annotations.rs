//! Annotations of versions: a text and values by key, which can be changed without changing the version.
//!
//! An annotation record says what becomes of some keys of one version; the records of a dataset, which the index
//! keeps in order, are the history of all of it. What is said of each version now is kept in memory.

use std::collections::BTreeMap;

use crate::model::{AnnotationKey, AnnotationRecord, DatasetId, Remark, Timestamp, VersionNo};
use crate::store::Store;

use super::author::Caller;
use super::dataset::Dataset;
use super::error::{Error, Result};

/// What is said of a version now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// A text.
    pub note: Option<String>,
    /// Values by key.
    pub values: BTreeMap<AnnotationKey, String>,
}

impl Annotation {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(k, _)| k.as_str() == key).map(|(_, value)| value.as_str())
    }

    fn take(&mut self, remark: Remark) {
        // An empty text takes the one before away.
        if let Some(message) = remark.message {
            self.note = Some(message).filter(|message| !message.is_empty());
        }
        for (key, value) in remark.values {
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
    }
}

/// The annotations of a dataset.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    current: BTreeMap<VersionNo, Annotation>,
    /// Sequence of the last annotation record.
    pub last: u64,
}

impl Annotations {
    /// What the records of a dataset come to.
    pub fn load(store: &Store, dataset: DatasetId) -> Result<Annotations> {
        let mut annotations = Annotations::default();
        store.annotations(dataset)?.into_iter().for_each(|record| annotations.take(record));
        Ok(annotations)
    }

    fn take(&mut self, record: AnnotationRecord) {
        self.last = record.sequence;
        self.current.entry(record.version).or_default().take(record.remark);
    }
}

impl Dataset {
    /// What is said of a version.
    pub fn annotation(&self, version: VersionNo) -> Annotation {
        self.annotations.read().current.get(&version).cloned().unwrap_or_default()
    }

    /// What was said of a version, oldest first.
    pub fn annotation_history(&self, version: VersionNo) -> Result<Vec<AnnotationRecord>> {
        let mut records = self.all_annotations()?;
        records.retain(|record| record.version == version);
        Ok(records)
    }

    /// What was said of all versions, oldest first.
    pub fn all_annotations(&self) -> Result<Vec<AnnotationRecord>> {
        Ok(self.store.annotations(self.id())?)
    }

    /// Says something of a version, or takes back what was said. What is so already is not recorded again.
    ///
    /// # Errors
    /// [`Error::NoVersion`] where there is no such version, [`Error::NotFound`] where a key that is to be taken
    /// away is not there, [`Error::Annotation`] where it is too long.
    pub fn annotate(&self, by: Caller, version: VersionNo, remark: Remark) -> Result<()> {
        if version == VersionNo::EMPTY || version > self.newest() {
            return Err(Error::NoVersion { dataset: self.name().to_string(), spec: version.to_string() });
        }
        remark.check()?;
        self.store.check_writable()?;
        let author = self.lock().authors.author(by);
        let mut annotations = self.annotations.write();
        let before = annotations.current.get(&version).cloned().unwrap_or_default();
        let removed = remark.values.iter().filter(|(_, value)| value.is_none());
        if let Some((key, _)) = removed.into_iter().find(|(key, _)| !before.values.contains_key(*key)) {
            return Err(Error::NotFound(format!("annotation '{key}' of {version} of {}", self.name())));
        }
        let mut after = before.clone();
        after.take(remark.clone());
        if after == before {
            return Ok(());
        }
        let (dataset, sequence) = (self.id(), annotations.last + 1);
        let record = AnnotationRecord { dataset, sequence, version, time: Timestamp::now(), author, remark };
        self.store.append_annotation(&record)?;
        annotations.take(record);
        drop(annotations);
        self.make_durable()
    }

    /// Counts the changes of tags and annotations: what is said of versions is the same as long as this is.
    pub fn said(&self) -> u64 {
        self.tags.read().last + self.annotations.read().last
    }
}
