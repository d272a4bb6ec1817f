//! The paths that a purge is given: on the command line, and in a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::daemon::Failure;
use crate::daemon::object::path_bytes;

use super::super::values::{DatasetPath, list};

/// All paths as a request is followed by them: with a NUL at the end of each.
pub fn gathered(given: &[DatasetPath], from: Option<(&Path, bool)>) -> Result<Vec<u8>, Failure> {
    let listed = from.map(|(file, nul)| read(file, nul)).transpose()?.unwrap_or_default();
    let bytes = |path: &DatasetPath| match path.0.as_slice() {
        // The dataset itself is refused, not passed over.
        [] => b".".to_vec(),
        path => path_bytes(path),
    };
    let paths = given.iter().chain(&listed).map(bytes);
    Ok(paths.flat_map(|path| path.into_iter().chain([0])).collect())
}

/// The paths that a file has, or standard input where it is `-`: one a line, or with a NUL at the end of each.
fn read(file: &Path, nul: bool) -> Result<Vec<DatasetPath>, Failure> {
    let failed = |e: io::Error| Failure::because(format!("cannot read the paths in {}", file.display()), &e);
    let mut text = Vec::new();
    match file == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut text),
        false => File::open(file).and_then(|mut file| file.read_to_end(&mut text)),
    }
    .map_err(failed)?;
    let paths = list(&text, if nul { 0 } else { b'\n' });
    paths.map_err(|why| Failure::usage(format!("{}: {why}: nothing was purged", file.display())))
}
