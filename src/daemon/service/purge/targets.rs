//! What a purge is asked of: paths, or ids of contents, and what these ever held.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use crate::dataset::retention::{Ever, Found, Target};
use crate::dataset::{Dataset, Error};
use crate::model::at::HASH_DIGITS_MIN;
use crate::model::{Name, show_path};
use crate::store::content_id;

use super::super::super::failure::Failure;
use super::super::super::object::parse_path;

/// Most bytes of the paths of a purge: they are kept in a note until it is finished, and in its record.
const PATHS_MAX: u64 = 4 << 20;
/// As many paths are named in an error.
const NAMED: usize = 1000;

/// Reads paths, each with a NUL at its end.
pub(super) fn read_paths(input: &mut dyn Read) -> Result<BTreeSet<Vec<Name>>, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(PATHS_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::because("cannot read the paths to purge", &e))?;
    if bytes.len() as u64 > PATHS_MAX {
        let max = PATHS_MAX >> 20;
        return Err(Failure::usage(format!("the paths to purge are over {max} MiB: nothing was purged"))
            .hint("name their directories, or purge them in parts"));
    }
    let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    let paths: BTreeSet<Vec<Name>> = paths
        .map(|path| parse_path(OsStr::from_bytes(path)).map_err(Failure::usage))
        .collect::<Result<_, _>>()?;
    if paths.is_empty() {
        return Err(Failure::usage("no path to purge was given"));
    }
    if paths.contains(&Vec::new()) {
        return Err(Failure::usage("a dataset is not purged as a whole: nothing was purged")
            .hint("name what is in it, each directory or file by its path"));
    }
    Ok(paths)
}

/// What these paths ever held; or those that nothing ever had, and that are the id of a content or how it
/// begins, that content.
pub(super) fn find(dataset: &Dataset, paths: &BTreeSet<Vec<Name>>) -> Result<Vec<Target>, Failure> {
    let ever = Ever::new(dataset);
    let (mut targets, mut ids, mut unknown, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        match ever.at(path)? {
            Some(held) if held.files > 0 => targets.push(Target { path: path.clone(), held }),
            Some(_) => bare.push(path),
            None => match as_id(path) {
                Some(id) => ids.push((path, id)),
                None => unknown.push(path),
            },
        }
    }
    let prefixes: Vec<String> = ids.iter().map(|(_, id)| id.clone()).collect();
    let contents = if prefixes.is_empty() { Vec::new() } else { dataset.contents_of_ids(&prefixes)? };
    for ((path, _), content) in ids.iter().zip(contents) {
        let Some(content) = content else {
            unknown.push(path);
            continue;
        };
        let id = content_id(&content).to_hex();
        let path = vec![Name::new(id.as_bytes()).map_err(Error::from)?];
        targets.push(Target { path, held: Found { contents: vec![content], files: 0 } });
    }
    let name = dataset.name();
    if !unknown.is_empty() {
        let what = match ids.is_empty() {
            true => format!("no version of {name} ever had a file or directory of the path"),
            false => format!(
                "no version of {name} ever had a file or directory of the path, nor one whose content has this id:"
            ),
        };
        let failure = Failure::new(format!("nothing was purged: {what} {}", shown(&unknown)));
        return Err(match ids.is_empty() {
            true => {
                failure.hint("paths are those in the dataset, as `strata show` and `strata ls` print them")
            }
            false => failure.hint("`strata hash FILE` prints the id of a content"),
        });
    }
    if !bare.is_empty() {
        return Err(Failure::new(format!(
            "nothing was purged: no version of {name} ever had a file with bytes at or below {}",
            shown(&bare)
        ))
        .hint("there are no bytes of directories, links and special files"));
    }
    targets.sort_by(|a, b| a.path.cmp(&b.path));
    targets.dedup_by(|a, b| a.path == b.path);
    Ok(targets)
}

/// The id of a content, or how it begins, where a path is one.
fn as_id(path: &[Name]) -> Option<String> {
    let [name] = path else { return None };
    let id = str::from_utf8(name.as_bytes()).ok()?.to_ascii_lowercase();
    let is_id = (HASH_DIGITS_MIN..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some(id)
}

fn shown(paths: &[&Vec<Name>]) -> String {
    let some: Vec<String> = paths.iter().take(NAMED).map(|path| show_path(path)).collect();
    match paths.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", some.join(", ")),
        _ => some.join(", "),
    }
}
