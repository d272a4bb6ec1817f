//! Lines in which small text files differ, as `diff -u` tells them.

use std::sync::Arc;
use std::time::Duration;

use similar::{Algorithm, TextDiff};

use crate::table::Bytes;

/// Largest file whose lines are compared, in bytes.
pub const SIZE_MAX: u64 = 1 << 20;
/// How long the shortest difference is looked for; what is found by then is right, only perhaps longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines around a difference.
const CONTEXT: usize = 3;

/// A patch, or why there is none.
pub enum Patch {
    /// As `diff -u` writes it, empty where the text is the same.
    Text(String),
    /// One of the files is no text.
    Binary,
    /// One of the files is larger than [`SIZE_MAX`].
    TooLarge,
}

/// Compares two files, of which one may not be there; gives what their names are in a patch too.
pub fn patch(files: [(Option<Arc<dyn Bytes>>, &str); 2]) -> std::io::Result<Patch> {
    let mut texts = [String::new(), String::new()];
    for (text, (bytes, _)) in texts.iter_mut().zip(&files) {
        let Some(bytes) = bytes else { continue };
        if bytes.size() > SIZE_MAX {
            return Ok(Patch::TooLarge);
        }
        let mut read = Vec::new();
        let mut block = vec![0; SIZE_MAX as usize + 1];
        loop {
            match bytes.read_at(read.len() as u64, &mut block)? {
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
        Some(_) => format!("{prefix}/{}", quoted(files[side].1)),
        None => "/dev/null".to_owned(),
    };
    let [old, new] = &texts;
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_lines(old, new);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT).header(&name(0, "a"), &name(1, "b"));
    Ok(Patch::Text(unified.to_string()))
}

/// A name that takes one line. One with spaces ends with a tab, as `patch` wants it.
fn quoted(name: &str) -> String {
    let line: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if line.contains(' ') { line + "\t" } else { line }
}
