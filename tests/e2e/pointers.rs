//! Pointers: small files that say which content is meant, and what gives it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::command::try_run;
use crate::harness::*;

/// A dataset of two versions of a tree with all that a snapshot id covers.
fn tree(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("pets");
    m.strata(&["set", "pets", "policy=manual"]).ok();
    for dir in ["train", "train/deep", "empty"] {
        d.mkdir(dir);
    }
    d.write("labels.csv", "cat,dog");
    d.write("train/a b\n\"c\" ä", noise(1, 300_000));
    d.write("train/deep/run", "#!/bin/sh");
    let run = d.path("train/deep/run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).expect("chmod");
    File::create(d.path("hole")).and_then(|file| file.set_len(5 << 30)).expect("make a hole");
    fs::write(d.root().join(OsStr::from_bytes(b"odd\xff")), "odd").expect("write");
    d.write(&"x".repeat(255), "long");
    symlink("../labels.csv", d.path("train/link")).expect("symlink");
    mknodat(CWD, d.path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("mkfifo");
    m.strata(&["commit", "pets"]).ok();
    d.write("labels.csv", "cat,dog,axolotl");
    m.strata(&["commit", "pets"]).ok();
    d
}

/// A `strata` that runs in a directory outside of the mount.
fn strata_in(m: &Mount, dir: &Path, arguments: &[&str]) -> Ran {
    run(m.command(arguments).current_dir(dir))
}

fn hash(m: &Mount, path: &Path) -> String {
    run(m.command(&["hash"]).arg(path)).ok().split_whitespace().next().expect("a hash").to_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read a pointer")).expect("a pointer is JSON")
}

/// What checkouts leave behind that are not where they were to be.
fn left_over(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("list").map(|entry| entry.expect("entry").path());
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".strata"));
    entries.filter(hidden).collect()
}

/// `checkout` gives exactly what `pointer` pointed to, beside a daemon and without one, however the live tree
/// went on.
#[test]
fn a_checkout_is_what_was_pointed_to() {
    let m = Mount::new();
    let d = tree(&m);
    let out = m.outside();
    let said = strata_in(&m, &out, &["pointer", "pets@v1"]).ok();
    assert!(said.starts_with("pets.strata: pets@v1 (") && said.contains("6 files, 5.0 GiB"), "{said}");
    let pointer = json(&out.join("pets.strata"));
    assert_eq!(pointer["strata"], 1);
    assert_eq!((&pointer["version"], &pointer["files"]), (&Value::from("v1"), &Value::from(6)));
    assert_eq!(pointer["store"], m.status()["id"]);
    for up in [true, false] {
        let said = strata_in(&m, &out, &["checkout", "pets.strata"]).ok();
        assert!(said.starts_with("pets: is now pets@v1"), "{said}");
        let got = out.join("pets");
        assert_eq!(hash(&m, &got), pointer["snapshot"].as_str().expect("a snapshot id"));
        assert_eq!(fs::read_to_string(got.join("labels.csv")).expect("read"), "cat,dog");
        assert_eq!(fs::read_link(got.join("train/link")).expect("a link"), Path::new("../labels.csv"));
        let run = fs::metadata(got.join("train/deep/run")).expect("stat");
        assert_eq!(run.mode() & 0o700, 0o700, "it can be executed");
        let hole = fs::metadata(got.join("hole")).expect("stat");
        assert_eq!((hole.len(), hole.blocks()), (5 << 30, 0), "holes take no space");
        assert!(strata_in(&m, &out, &["checkout", "pets.strata"]).ok().contains("is already pets@v1"));
        assert!(left_over(&out).is_empty());
        fs::remove_dir_all(&got).expect("remove");
        if up {
            m.down();
        }
    }
    m.up(&[]);
    assert_eq!(d.text("labels.csv"), "cat,dog,axolotl");
}

