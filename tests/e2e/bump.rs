//! Which step of the semantic version changes call for.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::*;

fn suggest(m: &Mount, arguments: &[&str]) -> Value {
    let text = m.strata(&[&["bump", "--suggest", "--json", "d"], arguments].concat()).ok();
    serde_json::from_str(&text).expect("JSON")
}

/// The step that is proposed and the next version.
fn step(m: &Mount) -> (Value, Value) {
    let proposal = suggest(m, &[]);
    (proposal["step"].clone(), proposal["next"].clone())
}

/// What is removed calls for a major step, what is added for a minor one, anything else for a patch; columns of
/// tables count like paths.
#[test]
fn changes_call_for_a_step() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("t.csv", "a,b\n1,x\n");
    d.write("f", "1");
    assert_eq!(step(&m), (json!("minor"), json!("0.1.0")), "the first");
    m.strata(&["tag", "d", "1.4.2"]).ok();
    assert_eq!(step(&m), (Value::Null, Value::Null));
    assert!(m.strata(&["bump", "--suggest", "d"]).ok().contains("nothing changed since v2"));
    let steps: [(&str, &dyn Fn(), Value); 8] = [
        ("bytes", &|| d.write("f", "2"), json!(["patch", "1.4.3"])),
        ("rows", &|| d.write("t.csv", "a,b\n1,x\n2,\n"), json!(["patch", "1.4.3"])),
        ("a path", &|| d.write("g", "x"), json!(["minor", "1.5.0"])),
        ("a column", &|| d.write("t.csv", "a,b,c\n1,x,\n"), json!(["minor", "1.5.0"])),
        ("a type", &|| d.write("t.csv", "a,b\n1.5,x\n"), json!(["major", "2.0.0"])),
        ("no column", &|| d.write("t.csv", "a\n1\n"), json!(["major", "2.0.0"])),
        ("no path", &|| fs::remove_file(d.path("g")).expect("rm"), json!(["major", "2.0.0"])),
        ("a name", &|| fs::rename(d.path("f"), d.path("h")).expect("mv"), json!(["major", "2.0.0"])),
    ];
    for (what, change, wanted) in steps {
        change();
        let (step, next) = step(&m);
        assert_eq!(json!([step, next]), wanted, "{what}");
    }
    for up in [true, false] {
        let text = m.strata(&["bump", "--suggest", "d"]).ok();
        assert!(
            text.starts_with("d: v10 is a major step from v2 (the last release is 1.4.2): 2.0.0\n"),
            "{text}"
        );
        assert!(
            text.contains("\n  major  renamed h: was f\n") && text.contains("column removed t.csv: b\n"),
            "{text}"
        );
        let proposal = suggest(&m, &["--since", "v9"]);
        assert_eq!((&proposal["since"], &proposal["version"]), (&json!("v9"), &json!("v10")));
        assert_eq!(
            proposal["reasons"],
            json!([{"step": "major", "change": "renamed", "path": "h", "detail": "was f"}])
        );
        if up {
            m.down();
        }
    }
    assert_eq!(m.strata(&["bump", "d", "-m", "moved"]).ok(), "d: 2.0.0 is v10\n");
    let nothing = m.strata(&["bump", "d"]).fails(1);
    assert!(nothing.contains("nothing changed") && nothing.contains("strata release"), "{nothing}");
}

/// A table that cannot be read is an error that names it; --bytes does without. What is not there is named.
#[test]
fn what_cannot_be_judged_is_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    assert!(m.strata(&["bump", "--suggest", "d"]).fails(1).contains("no version"));
    d.write("t.csv", "a,b\n1,2\n");
    m.strata(&["release", "d", "minor"]).ok();
    d.write("t.csv", "a,b\n1\n");
    let why = m.strata(&["bump", "--suggest", "d"]).fails(1);
    assert!(why.contains("cannot read d@v2/t.csv as a table: line 2") && why.contains("--bytes"), "{why}");
    assert_eq!(suggest(&m, &["--bytes"])["step"], "patch");
    assert!(m.strata(&["bump", "--suggest", "d", "--since", "v7"]).fails(1).contains("v7"));
    assert!(m.strata(&["bump", "--suggest", "none"]).fails(1).contains("none"));
    m.strata(&["bump", "--suggest", "d", "--since", "no such"]).fails(2);
    m.strata(&["bump", "--suggest", "d", "-m", "x"]).fails(2);
}

/// What becomes something of another kind is gone for whoever used it: a major step. Names of any bytes are told.
#[test]
fn another_kind_is_a_major_step() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("t.csv", "a,b\n1,x\n");
    d.write("f", "1");
    let became = |script: &str| {
        m.strata(&["commit", "d"]).ok();
        m.strata(&["release", "d", "minor"]).ok();
        shell(&format!("cd \"$1\"; {script}"), &[d.root()]);
        m.strata(&["commit", "d"]).ok();
        suggest(&m, &[])
    };
    let told = became("rm t.csv; mkdir t.csv");
    let wanted = json!({"step": "major", "change": "replaced", "path": "t.csv", "detail": "was file"});
    assert_eq!((&told["step"], &told["reasons"][0]), (&json!("major"), &wanted));
    let told = became("rm f; ln -s t.csv f");
    assert_eq!((&told["step"], &told["reasons"][0]["path"]), (&json!("major"), &json!("f")));
    assert!(m.strata(&["diff", "d@v2", "d@v3"]).ok().starts_with("M symlink  f  1 -> 5 bytes"));
    let told = became("touch \"$(printf '\\377')\"");
    let wanted =
        json!({"step": "minor", "change": "added", "path": "\u{fffd}", "path_bytes": "ff", "detail": null});
    assert_eq!(told["reasons"][0], wanted);
}

/// Of several at once, one releases a version, and the others say that it was released.
#[test]
fn one_of_several_bumps_at_once_releases() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "1");
    m.strata(&["release", "d", "major"]).ok();
    d.write("f", "2");
    let bumps: Vec<_> =
        (0..6).map(|_| m.command(&["bump", "d"]).stderr(Stdio::piped()).spawn().expect("start")).collect();
    let ended: Vec<_> = bumps.into_iter().map(|bump| bump.wait_with_output().expect("wait")).collect();
    let (good, bad): (Vec<_>, Vec<_>) = ended.iter().partition(|output| output.status.success());
    assert_eq!((good.len(), bad.len()), (1, 5));
    for output in bad {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("released as 1.0.1 meanwhile") || said.contains("nothing changed"), "{said}");
    }
    assert_eq!(m.strata(&["tags", "d"]).ok().lines().count(), 2);
}
