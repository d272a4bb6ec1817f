//! A dataset of a mounted store, as the tests use it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::mount::Mount;

/// A dataset in a mount.
pub struct Dataset<'a> {
    mount: &'a Mount,
    name: String,
    root: PathBuf,
}

impl<'a> Dataset<'a> {
    pub(super) fn new(mount: &'a Mount, name: &str, root: PathBuf) -> Dataset<'a> {
        Dataset { mount, name: name.to_owned(), root }
    }

    /// Its live root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the root (`@v1/f` too).
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a whole file.
    #[track_caller]
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(path), bytes).unwrap_or_else(|e| panic!("write {path}: {e}"));
    }

    /// Makes a directory.
    #[track_caller]
    pub fn mkdir(&self, path: &str) {
        fs::create_dir(self.path(path)).unwrap_or_else(|e| panic!("mkdir {path}: {e}"));
    }

    /// Reads a whole file.
    #[track_caller]
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|e| panic!("read {path}: {e}"))
    }

    /// Reads a whole file of text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path)).unwrap_or_else(|e| panic!("{path} is not text: {e}"))
    }

    /// The names in a directory, sorted.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).unwrap_or_else(|e| panic!("list {path}: {e}"));
        let name = |e: std::io::Result<fs::DirEntry>| {
            e.unwrap_or_else(|e| panic!("list {path}: {e}")).file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Whether the path names something (a symlink itself counts).
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Sets the version policy.
    #[track_caller]
    pub fn policy(&self, policy: &str) {
        self.mount.strata(&["set", &self.name, &format!("policy={policy}")]).ok();
    }

    /// The log, newest first. Like every look at the history it seals what is pending.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let lines = self.mount.strata(&["log", &self.name, "--json"]).ok();
        lines.lines().map(|l| serde_json::from_str(l).expect("log prints JSON lines")).collect()
    }

    /// The newest version's log record.
    #[track_caller]
    pub fn newest(&self) -> Value {
        self.log().into_iter().next().expect("the dataset has a version")
    }

    /// How many versions there are; seals what is pending.
    #[track_caller]
    pub fn versions(&self) -> u64 {
        let lines = self.mount.strata(&["log", &self.name, "--json", "-n", "1"]).ok();
        let Some(line) = lines.lines().next() else { return 0 };
        let record: Value = serde_json::from_str(line).expect("log prints JSON lines");
        let version = record["version"].as_str().expect("a log record has a version");
        version.strip_prefix('v').and_then(|n| n.parse().ok()).expect("versions are spelled vN")
    }

    /// The newest version's snapshot id.
    #[track_caller]
    pub fn snapshot(&self) -> String {
        self.newest()["snapshot"].as_str().expect("a log record has a snapshot id").to_owned()
    }

    /// Asserts that `action` makes exactly `count` versions.
    #[track_caller]
    pub fn cuts(&self, count: u64, what: &str, action: impl FnOnce()) {
        let before = self.versions();
        action();
        assert_eq!(self.versions() - before, count, "versions made by {what}");
    }
}