/// A pointer to a path gives that alone: a file, or a directory.
#[test]
fn a_pointer_may_mean_a_path() {
    let m = Mount::new();
    tree(&m);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "pets", "train"]).ok();
    strata_in(&m, &out, &["pointer", "pets@v1/labels.csv", "-o", "old.strata"]).ok();
    strata_in(&m, &out, &["checkout", "train.strata"]).ok();
    strata_in(&m, &out, &["checkout", "old.strata", "labels"]).ok();
    assert_eq!(
        hash(&m, &out.join("train")),
        json(&out.join("train.strata"))["content"].as_str().expect("hash")
    );
    assert_eq!(fs::read_to_string(out.join("labels")).expect("read"), "cat,dog");
    let mode = fs::metadata(out.join("labels")).expect("stat").mode() & 0o777;
    fs::write(out.join("made"), "").expect("write");
    assert_eq!(mode, fs::metadata(out.join("made")).expect("stat").mode() & 0o777, "as the umask has it");
    // Names that are not UTF-8, or hard to write.
    let odd = OsStr::from_bytes(b"odd\xff");
    run(m.command(&["pointer", "pets", "-o", "o.strata"]).arg(odd).current_dir(&out)).ok();
    strata_in(&m, &out, &["checkout", "o.strata"]).ok();
    assert_eq!(fs::read_to_string(out.join("o")).expect("read"), "odd");
    strata_in(&m, &out, &["pointer", "pets", "train/a b\n\"c\" ä", "-o", "p.strata"]).ok();
    strata_in(&m, &out, &["checkout", "p.strata"]).ok();
    assert!(fs::read(out.join("p")).expect("read") == noise(1, 300_000));
    let long = "x".repeat(255);
    strata_in(&m, &out, &["checkout", "o.strata", &long]).ok();
    assert!(out.join(&long).exists() && left_over(&out).is_empty());
    for (path, wanted) in [
        ("nothing", "pets/nothing does not exist"),
        ("fifo", "neither a file nor"),
        ("train/link", "neither"),
    ] {
        let said = strata_in(&m, &out, &["pointer", "pets", path, "-o", "q.strata"]).fails(1);
        assert!(said.contains(wanted), "{said}");
        assert!(!out.join("q.strata").exists());
    }
}

/// A pointer is found by its snapshot id, in whatever dataset of whatever store has that content.
#[test]
fn any_store_with_the_content_will_do() {
    let m = Mount::new();
    let d = tree(&m);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "pets@v1"]).ok();
    let other = Mount::new();
    let copy = other.dataset("animals");
    other.strata(&["set", "animals", "policy=manual"]).ok();
    copy.write("before", "x");
    other.strata(&["commit", "animals"]).ok();
    fs::remove_file(copy.path("before")).expect("remove");
    tool("cp", &[Path::new("-a"), &d.path("@v1/."), copy.root()]);
    other.strata(&["commit", "animals"]).ok();
    let pointer = out.join("pets.strata");
    let pointer = pointer.to_str().expect("path");
    let said = other.strata(&["checkout", pointer, "--json"]).ok();
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["dataset"], &said["version"]), (&Value::from("animals"), &Value::from("v2")));
    assert_eq!(said["changed"], true);
    assert_eq!(said["files"], 6);
    assert!(out.join("pets/labels.csv").exists());
    // One that has not says what is missing, and touches nothing.
    let empty = Mount::new();
    empty.dataset("pets").write("f", "x");
    fs::remove_dir_all(out.join("pets")).expect("remove");
    let said = empty.strata(&["checkout", pointer]).fails(1);
    let snapshot = json(Path::new(pointer))["snapshot"].as_str().expect("text").to_owned();
    assert!(said.contains(&snapshot) && said.contains("pets@v1 in another store"), "{said}");
    assert!(!out.join("pets").exists() && left_over(&out).is_empty());
}

