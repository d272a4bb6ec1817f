//! Who needs objects that are to be purged: live files and open ones, or the history.
//!
//! All values that inodes ever had are gone through, as a collection does; but of each that has one of the objects
//! it is found out where it is seen, so that it can be named.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{Content, ContentId, DatasetId, Ino, Inode, Name, Op, VersionNo, show_path};
use crate::store::{Store, content_id};

use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::live::{Keeping, Value};
use super::walk::{Search, Walker};

/// As many places are named.
const NAMED: usize = 100;
/// Versions that are gone through for the last name of a file that was removed.
const LAST_NAMES: usize = 8;

/// What an inode had, and when it was recorded.
pub type Recorded = (VersionNo, Ino);

/// Objects that something needs.
pub struct Needed<'a> {
    walker: Walker<'a>,
    wanted: &'a HashMap<[u8; 32], u32>,
    /// Those of the objects wanted that are needed.
    pub objects: HashSet<[u8; 32]>,
    /// Some of the places that need them, for messages.
    pub places: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

impl<'a> Needed<'a> {
    fn new(store: &'a Store, wanted: &'a HashMap<[u8; 32], u32>) -> Needed<'a> {
        let walker = Walker::new(store);
        Needed { walker, wanted, objects: HashSet::new(), places: Vec::new(), more: false }
    }

    fn take(&mut self, inode: &Inode) -> Result<()> {
        let Needed { walker, wanted, objects, .. } = self;
        walker.inode(inode, &mut |hash, _| {
            objects.extend(wanted.contains_key(hash).then_some(*hash));
            Ok(())
        })
    }

    fn take_content(&mut self, content: &Content) -> Result<()> {
        let Needed { walker, wanted, objects, .. } = self;
        walker.content(content, &mut |hash, _| {
            objects.extend(wanted.contains_key(hash).then_some(*hash));
            Ok(())
        })
    }

    fn name(&mut self, place: String) {
        if self.places.contains(&place) {
            return;
        }
        match self.places.len() < NAMED {
            true => self.places.push(place),
            false => self.more = true,
        }
    }
}

/// What the history of a dataset has of objects that are to go.
pub struct Past<'a> {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// What its versions need.
    pub needed: Needed<'a>,
    /// A path that has any.
    pub path: Option<Vec<Name>>,
    /// What recorded any.
    pub recorded: Vec<Recorded>,
}

/// Who needs objects.
pub struct Holders<'a> {
    /// Live files and open ones.
    pub live: Needed<'a>,
    /// The histories of the datasets that have any.
    pub past: Vec<Past<'a>>,
}

impl<'a> Holders<'a> {
    /// Those in `datasets`, which are to be all of the store, of the objects `wanted`. What versions of `of` have
    /// with one of the contents in `but` does not count.
    ///
    /// # Errors
    /// Where anything that is needed cannot be read, so that it is not known what else is.
    pub fn find(
        store: &'a Store,
        datasets: &[Arc<Dataset>],
        wanted: &'a HashMap<[u8; 32], u32>,
        (of, but): (DatasetId, &HashMap<ContentId, Content>),
    ) -> Result<Holders<'a>> {
        // What only pruned versions had may be gone. Where it is needed, going through it fails.
        let mut finder = Search::new(store, true, |hash| wanted.contains_key(hash));
        let mut holders = Holders { live: Needed::new(store, wanted), past: Vec::new() };
        // Where things come from first, where they go last: what moves meanwhile is met at one of the two.
        for dataset in datasets.iter().filter(|dataset| !dataset.is_archived()) {
            dataset.find_held(&mut finder, &mut holders.live)?;
        }
        for content in store.copied() {
            if finder.content(&content)? {
                holders.live.take_content(&content)?;
                holders.live.name("a copy that is being made".into());
            }
        }
        for dataset in datasets {
            if dataset.id() != of {
                dataset.find_pending(&mut finder, &mut holders.live)?;
            }
            let (needed, path, recorded) = (Needed::new(store, wanted), None, Vec::new());
            let mut past = Past { dataset: dataset.clone(), needed, path, recorded };
            let but = (dataset.id() == of).then_some(but);
            dataset.find_recorded(&mut finder, but, &mut holders.live, &mut past)?;
            if !past.needed.objects.is_empty() {
                holders.past.push(past);
            }
        }
        Ok(holders)
    }
}

