//! Annotations: what is said of a version without changing it.

use serde_json::{Value, json};

use crate::harness::*;

fn of(m: &Mount, version: &str) -> Value {
    serde_json::from_str(&m.strata(&["show", "--json", version]).ok()).expect("JSON")
}

/// What is said of a version is shown wherever the version is, and leaves its ids as they are.
#[test]
fn annotations_leave_the_version_as_it_is() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "0");
    d.write("f", "1");
    let before = of(&m, "d@v2");
    assert!(before.get("annotations").is_none() && before.get("note").is_none());
    let log = || d.text("@history/log.jsonl");
    assert!(!log().contains("license"));
    let said = m.strata(&["annotate", "d@v2", "-m", "checked\nby hand", "license=MIT", "a.b=x=y ü"]).ok();
    assert!(said.starts_with("d: v2\n") && said.contains("license = MIT\n"), "{said}");
    let after = of(&m, "d@v2");
    for same in ["id", "snapshot", "time", "message", "version", "changes"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after["note"], "checked\nby hand");
    assert_eq!(after["annotations"], json!({"license": "MIT", "a.b": "x=y ü"}));
    assert!(m.strata(&["show", "d@v2"]).ok().contains("license = MIT\n"));
    assert!(m.strata(&["log", "--json", "d"]).ok().contains("\"license\":\"MIT\""));
    assert!(log().contains("\"license\":\"MIT\""), "{}", log());
    m.strata(&["annotate", "d@v2", "--remove", "license", "-m", ""]).ok();
    let after = of(&m, "d@v2");
    assert_eq!((after.get("note"), &after["annotations"]), (None, &json!({"a.b": "x=y ü"})));
    assert!(!log().contains("license"));
    assert_eq!(d.versions(), 2, "no version was made");
}

/// The history of what was said is kept, and survives a kill, a remount and a rebuilt index.
#[test]
fn the_history_of_annotations_is_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "0");
    d.write("f", "1");
    m.strata(&["annotate", "d@v1", "split=train"]).ok();
    m.strata(&["annotate", "d@v2", "split=test", "-m", "first"]).ok();
    m.strata(&["annotate", "d@v2", "split=test"]).ok();
    m.strata(&["annotate", "d", "split=val", "other=1"]).ok();
    let check = |when: &str| {
        let told = m.strata(&["annotate", "d@v2", "--history", "--json"]).ok();
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(told.len(), 2, "{when}: what is so already is not said again: {told:?}");
        assert_eq!(told[0]["values"], json!({"split": "val", "other": "1"}), "{when}");
        assert_eq!((&told[1]["message"], &told[1]["values"]["split"]), (&json!("first"), &json!("test")));
        assert!(told[1]["command"].as_str().expect("a command").contains("annotate"));
        assert_eq!(of(&m, "d@v1")["annotations"], json!({"split": "train"}), "{when}");
    };
    check("at once");
    m.kill();
    check("without a daemon, after a kill");
    m.up(&[]);
    check("after a remount");
    m.down();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    check("with a new index");
    m.strata(&["annotate", "d@v1", "later=1"]).ok();
    assert_eq!(of(&m, "d@v1")["annotations"], json!({"split": "train", "later": "1"}));
    assert!(m.strata(&["verify"]).ok().is_empty());
}

/// What can be no annotation is refused, and says why.
#[test]
fn what_can_be_no_annotation_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    assert!(m.strata(&["annotate", "d", "a=1"]).fails(1).contains("no version to annotate"));
    d.write("f", "1");
    let long = format!("a={}", "x".repeat(16 << 10));
    for (arguments, code, wanted) in [
        (&["annotate", "d@v9", "a=1"][..], 1, "no version or tag 'v9'"),
        (&["annotate", "e@v1", "a=1"], 1, "e"),
        (&["annotate", "d@v1", "a b=1"], 2, "can be no key"),
        (&["annotate", "d@v1", "=1"], 2, "can be no key"),
        (&["annotate", "d@v1", "plain"], 2, "KEY=VALUE wanted"),
        (&["annotate", "d@v1", "a=1", "a=2"], 2, "given twice"),
        (&["annotate", "d@v1", "--remove", "nothing"], 1, "annotation 'nothing' of v1 of d"),
        (&["annotate", "d@v1", long.as_str()], 1, "too long"),
        (&["annotate", "d@v1/f", "a=1"], 2, "without a path"),
    ] {
        let told = m.strata(arguments).fails(code);
        assert!(told.contains(wanted), "{arguments:?}: {told}");
    }
    assert_eq!(m.strata(&["annotate", "d@v1"]).ok(), "", "nothing was said");
    m.down();
    m.up(&["--read-only"]);
    assert!(m.strata(&["annotate", "d@v1", "a=1"]).fails(1).contains("read-only"));
}
