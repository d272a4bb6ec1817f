//! The control socket: frames, what is in them, and what a service does with it.

use std::fmt::Debug;

use parking_lot::Mutex;
use serde_json::Value;
use stratafs::daemon::frame::{self, Kind};
use stratafs::daemon::object::VersionText;
use stratafs::daemon::pointer::Pointer;
use stratafs::daemon::protocol::{
    ChangeInfo, CommitInfo, EntryInfo, Made, NewTag, Status, Step, TagInfo, Verified,
};
use stratafs::daemon::{Failure, Item, ObjectSpec, Request, Service, Sink, policy};
use stratafs::model::{
    AnnotationKey, DatasetName, Kind as FileKind, Name, Policy, Remark, TagName, TreeHash, VersionNo,
};
use tempfile::TempDir;

use super::input::{Input, Script};
use super::samples::{self, BY};

/// Bytes as a socket brings them.
pub fn frames(bytes: &[u8]) {
    let mut from = bytes;
    loop {
        let before = from;
        match frame::read(&mut from) {
            Ok(Some((kind, payload))) => {
                let used = &before[..before.len() - from.len()];
                assert_eq!(used.len(), payload.len() + 5);
                let mut again = Vec::new();
                frame::write(&mut again, kind, &payload).expect("write to memory");
                assert_eq!(again, used);
                decode(kind, &payload);
            }
            Ok(None) => return assert!(before.is_empty()),
            Err(_) => break,
        }
    }
    if let Ok(pointer) = Pointer::parse(bytes) {
        assert_eq!(Pointer::parse(pointer.to_text().expect("encode").as_bytes()), Ok(pointer));
    }
    // A fuzzer rarely keeps lengths right.
    for kind in [Kind::Request, Kind::Item, Kind::End, Kind::Failure] {
        decode(kind, bytes);
    }
}

fn decode(kind: Kind, payload: &[u8]) {
    match kind {
        Kind::Request => same::<Request>(payload),
        Kind::Item => same::<Item>(payload),
        Kind::End => same::<u8>(payload),
        Kind::Failure => same::<Failure>(payload),
        Kind::Data => {}
    }
}

fn same<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(payload: &[u8]) {
    if let Ok(value) = frame::decode::<T>(payload) {
        let again = serde_json::to_vec(&value).expect("encode");
        assert_eq!(frame::decode::<T>(&again).expect("what was encoded decodes"), value);
    }
}

fn dataset() -> DatasetName {
    DatasetName::new(b"d").expect("a name")
}

fn pointer() -> Pointer {
    Pointer {
        dataset: dataset(),
        version: VersionNo(2),
        snapshot: TreeHash([7; 32]),
        path: vec![Name::new(b"sub\xff").expect("a name")],
        is_dir: true,
        content: TreeHash([8; 32]).to_hex(),
        size: 9,
        files: 1,
        store: "any".into(),
    }
}

fn all_requests() -> Vec<Request> {
    let version = || VersionText::parse("v2").expect("a version");
    let object = |text: &str| ObjectSpec::parse(text.as_ref()).expect("an object");
    let message = || Some("a message".to_owned());
    vec![
        Request::Status { count_all: true },
        Request::Datasets,
        Request::Log {
            dataset: dataset(),
            path: vec![Name::new(b"sub").expect("a name")],
            follow: true,
            limit: Some(3),
        },
        Request::Log { dataset: dataset(), path: Vec::new(), follow: true, limit: None },
        Request::Blame { object: object("d@v3"), deep: true },
        Request::Show { dataset: dataset(), version: Some(version()), limit: Some(3) },
        Request::Diff { before: object("d@v1/a"), after: object("d@prod"), path: Vec::new() },
        Request::Tag {
            dataset: dataset(),
            version: Some(version()),
            name: NewTag::Named(TagName::new("prod").expect("a tag")),
            message: message(),
            force: true,
        },
        Request::Tag {
            dataset: dataset(),
            version: None,
            name: NewTag::Next(Step::Minor),
            message: None,
            force: false,
        },
        Request::Untag { dataset: dataset(), name: TagName::new("1.4.0").expect("a tag"), message: None },
        Request::Tags { dataset: dataset(), history: true },
        Request::Annotate {
            dataset: dataset(),
            version: Some(version()),
            remark: Remark {
                message: message(),
                values: [(AnnotationKey::new("license").expect("a key"), Some("MIT".to_owned()))].into(),
            },
            history: false,
        },
        Request::SetPolicy {
            dataset: dataset(),
            policy: Policy::Settle(std::time::Duration::from_millis(1500)),
        },
        Request::Commit { dataset: dataset(), message: message() },
        Request::Rollback { dataset: dataset(), version: version(), message: message(), skip_purged: true },
        Request::Import {
            source: "/source".into(),
            dataset: dataset(),
            message: message(),
            delete: false,
            checksum: true,
        },
        Request::ImportHistory {
            source: "/source".into(),
            dataset: dataset(),
            branch: "main".into(),
            path: Some("data/images.dvc".into()),
            skip_missing: true,
            dry_run: true,
        },
        Request::Cat(object("d@v3/sub/noise")),
        Request::Read { object: object("d@v3/sub/noise"), offset: 7, len: 5 },
        Request::Resolve(object("d@v3/sub")),
        Request::List(object("d/sub")),
        Request::Pointer { object: object("d@v1/sub"), dvc: true },
        Request::Checkout { pointer: pointer(), locate: false },
        Request::Verify,
        Request::Batch { datasets: vec![dataset()], rollback_on_error: true, message: None },
        Request::EndBatch { success: true },
    ]
}