impl Dataset {
    /// Finds what the live tree has in memory, and open files.
    fn find_held(&self, finder: &mut Search<'_>, live: &mut Needed<'_>) -> Result<()> {
        for (ino, file) in self.read(|live| Ok(live.open_files()))? {
            let (contents, pieces) = file.references();
            let mut found = finder.pieces(&pieces);
            if found {
                live.take_content(&Content::Few(pieces.into()))?;
            }
            for content in contents {
                if finder.content(&content)? {
                    live.take_content(&content)?;
                    found = true;
                }
            }
            if found {
                live.name(self.live_place(ino)?);
            }
        }
        let (mut found, mut failed) = (Vec::new(), Ok(()));
        self.read(|tree| {
            tree.each_inode(&mut |ino, inode| {
                if failed.is_ok() {
                    failed = finder.inode(inode).and_then(|has| match has {
                        true => {
                            found.push(ino);
                            live.take(inode)
                        }
                        false => Ok(()),
                    });
                }
            });
            Ok(())
        })?;
        failed?;
        found.into_iter().try_for_each(|ino| {
            live.name(self.live_place(ino)?);
            Ok(())
        })
    }

    /// Finds changes that no version holds yet.
    fn find_pending(&self, finder: &mut Search<'_>, live: &mut Needed<'_>) -> Result<()> {
        for pending in self.store.pending(self.id()) {
            for op in pending?.1? {
                let Op::Inode { ino, inode } = op else { continue };
                if finder.inode(&inode)? {
                    live.take(&inode)?;
                    live.name(self.live_place(ino)?);
                }
            }
        }
        Ok(())
    }

    /// Finds what versions recorded; what the newest has is live.
    fn find_recorded(
        &self,
        finder: &mut Search<'_>,
        but: Option<&HashMap<ContentId, Content>>,
        live: &mut Needed<'_>,
        past: &mut Past<'_>,
    ) -> Result<()> {
        let is_live = !self.is_archived();
        let newest = self.frozen(self.newest());
        let mut keeping = Keeping::new(self, self.pruned());
        self.each_value(&mut |Value { ino, at, inode, .. }| {
            let left_out =
                but.is_some_and(|but| inode.content().is_some_and(|c| but.contains_key(&content_id(c))));
            if left_out || !finder.inode(inode)? {
                return Ok(ControlFlow::Continue(()));
            }
            if is_live && (at > newest.version() || newest.sees(ino, at)?) {
                live.take(inode)?;
                live.name(match newest.path_of(ino, inode)? {
                    Some(path) => format!("{}/{}", self.name(), show_path(&path)),
                    None => self.live_place(ino)?,
                });
                return Ok(ControlFlow::Continue(()));
            }
            // What only pruned versions had may be gone, and needs nothing.
            let Some(version) = keeping.needed_by(ino, at)? else { return Ok(ControlFlow::Continue(())) };
            past.needed.take(inode)?;
            past.recorded.push((at, ino));
            let path = self.frozen(version).path_of(ino, inode)?;
            let shown = path.as_ref().map_or_else(|| format!("inode {}", ino.0), |path| show_path(path));
            let archived = if is_live { "" } else { " (archived)" };
            past.needed.name(format!("{}@{version}/{shown}{archived}", self.name()));
            past.path = past.path.take().or(path);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// What to call a live or open file.
    fn live_place(&self, ino: Ino) -> Result<String> {
        let is_named = |tree: &mut super::super::live::Live| match tree.attr(ino)?.nlink {
            0 => Ok(None),
            _ => tree.path(ino),
        };
        match self.read(is_named) {
            Ok(Some(path)) => return Ok(format!("{}/{}", self.name(), show_path(&path))),
            Ok(None) | Err(Error::Stale | Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        for (version, inode) in self.store.inode_versions(self.id(), ino, self.newest(), LAST_NAMES)? {
            if let Some(path) = self.frozen(version).path_of(ino, &inode)? {
                return Ok(format!("{}/{}, which was removed but is open", self.name(), show_path(&path)));
            }
        }
        Ok(format!("a file of {} that is open and has no name", self.name()))
    }
}
