//! Files that are open while names change.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};
use rustix::io::Errno;

use crate::harness::*;

fn read_write(d: &Dataset<'_>, path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(d.path(path)).expect("open")
}

fn all_of(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("read");
    text
}

/// Random operations through open files, while their names are renamed, exchanged, linked and removed,
/// lead to the same results, errors and files as on a disk's file system; the version at the end is the
/// live tree.
#[test]
fn open_files_and_names_act_as_on_a_disk() {
    for seed in 1..=6 {
        let m = Mount::new();
        let d = m.dataset("d");
        let plain = m.outside().join("plain");
        fs::create_dir(&plain).expect("mkdir");
        let outcome = |dir: &std::path::Path| {
            let mut program = Command::new("python3");
            program.args(["-c", include_str!("opened.py")]).arg(dir);
            run(program.args([&seed.to_string(), "700"])).ok()
        };
        let (wanted, got) = (outcome(&plain), outcome(d.root()));
        let differing: Vec<_> = wanted.lines().zip(got.lines()).filter(|(a, b)| a != b).take(5).collect();
        assert!(differing.is_empty(), "seed {seed}, disk and mount: {differing:#?}");
        let content = |dir: &std::path::Path| -> Vec<_> {
            facts(dir).into_iter().map(|(path, of)| (path, of.content, of.links, of.mode)).collect()
        };
        let at_root = |mut list: Vec<_>| list.split_off(1);
        assert!(at_root(content(&plain)) == at_root(content(d.root())), "files at the end of seed {seed}");
        assert!(content(d.root()) == content(&d.path("@latest/.")), "the version at the end of seed {seed}");
    }
}

/// What is written to a file after it was renamed is in the version under the new name; a file it
/// replaced, still open, is one without a name and in no version.
#[test]
fn writes_after_a_rename_belong_to_the_new_name() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "a");
    d.write("b", "b");
    let (mut a, mut b) = (read_write(&d, "a"), read_write(&d, "b"));
    fs::rename(d.path("a"), d.path("b")).expect("rename over an open file");
    b.write_all(b"unnamed").expect("write");
    a.write_all(b"renamed").expect("write");
    assert_eq!((all_of(&mut a).as_str(), all_of(&mut b).as_str()), ("renamed", "unnamed"));
    assert_eq!((a.metadata().expect("stat").nlink(), b.metadata().expect("stat").nlink()), (1, 0));
    drop((a, b));
    assert_eq!(
        (d.list(""), d.text("b"), d.text("@latest/b")),
        (vec!["b".into()], "renamed".into(), "renamed".into())
    );
    for version in 1..=d.versions() {
        for path in ["a", "b"].map(|name| format!("@v{version}/{name}")) {
            assert!(!d.has(&path) || !d.text(&path).contains("unnamed"), "{path}");
        }
    }
}

/// Two open files whose names are exchanged keep their bytes and go on under each other's name.
#[test]
fn exchanged_open_files_go_on_under_each_others_name() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "1");
    d.mkdir("dir");
    d.write("dir/b", "2");
    let (mut a, mut b) = (read_write(&d, "a"), read_write(&d, "dir/b"));
    a.write_all(b"one").expect("write");
    b.write_all(b"two").expect("write");
    renameat_with(CWD, d.path("a"), CWD, d.path("dir/b"), RenameFlags::EXCHANGE).expect("exchange");
    a.write_all(b", still one").expect("write");
    b.write_all(b", still two").expect("write");
    drop((a, b));
    for root in ["", "@latest/"] {
        assert_eq!(d.text(&format!("{root}a")), "two, still two");
        assert_eq!(d.text(&format!("{root}dir/b")), "one, still one");
    }
}

/// A name that is removed and made again while the old file is open is another file.
#[test]
fn a_name_made_again_is_another_file() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "old");
    let mut old = read_write(&d, "f");
    fs::remove_file(d.path("f")).expect("unlink");
    d.write("f", "new");
    old.write_all(b"OLD").expect("write");
    assert_eq!((all_of(&mut old).as_str(), d.text("f").as_str()), ("OLD", "new"));
    assert_ne!(old.metadata().expect("stat").ino(), d.path("f").metadata().expect("stat").ino());
    drop(old);
    assert_eq!((d.text("f"), d.text("@latest/f")), ("new".into(), "new".into()));
}

/// A directory that is renamed while files in it are open takes them with it; one that is removed while
/// it is open is empty and takes no new names.
#[test]
fn open_directories_follow_their_names() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "x");
    let mut file = read_write(&d, "dir/f");
    let at = open(d.path("dir"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open");
    fs::rename(d.path("dir"), d.path("moved")).expect("rename");
    file.write_all(b"written after").expect("write");
    drop(file);
    assert_eq!(d.text("@latest/moved/f"), "written after");
    let create = |name: &str| {
        rustix::fs::openat(&at, name, OFlags::CREATE | OFlags::WRONLY, Mode::from(0o644)).map(drop)
    };
    create("g").expect("create by the directory's descriptor");
    assert_eq!(d.list("moved"), ["f", "g"]);
    fs::remove_dir_all(d.path("moved")).expect("remove");
    refused(create("h"), Errno::NOENT);
    let left = rustix::fs::Dir::read_from(&at).expect("list").flatten().count();
    assert!(left <= 2, "a removed directory lists {left} entries");
}

/// A program that is running can neither be written nor emptied, however it is opened: ETXTBSY, and it
/// stays whole. When it has ended, it can.
#[test]
fn a_running_program_cannot_be_changed() {
    let m = Mount::new();
    let d = m.dataset("d");
    let program = "/bin/sleep";
    fs::copy(program, d.path("run")).expect("copy a program");
    fs::set_permissions(d.path("run"), fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut running = Command::new(d.path("run")).arg("100").spawn().expect("run it");
    let kinds = [
        OFlags::WRONLY,
        OFlags::RDWR,
        OFlags::WRONLY | OFlags::APPEND,
        OFlags::WRONLY | OFlags::TRUNC,
        OFlags::RDONLY | OFlags::TRUNC,
        OFlags::RDONLY | OFlags::TRUNC | OFlags::CREATE,
    ];
    for flags in kinds {
        refused(open(d.path("run"), flags, Mode::empty()), Errno::TXTBSY);
    }
    let alive = running.try_wait().expect("look at it").is_none();
    running.kill().and_then(|()| running.wait()).expect("end it");
    assert!(alive, "the program was not disturbed");
    assert!(d.bytes("run") == fs::read(program).expect("read"));
    // The kernel tells of its end a moment later.
    poll("it can be emptied", || open(d.path("run"), OFlags::RDONLY | OFlags::TRUNC, Mode::empty()).is_ok());
    assert!(d.bytes("run").is_empty());
}
