//! What cuts a version under the default policy, and what a version is.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::harness::*;

/// Each close of a changed file makes one version, and every earlier one can still be read.
#[test]
fn each_close_makes_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    assert_eq!(d.versions(), 0, "a new dataset has no version");
    for n in 1..=5u64 {
        d.write("f", format!("state {n}"));
        assert_eq!(d.versions(), n);
    }
    for n in 1..=5 {
        assert_eq!(d.text(&format!("@v{n}/f")), format!("state {n}"));
    }
}

/// When close(2) returns, the version is there to read.
#[test]
fn a_version_is_there_when_close_returns() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 1..=200 {
        d.write("f", format!("{n}"));
        assert_eq!(d.text(&format!("@v{n}/f")), format!("{n}"));
    }
}

/// A file that is written again and again without a pause has a version for each close and no other,
/// though the kernel tells of closed files late, and somebody looks at the history all the while.
#[test]
fn only_closed_states_are_versions() {
    let m = Mount::new();
    let d = m.dataset("d");
    let program = "
import os, sys, threading
def write():
    for n in range(1, 301):
        with open(sys.argv[1] + '/f', 'w') as f:
            f.write(str(n))
writer = threading.Thread(target=write)
writer.start()
while writer.is_alive():
    os.path.lexists(sys.argv[1] + '/@v1000')
";
    python(program, &[d.root()]);
    for n in 1..=300 {
        assert_eq!(d.text(&format!("@v{n}/f")), format!("{n}"));
    }
    assert_eq!(d.versions(), 300);
}

/// A shell's redirection is one version, though the shell closes a duplicate of the descriptor before
/// anything is written; a file that is only made is one too.
#[test]
fn a_shell_redirection_is_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    let run = |script: &str| drop(shell(&format!("cd \"$1\" && {script}"), &[d.root()]));
    d.cuts(1, "a new file", || run("echo one > f"));
    assert_eq!(d.text("@v1/f"), "one\n");
    d.cuts(1, "an old file", || run("echo two > f"));
    assert_eq!(d.text("@v2/f"), "two\n");
    d.cuts(1, "appending", || run("echo three >> f"));
    d.cuts(0, "the same bytes again", || run("printf 'two\\nthree\\n' > f"));
    d.cuts(1, "an empty file", || run(": > empty"));
    d.cuts(1, "emptying a file", || run(": > f"));
    d.cuts(1, "touch", || run("touch touched"));
    assert_eq!(d.bytes("@latest/f"), b"");
}

/// A child that closes what it inherited before it runs another program ends nothing: the writer does.
#[test]
fn a_close_by_a_child_is_not_the_end_of_writing() {
    let m = Mount::new();
    let d = m.dataset("d");
    let program = "
import os, subprocess, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for n in range(5):
    os.write(f, b'part ')
    subprocess.run(['true'], check=True, close_fds=False)
os.close(f)
";
    d.cuts(1, "a writer that runs other programs meanwhile", || drop(python(program, &[d.path("f")])));
    assert_eq!(d.text("@v1/f"), "part ".repeat(5));
}

/// A file that is only made, and one whose attributes alone are changed, are the doing of who did it,
/// though the version is made after the process has ended.
#[test]
fn versions_made_late_name_their_author() {
    let m = Mount::new();
    let d = m.dataset("d");
    shell("touch \"$1\"/made; chmod 600 \"$1\"/made", &[d.root()]);
    assert_eq!(d.versions(), 2);
    let log = m.strata(&["log", "d", "--json"]).ok();
    for (line, command) in log.lines().zip(["chmod", "touch"]) {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(entry["command"].as_str().expect("text").contains(command), "{entry}");
        assert_ne!(entry["pid"], 0);
    }
}

/// What a copy tool does to one file (create, write, mode, times, owner, close) is one version.
#[test]
fn copying_one_file_is_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    fs::write(&source, noise(1, 300_000)).expect("write");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o750)).expect("chmod");
    d.cuts(1, "cp", || drop(tool("cp", &[&source, &d.path("a")])));
    d.cuts(1, "cp -p", || drop(tool("cp", &["-p".as_ref(), source.as_os_str(), d.path("b").as_os_str()])));
    d.cuts(1, "cp -a over a file", || {
        fs::write(&source, "changed").expect("write");
        tool("cp", &["-a".as_ref(), source.as_os_str(), d.path("b").as_os_str()]);
    });
    assert_eq!(d.text("@latest/b"), "changed");
}

