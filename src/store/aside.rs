//! Packs as they were before a repair, which `strata fsck` puts aside: what is purged must not stay in them.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use super::error::{Error, Result};
use super::layout::sync_dir;
use super::pack::{self, Pack, PackFile, Scanner, Span, Step};
use super::plain;

/// What was done about packs put aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Those that had any of the objects, and were removed.
    pub removed: Vec<PathBuf>,
    /// Those that may have some, since not all of them can be read.
    pub unknown: Vec<PathBuf>,
}

/// Whether a pack has any of some objects.
enum Has {
    Yes,
    No,
    Perhaps,
}

impl Store {
    /// Removes the packs put aside that have any of these objects.
    pub fn purge_aside(&self, objects: &HashSet<[u8; 32]>) -> Result<Aside> {
        let (dir, mut aside) = (self.layout.damaged(), Aside::default());
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(aside),
            entries => entries.map_err(|e| Error::io("list", &dir, e))?,
        };
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", &dir, e))?.path();
            let Some(span) = packs_of(&path) else { continue };
            // One that cannot be read at all may have anything.
            match self.has_any(&path, &span, objects).unwrap_or(Has::Perhaps) {
                Has::Yes => {
                    fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
                    aside.removed.push(path);
                }
                Has::Perhaps => aside.unknown.push(path),
                Has::No => {}
            }
        }
        if !aside.removed.is_empty() {
            sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
        }
        aside.removed.sort();
        aside.unknown.sort();
        Ok(aside)
    }

    fn has_any(&self, path: &Path, span: &Span, objects: &HashSet<[u8; 32]>) -> io::Result<Has> {
        let file = Arc::new(PackFile::read_once(plain::open(path, OpenOptions::new().read(true))?)?);
        let mut has = Has::No;
        for number in span.clone() {
            let Some(pack) = Pack::of(file.clone(), span, number) else { return Ok(Has::Perhaps) };
            let mut scanner = Scanner::new(&pack, self.id, number, 0, u64::MAX)?;
            while let Some(step) = scanner.step(|_| false)? {
                match step {
                    Step::Record { header, .. } if objects.contains(&header.hash) => return Ok(Has::Yes),
                    Step::Gap { lost: true, .. } => has = Has::Perhaps,
                    Step::Record { .. } | Step::Gap { .. } => {}
                }
            }
        }
        Ok(has)
    }
}

/// The packs of a file put aside: of `00000042.pack`, or of `00000042.pack.1` where there was one before.
fn packs_of(path: &Path) -> Option<Span> {
    let name = path.file_name()?.to_str()?;
    let (numbers, rest) = name.split_once('.')?;
    (rest == "pack" || rest.starts_with("pack.")).then_some(())?;
    pack::packs_of(format!("{numbers}.pack").as_ref())
}
