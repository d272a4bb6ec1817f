//! DVC: it takes the pointers of `strata pointer --dvc` for its own, and `@dvc` for a remote.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::*;
use crate::installed::dvc as program;

/// A directory outside of the mount where DVC and git work.
pub(crate) struct Bench<'a> {
    pub(crate) m: &'a Mount,
}

impl Bench<'_> {
    fn command(&self, program: impl AsRef<OsStr>, dir: &Path, arguments: &[&str]) -> Ran {
        let home = self.m.outside().join("home");
        let mut command = Command::new(program);
        command.current_dir(dir).args(arguments).env("HOME", &home).env("DVC_NO_ANALYTICS", "1");
        for dir in ["DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "XDG_CACHE_HOME"]
        {
            command.env(dir, home.join(dir));
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.org");
        }
        run(&mut command)
    }

    pub(crate) fn dvc(&self, dir: &Path, arguments: &[&str]) -> Ran {
        self.command(program(), dir, arguments)
    }

    pub(crate) fn git(&self, dir: &Path, arguments: &[&str]) -> String {
        self.command("git", dir, arguments).ok()
    }

    /// A new repository of git and DVC.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        let dir = self.m.outside().join(name);
        fs::create_dir_all(&dir).expect("make a directory");
        fs::create_dir_all(self.m.outside().join("home")).expect("make a home");
        self.git(&dir, &["init", "-q", "-b", "main"]);
        self.dvc(&dir, &["init", "-q"]).ok();
        dir
    }

    fn point(&self, dir: &Path, arguments: &[&str]) {
        run(self.m.command(&["pointer", "--dvc"]).args(arguments).current_dir(dir)).ok();
    }

    fn clone(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.m.outside().join(name);
        self.git(from, &["clone", "-q", ".", to.to_str().expect("UTF-8")]);
        to
    }

    fn hash(&self, path: &Path) -> String {
        let said = run(self.m.command(&["hash"]).arg(path)).ok();
        said.split_whitespace().next().expect("a hash").to_owned()
    }
}

/// Two versions of a tree whose names are hard to sort and to write.
fn two_versions(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("pets");
    m.strata(&["set", "pets", "policy=manual"]).ok();
    for dir in ["train", "train/deep", "train.d", "train-2"] {
        d.mkdir(dir);
    }
    let names = ["a b", "ä", "é", "🐱", "q\"'\\", "line\nfeed", "tab\t\u{7f}", "#x", "\u{ffff}", "B", "a"];
    for (n, name) in names.into_iter().enumerate() {
        for dir in ["train", "train/deep", "train.d", "train-2"] {
            d.write(&format!("{dir}/{name}"), noise(n as u64, 100 * n));
        }
    }
    d.write("crlf.csv", "a,b\r\n1,2\r\n");
    d.write("large", noise(99, 5 << 20));
    m.strata(&["commit", "pets"]).ok();
    d.write("labels.csv", "cat,dog");
    d.write("large", noise(98, 5 << 20));
    fs::remove_file(d.path("train.d/B")).expect("remove");
    m.strata(&["commit", "pets"]).ok();
    d
}

/// A pointer of a directory or file, and the list of a directory's files, are to the byte what `dvc add` makes
/// of the same data.
#[test]
fn pointers_are_those_that_dvc_makes() {
    let m = Mount::new();
    let d = two_versions(&m);
    let bench = Bench { m: &m };
    let (ours, theirs) = (bench.repository("ours"), bench.repository("theirs"));
    tool("cp", &[Path::new("-r"), d.root(), &theirs.join("data")]);
    fs::write(theirs.join("run"), "#!/bin/sh").expect("write");
    fs::write(d.path("run"), "#!/bin/sh").expect("write");
    for run in [theirs.join("run"), d.path("run")] {
        tool("chmod", &[Path::new("755"), &run]);
    }
    m.strata(&["commit", "pets"]).ok();
    fs::copy(d.path("large"), theirs.join("large")).expect("copy");
    bench.dvc(&theirs, &["add", "-q", "data", "run", "large"]).ok();
    bench.point(&ours, &["pets@v2", "-o", "data.dvc"]);
    bench.point(&ours, &["pets", "run"]);
    bench.point(&ours, &["pets", "large"]);
    for file in ["data.dvc", "run.dvc", "large.dvc"] {
        let text = |dir: &Path| fs::read_to_string(dir.join(file)).expect("read");
        assert_eq!(text(&ours), text(&theirs), "{file}");
    }
    let text = fs::read_to_string(ours.join("data.dvc")).expect("read");
    let md5 = text.split_whitespace().find(|word| word.ends_with(".dir")).expect("a list of files");
    let object = format!("files/md5/{}/{}", &md5[..2], &md5[2..]);
    assert!(
        d.bytes(&format!("@dvc/{object}")) == fs::read(theirs.join(".dvc/cache").join(object)).expect("read")
    );
}

