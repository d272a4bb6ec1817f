//! Stores that somebody else made: nonsense under valid checksums. Whatever it is, the store is refused, or all
//! else in it can be used; the daemon neither panics nor hangs nor takes much memory, and nothing outside of
//! the store is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use stratafs::model::inode::Xattrs;
use stratafs::model::{
    Body, ChunkHash, ChunkRef, Content, DatasetId, Ino, Kind, Op, Piece, Place, Timestamp, VersionNo,
    VersionRecord,
};
use stratafs::store::RecordKind;

use crate::harness::*;
use crate::hostile_rig::{Case, Rig, body, forge, forge_last, inodes, name, replaced, tree};

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
                _ if !rustix::process::geteuid().is_root() => {
                    fs::rename(&aside, &path).expect("put it back");
                    continue;
                }
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
