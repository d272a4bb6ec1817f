//! `strata import --history` of what DVC keeps.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dvc::Bench;
use crate::harness::*;

/// Commits all there is; gives the commit.
#[track_caller]
fn commit(bench: &Bench<'_>, dir: &Path, message: &str) -> String {
    bench.git(dir, &["add", "-A"]);
    bench.git(dir, &["commit", "-qm", message]);
    bench.git(dir, &["rev-parse", "HEAD"]).trim().to_owned()
}

/// Names, kinds, modes and contents of a tree without what belongs to git and DVC.
fn tree(root: &Path) -> String {
    let how = "cd \"$1\" && tar --sort=name --exclude=./.git --exclude=./.dvc/cache --exclude=./.dvc/tmp \
               --exclude='*.dvc' --mtime=@0 --owner=0 --group=0 --mode=go=u,go-w -c . | b3sum";
    shell(how, &[root])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A repository with a directory, a file and the outputs of a stage; gives its commits.
fn repository(bench: &Bench<'_>) -> (PathBuf, Vec<String>) {
    let dir = bench.repository("repo");
    let write = |path: &str, bytes: &[u8]| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make directories");
        fs::write(path, bytes).expect("write");
    };
    let dvc = |arguments: &[&str]| drop(bench.dvc(&dir, arguments).ok());
    for (n, name) in ["a b", "deep/ä", "deep/q\"'\\", "line\nfeed", "empty"].into_iter().enumerate() {
        write(&format!("data/images/{name}"), &noise(n as u64, 1000 * (4 - n)));
    }
    write("labels.csv", b"a,b\r\n1,2\r\n");
    dvc(&["add", "-q", "data/images", "labels.csv"]);
    let mut commits = vec![commit(bench, &dir, "data")];
    // A stage whose output DVC keeps, and one whose output git does.
    let stage = "mkdir -p model && cp labels.csv model/m && echo 1 > metrics.json";
    let run = ["stage", "add", "-q", "--run", "-n", "train", "-d", "labels.csv", "-o", "model"];
    dvc(&[&run[..], &["-M", "metrics.json", stage]].concat());
    commits.push(commit(bench, &dir, "a stage"));
    fs::remove_file(dir.join("data/images/a b")).expect("unlink");
    write("data/images/deep/new", &noise(9, 2 << 20));
    write("labels.csv", b"a,b\n3,4\n");
    dvc(&["add", "-q", "data/images", "labels.csv"]);
    dvc(&["repro", "-q"]);
    commits.push(commit(bench, &dir, "more"));
    write("README", b"code alone");
    commits.push(commit(bench, &dir, "code"));
    dvc(&["remove", "-q", "labels.csv.dvc"]);
    fs::remove_file(dir.join("labels.csv")).expect("unlink");
    commits.push(commit(bench, &dir, "without labels"));
    (dir, commits)
}

/// Each commit is a version with the data that `dvc checkout` gives there: files, directories, outputs of stages.
/// The data of one `.dvc` file are a dataset of their own, without a version for commits that leave them alone.
#[test]
fn commits_become_versions_with_their_data() {
    let m = Mount::new();
    let bench = Bench { m: &m };
    let (dir, commits) = repository(&bench);
    m.strata(&["import", "--history", text(&dir), "d"]).ok();
    m.strata(&["import", "--history", "--path", "data/images.dvc", text(&dir), "images"]).ok();
    m.strata(&["import", "--history", "--path", "labels.csv.dvc", text(&dir), "labels"]).ok();
    let (d, images, labels) = (m.existing("d"), m.existing("images"), m.existing("labels"));
    assert_eq!((d.versions(), images.versions(), labels.versions()), (5, 2, 3));
    for (n, commit) in commits.iter().enumerate() {
        bench.git(&dir, &["checkout", "-q", commit]);
        bench.dvc(&dir, &["checkout", "--force"]).ok();
        assert_eq!(tree(&dir), tree(&d.path(&format!("@v{}", n + 1))), "{commit}");
        let version = if n < 2 { "@v1" } else { "@v2" };
        assert_eq!(tree(&dir.join("data/images")), tree(&images.path(version)), "{commit}");
    }
    assert_eq!(labels.text("@v1/labels.csv"), "a,b\r\n1,2\r\n");
    assert!(labels.text("@v2/labels.csv") == "a,b\n3,4\n" && labels.list("@v3").is_empty());
    m.strata(&["verify"]).ok();
}

/// Objects are found in a remote that is a directory, in a cache elsewhere, and where DVC before 3.0 kept them;
/// where one is missing or damaged, the import says which.
#[test]
fn objects_are_found_where_dvc_keeps_them() {
    let m = Mount::new();
    let bench = Bench { m: &m };
    let (dir, _) = repository(&bench);
    let import = |dataset: &str| m.strata(&["import", "--history", text(&dir), dataset]);
    let (cache, remote) = (dir.join(".dvc/cache"), m.outside().join("remote"));
    bench.dvc(&dir, &["remote", "add", "-q", "--local", "-d", "store", text(&remote)]).ok();
    bench.dvc(&dir, &["push", "-q", "--all-commits"]).ok();
    fs::remove_dir_all(&cache).expect("lose the cache");
    import("of-remote").ok();
    let elsewhere = m.outside().join("elsewhere");
    fs::rename(&remote, &elsewhere).expect("rename");
    let said = import("e").fails(1);
    assert!(said.contains("objects that are not on this machine") && said.contains("dvc fetch"), "{said}");
    bench.dvc(&dir, &["cache", "dir", "-q", "--local", "../elsewhere"]).ok();
    import("of-cache").ok();
    fs::remove_file(dir.join(".dvc/config.local")).expect("unlink");
    fs::rename(elsewhere.join("files/md5"), &cache).expect("keep it as before 3.0");
    import("of-old").ok();
    let trees = ["of-remote", "of-cache", "of-old"].map(|name| tree(m.existing(name).root()));
    assert!(trees.iter().all(|one| *one == trees[0]));
    let md5 = tool("md5sum", &[m.existing("of-old").path("@v1/labels.csv")]);
    let object = cache.join(&md5[..2]).join(&md5[2..32]);
    tool("chmod", &["u+w".as_ref(), object.as_os_str()]);
    fs::write(&object, "x").expect("damage it");
    let said = import("e").fails(1);
    assert!(said.contains(text(&object)) && said.contains("damaged"), "{said}");
    assert!(!m.point().join("e").exists());
}
