//! What was said of versions goes with a bundle: annotations and tags.

use std::fs;

use serde_json::{Value, json};

use super::bundle::text;
use crate::harness::*;

/// All that was ever said of a version.
fn said(m: &Mount, version: &str) -> Vec<Value> {
    let told = m.strata(&["annotate", version, "--history", "--json"]).ok();
    told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn of(m: &Mount, version: &str) -> Value {
    serde_json::from_str(&m.strata(&["show", "--json", version]).ok()).expect("JSON")
}

fn bundle(m: &Mount, arguments: &[&str], name: &str) -> (std::path::PathBuf, Value) {
    let file = m.outside().join(name);
    let told = m.strata(&[&["bundle", "--json", "--force", "-o", text(&file)], arguments].concat()).ok();
    (file, serde_json::from_str(&told).expect("JSON"))
}

/// Every annotation is there in another store, by whom and when it was said, and what was taken back is. A
/// bundle of further versions brings those of them, and what was said of earlier ones since; what is said
/// otherwise there stays, key by key.
#[test]
fn annotations_go_with_a_bundle() {
    let m = Mount::new();
    let d = m.dataset("d");
    (1..=5).for_each(|n| d.write("f", format!("{n}")));
    let annotate = |m: &Mount, arguments: &[&str]| drop(m.strata(&[&["annotate"], arguments].concat()).ok());
    annotate(&m, &["d@v1", "-m", "first\nof all", "license=MIT", "split=train"]);
    annotate(&m, &["d@v2", "license=MIT", "source=crawl"]);
    annotate(&m, &["d@v2", "license=BSD"]);
    annotate(&m, &["d@v2", "--remove", "source"]);
    annotate(&m, &["d@v5", "license=GPL"]);
    let (part, told) = bundle(&m, &["d@v3"], "part.bundle");
    assert_eq!(told["annotations"], 4, "{told}");
    assert!(fs::read(&part).expect("read").starts_with(b"strata bundle 3\n"));
    let (more, _) = bundle(&m, &["--since", "v3", "d"], "more.bundle");
    let (whole, _) = bundle(&m, &["d"], "whole.bundle");
    let none = bundle(&m, &["--since", "v3", "d@v4"], "none.bundle");
    assert_eq!(none.1["annotations"], 4, "what was said of earlier versions too");
    for update in [&more, &whole] {
        let other = Mount::new();
        let (part, _) = bundle(&m, &["d@v3"], "part.bundle");
        other.strata(&["import", text(&part), "e"]).ok();
        for n in 1..=3 {
            assert_eq!(said(&other, &format!("e@v{n}")), said(&m, &format!("d@v{n}")), "v{n}");
        }
        assert_eq!(of(&other, "e@v2")["annotations"], json!({"license": "BSD"}));
        // Said here in another way, and so it stays; of other keys, what is said there later comes along.
        annotate(&other, &["e@v1", "license=own"]);
        annotate(&m, &["d@v1", "license=BSD", "split=test"]);
        let (update, _) = match update == &more {
            true => bundle(&m, &["--since", "v3", "d"], "more.bundle"),
            false => bundle(&m, &["d"], "whole.bundle"),
        };
        other.strata(&["import", text(&update), "e"]).ok();
        let expected = json!({"license": "own", "split": "test"});
        assert_eq!(of(&other, "e@v1")["annotations"], expected);
        assert_eq!(of(&other, "e@v1")["note"], "first\nof all");
        assert_eq!(said(&other, "e@v2"), said(&m, "d@v2"));
        assert_eq!(said(&other, "e@v5"), said(&m, "d@v5"));
        let before = (said(&other, "e@v1"), said(&other, "e@v2"));
        let again = other.strata(&["import", text(&update), "e"]);
        assert!(again.stderr.contains("there already"), "{}", again.stderr);
        assert_eq!((said(&other, "e@v1"), said(&other, "e@v2")), before, "nothing is said twice");
        other.kill();
        other.up(&[]);
        other.down();
        other.strata(&["fsck", "--rebuild-index"]).ok();
        assert_eq!((said(&other, "e@v1"), said(&other, "e@v2")), before);
        other.strata(&["verify"]).ok();
        // For the next round.
        annotate(&m, &["d@v1", "license=MIT", "split=train"]);
    }
    // What is new is what was said alone.
    let other = Mount::new();
    other.strata(&["import", text(&part), "e"]).ok();
    annotate(&m, &["d@v3", "checked=yes"]);
    let (later, _) = bundle(&m, &["d@v3"], "later.bundle");
    other.strata(&["import", text(&later), "e"]).ok();
    assert_eq!(of(&other, "e@v3")["annotations"], json!({"checked": "yes"}));
}

/// A bundle without annotations and pins and of which nothing was given up is one that releases before can
/// read. One with any of these into a dataset makes the store one of the format in which imports under way may
/// have that.
#[test]
fn only_what_needs_a_newer_form_has_it() {
    let m = Mount::new();
    let d = m.dataset("d");
    (1..=3).for_each(|n| d.write("f", format!("{n}")));
    let (first, _) = bundle(&m, &["d@v1"], "first.bundle");
    let (second, _) = bundle(&m, &["--since", "v1", "d@v2"], "second.bundle");
    m.strata(&["annotate", "d@v1", "license=MIT"]).ok();
    let (third, _) = bundle(&m, &["--since", "v2", "d"], "third.bundle");
    m.strata(&["tag", "d@v3", "third"]).ok();
    (4..=6).for_each(|n| d.write("f", format!("{n}")));
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    let (fourth, _) = bundle(&m, &["--since", "v3", "d"], "fourth.bundle");
    d.write("f", "7");
    m.strata(&["pin", "d@v7"]).ok();
    let (fifth, _) = bundle(&m, &["--since", "v6", "d"], "fifth.bundle");
    let begins = |file: &std::path::Path| fs::read(file).expect("read")[14];
    assert_eq!([&first, &second, &third, &fourth, &fifth].map(|file| begins(file)), *b"12345");
    let other = Mount::unmounted();
    other.strata(&["init"]).ok();
    let identity = other.store().join("strata.json");
    let now = fs::read_to_string(&identity).expect("read");
    let id = now.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    fs::write(&identity, format!("{{\"format\":4,\"id\":\"{id}\"}}\n")).expect("write");
    let is_of = |format: u32| {
        let now = fs::read_to_string(&identity).expect("read");
        assert!(now.starts_with(&format!("{{\"format\":{format},")), "{now}");
    };
    other.strata(&["import", text(&first), "e"]).ok();
    other.strata(&["import", text(&second), "e"]).ok();
    is_of(4);
    other.strata(&["import", text(&third), "e"]).ok();
    is_of(6);
    other.strata(&["import", text(&fourth), "e"]).ok();
    is_of(7);
    other.strata(&["import", text(&fifth), "e"]).ok();
    is_of(9);
    assert_eq!(of(&other, "e@v1")["annotations"], json!({"license": "MIT"}));
    assert_eq!(fs::read_dir(other.store().join("imports")).expect("list").count(), 0);
}
