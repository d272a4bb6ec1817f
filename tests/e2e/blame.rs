//! Who last touched what, and the history of a path through its renames.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::*;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Version and change of each path that `strata blame` tells.
fn blame(m: &Mount, arguments: &[&str]) -> Vec<(String, String, String)> {
    let all = [&["blame", "--json"][..], arguments].concat();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut told: Vec<_> = lines(&m.strata(&all).ok())
        .iter()
        .map(|line| (text(&line["path"]), text(&line["version"]), text(&line["change"])))
        .collect();
    told.sort();
    told
}

fn told(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    expected.iter().map(|(path, v, change)| ((*path).into(), (*v).into(), (*change).into())).collect()
}

/// Each entry is told with the version that touched it last, and what that did; a rollback touches what it
/// changes.
#[test]
fn blame_tells_what_touched_each_entry_last() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "1"); // v1
    d.write("b", "1"); // v2
    d.mkdir("sub"); // v3
    d.write("sub/c", "1"); // v4
    d.write("a", "2"); // v5
    fs::rename(d.path("b"), d.path("b2")).expect("rename"); // v6
    fs::set_permissions(d.path("a"), Permissions::from_mode(0o600)).expect("chmod");
    m.strata(&["commit", "d", "-m", "private"]).ok(); // v7
    d.mkdir("sub/deep"); // v8
    let now = [
        ("a", "v7", "attributes"),
        ("b2", "v6", "renamed"),
        ("sub", "v8", "modified"),
        ("sub/c", "v4", "added"),
        ("sub/deep", "v8", "added"),
    ];
    assert_eq!(blame(&m, &["-r", "d"]), told(&now));
    assert_eq!(blame(&m, &["d"]), told(&now[..3]));
    assert_eq!(blame(&m, &["d/sub"]), told(&now[3..]));
    assert_eq!(blame(&m, &["d/sub/c"]), told(&now[3..4]));
    assert_eq!(
        blame(&m, &["-r", "d@v5"]),
        told(&[
            ("a", "v5", "modified"),
            ("b", "v2", "added"),
            ("sub", "v4", "modified"),
            ("sub/c", "v4", "added")
        ])
    );
    let text = m.strata(&["blame", "d"]).ok();
    assert!(text.contains("a a  \"private\"") && text.contains("R b2"), "{text}");
    m.strata(&["rollback", "d", "v4"]).ok(); // v9
    d.write("new", "1"); // v10
    assert_eq!(
        blame(&m, &["-r", "d"]),
        told(&[
            ("a", "v9", "modified"),
            ("b", "v9", "renamed"),
            ("new", "v10", "added"),
            ("sub", "v9", "modified"),
            ("sub/c", "v4", "added"),
        ])
    );
    m.down();
    assert_eq!(blame(&m, &["d/new"]), told(&[("new", "v10", "added")]), "without a daemon too");
    assert!(m.strata(&["blame", "d/none"]).fails(1).contains("none"));
    assert!(m.strata(&["blame", "d@v99"]).fails(1).contains("v99"));
}