fn all_items() -> Vec<Item> {
    let status = Status {
        store: "/s".into(),
        id: "ab".into(),
        format: 1,
        pid: Some(2),
        mountpoint: Some("/mnt".into()),
        shows: None,
        read_only: false,
        read_only_because: None,
        datasets: Vec::new(),
        archived: vec!["old".into()],
        logical_bytes: Some(3),
        unique_bytes: Some(4),
        disk_bytes: 5,
        copy_bytes: 6,
        problems: vec!["packs: a reason".into()],
    };
    let (path, kind, change) = (b"a/\xff".to_vec(), FileKind::File, stratafs::dataset::ChangeKind::Added);
    let change = ChangeInfo {
        path,
        from: Some(b"b".to_vec()),
        kind,
        kind_before: Some(FileKind::Dir),
        change,
        attributes: vec!["time".into()],
        size_before: None,
        size_after: Some(u64::MAX),
        mode_before: None,
        mode_after: Some(0o644),
    };
    let entry = EntryInfo {
        name: b"a".to_vec(),
        kind: FileKind::Symlink,
        size: 1,
        mode: 0o777,
        uid: 0,
        gid: 0,
        mtime: "2026-11-01T10:30:00Z".into(),
        target: Some(b"b".to_vec()),
        content: Some("00ff".into()),
    };
    let made = Made {
        dataset: "d".into(),
        version: None,
        restores: None,
        attributes_left_out: 0,
        objects_missing: 0,
        left_out: Vec::new(),
        newest: "v0".into(),
    };
    vec![
        Item::Status(status),
        Item::Change(change),
        Item::Entry(entry),
        Item::Resolved(Some("v3".into())),
        Item::Made(made),
        Item::Tag(TagInfo {
            tag: "prod".into(),
            version: Some("v3".into()),
            was: None,
            time: "2026-11-01T10:30:00Z".into(),
            uid: 0,
            command: "strata tag d prod".into(),
            message: Some("\u{e9}\n".into()),
        }),
        Item::Verified(Verified::default()),
        Item::Progress { done: 1, total: 2 },
        Item::Importing { files: 1, files_total: 2, bytes: 3, bytes_total: u64::MAX, counted: true },
        Item::Commit(CommitInfo {
            commit: "ab".repeat(20),
            author: "A <a@example.org>".into(),
            date: "2020-05-06T07:08:09+02:00".into(),
            message: "first\n\nbody".into(),
            version: Some("v1".into()),
            changed: 1,
            removed: 2,
            bytes: 3,
            tags: vec!["prod".into()],
            notices: vec!["module is a submodule: skipped".into()],
        }),
        Item::BatchBegun,
    ]
}

/// Frames of all kinds, alone and one after the other.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    let framed = |kind, payload: Vec<u8>| {
        let mut out = Vec::new();
        frame::write(&mut out, kind, &payload).expect("write to memory");
        out
    };
    let json = |value: Result<Vec<u8>, _>| -> Vec<u8> { value.expect("encode") };
    let requests = all_requests().into_iter().map(|r| framed(Kind::Request, json(serde_json::to_vec(&r))));
    let items = all_items().into_iter().map(|item| framed(Kind::Item, json(serde_json::to_vec(&item))));
    let failure = framed(Kind::Failure, json(serde_json::to_vec(&Failure::new("no").hint("do"))));
    let mut seeds: Vec<_> = requests.chain(items).chain([failure]).collect();
    seeds.push(seeds.concat());
    seeds.push(pointer().to_text().expect("encode").into());
    seeds.push([framed(Kind::Data, b"raw".to_vec()), framed(Kind::End, b"0".to_vec())].concat());
    seeds
}

