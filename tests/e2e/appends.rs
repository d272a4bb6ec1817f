//! Several processes that append to one file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Command};

use serde_json::Value;

use crate::harness::*;

const WRITERS: usize = 8;
const LINES: usize = 150;

/// Appends numbered lines of 10 to 6000 bytes: `held`, through one descriptor, or opening the file for
/// each.
const PROGRAM: &str = "
import os, random, sys
path, writer, lines, held = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == 'held'
generator = random.Random(writer)
flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
fd = os.open(path, flags, 0o644)
for n in range(lines):
    if not held:
        os.close(fd)
        fd = os.open(path, flags, 0o644)
    line = f'{writer} {n} {\"x\" * generator.randrange(1, 6000)}.\\n'.encode()
    assert os.write(fd, line) == len(line)
os.close(fd)
";

/// The lines each writer has in the text, in order; every line must be whole.
fn lines_of(text: &str, what: &str) -> BTreeMap<usize, Vec<usize>> {
    let mut found = BTreeMap::<usize, Vec<usize>>::new();
    assert!(text.is_empty() || text.ends_with(".\n"), "{what} ends in a torn line");
    for line in text.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [writer, n, rest] = parts[..] else { panic!("{what} has a torn line of {} bytes", line.len()) };
        assert!(rest.trim_end_matches('.').bytes().all(|b| b == b'x'), "{what} has a torn line");
        assert_eq!(rest.matches('.').count(), 1, "{what} has a torn line");
        found.entry(writer.parse().expect("a number")).or_default().push(n.parse().expect("a number"));
    }
    found
}

/// Processes that append lines to one file at once, through descriptors of their own, lose and tear
/// none, and keep each one's order; every version on the way holds whole lines, the first of each writer.
#[test]
fn appenders_lose_and_tear_no_line() {
    let m = Mount::new();
    let d = m.dataset("d");
    let start = |writer: usize| -> Child {
        let how = if writer.is_multiple_of(2) { "held" } else { "each" };
        let mut program = Command::new("python3");
        program.args(["-c", PROGRAM]).arg(d.path("log"));
        program.args([&writer.to_string(), &LINES.to_string(), how]).spawn().expect("start a writer")
    };
    let writers: Vec<Child> = (0..WRITERS).map(start).collect();
    for mut writer in writers {
        assert!(writer.wait().expect("wait for a writer").success());
    }
    let all: Vec<usize> = (0..LINES).collect();
    let found = lines_of(&d.text("log"), "the file");
    assert_eq!(found.len(), WRITERS);
    found.iter().for_each(|(writer, lines)| assert_eq!(lines, &all, "lines of writer {writer}"));
    let newest = d.versions();
    assert_eq!(lines_of(&d.text(&format!("@v{newest}/log")), "the newest version"), found);
    let mut random = Random::new(1);
    for _ in 0..40 {
        let version = 1 + random.below(newest as usize);
        if d.has(&format!("@v{version}/log")) {
            let what = format!("v{version}");
            for (writer, lines) in lines_of(&d.text(&format!("@{what}/log")), &what) {
                assert_eq!(lines, all[..lines.len()], "lines of writer {writer} in {what}");
            }
        }
    }
}

/// What is stored of a file at each of many small appends takes little once it is compressed, and every version is
/// what it was; where no version has them, a collection gives these chunks back.
#[test]
fn the_last_chunks_of_a_growing_file_take_little_once_compressed() {
    const APPENDS: u64 = 600;
    let line = |n: u64| noise(n, 50);
    let whole = |count: u64| (0..count).flat_map(line).collect::<Vec<u8>>();
    for policy in ["every-write", "manual"] {
        let m = Mount::new();
        let d = m.dataset("d");
        d.policy(policy);
        for n in 0..APPENDS {
            let mut file = OpenOptions::new().create(true).append(true).open(d.path("log")).expect("open");
            file.write_all(&line(n)).expect("append");
        }
        let stored = m.pack_bytes();
        assert!(stored > APPENDS / 2 * 50 * APPENDS / 4, "{policy}: {stored}");
        m.strata(&["compact"]).ok();
        assert!(m.pack_bytes() < stored / 4, "{policy}: {} of {stored}", m.pack_bytes());
        if policy == "manual" {
            m.strata(&["commit", "d"]).ok();
            let said: Value = serde_json::from_str(&m.strata(&["gc", "--json"]).ok()).expect("JSON");
            assert!(said["dead"].as_u64() > Some(stored / 2), "{said}");
            assert!(m.unique_bytes() < 4 * 50 * APPENDS, "{} bytes", m.unique_bytes());
        } else {
            for n in (1..=APPENDS).step_by(37) {
                assert!(d.bytes(&format!("@v{n}/log")) == whole(n), "v{n}");
            }
        }
        assert!(d.bytes("log") == whole(APPENDS));
        assert!(m.strata(&["verify"]).ok().is_empty());
    }
}
