//! Putting chunks, manifest nodes and records into the log.

use std::collections::{HashMap, HashSet};

use super::Store;
use super::error::{Error, Result};
use super::identity::{self, Identity};
use super::index::AHEAD_FROM;
use super::index::change::{
    annotation_change, dataset_change, head_changes, object_change, pending_changes, reclaim_change,
    retention_change, tag_change, tree_changes, version_changes,
};
use super::objects::{ObjectStore, ReadPart};
use super::pack::{NewRecord, Pos, RecordKind};
use super::recovery::last_version;
use super::space::Claim;
use crate::model::content::CHUNK_MAX;
use crate::model::{
    AnnotationRecord, ChunkHash, ChunkRef, DatasetId, DatasetRecord, NodeHash, Ops, PendingRecord,
    ReclaimRecord, RetentionAction, RetentionRecord, SalvagedVersion, TagRecord, VersionHead, VersionId,
    VersionNo, codec,
};

/// Bytes of chunks appended at once: others get their turn in between.
const APPEND_MAX: usize = 4 << 20;

/// The last version of each dataset, as far as known.
pub(super) type Heads = HashMap<DatasetId, (VersionNo, VersionId)>;

impl ObjectStore for Store {
    fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>> {
        if let Some(bad) = chunks.iter().find(|c| c.is_empty() || c.len() > CHUNK_MAX) {
            return Err(Error::Refused(format!("a chunk of {} bytes", bad.len())));
        }
        let reference = |bytes: &&[u8]| ChunkRef { hash: ChunkHash::of(bytes), len: bytes.len() as u32 };
        let refs: Vec<ChunkRef> = chunks.iter().map(reference).collect();
        let mut seen = HashSet::new();
        let mut fresh = Vec::new();
        for (chunk, bytes) in refs.iter().zip(chunks) {
            if seen.insert(chunk.hash) && !self.has_object(&chunk.hash.0)? {
                fresh.push(NewRecord { kind: RecordKind::Chunk, hash: chunk.hash.0, payload: bytes });
            }
        }
        let mut rest = &fresh[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|r| {
                bytes += r.payload.len();
                bytes <= APPEND_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            self.put_objects(Claim::Data, now)?;
            rest = later;
        }
        Ok(refs)
    }

    fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<()> {
        self.read_chunk_parts(parts)
    }

    fn put_node(&self, encoded: &[u8]) -> Result<NodeHash> {
        let hash = NodeHash::of(encoded);
        if !self.has_object(&hash.0)? {
            let record = NewRecord { kind: RecordKind::Node, hash: hash.0, payload: encoded };
            self.put_objects(Claim::Record, &[record])?;
        }
        Ok(hash)
    }

    fn node(&self, hash: &NodeHash) -> Result<Vec<u8>> {
        self.read_node(hash)
    }
}

impl Store {
    /// Whether an object is in the store, and not known to be damaged.
    pub fn has_object(&self, hash: &[u8; 32]) -> Result<bool> {
        let known = self.collecting.touch(hash, || Ok(self.object_pos(hash)?.is_some()))?;
        Ok(known && !self.damaged.lock().contains(hash))
    }

