//! Telling what was renamed from what went and came.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::model::{Content, ContentId, Ino, Kind, Name, Place};
use crate::store::content_id;

use super::super::history::{ChangeKind, changed};
use super::{Change, Found, Named};

/// By what something is known again under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The inode, else the content: both trees are of one dataset.
    InodeOrContent,
    /// The content.
    Content,
}

/// Pairs what was removed with what was added, and gives all changes ordered by path. A file without bytes is
/// like any other such, and not known again by that.
pub fn pair(found: Vec<Found>, by: By) -> Vec<Change> {
    let mut found: Vec<Found> = match by {
        By::InodeOrContent => {
            let came = inodes_that_came(&found);
            found.into_iter().flat_map(|found| apart(found, &came)).collect()
        }
        By::Content => found,
    };
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let (removed, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.change == ChangeKind::Removed);
    let mut removed = Removed::new(removed, by);
    let mut origins: Vec<Option<Found>> = others.iter().map(|_| None).collect();
    // What is certain first, then by content: where several were alike, the one of the same name.
    for take in [
        Removed::take_inode,
        Removed::take_place,
        Removed::take_path,
        Removed::take_namesake,
        Removed::take_content,
    ] {
        for (found, origin) in others.iter().zip(&mut origins) {
            if let (ChangeKind::Added, None, Some(new)) = (found.change, &origin, &found.new) {
                *origin = take(&mut removed, found, new);
            }
        }
    }
    let changes = others.into_iter().zip(origins).filter_map(|(found, origin)| match origin {
        Some(was) if was.path == found.path || (was.place.is_some() && was.place == found.place) => {
            Some(Found { change: replaced(&was, &found)?, old: was.old, ..found }.into_change(None))
        }
        Some(was) => Some(Found { old: was.old, ..found }.into_change(Some((was.path, was.place)))),
        None => Some(found.into_change(None)),
    });
    let mut changes: Vec<Change> = changes.collect();
    changes.extend(removed.found.into_iter().flatten().map(|found| found.into_change(None)));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// Inodes that some path names now and did not before.
fn inodes_that_came(found: &[Found]) -> HashSet<Ino> {
    let ino = |named: &Option<Named>| named.as_ref().map(|(entry, _)| entry.ino);
    found.iter().filter(|found| ino(&found.old) != ino(&found.new)).filter_map(|f| ino(&f.new)).collect()
}

/// Where a path names another inode than before, that the one is gone and the other came: each may be known
/// again elsewhere. Not so of a file that is nowhere now: it was replaced, as editors do that save to another name
/// and rename that, and the path was modified, wherever what replaced it was before.
fn apart(found: Found, came: &HashSet<Ino>) -> impl Iterator<Item = Found> {
    let is_apart = |(old, new): (&Named, &Named)| {
        let has_dir = [old, new].into_iter().any(|(entry, _)| entry.kind == Kind::Dir);
        old.0.ino != new.0.ino && (has_dir || came.contains(&old.0.ino))
    };
    let (gone, came) = if found.old.as_ref().zip(found.new.as_ref()).is_some_and(is_apart) {
        let path = found.old_path.clone().unwrap_or_else(|| found.path.clone());
        let (place, change, old) = (found.place, ChangeKind::Removed, found.old);
        let gone = Found { path, old_path: None, place, change, old, new: None };
        (Some(gone), Found { change: ChangeKind::Added, old: None, ..found })
    } else {
        (None, found)
    };
    gone.into_iter().chain([came])
}

/// What changed at a path where another inode took the place of one that is not known again.
fn replaced(was: &Found, is: &Found) -> Option<ChangeKind> {
    changed(&was.old.as_ref()?.1, &is.new.as_ref()?.1)
}

/// What was removed: each is there until it is taken, to be found by what it was.
struct Removed {
    found: Vec<Option<Found>>,
    inodes: HashMap<Ino, Vec<usize>>,
    places: HashMap<Place, Vec<usize>>,
    paths: HashMap<Vec<Name>, Vec<usize>>,
    namesakes: HashMap<(ContentId, Name), Vec<usize>>,
    contents: HashMap<ContentId, Vec<usize>>,
}

impl Removed {
    fn new(found: Vec<Found>, by: By) -> Removed {
        let (mut inodes, mut places, mut paths) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (mut namesakes, mut contents) = (HashMap::new(), HashMap::new());
        // The last of a list is taken first: that is to be the first by path.
        for (n, found) in found.iter().enumerate().rev() {
            let Some(old) = &found.old else { continue };
            if by == By::InodeOrContent {
                note(&mut inodes, old.0.ino, n);
                found.place.into_iter().for_each(|place| note(&mut places, place, n));
                note(&mut paths, found.path.clone(), n);
            }
            if let Some(content) = content_of(old) {
                note(&mut namesakes, (content, old.0.name.clone()), n);
                note(&mut contents, content, n);
            }
        }
        Removed { found: found.into_iter().map(Some).collect(), inodes, places, paths, namesakes, contents }
    }

    fn take_inode(&mut self, _: &Found, new: &Named) -> Option<Found> {
        take(&mut self.found, self.inodes.get_mut(&new.0.ino))
    }

    fn take_place(&mut self, found: &Found, _: &Named) -> Option<Found> {
        take(&mut self.found, self.places.get_mut(&found.place?))
    }

    /// What was at the path of a directory that was made again.
    fn take_path(&mut self, found: &Found, _: &Named) -> Option<Found> {
        take(&mut self.found, self.paths.get_mut(&found.path))
    }

    fn take_namesake(&mut self, _: &Found, new: &Named) -> Option<Found> {
        let key = (content_of(new)?, new.0.name.clone());
        take(&mut self.found, self.namesakes.get_mut(&key))
    }

    fn take_content(&mut self, _: &Found, new: &Named) -> Option<Found> {
        take(&mut self.found, self.contents.get_mut(&content_of(new)?))
    }
}

fn note<K: Hash + Eq>(index: &mut HashMap<K, Vec<usize>>, key: K, n: usize) {
    index.entry(key).or_default().push(n);
}

fn take(found: &mut [Option<Found>], list: Option<&mut Vec<usize>>) -> Option<Found> {
    let list = list?;
    while let Some(n) = list.pop() {
        if let Some(found) = found[n].take() {
            return Some(found);
        }
    }
    None
}

fn content_of((_, inode): &Named) -> Option<ContentId> {
    inode.content().filter(|content| **content != Content::Empty).map(content_id)
}
