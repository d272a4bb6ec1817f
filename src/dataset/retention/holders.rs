//! Who needs objects that are to be purged: live files and open ones, or the history.
//!
//! All values that inodes ever had are gone through, as a collection does; but of each that has one of the objects
//! it is found out where it is seen, so that it can be named.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{Content, ContentId, DatasetId, Ino, Inode, Name, Op, VersionNo, show_path};
use crate::store::{Store, content_id};

use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::live::{Keeping, Value};
use super::owners::{Numbers, Owners, Whose};
use super::walk::{Search, Walker};

/// As many places are named, and one at least of each thing that is purged.
pub(super) const NAMED: usize = 100;
/// Versions that are gone through for the last name of a file that was removed.
const LAST_NAMES: usize = 8;

/// What an inode had, and when it was recorded.
pub type Recorded = (VersionNo, Ino);

/// A place that needs something, for messages.
#[derive(Debug)]
pub struct Place {
    /// What it is called.
    pub name: String,
    /// What it has any of, by numbers of what is purged.
    pub of: Numbers,
}

/// Objects that something needs.
pub struct Needed<'a> {
    walker: Walker<'a>,
    wanted: &'a HashMap<[u8; 32], u32>,
    /// Those of the objects wanted that are needed.
    pub objects: HashSet<[u8; 32]>,
    /// Some of the places that need them.
    pub places: Vec<Place>,
    /// Whether there are more.
    pub more: bool,
    /// Where in `places` each is.
    known: HashMap<String, usize>,
    /// Of what some are named.
    named: Numbers,
}

impl<'a> Needed<'a> {
    fn new(store: &'a Store, wanted: &'a HashMap<[u8; 32], u32>) -> Needed<'a> {
        Needed {
            walker: Walker::new(store),
            wanted,
            objects: HashSet::new(),
            places: Vec::new(),
            more: false,
            known: HashMap::new(),
            named: Numbers::new(),
        }
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

    fn name(&mut self, name: String, of: Numbers) {
        if let Some(known) = self.known.get(&name) {
            self.named.extend(&of);
            self.places[*known].of.extend(of);
        } else if self.places.len() < NAMED || !of.is_subset(&self.named) {
            self.named.extend(&of);
            self.known.insert(name.clone(), self.places.len());
            self.places.push(Place { name, of });
        } else {
            self.more = true;
        }
    }
}

/// Finds out what has any of the objects, and of what these are.
struct Finder<'a> {
    search: Search<'a>,
    whose: Whose<'a>,
}

impl Finder<'_> {
    fn inode(&mut self, inode: &Inode) -> Result<Option<Numbers>> {
        match self.search.inode(inode)? {
            true => self.whose.inode(inode).map(Some),
            false => Ok(None),
        }
    }

    fn content(&mut self, content: &Content) -> Result<Option<Numbers>> {
        match self.search.content(content)? {
            true => self.whose.content(content).map(Some),
            false => Ok(None),
        }
    }
}

