//! Where the judges are that `scripts/test` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of a file of these tests.
pub fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(name)
}

/// A program in the directory that the environment names, or else in this one below `target/`.
#[track_caller]
fn find(variable: &str, below_target: &str, name: &str) -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(below_target);
    let path = std::env::var_os(variable).map_or_else(here, PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: scripts/test installs it", path.display());
    path
}

/// A program of the cargo registry: from `STRATA_JUDGES`, or else where `scripts/test` puts it.
#[track_caller]
pub fn judge(name: &str) -> PathBuf {
    find("STRATA_JUDGES", "tools/bin", name)
}

/// A program of `python/`, run with the packages of `requirements.txt` by a Python from
/// `STRATA_PYTHON`, or else from where `scripts/test` puts it. It goes as soon as the program ends, by `leaving.py`.
#[track_caller]
pub fn python(program: &str) -> Command {
    let programs = beside("python");
    let mut command = Command::new(find("STRATA_PYTHON", "python/bin", "python"));
    command.arg("-B").arg(programs.join("leaving.py")).arg(programs.join(program)).env_remove("PYTHONPATH");
    command
}

/// DVC, from `STRATA_DVC`, or else from where `scripts/test` puts it.
#[track_caller]
pub fn dvc() -> PathBuf {
    find("STRATA_DVC", "dvc/bin", "dvc")
}

/// A number the environment sets, or else `default`.
#[track_caller]
pub fn number(variable: &str, default: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}"));
    std::env::var(variable).map_or(default, parse)
}