/// A write that changes nothing cuts nothing: opening, rewriting the same bytes, truncating first.
#[test]
fn a_noop_write_cuts_nothing() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(2, 300_000);
    d.write("f", &bytes);
    d.cuts(0, "opening for writing", || drop(OpenOptions::new().append(true).open(d.path("f"))));
    d.cuts(0, "truncating and rewriting the same bytes", || d.write("f", &bytes));
    d.cuts(0, "rewriting the same bytes in place", || {
        let mut file = OpenOptions::new().write(true).open(d.path("f")).expect("open");
        file.write_all(&bytes[..100_000]).expect("write");
    });
    d.cuts(0, "renaming to the same name", || fs::rename(d.path("f"), d.path("f")).expect("rename"));
    d.cuts(0, "reading", || drop((d.bytes("f"), d.list(""), d.bytes("@v1/f"))));
}

/// Each change of a name makes one version: create, mkdir, symlink, link, rename, unlink, rmdir; so
/// does a truncation by path.
#[test]
fn each_change_of_a_name_makes_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.cuts(1, "create", || drop(File::create(d.path("f")).expect("create")));
    d.cuts(1, "mkdir", || d.mkdir("dir"));
    d.cuts(1, "symlink", || symlink("f", d.path("s")).expect("symlink"));
    d.cuts(1, "link", || fs::hard_link(d.path("f"), d.path("dir/l")).expect("link"));
    d.cuts(1, "rename", || fs::rename(d.path("s"), d.path("dir/s")).expect("rename"));
    d.cuts(1, "truncate", || {
        drop(tool("truncate", &["-s".as_ref(), "10".as_ref(), d.path("f").as_os_str()]))
    });
    d.cuts(1, "unlink", || fs::remove_file(d.path("f")).expect("unlink"));
    d.cuts(1, "unlink", || fs::remove_file(d.path("dir/s")).expect("unlink"));
    d.cuts(1, "unlink", || fs::remove_file(d.path("dir/l")).expect("unlink"));
    d.cuts(1, "rmdir", || fs::remove_dir(d.path("dir")).expect("rmdir"));
    assert_eq!(d.list("@v4"), ["dir", "f", "s"]);
    assert_eq!(d.list("@v5/dir"), ["l", "s"]);
}

/// fsync of a changed file makes a version while it stays open.
#[test]
fn fsync_makes_a_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut file = File::create(d.path("f")).expect("create");
    for n in 1..=3 {
        file.write_all(b"x").expect("write");
        file.sync_all().expect("fsync");
        assert_eq!(d.bytes(&format!("@v{n}/f")).len(), n);
    }
    drop(file);
    assert_eq!(d.versions(), 3, "the close after the last fsync changes nothing");
}

/// A change of attributes joins the next cut.
#[test]
fn attributes_join_the_next_cut() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    d.cuts(1, "chmod, then a write", || {
        fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o700)).expect("chmod");
        d.write("g", "y");
    });
    assert_eq!(d.path("@v2/f").metadata().expect("stat").permissions().mode() & 0o777, 0o700);
    assert_ne!(d.path("@v1/f").metadata().expect("stat").permissions().mode() & 0o777, 0o700);
}

/// A change of attributes alone is cut when someone looks through `@`.
#[test]
fn attributes_alone_are_cut_by_a_look() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o700)).expect("chmod");
    assert_eq!(fs::read_link(d.path("@latest")).expect("readlink"), std::path::Path::new("@v2"));
    assert_eq!(d.path("@v2/f").metadata().expect("stat").permissions().mode() & 0o777, 0o700);
}

/// A change of attributes alone is cut by itself when the dataset has been quiet for 1 s.
#[test]
fn attributes_alone_are_cut_after_a_second() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    fs::set_permissions(d.path("f"), fs::Permissions::from_mode(0o700)).expect("chmod");
    // The contract is a time, and any look would cut: let it pass, then see when the cut was made.
    thread::sleep(Duration::from_secs(4));
    let looked = SystemTime::now();
    assert_eq!(d.versions(), 2);
    let cut = d.path("@history/v2").symlink_metadata().and_then(|m| m.modified()).expect("mtime");
    assert!(cut + Duration::from_secs(1) < looked, "the look made the cut");
}

