//! Making versions of planned commits.

use std::collections::BTreeMap;

use super::apply::apply;
use super::command::{Cat, Repository};
use super::plan::{Plan, Planned};
use super::{COMMIT, Change, Leaf, PATH, Scope, objects};
use crate::dataset::error::{Error, Result};
use crate::dataset::import::{Batch, Progress, SMALL, Teller, name_of};
use crate::dataset::live::Invalid;
use crate::dataset::{Caller, Dataset};
use crate::model::{AnnotationKey, Body, Inode, Name, Remark, TagName, Timestamp, VersionNo};
use crate::store::Objects;
use crate::store::content::Builder;

/// What a commit changes, with its bytes in the store.
#[derive(Debug)]
pub struct Contents {
    gone: Vec<Vec<Name>>,
    put: Vec<(Vec<Name>, Inode)>,
}

/// What became of a commit.
#[derive(Debug, Default)]
pub struct Imported {
    /// The version made of it, if it changed anything.
    pub version: Option<VersionNo>,
    /// The tags that were set.
    pub tags: Vec<TagName>,
    /// What of it could not be kept, and why.
    pub notices: Vec<String>,
}

/// Makes versions of a repository's commits.
pub struct Importer<'a> {
    by: Caller,
    objects: &'a Objects,
    plan: &'a Plan,
    scope: Scope<'a>,
    blobs: Cat,
    done: Progress,
}

