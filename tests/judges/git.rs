//! git at work in the mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::*;

fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@example.org"]).args([
        "-c",
        "gc.auto=0",
        "-c",
        "protocol.file.allow=always",
    ]);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    run(git.arg("-C").arg(dir).args(arguments)).ok()
}

/// A repository outside the mount with one commit.
fn origin(m: &Mount, seed: u64, files: usize) -> String {
    let origin = m.outside().join("origin");
    sample_tree(&origin, seed, files);
    git(&origin, &["init", "-q", "-b", "main"]);
    git(&origin, &["add", "-A"]);
    git(&origin, &["commit", "-qm", "one"]);
    origin.to_str().expect("UTF-8").to_owned()
}

/// git clones, checks, commits and packs in the mount; the clone of a version is whole too.
#[test]
fn git_works_in_the_mount() {
    let m = Mount::new();
    let d = m.dataset("d");
    git(d.root(), &["clone", "-q", "--no-local", &origin(&m, 15, 120), "clone"]);
    let clone = d.path("clone");
    git(&clone, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    let version = d.versions();
    d.write("clone/script", "edited");
    assert_eq!(git(&clone, &["status", "--porcelain"]), " M script\n");
    git(&clone, &["commit", "-qam", "two"]);
    git(&clone, &["gc", "-q"]);
    git(&clone, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&clone, &["log", "--format=%s"]), "two\none\n");
    let old = d.path(&format!("@v{version}/clone"));
    assert_eq!(git(&old, &["--no-optional-locks", "log", "--format=%s"]), "one\n");
    assert_eq!(
        git(&old, &["--no-optional-locks", "status", "--porcelain"]),
        "",
        "the version is a clean clone"
    );
}

/// Branches of many files are checked out over each other, in the clone and in a work tree of its own;
/// objects shared by hard links, stashing, rebasing and collecting garbage leave a whole repository.
#[test]
fn git_switches_between_trees_of_many_files() {
    let m = Mount::new();
    let d = m.dataset("d");
    git(d.root(), &["clone", "-q", &origin(&m, 16, 20), "first"]);
    // Within the mount, a clone links the objects.
    git(d.root(), &["clone", "-q", "--local", "first", "clone"]);
    let clone = d.path("clone");
    git(&clone, &["switch", "-qc", "many"]);
    for n in 0..900 {
        let dir = clone.join(format!("many/{}", n % 30));
        fs::create_dir_all(&dir).expect("mkdir");
        fs::write(dir.join(format!("{n}.txt")), format!("{n}\n").repeat(n % 50 + 1)).expect("write");
    }
    git(&clone, &["add", "-A"]);
    git(&clone, &["commit", "-qm", "many"]);
    let wanted = facts(&clone.join("many"));
    git(&clone, &["switch", "-q", "main"]);
    assert!(!clone.join("many").exists(), "switching away removes what the branch added");
    git(&clone, &["worktree", "add", "-q", "../tree", "many"]);
    assert_eq!(git(&d.path("tree"), &["status", "--porcelain"]), "");
    let content = |of: &std::collections::BTreeMap<_, Facts>| -> Vec<_> {
        of.iter()
            .map(|(path, facts): (&std::path::PathBuf, _)| (path.clone(), facts.content.clone()))
            .collect()
    };
    assert!(content(&facts(&d.path("tree/many"))) == content(&wanted), "the work tree is what was committed");
    fs::write(clone.join("script"), "stashed").expect("write");
    git(&clone, &["stash", "-q"]);
    fs::write(clone.join("new"), "new").expect("write");
    git(&clone, &["add", "new"]);
    git(&clone, &["commit", "-qm", "new"]);
    git(&d.path("tree"), &["rebase", "-q", "main"]);
    git(&clone, &["stash", "pop", "-q"]);
    assert_eq!(git(&clone, &["status", "--porcelain"]), " M script\n");
    git(&clone, &["worktree", "remove", "../tree"]);
    git(&clone, &["gc", "-q", "--prune=now"]);
    git(&clone, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&clone, &["log", "--format=%s", "many"]), "many\nnew\none\n");
    assert_eq!(d.list(""), ["clone", "first"]);
}
