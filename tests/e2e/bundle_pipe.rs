//! Bundles that go through a pipe, such as to `ssh`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::bundle::{history, text};
use crate::harness::*;

/// Runs a shell script in which `$STRATA` is the binary, `$1` the store of one mount and `$2` that of another.
#[track_caller]
fn piped(from: &Mount, to: &Mount, script: &str) -> Ran {
    let mut command = std::process::Command::new("bash");
    command.args(["-o", "pipefail", "-c", script, "bash"]).args([from.store(), to.store()]);
    run(command.env("STRATA", binary()))
}

/// What is in the directory for content that is being written.
fn scratch(m: &Mount) -> usize {
    fs::read_dir(m.store().join("scratch")).map_or(0, Iterator::count)
}

/// A bundle goes from one store to another through a pipe, mounted or not, of all versions or those after one, and
/// leaves no file behind.
#[test]
fn a_bundle_goes_through_a_pipe() {
    let m = Mount::new();
    history(&m);
    m.strata(&["annotate", "d@v4", "license=MIT"]).ok();
    let d = m.existing("d");
    for mounted in [true, false] {
        let other = Mount::new();
        if !mounted {
            other.down();
        }
        let first = r#"$STRATA bundle --store "$1" d@v4 -o - | $STRATA import --store "$2" - e"#;
        assert_eq!(piped(&m, &other, first).ok(), "e: v4\n");
        let newest = d.versions();
        let rest = r#"$STRATA import --json --store "$2" <($STRATA bundle --store "$1" --since v4 d -o -) e"#;
        let made: serde_json::Value = serde_json::from_str(&piped(&m, &other, rest).ok()).expect("JSON");
        assert_eq!(made["version"], format!("v{newest}"));
        let again = r#"$STRATA bundle --store "$1" d -o - | $STRATA import --store "$2" /dev/stdin e"#;
        let again = piped(&m, &other, again);
        assert!(again.stderr.contains("there already"), "{}", again.stderr);
        assert_eq!(again.ok(), "");
        assert_eq!(scratch(&other), 0);
        if !mounted {
            other.up(&[]);
        }
        assert_eq!(other.existing("e").log(), d.log());
        assert_same_tree(d.root(), other.existing("e").root());
        other.strata(&["verify"]).ok();
    }
}

/// What comes through a pipe and is no bundle, or none that is whole, is refused as soon as that is seen; nothing
/// lands, and the daemon goes on.
#[test]
fn what_comes_through_a_pipe_is_checked() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 3 << 20));
    let other = Mount::new();
    let refused = |to: &Mount, script: &str, why: &str| {
        let ran = piped(&m, to, script);
        assert!(ran.stderr.contains(why), "{script}: {}", ran.stderr);
        assert_ne!(ran.code, Some(0), "{script}");
        assert_eq!(to.status()["datasets"].as_array().map(Vec::len), Some(0), "{script}");
        assert_eq!((scratch(to), &to.status()["unique_bytes"]), (0, &0.into()), "{script}");
    };
    let import = r#"$STRATA import --store "$2" - e"#;
    refused(&other, &format!("yes | {import}"), "standard input: it is no bundle");
    refused(&other, &format!("{import} < /dev/null"), "standard input: it is no bundle");
    let bundle = r#"$STRATA bundle --store "$1" d -o -"#;
    refused(
        &other,
        &format!("{bundle} | head -c 2000000 | {import}"),
        "standard input: the bundle is truncated",
    );
    refused(&other, &format!("{bundle} | sed 's/d/e/' | {import}"), "standard input: ");
    refused(&other, &format!("{bundle} --since v1 | {import}"), "nothing after");
    refused(&other, &format!("{bundle} | {import} -m said"), "no --message");
    refused(&other, &format!("{bundle} | {import} --history"), "no --message");
    // One that takes nothing says so, however much is to come.
    let shut = Mount::with(&["--read-only"]);
    refused(&shut, &format!("{bundle} | {import}"), "mounted read-only");
    // One that is killed in the midst leaves nothing.
    let file = m.outside().join("d.bundle");
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    let whole = fs::read(&file).expect("read");
    let mut import = other.command(&["import", "-", "e"]);
    let mut import = import.stdin(Stdio::piped()).spawn().expect("start");
    import.stdin.as_mut().expect("a pipe").write_all(&whole[..2 << 20]).expect("write");
    import.kill().expect("kill");
    import.wait().expect("wait");
    assert_eq!(other.status()["datasets"].as_array().map(Vec::len), Some(0));
    assert_eq!(scratch(&other), 0);
    other.strata(&["import", text(&file), "e"]).ok();
    assert_eq!(other.existing("e").log(), d.log());
}