/// Stores through a shared mapping are in a version by msync, and by the close.
#[test]
fn mapped_stores_are_in_by_msync_or_close() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", vec![b'.'; 10_000]);
    let program = "
import mmap, sys
f = open(sys.argv[1], 'r+b')
m = mmap.mmap(f.fileno(), 0)
m[0:6] = b'synced'
m.flush()
assert open(sys.argv[2], 'rb').read(6) == b'synced'
m[0:6] = b'closed'
m.close()
f.close()
";
    python(program, &[d.path("f"), d.path("@v2/f")]);
    assert_eq!(d.bytes("@v3/f")[..6], *b"closed");
    assert_eq!(d.versions(), 3);
}

/// The bytes, sizes, modes, times and listing of a version never change: by later edits, a remount,
/// or the loss of the index.
#[test]
fn a_version_never_changes() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(&m.outside(), 3, 60);
    let whole = || drop(shell("cp -a \"$1\"/. \"$2\"/", &[m.outside(), d.root().to_owned()]));
    whole();
    let version = format!("@v{}", d.versions());
    let wanted = facts(&d.path(&version));
    shell(
        "cd \"$1\" && rm -r part-1 && chmod 600 script && echo new > empty && mv part-2 part-1",
        &[d.root()],
    );
    assert_same_facts(&facts(&d.path(&version)), &wanted);
    m.down();
    m.up(&[]);
    assert_same_facts(&facts(&d.path(&version)), &wanted);
    m.down();
    fs::remove_dir_all(m.store().join("index")).expect("remove the index");
    m.up(&[]);
    assert_same_facts(&facts(&d.path(&version)), &wanted);
}

/// A version's record has its time, and the user, group, process and command that made it.
#[test]
fn a_version_names_its_author() {
    let m = Mount::new();
    let d = m.dataset("d");
    let before = SystemTime::now();
    let said = shell("cd \"$1\"; echo $$; exec cp /etc/hostname copied", &[d.root()]);
    let record = d.newest();
    assert_eq!(record["pid"].to_string(), said.trim());
    assert_eq!(record["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(record["gid"], rustix::process::getegid().as_raw());
    assert!(record["command"].as_str().is_some_and(|c| c.contains("cp")), "{record}");
    assert_eq!(record["changes"].as_u64().map(|n| n > 0), Some(true), "{record}");
    assert!(record["message"].is_null() && record["restores"].is_null(), "{record}");
    let time = d.path("@history/v1").symlink_metadata().and_then(|m| m.modified()).expect("mtime");
    assert!(before - Duration::from_millis(50) <= time && time <= SystemTime::now(), "{time:?}");
    let spelled =
        run(Command::new("date").args(["-u", "+%s", "-d"]).arg(record["time"].as_str().expect("time")));
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(spelled.ok().trim(), seconds.to_string(), "the log's time is RFC 3339");
}

/// Version ids chain: the same content after another history has the same snapshot id, but another
/// version id.
#[test]
fn version_ids_tell_histories_apart() {
    let m = Mount::new();
    let (a, b) = (m.dataset("a"), m.dataset("b"));
    a.write("f", "detour");
    for d in [&a, &b] {
        d.write("f", "x");
        d.write("g", "y");
    }
    assert_eq!(a.snapshot(), b.snapshot());
    let mut ids = BTreeSet::new();
    for record in a.log().into_iter().chain(b.log()) {
        let id = record["id"].as_str().expect("id").to_owned();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id), "each version's id is its own");
    }
    assert_eq!(ids.len(), 5);
}

/// Numbers go on after a remount: dense, never reused.
#[test]
fn numbers_are_dense_across_remounts() {
    let m = Mount::new();
    let d = m.dataset("d");
    for round in 0..3 {
        d.write("f", format!("{round}"));
        d.write("g", format!("{round}"));
        m.down();
        m.up(&[]);
    }
    let numbers: Vec<_> =
        d.log().iter().rev().map(|r| r["version"].as_str().expect("version").to_owned()).collect();
    assert_eq!(numbers, ["v1", "v2", "v3", "v4", "v5", "v6"]);
}
