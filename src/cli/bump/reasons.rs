//! What changes call for: a major, minor or patch step of a semantic version.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::cli::diff::contents::Contents;
use crate::cli::diff::found::Found;
use crate::cli::diff::within::{failed, format};
use crate::daemon::Failure;
use crate::daemon::protocol::{ChangeInfo, Step, kind_name};
use crate::dataset::ChangeKind;
use crate::model::JsonName;
use crate::table::{self, Bytes};

/// A change, and the step it calls for.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// The step.
    #[serde(serialize_with = "as_name")]
    pub step: Step,
    /// What happened: `added`, `removed`, `renamed`, `replaced`, `modified`, `attributes`, `column added`,
    /// `column removed`, `column retyped`, `first release`.
    pub change: &'static str,
    /// The path; not UTF-8, with replacements.
    pub path: String,
    /// The path in hexadecimal, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// The path before, what it was, or the column.
    pub detail: Option<String>,
}

impl Reason {
    /// That there is no release yet.
    pub fn first() -> Reason {
        let (path, change) = (String::new(), "first release");
        Reason { step: Step::Minor, change, path, path_bytes: None, detail: None }
    }
}

/// The name of a step.
pub fn step_name(step: Step) -> &'static str {
    match step {
        Step::Major => "major",
        Step::Minor => "minor",
        Step::Patch => "patch",
    }
}

fn as_name<S: Serializer>(step: &Step, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(step_name(*step))
}

/// What the changes call for, the greatest step first; of tables by their columns, if `tables`.
pub fn reasons(contents: &Contents, found: &Found, tables: bool) -> Result<Vec<Reason>, Failure> {
    let mut reasons = Vec::new();
    for change in &found.changes {
        let JsonName { text, bytes: path_bytes } = JsonName::of(&change.path);
        let path = text.into_owned();
        let (step, what, detail) = match change.change {
            ChangeKind::Removed => (Step::Major, "removed", None),
            ChangeKind::Renamed => {
                let from =
                    change.from.as_deref().map(|from| format!("was {}", String::from_utf8_lossy(from)));
                (Step::Major, "renamed", from)
            }
            ChangeKind::Added => (Step::Minor, "added", None),
            ChangeKind::Attributes => (Step::Patch, "attributes", None),
            // What was a file of that path is gone, whatever is there now.
            ChangeKind::Modified if change.kind_before.is_some() => {
                let was = change.kind_before.map(|kind| format!("was {}", kind_name(kind)));
                (Step::Major, "replaced", was)
            }
            ChangeKind::Modified => {
                let columns = if tables { columns(contents, found, change)? } else { Vec::new() };
                if !columns.is_empty() {
                    reasons.extend(columns.into_iter().map(|(step, what, column)| Reason {
                        step,
                        change: what,
                        path: path.clone(),
                        path_bytes: path_bytes.clone(),
                        detail: Some(column),
                    }));
                    continue;
                }
                (Step::Patch, "modified", None)
            }
        };
        reasons.push(Reason { step, change: what, path, path_bytes, detail });
    }
    // Of the same step, in the order of paths.
    reasons.sort_by_key(|reason| match reason.step {
        Step::Major => 0,
        Step::Minor => 1,
        Step::Patch => 2,
    });
    Ok(reasons)
}

/// What happened to the columns of a table; nothing where it is none.
fn columns(
    contents: &Contents,
    found: &Found,
    change: &ChangeInfo,
) -> Result<Vec<(Step, &'static str, String)>, Failure> {
    let mut sides: Vec<BTreeMap<String, String>> = Vec::new();
    for at in [0, 1] {
        let Some((side, path)) = found.file(change, at) else { return Ok(Vec::new()) };
        let Some(file) = contents.open(side, path)? else { return Ok(Vec::new()) };
        match columns_of(&side.name(path), &file.bytes)? {
            Some(columns) => sides.push(columns),
            None => return Ok(Vec::new()),
        }
    }
    let (old, new) = (&sides[0], &sides[1]);
    let mut all = Vec::new();
    for (name, kind) in old {
        match new.get(name) {
            None => all.push((Step::Major, "column removed", name.clone())),
            // A column without values has no type yet.
            Some(now) if now != kind && kind != "empty" && now != "empty" => {
                all.push((Step::Major, "column retyped", format!("{name} {kind} -> {now}")));
            }
            Some(_) => {}
        }
    }
    let added = new.keys().filter(|name| !old.contains_key(*name));
    all.extend(added.map(|name| (Step::Minor, "column added", name.clone())));
    Ok(all)
}

/// The columns of a table by name, with their types.
fn columns_of(name: &str, bytes: &Arc<dyn Bytes>) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let Some(format) = format(name, bytes)? else { return Ok(None) };
    let columns = table::columns(bytes, format).map_err(|error| failed(name, &error))?;
    Ok(Some(columns.into_iter().map(|column| (column.name, column.kind)).collect()))
}
