//! The command line: help, output for scripts, exit codes.

use std::process::Command;

use serde_json::Value;

use crate::harness::*;

const COMMANDS: [&str; 39] = [
    "init",
    "mount",
    "umount",
    "status",
    "datasets",
    "log",
    "show",
    "diff",
    "blame",
    "ls",
    "cat",
    "prefetch",
    "import",
    "tag",
    "untag",
    "tags",
    "release",
    "pointer",
    "checkout",
    "set",
    "commit",
    "batch",
    "rollback",
    "verify",
    "compact",
    "fsck",
    "hash",
    "doctor",
    "completions",
    "annotate",
    "meta",
    "bump",
    "export",
    "bundle",
    "pin",
    "unpin",
    "prune",
    "gc",
    "purge",
];

/// Every command has a help text that shows how it is used.
#[test]
fn every_command_has_help() {
    let m = Mount::unmounted();
    let overview = m.strata(&["--help"]).ok();
    for command in COMMANDS {
        assert!(overview.contains(command), "{command} is not in: {overview}");
        let help = m.strata(&[command, "--help"]).ok();
        assert!(help.contains("Usage") && help.contains(command), "{help}");
        assert!(help.lines().count() >= 6, "the help of {command} teaches: {help}");
    }
    assert!(m.strata(&["--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
}

/// Wrong usage is exit code 2, with a word on what is wrong.
#[test]
fn wrong_usage_is_exit_code_2() {
    let m = Mount::unmounted();
    for arguments in
        [&["frobnicate"][..], &[], &["mount"], &["log"], &["log", "--frobnicate", "d"], &["rollback", "d"]]
    {
        let ran = m.strata(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
}

/// Talk goes to standard error, data to standard output; failure is exit code 1.
#[test]
fn failure_is_exit_code_1_and_says_why() {
    let m = Mount::new();
    let ran = m.strata(&["cat", "d@v1/f"]);
    assert!(ran.stdout.is_empty());
    assert!(ran.fails(1).contains('d'));
}

/// `status --json` has what the manual says, beside a daemon and without one.
#[test]
fn status_has_its_fields() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 500_000));
    d.write("g", noise(1, 500_000));
    for up in [true, false] {
        let status = m.status();
        assert_eq!(status["store"], m.store().to_str().expect("path"));
        assert!(status["id"].is_string() && status["format"].is_u64(), "{status}");
        assert_eq!(status["read_only"], false);
        if up {
            assert_eq!(status["pid"], m.daemon().expect("runs").as_raw_pid());
            assert_eq!(status["mountpoint"], m.point().to_str().expect("path"));
        } else {
            assert!(status["pid"].is_null() && status["mountpoint"].is_null(), "{status}");
        }
        let dataset = &status["datasets"][0];
        assert_eq!((&dataset["name"], &dataset["policy"]), (&Value::from("d"), &Value::from("every-write")));
        assert_eq!(
            (&dataset["versions"], &dataset["logical_bytes"]),
            (&Value::from(2), &Value::from(1_000_000))
        );
        assert_eq!(status["logical_bytes"], 1_000_000);
        let bytes = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("{name} in {status}"));
        assert!((500_000..600_000).contains(&bytes("unique_bytes")), "equal files are stored once: {status}");
        assert!(bytes("disk_bytes") >= bytes("unique_bytes"), "noise does not compress: {status}");
        let text = m.strata(&["status"]).ok();
        assert!(text.contains("d") && text.contains(m.store().to_str().expect("path")), "{text}");
        if up {
            m.down();
        }
    }
}

/// `datasets --json` lists the datasets.
#[test]
fn datasets_are_listed() {
    let m = Mount::new();
    m.dataset("a").write("f", "x");
    m.dataset("b");
    let json: Value = serde_json::from_str(&m.strata(&["datasets", "--json"]).ok()).expect("JSON");
    let names: Vec<_> = json.as_array().expect("an array").iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(json[0]["versions"], 1);
    let text = m.strata(&["datasets"]).ok();
    assert!(text.contains('a') && text.contains('b'), "{text}");
}

/// `cat` and `ls` read any version by path, beside a daemon and without one.
#[test]
fn cat_and_ls_read_any_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    let bytes = noise(1, 3 << 20);
    d.write("dir/f", &bytes);
    d.write("dir/f", "second");
    for up in [true, false] {
        assert!(m.strata(&["cat", "d@v2/dir/f"]).stdout == bytes);
        assert_eq!(m.strata(&["cat", "d/dir/f"]).ok(), "second");
        assert_eq!(m.strata(&["cat", "d@prev/dir/f", "d@latest/dir/f"]).stdout.len(), bytes.len() + 6);
        for object in ["d", "d@v1", "d@latest"] {
            assert!(m.strata(&["ls", object]).ok().contains("dir"), "{object}");
        }
        assert!(m.strata(&["ls", "d@v2/dir"]).ok().contains('f'));
        if up {
            m.down();
        }
    }
}

/// Every command that reads or commits works without a daemon, on the store itself.
#[test]
fn commands_work_without_a_daemon() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "1");
    d.write("f", "2");
    m.down();
    for arguments in [
        &["status"][..],
        &["datasets"],
        &["log", "d"],
        &["show", "d@v1"],
        &["ls", "d"],
        &["cat", "d@v1/f"],
        &["set", "d", "policy=manual"],
        &["commit", "d"],
        &["rollback", "d", "v1"],
        &["verify"],
        &["fsck"],
    ] {
        m.strata(arguments).ok();
    }
    m.up(&[]);
    assert_eq!((d.text("f").as_str(), d.versions()), ("1", 3));
    assert_eq!(m.status()["datasets"][0]["policy"], "manual");
}

/// `init` makes a store, once; the first mount makes one too.
#[test]
fn init_makes_a_store_once() {
    let m = Mount::unmounted();
    m.strata(&["init"]).ok();
    let id = m.status()["id"].clone();
    m.strata(&["init"]);
    m.up(&[]);
    assert_eq!(m.status()["id"], id, "the store stays the same");
}

/// The store is found by `--store`, else by STRATA_STORE, else in the XDG data directory.
#[test]
fn the_store_is_found() {
    let m = Mount::unmounted();
    let (home, named) = (m.outside().join("home"), m.outside().join("named"));
    let strata = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).env_remove("STRATA_STORE").env_remove("XDG_DATA_HOME").env("HOME", &home);
        command
    };
    run(&mut strata(&["init"])).ok();
    assert!(tool("find", &[home.join(".local/share")]).contains("strata.json"));
    run(strata(&["init"]).env("STRATA_STORE", m.store())).ok();
    assert!(m.store().join("strata.json").exists());
    run(strata(&["init", "--store", named.to_str().expect("path")]).env("STRATA_STORE", m.store())).ok();
    assert!(named.join("strata.json").exists());
}

/// `mount --foreground` stays until it is told to end, and `umount` ends it.
#[test]
fn foreground_stays() {
    let m = Mount::unmounted();
    let mut child = m.command(&["mount", "--foreground"]).arg(m.point()).spawn().expect("start");
    poll("the mount is there", || {
        m.strata(&["status", "--json"]).text().contains(m.point().to_str().expect("path"))
    });
    m.dataset("d").write("f", "x");
    assert!(child.try_wait().expect("wait").is_none(), "it stays in the foreground");
    run(m.command(&["umount"]).arg(m.point())).ok();
    let mut code = None;
    poll("the daemon ends", || {
        code = child.try_wait().expect("wait");
        code.is_some()
    });
    assert!(code.expect("ended").success());
}