/// A dataset that was renamed is found; of one that was removed, the error says how it comes back.
#[test]
fn what_was_renamed_or_removed_is_found_or_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "d"]).ok();
    fs::rename(d.root(), m.point().join("e")).expect("rename");
    assert!(strata_in(&m, &out, &["checkout", "d.strata"]).ok().contains("is now e@v1"));
    fs::remove_dir_all(out.join("d")).expect("remove");
    fs::remove_file(m.point().join("e/f")).expect("remove");
    fs::remove_dir(m.point().join("e")).expect("archive it");
    let said = strata_in(&m, &out, &["checkout", "d.strata"]).fails(1);
    assert!(said.contains("which was removed") && said.contains("mkdir MOUNTPOINT/e"), "{said}");
    fs::create_dir(m.point().join("e")).expect("bring it back");
    strata_in(&m, &out, &["checkout", "d.strata"]).ok();
    assert_eq!(fs::read_to_string(out.join("d/f")).expect("read"), "x");
}

/// What is there already is not replaced unless it is wanted, and then as a whole.
#[test]
fn what_differs_is_replaced_only_by_force() {
    let m = Mount::new();
    tree(&m);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "pets"]).ok();
    let target = out.join("pets");
    for make in [
        &|| fs::write(&target, "precious").expect("write") as (),
        &|| symlink("/nowhere", &target).expect("symlink"),
        &|| {
            fs::create_dir(&target).expect("mkdir");
            fs::write(target.join("precious"), "x").expect("write");
        },
    ] as [&dyn Fn(); 3]
    {
        make();
        let before = facts(&out);
        let said = strata_in(&m, &out, &["checkout", "pets.strata"]).fails(1);
        assert!(said.contains("differs") && said.contains("--force"), "{said}");
        assert_eq!(facts(&out), before);
        strata_in(&m, &out, &["checkout", "pets.strata", "--force"]).ok();
        assert_eq!(hash(&m, &target), json(&out.join("pets.strata"))["snapshot"].as_str().expect("text"));
        assert!(!target.is_symlink() && left_over(&out).is_empty());
        fs::remove_dir_all(&target).expect("remove");
    }
    for target in [".", "..", "../outside", "/"] {
        let said = strata_in(&m, &out, &["checkout", "--force", "pets.strata", target]).fails(2);
        assert!(said.contains("another target"), "{target}: {said}");
    }
    assert!(out.join("pets.strata").exists());
    // Nor is what is no file, nor the store with all there is.
    mknodat(CWD, &target, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
    assert!(strata_in(&m, &out, &["checkout", "--force", "pets.strata"]).fails(1).contains("another target"));
    assert_eq!(fs::symlink_metadata(&target).expect("stat").mode() & libc::S_IFMT, libc::S_IFIFO);
    let store = m.store();
    for place in [store, store.parent().expect("a parent"), &store.join("packs"), &store.join("new")] {
        let place = place.to_str().expect("text");
        let said = strata_in(&m, &out, &["checkout", "--force", "pets.strata", place]).fails(2);
        assert!(said.contains("another target"), "{place}: {said}");
    }
    m.strata(&["verify"]).ok();
    // Where something that is no pointer is, none is written.
    fs::write(out.join("data.csv"), "1,2").expect("write");
    assert!(strata_in(&m, &out, &["pointer", "pets", "-o", "data.csv"]).fails(1).contains("no pointer"));
    assert_eq!(fs::read_to_string(out.join("data.csv")).expect("read"), "1,2");
    strata_in(&m, &out, &["pointer", "pets@v1", "-o", "pets.strata"]).ok();
    assert_eq!(json(&out.join("pets.strata"))["version"], "v1", "an older pointer is replaced");
}

