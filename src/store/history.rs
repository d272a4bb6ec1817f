//! Looking up versions: by number, time and hash.

use super::Store;
use super::error::{Error, Result};
use super::index::change::{Summary, VersionMeta, decode, decode_version};
use super::index::keys;
use super::pack::RecordKind;
use super::recovery::last_version;
use crate::model::codec::{self, CodecError};
use crate::model::hash::hex;
use crate::model::{
    DatasetId, RecordBytes, Span, Timestamp, VersionId, VersionNo, VersionReader, VersionRecord,
};

/// Most bytes of what precedes the record in a salvaged version: an id and a number.
const SALVAGED_HEAD: usize = 64;
/// Fewest digits of a hash that are looked up.
pub const HASH_DIGITS_MIN: usize = 8;

/// Which hash of a version matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashKind {
    /// Its snapshot id.
    Snapshot,
    /// Its version id.
    Version,
}

/// A hash that starts with the digits looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashMatch {
    /// The first version with it.
    pub version: VersionNo,
    /// The whole hash.
    pub hash: [u8; 32],
    /// Which of the version's hashes it is.
    pub kind: HashKind,
}

impl Store {
    /// Number of a dataset's last version (0 where it has none).
    pub fn last_version(&self, ds: DatasetId) -> Result<VersionNo> {
        last_version(&*self.index, ds)
    }

    /// Numbers of a dataset's versions from `first` on, ascending, at most `limit`. Those whose records
    /// were lost are left out.
    pub fn version_numbers(&self, ds: DatasetId, first: VersionNo, limit: usize) -> Result<Vec<VersionNo>> {
        let mut found = Vec::new();
        self.scan_versions(ds, first, limit, &mut |number, _| found.push(number))?;
        Ok(found)
    }

    /// Numbers of all of a dataset's versions, ascending, and when each was made; `None` where that cannot be read.
    /// Those whose records were lost are left out.
    pub fn version_times(&self, ds: DatasetId) -> Result<Vec<(VersionNo, Option<Timestamp>)>> {
        let mut found = Vec::new();
        self.scan_versions(ds, VersionNo(1), usize::MAX, &mut |number, value| {
            let meta = decode::<VersionMeta>("version", value);
            found.push((number, meta.ok().map(|meta| meta.time)));
        })?;
        Ok(found)
    }

    /// Calls `each` with what the index has of versions from `first` on, at most `limit`.
    fn scan_versions(
        &self,
        ds: DatasetId,
        first: VersionNo,
        limit: usize,
        each: &mut dyn FnMut(VersionNo, &[u8]),
    ) -> Result<()> {
        let mut range = self.index.scan(&keys::versions(ds));
        range.seek(keys::version(ds, first));
        let mut count = 0;
        while count < limit
            && let Some((key, value)) = range.next_entry()?
        {
            let number =
                keys::tail8(&key).ok_or_else(|| Error::Index("a version has no known form".into()))?;
            each(VersionNo(number), &value);
            count += 1;
        }
        Ok(())
    }

    /// The spans of a dataset's versions whose records are lost, ascending.
    pub fn lost_versions(&self, ds: DatasetId) -> Result<Vec<Span>> {
        let mut gaps = self.index.scan(&keys::gaps(ds));
        let mut lost = Vec::new();
        while let Some((key, value)) = gaps.next_entry()? {
            let ends = keys::tail8(&key).zip(keys::tail8(&value));
            let (mut first, last) = ends.ok_or_else(|| Error::Index("a gap has no known form".into()))?;
            // Some may have been salvaged since.
            while first <= last {
                let next = self.version_numbers(ds, VersionNo(first), 1)?;
                let next = next.first().map_or(last + 1, |n| n.0.min(last + 1));
                if next > first {
                    lost.push(Span { first: VersionNo(first), last: VersionNo(next - 1) });
                }
                first = next + 1;
            }
        }
        Ok(lost)
    }

    /// What the index keeps of a version.
    pub fn version_meta(&self, ds: DatasetId, number: VersionNo) -> Result<Option<VersionMeta>> {
        self.index.get(&keys::version(ds, number))?.map(|value| decode("version", &value)).transpose()
    }

    /// A version's id and record, read from its pack and verified.
    pub fn version(&self, ds: DatasetId, number: VersionNo) -> Result<Option<(VersionId, VersionRecord)>> {
        let Some(meta) = self.version_meta(ds, number)? else { return Ok(None) };
        let what = || format!("record of {number} of dataset {}", ds.0);
        let (header, payload) = self.read_at(meta.record, what)?;
        let (id, record) = decode_version(header.kind, header.hash, &payload, meta.record)?;
        if (record.dataset, record.number) != (ds, number) {
            return Err(Error::Index(format!("the {} is not where it says", what())));
        }
        Ok(Some((id, record)))
    }

