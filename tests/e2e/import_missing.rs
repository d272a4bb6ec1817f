//! `strata import --history --skip-missing`: histories whose objects are not all there.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::import_history::{Repo, logged};
use crate::harness::*;

/// Pointers of git-lfs whose objects are missing are files of their versions, as git has them, and it is told of how
/// many: of each commit, and at the end. All else is as always, and without the option nothing is made.
#[test]
fn pointers_of_missing_objects_stay() {
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    let contents = [noise(1, 300_000), noise(2, 1000), noise(3, 2000)];
    repo.write("one.bin", &contents[0]);
    repo.write("two.bin", &contents[1]);
    repo.write("plain", "plain");
    repo.commit("first");
    repo.write("two.bin", &contents[2]);
    repo.commit("second");
    for content in [&contents[0], &contents[2]] {
        fs::remove_file(repo.object(content)).expect("lose an object");
    }
    let said = m.strata(&["import", "--history", repo.text(), "d"]).fails(1);
    assert!(
        said.contains("objects that are not on this machine: 2, the first")
            && said.contains("--skip-missing"),
        "{said}"
    );
    assert!(!m.point().join("d").exists());
    let planned = m.strata(&["import", "--history", "--skip-missing", "--dry-run", repo.text(), "d"]);
    assert!(
        planned.stderr.contains("objects that are not on this machine: 1, the first"),
        "{}",
        planned.stderr
    );
    assert!(planned.ok().lines().count() == 2 && !m.point().join("d").exists());
    let ran = m.strata(&["import", "--history", "--skip-missing", "--json", repo.text(), "d"]);
    assert!(
        ran.stderr.ends_with(
            "strata: 2 objects of git-lfs or DVC not on this machine: the pointers stay in their place\n"
        ),
        "{}",
        ran.stderr
    );
    let told: Vec<Value> = ran.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (commit, name) in told.iter().zip(["one.bin", "two.bin"]) {
        let notice = commit["notices"][0].as_str().expect("a notice");
        assert!(notice.contains(&format!(" of {name}; their pointers stay")), "{notice}");
    }
    let d = m.existing("d");
    assert_eq!(d.versions(), 2);
    assert_eq!(d.text("@v1/one.bin"), format!("{}\n", repo.git(&["show", "HEAD~1:one.bin"])));
    assert_eq!((d.bytes("@v1/two.bin"), d.text("plain")), (contents[1].clone(), "plain".into()));
    assert_eq!(d.text("@v2/two.bin"), format!("{}\n", repo.git(&["show", "HEAD:two.bin"])));
    // What is damaged, or cut short, is none of that.
    let object = repo.object(&contents[1]);
    tool("chmod", &["u+w".as_ref(), object.as_os_str()]);
    fs::write(&object, noise(4, 1000)).expect("damage it");
    let said = m.strata(&["import", "--history", "--skip-missing", repo.text(), "e"]).fails(1);
    assert!(said.contains("is damaged"), "{said}");
    repo.write("cut", "version https://git-lfs.github.com/spec/v1\noid sha256:12");
    repo.commit("cut short");
    let said = m.strata(&["import", "--history", "--skip-missing", repo.text(), "d"]).fails(1);
    assert!(said.contains("truncated"), "{said}");
    m.strata(&["import", "--skip-missing", repo.text(), "f"]).fails(2);
    m.strata(&["verify"]).ok();
}

/// Where DVC keeps some content.
fn place(repo: &Repo, content: &[u8], ending: &str) -> (String, std::path::PathBuf) {
    let file = repo.dir.join(".git/content");
    fs::write(&file, content).expect("write");
    let md5 = tool("md5sum", &[&file])[..32].to_owned();
    let below = Path::new(&md5[..2]).join(format!("{}{ending}", &md5[2..]));
    (md5, repo.dir.join(".dvc/cache/files/md5").join(below))
}

/// Has DVC keep some content; gives its MD5.
fn keep(repo: &Repo, content: &[u8], ending: &str) -> String {
    let (md5, path) = place(repo, content, ending);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make directories");
    fs::write(path, content).expect("write");
    md5
}

