//! Imports of the history of git repositories.

use std::path::Path;

use crate::dataset::git::{Before, Imported, Importer, Plan, Planned, Repository, Scope, plan};
use crate::dataset::import::{Progress, Teller};
use crate::dataset::{Caller, Dataset, Error, Invalid};
use crate::model::{DatasetName, VersionNo};

use super::super::failure::Failure;
use super::super::protocol::{CommitInfo, Item, Made};
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
        let mut dataset = self.existing(name)?;
        if let Some(dataset) = &dataset {
            dataset.seal()?;
        }
        let newest = dataset.as_deref().map_or(VersionNo::EMPTY, Dataset::newest);
        let repository = Repository::open(source)?;
        let before = dataset.as_deref().map(|dataset| Before::of(dataset, &scope));
        let before = before.transpose()?.unwrap_or_default();
        let planned = telling(sink, |teller| plan(&repository, &scope, &before, teller))?;
        if let Some(dataset) = &dataset {
            before.check(dataset, &planned)?;
        }
        if dry_run {
            return self.tell_plan(&planned, sink);
        }
        let (mut newest, mut at, mut made_one) = (newest, VersionNo::EMPTY, None);
        let mut importer = Importer::new(by, self.repo.objects(), &repository, &planned, scope)?;
        for commit in &planned.commits {
            let mut imported = Imported { notices: commit.notices.clone(), ..Imported::default() };
            if !commit.is_empty() {
                let contents = telling(sink, |teller| importer.contents(commit, teller))?;
                // Not made before there is something to put into it.
                let dataset = match &mut dataset {
                    Some(dataset) => dataset,
                    none => none.insert(self.make(name, (0o755, by.uid, by.gid))?),
                };
                let forget = |invalid: &Invalid| self.invalidate(dataset.id(), invalid);
                imported.version = importer.version(dataset, commit, contents, newest, forget)?;
                made_one = imported.version.or(made_one);
                newest = imported.version.unwrap_or(newest);
            }
            at = imported.version.or(before.versions.get(&commit.commit.id).copied()).unwrap_or(at);
            if let Some(dataset) = &dataset {
                importer.tag(dataset, commit, at, &mut imported)?;
            }
            tell(commit, imported, sink)?;
        }
        let Some(dataset) = dataset else { return Ok(()) };
        self.repo.store().sync()?;
        let made = made(&dataset, made_one.map(|version| version.to_string()));
        sink.item(Item::Made(Made { objects_missing: planned.skipped, ..made }))
    }

    fn tell_plan(&self, plan: &Plan, sink: &mut dyn Sink) -> Result<(), Failure> {
        let todo = plan.commits[plan.done..].iter().map(info);
        let mut todo = todo.filter(|info| info.changed + info.removed > 0);
        todo.try_for_each(|info| sink.item(Item::Commit(info)))
    }
}

/// Tells what became of a commit, if anything did.
fn tell(commit: &Planned, imported: Imported, sink: &mut dyn Sink) -> Result<(), Failure> {
    let Imported { version, tags, notices } = imported;
    if version.is_none() && tags.is_empty() && notices.is_empty() {
        return Ok(());
    }
    let version = version.map(|version| version.to_string());
    let tags = tags.iter().map(ToString::to_string).collect();
    sink.item(Item::Commit(CommitInfo { version, tags, notices, ..info(commit) }))
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
