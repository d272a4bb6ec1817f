//! Opening the index, and making it anew where it is missing or cannot be trusted.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result};
use super::identity::StoreId;
use super::index::{Index, Replay, move_aside, put_aside};
use super::layout::{LastSession, Layout, sync_dir};
use super::pack::{LogPos, Packs};
use super::recovery::{Again, Recovered, Recovery};

/// What is known of a store when its index is opened.
pub struct Opening<'a> {
    /// Its places.
    pub layout: &'a Layout,
    /// The store.
    pub id: StoreId,
    /// Its packs.
    pub packs: &'a Arc<Packs>,
    /// How it was left.
    pub session: LastSession,
    /// Up to where the log was durable, as far as that is known.
    pub synced: Option<LogPos>,
    /// The end of the log.
    pub end: LogPos,
}

impl Opening<'_> {
    /// Opens the index and brings it up to the log; one that fails is put aside and rebuilt. Where no disk
    /// takes it, it is kept in memory.
    pub fn index(&self) -> Result<(Index, Recovered)> {
        let dir = self.layout.index();
        if self.session != LastSession::PowerLoss || !dir.exists() {
            return self.kept();
        }
        // sled may have lost any part of its files without noticing.
        let root = self.layout.root().display();
        log::warn!("the machine or its disk went down with {root} open: rebuilding its index");
        let Some(old) = self.unless_failed(move_aside(&dir), "doing without")? else {
            return self.in_memory();
        };
        let rebuilt = self.kept();
        if rebuilt.is_ok() {
            remove_dir(&old)?;
        } else {
            remove_dir(&dir)?;
            fs::rename(&old, &dir)
                .and_then(|()| sync_dir(self.layout.root()))
                .map_err(|e| Error::io("rename", &old, e))?;
        }
        rebuilt
    }

    fn kept(&self) -> Result<(Index, Recovered)> {
        match self.on_disk() {
            Err(full @ Error::NoSpace(_)) => {
                log::error!("{full}; the index is kept in memory until then");
                self.in_memory()
            }
            opened => opened,
        }
    }

    fn on_disk(&self) -> Result<(Index, Recovered)> {
        let dir = self.layout.index();
        let open = || {
            let (index, from) = Index::open(&dir, self.id, self.replay())?;
            self.recover(index, from)
        };
        let mut opened = None;
        if dir.exists() {
            opened = self.unless_failed(open(), "rebuilding it")?;
        }
        if opened.is_none() {
            opened = self.unless_failed(put_aside(&dir).and_then(|()| open()), "doing without")?;
        }
        opened.map_or_else(|| self.in_memory(), Ok)
    }

    /// An index that is not written, of all that the log says.
    pub fn in_memory(&self) -> Result<(Index, Recovered)> {
        let index = Index::in_memory(&self.layout.index(), self.id, self.replay());
        self.recover(index, LogPos::default())
    }

    fn recover(&self, index: Index, from: LogPos) -> Result<(Index, Recovered)> {
        if from > self.end {
            let packs = self.layout.packs();
            return Err(Error::Damaged {
                what: format!("the packs in {} end before what their index knows", packs.display()),
                advice: "put the right files back, or let `strata fsck` go on with what is left",
            });
        }
        let power_loss = self.session == LastSession::PowerLoss;
        // Where it is not known what was durable, nothing but the end of the log is taken for torn.
        let trusted = self.synced.filter(|_| power_loss).unwrap_or(LogPos(u64::MAX));
        let synced = self.synced.unwrap_or_default();
        let recovery = Recovery::new(self.layout, self.id, self.packs, &index, trusted, synced);
        let recovered = recovery.run(from)?;
        Ok((index, recovered))
    }

    /// `None`, having said so, where it is the index that failed.
    fn unless_failed<T>(&self, result: Result<T>, what: &str) -> Result<Option<T>> {
        match result {
            Err(e @ (Error::Index(_) | Error::Decode { .. })) => {
                log::error!("{e}; {what} in {}", self.layout.root().display());
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn replay(&self) -> Arc<dyn Replay> {
        let Opening { layout, id, packs, .. } = *self;
        Arc::new(Again { layout: layout.clone(), store: id, packs: packs.clone() })
    }
}

/// Removes a directory and all in it; one that is not there is removed.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}
