//! Extended attributes, the virtual `user.strata.*` ones among them.
//!
//! | name | on | value |
//! |---|---|---|
//! | `user.strata.version` | a dataset's root, a version's root | number of the newest, of that version: `v12` |
//! | `user.strata.snapshot` | the same | its snapshot id |
//! | `user.strata.b3sum`, `user.strata.sha256` | a file | what `b3sum` and `sha256sum` print |

use crate::dataset::live::{COMPUTED_XATTRS, decode_xattrs, is_supported_xattr};
use crate::dataset::{Algorithm, Caller, Error, Result, XattrSet};
use crate::model::acl::{ACL_XATTRS, permissions};
use crate::model::{Content, Ino, VersionNo};

use super::fs::{FileSystem, lost};
use super::nodes::{Node, NodeId};

impl FileSystem {
    /// Whether an extended attribute is computed when it is asked for.
    pub fn is_virtual_xattr(name: &[u8]) -> bool {
        name.starts_with(COMPUTED_XATTRS)
    }

    /// The value of an extended attribute.
    pub fn get_xattr(&self, by: Caller, id: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        let node = self.node(id)?;
        if let Some(name) = name.strip_prefix(COMPUTED_XATTRS) {
            return self.virtual_xattr(by, &node, name);
        }
        check_supported(name)?;
        let mut list = self.xattrs(&node)?;
        let at = list.iter().position(|(n, _)| n == name).ok_or(Error::NoXattr)?;
        Ok(list.swap_remove(at).1)
    }

    /// The names of the extended attributes, each followed by a NUL byte. The virtual ones are left
    /// out: they are not to be copied.
    pub fn list_xattr(&self, id: NodeId) -> Result<Vec<u8>> {
        let list = self.xattrs(&self.node(id)?)?;
        Ok(list.into_iter().flat_map(|(name, _)| name.into_iter().chain([0])).collect())
    }

    fn xattrs(&self, node: &Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let store = &**self.repo.store();
        match node {
            Node::Live(id, ino) => self.dataset(*id)?.read(|live| live.xattrs(*ino)),
            Node::FrozenDir(id, version, ino) | Node::Tagged(id, _, version, ino) => {
                decode_xattrs(store, self.dataset(*id)?.frozen(*version).inode(*ino)?.1.xattrs.as_deref())
            }
            Node::DiffDir(pair, part, Some(dir)) => {
                let tree = self.dataset(pair.dataset)?.frozen(pair.version(*part));
                decode_xattrs(store, tree.inode(*dir)?.1.xattrs.as_deref())
            }
            Node::Frozen(id, recorded, ino) => {
                decode_xattrs(store, self.frozen_inode(*id, *recorded, *ino)?.xattrs.as_deref())
            }
            Node::Lost(_, version, ..) => Err(lost(*version)),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether to set this extended attribute changes permissions.
    pub fn is_permissions(name: &[u8]) -> bool {
        name == ACL_XATTRS[0]
    }

    /// Sets an extended attribute. An access control list that says no more than permission bits sets these:
    /// copy programs bring permissions so, and others only when that is refused.
    pub fn set_xattr(&self, by: Caller, id: NodeId, name: &[u8], value: &[u8], how: XattrSet) -> Result<()> {
        if Self::is_permissions(name)
            && let Some(permissions) = permissions(value)
            && let Some((dataset, ino)) = self.live_node(id)?
        {
            return dataset.adjust(by, |live| live.set_permissions(by, ino, permissions));
        }
        check_name(name)?;
        match self.live_node(id)? {
            Some((dataset, ino)) => dataset.adjust(by, |live| live.set_xattr(ino, name, value, how)),
            None => Err(Error::Unsupported("an attribute of the top of a store")),
        }
    }

    /// Removes an extended attribute. An access control list is never there, and to take it away is no error.
    pub fn remove_xattr(&self, by: Caller, id: NodeId, name: &[u8]) -> Result<()> {
        if ACL_XATTRS.contains(&name) && self.live_node(id)?.is_some() {
            return Ok(());
        }
        check_name(name)?;
        match self.live_node(id)? {
            Some((dataset, ino)) => dataset.adjust(by, |live| live.remove_xattr(ino, name)),
            None => Err(Error::NoXattr),
        }
    }

    fn virtual_xattr(&self, by: Caller, node: &Node, name: &[u8]) -> Result<Vec<u8>> {
        let text = match (name, node) {
            (b"version" | b"snapshot", Node::Live(id, Ino::ROOT)) => {
                let dataset = self.dataset(*id)?;
                dataset.seal_to_look()?;
                self.version_xattr(name, node, dataset.newest())?
            }
            (
                b"version" | b"snapshot",
                Node::FrozenDir(_, version, Ino::ROOT) | Node::Tagged(.., version, Ino::ROOT),
            ) => self.version_xattr(name, node, *version)?,
            (b"b3sum", node) => self.digest(&self.content_of(by, node)?, Algorithm::Blake3)?,
            (b"sha256", node) => self.digest(&self.content_of(by, node)?, Algorithm::Sha256)?,
            _ => return Err(Error::NoXattr),
        };
        Ok(text.into_bytes())
    }

    fn version_xattr(&self, name: &[u8], node: &Node, version: VersionNo) -> Result<String> {
        let (Node::Live(id, _) | Node::FrozenDir(id, ..) | Node::Tagged(id, ..)) = node else {
            return Err(Error::NoXattr);
        };
        if version == VersionNo::EMPTY {
            return Err(Error::NoXattr);
        }
        match name {
            b"version" => Ok(version.to_string()),
            _ => Ok(self.dataset(*id)?.snapshot(version)?.to_hex()),
        }
    }

    fn digest(&self, content: &Content, algorithm: Algorithm) -> Result<String> {
        self.repo.digests().of(self.repo.objects(), content, algorithm)
    }
}

/// Which names there are: no access control lists, which the kernel would have to enforce, and no SELinux
/// labels. Programs that list directories ask for both of every file, unless told once that there are none.
fn check_supported(name: &[u8]) -> Result<()> {
    if is_supported_xattr(name) { Ok(()) } else { Err(Error::Unsupported("this extended attribute")) }
}

/// Which names can be set: those there are, but for the virtual ones.
fn check_name(name: &[u8]) -> Result<()> {
    if name.starts_with(COMPUTED_XATTRS) {
        return Err(Error::NotPermitted("user.strata.* attributes are computed".into()));
    }
    check_supported(name)
}
