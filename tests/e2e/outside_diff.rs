//! How a version differs from an ordinary directory.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::*;

fn diff(m: &Mount, arguments: &[&str]) -> Value {
    serde_json::from_str(&m.strata(&[&["diff", "--json"], arguments].concat()).ok()).expect("JSON")
}

/// Kind of change, path and path before of each.
fn brief(told: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = told["changes"].as_array().expect("changes").iter();
    changes.map(|change| (text(&change["change"]), text(&change["path"]), text(&change["from"]))).collect()
}

fn wanted(of: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    of.iter().map(|(a, b, c)| ((*a).into(), (*b).into(), (*c).into())).collect()
}

/// A copy of a version does not differ, whenever it was made; what is then done to it is told, from either side,
/// beside a daemon and without.
#[test]
fn a_version_is_compared_with_a_directory() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(d.root(), 5, 60);
    shell(
        "cd \"$1\"; mkdir x; echo same > x/edited; seq 100 > x/moved; echo m > x/mode; ln -s a x/link; mkfifo x/fifo; \
         echo f > x/file; mkdir x/dir; echo g > x/dir/g; : > x/empty; printf 'a,b\\n1,2\\n' > x/t.csv",
        &[d.root()],
    );
    let copy = m.outside().join("copy");
    shell("cp -a \"$1\" \"$2\"", &[d.root(), copy.as_path()]);
    let version = format!("d@v{}", d.versions());
    let outside = copy.to_str().expect("text");
    assert_eq!(brief(&diff(&m, &[&version, outside])), []);
    shell(
        "cd \"$1/x\"; echo soso > edited; mv moved ../was_moved; chmod 600 mode; ln -sf b link; rm fifo; echo new > new; \
         rm file; mkdir file; echo h > file/h; rm -r dir; echo now > dir; rm empty; : > empty2; \
         printf 'a,b,c\\n1,2,3\\n' > t.csv",
        &[copy.as_path()],
    );
    let there = wanted(&[
        ("renamed", "was_moved", "x/moved"),
        ("modified", "x/dir", ""),
        ("removed", "x/dir/g", ""),
        ("modified", "x/edited", ""),
        ("removed", "x/empty", ""),
        ("added", "x/empty2", ""),
        ("removed", "x/fifo", ""),
        ("modified", "x/file", ""),
        ("added", "x/file/h", ""),
        ("modified", "x/link", ""),
        ("attributes", "x/mode", ""),
        ("added", "x/new", ""),
        ("modified", "x/t.csv", ""),
    ]);
    for up in [true, false] {
        let told = diff(&m, &[&version, outside, "-p", "--tables"]);
        assert_eq!(brief(&told), there);
        let of = |path: &str| {
            told["changes"].as_array().expect("changes").iter().find(|c| c["path"] == path).cloned()
        };
        assert!(
            of("x/edited").expect("told")["patch"].as_str().expect("a patch").contains("\n-same\n+soso\n")
        );
        assert_eq!(of("x/t.csv").expect("told")["table"]["columns"][2]["change"], "added");
        assert_eq!(of("x/mode").expect("told")["mode_after"], "0600");
        let back = brief(&diff(&m, &[outside, &version]));
        let turned: Vec<_> = there
            .iter()
            .map(|(change, path, from)| match change.as_str() {
                "added" => ("removed".to_owned(), path.clone(), from.clone()),
                "removed" => ("added".to_owned(), path.clone(), from.clone()),
                "renamed" => (change.clone(), from.clone(), path.clone()),
                _ => (change.clone(), path.clone(), from.clone()),
            })
            .collect();
        let sorted = |mut all: Vec<(String, String, String)>| {
            all.sort();
            all
        };
        assert_eq!(sorted(back), sorted(turned));
        assert_eq!(brief(&diff(&m, &[&version, outside, "x/edited"])).len(), 1);
        assert_eq!(brief(&diff(&m, &[&format!("{version}/x"), &format!("{outside}/x")])).len(), 13);
        if up {
            m.down();
        }
    }
    // As seen from there.
    let mut here = m.command(&["diff", &version, ".", "--stat", "--json"]);
    let stat: Value = serde_json::from_str(&run(here.current_dir(&copy)).ok()).expect("JSON");
    assert_eq!((&stat["stat"]["renamed"], &stat["stat"]["modified"]), (&json!(1), &json!(5)));
}

