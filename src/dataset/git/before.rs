//! Finding how far an import of a history came before.

use std::collections::HashMap;

use super::import::unannotated;
use super::plan::{Plan, Scope};
use super::{COMMIT, PATH};
use crate::dataset::Dataset;
use crate::dataset::error::{Error, Result};
use crate::dataset::frozen::Frozen;
use crate::model::{Name, VersionNo};

/// What of a history a dataset has: the versions by their commit, and the commit of the newest.
#[derive(Debug, Default)]
pub struct Before {
    /// Versions by commit.
    pub versions: HashMap<String, VersionNo>,
    /// The commit that was imported last.
    pub last: Option<String>,
    /// The newest version.
    newest: Option<Frozen>,
}

impl Before {
    /// Looks at a dataset.
    ///
    /// # Errors
    /// Where it has something else than imported commits of that scope.
    pub fn of(dataset: &Dataset, scope: &Scope<'_>) -> Result<Before> {
        let mut before = Before::default();
        if let Some(lost) = dataset.lost().first() {
            return Err(Error::Invalid(format!(
                "cannot import a history into {}: {} is lost: name another dataset",
                dataset.name(),
                lost.first
            )));
        }
        let newest = dataset.newest();
        before.newest = Some(dataset.frozen(newest));
        for version in dataset.versions() {
            let said = dataset.annotation(version);
            let Some(commit) = said.get(COMMIT) else {
                // An import may have ended just before it said so.
                if version == newest {
                    continue;
                }
                return Err(foreign(dataset, version));
            };
            let path = scope.path.map(|path| path.display().to_string());
            if said.get(PATH) != path.as_deref() {
                let of = said.get(PATH).unwrap_or("the whole repository");
                return Err(Error::Invalid(format!(
                    "cannot import into {}: {version} is of {of}: name another dataset, or that --path",
                    dataset.name()
                )));
            }
            before.versions.insert(commit.to_owned(), version);
            before.last = Some(commit.to_owned());
        }
        Ok(before)
    }

    /// Whether the newest version has something at this path.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let names: Option<Vec<Name>> =
            path.split(|byte| *byte == b'/').map(|name| Name::new(name).ok()).collect();
        let found = self.newest.as_ref().zip(names).map(|(tree, names)| tree.walk(&names));
        // Where that cannot be told, it is put there anew.
        found.is_some_and(|found| found.is_ok_and(|found| found.is_some()))
    }

    /// Refuses a newest version that is none of the commit that is next in `plan`.
    ///
    /// # Errors
    /// As [`Before::of`].
    pub fn check(&self, dataset: &Dataset, plan: &Plan) -> Result<()> {
        let newest = dataset.newest();
        if newest == VersionNo::EMPTY || self.versions.values().any(|version| *version == newest) {
            return Ok(());
        }
        let next = plan.commits[plan.done..].iter().find(|planned| !planned.is_empty());
        match next.and_then(|planned| unannotated(dataset, &planned.commit.message)) {
            Some(_) => Ok(()),
            None => Err(foreign(dataset, newest)),
        }
    }
}

fn foreign(dataset: &Dataset, version: VersionNo) -> Error {
    Error::Invalid(format!(
        "cannot import a history into {}: {version} was not imported from it: name another dataset",
        dataset.name()
    ))
}
