//! The daemon dies; the store lives.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::process::Signal;

use crate::harness::*;

/// An unmount leaves the store closed in order, whoever was at work in the mount just before.
#[test]
fn an_unmount_closes_the_store() {
    let m = Mount::new();
    let d = m.dataset("d");
    for round in 0..10 {
        for n in 0..20 {
            d.write(&format!("{n}"), noise(round * 100 + n, 5000));
            d.bytes(&format!("{n}"));
        }
        m.strata(&["log", "d", "-n", "1"]).ok();
        m.down();
        let marker = fs::read_to_string(m.store().join("open")).expect("read");
        assert_eq!(marker.trim(), "closed", "round {round}");
        m.up(&[]);
    }
}

/// Content of file `n`: sizes from a few bytes to several chunks.
fn content(n: usize) -> Vec<u8> {
    noise(n as u64, 10 + (n * 7919) % 300_000)
}

/// After kill -9 in the midst of writing, and a mount over the stale mountpoint without any repair,
/// every close that had returned is there with its bytes, and every version is whole.
#[test]
fn every_close_survives_a_kill() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut next = 0;
    for round in 0..4 {
        let closed = AtomicUsize::new(next);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in next.. {
                    let written =
                        File::create(d.path(&format!("f{n}"))).and_then(|mut f| f.write_all(&content(n)));
                    // Dropping a file hides the error of close(2): it worked if the daemon, which is
                    // asked for a name never seen before, still answers.
                    let probe = d.path(&format!("probe{n}")).metadata().map_err(|e| e.kind());
                    if written.is_err() || probe.err() != Some(ErrorKind::NotFound) {
                        break;
                    }
                    closed.store(n + 1, Ordering::SeqCst);
                }
            });
            poll("files are written", || closed.load(Ordering::SeqCst) >= next + 30);
            m.kill();
        });
        refused(d.path("f0").metadata(), Errno::NOTCONN);
        m.up(&[]);
        let closed = closed.load(Ordering::SeqCst);
        for n in 0..closed {
            assert!(d.bytes(&format!("f{n}")) == content(n), "f{n} after kill {round}");
        }
        assert!(d.versions() >= closed as u64);
        m.strata(&["verify"]).ok();
        // The file that was open at the kill may be there, whole or in part, or not.
        next = closed;
        drop(fs::remove_file(d.path(&format!("f{next}"))));
    }
    for version in [1, 10, 25] {
        assert_eq!(
            d.list(&format!("@v{version}")).len(),
            version,
            "v{version} holds the files closed till then"
        );
    }
}

/// Changes of names survive a kill the moment they return.
#[test]
fn every_change_of_a_name_survives_a_kill() {
    let m = Mount::new();
    let d = m.dataset("d");
    for dir in ["a", "b"] {
        d.mkdir(dir);
    }
    d.write("a/moves", "x");
    d.write("a/goes", "y");
    fs::rename(d.path("a/moves"), d.path("b/moved")).expect("rename");
    fs::remove_file(d.path("a/goes")).expect("unlink");
    fs::hard_link(d.path("b/moved"), d.path("linked")).expect("link");
    fs::remove_dir(d.path("a")).expect("rmdir");
    m.kill();
    m.up(&[]);
    assert_eq!(
        (d.list(""), d.list("b")),
        (vec!["b".to_owned(), "linked".to_owned()], vec!["moved".to_owned()])
    );
    assert_eq!((d.text("linked"), d.text("@v4/a/goes")), ("x".to_owned(), "y".to_owned()));
    assert_eq!(d.versions(), 8);
}

/// A mount clears a stale mountpoint that a killed daemon left.
#[test]
fn a_stale_mountpoint_is_cleared() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.kill();
    // Right after the kill, the kernel may still say ECONNABORTED.
    let errno = || fs::read_dir(m.point()).err().and_then(|e| e.raw_os_error());
    poll("the mountpoint is stale", || errno() == Some(Errno::NOTCONN.raw_os_error()));
    m.up(&[]);
    assert_eq!(m.existing("d").text("f"), "x");
}

