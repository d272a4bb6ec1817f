//! Tags: names for versions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use serde_json::Value;

use crate::harness::*;

/// A dataset of three versions: `f` holds the number of each.
fn three(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("d");
    d.mkdir("sub");
    m.strata(&["commit", "d"]).ok();
    for n in 2..=4 {
        d.write("f", format!("{n}"));
    }
    d
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A tag names its version everywhere a version is named: in paths, in any directory, in commands.
#[test]
fn a_tag_names_a_version_everywhere() {
    let m = Mount::new();
    let d = three(&m);
    assert_eq!(m.strata(&["tag", "d@v2", "baseline", "-m", "as in the paper"]).ok(), "d: baseline is v2\n");
    m.strata(&["tag", "d", "prod"]).ok();
    assert_eq!(d.text("@baseline/f"), "2");
    assert_eq!(d.text("@tag/baseline/f"), "2");
    assert_eq!(d.text("@tag/prod/f"), "4");
    assert_eq!(fs::read_link(d.path("@prod")).expect("a link"), Path::new("@v4"));
    assert_eq!(d.list("@tag"), ["baseline", "prod"]);
    assert_eq!(fs::read_link(d.path("sub/@baseline")).expect("a link"), Path::new("@v2"));
    assert!(d.has("sub/@tag/baseline") && !d.has("@nothing") && !d.has("@tag/nothing"));
    assert_eq!(m.strata(&["cat", "d@baseline/f"]).ok(), "2");
    assert_eq!(m.strata(&["diff", "--stat", "d@baseline", "d@prod"]).ok().lines().count(), 1);
    let log = d.log();
    assert_eq!(
        log.iter().find(|v| v["version"] == "v2").expect("v2")["tags"],
        serde_json::json!(["baseline"])
    );
    assert!(m.strata(&["show", "d@prod"]).ok().contains("tags      prod\n"));
    m.strata(&["rollback", "d", "baseline"]).ok();
    assert_eq!(d.text("f"), "2");
    m.down();
    m.up(&["--dataset", "d", "--at", "baseline"]);
    assert_eq!(fs::read_to_string(m.point().join("f")).expect("read"), "2");
    m.down();
}

/// Tags survive a kill, a remount and a rebuilt index; a version may have several.
#[test]
fn tags_are_kept() {
    let m = Mount::new();
    let d = three(&m);
    for tag in ["a", "b", "1.0.0"] {
        m.strata(&["tag", "d@v3", tag]).ok();
    }
    m.strata(&["untag", "d", "a"]).ok();
    m.strata(&["tag", "d@v2", "b"]).ok();
    let check = |when: &str| {
        assert_eq!(d.list("@tag"), ["1.0.0", "b"], "{when}");
        assert_eq!((d.text("@b/f"), d.text("@1.0.0/f")), ("2".into(), "3".into()), "{when}");
        assert_eq!(lines(&m.strata(&["tags", "d", "--history", "--json"]).ok()).len(), 5, "{when}");
    };
    m.lasts(check);
    assert!(m.strata(&["verify"]).ok().is_empty());
}

/// A moved tag shows where it was and who moved it; a release is moved only by force.
#[test]
fn the_history_of_tags_is_told() {
    let m = Mount::new();
    three(&m);
    m.strata(&["tag", "d@v2", "prod", "-m", "first"]).ok();
    assert_eq!(m.strata(&["tag", "d@v3", "prod"]).ok(), "d: prod is v3, was v2\n");
    assert_eq!(m.strata(&["tag", "d@v3", "prod"]).ok(), "d: prod is v3, was v2\n", "nothing new to record");
    assert_eq!(m.strata(&["untag", "d", "prod", "-m", "wrong"]).ok(), "d: prod is gone, was v3\n");
    let told = lines(&m.strata(&["tags", "d", "--history", "--json"]).ok());
    let brief: Vec<_> =
        told.iter().map(|t| (t["version"].as_str(), t["was"].as_str(), t["message"].as_str())).collect();
    assert_eq!(
        brief,
        [
            (None, Some("v3"), Some("wrong")),
            (Some("v3"), Some("v2"), None),
            (Some("v2"), None, Some("first"))
        ]
    );
    assert!(told[0]["command"].as_str().expect("a command").contains("untag"), "{}", told[0]);
    assert_eq!(m.strata(&["tags", "d"]).ok(), "");

    m.strata(&["tag", "d@v2", "1.0.0"]).ok();
    assert!(m.strata(&["tag", "d@v3", "1.0.0"]).fails(1).contains("v2 already"));
    m.strata(&["tag", "--force", "d@v3", "1.0.0"]).ok();
    assert!(m.strata(&["untag", "d", "prod"]).fails(1).contains("prod"));
}

/// Releases count up; ranges name the highest of them.
#[test]
fn ranges_name_the_highest_release() {
    let m = Mount::new();
    let d = three(&m);
    assert_eq!(m.strata(&["release", "d@v2", "major"]).ok(), "d: 1.0.0 is v2\n");
    assert_eq!(m.strata(&["release", "d@v3", "minor"]).ok(), "d: 1.1.0 is v3\n");
    m.strata(&["tag", "d@v1", "1.10.0-rc.1"]).ok();
    assert_eq!(m.strata(&["release", "d", "patch"]).ok(), "d: 1.1.1 is v4\n");
    for (range, text) in
        [("1.0", "2"), ("1.0.x", "2"), ("1.x", "4"), ("1", "4"), ("^1.0", "4"), ("~1.1.0", "4")]
    {
        assert_eq!(d.text(&format!("@{range}/f")), text, "{range}");
        assert_eq!(m.strata(&["cat", &format!("d@{range}/f")]).ok(), text, "{range}");
    }
    assert!(!d.has("@2.x") && !d.has("@^1.2"));
    assert!(m.strata(&["cat", "d@2.x/f"]).fails(1).contains("2.x"));
}

/// In the mount, mkdir and rmdir below @tag do the same, and versions stay what they are.
#[test]
fn mkdir_and_rmdir_tag_and_untag() {
    let m = Mount::new();
    let d = three(&m);
    for round in 0..3 {
        fs::create_dir(d.path("@tag/prod")).expect("mkdir");
        assert_eq!(d.text("@tag/prod/f"), "4", "{round}");
        assert_eq!(d.text("@v4/f"), "4", "{round}");
        refused(fs::create_dir(d.path("@tag/prod")), Errno::EXIST);
        refused(fs::write(d.path("@tag/prod/f"), "x"), Errno::ROFS);
        fs::remove_dir(d.path("@tag/prod")).expect("rmdir");
        assert!(!d.has("@tag/prod") && !d.has("@prod"));
        assert_eq!(
            (d.text("@v4/f"), d.list("@v4")),
            ("4".into(), vec!["f".to_owned(), "sub".into()]),
            "{round}"
        );
    }
    refused(fs::remove_dir(d.path("@tag/prod")), Errno::NOENT);
    refused(fs::create_dir(d.path("@tag/v3")), Errno::INVAL);
    refused(fs::write(d.path("@tag/file"), "x"), Errno::ROFS);
    d.write("new", "x");
    fs::create_dir(d.path("sub/@tag/now")).expect("mkdir");
    assert_eq!(d.text("@tag/now/new"), "x", "what was written before is in it");
    assert_eq!(fs::metadata(d.path("@tag")).expect("stat").mode() & 0o777, 0o755);
    assert_eq!(lines(&m.strata(&["tags", "d", "--history", "--json"]).ok()).len(), 7);
}

/// What cannot be a tag is refused with a word on why; ordinary names that look like tags stay ordinary.
#[test]
fn names_that_cannot_be_tags_are_refused() {
    let m = Mount::new();
    let d = three(&m);
    for bad in
        ["v3", "latest", "history", "deadbeef", "2026-11-01", "1.4", "1.x", "a/b", "", "-x", "a b", "@x"]
    {
        m.strata(&["tag", "d", "--", bad]).fails(2);
    }
    assert!(m.strata(&["tag", "d@v9", "x"]).fails(1).contains("v9"));
    assert!(m.strata(&["tag", "none", "x"]).fails(1).contains("none"));
    m.dataset("empty");
    assert!(m.strata(&["tag", "empty", "x"]).fails(1).contains("no version"));
    d.mkdir("@types");
    d.write("@types/f", "mine");
    m.strata(&["tag", "d@v2", "types"]).ok();
    assert_eq!(d.text("@types/f"), "mine", "what is really there comes first");
    assert_eq!(d.text("@tag/types/f"), "2");
    d.write("@1.x", "a file");
    assert_eq!(d.text("@1.x"), "a file");
}

/// A record of a tag that is damaged is restored from the index, or found out about.
#[test]
fn a_damaged_tag_is_restored() {
    let m = Mount::new();
    let d = three(&m);
    m.strata(&["tag", "d@v2", "the-tag-of-this-test"]).ok();
    m.down();
    // What has the store alone brings the index up to the end of the log.
    m.strata(&["tags", "d"]).ok();
    let pack = m.store().join("packs/00000001.pack");
    let mut bytes = fs::read(&pack).expect("read");
    let at = bytes.windows(20).position(|part| part == b"the-tag-of-this-test").expect("the record");
    bytes[at..at + 9].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&pack, &bytes).expect("write");
    m.strata(&["verify"]).fails(3);
    let ran = m.strata(&["fsck"]);
    assert_eq!(ran.code, Some(4), "{}", ran.text());
    assert!(ran.text().contains("tag 'the-tag-of-this-test'"), "{}", ran.text());
    m.up(&[]);
    assert_eq!(d.text("@the-tag-of-this-test/f"), "2");
    assert!(m.strata(&["verify"]).ok().is_empty());
}

