//! Appending a bundle's records to the log, as a whole.
//!
//! A dataset that is new is out of sight until all is there. One that is there already has its records written to
//! a file of the store first, durably, as a bundle without content: from then on the import counts, and where it
//! is broken off it is finished when the store is opened.

use std::fs;
use std::io::Write;

use super::output::Output;
use super::read::{Bundle, CONTENT};
use super::said::{new_annotations, new_tags};
use super::{frame, may_have};
use crate::dataset::error::{Error, Result};
use crate::model::{AnnotationRecord, DatasetId, Ops, Span, TagRecord, VersionId, VersionNo};
use crate::store::error::chain;
use crate::store::{Error as StoreError, ImportOf, Store};

/// Finishes the imports into datasets that were broken off. To be called before any dataset is loaded.
pub fn finish_imports(store: &Store) -> Result<()> {
    for (id, path) in store.imports()? {
        let bundle = Bundle::open(&path, &mut |_, _| Ok(()));
        match bundle.and_then(|bundle| bundle.append(store, id, VersionNo::EMPTY)) {
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
    /// Its versions after `newest`.
    fn after(&self, newest: VersionNo) -> Span {
        Span { first: newest.next(), last: self.last() }
    }

    /// Writes all but the content to where [`finish_imports`] looks for it, durably; of what was given up, what
    /// concerns versions after `newest`.
    pub(super) fn note(&self, store: &Store, id: DatasetId, newest: VersionNo) -> Result<()> {
        let mut frames = self.frames()?;
        let has = |kind| may_have(frames.magic, kind);
        let what = match () {
            () if has(frame::PIN) => ImportOf::Pinned,
            () if has(frame::GIVEN_UP) => ImportOf::GivenUp,
            () if has(frame::ANNOTATION) => ImportOf::Annotated,
            () => ImportOf::Versions,
        };
        let (path, mut file) = store.begin_import(id, what)?;
        let io = |e| Error::Store(StoreError::io("write", &path, e));
        let mut out = |bytes: &[u8]| file.write_all(bytes).map_err(io);
        let mut output = Output::new(frames.magic, &mut out);
        let mut given_up = Some(self.given_up_frames(self.after(newest)));
        while let Some((kind, payload)) = frames.next_frame_but(CONTENT)? {
            match kind {
                frame::END => {}
                frame::GIVEN_UP => {
                    for (kind, payload) in given_up.take().into_iter().flatten() {
                        output.frame(kind, &payload)?;
                    }
                }
                kind => output.frame(kind, &payload)?,
            }
        }
        output.finish()?;
        file.sync_all().map_err(io)?;
        let dir = path.parent().unwrap_or(&path);
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }

    /// Appends all versions, tags, annotations and pins to the log, for the dataset with number `id`, but for
    /// those that are there already, and what was given up of the versions after `newest`. Where that is the
    /// number they had, the version ids stay; if not, they are others.
    ///
    /// # Errors
    /// Where the store cannot take them, or has others.
    pub fn append(&self, store: &Store, id: DatasetId, newest: VersionNo) -> Result<()> {
        let mut frames = self.frames()?;
        let (had, mut last_id) = (store.last_version(id)?, VersionId::ROOT);
        if self.since() > VersionNo::EMPTY {
            let there = store.version_id(id, self.since())?;
            last_id = there.ok_or_else(|| self.bad(&format!("{} is not there any more", self.since())))?;
        }
        let (mut tags, mut annotations) = (Vec::new(), Vec::new());
        while let Some((kind, payload)) = frames.next_frame_but(CONTENT)? {
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
                frame::ANNOTATION => {
                    annotations.push(AnnotationRecord { dataset: id, ..self.annotation(&payload)? });
                }
                _ => {}
            }
        }
        self.append_given_up(store, id, self.after(newest))?;
        let there = store.tags(id)?;
        let last = there.last().map_or(0, |tag| tag.sequence);
        for (sequence, tag) in (last + 1..).zip(new_tags(&there, tags)) {
            store.append_tag(&TagRecord { sequence, ..tag })?;
        }
        let there = store.annotations(id)?;
        let last = there.last().map_or(0, |annotation| annotation.sequence);
        for (sequence, annotation) in (last + 1..).zip(new_annotations(&there, annotations)) {
            store.append_annotation(&AnnotationRecord { sequence, ..annotation })?;
        }
        self.append_pins(store, id)
    }
}