/// What is no pointer, or says two things at once, is refused with a word on what is wrong.
#[test]
fn bad_pointers_say_what_is_wrong() {
    let m = Mount::new();
    tree(&m);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "pets@v1", "labels.csv", "-o", "good.strata"]).ok();
    let good = fs::read_to_string(out.join("good.strata")).expect("read");
    let field = |name: &str| json(&out.join("good.strata"))[name].as_str().expect("text").to_owned();
    let swap = |digits: &str| digits.chars().rev().collect::<String>();
    for (from, to, wanted) in [
        (good.as_str(), "", "no pointer"),
        (good.as_str(), "outs:\n- md5: x\n", "no pointer"),
        ("\"strata\": 1", "\"strata\": 2", "format 2, this release reads up to 1"),
        ("\"path\": \"labels.csv\"", "\"path\": \"../f\"", "no pointer"),
        ("\"path\": \"labels.csv\"", "\"path\": \"gone.csv\"", "but not pets@v1/gone.csv"),
        ("\"path\": \"labels.csv\"", "\"path\": \"train\"", "is not the content it names"),
        ("\"kind\": \"file\"", "\"kind\": \"directory\"", "is not the content it names"),
        ("\"size\": 7", "\"size\": 8", "it says 1 files with 8 bytes"),
        ("\"files\": 1", "\"files\": 2", "contradicts itself"),
        (&field("content"), &swap(&field("content")), "is not the content it names"),
        (&field("snapshot"), &swap(&field("snapshot")), "in this store"),
        ("  \"dataset\"", "<<<<<<< HEAD\n  \"dataset\"", "conflict of git"),
    ] {
        fs::write(out.join("bad.strata"), good.replacen(from, to, 1)).expect("write");
        let said = strata_in(&m, &out, &["checkout", "bad.strata"]).fails(1);
        assert!(said.contains(wanted), "{to}: {said}");
        assert!(!out.join("bad").exists() && left_over(&out).is_empty(), "{to}");
    }
    // Where it was is a hint alone: it is found by its content.
    let moved = good.replace("\"v1\"", "\"v2\"").replace("\"pets\"", "\"gone\"");
    fs::write(out.join("moved.strata"), moved).expect("write");
    assert!(strata_in(&m, &out, &["checkout", "moved.strata"]).ok().contains("pets@v1"));
    fs::write(out.join("huge.strata"), vec![b' '; 2 << 20]).expect("write");
    assert!(strata_in(&m, &out, &["checkout", "huge.strata"]).fails(1).contains("longer"));
    assert!(strata_in(&m, &out, &["checkout", "none.strata"]).fails(1).contains("none.strata"));
    assert!(strata_in(&m, &out, &["checkout", "plain"]).fails(1).contains("cannot read"));
    fs::rename(out.join("good.strata"), out.join("plain")).expect("rename");
    assert!(strata_in(&m, &out, &["checkout", "plain"]).fails(2).contains("where to put it"));
    fs::write(out.join("x.dvc"), "outs:\n").expect("write");
    assert!(strata_in(&m, &out, &["checkout", "x.dvc", "y"]).fails(1).contains("dvc pull"));
    for (arguments, wanted) in [
        (&["pointer", "pets@v7"][..], "'v7'"),
        (&["pointer", "none"], "no dataset 'none'"),
        (&["pointer", "pets", "-o", "no/such/dir.strata"], "no/such/dir.strata"),
    ] {
        assert!(strata_in(&m, &out, arguments).fails(1).contains(wanted), "{arguments:?}");
    }
    m.dataset("new");
    assert!(strata_in(&m, &out, &["pointer", "new"]).fails(1).contains("no version to point to"));
}

/// Damaged content is not checked out, and nothing is left of the attempt.
#[test]
fn damage_is_not_checked_out() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "x");
    d.write("f", noise(7, 200_000));
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "d"]).ok();
    m.down();
    let pack = m.store().join("packs/00000001.pack");
    let mut bytes = fs::read(&pack).expect("read the pack");
    let piece = &noise(7, 200_000)[100_000..100_032];
    let at = bytes.windows(32).position(|window| window == piece).expect("it is stored as it is");
    bytes[at] ^= 1;
    fs::write(&pack, bytes).expect("write the pack");
    assert!(strata_in(&m, &out, &["checkout", "d.strata"]).fails(1).contains("damaged"));
    assert!(!out.join("d").exists() && left_over(&out).is_empty());
}

