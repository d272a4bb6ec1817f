//! Imports of the history of git repositories.

use std::path::Path;

use crate::dataset::git::{Before, Importer, Plan, Planned, Repository, Scope, plan};
use crate::dataset::import::{Progress, Teller};
use crate::dataset::{Caller, Dataset, Error, Invalid};
use crate::model::{DatasetName, VersionNo};

use super::super::failure::Failure;
use super::super::protocol::{CommitInfo, Item};
use super::{Service, Sink, made};

impl Service {
    /// Makes a version of each commit of a repository that changes the data, or only tells which these are.
    pub(super) fn import_history(
        &self,
        by: Caller,
        name: &DatasetName,
        source: &Path,
        scope: Scope<'_>,
        dry_run: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        self.repo.store().check_writable()?;
        // What is read is part of no tree until all of a commit is.
        let _held = self.repo.store().hold();
        self.apart(source)?;
        let mut dataset = match self.repo.get(name.as_str()) {
            Some(_) => Some(self.writable(name)?),
            None => {
                self.may_make(name)?;
                None
            }
        };
        if let Some(dataset) = &dataset {
            dataset.seal()?;
        }
        let repository = Repository::open(source)?;
        let before = dataset.as_deref().map(|dataset| Before::of(dataset, &scope));
        let before = before.transpose()?.unwrap_or_default();
        let planned = telling(sink, |teller| plan(&repository, &scope, before.last.as_deref(), teller))?;
        if let Some(dataset) = &dataset {
            before.check(dataset, &planned)?;
        }
        if dry_run {
            return self.tell_plan(&planned, sink);
        }
        if dataset.is_none() {
            dataset = Some(self.repo.create(name.clone(), 0o755, by.uid, by.gid)?);
            if let Some(host) = &self.host {
                host.dataset_made(name);
            }
        }
        let Some(dataset) = dataset else { return Ok(()) };
        let last = self.make_versions(by, &dataset, (&repository, scope), (&before, &planned), sink)?;
        sink.item(Item::Made(made(&dataset, last.map(|version| version.to_string()))))
    }

    /// Makes the versions; gives the last that was made.
    fn make_versions(
        &self,
        by: Caller,
        dataset: &Dataset,
        (repository, scope): (&Repository, Scope<'_>),
        (before, planned): (&Before, &Plan),
        sink: &mut dyn Sink,
    ) -> Result<Option<VersionNo>, Failure> {
        let mut importer = Importer::new(by, self.repo.objects(), repository, planned, scope)?;
        let (mut last, mut at) = (None, VersionNo::EMPTY);
        for commit in &planned.commits {
            let forget = |invalid: &Invalid| self.invalidate(dataset.id(), invalid);
            let mut imported = telling(sink, |teller| importer.import(dataset, commit, forget, teller))?;
            let known = before.versions.get(&commit.commit.id).copied();
            at = imported.version.or(known).unwrap_or(at);
            importer.tag(dataset, commit, at, &mut imported)?;
            last = imported.version.or(last);
            let info = CommitInfo {
                version: imported.version.map(|version| version.to_string()),
                tags: imported.tags.iter().map(ToString::to_string).collect(),
                notices: imported.notices,
                ..info(commit)
            };
            if info.version.is_some() || !info.tags.is_empty() || !info.notices.is_empty() {
                sink.item(Item::Commit(info))?;
            }
        }
        self.repo.store().sync()?;
        Ok(last)
    }

    fn tell_plan(&self, plan: &Plan, sink: &mut dyn Sink) -> Result<(), Failure> {
        let todo = plan.commits[plan.done..].iter().map(info);
        let mut todo = todo.filter(|info| info.changed + info.removed > 0);
        todo.try_for_each(|info| sink.item(Item::Commit(info)))
    }
}

fn info(planned: &Planned) -> CommitInfo {
    let (changed, removed) = planned.count();
    CommitInfo {
        commit: planned.commit.id.clone(),
        author: planned.commit.author.clone(),
        date: planned.commit.date.clone(),
        message: planned.commit.message.clone(),
        version: None,
        changed,
        removed,
        bytes: planned.bytes(),
        tags: planned.tags.clone(),
        notices: planned.notices.clone(),
    }
}

/// Does something while whoever waits is told how far it is.
pub(super) fn telling<T>(
    sink: &mut dyn Sink,
    make: impl FnOnce(&mut Teller<'_>) -> crate::dataset::Result<T>,
) -> Result<T, Failure> {
    let mut gone = None;
    let mut tell = |progress: Progress| {
        let Progress { files, files_total, bytes, bytes_total, counted } = progress;
        let item = Item::Importing { files, files_total, bytes, bytes_total, counted };
        sink.item(item).map_err(|failure| {
            gone = Some(failure);
            Error::Invalid("nobody waits for it any more".into())
        })
    };
    let done = make(&mut Teller::new(&mut tell));
    done.map_err(|error| gone.take().unwrap_or_else(|| error.into()))
}