/// The list of a directory of these files, each of which holds its name, and which DVC keeps if so wanted.
fn list(repo: &Repo, files: &[(&str, bool)]) -> String {
    let file = |(name, kept): &(&str, bool)| {
        let md5 = if *kept { keep(repo, name.as_bytes(), "") } else { place(repo, name.as_bytes(), "").0 };
        format!("{{\"md5\": \"{md5}\", \"relpath\": \"{name}\"}}")
    };
    format!("[{}]", files.iter().map(file).collect::<Vec<_>>().join(", "))
}

fn point(repo: &Repo, name: &str, md5: &str) {
    repo.write(format!("{name}.dvc"), format!("outs:\n- md5: {md5}\n  hash: md5\n  path: {name}\n"));
}

/// A `.dvc` file of which something is missing is a file of its version, beside what is there of it, and goes away with
/// a commit of which all is there: also where that is imported later, when more objects are there.
#[test]
fn pointers_of_dvc_stay_beside_what_is_there() {
    let m = Mount::new();
    let repo = Repo::new(&m, "repo");
    repo.write(".dvc/.gitignore", "/cache\n");
    point(&repo, "a.csv", &place(&repo, b"first", "").0);
    let some = list(&repo, &[("x", true), ("deep/y", true), ("z", false)]);
    point(&repo, "images", &format!("{}.dir", keep(&repo, some.as_bytes(), ".dir")));
    repo.commit("some");
    let all = list(&repo, &[("x", true), ("deep/y", true), ("w", true)]);
    point(&repo, "images", &format!("{}.dir", keep(&repo, all.as_bytes(), ".dir")));
    repo.commit("all images");
    point(&repo, "a.csv", &keep(&repo, b"second", ""));
    repo.commit("all");
    let lost = list(&repo, &[("x", true)]);
    point(&repo, "images", &format!("{}.dir", place(&repo, lost.as_bytes(), ".dir").0));
    repo.commit("a list is lost");
    let import =
        |options: &[&str]| m.strata(&[&["import", "--history"], options, &[repo.text(), "d"]].concat());
    let said = import(&[]).fails(1);
    assert!(said.contains("objects that are not on this machine: 3, the first"), "{said}");
    let ran = import(&["--skip-missing"]);
    assert!(ran.stderr.contains("strata: 3 objects of git-lfs or DVC not on this machine"), "{}", ran.stderr);
    ran.ok();
    let d = m.existing("d");
    let names = |version: &str| {
        let root = d.path(version);
        let all = shell("cd \"$1\" && find . -type f ! -name '.git*' | LC_ALL=C sort", &[root]);
        all.lines().map(|line| line[2..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("@v1"), ["a.csv.dvc", "images.dvc", "images/deep/y", "images/x"]);
    assert_eq!(d.text("@v1/a.csv.dvc"), format!("{}\n", repo.git(&["show", "HEAD~3:a.csv.dvc"])));
    assert_eq!(names("@v2"), ["a.csv.dvc", "images/deep/y", "images/w", "images/x"]);
    assert_eq!(names("@v3"), ["a.csv", "images/deep/y", "images/w", "images/x"]);
    assert_eq!(names("@v4"), ["a.csv", "images.dvc"]);
    // The list is found again, and the next commit keeps a file of it.
    keep(&repo, lost.as_bytes(), ".dir");
    let next = list(&repo, &[("x", true), ("v", true)]);
    point(&repo, "images", &format!("{}.dir", keep(&repo, next.as_bytes(), ".dir")));
    repo.commit("found");
    // One that was there when it was imported, and is lost since, goes away as it should.
    let ran = import(&[]);
    assert!(!ran.stderr.contains("not on this machine"), "{}", ran.stderr);
    ran.ok();
    assert_eq!(names("@v5"), ["a.csv", "images/v", "images/x"]);
    let (_, object) = place(&repo, b"second", "");
    fs::remove_file(object).expect("lose it");
    fs::remove_file(repo.dir.join("a.csv.dvc")).expect("unlink");
    repo.commit("no table");
    import(&["--skip-missing"]).ok();
    assert_eq!(names("@v6"), ["images/v", "images/x"]);
    assert!(logged(&d, "v6")["annotations"]["git.commit"].is_string());
    m.strata(&["verify"]).ok();
}
