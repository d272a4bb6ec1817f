//! `@diff/A..B`: what differs, as trees to be read.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use rustix::io::Errno;
use serde_json::Value;

use crate::harness::*;

/// A dataset whose versions v1 and v2 differ in every way.
fn sample(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("d");
    d.policy("manual");
    shell(
        "cd \"$1\"; mkdir -p old/deep kept gone/sub; echo same > kept/same; echo one > kept/edited; \
         echo x > kept/mode; echo away > kept/away; seq 100 > kept/copied; echo in > old/deep/in; \
         echo g > gone/sub/g",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; echo three > kept/edited; chmod 755 kept/mode; rm kept/away; mv old new; rm -r gone; \
         cat kept/copied > kept/copy; rm kept/copied; echo other > new/deep/in; mkdir -p fresh/sub; \
         echo f > fresh/sub/f",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    d
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Paths below a directory, but for itself.
fn below(d: &Dataset<'_>, dir: &str) -> Vec<String> {
    let found = facts(&d.path(dir)).into_keys().filter_map(|path| Some(path.to_str()?.to_owned()));
    found.filter(|path| !path.is_empty()).collect()
}

/// What came, went and was modified is there to be read, as it was in the one version or the other, by every tool
/// and every spelling of versions; the summary is what `strata diff` tells.
#[test]
fn differences_are_trees() {
    let m = Mount::new();
    let d = sample(&m);
    assert_eq!(d.list("@diff"), Vec::<String>::new());
    let at = "@diff/v1..v2";
    assert_eq!(d.list(at), ["added", "modified", "modified.old", "removed", "summary.json"]);
    assert_eq!(below(&d, "@diff/v1..v2/added"), ["fresh", "fresh/sub", "fresh/sub/f"]);
    assert_eq!(below(&d, "@diff/v1..v2/removed"), ["gone", "gone/sub", "gone/sub/g", "kept", "kept/away"]);
    let modified = below(&d, "@diff/v1..v2/modified");
    assert_eq!(modified, ["kept", "kept/edited", "new", "new/deep", "new/deep/in"]);
    let old = below(&d, "@diff/v1..v2/modified.old");
    assert_eq!(old, ["kept", "kept/edited", "old", "old/deep", "old/deep/in"]);
    for (path, text) in [
        ("added/fresh/sub/f", "f\n"),
        ("removed/kept/away", "away\n"),
        ("modified/kept/edited", "three\n"),
        ("modified.old/kept/edited", "one\n"),
        ("modified.old/old/deep/in", "in\n"),
    ] {
        assert_eq!(d.text(&format!("{at}/{path}")), text, "{path}");
    }
    assert!(!d.has("@diff/v1..v2/modified/kept/same") && !d.has("@diff/v1..v2/added/kept"));

    let told = json(&d.text("@diff/v1..v2/summary.json"));
    let command = json(&m.strata(&["diff", "--json", "d@v1", "d@v2"]).ok());
    assert_eq!((&told["changes"], &told["stat"]), (&command["changes"], &command["stat"]));
    assert_eq!((&told["before"], &told["after"]), (&"v1".into(), &"v2".into()));
    let size = fs::metadata(d.path("@diff/v1..v2/summary.json")).expect("stat").len();
    assert_eq!(size, d.bytes("@diff/v1..v2/summary.json").len() as u64);

    m.strata(&["tag", "d@v1", "paper"]).ok();
    let id = d.snapshot();
    for pair in ["paper..latest", "paper..", "v2~1..prev~x", &format!("paper..{}", &id[..12])] {
        match pair.contains('x') {
            true => refused(fs::read_dir(d.path("@diff").join(pair)).map(drop), Errno::NOENT),
            false => assert_eq!(d.text(&format!("@diff/{pair}/added/fresh/sub/f")), "f\n", "{pair}"),
        }
    }
    let copied = m.outside().join("copied");
    shell("cp -r \"$1\" \"$2\"; ls -R \"$1\"; find \"$1\" -ls", &[&d.path("@diff/v1..v2/added"), &copied]);
    assert_eq!(fs::read_to_string(copied.join("fresh/sub/f")).expect("read"), "f\n");
    let diff = Command::new("diff")
        .arg("-r")
        .args([d.path("@diff/v1..v2/modified.old/kept"), d.path("@diff/v1..v2/modified/kept")])
        .output();
    let diff = String::from_utf8(diff.expect("diff").stdout).expect("text");
    assert!(diff.contains("< one") && diff.contains("> three"), "{diff}");
}

/// In a directory it is what differs in that; from either version to the other; and nothing where nothing does.
#[test]
fn differences_of_a_directory() {
    let m = Mount::new();
    let d = sample(&m);
    assert_eq!(below(&d, "kept/@diff/v1..v2/removed"), ["away"]);
    assert_eq!(below(&d, "kept/@diff/v2..v1/added"), ["away"]);
    assert_eq!(below(&d, "new/@diff/v1..v2/modified"), ["deep", "deep/in"]);
    assert_eq!(d.text("new/@diff/v1..v2/modified.old/deep/in"), "in\n", "under the name it had");
    assert_eq!(below(&d, "fresh/@diff/v1..v2/added"), ["sub", "sub/f"]);
    assert_eq!(below(&d, "fresh/@diff/v1..v2/removed"), Vec::<String>::new());
    let told = json(&d.text("kept/@diff/v1..v2/summary.json"));
    let command = json(&m.strata(&["diff", "--json", "d@v1", "d@v2", "kept"]).ok());
    assert_eq!((&told["changes"], &told["stat"]), (&command["changes"], &command["stat"]));
    assert_eq!(below(&d, "@diff/v2..v2/added"), Vec::<String>::new());
    assert_eq!(json(&d.text("@diff/v2..v2/summary.json"))["stat"]["added"], 0);
}

/// Nothing can be changed there, what is no pair of versions is not there, and inode numbers stay.
#[test]
fn differences_are_fixed() {
    let m = Mount::new();
    let d = sample(&m);
    for bad in ["v1..v9", "v1", "..v1", "v0..v1", "v1..v2..v3", "deadbeef..v1", "none..v1"] {
        refused(fs::read_dir(d.path("@diff").join(bad)).map(drop), Errno::NOENT);
    }
    refused(fs::create_dir(d.path("@diff")), Errno::EXIST);
    for path in ["@diff/new", "@diff/v1..v2/new", "@diff/v1..v2/added/new"] {
        refused(fs::write(d.path(path), "x"), Errno::ROFS);
        refused(fs::create_dir(d.path(path)), Errno::ROFS);
    }
    refused(fs::write(d.path("@diff/v1..v2/summary.json"), "x"), Errno::ROFS);
    refused(fs::remove_file(d.path("@diff/v1..v2/added/fresh/sub/f")), Errno::ROFS);
    refused(fs::rename(d.path("@diff/v1..v2/added/fresh"), d.path("x")), Errno::XDEV);
    let ino = |path: &str| fs::metadata(d.path(path)).expect("stat").ino();
    assert_eq!(ino("@diff/v1..v2/added/fresh/sub/f"), ino("@v2/fresh/sub/f"));
    let before = ino("@diff/v1..v2/modified/kept");
    assert_ne!(before, ino("@v2/kept"));
    m.down();
    m.up(&[]);
    assert_eq!(ino("@diff/v1..v2/modified/kept"), before);
}

/// Names of any bytes are shown.
#[test]
fn differences_of_odd_names() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("first", "1");
    let names: [&[u8]; 4] = [b"a b", b"line\nbreak", b"\xff", &[b'n'; 255]];
    for name in names {
        fs::write(d.root().join(std::ffi::OsStr::from_bytes(name)), "x").expect("write");
    }
    for name in names {
        let path = d.path("@diff/v1../added").join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(path).expect("read"), b"x");
    }
    assert_eq!(d.list("@diff/v1../added").len(), 4);
}