/// The history of a path goes on with that of the name before: of a file, in a directory that was renamed, and
/// of a content that went and came in one version.
#[test]
fn log_follows_renames() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("old", noise(1, 9000)); // v1
    d.write("old", noise(2, 9000)); // v2
    d.mkdir("dir"); // v3
    fs::rename(d.path("old"), d.path("dir/file")).expect("rename"); // v4
    fs::rename(d.path("dir"), d.path("moved")).expect("rename"); // v5
    d.write("moved/file", noise(3, 9000)); // v6
    d.write("old", "another"); // v7
    let copy = "cp \"$0/moved/file\" \"$0/copy\" && rm \"$0/moved/file\"";
    m.strata(&["batch", "--", "sh", "-c", copy, d.path("").to_str().expect("UTF-8")]).ok(); // v8
    let versions = |path: &str| {
        let log = lines(&m.strata(&["log", "d", path, "--json"]).ok());
        log.iter()
            .map(|v| (v["version"].as_str().expect("v").to_owned(), v["path"].as_str().map(String::from)))
            .collect::<Vec<_>>()
    };
    let at = |v: &str, path: Option<&str>| (v.to_owned(), path.map(String::from));
    let moved = Some("moved/file");
    assert_eq!(
        versions("copy"),
        [
            at("v8", None),
            at("v6", moved),
            at("v5", moved),
            at("v4", Some("dir/file")),
            at("v2", Some("old")),
            at("v1", Some("old")),
        ]
    );
    assert_eq!(versions("old"), [at("v7", None), at("v4", None), at("v2", None), at("v1", None)]);
    assert_eq!(versions("moved").last(), Some(&at("v3", Some("dir"))));
    let text = m.strata(&["log", "d", "copy", "-n", "2"]).ok();
    assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("  as moved/file")), "{text}");
    // What has two names was not renamed.
    fs::hard_link(d.path("old"), d.path("link")).expect("link"); // v9
    assert_eq!(versions("link"), [at("v9", None)]);
    // What was replaced by another that had a name goes on, unless it has another name itself.
    d.write("new", "saved"); // v10
    fs::rename(d.path("new"), d.path("copy")).expect("rename"); // v11
    assert_eq!(versions("copy")[..3], [at("v11", None), at("v8", None), at("v6", moved)]);
    let swap = "cd \"$0\" && mv copy x && mv old copy && mv x old";
    m.strata(&["batch", "--", "sh", "-c", swap, d.path("").to_str().expect("UTF-8")]).ok(); // v12
    assert_eq!(versions("copy")[..2], [at("v12", None), at("v7", Some("old"))]);
    assert_eq!(versions("old")[..2], [at("v12", None), at("v11", Some("copy"))]);
}

/// A directory whose own attributes change is touched by that, and by that alone.
#[test]
fn attributes_of_a_directory_are_part_of_its_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.mkdir("p");
    d.write("p/f", "1");
    m.strata(&["commit", "d"]).ok(); // v1
    fs::set_permissions(d.path("p"), Permissions::from_mode(0o700)).expect("chmod");
    m.strata(&["commit", "d"]).ok(); // v2
    d.write("other", "1");
    m.strata(&["commit", "d"]).ok(); // v3
    let versions = |path: &str| -> Vec<Value> {
        let log = lines(&m.strata(&["log", "d", path, "--json"]).ok());
        log.into_iter().map(|entry| entry["version"].clone()).collect()
    };
    assert_eq!(versions("p"), ["v2", "v1"]);
    assert_eq!(versions("p/f"), ["v1"]);
    assert_eq!(d.list("p/@history"), ["log.jsonl", "v1", "v2"]);
    assert_eq!(blame(&m, &["d@v2"]), told(&[("p", "v2", "attributes")]));
    fs::set_permissions(d.path("p"), Permissions::from_mode(0o750)).expect("chmod");
    d.write("p/f", "22");
    m.strata(&["commit", "d"]).ok(); // v4
    assert_eq!(blame(&m, &["d"])[1], told(&[("p", "v4", "modified")])[0]);
    m.strata(&["rollback", "d", "v1"]).ok(); // v5
    assert_eq!(blame(&m, &["d"]), told(&[("p", "v5", "modified")]));
    m.strata(&["rollback", "d", "v2"]).ok(); // v6
    assert_eq!(blame(&m, &["d"]), told(&[("p", "v6", "attributes")]));
    assert_eq!(versions("p"), ["v6", "v5", "v4", "v2", "v1"]);
}

/// Entries are told in the order of their names, however many there are and whichever versions touched them.
#[test]
fn blame_is_ordered_by_name() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    shell("cd \"$1\"; mkdir a b; seq 3000 | sed s,^,b/f, | xargs touch; touch a/z a/y", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    shell("cd \"$1\"; for n in $(seq 7 97 3000); do echo > b/f$n; done", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    let paths = |arguments: &[&str]| -> Vec<String> {
        let told = lines(&m.strata(&[&["blame", "--json"], arguments].concat()).ok());
        told.iter().map(|line| line["path"].as_str().expect("text").to_owned()).collect()
    };
    let told = paths(&["d/b"]);
    assert!(told.len() == 3000 && told.is_sorted(), "{:?}", &told[..9]);
    let names: Vec<String> = d.list("b").into_iter().map(|name| format!("b/{name}")).collect();
    assert_eq!(told, names);
    assert_eq!(
        paths(&["-r", "d"]),
        [vec!["a".into(), "b".into(), "a/y".into(), "a/z".into()], names].concat()
    );
}
