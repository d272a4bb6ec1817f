//! pjdfstest: what POSIX says of each system call, case by case.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::*;
use crate::installed::{beside, judge};

/// The cases of the suite.
const CASES: u32 = 398;

/// What the suite leaves out here, and why.
const SKIPPED: [(&str, &[&str]); 2] = [
    (
        "needs the file system mounted read-only meanwhile",
        &[
            "chmod::erofs_named",
            "chown::erofs_named",
            "chown::lchown::erofs_named",
            "link::erofs_named",
            "mkdir::erofs_new_file",
            "mkfifo::erofs_new_file",
            "open::erofs_named",
            "open::erofs_new_file",
            "rename::erofs_named",
            "rmdir::erofs_named",
            "symlink::erofs_new_file",
            "truncate::erofs_named",
            "unlink::erofs_named",
        ],
    ),
    ("needs a bound on the names of a file, and there is none", &["link::link_count_max"]),
];

/// The number before a word of the summary.
fn count(summary: &str, word: &str) -> u32 {
    let part = summary.split(", ").find_map(|part| part.trim().strip_suffix(word));
    let number = part.and_then(|part| part.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no number of '{word}' in: {summary}"))
}

/// Every case of pjdfstest that can run here passes, and what cannot run is known: as root, with users
/// other than the daemon's let in.
#[test]
fn every_case_of_pjdfstest_passes() {
    let m = Mount::with(&["--allow-other"]);
    let (d, other) = (m.dataset("d"), m.outside());
    for (dir, mode) in [(m.point().parent().expect("parent"), 0o755), (d.root(), 0o777), (&other, 0o777)] {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let mut suite = as_root(judge("pjdfstest").to_str().expect("UTF-8"));
    suite.arg("-c").arg(beside("pjdfstest.toml")).arg("-p").arg(d.root()).arg("-s").arg(&other);
    let ran = run(&mut suite);
    let text = format!("{}{}", ran.text(), ran.stderr);
    let summary = text.lines().find_map(|line| line.strip_prefix("Summary: "));
    let summary = summary.unwrap_or_else(|| panic!("the suite did not end: {text}"));
    assert_eq!((count(summary, "failed"), ran.code), (0, Some(0)), "{text}");
    assert_eq!(count(summary, "total"), CASES);
    let skipped: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_suffix(" skipped")).map(str::trim).collect();
    let wanted: BTreeSet<&str> = SKIPPED.iter().flat_map(|(_, cases)| *cases).copied().collect();
    assert_eq!(skipped, wanted);
    assert_eq!(count(summary, "passed") as usize, CASES as usize - wanted.len(), "{summary}");
}
