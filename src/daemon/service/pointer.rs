//! Pointers: writing what they say, and giving what they point to.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dataset::{Caller, Dataset, Error, Extent, Pointed, dvc};
use crate::model::hash::hex;
use crate::model::{Body, Content, Ino, Kind, Name, VersionNo};
use crate::store::content::BLOCK;
use crate::store::{next_data, next_hole, read_at};

use super::super::failure::Failure;
use super::super::object::ObjectSpec;
use super::super::pointer::Pointer;
use super::super::protocol::{DvcInfo, Item, Located, PlaceInfo, PointerInfo};
use super::read::show;
use super::report::Pace;
use super::{Service, Sink};

impl Service {
    /// Tells what a pointer to an object says, and pins the version; with `dvc`, also tells what DVC says, and has
    /// `@dvc` show that.
    pub(super) fn point(
        &self,
        by: Caller,
        object: &ObjectSpec,
        dvc: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let (dataset, version, _reading) = self.version_of(object)?;
        if version == VersionNo::EMPTY {
            return Err(Failure::new(format!("{} has no version to point to yet", dataset.name())));
        }
        let pointed = Pointed::find(dataset.frozen(version), &object.path)?;
        let pointed = pointed.ok_or_else(|| Error::NotFound(show(object)))?;
        let content = pointed.content()?.ok_or_else(|| {
            Failure::new(format!("{} is neither a file nor a directory", show(object)))
                .hint("point to the directory it is in")
        })?;
        let purged = dataset.purged_files(&pointed.tree, pointed.ino)?;
        if !purged.is_empty() {
            return Err(Failure::from(dataset.purged_error(&pointed.tree, &purged))
                .hint("nobody could check it out: point to a version, or a directory, without them"));
        }
        let mut pace = Pace::new();
        let mut tell = |Extent { files, bytes }| {
            if pace.is_due() {
                sink.item(Item::Pointing { files, bytes })?;
            }
            Ok::<_, Failure>(())
        };
        let (extent, described) = match dvc {
            false => (pointed.extent(&mut tell)?, None),
            true => {
                let description =
                    dvc::describe(&self.repo, &dataset, &pointed, &mut tell).map_err(|failure| Failure {
                        message: format!("{}: {}", show(object), failure.message),
                        ..failure
                    })?;
                let described = description.described.clone();
                let _one_at_a_time = self.telling_dvc.lock();
                description.tell(self.repo.store(), &dataset)?;
                (described.extent, Some(described))
            }
        };
        let pointer = Pointer {
            dataset: dataset.name(),
            version,
            snapshot: dataset.snapshot(version)?,
            path: object.path.clone(),
            is_dir: pointed.kind == Kind::Dir,
            content,
            size: extent.bytes,
            files: extent.files,
            store: self.repo.store().id().to_string(),
        };
        if self.writable(&object.dataset).is_ok() && !self.repo.store().is_read_only() {
            // What is pointed to from elsewhere is not to go with a rule.
            dataset.pin(by, version, true, Some("pointed to".into()))?;
        }
        let pinned = dataset.is_pinned(version) || !dataset.tags_of(version).is_empty();
        let dvc = described.map(|described| DvcInfo {
            md5: hex(&described.md5) + if described.is_dir { ".dir" } else { "" },
            executable: described.executable,
            empty_dirs: described.empty_dirs,
        });
        sink.item(Item::Pointer(PointerInfo { pointer, pinned, dvc }))
    }

    /// Gives what is pointed to: where it is, and then, unless only that is wanted, all of it.
    pub(super) fn checkout(
        &self,
        pointer: &Pointer,
        locate: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Failure> {
        let (dataset, pointed) = pointer.find(&self.repo)?;
        let version = pointed.tree.version();
        let _reading = self.hold(&dataset, version)?;
        sink.item(Item::Located(Located {
            dataset: dataset.name().to_string(),
            version: version.to_string(),
            mounted: self.mounted_at(&dataset, version),
        }))?;
        let purged = dataset.purged_files(&pointed.tree, pointed.ino)?;
        if !purged.is_empty() {
            return Err(dataset.purged_error(&pointed.tree, &purged).into());
        }
        if locate { Ok(()) } else { self.send(&pointed, sink) }
    }

    /// Where a mount shows a version.
    fn mounted_at(&self, dataset: &Dataset, version: VersionNo) -> Option<PathBuf> {
        let host = self.host.as_ref().filter(|host| !host.is_detached())?;
        let (point, name) = (host.mountpoint(), dataset.name());
        match host.shows() {
            None => Some(point.join(name.as_str()).join(format!("@{version}"))),
            Some(shown) if shown == name.as_str() => Some(point.join(format!("@{version}"))),
            Some(shown) => (shown == format!("{name}@{version}")).then(|| point.to_owned()),
        }
    }

    /// Sends a file, or a directory with all that is in it, each directory before what it holds.
    fn send(&self, pointed: &Pointed, sink: &mut dyn Sink) -> Result<(), Failure> {
        let mut found: Vec<(Arc<[Name]>, Option<Name>, Ino)> = vec![(Arc::default(), None, pointed.ino)];
        while let Some((above, name, ino)) = found.pop() {
            let path: Vec<Name> = above.iter().cloned().chain(name).collect();
            let inode = pointed.tree.certain_inode(ino)?.1;
            let mut place = PlaceInfo {
                path,
                kind: inode.kind(),
                mode: inode.mode,
                size: inode.size(),
                target: None,
                device: 0,
            };
            match inode.body {
                Body::File(content) => {
                    sink.item(Item::Place(place))?;
                    self.send_content(&content, sink)?;
                    continue;
                }
                Body::Symlink(target) => place.target = Some(target.into()),
                Body::Special(_, device) => place.device = device,
                Body::Dir => {
                    let path: Arc<[Name]> = place.path.as_slice().into();
                    let entries = pointed.tree.all_entries(ino)?.into_iter();
                    found.extend(entries.map(|entry| (path.clone(), Some(entry.name), entry.ino)));
                }
            }
            sink.item(Item::Place(place))?;
        }
        Ok(())
    }

    /// Sends a file's bytes, and where it has none.
    fn send_content(&self, content: &Content, sink: &mut dyn Sink) -> Result<(), Failure> {
        let (objects, size) = (self.repo.objects(), content.size());
        let mut block = vec![0; size.min(BLOCK as u64) as usize];
        let mut at = 0;
        while at < size {
            let data = next_data(objects, content, at)?.unwrap_or(size);
            if data > at {
                sink.item(Item::Hole(data - at))?;
            }
            at = data;
            let end = next_hole(objects, content, at)?.unwrap_or(size);
            while at < end {
                let want = (end - at).min(block.len() as u64) as usize;
                let read = read_at(objects, content, at, &mut block[..want])?;
                sink.data(&block[..read])?;
                at += read as u64;
            }
        }
        Ok(())
    }
}