/// `dvc pull` in a clean clone, with `@dvc` as remote, gives exactly the data of the pointer that git has there,
/// also of an older version; status and checkout agree.
#[test]
fn dvc_pulls_what_was_pointed_to() {
    let m = Mount::new();
    let d = two_versions(&m);
    let bench = Bench { m: &m };
    let repository = bench.repository("origin");
    let remote = d.path("@dvc");
    bench.dvc(&repository, &["remote", "add", "-d", "strata", remote.to_str().expect("UTF-8")]).ok();
    for version in ["v1", "v2"] {
        bench.point(&repository, &[&format!("pets@{version}"), "-o", "data.dvc"]);
        bench.git(&repository, &["add", "-A"]);
        bench.git(&repository, &["commit", "-qm", version]);
    }
    for (revision, version) in [("main", "@v2"), ("main~1", "@v1")] {
        let clone = bench.clone(&repository, version);
        bench.git(&clone, &["checkout", "-q", revision]);
        bench.dvc(&clone, &["pull"]).ok();
        assert_eq!(bench.hash(&clone.join("data")), bench.hash(&d.path(version)), "{version}");
        assert!(bench.dvc(&clone, &["status"]).ok().contains("up to date"));
        assert!(bench.dvc(&clone, &["status", "--cloud"]).ok().contains("in sync"));
        fs::write(clone.join("data/crlf.csv"), "changed").expect("write");
        assert!(bench.dvc(&clone, &["status"]).ok().contains("modified"));
        bench.dvc(&clone, &["checkout", "--force"]).ok();
        assert_eq!(bench.hash(&clone.join("data")), bench.hash(&d.path(version)), "{version}");
    }
    // The other version, in a clone that has one.
    let clone = m.outside().join("@v1");
    bench.git(&clone, &["checkout", "-q", "main"]);
    bench.dvc(&clone, &["pull", "--force"]).ok();
    assert_eq!(bench.hash(&clone.join("data")), bench.hash(&d.path("@v2")));
    // What is not there any more fails, and is there again when it is pointed to again.
    m.down();
    fs::remove_dir_all(m.store().join("dvc")).expect("lose what DVC was told");
    m.up(&[]);
    let clone = bench.clone(&repository, "late");
    assert_ne!(bench.dvc(&clone, &["pull"]).code, Some(0));
    bench.point(&m.outside(), &["pets@v2"]);
    bench.dvc(&clone, &["pull"]).ok();
    assert_eq!(bench.hash(&clone.join("data")), bench.hash(&d.path("@v2")));
}

/// A pointer to a single file, under whatever name, is pulled as that file.
#[test]
fn a_single_file_is_pulled() {
    let m = Mount::new();
    let d = two_versions(&m);
    let bench = Bench { m: &m };
    let repository = bench.repository("origin");
    let remote = d.path("@dvc");
    bench.dvc(&repository, &["remote", "add", "-d", "strata", remote.to_str().expect("UTF-8")]).ok();
    let names = ["large", "1.5", "yes", "a b: #c", "q\"'\\x", "ä🐱", "tab\t\u{7f}", "- x", "{x}"];
    for name in names {
        bench.point(&repository, &["pets@v1", "large", "-o", &format!("./{name}.dvc")]);
    }
    bench.dvc(&repository, &["pull"]).ok();
    for name in names {
        assert!(fs::read(repository.join(name)).expect(name) == noise(99, 5 << 20), "{name}");
    }
    assert!(bench.dvc(&repository, &["status"]).ok().contains("up to date"));
}
