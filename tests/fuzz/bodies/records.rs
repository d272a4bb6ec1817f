//! What single records, values of the index and the small files of a store say.

use std::fs;

use stratafs::dataset::live::decode_xattrs;
use stratafs::model::check::Check;
use stratafs::model::content::CHUNK_MAX;
use stratafs::model::inode::Xattrs;
use stratafs::model::{
    AnnotationRecord, ChunkRef, DatasetId, DatasetRecord, Dirent, Ino, NameKey, TagRecord, TreeHash,
    VersionNo, View, codec,
};
use stratafs::store::fuzzing::{
    Change, Identity, Layout, LogPos, LogRecord, PlaceNote, StoredInode, decode, decode_checked,
    decode_inode, decode_pos, keys,
};
use stratafs::store::{ObjectStore, Pos, RecordKind, VersionMeta};

use super::files::MemObjects;
use super::input::{Input, Script};
use super::samples;

const POS: Pos = Pos { pack: 1, offset: 96, stored: 10, raw: 10, codec: 0 };

/// A record of any kind: what decodes makes sense, encodes to what decodes to the same, and makes changes to
/// the index that can be read.
pub fn records(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = RecordKind::from_number(input.byte());
    let hash = kind.hash(input.0);
    let Ok(Some(record)) = LogRecord::decode(kind, hash, input.0, POS) else {
        attributes(input.0);
        return;
    };
    let again = match &record {
        LogRecord::Object(found) => {
            assert_eq!(*found, hash);
            input.0.to_vec()
        }
        LogRecord::Version(id, version) => {
            assert_eq!(id.0, hash);
            assert!(version.check().is_ok());
            codec::encode(version)
        }
        LogRecord::Salvaged(salvaged) => codec::encode(salvaged),
        LogRecord::Dataset(dataset) => codec::encode(dataset),
        LogRecord::Pending(pending) => codec::encode(pending),
        LogRecord::Tag(tag) => codec::encode(tag),
        LogRecord::Annotation(annotation) => codec::encode(annotation),
        LogRecord::Retention(retention) => codec::encode(retention),
        LogRecord::Reclaim(reclaim) => codec::encode(reclaim),
    };
    let decoded = LogRecord::decode(kind, hash, &again, POS).expect("what was encoded decodes");
    assert_eq!(decoded.as_ref(), Some(&record));
    for change in record.changes(POS) {
        if let Change::Put(key, value) = change {
            check_entry(&key, &value);
        }
    }
}

/// A list of extended attributes in a chunk.
fn attributes(bytes: &[u8]) {
    if bytes.is_empty() || bytes.len() > CHUNK_MAX {
        return;
    }
    let objects = MemObjects::default();
    let chunk = objects.put_chunks(&[bytes]).expect("memory takes all")[0];
    if let Ok(list) = decode_xattrs(&objects, Some(&Xattrs::Chunk(chunk))) {
        let again: Vec<(Vec<u8>, Vec<u8>)> =
            codec::decode("attributes", &codec::encode(&list)).expect("what was encoded decodes");
        assert_eq!(again, list);
    }
    let longer = ChunkRef { len: chunk.len.saturating_add(1), ..chunk };
    assert!(decode_xattrs(&objects, Some(&Xattrs::Chunk(longer))).is_err());
}

/// Records of a real store, with the number of their kind first.
pub fn record_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        samples::records().iter().map(|(kind, bytes)| Script(vec![*kind]).raw(bytes).0).collect();
    let list = vec![(b"user.a".to_vec(), b"value".to_vec()), (b"user.b".to_vec(), vec![0; 300])];
    seeds.push(Script(vec![200]).raw(&codec::encode(&list)).0);
    seeds
}

