//! How commands print a path that changed.

use crate::daemon::Failure;
use crate::daemon::protocol::{ChangeInfo, kind_name};
use crate::dataset::{ChangeJson, ChangeKind};

use super::out::Out;

/// Prints a change as an element of an array, which is the first or not.
pub fn json(out: &mut Out, change: &ChangeInfo, first: bool) -> Result<(), Failure> {
    let value = ChangeJson::new(
        (&change.path, change.from.as_deref()),
        (change.kind, change.change),
        (change.size_before, change.size_after),
        (change.mode_before, change.mode_after),
    );
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

/// Prints a change as a line.
pub fn print(out: &mut Out, change: &ChangeInfo) -> Result<(), Failure> {
    out.text(format_args!("{} {:8} ", letter(change.change), kind_name(change.kind)))?;
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
    out.text(format_args!("\n"))
}
