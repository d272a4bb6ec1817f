//! Stores with nonsense under valid checksums, and their use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use stratafs::model::{Body, Content, Ino, Inode, Kind, Name, NodeHash, Op, TreeRef, VersionRecord, codec};
use stratafs::store::fuzzing::{self, Identity, Layout, LogPos, PlaceNote, Scanner, Step};
use stratafs::store::{Payload, RecordHeader, RecordKind};

use crate::harness::*;

/// Most memory the daemon may have taken, in KiB.
const MEMORY_MAX: u64 = 300 << 10;

fn pack_of(store: &Path) -> PathBuf {
    store.join("packs/00000001.pack")
}

/// The records of a store.
fn records(store: &Path) -> Vec<(RecordHeader, Vec<u8>)> {
    let id = Identity::read(&Layout::new(store)).expect("a store").id;
    let file = fs::File::open(pack_of(store)).expect("open the pack");
    let mut scanner = Scanner::new(file, id, 1, 0, u64::MAX).expect("begin a scan");
    let mut records = Vec::new();
    while let Some(step) = scanner.step(|_| true).expect("read the pack") {
        let Step::Record { header, payload: Payload::Intact(bytes), .. } = step else { panic!("{step:?}") };
        records.push((header, bytes.to_vec()));
    }
    records
}

/// Writes the pack of a store anew, all checksums valid; its index goes.
fn write(store: &Path, records: Vec<(RecordHeader, Vec<u8>)>) {
    let layout = Layout::new(store);
    let id = Identity::read(&layout).expect("a store").id;
    let mut pack = fuzzing::encode_pack_header(id, 1).to_vec();
    for (header, payload) in records {
        let (len, hash) = (payload.len() as u32, header.kind.hash(&payload));
        let header = RecordHeader { stored: len, raw: len, hash, ..header };
        let place = fuzzing::Place { store: id, pack: 1, offset: pack.len() as u32 };
        pack.extend_from_slice(&header.encode(place));
        pack.extend_from_slice(&payload);
    }
    let synced = layout.synced();
    PlaceNote::create(&synced).expect("make a note of what is durable");
    PlaceNote::open(&synced).expect("open it").0.write(LogPos::new(1, pack.len() as u32));
    fs::write(pack_of(store), pack).expect("write the pack");
    fs::remove_dir_all(store.join("index")).expect("remove the index");
}

/// Makes each record what `edit` gives.
pub fn forge(store: &Path, edit: impl Fn(RecordKind, Vec<u8>) -> Vec<u8>) {
    let edited = |(header, bytes): (RecordHeader, Vec<u8>)| (header, edit(header.kind, bytes));
    write(store, records(store).into_iter().map(edited).collect());
}

/// Edits the last version.
pub fn forge_last(store: &Path, edit: impl FnOnce(&mut VersionRecord)) {
    let mut records = records(store);
    let last = records.iter_mut().rfind(|(header, _)| header.kind == RecordKind::Version);
    let (_, bytes) = last.expect("a version");
    let mut record: VersionRecord = codec::decode("version", bytes).expect("decode");
    edit(&mut record);
    *bytes = codec::encode(&record);
    write(store, records);
}

/// Replaces bytes wherever they are, by as many.
pub fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// The inodes in a record.
pub fn inodes(record: &mut VersionRecord) -> impl Iterator<Item = (Ino, &mut Inode)> {
    record.ops.iter_mut().filter_map(|op| match op {
        Op::Inode { ino, inode } => Some((*ino, inode)),
        _ => None,
    })
}

/// Gives every file of a record this body.
pub fn body(record: &mut VersionRecord, body: &Body) {
    let files = inodes(record).filter(|(_, inode)| inode.kind() == Kind::File);
    files.for_each(|(_, inode)| inode.body = body.clone());
}

pub fn tree(size: u64, depth: u8) -> Body {
    Body::File(Content::Tree(TreeRef { root: NodeHash([7; 32]), size, depth }))
}

