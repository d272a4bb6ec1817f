//! `@meta`: texts about a version, in each of its directories.
//!
//! In a live directory `@meta` is a link to that of the newest version, so that what is read through it belongs
//! together.

use std::sync::Arc;

use crate::dataset::meta::{About, Told};
use crate::dataset::{Attr, Result};
use crate::model::{DatasetId, Ino, Kind, Name, VersionNo};

use super::fs::{FileSystem, not_found};
use super::nodes::{Node, NodeId};

/// The name of the directory.
pub(super) const META_NAME: &[u8] = b"@meta";

impl FileSystem {
    /// Whether looking up `name` in a directory, or asking for a node where there is none, may take long, since it
    /// may have to read all files of a version.
    pub fn may_take_long(&self, id: NodeId, name: Option<&[u8]>) -> bool {
        let Some((id, version, dir, about)) = self.text_needed(id, name) else { return false };
        self.dataset(id).is_ok_and(|dataset| !self.repo.texts().has(&dataset, version, dir, about))
    }

    /// Does what may take long, so that the call that follows does not. What fails is told by that call.
    pub fn prepare(&self, id: NodeId, name: Option<&[u8]>) {
        if let Some((id, version, dir, about)) = self.text_needed(id, name) {
            drop(self.dataset(id).and_then(|dataset| self.repo.texts().get(&dataset, version, dir, about)));
        }
    }

    /// The text that is needed to look up `name` in a directory, or to tell of a node where there is none.
    fn text_needed(&self, id: NodeId, name: Option<&[u8]>) -> Option<(DatasetId, VersionNo, Ino, About)> {
        match (self.node(id), name) {
            (Ok(Node::Meta(id, version, dir)), Some(name)) => Some((id, version, dir, about(name)?)),
            (Ok(Node::MetaText(id, version, dir, about, _)), None) => Some((id, version, dir, about)),
            _ => None,
        }
    }

    /// Has no text be made any more; those under way are broken off.
    pub fn stop_texts(&self) {
        self.repo.digests().stop();
    }

    /// Looks up a name in `@meta`.
    pub(super) fn lookup_meta(&self, parent: &Node, name: &Name) -> Result<Node> {
        let Node::Meta(id, version, dir) = *parent else { return Err(not_found(name)) };
        let about = about(name.as_bytes()).ok_or_else(|| not_found(name))?;
        // What is said of a version changes the description, a purge all of them: that is another node then, and
        // cached apart.
        let state = about.state(&*self.dataset(id)?);
        Ok(Node::MetaText(id, version, dir, about, state))
    }

    /// The text of a node.
    pub(super) fn told(&self, node: &Node) -> Result<Arc<Told>> {
        let Node::MetaText(id, version, dir, about, _) = *node else {
            return Err(crate::dataset::Error::Stale);
        };
        self.repo.texts().get(&*self.dataset(id)?, version, dir, about)
    }

    /// Attributes of `@meta` and what is in it. A text is for everybody where everybody could read all that it is
    /// made of; else it is for the user whose mount this is, who can read the store anyway.
    pub(super) fn meta_attr(&self, node: &Node) -> Result<Attr> {
        let (Node::Meta(id, version, _) | Node::MetaText(id, version, ..)) = *node else {
            return Err(crate::dataset::Error::Stale);
        };
        let (kind, size, mode) = match node {
            Node::Meta(..) => (Kind::Dir, 0, 0o555),
            _ => {
                let told = self.told(node)?;
                (Kind::File, told.text.len(), if told.open { 0o444 } else { 0o400 })
            }
        };
        self.meta_attr_of(id, version, kind, size, mode)
    }

    /// The attributes without looking at the text, whose size takes reading all files: for listings, after which
    /// who wants to know asks again.
    pub(super) fn meta_attr_listed(&self, node: &Node) -> Result<Attr> {
        let (Node::Meta(id, version, _) | Node::MetaText(id, version, ..)) = *node else {
            return Err(crate::dataset::Error::Stale);
        };
        self.meta_attr_of(id, version, Kind::File, 0, 0o400)
    }

    fn meta_attr_of(
        &self,
        id: DatasetId,
        version: VersionNo,
        kind: Kind,
        size: u64,
        mode: u32,
    ) -> Result<Attr> {
        let dataset = self.dataset(id)?;
        let attr = self.generated_attr(&dataset, kind, size, Some(dataset.version_time(version)?))?;
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Attr { mode, uid, gid, ..attr })
    }
}

/// The text of a file name.
fn about(name: &[u8]) -> Option<About> {
    About::ALL.into_iter().find(|about| about.file_name().as_bytes() == name)
}
