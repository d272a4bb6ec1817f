//! Finding what there is to import of a history, before any of it is.

use std::collections::HashSet;
use std::path::Path;

use super::before::Before;
use super::command::{Commit, Repository};
use super::delta::{Deltas, Missing};
use super::objects::Places;
use super::{Change, Leaf};
use crate::dataset::error::Result;
use crate::dataset::import::{Progress, Teller};

/// Which history is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The branch, or whatever git takes for a commit.
    pub branch: &'a str,
    /// The directory, file or `.dvc` file in the repository; all of it where there is none.
    pub path: Option<&'a Path>,
    /// Whether pointers of git-lfs and DVC whose objects are missing stay as they are.
    pub skip_missing: bool,
}

/// A history that is to be imported.
#[derive(Debug)]
pub struct Plan {
    /// The commits, oldest first.
    pub commits: Vec<Planned>,
    /// How many of them were imported before.
    pub done: usize,
    /// What there is to do.
    pub total: Progress,
    /// Number of objects that are missing, and whose pointers stay as they are.
    pub skipped: u64,
    pub(super) places: Places,
}

/// A commit that is to be imported.
#[derive(Debug)]
pub struct Planned {
    /// The commit.
    pub commit: Commit,
    /// Names of git's tags of it.
    pub tags: Vec<String>,
    /// What was left out of it, and why.
    pub notices: Vec<String>,
    pub(super) changes: Vec<Change>,
}

impl Planned {
    /// Whether it changes nothing of what is imported.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Number of files that come or change, and of those that go away.
    pub fn count(&self) -> (u64, u64) {
        let put = self.changes.iter().filter(|change| change.leaf.is_some()).count() as u64;
        (put, self.changes.len() as u64 - put)
    }

    /// Bytes of the files that come or change.
    pub fn bytes(&self) -> u64 {
        self.changes.iter().map(|change| change.size).sum()
    }
}

/// Plans the import of what of a history follows what was imported `before`.
///
/// # Errors
/// Where git cannot read it, what was imported last is not in it, nothing was ever at the path, or bytes are
/// not at hand.
pub fn plan(
    repository: &Repository,
    scope: &Scope<'_>,
    before: &Before,
    teller: &mut Teller<'_>,
) -> Result<Plan> {
    let commits = repository.commits(scope.branch)?;
    let done = match before.last.as_deref() {
        None => 0,
        Some(last) => {
            let at = commits.iter().position(|commit| commit.id == last);
            1 + at.ok_or_else(|| {
                let why = format!("commit {last}, which was imported last, is not in '{}'", scope.branch);
                repository.failed(&format!("{why}: import that history into another dataset"))
            })?
        }
    };
    let mut tags = repository.tags()?;
    let places = Places::of(repository);
    let mut deltas = Deltas {
        repository,
        places: &places,
        path: scope.path,
        sizes: repository.cat("--batch-check")?,
        small: repository.cat("--batch")?,
        there: before,
        skip_missing: scope.skip_missing,
        met: HashSet::new(),
        missing: Missing::default(),
        skipped: Missing::default(),
        notices: Vec::new(),
    };
    let (mut parent, mut total): (Option<String>, _) = (None, Progress::default());
    let mut planned = Vec::with_capacity(commits.len());
    for (at, commit) in commits.into_iter().enumerate() {
        let changes = if at < done { Vec::new() } else { deltas.between(parent.as_deref(), &commit.id)? };
        parent = Some(commit.id.clone());
        let tags = tags.remove(&commit.id).unwrap_or_default();
        let commit = Planned { commit, tags, notices: std::mem::take(&mut deltas.notices), changes };
        total.files_total += commit.count().0;
        total.bytes_total += commit.bytes();
        planned.push(commit);
        teller.tell(|| total)?;
    }
    if let Some(first) = &deltas.missing.first {
        let count = deltas.missing.all.len();
        let why = format!("objects that are not on this machine: {count}, the first is {first}");
        let fetch = "`git lfs fetch --all` or `dvc fetch --all-commits` fetches them; with --skip-missing, their \
                     pointers stay in their place";
        return Err(repository.failed(&format!("{why} ({fetch})")));
    }
    if done == 0 && planned.iter().all(Planned::is_empty) {
        let why = match scope.path {
            Some(path) => format!(
                "nothing was ever at {} in '{}' (what DVC keeps is named by its .dvc file)",
                path.display(),
                scope.branch
            ),
            None => format!("no commit of '{}' has a file", scope.branch),
        };
        return Err(repository.failed(&why));
    }
    total.counted = true;
    let skipped = deltas.skipped.all.len() as u64;
    Ok(Plan { commits: planned, done, total, skipped, places })
}

impl Plan {
    /// Whether a leaf is an object that lies in a file.
    pub(super) fn file_of(&self, leaf: &Leaf) -> Option<std::path::PathBuf> {
        self.places.find(leaf).map(|(path, _)| path)
    }
}
