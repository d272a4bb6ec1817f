//! Stores that somebody else made: nonsense under valid checksums. Whatever it is, the store is refused, or all
//! else in it can be used; the daemon neither panics nor hangs nor takes much memory, and nothing outside of
//! the store is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use stratafs::model::inode::Xattrs;
use stratafs::model::{
    Body, ChunkHash, ChunkRef, Content, DatasetId, Ino, Inode, Kind, Name, NodeHash, Op, Piece, Place,
    Timestamp, TreeRef, VersionNo, VersionRecord, codec,
};
use stratafs::store::fuzzing::{
    self, Identity, Layout, LogPos, PACK_HEADER, RECORD_HEADER, Scanner, Step, SyncedNote,
};
use stratafs::store::{Payload, RecordHeader, RecordKind};

use crate::harness::*;

/// Most memory the daemon may have taken, in KiB.
const MEMORY_MAX: u64 = 300 << 10;

fn pack_of(store: &Path) -> PathBuf {
    store.join("packs/00000001.pack")
}

/// Writes the pack of a store anew with each record as `edit` gives it, all checksums valid; its index goes.
fn forge(store: &Path, mut edit: impl FnMut(RecordKind, Vec<u8>) -> Vec<u8>) {
    let id = Identity::read(&Layout::new(store)).expect("a store").id;
    let file = fs::File::open(pack_of(store)).expect("open the pack");
    let mut scanner = Scanner::new(file, id, 1, 0, u64::MAX).expect("begin a scan");
    let mut pack = fuzzing::encode_pack_header(id, 1).to_vec();
    assert_eq!(pack.len(), PACK_HEADER as usize);
    while let Some(step) = scanner.step(|_| true).expect("read the pack") {
        let Step::Record { header, payload: Payload::Intact(bytes), .. } = step else { panic!("{step:?}") };
        let payload = edit(header.kind, bytes.to_vec());
        let (len, hash) = (payload.len() as u32, header.kind.hash(&payload));
        let header = RecordHeader { stored: len, raw: len, hash, ..header };
        let place = fuzzing::Place { store: id, pack: 1, offset: pack.len() as u32 };
        pack.extend_from_slice(&header.encode(place));
        pack.extend_from_slice(&payload);
    }
    assert!(pack.len() > RECORD_HEADER as usize);
    let synced = Layout::new(store).synced();
    SyncedNote::create(&synced).expect("make a note of what is durable");
    SyncedNote::open(&synced).expect("open it").0.write(LogPos::new(1, pack.len() as u32));
    fs::write(pack_of(store), pack).expect("write the pack");
    fs::remove_dir_all(store.join("index")).expect("remove the index");
}

/// Edits the last version.
fn forge_last(store: &Path, edit: impl FnOnce(&mut VersionRecord)) {
    let mut versions = 0;
    forge(store, |kind, bytes| {
        versions += u32::from(kind == RecordKind::Version);
        bytes
    });
    let (mut edit, mut seen) = (Some(edit), 0);
    forge_again(store, |kind, bytes| {
        seen += u32::from(kind == RecordKind::Version);
        if kind != RecordKind::Version || seen < versions {
            return bytes;
        }
        let mut record: VersionRecord = codec::decode("version", &bytes).expect("decode");
        edit.take().expect("one last version")(&mut record);
        codec::encode(&record)
    });
}

fn forge_again(store: &Path, edit: impl FnMut(RecordKind, Vec<u8>) -> Vec<u8>) {
    fs::create_dir(store.join("index")).expect("mkdir");
    forge(store, edit);
}

/// Replaces bytes wherever they are, by as many.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// The inodes in a record.
fn inodes(record: &mut VersionRecord) -> impl Iterator<Item = (Ino, &mut Inode)> {
    record.ops.iter_mut().filter_map(|op| match op {
        Op::Inode { ino, inode } => Some((*ino, inode)),
        _ => None,
    })
}

