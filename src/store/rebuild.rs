//! Opening the index, and making it anew where it is missing or cannot be trusted.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::identity::StoreId;
use super::index::Index;
use super::layout::{LastSession, Layout, sync_dir};
use super::pack::{LogPos, Packs};
use super::recovery::{Recovered, Recovery};

/// Opens the index and brings it up to the log; one that fails is put aside and rebuilt.
pub fn open_index(
    layout: &Layout,
    id: StoreId,
    packs: &Packs,
    session: LastSession,
    synced: Option<LogPos>,
    end: LogPos,
) -> Result<(Index, Recovered)> {
    let power_loss = session == LastSession::PowerLoss;
    // Where it is not known what was durable, nothing but the end of the log is taken for torn.
    let trusted = synced.filter(|_| power_loss).unwrap_or(LogPos(u64::MAX));
    let recover = |index: Index, from: LogPos| -> Result<(Index, Recovered)> {
        let recovery = Recovery::new(layout, id, packs, &index, trusted, synced.unwrap_or_default());
        let recovered = recovery.run(from)?;
        Ok((index, recovered))
    };
    let index = layout.index();
    if power_loss && index.exists() {
        // sled may have lost any part of its files without noticing.
        log::warn!("the machine went down with {} open: rebuilding its index", layout.root().display());
        let old = set_aside(layout)?;
        let rebuilt = Index::open(&index, id).and_then(|(index, from)| recover(index, from));
        match (&rebuilt, old) {
            (Ok(_), Some(old)) => remove_dir(&old)?,
            // What it knows may be all that is left of what the packs lost.
            (Err(_), Some(old)) => put_back(&old, &index)?,
            _ => {}
        }
        return rebuilt;
    }
    let is_new = !index.exists();
    let opened = Index::open(&index, id).and_then(|(index, from)| match from > end {
        true => Err(Error::Damaged {
            what: format!("the packs in {} end before what their index knows", layout.packs().display()),
            advice: "put the right files back, or let `strata fsck` go on with what is left",
        }),
        false => recover(index, from),
    });
    match opened {
        Err(e @ (Error::Index(_) | Error::Decode { .. })) if !is_new => {
            log::error!("{e}; rebuilding the index of {}", layout.root().display());
            set_aside(layout)?;
            Index::open(&index, id).and_then(|(index, from)| recover(index, from))
        }
        result => result,
    }
}

/// Moves the index to `index.bad-<n>`, removing older ones; gives where it now is.
pub fn set_aside(layout: &Layout) -> Result<Option<PathBuf>> {
    let (root, index) = (layout.root(), layout.index());
    if !index.exists() {
        return Ok(None);
    }
    let old = aside(layout)?;
    let next = old.last().map_or(1, |(n, _)| n.saturating_add(1));
    let to = root.join(format!("index.bad-{next}"));
    fs::rename(&index, &to).map_err(|e| Error::io("move aside", &index, e))?;
    sync_dir(root).map_err(|e| Error::io("sync", root, e))?;
    old.into_iter().try_for_each(|(_, path)| remove_dir(&path))?;
    Ok(Some(to))
}

/// The indexes that were put aside, by number.
pub fn aside(layout: &Layout) -> Result<Vec<(u32, PathBuf)>> {
    let root = layout.root();
    let names = fs::read_dir(root).map_err(|e| Error::io("list", root, e))?;
    let number = |name: &str| name.strip_prefix("index.bad-")?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> = names
        .filter_map(|e| e.ok())
        .filter_map(|e| Some((number(e.file_name().to_str()?)?, e.path())))
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn put_back(old: &Path, index: &Path) -> Result<()> {
    remove_dir(index)?;
    fs::rename(old, index).map_err(|e| Error::io("move back", old, e))
}

/// Removes a directory and all in it; one that is not there is removed.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}
