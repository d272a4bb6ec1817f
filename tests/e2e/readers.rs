//! What the daemon reads for a command stays until the command is done.

use std::io::Read;
use std::process::{Child, Stdio};

use super::bundle::text;
use crate::harness::*;

/// A dataset with two versions of many small files and a large one, all of them other ones in the second.
fn changed(m: &Mount, name: &str, seed: u64) {
    for version in 0..2 {
        write_source(m, name, seed + version);
    }
}

/// Makes the next version.
fn write_source(m: &Mount, name: &str, seed: u64) {
    let source = m.outside().join(name);
    std::fs::create_dir_all(&source).expect("mkdir");
    std::fs::write(source.join("big"), noise(seed, 4 << 20)).expect("write");
    for n in 0..100 {
        let line = |byte: u8| format!("{byte:02x} of {n} in {seed}\n");
        let lines: String = noise(seed * 1000 + n, 200).into_iter().map(line).collect();
        std::fs::write(source.join(format!("text-{n:02}")), lines).expect("write");
    }
    m.strata(&["import", "--checksum", text(&source), name]).ok();
}

/// Starts a command whose output nobody takes but for its first byte: that it is at work is known then.
fn started(m: &Mount, arguments: &[&str]) -> (Child, Vec<u8>) {
    let mut command = m.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut first = [0];
    child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("output comes");
    (child, first.to_vec())
}

/// Takes the rest, and gives all of it.
#[track_caller]
fn finished((mut child, mut output): (Child, Vec<u8>), what: &[&str]) -> Vec<u8> {
    child.stdout.as_mut().expect("piped").read_to_end(&mut output).expect("read");
    let mut said = String::new();
    child.stderr.as_mut().expect("piped").read_to_string(&mut said).expect("read");
    let status = child.wait().expect("wait");
    assert!(status.success(), "{what:?}: {said}");
    output
}

/// Whether the first and second version are there.
fn there(m: &Mount, name: &str) -> [bool; 2] {
    ["@v1", "@v2"].map(|version| m.existing(name).has(version))
}

/// A version from which something is exported, bundled, printed or compared is kept until that is done, however
/// slowly it is taken, and goes then.
#[test]
fn what_is_read_for_a_command_keeps_its_version() {
    let m = Mount::new();
    let commands: [(&str, &[&str]); 4] = [
        ("exported", &["export", "exported@v1", "-"]),
        ("bundled", &["bundle", "bundled@v1", "-o", "-"]),
        ("printed", &["cat", "printed@v1/big"]),
        ("compared", &["diff", "-p", "compared@v1", "compared@v2"]),
    ];
    for (n, (name, command)) in commands.into_iter().enumerate() {
        changed(&m, name, 10 * n as u64);
        let whole = m.strata(command);
        assert!(whole.stdout.len() > 200_000, "more than fits between the two: {}", whole.stderr);
        let reading = started(&m, command);
        let told = m.strata(&["prune", name, "--keep-last", "1", "--dry-run"]).ok();
        let first = told.lines().find(|line| line.contains(" v1 ")).unwrap_or_default();
        assert!(first.starts_with("keep") && first.ends_with("open"), "{name}: {told}");
        m.strata(&["prune", name, "--keep-last", "1"]).ok();
        m.strata(&["gc", "--all"]).ok();
        assert!(finished(reading, command) == whole.stdout, "{name}: other bytes than before");
        assert_eq!(there(&m, name), [true, true], "{name}");
        m.strata(&["prune", name, "--keep-last", "1"]).ok();
        assert_eq!(there(&m, name), [false, true], "{name}");
    }
    m.strata(&["gc", "--all"]).ok();
    m.strata(&["verify"]).ok();
}

/// One that is killed holds nothing any more.
#[test]
fn a_command_that_is_killed_keeps_no_version() {
    let m = Mount::new();
    changed(&m, "d", 1);
    let (mut child, _) = started(&m, &["export", "d@v1", "-"]);
    child.kill().expect("kill");
    child.wait().expect("wait");
    poll("the version can be dropped", || {
        m.strata(&["prune", "d", "--keep-last", "1"]).ok();
        there(&m, "d") == [false, true]
    });
}

/// A live file that is printed is printed whole, also where it is another one meanwhile and the version that
/// had it is dropped.
#[test]
fn a_live_file_that_is_read_is_read_to_its_end() {
    let m = Mount::new();
    write_source(&m, "d", 1);
    let command = ["cat", "d/big"];
    let reading = started(&m, &command);
    write_source(&m, "d", 2);
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(there(&m, "d"), [false, true], "what is printed is no version");
    m.strata(&["gc", "--all"]).ok();
    assert!(finished(reading, &command) == noise(1, 4 << 20));
    let before = m.unique_bytes();
    m.strata(&["gc", "--all"]).ok();
    assert!(before - m.unique_bytes() > 4_000_000, "and then it is given back");
}
