//! `@dvc`: a dataset's content by MD5, laid out as DVC lays out a remote, for `dvc pull` to fetch from.
//!
//! ```text
//! @dvc/files/md5/d7/51713988987e9331980363e24189ce        a file
//! @dvc/files/md5/d7/51713988987e9331980363e24189ce.dir    the list of a directory's files
//! ```
//!
//! There is in it what `strata pointer --dvc` has pointed to. It shows files without the directories they were
//! in, and so without what these let through: it is for the mount's user alone.

use crate::dataset::{Attr, Error, Result};
use crate::model::hash::hex;
use crate::model::{DatasetId, Kind, Name};
use crate::store::dvc::{Recorded, parse_md5};

use super::fs::{FileSystem, not_found};
use super::handles::Handle;
use super::nodes::{DvcDir, Node};

/// How the name of a list of a directory's files ends.
const LIST: &str = ".dir";

/// The mode of an object. DVC reads and hashes what has another mode, before it copies it.
const OBJECT_MODE: u32 = 0o444;

impl FileSystem {
    /// Looks up a name below `@dvc`.
    pub(super) fn lookup_dvc(&self, id: DatasetId, dir: DvcDir, name: &Name) -> Result<Node> {
        let text = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
        let found = match dir {
            DvcDir::Root => (text == "files").then_some(Node::Dvc(id, DvcDir::Files)),
            DvcDir::Files => (text == "md5").then_some(Node::Dvc(id, DvcDir::Md5)),
            DvcDir::Md5 => first_byte(text).map(|first| Node::Dvc(id, DvcDir::Below(first))),
            DvcDir::Below(first) => self.lookup_object(id, &format!("{first:02x}{text}"))?,
        };
        found.ok_or_else(|| not_found(name))
    }

    fn lookup_object(&self, id: DatasetId, text: &str) -> Result<Option<Node>> {
        let told = self.repo.store().dvc(id);
        if let Some(md5) = text.strip_suffix(LIST).and_then(parse_md5) {
            return Ok(told.list_size(&md5)?.map(|_| Node::DvcList(id, md5)));
        }
        let Some(md5) = parse_md5(text) else { return Ok(None) };
        let Some(Recorded { version, ino }) = told.file(&md5)? else { return Ok(None) };
        match self.frozen_inode(id, version, ino) {
            Ok(inode) => Ok(inode.content().map(|_| Node::DvcFile(id, version, ino))),
            // What was told of is not there any more.
            Err(Error::Stale) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names in a directory of `@dvc`.
    pub(super) fn dvc_names(&self, id: DatasetId, dir: DvcDir) -> Result<Vec<Name>> {
        let told = self.repo.store().dvc(id);
        let mut names: Vec<String> = match dir {
            DvcDir::Root => vec!["files".into()],
            DvcDir::Files => vec!["md5".into()],
            DvcDir::Md5 => {
                let mut firsts = told.files_begin()?;
                firsts.extend(told.lists()?.iter().map(|md5| md5[0]));
                firsts.iter().map(|first| format!("{first:02x}")).collect()
            }
            DvcDir::Below(first) => {
                let lists = told.lists()?.into_iter().filter(|md5| md5[0] == first);
                let lists = lists.map(|md5| hex(&md5) + LIST);
                let files = told.files_below(first)?.into_iter().map(|md5| hex(&md5));
                files.chain(lists).map(|name| name[2..].to_owned()).collect()
            }
        };
        names.sort_unstable();
        names.dedup();
        names.iter().map(|name| Ok(Name::new(name.as_bytes())?)).collect()
    }

    /// The attributes of something below `@dvc`.
    pub(super) fn dvc_attr(&self, node: &Node) -> Result<Attr> {
        let (Node::Dvc(id, _) | Node::DvcFile(id, ..) | Node::DvcList(id, _)) = node else {
            return Err(Error::Stale);
        };
        let (kind, size, time, mode) = match node {
            Node::DvcFile(id, version, ino) => {
                let inode = self.frozen_inode(*id, *version, *ino)?;
                (Kind::File, inode.size(), Some(inode.mtime), OBJECT_MODE)
            }
            Node::DvcList(id, md5) => {
                let size = self.repo.store().dvc(*id).list_size(md5)?.ok_or(Error::Stale)?;
                (Kind::File, size, None, OBJECT_MODE)
            }
            _ => (Kind::Dir, 0, None, 0o500),
        };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let attr = self.generated_attr(&*self.dataset(*id)?, kind, size, time)?;
        Ok(Attr { mode, uid, gid, ..attr })
    }

    /// Opens something below `@dvc`.
    pub(super) fn open_dvc(&self, node: &Node) -> Result<Handle> {
        match node {
            Node::DvcFile(id, version, ino) => {
                let inode = self.frozen_inode(*id, *version, *ino)?;
                let content = inode.content().ok_or(Error::Stale)?.clone();
                Ok(Handle::Frozen { content, recorded: (*id, *version, *ino), counted: None })
            }
            Node::DvcList(id, md5) => {
                let list = self.repo.store().dvc(*id).list(md5)?;
                Ok(Handle::List(list.ok_or(Error::Stale)?))
            }
            _ => Err(Error::IsADirectory("this".into())),
        }
    }
}

fn first_byte(text: &str) -> Option<u8> {
    let byte = u8::from_str_radix(text, 16).ok()?;
    (text == format!("{byte:02x}")).then_some(byte)
}
