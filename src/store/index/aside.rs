//! Indexes that failed, kept beside the present one as `index.bad-<n>`: what one knows may be all that is
//! left of what the packs lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::backing::failed;
use super::heal::ROOM;
use crate::store::error::Result;
use crate::store::layout::sync_dir;

/// The indexes put aside in the store `root`, by number.
pub fn list_aside(root: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let number = |name: &str| name.strip_prefix("index.bad-")?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(root)?
        .filter_map(|e| e.ok())
        .filter_map(|e| Some((number(e.file_name().to_str()?)?, e.path())))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Renames the index in `dir` to the next `index.bad-<n>`, and gives that.
pub fn move_aside(dir: &Path) -> Result<PathBuf> {
    let moved = || -> io::Result<PathBuf> {
        let root = root_of(dir);
        let next = list_aside(root)?.last().map_or(1, |(n, _)| n.saturating_add(1));
        let path = root.join(format!("index.bad-{next}"));
        fs::rename(dir, &path)?;
        sync_dir(root)?;
        Ok(path)
    };
    moved().map_err(|e| failed(dir, "rename", &e))
}

/// Takes the index in `dir` away, if there is one: aside, removing older ones, or for good where there is no
/// room to keep it.
pub fn put_aside(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let failed = |e: io::Error| failed(dir, "take away", &e);
    let root = root_of(dir);
    let older = list_aside(root).map_err(failed)?;
    let stat = rustix::fs::statvfs(root).map_err(|e| failed(e.into()))?;
    let needed = crate::store::dir_bytes(dir).saturating_mul(2).saturating_add(ROOM);
    if stat.f_bavail.saturating_mul(stat.f_frsize) >= needed {
        move_aside(dir)?;
    } else {
        fs::remove_dir_all(dir).and_then(|()| sync_dir(root)).map_err(failed)?;
    }
    older.into_iter().try_for_each(|(_, path)| fs::remove_dir_all(path)).map_err(failed)
}

fn root_of(dir: &Path) -> &Path {
    dir.parent().unwrap_or(Path::new("/"))
}