/// Checks an entry that the product put into an index.
pub fn check_entry(key: &[u8], value: &[u8]) {
    let tag = key.first().expect("a key has a tag");
    let lengths = match tag {
        b's' => 5..=5,
        b'd' => 37..=37,
        b'i' | b'p' => 21..=21,
        b'v' | b'r' | b'g' | b'w' | b't' | b'n' => 13..=13,
        b'h' => 26..=26,
        b'c' => 33..=33,
        b'm' => 2..=20,
        other => panic!("an entry of the unknown sort {other}"),
    };
    assert!(lengths.contains(&key.len()), "a key of {} bytes, sort {tag}", key.len());
    match tag {
        b'd' => {
            assert!(value.is_empty() || decode::<Dirent>("entry", value).is_ok_and(|e| e.check().is_ok()))
        }
        b'h' => assert!(value.is_empty()),
        b'm' => {}
        _ => assert!(decodes(*tag, value), "a value of sort {tag} does not decode"),
    }
}

/// Decodes a value of the index by the tag of its key; whether it is one.
fn decodes(tag: u8, value: &[u8]) -> bool {
    match tag {
        b's' => decode_checked::<DatasetRecord>("dataset", value)
            .map(|record| {
                assert_eq!(decode_checked::<DatasetRecord>("", &codec::encode(&record)).ok(), Some(record))
            })
            .is_ok(),
        b'd' => decode::<Dirent>("entry", value)
            .map(|entry| assert_eq!(decode::<Dirent>("", &codec::encode(&entry)).ok(), Some(entry)))
            .is_ok(),
        b'i' => decode_inode(value).map(|found| check_inode(&found, value)).is_ok(),
        b'p' => <[u8; 32]>::try_from(value).map(TreeHash).is_ok(),
        b'v' => decode::<VersionMeta>("version", value)
            .map(|meta| assert_eq!(decode::<VersionMeta>("", &codec::encode(&meta)).ok(), Some(meta)))
            .is_ok(),
        b't' => decode_checked::<TagRecord>("tag record", value)
            .map(|tag| assert_eq!(decode_checked::<TagRecord>("", &codec::encode(&tag)).ok(), Some(tag)))
            .is_ok(),
        b'n' => decode_checked::<AnnotationRecord>("annotation record", value)
            .map(|said| {
                assert_eq!(decode_checked::<AnnotationRecord>("", &codec::encode(&said)).ok(), Some(said))
            })
            .is_ok(),
        b'r' | b'g' => keys::tail8(value).is_some(),
        _ => decode_pos(value).map(|pos| assert_eq!(pos.to_bytes(), value)).is_ok(),
    }
}

fn check_inode(found: &StoredInode, value: &[u8]) {
    match found {
        StoredInode::Here(inode) => {
            assert!(inode.check().is_ok() && inode.size() <= i64::MAX as u64);
            let mut again = inode.clone();
            again.set_places(&inode.places());
            assert_eq!(again.places(), inode.places());
            let encoded = [&[0][..], &codec::encode(inode)].concat();
            assert_eq!(decode_inode(&encoded).ok().as_ref(), Some(found));
        }
        StoredInode::InRecord(pos, op) => {
            assert_eq!(value[1..18], pos.to_bytes());
            assert_eq!(value[18..], (*op as u64).to_be_bytes());
        }
    }
}

/// A value of the index of any sort, and keys of any numbers.
pub fn index_values(bytes: &[u8]) {
    let mut input = Input(bytes);
    let tags = b"sdipvrgcwtn";
    decodes(tags[usize::from(input.byte()) % tags.len()], input.0);
    let (ds, ino) = (DatasetId(input.u32()), Ino(input.u64()));
    let (low, high) = (input.u64(), input.u64());
    let (old, new) = (VersionNo(low.min(high)), VersionNo(low.max(high)));
    let prefixes = [keys::inode(ds, ino), keys::tree(ds, ino), keys::entry(ds, ino, NameKey::of(input.0))];
    for prefix in prefixes {
        let (older, newer) = (keys::at(prefix.clone(), old), keys::at(prefix.clone(), new));
        assert_eq!((keys::version_at_end(&older), keys::version_at_end(&newer)), (Some(old), Some(new)));
        assert!(newer <= older, "newer versions come first");
        let end = keys::after_prefix(&prefix);
        assert!(prefix <= newer && older < end && !end.starts_with(&prefix));
    }
    let end = keys::after_prefix(bytes);
    if bytes.iter().any(|b| *b != 0xff) {
        assert!(end.as_slice() > bytes && !end.starts_with(bytes));
    }
    views(new, &mut input);
}