/// Nobody sees there what they could not see in the versions, in the summary neither.
#[test]
fn differences_show_no_more_than_versions() {
    if !rustix::process::geteuid().is_root() {
        return skipped("diff_trees::differences_show_no_more_than_versions", "only root acts as others");
    }
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    for dir in [m.point().parent().expect("parent"), d.root()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    d.policy("manual");
    shell(
        "cd \"$1\"; mkdir closed open; chmod 700 closed; echo 1 > open/f; echo 1 > closed/secret",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; echo 22 > open/f; echo 22 > closed/secret; echo 3 > closed/new; chmod 755 closed",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    shell("cd \"$1\"; rm closed/new; chmod 700 closed", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    let nobody = |script: &str| {
        let mut command = as_root("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script, "sh"]);
        let output = command.arg(d.root()).output().expect("run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for _ in 0..2 {
        assert_eq!(nobody("cat \"$1/@diff/v1..v2/modified/open/f\""), "22\n");
        assert_eq!(nobody("cat \"$1/@diff/v1..v2/modified/closed/secret\""), "22\n", "open in v2");
        assert_eq!(nobody("cat \"$1/@diff/v1..v2/modified.old/closed/secret\""), "", "closed in v1");
        assert_eq!(nobody("cd \"$1/closed/@diff/v1..v2\" && ls"), "", "closed in v1");
        let told = nobody("cat \"$1/@diff/v1..v2/summary.json\"");
        assert!(told.contains("open/f") && told.contains("closed/new") && !told.contains("secret"), "{told}");
        assert!(d.text("@diff/v1..v2/summary.json").contains("secret"), "root sees all");
    }
}

/// Very many differences are listed, once each, and followed by what changes next.
#[test]
fn very_many_differences_are_listed() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("first", "1");
    m.strata(&["commit", "d"]).ok();
    shell("cd \"$1\"; mkdir a; cd a; seq 20000 | xargs touch", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    assert_eq!(below(&d, "@diff/v1..v2/added").len(), 20_001);
    // The summary, which is made where it is read, is the same from any place on.
    let summary = d.bytes("@diff/v1..v2/summary.json");
    let told = json(std::str::from_utf8(&summary).expect("text"));
    let command = json(&m.strata(&["diff", "--json", "d@v1", "d@v2"]).ok());
    assert_eq!((&told["changes"], &told["stat"]), (&command["changes"], &command["stat"]));
    assert_eq!(told["stat"]["added"], 20_001);
    let file = fs::File::open(d.path("@diff/v1..v2/summary.json")).expect("open");
    let mut random = Random::new(7);
    for _ in 0..40 {
        let at = random.below(summary.len() + 10);
        let mut part = vec![0; random.below(200_000)];
        let read = file.read_at(&mut part, at as u64).expect("read");
        let wanted = &summary[at.min(summary.len())..(at + part.len()).min(summary.len())];
        assert!(&part[..read] == wanted, "{read} bytes at {at}");
    }
    assert_eq!(d.list("@diff/v2..v1/removed/a").len(), 20_000);
    d.policy("every-write");
    d.write("a/next", "x");
    assert_eq!(d.list("@diff/v2..latest/added/a"), ["next"], "the newest version is another now");
}

/// A directory that was removed and made again is another one: what has its path in both was modified, and is shown
/// as it was in the one that is gone.
#[test]
fn differences_in_a_directory_made_again() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    shell("cd \"$1\"; mkdir sub; echo one > sub/x; echo same > sub/y; touch -d @1 sub/y", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; rm -r sub; mkdir sub; echo two > sub/x; echo same > sub/y; touch -d @1 sub/y",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    let told = m.strata(&["diff", "d@v1", "d@v2"]).ok();
    assert_eq!(told.lines().next(), Some("M file     sub/x"), "{told}");
    assert_eq!(below(&d, "@diff/v1..v2/modified"), ["sub", "sub/x"]);
    assert_eq!(below(&d, "@diff/v1..v2/modified.old"), ["sub", "sub/x"]);
    assert_eq!(d.text("@diff/v1..v2/modified/sub/x"), "two\n");
    assert_eq!(d.text("@diff/v1..v2/modified.old/sub/x"), "one\n");
    assert_eq!(d.list("@diff/v1..v2/removed"), Vec::<String>::new());
}
