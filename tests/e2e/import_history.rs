//! `strata import --history`: commits of git become versions. That DVC's data do is in `tests/judges/dvc_history.rs`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::*;

/// A repository of git, with git-lfs for `*.bin`.
pub struct Repo {
    pub dir: PathBuf,
}

impl Repo {
    pub fn new(m: &Mount, name: &str) -> Repo {
        let repo = Repo { dir: m.outside().join(name) };
        fs::create_dir_all(&repo.dir).expect("make a directory");
        repo.git(&["init", "-q", "-b", "main"]);
        repo.git(&["lfs", "install", "--local"]);
        repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
        repo
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(&self.dir).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Ann Ö")
                .env(format!("GIT_{who}_EMAIL"), "ann@example.org");
        }
        command.env("GIT_AUTHOR_DATE", "2020-05-06T07:08:09+02:00");
        run(&mut command).ok().trim_end().to_owned()
    }

    pub fn write(&self, path: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        let path = self.dir.join(Path::new(path.as_ref()));
        fs::create_dir_all(path.parent().expect("a parent")).expect("make directories");
        fs::write(path, bytes).expect("write");
    }

    /// Commits all there is; gives the commit.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn text(&self) -> &str {
        self.dir.to_str().expect("a temporary path is UTF-8")
    }

    /// The object of git-lfs of some content.
    pub fn object(&self, content: &[u8]) -> PathBuf {
        let file = self.dir.join(".git/content");
        fs::write(&file, content).expect("write");
        let said = tool("sha256sum", &[&file]);
        let oid = &said[..64];
        self.dir.join(".git/lfs/objects").join(&oid[..2]).join(&oid[2..4]).join(oid)
    }
}

/// Names, kinds, modes and contents of a tree.
fn tree(root: &Path) -> String {
    let how = "cd \"$1\" && tar --sort=name --exclude=./.git --exclude=./module --mtime=@0 --owner=0 --group=0 \
               --mode=go=u,go-w -c . | b3sum";
    shell(how, &[root])
}

/// What the log says of a version.
#[track_caller]
pub fn logged(d: &Dataset<'_>, version: &str) -> Value {
    d.log().into_iter().find(|entry| entry["version"] == version).expect(version)
}