/// `--link` makes a symbolic link into the mount, and `mount --at` mounts what a pointer points to.
#[test]
fn pointers_are_linked_and_mounted() {
    let m = Mount::new();
    let d = tree(&m);
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "pets@v1"]).ok();
    strata_in(&m, &out, &["pointer", "pets@v1", "train"]).ok();
    for (pointer, to) in [("pets", "@v1"), ("train", "@v1/train")] {
        let file = format!("{pointer}.strata");
        let said = strata_in(&m, &out, &["checkout", "--link", &file]).ok();
        assert!(said.contains("is now pets@v1"), "{said}");
        assert_eq!(fs::read_link(out.join(pointer)).expect("a link"), d.path(to));
        assert!(strata_in(&m, &out, &["checkout", "--link", &file]).ok().contains("is already"));
    }
    assert_eq!(fs::read_to_string(out.join("pets/labels.csv")).expect("read"), "cat,dog");
    assert!(strata_in(&m, &out, &["checkout", "pets.strata"]).fails(1).contains("--force"));
    fs::write(out.join("other"), "x").expect("write");
    assert!(
        strata_in(&m, &out, &["checkout", "--link", "pets.strata", "other"]).fails(1).contains("--force")
    );
    m.down();
    assert!(strata_in(&m, &out, &["checkout", "--link", "pets.strata", "l"]).fails(1).contains("no mount"));
    let pointer = out.join("pets.strata");
    let pointer = pointer.to_str().expect("path");
    m.up(&["--at", pointer]);
    assert_eq!(fs::read_to_string(m.point().join("labels.csv")).expect("read"), "cat,dog");
    assert_eq!(m.status()["shows"], "pets@v1");
    strata_in(&m, &out, &["checkout", "--link", "pets.strata", "whole"]).ok();
    assert_eq!(fs::read_link(out.join("whole")).expect("a link"), m.point());
    m.down();
    m.up(&["--dataset", "pets"]);
    strata_in(&m, &out, &["checkout", "--link", "pets.strata", "one"]).ok();
    assert_eq!(fs::read_link(out.join("one")).expect("a link"), m.point().join("@v1"));
    m.down();
    let train = out.join("train.strata");
    assert!(m.try_up(&["--at", train.to_str().expect("path")]).fails(1).contains("as a whole"));
    assert!(m.try_up(&["--at", pointer, "--dataset", "pets"]).fails(2).contains("--dataset"));
    assert!(m.try_up(&["--at", "none.strata"]).fails(1).contains("none.strata"));
    let unknown =
        fs::read_to_string(pointer).expect("read").replace("\"snapshot\": \"", "\"snapshot\": \"00");
    fs::write(out.join("bad.strata"), unknown).expect("write");
    assert!(
        m.try_up(&["--at", out.join("bad.strata").to_str().expect("path")]).fails(1).contains("no pointer")
    );
}

/// So they are where the mount is at a path that is no text.
#[test]
fn a_mount_at_any_path_gives_what_is_pointed_to() {
    let m = Mount::unmounted();
    let point = m.outside().join(OsStr::from_bytes(b"point \xff"));
    fs::create_dir(&point).expect("make a directory");
    run(m.command(&["mount"]).arg(&point)).ok();
    fs::create_dir(point.join("d")).expect("make a dataset");
    fs::write(point.join("d/file"), "text").expect("write");
    strata_in(&m, &m.outside(), &["pointer", "d@v1"]).ok();
    strata_in(&m, &m.outside(), &["checkout", "d.strata"]).ok();
    strata_in(&m, &m.outside(), &["checkout", "--link", "d.strata", "link"]).ok();
    for place in ["d", "link"] {
        assert_eq!(
            fs::read_to_string(m.outside().join(place).join("file")).expect("read"),
            "text",
            "{place}"
        );
    }
    run(m.command(&["umount"]).arg(&point)).ok();
}

