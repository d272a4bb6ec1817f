//! Other files of a dataset that lose a content because it is purged by a path.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::ContentId;
use crate::store::content_id;

use super::super::dataset::Dataset;
use super::super::error::Result;
use super::holders::{NAMED, Recorded};
use super::live::Keeping;
use super::purge::Target;
use super::walk::Search;

impl Dataset {
    /// Names some files of versions that are kept that `recorded` one of the contents of which something goes, at
    /// paths other than those that are purged; and tells whether there are more. Who purges a content by its id
    /// has named what all of its files have.
    pub(super) fn elsewhere(
        &self,
        targets: &[Target],
        recorded: &[(Recorded, ContentId)],
        goes: &HashSet<[u8; 32]>,
    ) -> Result<(Vec<String>, bool)> {
        let mut search = Search::new(&self.store, false, |hash| goes.contains(hash));
        let mut loses: HashMap<ContentId, bool> = HashMap::new();
        for target in targets {
            for content in &target.held.contents {
                let is_lost = target.held.files > 0 && search.content(content)?;
                loses.entry(content_id(content)).and_modify(|lost| *lost &= is_lost).or_insert(is_lost);
            }
        }
        let paths: BTreeSet<_> = targets.iter().map(|target| target.path.as_slice()).collect();
        let mut keeping = Keeping::new(self, self.pruned());
        let mut named = BTreeSet::new();
        for ((at, ino), _) in recorded.iter().filter(|(_, id)| loses.get(id) == Some(&true)) {
            let Some(version) = keeping.needed_by(*ino, *at)? else { continue };
            let tree = self.frozen(version);
            let path = tree.path_of(*ino, &tree.inode(*ino)?.1)?;
            let is_named = |path: &Vec<_>| (1..=path.len()).any(|depth| paths.contains(&path[..depth]));
            if path.as_ref().is_some_and(is_named) {
                continue;
            }
            if named.len() == NAMED {
                return Ok((named.into_iter().collect(), true));
            }
            named.insert(self.past_place(version, *ino, path.as_deref()));
        }
        Ok((named.into_iter().collect(), false))
    }
}
