//! Completion of command lines: in real shells, and what they are told.

use std::fs;
use std::process::Command;

use crate::harness::*;

/// A store with a dataset `pets` of a file, a directory and a tag, and one with a blank in its name.
fn sample(m: &Mount) {
    let d = m.dataset("pets");
    d.mkdir("train");
    d.write("train/b", "1");
    d.write("labels.csv", "1");
    m.dataset("my data").write("f", "1");
    m.strata(&["tag", "pets@v2", "paper", "-m", "for the paper"]).ok();
}

/// What can stand at the end of a command line: first what it is, then each candidate.
fn candidates(m: &Mount, words: &[&str]) -> Vec<String> {
    let said = m.strata(&[&["complete", "--", "strata"], words].concat()).ok();
    said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// bash, zsh and fish complete commands, datasets, versions, tags, paths, options and files, with blanks too.
#[test]
fn shells_complete_what_is_typed() {
    let m = Mount::new();
    sample(&m);
    let lines = [
        ("strata lo\tpe\t", "<log><pets>"),
        ("strata show pets@pa\t", "<show><pets@paper>"),
        ("strata show pets@\tpap\t", "<show><pets@paper>"),
        ("strata cat my\\ d\t/f", "<cat><my data/f>"),
        ("strata cat pets@v3/la\t", "<cat><pets@v3/labels.csv>"),
        ("strata log pets tr\tb", "<log><pets><train/b>"),
        ("strata rollback pets pap\t", "<rollback><pets><paper>"),
        ("strata set pets policy=m\t", "<set><pets><policy=manual>"),
        ("strata set pets quota=n\t", "<set><pets><quota=none>"),
        (
            "strata mount --read\t --dataset pe\t--at pap\tx",
            "<mount><--read-only><--dataset><pets><--at><paper><x>",
        ),
        ("strata import outs\t pe\t", "<import><outside/><pets>"),
    ];
    for shell in ["bash", "zsh", "fish"] {
        let home = m.outside().join(shell);
        fs::create_dir_all(home.join("outside")).expect("make a directory");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/completed.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(&home).arg(shell).arg(binary()).args(lines.map(|(typed, _)| typed));
        let got = run(command.env("STRATA_STORE", m.store())).ok();
        let got: Vec<&str> = got.lines().collect();
        for (got, (typed, wanted)) in got.iter().zip(lines) {
            // Shells differ in whether a directory's name is given its slash.
            assert_eq!(got.replace("outside>", "outside/>"), wanted, "{shell}: {typed:?}");
        }
        assert_eq!(got.len(), lines.len(), "{shell}: {got:?}");
    }
}

/// Names come from the daemon, or without one from the store; where there is no store, a crash has left it in
/// disorder, or nothing fits, there is nothing and no word.
#[test]
fn names_come_from_the_daemon_or_the_store() {
    let m = Mount::new();
    sample(&m);
    for up in [true, false] {
        assert_eq!(candidates(&m, &["log", "p"]), ["values", "pets"]);
        assert_eq!(candidates(&m, &["diff", "pets@v1", "p"]), ["values", "pets@", "pets"]);
        assert_eq!(
            candidates(&m, &["show", "pets@"]),
            ["values", "pets@paper", "pets@latest", "pets@prev", "pets@v3", "pets@v2", "pets@v1"]
        );
        assert_eq!(candidates(&m, &["untag", "pets", ""]), ["values", "paper"]);
        assert_eq!(candidates(&m, &["log", "nothing"]), ["values"]);
        assert_eq!(candidates(&m, &["hash", ""]), ["files"]);
        assert_eq!(candidates(&m, &["mount", "--dataset", "pets", ""]), ["directories"]);
        let points = candidates(&m, &["umount", ""]);
        assert_eq!(points.contains(&m.point().to_str().expect("path").to_owned()), up, "{points:?}");
        if up {
            m.down();
        }
    }
    let store = m.store().to_str().expect("path").to_owned();
    let elsewhere = Mount::unmounted();
    assert_eq!(candidates(&elsewhere, &["log", "p"]), ["values"]);
    assert!(!elsewhere.store().exists(), "completing makes no store");
    assert_eq!(candidates(&elsewhere, &["--store", &store, "log", "p"]), ["values", "pets"]);
    assert_eq!(candidates(&elsewhere, &[&format!("--store={store}"), "log", "p"]), ["values", "pets"]);
    m.up(&[]);
    m.existing("pets").write("f", "2");
    m.kill();
    let killed = m.strata(&["complete", "--", "strata", "log", "p"]);
    assert_eq!((killed.text().as_str(), killed.stderr.as_str()), ("values\n", ""));
    m.up(&[]);
    assert_eq!(candidates(&m, &["log", "p"]), ["values", "pets"]);
    m.strata(&["prune", "pets", "--keep-last", "1"]).ok();
    assert_eq!(
        candidates(&m, &["show", "pets@"]),
        ["values", "pets@paper", "pets@latest", "pets@prev", "pets@v4", "pets@v2"],
        "what was pruned is not offered"
    );
}

/// A daemon that does not answer holds up nobody who presses TAB, and odd words are no failure.
#[test]
fn completing_never_hangs_or_fails() {
    let m = Mount::new();
    sample(&m);
    let daemon = m.daemon().expect("the daemon runs");
    rustix::process::kill_process(daemon, rustix::process::Signal::STOP).expect("stop the daemon");
    let ran = m.strata(&["complete", "--", "strata", "log", "p"]);
    rustix::process::kill_process(daemon, rustix::process::Signal::CONT).expect("continue the daemon");
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), ""));
    for words in
        [&[][..], &[""], &["no-such-command", ""], &["show", "@"], &["cat", "pets@/", ""], &["cat", "//"]]
    {
        m.strata(&[&["complete", "--"], words].concat()).ok();
    }
    assert!(m.strata(&["completions", "tcsh"]).fails(2).contains("bash"));
}

/// Names that no line can hold are left out; others are offered as they are.
#[test]
fn odd_names_are_completed_or_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let m = Mount::new();
    let d = m.dataset("d");
    for name in [&b"a\nb"[..], b"a\xff", b"a'b", b"a$b", &[b'a'; 255]] {
        fs::write(d.root().join(std::ffi::OsStr::from_bytes(name)), "x").expect("write");
    }
    let long = format!("d/{}", "a".repeat(255));
    assert_eq!(candidates(&m, &["cat", "d/a"]), ["values", "d/a$b", "d/a'b", &long]);
}
