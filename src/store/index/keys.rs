//! The keys of the index. Integers are big-endian; `~v` is the bitwise NOT of a version's number, so
//! that the newest version up to some other is the first key from there on.
//!
//! ```text
//! m name                    -> index format and store id; watermark; numbers of the runs of objects, oldest first
//! s ds4                     -> DatasetRecord
//! d ds4 dir8 name16 ~v8     -> Dirent; empty: the name is gone
//! i ds4 ino8 ~v8            -> 00 Inode, or 01 and where in the log it is (see `change`)
//! p ds4 dir8 ~v8            -> TreeHash (of directories but the root)
//! v ds4 v8                  -> VersionMeta
//! a ds4 v8                  -> Summary, of a version of very many changes
//! r ds4 v8                  -> the version a rollback restores, 8 bytes
//! h ds4 hash12 tag1 v8      -> empty; tag 0: snapshot id, 1: version id
//! c hash32                  -> Pos of a chunk or manifest node; empty: it was reclaimed
//! w ds4 sequence8           -> Pos of a PendingRecord
//! t ds4 sequence8           -> TagRecord
//! n ds4 sequence8           -> AnnotationRecord
//! k ds4 sequence8           -> Pos of a RetentionRecord
//! g ds4 v8                  -> the last of the versions from v on whose records were missing, 8 bytes
//! ```
//! In sled, keys that begin with a capital letter are of blocks of entries; objects are in files, too: see
//! [`packed`](super::packed).
//!
//! `ds` is the dataset's id, `name16` the name's [`NameKey`].

use crate::model::{DatasetId, Ino, NameKey, VersionNo};

/// A key, or the start of one.
pub type Key = Vec<u8>;
/// The key of a pending record.
pub type PendingKey = [u8; 13];

/// Key of the index's format and the id of its store.
pub const META: &[u8] = b"mmeta";
/// Key of the place in the log up to which the index is known to hold everything.
pub const WATERMARK: &[u8] = b"mwatermark";
/// Key of the numbers of the runs of objects.
pub const OBJECT_RUNS: &[u8] = b"mobjects";
/// First byte of [`summary`].
pub const SUMMARY: u8 = b'a';
/// Tag of a snapshot id below [`hash`].
pub const TAG_SNAPSHOT: u8 = 0;
/// Tag of a version id below [`hash`].
pub const TAG_VERSION: u8 = 1;
/// How many bytes of a hash its key has.
pub const HASH_PREFIX: usize = 12;