/// A service on a store of its own.
struct Served {
    /// Where the store is, and a directory to import.
    dir: TempDir,
    service: Service,
    left: u32,
}

impl Served {
    fn new() -> Served {
        let dir = samples::scratch_dir();
        let service = Service::new(samples::make_store(&dir.path().join("store")), None);
        let source = dir.path().join("source");
        std::fs::create_dir(&source).expect("make a directory");
        std::fs::write(source.join("f"), "imported").expect("write a file");
        Served { dir, service, left: 2000 }
    }
}

/// Counts an answer.
#[derive(Default)]
pub struct Counting {
    items: usize,
    bytes: usize,
}

impl Sink for Counting {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        if let Item::Dataset(dataset) = &item {
            assert!(policy::parse(&dataset.policy).is_ok(), "a policy that no text says: {}", dataset.policy);
        }
        assert!(serde_json::to_vec(&item).is_ok_and(|text| text.len() < frame::FRAME_MAX));
        self.items += 1;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        assert!(bytes.len() <= 1 << 20);
        self.bytes += bytes.len();
        Ok(())
    }
}

/// A request, put to a service: as JSON, or of any sort with any dataset, version and path.
pub fn requests(bytes: &[u8]) {
    static SERVED: Mutex<Option<Served>> = Mutex::new(None);
    let mut served = SERVED.lock();
    if served.as_ref().is_none_or(|served| served.left == 0) {
        *served = Some(Served::new());
    }
    let served = served.as_mut().expect("made above");
    served.left -= 1;
    let mut input = Input(bytes);
    let request = match input.byte() {
        b'{' | b'"' => frame::decode::<Request>(bytes).ok(),
        sort => request(sort, &mut input),
    };
    let request = match request {
        // Whoever may ask may have any directory imported: not this machine's.
        Some(Request::Import { dataset, message, delete, checksum, .. }) => {
            let source = served.dir.path().join("source");
            Request::Import { source, dataset, message, delete, checksum }
        }
        // Nor may it have git run anywhere.
        Some(Request::ImportHistory { dataset, branch, path, skip_missing, dry_run, .. }) => {
            let source = served.dir.path().join("source");
            Request::ImportHistory { source, dataset, branch, path, skip_missing, dry_run }
        }
        Some(request) => request,
        None => return,
    };
    let mut sink = Counting::default();
    match served.service.execute(BY, request.clone(), &mut sink) {
        Ok(code) => assert_eq!(code, 0, "damage, by {request:?}"),
        Err(failure) => assert!(!failure.message.is_empty() && failure.code != 0, "{request:?}: {failure:?}"),
    }
}

/// A request with parts of the input put where text of the user goes.
fn request(sort: u8, input: &mut Input<'_>) -> Option<Request> {
    let requests = all_requests();
    let request = &requests[usize::from(sort) % requests.len()];
    let mut value = serde_json::to_value(request).expect("encode");
    replace(&mut value, input);
    serde_json::from_value(value).ok()
}

fn replace(value: &mut Value, input: &mut Input<'_>) {
    if input.byte().is_multiple_of(2) {
        match value {
            Value::Object(map) => map.values_mut().for_each(|value| replace(value, input)),
            Value::Array(list) => list.iter_mut().for_each(|value| replace(value, input)),
            _ => {}
        }
        return;
    }
    match value {
        Value::String(text) => *text = String::from_utf8_lossy(input.block()).into_owned(),
        Value::Number(number) => *number = input.u64().into(),
        Value::Bool(truth) => *truth ^= true,
        Value::Array(list) => *list = input.block().iter().map(|byte| Value::from(*byte)).collect(),
        Value::Null | Value::Object(_) => *value = Value::from(input.u32()),
    }
}

/// Requests of all sorts.
pub fn request_seeds() -> Vec<Vec<u8>> {
    let json = all_requests().into_iter().map(|request| serde_json::to_vec(&request).expect("encode"));
    let sorts = (0..all_requests().len() as u8)
        .map(|sort| Script(vec![sort, 0, 0]).raw(&[1]).block(b"v3").raw(&[0; 4]).0);
    json.chain(sorts).collect()
}
