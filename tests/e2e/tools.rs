//! Real tools at work in the mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::harness::*;

/// cp -a into the mount and out of a version keeps everything.
#[test]
fn cp_keeps_everything() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    sample_tree(&source, 11, 150);
    setxattr(source.join("script"), "user.note", b"kept", XattrFlags::empty()).expect("setxattr");
    shell("cp -a \"$1\"/. \"$2\"/", &[source.as_path(), d.root()]);
    assert_same_tree(&source, d.root());
    let back = m.outside().join("back");
    shell("cp -a \"$1\" \"$2\"", &[d.path("@latest/."), back.clone()]);
    assert_same_tree(&source, &back);
    let mut note = [0; 10];
    assert_eq!(getxattr(back.join("script"), "user.note", &mut note), Ok(4));
}

/// rsync -aHAX in, and a second time without a thing to do; with --delete it follows the source.
#[test]
fn rsync_follows_its_source() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside();
    sample_tree(&source, 12, 150);
    let sync =
        || shell("rsync -aHAX --delete --itemize-changes \"$1\"/ \"$2\"/", &[source.as_path(), d.root()]);
    assert!(!sync().is_empty());
    assert_same_tree(&source, d.root());
    let versions = d.versions();
    assert_eq!(sync(), "", "the second run finds nothing to do");
    assert_eq!(d.versions(), versions);
    fs::remove_dir_all(source.join("part-3")).expect("remove");
    fs::write(source.join("empty"), "full").expect("write");
    // rsync compares seconds, and all this may happen within one.
    tool("touch", &["-d".as_ref(), "@1100000000".as_ref(), source.as_os_str()]);
    sync();
    assert_same_tree(&source, d.root());
}

/// tar packs and unpacks in the mount without loss.
#[test]
fn tar_round_trips() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(&m.outside(), 13, 100);
    d.mkdir("unpacked");
    shell(
        "tar -C \"$1\" --format=posix -cf \"$2/all.tar\" . && tar -C \"$2/unpacked\" -xpf \"$2/all.tar\"",
        &[m.outside().as_path(), d.root()],
    );
    assert_same_tree(&m.outside(), &d.path("unpacked"));
    shell("tar -C \"$1/unpacked\" -df \"$1/@latest/all.tar\"", &[d.root()]);
}

/// mv moves across directories, and between the mount and elsewhere.
#[test]
fn mv_moves_in_and_out() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (first, again) = (m.outside().join("first"), m.outside().join("again"));
    sample_tree(&first, 14, 40);
    sample_tree(&again, 14, 40);
    tool("touch", &["-r", first.to_str().expect("path"), again.to_str().expect("path")]);
    shell(
        "cp -a \"$1\"/. \"$2\"/ && mv \"$1\" \"$3/in\" && mkdir \"$3/sub\" && mv \"$3/in\" \"$3/sub/\" && mv \"$3/sub/in\" \"$1\"",
        &[first.as_path(), again.as_path(), d.root()],
    );
    assert_same_tree(&again, &first);
    assert_eq!(d.list(""), ["sub"]);
}

/// git clones, checks, commits and packs in the mount; the clone of a version is whole too.
#[test]
fn git_works_in_the_mount() {
    let m = Mount::new();
    let d = m.dataset("d");
    let origin = m.outside().join("origin");
    sample_tree(&origin, 15, 120);
    let git = |dir: &Path, arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(["-c", "gc.auto=0"]);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        run(git.arg("-C").arg(dir).args(arguments)).ok()
    };
    git(&origin, &["init", "-q"]);
    git(&origin, &["add", "-A"]);
    git(&origin, &["commit", "-qm", "one"]);
    git(d.root(), &["clone", "-q", "--no-local", origin.to_str().expect("path"), "clone"]);
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
}

/// SQLite in WAL mode (shared mapping, record locks, fsync) keeps an intact database with two
/// writers at once, and each version of it is intact too.
#[test]
fn sqlite_works_in_wal_mode() {
    let m = Mount::new();
    let d = m.dataset("d");
    let db = d.path("t.db");
    let sql = |statements: &str| run(Command::new("sqlite3").arg("-batch").arg(&db).arg(statements)).ok();
    assert_eq!(sql("PRAGMA journal_mode=WAL; CREATE TABLE t(writer, n);"), "wal\n");
    let script = "for n in $(seq 40); do sqlite3 -batch -cmd '.timeout 60000' \"$1\" \"INSERT INTO t VALUES($2, $n)\"; done";
    std::thread::scope(|scope| {
        for writer in ["1", "2"] {
            let db = &db;
            scope.spawn(move || shell(script, &[db.as_os_str(), writer.as_ref()]));
        }
    });
    assert_eq!(
        sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check; SELECT count(*) FROM t;"),
        "0|0|0\nok\n80\n"
    );
    sql("DELETE FROM t;");
    let versions = d.versions();
    for version in [versions / 3, versions / 2, versions] {
        // A version is read-only, so SQLite gets a copy of the database with its log.
        let copy = m.outside().join(format!("v{version}"));
        fs::create_dir(&copy).expect("mkdir");
        shell(
            "cp \"$1\"/@v$3/t.db* \"$2\"/ && rm -f \"$2\"/*-shm",
            &[d.root().as_os_str(), copy.as_os_str(), version.to_string().as_ref()],
        );
        let check =
            run(Command::new("sqlite3").arg("-batch").arg(copy.join("t.db")).arg("PRAGMA integrity_check;"));
        assert_eq!(check.ok(), "ok\n", "database of v{version}");
    }
}

/// A program that writes through a temporary name and renames leaves whole files in every version.
#[test]
fn atomic_replacement_is_atomic_in_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    let program = "
import os, sys
for n in range(30):
    with open(sys.argv[1] + '.tmp', 'w') as f:
        f.write(str(n) * 1000)
        f.flush()
        os.fsync(f.fileno())
    os.replace(sys.argv[1] + '.tmp', sys.argv[1])
";
    python(program, &[d.path("state")]);
    for n in 1..=d.versions() {
        if d.has(&format!("@v{n}/state")) {
            let text = d.text(&format!("@v{n}/state"));
            let digit = text.trim_start_matches(char::is_numeric);
            assert!(text.len() >= 1000 && digit.is_empty(), "v{n} holds a torn file");
        }
    }
    assert_eq!(d.text("state"), "29".repeat(1000));
}