fn key(tag: u8, parts: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.push(tag);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn ds(ds: DatasetId) -> [u8; 4] {
    ds.0.to_be_bytes()
}

fn not(v: VersionNo) -> [u8; 8] {
    (!v.0).to_be_bytes()
}

/// Start of all dataset keys.
pub fn datasets() -> Key {
    vec![b's']
}

/// A dataset's record.
pub fn dataset(id: DatasetId) -> Key {
    key(b's', &[&ds(id)])
}

/// Start of the entries of a directory.
pub fn entries(id: DatasetId, dir: Ino) -> Key {
    key(b'd', &[&ds(id), &dir.0.to_be_bytes()])
}

/// Start of the versions of an entry.
pub fn entry(id: DatasetId, dir: Ino, name: NameKey) -> Key {
    key(b'd', &[&ds(id), &dir.0.to_be_bytes(), &name.0])
}

/// Start of all inodes of a dataset.
pub fn inodes(id: DatasetId) -> Key {
    key(b'i', &[&ds(id)])
}

/// Start of the versions of an inode.
pub fn inode(id: DatasetId, ino: Ino) -> Key {
    key(b'i', &[&ds(id), &ino.0.to_be_bytes()])
}

/// Start of the versions of a directory's tree hash.
pub fn tree(id: DatasetId, dir: Ino) -> Key {
    key(b'p', &[&ds(id), &dir.0.to_be_bytes()])
}

/// A key that starts with `prefix` and is of version `v`, newest versions first.
pub fn at(mut prefix: Key, v: VersionNo) -> Key {
    prefix.extend_from_slice(&not(v));
    prefix
}

/// The version of a key made by [`at`].
pub fn version_at_end(key: &[u8]) -> Option<VersionNo> {
    tail8(key).map(|v| VersionNo(!v))
}

/// Start of all versions of a dataset.
pub fn versions(id: DatasetId) -> Key {
    key(b'v', &[&ds(id)])
}

/// A version.
pub fn version(id: DatasetId, v: VersionNo) -> Key {
    key(b'v', &[&ds(id), &v.0.to_be_bytes()])
}

/// What is said of a version of very many changes.
pub fn summary(id: DatasetId, v: VersionNo) -> Key {
    key(SUMMARY, &[&ds(id), &v.0.to_be_bytes()])
}

/// Start of all rollbacks of a dataset.
pub fn rollbacks(id: DatasetId) -> Key {
    key(b'r', &[&ds(id)])
}

/// A rollback.
pub fn rollback(id: DatasetId, v: VersionNo) -> Key {
    key(b'r', &[&ds(id), &v.0.to_be_bytes()])
}

/// Start of all hashes of a dataset.
pub fn hashes(id: DatasetId) -> Key {
    key(b'h', &[&ds(id)])
}

/// A version by a hash of its.
pub fn hash(id: DatasetId, hash: &[u8; 32], tag: u8, v: VersionNo) -> Key {
    key(b'h', &[&ds(id), &hash[..HASH_PREFIX], &[tag], &v.0.to_be_bytes()])
}

/// A chunk or manifest node.
pub fn object(hash: &[u8; 32]) -> Key {
    key(b'c', &[hash])
}

/// Start of all pending records of all datasets.
pub fn all_pending() -> Key {
    vec![b'w']
}

/// Start of all pending records of a dataset.
pub fn pendings(id: DatasetId) -> Key {
    key(b'w', &[&ds(id)])
}

/// A pending record.
pub fn pending(id: DatasetId, sequence: u64) -> Key {
    key(b'w', &[&ds(id), &sequence.to_be_bytes()])
}

/// A key of a pending record, without an allocation of its own; `None` where it is no such key.
pub fn as_pending(key: &[u8]) -> Option<PendingKey> {
    key.try_into().ok().filter(|key: &PendingKey| key[0] == b'w')
}

/// Start of all tag records of all datasets.
pub fn all_tags() -> Key {
    vec![b't']
}

/// Start of all tag records of a dataset.
pub fn tags(id: DatasetId) -> Key {
    key(b't', &[&ds(id)])
}

/// A tag record.
pub fn tag(id: DatasetId, sequence: u64) -> Key {
    key(b't', &[&ds(id), &sequence.to_be_bytes()])
}

/// Start of all annotation records of all datasets.
pub fn all_annotations() -> Key {
    vec![b'n']
}

/// Start of all annotation records of a dataset.
pub fn annotations(id: DatasetId) -> Key {
    key(b'n', &[&ds(id)])
}

/// An annotation record.
pub fn annotation(id: DatasetId, sequence: u64) -> Key {
    key(b'n', &[&ds(id), &sequence.to_be_bytes()])
}

/// Start of all retention records of a dataset.
pub fn retentions(id: DatasetId) -> Key {
    key(b'k', &[&ds(id)])
}

/// A retention record.
pub fn retention(id: DatasetId, sequence: u64) -> Key {
    key(b'k', &[&ds(id), &sequence.to_be_bytes()])
}

/// Start of all gaps in the versions of a dataset.
pub fn gaps(id: DatasetId) -> Key {
    key(b'g', &[&ds(id)])
}

/// A gap that begins at version `v`.
pub fn gap(id: DatasetId, v: VersionNo) -> Key {
    key(b'g', &[&ds(id), &v.0.to_be_bytes()])
}

/// The number in a key's last 8 bytes.
pub fn tail8(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The first key after all that start with `prefix` (which is not all 0xff).
pub fn after_prefix(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::hex;

    #[test]
    fn keys_keep_their_bytes() {
        let (id, ino, v) = (DatasetId(0x0102), Ino(0x0304), VersionNo(5));
        let name = NameKey([0xee; 16]);
        let not5 = "fffffffffffffffa";
        assert_eq!(hex(&dataset(id)), "7300000102");
        assert_eq!(
            hex(&at(entry(id, ino, name), v)),
            format!("64000001020000000000000304{}{not5}", "ee".repeat(16))
        );
        assert_eq!(hex(&at(inode(id, ino), v)), format!("69000001020000000000000304{not5}"));
        assert_eq!(hex(&at(tree(id, ino), v)), format!("70000001020000000000000304{not5}"));
        assert_eq!(hex(&version(id, v)), "76000001020000000000000005");
        assert_eq!(hex(&summary(id, v)), "61000001020000000000000005");
        assert_eq!(hex(&rollback(id, v)), "72000001020000000000000005");
        assert_eq!(
            hex(&hash(id, &[0xcd; 32], TAG_VERSION, v)),
            format!("6800000102{}010000000000000005", "cd".repeat(12))
        );
        assert_eq!(hex(&object(&[0xcd; 32])), format!("63{}", "cd".repeat(32)));
        assert_eq!(hex(&pending(id, 6)), "77000001020000000000000006");
        assert_eq!(hex(&tag(id, 6)), "74000001020000000000000006");
        assert_eq!(hex(&annotation(id, 6)), "6e000001020000000000000006");
        assert_eq!(hex(&retention(id, 6)), "6b000001020000000000000006");
        assert_eq!(as_pending(&pending(id, 6)).map(Vec::from), Some(pending(id, 6)));
        assert_eq!(as_pending(&version(id, v)), None);
        assert_eq!(as_pending(&pendings(id)), None);
    }

    #[test]
    fn newer_versions_come_first() {
        let prefix = || inode(DatasetId(1), Ino(1));
        assert!(at(prefix(), VersionNo(9)) < at(prefix(), VersionNo(8)));
        assert_eq!(version_at_end(&at(prefix(), VersionNo(9))), Some(VersionNo(9)));
        assert_eq!(version_at_end(b"short"), None);
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(after_prefix(b"a\x01"), b"a\x02");
        assert_eq!(after_prefix(b"a\xff\xff"), b"b");
    }
}
