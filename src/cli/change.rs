//! How commands print a path that changed.

use serde::Serialize;

use crate::daemon::Failure;
use crate::daemon::protocol::{ChangeInfo, kind_name};
use crate::dataset::{ChangeJson, ChangeKind};
use crate::table::TableDiff;

use super::out::{Out, Paint};

#[derive(Serialize)]
struct WithJson<'a> {
    #[serde(flatten)]
    change: ChangeJson<'a>,
    #[serde(flatten)]
    within: &'a Within,
}

/// What differs within a file.
#[derive(Debug, Default, Serialize)]
pub struct Within {
    /// How the tables differ that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableDiff>,
    /// The lines that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Why there is no patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_patch: Option<&'static str>,
    /// Why its table cannot be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Prints a change as an element of an array, which is the first or not.
pub fn json(out: &mut Out, change: &ChangeInfo, first: bool) -> Result<(), Failure> {
    json_with(out, change, &Within::default(), first)
}

/// The same with what differs within.
pub fn json_with(out: &mut Out, change: &ChangeInfo, within: &Within, first: bool) -> Result<(), Failure> {
    let value = ChangeJson::new(
        (&change.path, change.from.as_deref()),
        (change.kind, change.change),
        (change.size_before, change.size_after),
        (change.mode_before, change.mode_after),
    )
    .with(change.kind_before, change.attributes.iter().map(String::as_str));
    let value = WithJson { change: value, within };
    let text = serde_json::to_string(&value).map_err(|e| Failure::because("cannot write JSON", &e))?;
    out.text(format_args!("{}{text}", if first { "" } else { "," }))
}

/// What happened to a path, as a letter.
pub fn letter(change: ChangeKind) -> char {
    match change {
        ChangeKind::Added => 'A',
        ChangeKind::Removed => 'D',
        ChangeKind::Modified => 'M',
        ChangeKind::Renamed => 'R',
        ChangeKind::Attributes => 'a',
    }
}

/// The colour of that letter.
pub fn paint(change: ChangeKind) -> Paint {
    match change {
        ChangeKind::Added => Paint::Added,
        ChangeKind::Removed => Paint::Removed,
        ChangeKind::Modified | ChangeKind::Attributes => Paint::Changed,
        ChangeKind::Renamed => Paint::Renamed,
    }
}

/// Prints a change as a line.
pub fn print(out: &mut Out, change: &ChangeInfo) -> Result<(), Failure> {
    out.paint(paint(change.change), format_args!("{}", letter(change.change)))?;
    out.text(format_args!(" {:8} ", kind_name(change.kind)))?;
    if let Some(from) = &change.from {
        out.name(from)?;
        out.text(format_args!(" -> "))?;
    }
    out.name(&change.path)?;
    match (change.size_before, change.size_after) {
        (Some(before), Some(after)) if before != after => {
            out.text(format_args!("  {before} -> {after} bytes"))?;
        }
        (None, Some(size)) | (Some(size), None) if size > 0 => out.text(format_args!("  {size} bytes"))?,
        _ => {}
    }
    match (change.mode_before, change.mode_after) {
        (Some(before), Some(after)) if before != after => {
            out.text(format_args!("  mode {before:03o} -> {after:03o}"))?;
        }
        _ => {}
    }
    if !change.attributes.is_empty() {
        out.text(format_args!("  {}", change.attributes.join(", ")))?;
    }
    if let Some(before) = change.kind_before {
        out.text(format_args!("  was {}", kind_name(before)))?;
    }
    out.text(format_args!("\n"))
}