/// A write that was under way at the kill leaves the file as it was at its last close.
#[test]
fn an_unclosed_write_leaves_the_closed_state() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "closed");
    let mut file = OpenOptions::new().append(true).open(d.path("f")).expect("open");
    file.write_all(&noise(1, 3 << 20)).expect("write");
    m.kill();
    drop(file);
    m.up(&[]);
    assert_eq!(d.text("@v1/f"), "closed");
    assert!(d.bytes("f").starts_with(b"closed"));
    assert_eq!(d.versions(), 1);
    m.strata(&["verify"]).ok();
}

fn packs(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("packs")).expect("list packs");
    let mut packs: Vec<_> = entries.map(|e| e.expect("entry").path()).collect();
    packs.sort();
    packs
}

/// Bytes torn at the end of the log, as a crash leaves them, cost nothing but themselves.
#[test]
fn a_torn_end_of_the_log_is_cut_off() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..20 {
        d.write(&format!("f{n}"), content(n));
    }
    let log = d.log();
    for garbage in [noise(1, 1000), b"sRec".to_vec(), vec![0; 5000]] {
        m.kill();
        let last = packs(m.store()).pop().expect("there is a pack");
        OpenOptions::new().append(true).open(last).and_then(|mut f| f.write_all(&garbage)).expect("append");
        m.up(&[]);
        assert_eq!(d.log(), log);
        for n in 0..20 {
            assert!(d.bytes(&format!("f{n}")) == content(n), "f{n}");
        }
        m.strata(&["verify"]).ok();
    }
    d.write("after", "x");
    m.down();
    m.up(&[]);
    assert_eq!(d.text("after"), "x");
}

/// Without its index, or with a ruined one, a store is rebuilt from its packs: the same versions,
/// the same ids, the same files.
#[test]
fn a_lost_index_is_rebuilt() {
    let m = Mount::new();
    let (d, e) = (m.dataset("d"), m.dataset("e"));
    sample_tree(&m.outside(), 1, 60);
    shell("cp -a \"$1\"/. \"$2\"/", &[m.outside(), d.root().to_owned()]);
    e.policy("manual");
    e.write("pending", "not in a version yet");
    fs::remove_file(d.path("empty")).expect("unlink");
    let (log, tree) = (d.log(), facts(d.root()));
    let index = m.store().join("index");
    let losses: [&dyn Fn(); 3] = [
        &|| fs::remove_dir_all(&index).expect("remove the index"),
        &|| {
            drop(shell("find \"$1\" -type f -size +0 -exec sh -c 'echo ruined > \"$1\"' x {} \\;", &[&index]))
        },
        &|| drop(m.strata(&["fsck", "--rebuild-index"]).ok()),
    ];
    for (n, lose) in losses.iter().enumerate() {
        if n == 1 {
            m.kill()
        } else {
            m.down()
        }
        lose();
        m.up(&[]);
        assert_eq!(d.log(), log, "after loss {n}");
        assert_same_facts(&facts(d.root()), &tree);
        assert_eq!(e.text("pending"), "not in a version yet");
        m.strata(&["verify"]).ok();
    }
}

/// SIGTERM and SIGINT unmount: the mountpoint is an empty directory again, nothing is pending.
#[test]
fn signals_unmount_cleanly() {
    let m = Mount::new();
    m.dataset("d");
    for (n, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        m.existing("d").write("f", format!("{n}"));
        m.signal(signal);
        assert_eq!(fs::read_dir(m.point()).expect("the mountpoint is no mount").count(), 0);
        assert_eq!(m.strata(&["cat", "d@latest/f"]).ok(), format!("{n}"), "without a daemon");
        m.up(&[]);
    }
}

/// With `--sync=always`, and after fsync or commit, a kill changes nothing either.
#[test]
fn synced_work_survives_a_kill() {
    let m = Mount::with(&["--sync=always"]);
    let d = m.dataset("d");
    d.write("a", "each close is durable");
    let mut file = File::create(d.path("b")).expect("create");
    file.write_all(b"fsynced").and_then(|()| file.sync_all()).expect("write and fsync");
    File::open(d.root()).and_then(|dir| dir.sync_all()).expect("fsync of a directory");
    m.strata(&["commit", "d", "-m", "durable"]).ok();
    m.kill();
    drop(file);
    m.up(&[]);
    assert_eq!((d.text("a").as_str(), d.text("b").as_str()), ("each close is durable", "fsynced"));
}