/// A checkout that is killed leaves nothing at its target, and what it left elsewhere the next one removes; of
/// two at once, one is told of the other.
#[test]
fn checkouts_that_are_killed_or_meet_leave_no_mess() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("large", noise(3, 4 << 20));
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "d"]).ok();
    // A daemon that does not answer holds it up, once it has begun.
    let daemon = m.daemon().expect("the daemon runs");
    kill_process(daemon, Signal::STOP).expect("stop the daemon");
    let mut command = m.command(&["checkout", "d.strata"]);
    let child = command.current_dir(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("start");
    poll("it has begun", || !left_over(&out).is_empty());
    // It has the directory, or is about to: then this one, which gives up at once, may have been first.
    poll("another one is told", || {
        let ran = try_run(m.command(&["checkout", "d.strata"]).current_dir(&out), Duration::from_secs(1));
        ran.is_some_and(|ran| ran.fails(1).contains("under way"))
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
    let left = left_over(&out);
    assert_eq!(left.len(), 1, "{left:?}");
    for half in ["content", "old"] {
        fs::create_dir_all(left[0].join(half).join("dir")).expect("mkdir");
        fs::write(left[0].join(half).join("dir/half"), "x").expect("write");
    }
    assert!(!out.join("d").exists());
    kill_process(daemon, Signal::CONT).expect("let the daemon go on");
    strata_in(&m, &out, &["checkout", "d.strata"]).ok();
    assert!(left_over(&out).is_empty());
    assert!(fs::read(out.join("d/large")).expect("read") == noise(3, 4 << 20));
    assert!(left_over(&out).is_empty());
}

/// A checkout that is interrupted removes what it made.
#[test]
fn an_interrupted_checkout_leaves_nothing() {
    let m = Mount::new();
    m.dataset("d").write("large", noise(3, 4 << 20));
    let out = m.outside();
    strata_in(&m, &out, &["pointer", "d"]).ok();
    // The answer only comes once the checkout was interrupted.
    let daemon = m.daemon().expect("the daemon runs");
    kill_process(daemon, Signal::STOP).expect("stop the daemon");
    let mut command = m.command(&["checkout", "d.strata"]);
    let child = command.current_dir(&out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.expect("start");
    poll("it catches signals, SIGHUP last", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("its signals");
        u64::from_str_radix(caught.trim(), 16).expect("a mask") & 1 != 0
    });
    kill_process(Pid::from_child(&child), Signal::INT).expect("interrupt it");
    kill_process(daemon, Signal::CONT).expect("let the daemon go on");
    let ended = child.wait_with_output().expect("wait");
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("interrupted"));
    assert!(!out.join("d").exists() && left_over(&out).is_empty());
}

/// What was unmounted while a program uses it is not said to be mounted, and no link leads to where it was.
#[test]
fn what_is_unmounted_lazily_is_not_mounted() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "content");
    let file = m.outside().join("d.strata");
    let file = file.to_str().expect("text");
    m.strata(&["pointer", "d@v1", "-o", file]).ok();
    let open = fs::File::open(d.path("f")).expect("open");
    let point = m.point().to_str().expect("text");
    m.strata(&["umount", "--lazy", point]).ok();
    let link = m.outside().join("link");
    let told = m.strata(&["status"]).ok();
    assert!(told.contains("mounted  no more, but programs still use what was"), "{told}");
    m.strata(&["checkout", "--link", file, link.to_str().expect("text")]).fails(1);
    assert!(link.symlink_metadata().is_err());
    drop(open);
    m.gone();
}

/// Where the store takes no changes, a pointer does not pin its version: that is said, but not of a version that is
/// pinned already or that a tag names.
#[test]
fn a_pointer_without_a_pin_says_so_where_the_version_is_not_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 1..=3 {
        d.write("f", format!("{n}"));
    }
    m.strata(&["pin", "d@v1"]).ok();
    m.strata(&["tag", "d@v2", "paper"]).ok();
    m.down();
    m.up(&["--read-only"]);
    for (version, is_kept) in [("v1", true), ("v2", true), ("paper", true), ("v3", false)] {
        let ran = m.strata(&["pointer", &format!("d@{version}"), "-o", "-"]);
        assert_eq!(
            ran.stderr.contains("not pinned and may be pruned"),
            !is_kept,
            "{version}: {}",
            ran.stderr
        );
        ran.ok();
    }
}
