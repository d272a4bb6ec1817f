//! The state of a store and its datasets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::dataset::{self, Dataset};
use crate::model::{Timestamp, VersionNo};
use crate::store::FORMAT;

use super::super::failure::Failure;
use super::super::policy;
use super::super::protocol::{DatasetInfo, Status};
use super::retention::check_pins_known;
use super::{Host, Service};

/// As long may counting logical bytes take where they are not wanted at any price.
const COUNT_FOR: Duration = Duration::from_secs(2);

impl Service {
    /// What can be told of the store; what cannot is among its problems.
    pub(super) fn status(&self, count_all: bool) -> Status {
        let store = self.repo.store();
        let deadline = (!count_all).then(|| Instant::now() + COUNT_FOR);
        let mut problems = Problems::default();
        let mut datasets = Vec::new();
        for dataset in self.repo.datasets() {
            let what = format!("dataset {}", dataset.name());
            problems.keep(&what, dataset.seal_to_look().map_err(Failure::from));
            problems.keep(&what, check_pins_known(&dataset, false));
            let newest = dataset.newest();
            let time = problems.keep(&what, newest_time(&dataset, newest).map_err(Failure::from)).flatten();
            let bytes = dataset.size_of(newest, deadline).map_err(Failure::from);
            let logical_bytes = problems.keep(&what, bytes).flatten();
            let mut info = DatasetInfo { logical_bytes, ..info(&dataset, newest, time) };
            // Once the newest version is counted, so is soon what was changed since.
            if logical_bytes.is_some() && info.quota_bytes.is_some() {
                info.used_bytes = problems.keep(&what, dataset.used().map_err(Failure::from));
            }
            datasets.push(info);
        }
        let unfinished = problems.keep("purges", store.unfinished_purges().map_err(Failure::from));
        for purge in unfinished.unwrap_or_default() {
            let why = "its bytes may still be on the disk, and the next `strata gc` goes on with it";
            problems.0.push(format!("the purge of {} is not finished: {why}", purge.shown()));
        }
        let host = self.host.as_deref();
        Status {
            store: store.path().display().to_string(),
            id: store.id().to_string(),
            format: FORMAT,
            pid: host.map(|_| std::process::id()),
            mountpoint: host
                .filter(|host| !host.is_detached())
                .map(|host| host.mountpoint().display().to_string()),
            shows: host.and_then(Host::shows),
            read_only: store.is_read_only() || host.is_some_and(|host| host.is_read_only()),
            read_only_because: store.read_only().map(str::to_owned),
            logical_bytes: datasets
                .iter()
                .try_fold(0_u64, |sum, d| Some(sum.saturating_add(d.logical_bytes?))),
            datasets,
            archived: self.repo.archived().into_iter().map(|record| record.name.to_string()).collect(),
            unique_bytes: problems
                .keep("packs", store.totals().map_err(Failure::from))
                .map(|t| t.chunk_bytes),
            disk_bytes: disk_bytes(store.path()),
            copy_bytes: host.map_or(0, Host::copy_bytes),
            problems: problems.0,
        }
    }

    pub(super) fn dataset_info(&self, dataset: &Dataset) -> Result<DatasetInfo, Failure> {
        dataset.seal_to_look()?;
        let newest = dataset.newest();
        Ok(info(dataset, newest, newest_time(dataset, newest)?))
    }
}

/// What failed, and where.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// Takes up a failure, each once.
    fn keep<T>(&mut self, what: &str, result: Result<T, Failure>) -> Option<T> {
        let problem = match result {
            Ok(value) => return Some(value),
            Err(failure) => format!("{what}: {}", failure.message),
        };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
        None
    }
}

fn newest_time(dataset: &Dataset, newest: VersionNo) -> dataset::Result<Option<Timestamp>> {
    (newest > VersionNo::EMPTY).then(|| dataset.version_time(newest)).transpose()
}

fn info(dataset: &Dataset, newest: VersionNo, time: Option<Timestamp>) -> DatasetInfo {
    DatasetInfo {
        name: dataset.name().to_string(),
        policy: policy::show(dataset.policy()),
        versions: newest.0,
        newest: time.map(|time| time.to_string()),
        logical_bytes: None,
        quota_bytes: dataset.quota(),
        used_bytes: None,
        retention: dataset.retention_rules().map(|rules| rules.to_string()),
    }
}

/// Bytes on disk of all files below `dir`, as far as they can be seen.
fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