    fn put_objects(&self, claim: Claim, records: &[NewRecord<'_>]) -> Result<()> {
        self.wait_for_index()?;
        self.log.append(claim, records, |placed, end| {
            let changes = records.iter().zip(placed).map(|(r, pos)| object_change(&r.hash, *pos));
            self.index.publish(changes, end);
        })?;
        let mut damaged = self.damaged.lock();
        if !damaged.is_empty() {
            damaged.retain(|hash| records.iter().all(|r| r.hash != *hash));
        }
        Ok(())
    }

    /// Appends a version and gives its id. It can be looked up at once.
    ///
    /// # Errors
    /// [`Error::Refused`] where it does not follow the dataset's last version.
    pub fn append_version(&self, record: &VersionHead, ops: Ops) -> Result<VersionId> {
        self.wait_for_index()?;
        let mut heads = self.heads.lock();
        let (last, last_id) = match heads.get(&record.dataset) {
            Some(head) => *head,
            None => self.load_head(record.dataset)?,
        };
        if record.number != last.next() || record.previous != last_id || record.base > last {
            return Err(Error::Refused(format!(
                "{} (based on {}) of dataset {} does not follow its last version, {last}",
                record.number, record.base, record.dataset.0
            )));
        }
        let encoded = record.with(ops);
        let id = VersionId::of(encoded.payload());
        let new = NewRecord { kind: RecordKind::Version, hash: id.0, payload: encoded.payload() };
        let (count, mut ahead) = (encoded.count(), None);
        let placed = self.log.append(Claim::Record, &[new], |placed, end| {
            if count >= AHEAD_FROM {
                ahead = Some((self.index.hold(), end));
                return;
            }
            let changes = |pos: &Pos| version_changes(id, record, count, encoded.ops(), *pos, u64::MAX);
            self.index.publish(placed.iter().flat_map(changes), end);
        })?;
        heads.insert(record.dataset, (record.number, id));
        drop(heads);
        if let (Some(ends), Some(pos)) = (ahead, placed.first()) {
            let tree = || tree_changes(record, encoded.ops(), *pos);
            let rest = head_changes(id, record, count, *pos, u64::MAX);
            self.index.publish_ahead(tree, rest, ends, || self.log.sync());
        }
        Ok(id)
    }

    /// Appends a version as one value.
    #[cfg(test)]
    pub fn append_record(&self, record: &crate::model::VersionRecord) -> Result<VersionId> {
        self.append_version(&record.head(), record.ops.iter().collect())
    }

    /// Appends a version whose own record was lost.
    pub(super) fn append_salvaged(&self, salvaged: &SalvagedVersion) -> Result<()> {
        let (head, payload) = (salvaged.record.head(), codec::encode(salvaged));
        let hash = RecordKind::Salvaged.hash(&payload);
        let new = NewRecord { kind: RecordKind::Salvaged, hash, payload: &payload };
        self.index.wait_for_room()?;
        self.log.append(Claim::Record, &[new], |placed, end| {
            let SalvagedVersion { id, pending_from, record } = salvaged;
            let changes = |pos: &Pos| {
                let ops = record.ops.iter().cloned();
                version_changes(*id, &head, record.ops.len() as u64, ops, *pos, *pending_from)
            };
            let changes = placed.iter().flat_map(changes);
            self.index.publish(changes, end);
        })?;
        Ok(())
    }

    fn load_head(&self, ds: DatasetId) -> Result<(VersionNo, VersionId)> {
        match last_version(&*self.index, ds)? {
            VersionNo::EMPTY => Ok((VersionNo::EMPTY, VersionId::ROOT)),
            last => {
                let found = self.version_id(ds, last)?;
                let id = found.ok_or_else(|| Error::Missing(format!("{last} of dataset {}", ds.0)))?;
                Ok((last, id))
            }
        }
    }

    /// Appends a dataset's name and settings.
    pub fn append_dataset(&self, record: &DatasetRecord) -> Result<()> {
        let payload = codec::encode(record);
        let hash = RecordKind::Dataset.hash(&payload);
        let new = NewRecord { kind: RecordKind::Dataset, hash, payload: &payload };
        self.wait_for_index()?;
        self.log.append(Claim::Record, &[new], |_, end| self.index.publish([dataset_change(record)], end))?;
        Ok(())
    }

    /// Appends changes that no version holds yet; they count until the dataset's next version.
    pub fn append_pending(&self, record: &PendingRecord) -> Result<()> {
        let payload = codec::encode(record);
        let hash = RecordKind::Pending.hash(&payload);
        let new = NewRecord { kind: RecordKind::Pending, hash, payload: &payload };
        self.wait_for_index()?;
        self.log.append(Claim::Record, &[new], |placed, end| {
            self.index.publish(placed.iter().flat_map(|pos| pending_changes(record, *pos)), end);
        })?;
        Ok(())
    }

    /// Appends a tag that was set, moved or removed. A release that knows no tags opens the store no more.
    pub fn append_tag(&self, record: &TagRecord) -> Result<()> {
        Identity::require(identity::TAGS, &self.layout)?;
        let payload = codec::encode(record);
        let hash = RecordKind::Tag.hash(&payload);
        let new = NewRecord { kind: RecordKind::Tag, hash, payload: &payload };
        self.wait_for_index()?;
        self.log.append(Claim::Record, &[new], |_, end| self.index.publish([tag_change(record)], end))?;
        Ok(())
    }

    /// Appends something said of a version. A release that knows no annotations opens the store no more.
    pub fn append_annotation(&self, record: &AnnotationRecord) -> Result<()> {
        Identity::require(identity::ANNOTATIONS, &self.layout)?;
        let payload = codec::encode(record);
        let hash = RecordKind::Annotation.hash(&payload);
        let new = NewRecord { kind: RecordKind::Annotation, hash, payload: &payload };
        self.wait_for_index()?;
        self.log
            .append(Claim::Record, &[new], |_, end| self.index.publish([annotation_change(record)], end))?;
        Ok(())
    }

    /// Appends a change in what is kept of a dataset. A release that knows none opens the store no more.
    pub fn append_retention(&self, record: &RetentionRecord) -> Result<()> {
        let format = match record.action {
            RetentionAction::Quota(_) => identity::QUOTAS,
            _ => identity::RETENTION,
        };
        Identity::require(format, &self.layout)?;
        let payload = codec::encode(record);
        let hash = RecordKind::Retention.hash(&payload);
        let new = NewRecord { kind: RecordKind::Retention, hash, payload: &payload };
        self.wait_for_index()?;
        self.log.append(Claim::Record, &[new], |placed, end| {
            self.index.publish(placed.iter().map(|pos| retention_change(record, *pos)), end);
        })?;
        Ok(())
    }

    /// Appends the list of objects that are forgotten.
    pub(super) fn append_reclaim(&self, record: &ReclaimRecord) -> Result<()> {
        Identity::require(identity::RETENTION, &self.layout)?;
        let payload = codec::encode(record);
        let hash = RecordKind::Reclaim.hash(&payload);
        let new = NewRecord { kind: RecordKind::Reclaim, hash, payload: &payload };
        self.wait_for_index()?;
        self.log.append(Claim::Record, &[new], |_, end| {
            self.index.publish(record.objects.iter().map(reclaim_change), end);
        })?;
        Ok(())
    }
}
