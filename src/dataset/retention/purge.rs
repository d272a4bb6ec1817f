//! Removing content for good.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Content, ContentId, Ino, Inode, Kind, Name, RetentionAction, VersionNo};
use crate::store::{Error as StoreError, content_id};

use super::super::author::Caller;
use super::super::dataset::Dataset;
use super::super::error::{Error, Result};
use super::live::{Keeping, Walker, each_copied, each_needed};

/// What is to be purged.
#[derive(Debug, Default)]
pub struct Purging {
    contents: HashMap<ContentId, Content>,
    /// The objects that nothing else needs: hash and length.
    pub objects: HashMap<[u8; 32], u32>,
    /// Which values of inodes have the contents.
    pub values: Vec<(VersionNo, Ino)>,
    /// How many objects stay, since other content needs them.
    pub shared: u64,
    /// Whether some of it lost its manifest already, as garbage or by a purge before: what is left of that goes with
    /// the garbage.
    pub is_garbage: bool,
}

impl Dataset {
    /// The contents that the file at `path` ever had, in any version that is kept or was pruned.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no version ever had a file there.
    pub fn contents_at(&self, path: &[Name]) -> Result<Vec<Content>> {
        let never = || Error::NotFound(format!("a file of that path in any version of {}", self.name()));
        let versions = self.path_versions(path)?.ok_or_else(never)?;
        let mut found = Vec::new();
        for version in versions {
            let tree = self.frozen(version);
            if let Some((ino, Kind::File)) = tree.walk(path)? {
                found.extend(tree.inode(ino)?.1.content().cloned());
            }
        }
        if found.is_empty() { Err(never()) } else { Ok(found) }
    }

    /// Finds out what has to go for these contents to be gone: their objects but for those that other content
    /// of the store needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the live tree still has one of them.
    pub fn plan_purge(&self, contents: Vec<Content>, datasets: &[Arc<Dataset>]) -> Result<Purging> {
        let mut purging = Purging::default();
        for content in contents.into_iter().filter(|content| *content != Content::Empty) {
            purging.contents.insert(content_id(&content), content);
        }
        let is_purged = |inode: &Inode| {
            inode.content().is_some_and(|content| purging.contents.contains_key(&content_id(content)))
        };
        // The newest version is what the live tree is a change of.
        let (mut live, mut values) = (BTreeSet::new(), Vec::new());
        let newest = self.frozen(self.newest());
        self.each_value(&mut |ino, at, inode| {
            if is_purged(inode) {
                values.push((at, ino));
            }
            if is_purged(inode) && newest.inode(ino).is_ok_and(|(recorded, _)| recorded == at) {
                for place in inode.places() {
                    let entry = newest.entry(place.dir, place.key)?;
                    live.extend(entry.filter(|entry| entry.ino == ino).map(|entry| entry.name.to_string()));
                }
            }
            Ok(())
        })?;
        if !live.is_empty() {
            return Err(Error::Invalid(format!(
                "{} still has this content as {}: remove it there first",
                self.name(),
                live.into_iter().take(3).collect::<Vec<_>>().join(", ")
            )));
        }
        let mut objects = HashMap::new();
        let mut walker = Walker::new(&self.store);
        let mut is_garbage = false;
        for content in purging.contents.values() {
            let walked = walker.content(content, &mut |hash, len| {
                objects.insert(*hash, len);
                Ok(())
            });
            match walked {
                Err(Error::Store(StoreError::Missing(_))) => is_garbage = true,
                walked => walked?,
            }
        }
        // One that failed half-way may have left what the manifest told of.
        let is_garbage = is_garbage || walker.met_purged;
        let all = objects.len();
        self.without_shared(&mut objects, &purging.contents, datasets)?;
        let shared = (all - objects.len()) as u64;
        Ok(Purging { objects, values, shared, is_garbage, ..purging })
    }

    /// Leaves out the objects that other content of the store needs.
    fn without_shared(
        &self,
        objects: &mut HashMap<[u8; 32], u32>,
        contents: &HashMap<ContentId, Content>,
        datasets: &[Arc<Dataset>],
    ) -> Result<()> {
        let others: Vec<Arc<Dataset>> =
            datasets.iter().filter(|dataset| dataset.id() != self.id()).cloned().collect();
        each_needed(&self.store, &others, None, &[], &mut |hash, _| {
            objects.remove(hash);
            Ok(())
        })?;
        let mut walker = Walker::new(&self.store);
        let mut keep = |hash: &[u8; 32], _| {
            objects.remove(hash);
            Ok(())
        };
        self.each_held(&mut walker, &mut keep)?;
        each_copied(&self.store, &mut walker, &mut keep)?;
        let mut keeping = Keeping::new(self, self.pruned());
        self.each_value(&mut |ino, at, inode| {
            let purged = inode.content().is_some_and(|c| contents.contains_key(&content_id(c)));
            // What only pruned versions had may be gone, and needs nothing.
            match purged || !keeping.needs(ino, at, inode)? {
                true => Ok(()),
                false => walker.inode(inode, &mut |hash, _| {
                    objects.remove(hash);
                    Ok(())
                }),
            }
        })
    }

    /// Records, durably, that these objects are purged.
    pub fn note_purge(&self, by: Caller, what: String, reason: String, purging: &Purging) -> Result<()> {
        let objects: HashSet<[u8; 32]> = purging.objects.keys().copied().collect();
        let action = RetentionAction::Purge { what, objects: objects.into_iter().collect() };
        self.note_retention(by, Some(reason), action)
    }
}