/// Names of any bytes are told as they are.
#[test]
fn odd_names_outside_are_told() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("@types", "x");
    let copy = m.outside().join("copy");
    fs::create_dir(&copy).expect("mkdir");
    for name in [&b"a\xff\nb"[..], b"@v3", b"@types", &[b'n'; 255], b" "] {
        fs::write(copy.join(Path::new(std::ffi::OsStr::from_bytes(name))), "x").expect("write");
    }
    let told = diff(&m, &["d", copy.to_str().expect("text"), "-p"]);
    let changes = told["changes"].as_array().expect("changes");
    assert_eq!(changes.len(), 4, "{told}");
    assert!(changes.iter().any(|change| change["path_bytes"] == "61ff0a62"), "{told}");
    assert!(changes.iter().all(|change| {
        change["patch"].as_str().expect("a patch").ends_with("+x\n\\ No newline at end of file\n")
    }));
}

/// What cannot be read is named, and so is what is not there, or is nothing to compare.
#[test]
fn what_cannot_be_compared_is_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("empty", "");
    let outside = m.outside().join("here");
    fs::create_dir(&outside).expect("mkdir");
    let here = outside.to_str().expect("text");
    let gone = format!("{here}/gone");
    assert!(m.strata(&["diff", "d", &gone]).fails(1).contains(&format!("cannot read {gone}")));
    assert!(m.strata(&["diff", "d@v9", here]).fails(1).contains("v9"));
    assert!(m.strata(&["diff", "d", here, "nowhere"]).fails(1).contains("d@v1/nowhere is not there"));
    let kinds = m.strata(&["diff", "d/empty", here]).fails(1);
    assert!(kinds.contains(&format!("{here} is a directory, and d@v1/empty is none")), "{kinds}");
    let both = m.strata(&["diff", here, here]).fails(2);
    assert!(both.contains("neither") && both.contains("diff -r"), "{both}");
    let mut bare = m.command(&["diff", "d", "here"]);
    let bare = run(bare.current_dir(m.outside())).fails(1);
    assert!(bare.contains("'here'") && bare.contains("./here"), "{bare}");
    fs::write(outside.join("file"), "x").expect("write");
    let file = format!("{here}/file");
    assert!(
        m.strata(&["diff", "d/empty", &file]).ok().starts_with(&format!("M file     {file}  0 -> 1 bytes\n"))
    );
    // Its size is 0, so that it must be read, and cannot be.
    let unread = m.strata(&["diff", "d/empty", "/proc/self/mem"]).fails(1);
    assert!(unread.contains("/proc/self/mem"), "{unread}");
    assert_eq!(
        m.strata(&["diff", "d/empty", "/dev/null"]).code,
        Some(0),
        "another kind is a difference like others"
    );
}

/// A dataset whose first version is still to be made has none to compare: that is said, from either side, and
/// nothing of how its live tree differs.
#[test]
fn without_a_version_there_is_nothing_to_compare() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("f", "same");
    let other = m.dataset("other");
    other.write("f", "same");
    let copy = m.outside().join("copy");
    fs::create_dir(&copy).and_then(|()| fs::write(copy.join("f"), "same")).expect("make a copy");
    let outside = copy.to_str().expect("text");
    for sides in [["d", outside], [outside, "d"], ["d@latest", outside], ["d/f", outside], ["d", "other"]] {
        for patch in [&[][..], &["-p"], &["--json"]] {
            let ran = m.strata(&[&["diff"], patch, &sides].concat());
            assert_eq!(ran.text(), "");
            assert!(ran.fails(1).contains("d has no version yet"));
        }
    }
    m.strata(&["commit", "d"]).ok();
    assert_eq!(brief(&diff(&m, &["d", outside])), []);
    d.write("f", "pending");
    assert_eq!(brief(&diff(&m, &[outside, "d"])), [], "without a version it is the newest");
}