/// What the history of a dataset has of objects that are to go.
pub struct Past<'a> {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// What its versions need.
    pub needed: Needed<'a>,
    /// Some of the paths that have any.
    pub paths: BTreeSet<Vec<Name>>,
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
    /// Those in `datasets`, which are to be all of the store, of the objects `wanted`, which have `owners`.
    /// What versions of `of` have with one of the contents in `but` does not count.
    ///
    /// # Errors
    /// Where anything that is needed cannot be read, so that it is not known what else is.
    pub fn find(
        store: &'a Store,
        datasets: &[Arc<Dataset>],
        (wanted, owners): (&'a HashMap<[u8; 32], u32>, &'a Owners),
        (of, but): (DatasetId, &HashMap<ContentId, Content>),
    ) -> Result<Holders<'a>> {
        // What only pruned versions had may be gone. Where it is needed, going through it fails.
        let search = Search::new(store, true, |hash| wanted.contains_key(hash));
        let mut finder = Finder { search, whose: Whose::new(store, owners) };
        let mut holders = Holders { live: Needed::new(store, wanted), past: Vec::new() };
        // Where things come from first, where they go last: what moves meanwhile is met at one of the two.
        for dataset in datasets.iter().filter(|dataset| !dataset.is_archived()) {
            dataset.find_held(&mut finder, &mut holders.live)?;
        }
        for content in store.copied() {
            if let Some(of) = finder.content(&content)? {
                holders.live.take_content(&content)?;
                holders.live.name("a copy that is being made".into(), of);
            }
        }
        for dataset in datasets {
            if dataset.id() != of {
                dataset.find_pending(&mut finder, &mut holders.live)?;
            }
            let (needed, paths, recorded) = (Needed::new(store, wanted), BTreeSet::new(), Vec::new());
            let mut past = Past { dataset: dataset.clone(), needed, paths, recorded };
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
    fn find_held(&self, finder: &mut Finder<'_>, live: &mut Needed<'_>) -> Result<()> {
        for (ino, file) in self.read(|live| Ok(live.open_files()))? {
            let (contents, pieces) = file.references();
            let (mut found, mut of) = (false, Numbers::new());
            for content in contents.into_iter().chain([Content::Few(pieces.into())]) {
                if let Some(more) = finder.content(&content)? {
                    live.take_content(&content)?;
                    of.extend(more);
                    found = true;
                }
            }
            if found {
                live.name(self.live_place(ino)?, of);
            }
        }
        let (mut found, mut failed) = (Vec::new(), Ok(()));
        self.read(|tree| {
            tree.each_inode(&mut |ino, inode| {
                if failed.is_ok() {
                    failed = finder.inode(inode).and_then(|has| match has {
                        Some(of) => {
                            found.push((ino, of));
                            live.take(inode)
                        }
                        None => Ok(()),
                    });
                }
            });
            Ok(())
        })?;
        failed?;
        found.into_iter().try_for_each(|(ino, of)| {
            live.name(self.live_place(ino)?, of);
            Ok(())
        })
    }

    /// Finds changes that no version holds yet.
    fn find_pending(&self, finder: &mut Finder<'_>, live: &mut Needed<'_>) -> Result<()> {
        for pending in self.store.pending(self.id()) {
            for op in pending?.1? {
                let Op::Inode { ino, inode } = op else { continue };
                if let Some(of) = finder.inode(&inode)? {
                    live.take(&inode)?;
                    live.name(self.live_place(ino)?, of);
                }
            }
        }
        Ok(())
    }

    /// Finds what versions recorded; what the newest has is live.
    fn find_recorded(
        &self,
        finder: &mut Finder<'_>,
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
            let found = if left_out { None } else { finder.inode(inode)? };
            let Some(of) = found else { return Ok(ControlFlow::Continue(())) };
            if is_live && (at > newest.version() || newest.sees(ino, at)?) {
                live.take(inode)?;
                let place = match newest.path_of(ino, inode)? {
                    Some(path) => format!("{}/{}", self.name(), show_path(&path)),
                    None => self.live_place(ino)?,
                };
                live.name(place, of);
                return Ok(ControlFlow::Continue(()));
            }
            // What only pruned versions had may be gone, and needs nothing.
            let Some(version) = keeping.needed_by(ino, at)? else { return Ok(ControlFlow::Continue(())) };
            past.needed.take(inode)?;
            past.recorded.push((at, ino));
            let path = self.frozen(version).path_of(ino, inode)?;
            past.needed.name(self.past_place(version, ino, path.as_deref()), of);
            past.paths.extend(path.filter(|_| past.paths.len() < NAMED));
            Ok(ControlFlow::Continue(()))
        })
    }

    /// What to call a file of a version.
    pub(super) fn past_place(&self, version: VersionNo, ino: Ino, path: Option<&[Name]>) -> String {
        let shown = path.map_or_else(|| format!("inode {}", ino.0), show_path);
        let archived = if self.is_archived() { " (archived)" } else { "" };
        format!("{}@{version}/{shown}{archived}", self.name())
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
