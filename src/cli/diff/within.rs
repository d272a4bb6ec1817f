//! What differs within a file: rows and columns of a table, lines of a text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::change::Within;
use crate::cli::out::Out;
use crate::daemon::Failure;
use crate::daemon::protocol::ChangeInfo;
use crate::store::error::chain;
use crate::table::{self, Bytes, Format, Side as Which};

use super::contents::Contents;
use super::found::Found;
use super::{table_text, text};

/// What is to be told of files.
pub struct How {
    /// How tables differ.
    pub tables: bool,
    /// Which lines of texts differ.
    pub patch: bool,
    /// How tables are compared.
    pub options: table::Options,
}

/// Where scratch files go: they may be large, and /tmp may be memory.
pub fn scratch_dir() -> PathBuf {
    let given = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    given.unwrap_or_else(|| {
        let var = Path::new("/var/tmp");
        if var.is_dir() { var.to_owned() } else { std::env::temp_dir() }
    })
}

/// The files of a change, before and after.
struct Files<'a> {
    names: [String; 2],
    paths: [&'a [u8]; 2],
    bytes: [Option<Arc<dyn Bytes>>; 2],
}

/// What differs within the file of a change.
pub fn within(contents: &Contents, found: &Found, change: &ChangeInfo, how: &How) -> Result<Within, Failure> {
    if !how.tables && !how.patch {
        return Ok(Within::default());
    }
    let mut files = Files { names: Default::default(), paths: [b"", b""], bytes: [None, None] };
    let mut ids = [None, None];
    for at in [0, 1] {
        if let Some((side, path)) = found.file(change, at) {
            (files.names[at], files.paths[at]) = (side.name(path), path);
            let opened = contents.open(side, path)?;
            (files.bytes[at], ids[at]) = opened.map_or((None, None), |file| (Some(file.bytes), file.id));
        }
    }
    if ids[0].is_some() && ids[0] == ids[1] {
        return Ok(Within::default());
    }
    if how.tables
        && let Some(tables) = tables(&files)?
    {
        return Ok(Within { table: Some(compare(&files, &tables, &how.options)?), ..Within::default() });
    }
    if !how.patch || files.bytes.iter().all(Option::is_none) {
        return Ok(Within::default());
    }
    let name = |at: usize| match files.paths[at] {
        // A single file, told from where it is.
        b"" => found.base_name(at),
        path => path,
    };
    let [before, after] = &files.bytes;
    let patch = text::patch([(before.clone(), name(0)), (after.clone(), name(1))]);
    let failed = |(side, e): (usize, _)| Failure::because(format!("cannot read {}", files.names[side]), &e);
    Ok(match patch.map_err(failed)? {
        text::Patch::Text(patch) => Within { patch: Some(patch), ..Within::default() },
        text::Patch::Binary => Within { no_patch: Some("no text"), ..Within::default() },
        text::Patch::TooLarge => Within { no_patch: Some("larger than 1 MiB"), ..Within::default() },
    })
}

/// Two tables.
type Tables<'a> = [(&'a Arc<dyn Bytes>, Format); 2];

/// The files as tables, if both are some.
fn tables<'a>(files: &'a Files<'_>) -> Result<Option<Tables<'a>>, Failure> {
    let [Some(before), Some(after)] = &files.bytes else { return Ok(None) };
    let format = |at: usize, bytes: &Arc<dyn Bytes>| format(&files.names[at], bytes);
    let (Some(old), Some(new)) = (format(0, before)?, format(1, after)?) else { return Ok(None) };
    Ok(Some([(before, old), (after, new)]))
}

/// What kind of table a file is, if any.
pub fn format(name: &str, bytes: &Arc<dyn Bytes>) -> Result<Option<Format>, Failure> {
    if let Some(format) = Format::of_name(name.as_bytes()) {
        return Ok(Some(format));
    }
    let mut start = [0; 4];
    let read = bytes.read_at(0, &mut start);
    let read = read.map_err(|e| Failure::because(format!("cannot read {name}"), &e))?;
    Ok(Format::of_content(&start[..read]))
}

fn compare(
    files: &Files<'_>,
    tables: &Tables<'_>,
    options: &table::Options,
) -> Result<table::TableDiff, Failure> {
    let [old, new] = *tables;
    table::diff(old, new, options).map_err(|error| {
        let (which, error) = match error {
            table::Error::Of { side, error } => (usize::from(side == Which::After), *error),
            error => (1, error),
        };
        failed(&files.names[which], &error)
    })
}

/// Why a table cannot be compared, and what to do.
pub fn failed(name: &str, error: &table::Error) -> Failure {
    let text = chain(error);
    match error {
        table::Error::NoScratch(_) | table::Error::Scratch { .. } => {
            Failure::new(format!("cannot compare {name} as a table: {text}"))
                .hint("TMPDIR says where scratch files go")
        }
        table::Error::Read(error) => Failure::because(format!("cannot read {name}"), error),
        table::Error::DuplicateKey { .. } => Failure::new(format!("{name}: {text}"))
            .hint("name more columns by --key, or compare whole rows without"),
        table::Error::NoColumn(_) => {
            Failure::new(format!("{name} {text}")).hint("name columns of the table by --key")
        }
        _ => Failure::new(format!("cannot read {name} as a table: {text}"))
            .hint("--bytes tells without looking into it that it differs"),
    }
}

/// Prints it below the line of its file.
pub fn print(out: &mut Out, within: &Within) -> Result<(), Failure> {
    if let Some(table) = &within.table {
        table_text::print(out, table)?;
    }
    if let Some(patch) = &within.patch {
        out.text(format_args!("{patch}"))?;
    }
    if let Some(why) = within.no_patch {
        out.text(format_args!("  {why}: no lines to show\n"))?;
    }
    Ok(())
}