/// Each commit that changes data is a version, as git and git-lfs check it out: names, modes, links, contents.
/// Its message, author and date are kept; tags become tags. Doing it again makes no version, and goes on with what
/// was committed since.
#[test]
fn commits_become_versions() {
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    let (large, other) = (noise(1, 3 << 20), noise(2, 400_000));
    repo.write("large.bin", &large);
    repo.write("dir/small.bin", "small");
    repo.write("empty.bin", "");
    repo.write("plain", noise(3, 2 << 20));
    for name in [&b"not \xff utf-8"[..], b"new\nline.bin", b"-rf", b" x ", b"dir/\"q\"", b"@v"] {
        repo.write(OsStr::from_bytes(name), name);
    }
    repo.write("run", "#!/bin/true");
    fs::set_permissions(repo.dir.join("run"), PermissionsExt::from_mode(0o755)).expect("chmod");
    symlink("../large.bin", repo.dir.join("dir/link")).expect("symlink");
    let mut commits = vec![repo.commit("first\n\nwith a body")];
    repo.git(&["tag", "first"]);
    repo.git(&["tag", "v7"]);
    repo.commit("nothing");
    repo.git(&["tag", "-a", "-m", "x", "1.0.1"]);
    // Renamed, deleted, another mode, a file where a directory was and the reverse.
    repo.git(&["mv", "large.bin", "moved.bin"]);
    repo.git(&["rm", "-rq", "dir"]);
    repo.write("dir", "a file");
    fs::remove_file(repo.dir.join("plain")).expect("unlink");
    repo.write("plain/deep/er", "a directory");
    fs::set_permissions(repo.dir.join("run"), PermissionsExt::from_mode(0o644)).expect("chmod");
    commits.push(repo.commit(""));
    // A merge is what it changes of its first parent.
    repo.git(&["checkout", "-qb", "side"]);
    repo.write("side.bin", &other);
    repo.commit("on the side");
    repo.write("side", "x");
    repo.commit("on the side again");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    commits.push(repo.git(&["rev-parse", "HEAD"]));
    let module = format!("160000,{},module", commits[0]);
    repo.git(&["update-index", "--add", "--cacheinfo", &module]);
    repo.git(&["commit", "-qm", "a submodule"]);

    let planned = m.strata(&["import", "--history", "--dry-run", "--json", repo.text(), "d"]).ok();
    let planned: Vec<Value> = planned.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let ids: Vec<&str> = planned.iter().filter_map(|commit| commit["commit"].as_str()).collect();
    assert_eq!(ids[..3], commits, "{planned:?}");
    assert!(planned[0]["changed"] == 13 && planned[0]["removed"] == 0, "{}", planned[0]);
    assert!(!m.point().join("d").exists(), "a dry run makes nothing");

    let ran = m.strata(&["import", "--history", repo.text(), "d"]);
    assert!(ran.stderr.contains("module is a submodule: skipped"), "{}", ran.stderr);
    assert!(ran.stderr.contains("tag v7 is not set"), "{}", ran.stderr);
    let said = ran.ok();
    assert!(said.starts_with(&format!("v1 @first  {}  13 changed, 0 removed", &commits[0][..12])), "{said}");
    let d = m.existing("d");
    assert_eq!(d.versions(), 3, "{said}");
    for (n, commit) in commits.iter().enumerate() {
        let version = format!("v{}", n + 1);
        repo.git(&["checkout", "-q", commit]);
        assert_eq!(tree(&repo.dir), tree(&d.path(&format!("@{version}"))), "{version}");
        let entry = logged(&d, &version);
        assert_eq!(entry["message"], ["first\n\nwith a body", "", "merged"][n]);
        let annotations = &entry["annotations"];
        assert_eq!(annotations["git.commit"], **commit);
        assert_eq!(annotations["git.author"], "Ann Ö <ann@example.org>");
        assert_eq!(annotations["git.date"], "2020-05-06T07:08:09+02:00");
    }
    assert_eq!(tree(d.root()), tree(&d.path("@v3")));
    assert_eq!(tree(&d.path("@1.0.1")), tree(&d.path("@v1")));

    repo.git(&["checkout", "-q", "main"]);
    let again = m.strata(&["import", "--history", repo.text(), "d"]);
    assert!(again.stderr.contains("no commit after that of v3"), "{}", again.stderr);
    assert_eq!(d.versions(), 3);
    repo.write("moved.bin", &other);
    let last = repo.commit("later");
    repo.git(&["tag", "later"]);
    let made = m.strata(&["import", "--history", "--json", repo.text(), "d"]).ok();
    let made: Value =
        serde_json::from_str(made.lines().find(|l| l.contains(&last)).expect(&made)).expect("JSON");
    assert!(made["version"] == "v4" && made["tags"][0] == "later", "{made}");
    assert_eq!(tree(&repo.dir), tree(&d.path("@later")));
    // A tag that was moved stays where it is.
    m.strata(&["tag", "d@v1", "later"]).ok();
    let ran = m.strata(&["import", "--history", repo.text(), "d"]);
    assert!(ran.stderr.contains("tag later is not set: it names v1 already"), "{}", ran.stderr);
    m.strata(&["verify"]).ok();
}

