//! What is being read for requests, so that it stays until they are done: versions, which no prune may give up
//! meanwhile, and contents of live files, which no collection may take for garbage.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::dataset::{Caller, Dataset};
use crate::model::{Content, DatasetId, Span, VersionNo, VersionSet};

use super::super::failure::Failure;
use super::super::protocol::{Item, Request};
use super::{Service, Sink, purge};

/// What is being read.
#[derive(Debug, Default)]
pub(super) struct Readings {
    versions: Mutex<Held<(DatasetId, Span)>>,
    /// Under a lock of its own: it is asked for while a dataset is locked.
    contents: Mutex<Held<Content>>,
}

/// What is held, each by a number.
#[derive(Debug)]
struct Held<T> {
    last: u64,
    all: BTreeMap<u64, T>,
}

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held { last: 0, all: BTreeMap::new() }
    }
}

impl<T> Held<T> {
    fn add(&mut self, one: T) -> u64 {
        self.last += 1;
        self.all.insert(self.last, one);
        self.last
    }
}

/// Something that is being read, until this and its clones are dropped.
#[derive(Clone, Debug)]
pub(super) struct Reading(#[expect(dead_code, reason = "it is there to be dropped")] Arc<Noted>);

#[derive(Debug)]
struct Noted {
    of: Arc<Readings>,
    what: What,
}

#[derive(Debug)]
enum What {
    Versions(u64),
    Content(u64),
}

impl Drop for Noted {
    fn drop(&mut self) {
        match self.what {
            What::Versions(number) => drop(self.of.versions.lock().all.remove(&number)),
            What::Content(number) => drop(self.of.contents.lock().all.remove(&number)),
        }
    }
}

impl Readings {
    /// Notes that versions are read. Whoever asks then whether they are there learns what holds from then on.
    fn versions(self: &Arc<Readings>, dataset: DatasetId, versions: Span) -> Reading {
        let number = self.versions.lock().add((dataset, versions));
        Reading(Arc::new(Noted { of: self.clone(), what: What::Versions(number) }))
    }

    /// Notes that a content is read; to be called while the file that has it cannot change.
    pub fn content(self: &Arc<Readings>, content: Content) -> Reading {
        let number = self.contents.lock().add(content);
        Reading(Arc::new(Noted { of: self.clone(), what: What::Content(number) }))
    }

    /// The contents that are read, but for those of versions.
    pub fn contents(&self) -> Vec<Content> {
        self.contents.lock().all.values().cloned().collect()
    }

    /// What versions are read; no others are begun to be read before this is dropped.
    pub fn still(&self) -> Still<'_> {
        Still(self.versions.lock())
    }
}

/// See [`Readings::still`].
pub(super) struct Still<'a>(MutexGuard<'a, Held<(DatasetId, Span)>>);

impl Still<'_> {
    /// Those of these versions that are read.
    pub fn among(&self, dataset: DatasetId, versions: &VersionSet) -> Vec<VersionNo> {
        let read = self.0.all.values().filter(|(id, _)| *id == dataset);
        let read: Vec<Span> = read.map(|(_, span)| *span).collect();
        let is_read =
            |version: &VersionNo| read.iter().any(|span| span.first <= *version && *version <= span.last);
        let all = versions.spans().iter().flat_map(|span| (span.first.0..=span.last.0).map(VersionNo));
        all.filter(is_read).collect()
    }
}

impl Service {
    /// Keeps a version from being pruned as long as it is read.
    ///
    /// # Errors
    /// Where it is pruned already.
    pub(super) fn hold(&self, dataset: &Dataset, version: VersionNo) -> Result<Reading, Failure> {
        let reading = self.hold_all(dataset, Span { first: version, last: version });
        dataset.check_kept(version)?;
        Ok(reading)
    }

    /// The same of several, of which none is looked at whether it is there.
    pub(super) fn hold_all(&self, dataset: &Dataset, versions: Span) -> Reading {
        self.readings.versions(dataset.id(), versions)
    }
}

/// The requests of one client, one after the other: a version that a name was found to mean stays until the last.
pub struct Session<'a> {
    service: &'a Service,
    by: Caller,
    held: HashMap<(DatasetId, VersionNo), Reading>,
}

impl<'a> Session<'a> {
    /// One without requests yet.
    pub fn new(service: &'a Service, by: Caller) -> Session<'a> {
        Session { service, by, held: HashMap::new() }
    }

    /// As [`Service::execute`], of a request that the bytes of `input` follow, where it is one.
    ///
    /// # Errors
    /// Also where `input` fails.
    pub fn execute(
        &mut self,
        request: Request,
        input: &mut dyn Read,
        sink: &mut dyn Sink,
    ) -> Result<u8, Failure> {
        match request {
            Request::Unbundle { dataset } => {
                let made = self.service.unbundle_from(&dataset, input, sink)?;
                sink.item(Item::Made(made)).map(|()| 0)
            }
            Request::Purge { dataset, reason, everywhere, dry_run } => {
                let dataset = self.service.writable(&dataset)?;
                let wanted = purge::Wanted { reason, everywhere, dry_run };
                self.service.purge_from(self.by, &dataset, wanted, input, sink).map(|()| 0)
            }
            Request::Resolve(object) => {
                // It is read by its number from now on.
                let (dataset, version, reading) = self.service.resolve_object(object, sink)?;
                self.held.insert((dataset, version), reading);
                Ok(0)
            }
            request => self.service.execute(self.by, request, sink),
        }
    }
}
