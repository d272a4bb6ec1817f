//! Appending a bundle's records to the log, as a whole.
//!
//! A dataset that is new is out of sight until all is there. One that is there already has its records written to
//! a file of the store first, durably, as a bundle without content: from then on the import counts, and where it
//! is broken off it is finished when the store is opened.

use std::collections::HashSet;
use std::fs;
use std::io::Write;

use super::frame;
use super::output::Output;
use super::read::Bundle;
use crate::dataset::error::{Error, Result};
use crate::model::{DatasetId, Ops, TagRecord, VersionId, VersionNo, codec};
use crate::store::error::chain;
use crate::store::{Error as StoreError, Store};

/// Finishes the imports into datasets that were broken off. To be called before any dataset is loaded.
pub fn finish_imports(store: &Store) -> Result<()> {
    for (id, path) in store.imports()? {
        let bundle = Bundle::open(&path, &mut |_, _| Ok(()));
        match bundle.and_then(|bundle| bundle.append(store, id)) {
            Ok(()) => store.sync()?,
            // It never came to count, or cannot any more.
            Err(error @ Error::Invalid(_)) => log::error!("an import is given up: {}", chain(&error)),
            Err(error) => {
                log::error!("an import is not finished yet: {}", chain(&error));
                continue;
            }
        }
        store.end_import(id)?;
    }
    Ok(())
}

impl Bundle {
    /// Writes all but the content to where [`finish_imports`] looks for it, durably.
    pub(super) fn note(&self, store: &Store, id: DatasetId) -> Result<()> {
        let (path, mut file) = store.begin_import(id)?;
        let io = |e| Error::Store(StoreError::io("write", &path, e));
        let mut out = |bytes: &[u8]| file.write_all(bytes).map_err(io);
        let mut frames = self.frames()?;
        let mut output = Output::new(frames.magic, &mut out);
        while let Some((kind, payload)) = frames.next_frame()? {
            if !matches!(kind, frame::CHUNK | frame::PACKED_CHUNK | frame::NODE | frame::END) {
                output.frame(kind, &payload)?;
            }
        }
        output.finish()?;
        file.sync_all().map_err(io)?;
        let dir = path.parent().unwrap_or(&path);
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }

    /// Appends all versions and tags to the log, for the dataset with number `id`, but for those that are there
    /// already. Where that is the number they had, the version ids stay; if not, they are others.
    ///
    /// # Errors
    /// Where the store cannot take them, or has others.
    pub fn append(&self, store: &Store, id: DatasetId) -> Result<()> {
        let mut frames = self.frames()?;
        let (had, mut last_id) = (store.last_version(id)?, VersionId::ROOT);
        if self.since() > VersionNo::EMPTY {
            let there = store.version_id(id, self.since())?;
            last_id = there.ok_or_else(|| self.bad(&format!("{} is not there any more", self.since())))?;
        }
        let mut tags = Vec::new();
        while let Some((kind, payload)) = frames.next_frame()? {
            match kind {
                frame::VERSION => {
                    let own = VersionId::of(&payload);
                    let mut reader = self.reader(payload)?;
                    let mut head = reader.head().clone();
                    (head.dataset, head.previous) = (id, last_id);
                    if head.number <= had {
                        let there = store.version_id(id, head.number)?;
                        let same = there.filter(|there| id != self.record().id || *there == own);
                        last_id = same.ok_or_else(|| self.bad("an attempt before had other versions"))?;
                        continue;
                    }
                    let mut ops = Ops::default();
                    for op in &mut reader {
                        ops.push(&op.map_err(|e| self.bad(&e.to_string()))?);
                    }
                    last_id = store.append_version(&head, ops)?;
                }
                frame::TAG => tags.push(TagRecord { dataset: id, ..self.tag(&payload)? }),
                _ => {}
            }
        }
        let there = store.tags(id)?;
        let last = there.last().map_or(0, |tag| tag.sequence);
        for (sequence, tag) in (last + 1..).zip(new_tags(&there, tags)) {
            store.append_tag(&TagRecord { sequence, ..tag })?;
        }
        Ok(())
    }
}

/// What of a bundle's tag records, which are in order, is to be added to those that are there: of each tag what
/// came after what is there. A tag that was set here in another way stays as it is.
fn new_tags(there: &[TagRecord], tags: Vec<TagRecord>) -> Vec<TagRecord> {
    let key = |tag: &TagRecord| codec::encode(&TagRecord { sequence: 0, ..tag.clone() });
    let in_bundle: HashSet<_> = tags.iter().map(key).collect();
    let own = there.iter().filter(|tag| !in_bundle.contains(&key(tag)));
    let mut settled: HashSet<_> = own.map(|tag| tag.name.clone()).collect();
    let there: HashSet<_> = there.iter().map(key).collect();
    let mut new = Vec::new();
    for tag in tags.into_iter().rev() {
        if there.contains(&key(&tag)) {
            settled.insert(tag.name);
        } else if !settled.contains(&tag.name) {
            new.push(tag);
        }
    }
    new.reverse();
    new
}