/// After the last number there is, no release comes, and none is told of.
#[test]
fn numbers_of_releases_end() {
    let m = Mount::new();
    three(&m);
    let last = format!("{}.0.7", u64::MAX);
    m.strata(&["tag", "d@v1", &last]).ok();
    let refused = m.strata(&["release", "d", "major"]).fails(1);
    assert!(refused.contains(&format!("no number comes after that of {last}")), "{refused}");
    assert_eq!(m.strata(&["tags", "d"]).ok().lines().count(), 1);
    m.strata(&["release", "d", "minor"]).ok();
}

/// Releases that are asked for at the same time are different ones: none takes the number of another.
#[test]
fn releases_at_the_same_time_are_different() {
    let m = Mount::new();
    three(&m);
    let release = |n: usize| m.strata(&["release", "d", "patch", "-m", &format!("m{n}")]).ok();
    let told: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|n| scope.spawn(move || release(n))).collect();
        all.into_iter().map(|one| one.join().expect("a release")).collect()
    });
    let different: std::collections::BTreeSet<&String> = told.iter().collect();
    assert_eq!(different.len(), 8, "{told:?}");
    let history = lines(&m.strata(&["tags", "d", "--history", "--json"]).ok());
    let of = |n: usize| {
        let said = history.iter().filter(|tag| tag["message"] == format!("m{n}")).collect::<Vec<_>>();
        assert_eq!(said.len(), 1, "m{n} in {history:?}");
        said[0]["tag"].as_str().expect("a tag").to_owned()
    };
    for (n, told) in told.iter().enumerate() {
        assert_eq!(*told, format!("d: {} is v4\n", of(n)), "who asked was told the release it made");
    }
}