/// A name for what is wrong, and what makes it so.
pub type Case = (&'static str, Box<dyn Fn(&mut VersionRecord)>);

/// A store whose last version made `evil-name-01/file`, `evil-name-02` and a link, and with whose first all is
/// well.
pub struct Rig {
    pub m: Mount,
    outside: Vec<PathBuf>,
}

impl Rig {
    pub fn new() -> Rig {
        let m = Mount::new();
        let d = m.dataset("d");
        d.policy("manual");
        d.mkdir("good");
        d.write("good/file", noise(1, 200_000));
        d.write("good/small", "small");
        m.strata(&["commit", "d"]).ok();
        d.mkdir("evil-name-01");
        d.write("evil-name-01/file", noise(2, 300_000));
        d.write("evil-name-02", "evil");
        symlink("target", d.path("evil-link-03")).expect("symlink");
        m.strata(&["commit", "d"]).ok();
        m.down();
        let outside = Rig::around(&m);
        Rig { m, outside }
    }

    /// What is beside the store.
    fn around(m: &Mount) -> Vec<PathBuf> {
        let parent = m.store().parent().expect("a parent");
        let mut found: Vec<PathBuf> = Vec::new();
        let mut todo = vec![parent.to_owned()];
        while let Some(dir) = todo.pop().filter(|dir| dir != m.store()) {
            for entry in fs::read_dir(dir).expect("list") {
                let path = entry.expect("entry").path();
                if path.is_dir() && path != m.store() {
                    todo.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }

    /// Uses the store in every way: one bad version is no reason to refuse the others.
    pub fn judge(self, what: &str) {
        let Rig { m, outside } = self;
        m.up(&[]);
        let script = "
                cd \"$1\"; ls -la . 
                timeout 20 find . ./d/@v1 ./d/@v2 ./d/@latest/ -maxdepth 12 -printf '%p %s %m %l\\n' | head -n 20000
                for f in d/* d/*/* d/@v1/good/* d/@v2/*/* d/@v2/*; do
                    timeout 20 head -c 400000 \"$f\" | wc -c
                    timeout 20 tail -c 100 \"$f\" | wc -c
                    timeout 20 readlink \"$f\"
                    timeout 20 getfattr -d -m - \"$f\"
                done
                timeout 20 cat d/@history/log.jsonl; timeout 20 ls -l d/@history d/@file d/@file/good/file d/good/@history
                timeout 20 mkdir d/new; timeout 20 touch d/new/file d/evil-name-02; timeout 20 rm -rf d/evil-name-01
                true";
        let script = run(Command::new("bash").args(["-c", script, "bash"]).arg(m.point()));
        assert_eq!(script.code, Some(0), "{what}: {script:?}");
        let first = m.point().join("d/@v1/good");
        assert!(fs::read(first.join("file")).expect("what is good is read") == noise(1, 200_000), "{what}");
        assert_eq!(fs::read(first.join("small")).expect("read"), b"small", "{what}");
        for command in [
            &["status", "--sizes"][..],
            &["log", "d"],
            &["show", "d@v2"],
            &["ls", "d@v2"],
            &["commit", "d"],
            &["rollback", "d", "v1"],
            &["log", "d", "good/file"],
        ] {
            let ran = m.strata(command);
            assert!(matches!(ran.code, Some(0 | 1 | 3)), "{what}: {command:?}: {ran:?}");
            assert!(!ran.stderr.contains("internal error"), "{what}: {ran:?}");
        }
        let ran = m.strata(&["verify"]);
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{what}: {ran:?}");
        let pid = m.daemon().expect("the daemon lives").as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon lives");
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < MEMORY_MAX, "{what}: {peak} KiB");
        m.down();
        for command in [&["fsck", "--dry-run"][..], &["fsck"], &["verify"]] {
            let ran = m.strata(command);
            assert!(matches!(ran.code, Some(0 | 1 | 3 | 4)), "{what}: {command:?}: {ran:?}");
        }
        let log = fs::read_to_string(m.store().join("daemon.log")).unwrap_or_default();
        assert!(!log.contains("panicked"), "{what}: {log}");
        assert_eq!(Rig::around(&m), outside, "{what}: nothing is made outside of the store");
    }
}