/// A part of a repository is a dataset of its own: a directory, or a file. A branch, a bare repository and a
/// dataset that is not mounted do as well.
#[test]
fn a_part_of_a_repository_is_imported() {
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    repo.write("code", "1");
    repo.commit("code");
    repo.write("data/a.bin", "a");
    repo.write("data.bin", "not in data");
    repo.commit("data");
    repo.write("code", "2");
    repo.commit("code");
    repo.git(&["checkout", "-qb", "side"]);
    repo.write("data/b", "b");
    repo.commit("more data");
    repo.git(&["checkout", "-q", "main"]);
    m.strata(&["import", "--history", "--path", "data", "--branch", "side", repo.text(), "d"]).ok();
    let d = m.existing("d");
    assert_eq!(
        (d.versions(), d.list(""), d.text("a.bin")),
        (2, vec!["a.bin".into(), "b".into()], "a".into())
    );
    m.strata(&["import", "--history", "--path", "./code/", repo.text(), "code"]).ok();
    assert_eq!((m.existing("code").versions(), m.existing("code").text("code")), (2, "2".into()));
    let fails = |arguments: &[&str], said: &str| {
        let ran = m.strata(&[&["import", "--history"], arguments].concat()).fails(1);
        assert!(ran.contains(said), "{ran}");
    };
    fails(&["--path", "data", repo.text(), "code"], "v1 is of code");
    fails(&["--path", "other", repo.text(), "e"], "nothing was ever at other");
    fails(&["--branch", "none", repo.text(), "e"], "no commit 'none'");
    fails(&["--branch=--all", repo.text(), "e"], "no commit '--all'");
    fails(&[&format!("{}/data", repo.text()), "e"], "name that, and --path");
    m.down();
    let bare = m.outside().join("bare.git");
    repo.git(&["clone", "-q", "--bare", ".", bare.to_str().expect("UTF-8")]);
    fails(&[bare.to_str().expect("UTF-8"), "e"], "git lfs fetch --all");
    tool("cp", &[Path::new("-r"), &repo.dir.join(".git/lfs"), &bare]);
    m.strata(&["import", "--history", bare.to_str().expect("UTF-8"), "e"]).ok();
    m.up(&[]);
    assert_eq!(tree(&repo.dir), tree(m.existing("e").root()));
}

/// What cannot be imported is refused before any of it is, and says why: no repository, no commit, objects that are
/// missing, pointers that are cut short, names that mean versions, a dataset of other data, a history that was
/// rewritten. An object that is damaged ends the import at its commit.
#[test]
fn what_is_no_sound_history_is_refused() {
    let m = Mount::new();
    let fails = |dir: &Path, dataset: &str, said: &[&str]| {
        let text = dir.to_str().expect("UTF-8");
        let ran = m.strata(&["import", "--history", text, dataset]).fails(1);
        assert!(said.iter().all(|said| ran.contains(said)), "{ran}");
    };
    let none = m.outside().join("none");
    fs::create_dir(&none).expect("mkdir");
    fails(&none, "d", &["not a git repository"]);
    let repo = Repo::new(&m, "repo");
    fails(&repo.dir, "d", &["it has no commit 'HEAD'"]);
    let (one, two) = (noise(1, 300_000), noise(2, 1000));
    repo.write("one.bin", &one);
    repo.commit("one");
    repo.write("two.bin", &two);
    repo.commit("two");
    for content in [&one, &two] {
        let object = repo.object(content);
        fs::rename(&object, none.join("kept")).expect("lose an object");
        let oid = object.file_name().and_then(OsStr::to_str).expect("an object");
        fails(
            &repo.dir,
            "d",
            &["objects that are not on this machine: 1, the first", oid, "git lfs fetch --all"],
        );
        fs::rename(none.join("kept"), &object).expect("find it again");
    }
    assert!(!m.point().join("d").exists());
    // Damaged: as long, but not the same.
    let object = repo.object(&two);
    tool("chmod", &["u+w".as_ref(), object.as_os_str()]);
    fs::write(&object, noise(3, 1000)).expect("damage it");
    fails(&repo.dir, "d", &["object", object.to_str().expect("UTF-8"), "is damaged"]);
    let d = m.existing("d");
    assert_eq!((d.versions(), d.list("").len()), (1, 2), "what came before is there, whole");
    fs::write(&object, &two).expect("mend it");
    m.strata(&["import", "--history", repo.text(), "d"]).ok();
    assert!(d.versions() == 2 && d.bytes("two.bin") == two);
    // Other data came between, or another history.
    repo.git(&["commit", "-q", "--amend", "--allow-empty", "-m", "rewritten"]);
    fails(&repo.dir, "d", &["which was imported last, is not in 'HEAD'"]);
    m.dataset("f").write("of its own", "x");
    fails(&repo.dir, "f", &["v1 was not imported from it"]);
    // Where no commit could be imported, no dataset is made.
    let damaged = Repo::new(&m, "damaged");
    damaged.write("one.bin", &one);
    damaged.commit("one");
    let object = damaged.object(&one);
    tool("chmod", &["u+w".as_ref(), object.as_os_str()]);
    fs::write(&object, "short").expect("damage it");
    fails(&damaged.dir, "e", &["is damaged"]);
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n", "a".repeat(64));
    for (n, (path, text, said)) in [
        ("plain", &pointer[..60], "plain: it begins as a pointer of git-lfs, but is truncated"),
        ("plain", &pointer[..pointer.len() - 2], "is truncated"),
        ("a/@v3/b", "x", "its name means a version"),
        ("x.dvc", "outs:\n- md5: [", "x.dvc: "),
        ("x.dvc", "outs:\n- md5: abc\n  path: x\n", "abc is no MD5"),
        ("x.dvc", "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  path: x\n", "dvc fetch --all-commits"),
    ]
    .into_iter()
    .enumerate()
    {
        let repo = Repo::new(&m, &format!("bad-{n}"));
        repo.write(path, text);
        repo.commit("bad");
        fails(&repo.dir, "e", &[said]);
    }
    assert!(!m.point().join("e").exists());
    // A repository of another user could have git run its programs.
    let other = Repo::new(&m, "other");
    other.commit("x");
    tool("chown", &["-R".as_ref(), "nobody".as_ref(), other.dir.as_os_str()]);
    fails(&other.dir, "e", &["dubious ownership"]);
    m.strata(&["import", "--history", "--delete", repo.text(), "e"]).fails(2);
    m.strata(&["import", "--dry-run", repo.text(), "e"]).fails(2);
    m.strata(&["verify"]).ok();
}