/// Gives every file of a record this body.
fn body(record: &mut VersionRecord, body: &Body) {
    let files = inodes(record).filter(|(_, inode)| inode.kind() == Kind::File);
    files.for_each(|(_, inode)| inode.body = body.clone());
}

fn tree(size: u64, depth: u8) -> Body {
    Body::File(Content::Tree(TreeRef { root: NodeHash([7; 32]), size, depth }))
}

/// A name for what is wrong, and what makes it so.
type Case = (&'static str, Box<dyn Fn(&mut VersionRecord)>);

/// A store whose last version made `evil-name-01/file`, `evil-name-02` and a link, and with whose first all is
/// well.
struct Rig {
    m: Mount,
    outside: Vec<PathBuf>,
}

impl Rig {
    fn new() -> Rig {
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
    fn judge(self, what: &str) {
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

/// Names that cannot be, and names that mean something else.
#[test]
fn names_that_cannot_be_lead_nowhere() {
    for evil in [
        "../../escap1",
        "/etc/passwd0",
        "..\0\0\0\0\0\0\0\0\0\0",
        "a/../../../b",
        "@v1234567890",
        "@history-and",
    ] {
        let rig = Rig::new();
        forge(rig.m.store(), |kind, bytes| match kind {
            RecordKind::Version | RecordKind::Pending => replaced(bytes, b"evil-name-01", evil.as_bytes()),
            _ => bytes,
        });
        rig.judge(&format!("the name {evil:?}"));
    }
    for evil in *b"./@\0\x1b" {
        let rig = Rig::new();
        forge(rig.m.store(), |kind, bytes| match kind {
            // The length before the dataset's name, and the name.
            RecordKind::Dataset => replaced(bytes, b"\x01d", &[1, evil]),
            _ => bytes,
        });
        let ran = rig.m.try_up(&[]);
        if ran.code == Some(0) {
            run(Command::new("ls").arg("-la").arg(rig.m.point()));
            rig.m.down();
        }
        let log = fs::read_to_string(rig.m.store().join("daemon.log")).unwrap_or_default();
        assert!(!log.contains("panicked"), "{evil:?}: {log}");
    }
}

/// Trees that are none: circles, directories of two names, entries and inodes that do not fit, that are not there
/// or there twice.
#[test]
fn trees_that_are_none_have_an_end() {
    let dir_of = |record: &VersionRecord| {
        record.ops.iter().find_map(|op| match op {
            Op::Link { ino, kind: Kind::Dir, .. } => Some(*ino),
            _ => None,
        })
    };
    let cases: Vec<Case> = vec![
        (
            "a directory in itself",
            Box::new(move |r| {
                let dir = dir_of(r).expect("a directory");
                let name = name("again");
                let place = Some(Place { dir, key: name.key() });
                inodes(r).filter(|(ino, _)| *ino == dir).for_each(|(_, inode)| inode.place = place);
                r.ops.push(Op::Link { dir, name, ino: dir, kind: Kind::Dir });
            }),
        ),
        (
            "the root in a directory",
            Box::new(move |r| {
                let dir = dir_of(r).expect("a directory");
                r.ops.push(Op::Link { dir, name: name("root"), ino: Ino::ROOT, kind: Kind::Dir });
            }),
        ),
        (
            "a directory of two names",
            Box::new(move |r| {
                let dir = dir_of(r).expect("a directory");
                r.ops.push(Op::Link { dir: Ino::ROOT, name: name("second"), ino: dir, kind: Kind::Dir });
            }),
        ),
        (
            "kinds that do not fit",
            Box::new(|r| {
                for op in &mut r.ops {
                    if let Op::Link { kind, .. } = op {
                        *kind = if *kind == Kind::Dir { Kind::File } else { Kind::Dir };
                    }
                }
            }),
        ),
        ("entries of nothing", Box::new(|r| r.ops.retain(|op| !matches!(op, Op::Inode { .. })))),
        (
            "inodes 0 and beyond all",
            Box::new(|r| {
                for op in &mut r.ops {
                    match op {
                        Op::Link { ino, .. } | Op::Inode { ino, .. } if ino.0 % 2 == 0 => *ino = Ino(0),
                        Op::Link { ino, .. } | Op::Inode { ino, .. } => *ino = Ino(u64::MAX),
                        Op::Unlink { .. } => {}
                    }
                }
            }),
        ),
        (
            "a root that is a file",
            Box::new(|r| {
                inodes(r)
                    .filter(|(ino, _)| *ino == Ino::ROOT)
                    .for_each(|(_, i)| i.body = Body::File(Content::Empty));
            }),
        ),
        ("everything twice", Box::new(|r| r.ops.extend(r.ops.clone()))),
        ("nothing but hashes", Box::new(|r| r.ops.clear())),
        ("hashes of what is no directory", Box::new(|r| r.trees.iter_mut().for_each(|(ino, _)| ino.0 += 1))),
        (
            "links that nobody counts",
            Box::new(|r| {
                inodes(r).for_each(|(_, inode)| {
                    inode.nlink = u32::MAX;
                    inode.others = inode.place.map(|place| vec![place; 3].into());
                });
            }),
        ),
    ];
    for (what, edit) in cases {
        let rig = Rig::new();
        forge_last(rig.m.store(), edit);
        rig.judge(what);
    }
}

/// Inodes of which nothing is as it can be.
#[test]
fn inodes_that_cannot_be_are_damage() {
    let chunk = ChunkRef { hash: ChunkHash([9; 32]), len: 100 };
    let cases: Vec<Case> = vec![
        ("a file of 8 EiB", Box::new(|r| body(r, &tree(1 << 63, 3)))),
        ("a file as deep as can be", Box::new(|r| body(r, &tree(u64::MAX, 255)))),
        ("a file of no depth", Box::new(|r| body(r, &tree(300_000, 0)))),
        (
            "zeros without end",
            Box::new(|r| body(r, &Body::File(Content::Few(vec![Piece::Zeros(u64::MAX)].into())))),
        ),
        (
            "pieces without length",
            Box::new(move |r| {
                let none = ChunkRef { len: 0, ..chunk };
                body(r, &Body::File(Content::Few(vec![Piece::Data(none), Piece::Zeros(0)].into())));
            }),
        ),
        (
            "a chunk that is too long",
            Box::new(move |r| {
                body(r, &Body::File(Content::One(ChunkRef { len: u32::MAX, ..chunk })));
            }),
        ),
        ("a chunk that is not there", Box::new(move |r| body(r, &Body::File(Content::One(chunk))))),
        ("a link of 1 MiB", Box::new(|r| body(r, &Body::Symlink(vec![b'x'; 1 << 20].into())))),
        ("a link to nothing", Box::new(|r| body(r, &Body::Symlink(Box::default())))),
        ("a link with NUL bytes", Box::new(|r| body(r, &Body::Symlink(b"a\0b".as_slice().into())))),
        ("a device that is a directory", Box::new(|r| body(r, &Body::Special(Kind::Dir, u32::MAX)))),
        (
            "times before and after all",
            Box::new(|r| {
                for (ino, inode) in inodes(r) {
                    let time = Timestamp(if ino.0 % 2 == 0 { i64::MIN } else { i64::MAX });
                    (inode.atime, inode.mtime, inode.ctime, inode.mode) = (time, time, time, u32::MAX);
                }
                r.time = Timestamp(i64::MAX);
            }),
        ),
        (
            "attributes of no name and no end",
            Box::new(|r| {
                for (_, inode) in inodes(r) {
                    let list = vec![(vec![], vec![b'x'; 1 << 20]), (b"user.x\0y".to_vec(), vec![])];
                    inode.xattrs = Some(Box::new(Xattrs::Inline(list)));
                }
            }),
        ),
        (
            "attributes that are not there",
            Box::new(move |r| {
                inodes(r).for_each(|(_, inode)| inode.xattrs = Some(Box::new(Xattrs::Chunk(chunk))));
            }),
        ),
    ];
    for (what, edit) in cases {
        let rig = Rig::new();
        forge_last(rig.m.store(), edit);
        rig.judge(what);
    }
}

/// Histories that cannot be: versions out of their order, based on themselves or on later ones, of datasets that
/// are not there.
#[test]
fn histories_that_cannot_be_are_damage() {
    let cases: Vec<Case> = vec![
        ("a version based on itself", Box::new(|r| r.base = r.number)),
        ("a version based on a later one", Box::new(|r| r.base = VersionNo(u64::MAX))),
        ("a version far ahead", Box::new(|r| r.number = VersionNo(u64::MAX))),
        ("a version 0", Box::new(|r| r.number = VersionNo(0))),
        ("a version once more", Box::new(|r| r.number = VersionNo(1))),
        ("a version of no dataset", Box::new(|r| r.dataset = DatasetId(77))),
        ("a version with another before it", Box::new(|r| r.previous.0[0] ^= 1)),
        ("a version of another tree", Box::new(|r| r.snapshot.0[0] ^= 1)),
        ("a version before the first", Box::new(|r| r.time = Timestamp(i64::MIN))),
        (
            "a version by a long name",
            Box::new(|r| {
                r.author.command = "\u{1b}[2J".repeat(100_000);
                r.message = Some("\n".repeat(1 << 20));
            }),
        ),
    ];
    for (what, edit) in cases {
        let rig = Rig::new();
        forge_last(rig.m.store(), edit);
        rig.judge(what);
    }
}

/// Parts of a store that are links, pipes or devices, and parts of another store, are refused and left alone.
#[test]
fn parts_of_other_places_are_refused() {
    for part in ["packs", "packs/00000001.pack", "index", "scratch", "strata.json", "synced", "open"] {
        for kind in ["link", "fifo", "device"] {
            let rig = Rig::new();
            let path = rig.m.store().join(part);
            if !path.exists() {
                continue;
            }
            let aside = rig.m.outside().join("aside");
            fs::rename(&path, &aside).expect("move it away");
            let before = fs::metadata(&aside).expect("stat").modified().expect("mtime");
            match kind {
                "link" => symlink(&aside, &path).expect("symlink"),
                "fifo" => drop(tool("mkfifo", &[&path])),
                _ => drop(tool("mknod", &[path.to_str().expect("text"), "c", "1", "5"])),
            }
            let ran = rig.m.try_up(&[]);
            if ran.code == Some(0) {
                // What can be made anew may be; what is elsewhere is not used.
                rig.m.strata(&["status"]).ok();
                rig.m.down();
            } else {
                assert!(ran.stderr.starts_with("strata: "), "{part} as {kind}: {ran:?}");
            }
            assert_eq!(
                fs::metadata(&aside).expect("stat").modified().expect("mtime"),
                before,
                "{part} as {kind}"
            );
            assert!(aside.symlink_metadata().expect("stat").ino() > 0);
        }
    }
    let (one, two) = (Rig::new(), Rig::new());
    for part in ["index", "packs", "strata.json"] {
        let (from, to) = (two.m.store().join(part), one.m.store().join(part));
        let kept = one.m.outside().join(part);
        fs::rename(&to, &kept).expect("move it away");
        tool("cp", &["-a", from.to_str().expect("text"), to.to_str().expect("text")]);
        let ran = one.m.try_up(&[]);
        if ran.code == Some(0) {
            assert!(
                fs::read(one.m.point().join("d/@v1/good/file")).expect("read") == noise(1, 200_000),
                "{part}"
            );
            one.m.down();
        } else {
            assert!(ran.stderr.starts_with("strata: "), "{part}: {ran:?}");
        }
        tool("rm", &["-rf", to.to_str().expect("text")]);
        fs::rename(&kept, &to).expect("put it back");
    }
    one.m.up(&[]);
    one.m.strata(&["verify"]).ok();
    one.m.down();
}
