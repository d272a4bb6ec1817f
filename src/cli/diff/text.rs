//! Lines in which small text files differ, as `diff -u` tells them.

use std::sync::Arc;
use std::time::Duration;

use similar::{Algorithm, Change, ChangeTag, TextDiff};

use crate::model::quote::quote;
use crate::table::Bytes;

/// Largest file whose lines are compared, in bytes.
pub const SIZE_MAX: u64 = 1 << 20;
/// How long the shortest difference is looked for; what is found by then is right, only perhaps longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines around a difference.
const CONTEXT: usize = 3;

/// What is there of a file, if it is, and its name in a patch.
type File<'a> = (Option<Arc<dyn Bytes>>, &'a [u8]);

/// A patch, or why there is none.
pub enum Patch {
    /// As `diff -u` writes it, empty where the text is the same.
    Text(String),
    /// One of the files is no text.
    Binary,
    /// One of the files is larger than [`SIZE_MAX`].
    TooLarge,
}

/// Compares two files, of which one may not be there.
///
/// # Errors
/// Where a file cannot be read: which of the two, and why.
pub fn patch(files: [File<'_>; 2]) -> Result<Patch, (usize, std::io::Error)> {
    let mut texts = [String::new(), String::new()];
    for (side, (text, (bytes, _))) in texts.iter_mut().zip(&files).enumerate() {
        let Some(bytes) = bytes else { continue };
        if bytes.size() > SIZE_MAX {
            return Ok(Patch::TooLarge);
        }
        let mut read = Vec::new();
        let mut block = vec![0; SIZE_MAX as usize + 1];
        loop {
            match bytes.read_at(read.len() as u64, &mut block).map_err(|error| (side, error))? {
                0 => break,
                count => read.extend_from_slice(&block[..count]),
            }
            // It may grow while it is read.
            if read.len() as u64 > SIZE_MAX {
                return Ok(Patch::TooLarge);
            }
        }
        match String::from_utf8(read) {
            Ok(read) if !read.contains('\0') => *text = read,
            _ => return Ok(Patch::Binary),
        }
    }
    let name = |side: usize, prefix: &str| match files[side].0 {
        Some(_) => quoted(prefix, files[side].1),
        None => "/dev/null".to_owned(),
    };
    Ok(Patch::Text(unified(&texts, [name(0, "a"), name(1, "b")])))
}

/// The difference of two texts as `diff -u` writes it. Lines end at LF alone: a CR is a byte of its line, which
/// is why the lines are neither cut nor written by the library. Nor are the heads of hunks: where the library moved
/// an insertion, it may take it for one at another line of the old text.
fn unified([old, new]: &[String; 2], names: [String; 2]) -> String {
    let lines = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<&str>>());
    let diff =
        TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_slices(&lines[0], &lines[1]);
    let mut patch = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        if patch.is_empty() {
            patch = format!("--- {}\n+++ {}\n", names[0], names[1]);
        }
        let changes: Vec<Change<&str>> = hunk.iter_changes().collect();
        let old = span(changes.iter().filter_map(Change::old_index));
        let new = span(changes.iter().filter_map(Change::new_index));
        patch += &format!("@@ -{old} +{new} @@\n");
        for change in changes {
            patch.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            patch += change.value();
            if !change.value().ends_with('\n') {
                patch += "\n\\ No newline at end of file\n";
            }
        }
    }
    patch
}

/// The lines of a hunk in one of the texts, as its head tells them: the first, and how many where not one.
fn span(mut lines: impl Iterator<Item = usize>) -> String {
    match (lines.next(), lines.count()) {
        (None, _) => "0,0".to_owned(),
        (Some(first), 0) => format!("{}", first + 1),
        (Some(first), more) => format!("{},{}", first + 1, more + 1),
    }
}

/// A name as it is in the head of a patch. One that is not plain text is quoted as git does it, with escapes of C,
/// which `patch` reads too; a plain one with spaces ends with a tab, as `patch` wants it. A space at the very end
/// it would take for none of the name.
fn quoted(prefix: &str, name: &[u8]) -> String {
    let is_odd = |c: char| c.is_control() || c == '"' || c == '\\';
    let is_plain = |name: &&str| !name.contains(is_odd) && !name.ends_with(' ');
    if let Some(name) = std::str::from_utf8(name).ok().filter(is_plain) {
        return format!("{prefix}/{name}{}", if name.contains(' ') { "\t" } else { "" });
    }
    quote(&[prefix.as_bytes(), b"/", name].concat())
}