    /// A version's id and record as [`Store::version`] gives them, but its changes are decoded one by one,
    /// as they are asked for.
    pub fn version_reader(
        &self,
        ds: DatasetId,
        number: VersionNo,
    ) -> Result<Option<(VersionId, VersionReader)>> {
        let Some(meta) = self.version_meta(ds, number)? else { return Ok(None) };
        let what = || format!("record of {number} of dataset {}", ds.0);
        let (header, payload) = self.open_at(meta.record, what)?;
        let failed = |source| Error::Decode { what: what(), source };
        let (id, reader) = match header.kind {
            RecordKind::Version => (VersionId(header.hash), VersionReader::new(payload, 0)),
            RecordKind::Salvaged => {
                let mut start = vec![0; payload.size().min(SALVAGED_HEAD)];
                payload
                    .fill(0, &mut start)
                    .map_err(|source| failed(CodecError::Read { what: "salvaged version", source }))?;
                let ((id, _), used) =
                    codec::decode_first::<(VersionId, u64)>("salvaged version", &start).map_err(failed)?;
                (id, VersionReader::new(payload, used))
            }
            _ => return Err(Error::Index("a version is not where it says".into())),
        };
        let reader = reader.map_err(failed)?;
        if (reader.head().dataset, reader.head().number) != (ds, number) {
            return Err(Error::Index(format!("the {} is not where it says", what())));
        }
        Ok(Some((id, reader)))
    }

    /// A version's id and what is said of it: from the index, or else from its record.
    pub fn summary(&self, ds: DatasetId, number: VersionNo) -> Result<Option<(VersionId, Summary)>> {
        if let Some(value) = self.index.get(&keys::summary(ds, number))? {
            let summary = decode("summary", &value)?;
            return Ok(self.version_id(ds, number)?.map(|id| (id, summary)));
        }
        let Some((id, reader)) = self.version_reader(ds, number)? else { return Ok(None) };
        let (head, changes) = (reader.head(), reader.left());
        let summary = Summary { author: head.author.clone(), message: head.message.clone(), changes };
        Ok(Some((id, summary)))
    }

    /// A version's id. It is in the header of its record, which has a checksum of its own.
    pub fn version_id(&self, ds: DatasetId, number: VersionNo) -> Result<Option<VersionId>> {
        let Some(meta) = self.version_meta(ds, number)? else { return Ok(None) };
        match self.header_at(meta.record)? {
            Some(header) if header.kind == RecordKind::Version => Ok(Some(VersionId(header.hash))),
            _ => Ok(self.version(ds, number)?.map(|(id, _)| id)),
        }
    }

    /// The newest version made at or before `time` (0 where there is none).
    pub fn version_at(&self, ds: DatasetId, time: Timestamp) -> Result<VersionNo> {
        let (mut known, mut beyond) = (VersionNo::EMPTY, self.last_version(ds)?.next());
        // Times never decrease. Numbers may be missing where records were lost.
        let prefix = keys::versions(ds);
        while known.next() < beyond {
            let middle = VersionNo(known.0 + (beyond.0 - known.0) / 2);
            let found = self.index.first(&keys::version(ds, middle), &prefix)?;
            let found = found.and_then(|(key, value)| Some((VersionNo(keys::tail8(&key)?), value)));
            match found.filter(|(version, _)| *version < beyond) {
                Some((version, value)) if decode::<VersionMeta>("version", &value)?.time <= time => {
                    known = version;
                }
                _ => beyond = middle,
            }
        }
        Ok(known)
    }

    /// The dataset's rollbacks: each version that restored another, and that other, by version.
    pub fn rollbacks(&self, ds: DatasetId) -> Result<Vec<(VersionNo, VersionNo)>> {
        let mut range = self.index.scan(&keys::rollbacks(ds));
        let mut all = Vec::new();
        while let Some((key, value)) = range.next_entry()? {
            let numbers = keys::tail8(&key).zip(keys::tail8(&value)).filter(|(version, base)| base < version);
            let (version, base) =
                numbers.ok_or_else(|| Error::Index("a rollback has no known form".into()))?;
            all.push((VersionNo(version), VersionNo(base)));
        }
        Ok(all)
    }

    /// The distinct snapshot and version ids of a dataset that start with these hexadecimal digits
    /// (8 to 64, in lower or upper case; others match nothing). Of a snapshot id that several versions
    /// have, the first version.
    pub fn by_hash_prefix(&self, ds: DatasetId, digits: &str) -> Result<Vec<HashMatch>> {
        let digits = digits.to_ascii_lowercase();
        let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !all_hex || !(HASH_DIGITS_MIN..=64).contains(&digits.len()) {
            return Ok(Vec::new());
        }
        let shown = digits.len().min(2 * keys::HASH_PREFIX) / 2;
        let whole = (0..shown).filter_map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok());
        let prefix: Vec<u8> = keys::hashes(ds).into_iter().chain(whole).collect();
        let mut range = self.index.scan(&prefix);
        let mut found = Vec::new();
        while let Some((key, _)) = range.next_entry()? {
            let damaged = || Error::Index("the key of a hash has no known form".into());
            let (group, _) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
            let version = keys::tail8(&key).map(VersionNo).ok_or_else(damaged)?;
            let kind = match group.last() {
                Some(&keys::TAG_SNAPSHOT) => HashKind::Snapshot,
                Some(&keys::TAG_VERSION) => HashKind::Version,
                _ => return Err(damaged()),
            };
            if let Some(hash) = self.hash_of(ds, version, kind)?
                && hex(&hash).starts_with(&digits)
            {
                found.push(HashMatch { version, hash, kind });
            }
            range.seek(keys::at(group.to_vec(), VersionNo::EMPTY));
        }
        Ok(found)
    }

    fn hash_of(&self, ds: DatasetId, version: VersionNo, kind: HashKind) -> Result<Option<[u8; 32]>> {
        match kind {
            HashKind::Snapshot => Ok(self.version_meta(ds, version)?.map(|meta| meta.snapshot.0)),
            HashKind::Version => Ok(self.version_id(ds, version)?.map(|id| id.0)),
        }
    }
}