impl<'a> Importer<'a> {
    /// One that carries out `plan`.
    ///
    /// # Errors
    /// Where git cannot be run.
    pub fn new(
        by: Caller,
        objects: &'a Objects,
        repository: &Repository,
        plan: &'a Plan,
        scope: Scope<'a>,
    ) -> Result<Importer<'a>> {
        let blobs = repository.cat("--batch")?;
        Ok(Importer { by, objects, plan, scope, blobs, done: Progress::default() })
    }

    /// Sets those of git's tags of a commit, whose data `version` has, that are not set yet. Those that cannot be set,
    /// or name another version, are told.
    ///
    /// # Errors
    /// Where the dataset cannot take them.
    pub fn tag(
        &self,
        dataset: &Dataset,
        planned: &Planned,
        version: VersionNo,
        imported: &mut Imported,
    ) -> Result<()> {
        for text in &planned.tags {
            let mut unset = |why: String| imported.notices.push(format!("tag {text} is not set: {why}"));
            let name = match TagName::new(text) {
                Ok(name) => name,
                Err(error) => {
                    unset(error.to_string());
                    continue;
                }
            };
            match dataset.tag(&name) {
                Some(tag) if tag.version == version => {}
                Some(tag) => unset(format!("it names {} already", tag.version)),
                None => match dataset.set_tag(self.by, name.clone(), version, None) {
                    Err(error @ (Error::Pruned { .. } | Error::NoVersion { .. })) => unset(error.to_string()),
                    set => {
                        set?;
                        imported.tags.push(name);
                    }
                },
            }
        }
        Ok(())
    }

    /// Makes a version of a commit, durably and as a whole, whose data follows that of `last`.
    ///
    /// # Errors
    /// Where the dataset cannot take it, or has a newer version than `last`.
    pub fn version(
        &self,
        dataset: &Dataset,
        planned: &Planned,
        Contents { gone, put }: Contents,
        last: VersionNo,
        forget: impl FnOnce(&Invalid),
    ) -> Result<Option<VersionNo>> {
        let commit = &planned.commit;
        let dir = Inode::root(0o755, self.by.uid, self.by.gid, Timestamp::from_parts(commit.committed, 0));
        let message = Some(commit.message.clone());
        let made = dataset.take_in_by(self.by, message, forget, |live, invalid| {
            if live.head.number != last {
                let why = "has got another version meanwhile: run the import again";
                return Err(Error::Invalid(format!("cannot import into {}: it {why}", dataset.name())));
            }
            apply(live, &gone, put, &dir, invalid)
        })?;
        let version = made.or_else(|| unannotated(dataset, &commit.message));
        if let Some(version) = version {
            let path = self.scope.path.map(|path| path.display().to_string());
            let said = [
                (COMMIT, Some(commit.id.clone())),
                ("git.author", Some(commit.author.clone())),
                ("git.date", Some(commit.date.clone())),
                (PATH, path),
            ];
            let mut values = BTreeMap::new();
            for (key, value) in said.into_iter().filter(|(_, value)| value.is_some()) {
                values.insert(AnnotationKey::new(key)?, value);
            }
            dataset.annotate(self.by, version, Remark { message: None, values })?;
        }
        Ok(version)
    }

    /// Reads what a commit changes into the store.
    ///
    /// # Errors
    /// Where its bytes cannot be read or are not what they should be, or a dataset can have no such name.
    pub fn contents(&mut self, planned: &Planned, teller: &mut Teller<'_>) -> Result<Contents> {
        let mtime = Timestamp::from_parts(planned.commit.committed, 0);
        let (mut gone, mut put) = (Vec::new(), Vec::new());
        let mut small = Batch::default();
        for Change { path, leaf, size } in &planned.changes {
            let path = names(path)?;
            let Some(leaf) = leaf else {
                gone.push(path);
                continue;
            };
            let (mode, mut body) = match leaf {
                Leaf::Symlink(oid) => (0o777, Body::Symlink(self.blobs.bytes(oid)?.into())),
                Leaf::Blob { exec, .. } | Leaf::Lfs { exec, .. } | Leaf::Dvc { exec, .. } => {
                    (if *exec { 0o755 } else { 0o644 }, Body::File(crate::model::Content::Empty))
                }
            };
            if let Body::File(content) = &mut body {
                if *size <= SMALL {
                    let mut bytes = Vec::new();
                    self.read(leaf, &mut |block| {
                        bytes.extend_from_slice(block);
                        Ok(())
                    })?;
                    small.push(put.len(), bytes);
                } else {
                    let mut builder = Builder::new(self.objects);
                    let done = self.done;
                    let (total, mut read) = (self.plan.total, 0);
                    self.read(leaf, &mut |block| {
                        builder.write(block)?;
                        read += block.len() as u64;
                        teller.tell(|| progress(total, done.files, done.bytes + read))
                    })?;
                    *content = builder.finish()?;
                }
            }
            let inode =
                Inode { body, nlink: 1, ..Inode::root(mode, self.by.uid, self.by.gid, Timestamp::now()) };
            put.push((path, Inode { mtime, ..inode }));
            if small.is_full() {
                self.store(&mut small, &mut put)?;
            }
            self.done.files += 1;
            self.done.bytes += size;
            let (total, done) = (self.plan.total, self.done);
            teller.tell(|| progress(total, done.files, done.bytes))?;
        }
        self.store(&mut small, &mut put)?;
        Ok(Contents { gone, put })
    }

    fn store(&self, small: &mut Batch, put: &mut [(Vec<Name>, Inode)]) -> Result<()> {
        for (at, content) in small.store(self.objects)? {
            put[at].1.body = Body::File(content);
        }
        Ok(())
    }

    fn read(&mut self, leaf: &Leaf, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match leaf {
            Leaf::Blob { oid, .. } | Leaf::Symlink(oid) => self.blobs.read(oid, each),
            Leaf::Lfs { size: 0, .. } => Ok(()),
            leaf => {
                let missing = || Error::Invalid(format!("cannot import: {leaf:?} went away meanwhile"));
                objects::read(&self.plan.file_of(leaf).ok_or_else(missing)?, leaf, each)
            }
        }
    }
}

fn progress(total: Progress, files: u64, bytes: u64) -> Progress {
    Progress { files, bytes, ..total }
}

/// The newest version, where it was made of a commit with this message and the import ended before it said so.
pub(super) fn unannotated(dataset: &Dataset, message: &str) -> Option<VersionNo> {
    let newest = dataset.newest();
    let entry = dataset.log_entry(newest).ok()?;
    let silent = dataset.annotation(newest).get(COMMIT).is_none();
    (silent && entry.message.as_deref() == Some(message)).then_some(newest)
}

fn names(path: &[u8]) -> Result<Vec<Name>> {
    let refused = |why| Error::Invalid(format!("cannot import {}: {why}", String::from_utf8_lossy(path)));
    path.split(|byte| *byte == b'/').map(|name| name_of(name).map_err(refused)).collect()
}
