//! Colours and bars are for terminals, and only for who wants them.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::harness::*;

const GREEN_A: &str = "\u{1b}[32mA\u{1b}[0m";

/// What a command shows on a terminal, with these settings of the environment.
fn on_a_terminal(m: &Mount, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    run(&mut terminal(m, environment, arguments)).ok()
}

fn terminal(m: &Mount, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let program = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(binary()).args(arguments).env("STRATA_STORE", m.store());
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(environment.iter().copied());
    command
}

/// A terminal is shown colours, unless NO_COLOR is set or TERM is dumb; others are shown none. --color decides.
#[test]
fn colours_are_for_terminals_that_want_them() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.strata(&["tag", "d", "prod"]).ok();
    let show = ["show", "d@v1"];
    assert!(on_a_terminal(&m, &[], &show).contains(GREEN_A));
    for quiet in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!on_a_terminal(&m, &[quiet], &show).contains('\u{1b}'), "{quiet:?}");
        assert!(on_a_terminal(&m, &[quiet], &["show", "d@v1", "--color=always"]).contains(GREEN_A));
    }
    assert!(on_a_terminal(&m, &[("NO_COLOR", "")], &show).contains(GREEN_A), "empty is not set");
    assert!(!on_a_terminal(&m, &[], &["--color=never", "show", "d@v1"]).contains('\u{1b}'));
    for command in [&["show", "d@v1"][..], &["log", "d"], &["status"], &["datasets"], &["doctor"]] {
        assert!(!m.strata(command).ok().contains('\u{1b}'), "{command:?} to a pipe");
        assert!(m.strata(&[command, &["--color=always"]].concat()).ok().contains("\u{1b}["), "{command:?}");
    }
    assert!(m.strata(&["diff", "d@v1", "d", "--color", "always"]).ok().contains("no path differs"));
    let json = m.strata(&["log", "d", "--json", "--color=always"]).ok();
    assert!(!json.contains('\u{1b}'), "JSON has no colours: {json}");
    assert!(m.strata(&["log", "d", "--color=sometimes"]).fails(2).contains("sometimes"));
}

/// Colours change nothing but the colour.
#[test]
fn without_its_colours_output_is_the_same() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    d.write("g", "y");
    m.strata(&["tag", "d", "prod"]).ok();
    for command in [&["show", "d@v1"][..], &["log", "d"], &["datasets"]] {
        let plain = m.strata(command).ok();
        let coloured = m.strata(&[command, &["--color=always"]].concat()).ok();
        let mut bare = String::new();
        for part in coloured.split('\u{1b}') {
            bare += if bare.is_empty() && !coloured.starts_with('\u{1b}') {
                part
            } else {
                part.split_once('m').map_or(part, |(_, rest)| rest)
            };
        }
        assert_eq!(bare, plain);
    }
}

/// Bars are shown on a terminal alone, and only of what takes longer than a second.
#[test]
fn what_is_brief_or_no_terminal_shows_no_bar() {
    let m = Mount::new();
    m.dataset("d").write("f", noise(1, 1 << 20));
    let point = m.point().join("d");
    let point = point.to_str().expect("path");
    for command in [
        &["verify", "--json"][..],
        &["prefetch", "d"],
        &["compact"],
        &["hash", point],
        &["import", point, "e"],
        &["log", "d"],
        &["meta", "d", "sha256sums"],
        &["diff", "d", point],
    ] {
        let ran = m.strata(command);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command:?}");
    }
    // A terminal is shown what takes longer: here because the daemon is stopped meanwhile.
    for (command, text) in [
        (&["hash", point][..], "hashing"),
        (&["log", "d"], "working"),
        (&["meta", "d", "sha256sums"], "working"),
        (&["prune", "d", "--keep-last", "1", "--dry-run"], "working"),
    ] {
        let daemon = m.daemon().expect("the daemon runs");
        kill_process(daemon, Signal::STOP).expect("stop the daemon");
        let (seen, is_seen) = mpsc::channel::<()>();
        // Until the bar is seen; or, to end where there is none, for long.
        let goes_on = thread::spawn(move || {
            let _ = is_seen.recv_timeout(Duration::from_secs(30));
            kill_process(daemon, Signal::CONT)
        });
        let mut child = terminal(&m, &[], command).stdout(Stdio::piped()).spawn().expect("start a terminal");
        let mut stdout = child.stdout.take().expect("its output");
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let len = stdout.read(&mut part).expect("read what it shows");
            shown.extend_from_slice(&part[..len]);
            let has_bar = String::from_utf8_lossy(&shown).contains(text);
            if has_bar {
                let _ = seen.send(());
            }
            if len == 0 {
                assert!(has_bar, "{command:?}: {}", String::from_utf8_lossy(&shown));
                break;
            }
        }
        goes_on.join().expect("the thread ends").expect("continue the daemon");
        assert!(child.wait().expect("it ends").success(), "{command:?}");
    }
}