/// A daemon that is killed leaves the versions it made, each whole; the same command makes the others, once each.
#[test]
fn a_killed_import_goes_on() {
    const COMMITS: usize = 24;
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    let mut ids = Vec::new();
    for n in 0..COMMITS {
        repo.write(format!("{}.bin", n % 5), noise(n as u64, 1 << 20));
        repo.write(format!("dir-{}/{n}", n % 7), noise(n as u64, 1000));
        ids.push(repo.commit("the same message each time"));
    }
    let import = ["import", "--history", repo.text(), "d"];
    let d = m.existing("d");
    let mut before = 0;
    loop {
        let mut child =
            m.command(&import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
        let mut ended = false;
        poll("a version is made", || {
            ended = child.try_wait().expect("wait").is_some();
            ended || (d.root().exists() && d.versions() >= before + 4)
        });
        m.kill();
        child.wait().expect("wait");
        m.up(&[]);
        let now = d.versions();
        assert!(now >= before, "{now} versions after {before}");
        before = now;
        if ended {
            break;
        }
    }
    m.strata(&import).ok();
    assert_eq!(d.versions(), COMMITS as u64);
    for (n, id) in ids.iter().enumerate() {
        let version = format!("v{}", n + 1);
        assert_eq!(logged(&d, &version)["annotations"]["git.commit"], **id);
        if n % 5 == 0 || n + 1 == COMMITS {
            repo.git(&["checkout", "-q", id]);
            assert_eq!(tree(&repo.dir), tree(&d.path(&format!("@{version}"))), "{version}");
        }
    }
    m.strata(&["verify"]).ok();
}

/// A git repository that is imported as the directory it is tells of --history.
#[test]
fn a_directory_with_history_says_so() {
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    repo.commit("x");
    let ran = m.strata(&["import", repo.text(), "d"]);
    assert!(ran.stderr.contains("--history"), "{}", ran.stderr);
    assert_eq!(ran.ok(), "d: v1\n");
}