/// What a version sees, whatever rollbacks a history has: spans that are disjoint and descend.
fn views(newest: VersionNo, input: &mut Input<'_>) {
    let mut at = 0_u64;
    let mut rollbacks = Vec::new();
    while !input.is_empty() && rollbacks.len() < 64 {
        at = at.saturating_add(1 + u64::from(input.byte()));
        rollbacks.push((VersionNo(at), VersionNo(u64::from(input.u16()) % at)));
    }
    let view = View::of(newest, &rollbacks);
    let mut above = u64::MAX;
    for span in view.spans() {
        assert!(span.first <= span.last && (span.last.0 < above || above == u64::MAX));
        assert!(view.contains(span.first) && view.contains(span.last));
        above = span.first.0;
    }
    assert!(view.newest() <= newest);
}

/// Values of an index made of a real store's records.
pub fn index_seeds() -> Vec<Vec<u8>> {
    let tags = b"sdipvrgcwtn";
    let mut seeds = Vec::new();
    for (kind, payload) in samples::records() {
        let kind = RecordKind::from_number(*kind);
        let decoded = LogRecord::decode(kind, kind.hash(payload), payload, POS).expect("a real record");
        for change in decoded.iter().flat_map(|record| record.changes(POS)) {
            if let Change::Put(key, value) = change
                && let Some(tag) = tags.iter().position(|tag| *tag == key[0])
            {
                seeds.push(Script(vec![tag as u8]).raw(&value).0);
            }
        }
    }
    seeds
}

/// The files `strata.json`, `synced` and `open`, with any bytes, and `strata.json` with a check that fits.
pub fn identity(bytes: &[u8]) {
    let layout = Layout::new(&samples::shared_dir());
    fs::create_dir_all(layout.packs()).expect("make a directory");
    fs::write(layout.identity(), bytes).expect("write");
    if let Ok(read) = Identity::read(&layout) {
        check_identity(&layout, &read);
    }
    let mut input = Input(bytes);
    let id = samples::noise(input.u64(), 16);
    let id = stratafs::store::StoreId(id.try_into().expect("16 bytes"));
    let lost = input.0.chunks_exact(4).map(|n| u32::from_le_bytes(n.try_into().expect("4 bytes"))).collect();
    check_identity(&layout, &Identity::new(id, lost));
    fs::write(layout.synced(), bytes).expect("write");
    let synced = PlaceNote::read(&layout.synced()).expect("the file can be read");
    if let Some(end) = synced {
        let (note, opened) = PlaceNote::open(&layout.synced()).expect("the file can be opened");
        assert_eq!(opened, Some(end));
        note.write(LogPos(!end.0));
        assert_eq!(PlaceNote::read(&layout.synced()).expect("read"), Some(LogPos(!end.0)));
    }
    fs::write(layout.root().join("open"), bytes).expect("write");
    layout.last_session().expect("any bytes tell how a session ended");
    fs::write(layout.root().join("lock"), bytes).expect("write");
    drop(layout.lock().expect("any bytes may be in a lock"));
}

fn check_identity(layout: &Layout, identity: &Identity) {
    identity.write(layout).expect("write");
    let again = Identity::read(layout).expect("what was written can be read");
    assert_eq!((again.id, &again.lost), (identity.id, &identity.lost));
}

/// The small files of a store.
pub fn identity_seeds() -> Vec<Vec<u8>> {
    let dir = samples::scratch_dir();
    let layout = Layout::new(&dir.path().join("store"));
    layout.create().expect("make a store");
    let old = br#"{"format":1,"id":"abababababababababababababababab"}"#;
    let newer = br#"{"format":2,"id":"abababababababababababababababab","more":[1]}"#;
    let read = |path| fs::read(path).expect("a new store has it");
    let mut seeds = vec![old.to_vec(), newer.to_vec(), read(layout.identity()), read(layout.synced())];
    Identity::new(super::logs::STORE, vec![2, 5]).write(&layout).expect("write");
    seeds.push(read(layout.identity()));
    layout.begin_session().expect("mark");
    seeds.push(read(layout.root().join("open")));
    seeds
}
