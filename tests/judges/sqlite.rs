//! SQLite: databases written by several processes at once, and read in versions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::*;

/// Every database is read and checkpointed through a mapping.
const MAPPED: &str = "PRAGMA mmap_size=268435456;";
const WRITERS: u64 = 4;
const ROWS: u64 = 60;

fn sqlite(database: &str, statements: &str) -> String {
    let mut sqlite = Command::new("sqlite3");
    run(sqlite.args(["-batch", "-cmd", ".timeout 60000", database]).arg(format!("{MAPPED}{statements}"))).ok()
}

/// One process that adds its rows, each a transaction.
fn write(database: &Path, writer: u64) {
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-batch", "-bail", "-cmd", ".timeout 60000"]).arg(database);
    let child = sqlite.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("start sqlite3");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{MAPPED}").expect("write a statement");
    for n in 0..ROWS {
        writeln!(stdin, "INSERT INTO t VALUES({writer}, {n}, hex(randomblob(400)));")
            .expect("write a statement");
        if n % 20 == 19 {
            writeln!(stdin, "UPDATE t SET text = upper(text) WHERE writer = {writer};")
                .expect("write a statement");
        }
    }
    drop(stdin);
    let ended = child.wait_with_output().expect("wait for sqlite3");
    assert!(ended.status.success(), "writer {writer}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// SQLite in WAL mode (shared mapping, record locks, fsync), mapping the database, keeps an intact
/// database with four writing processes at once; each version of it is intact too, and holds a prefix of
/// what each writer wrote. Where the log is empty, a version can be read where it is.
#[test]
fn sqlite_keeps_its_promises_with_four_writers() {
    let m = Mount::new();
    let d = m.dataset("d");
    let database = d.path("t.db");
    let live = database.to_str().expect("UTF-8");
    let wal = sqlite(live, "PRAGMA journal_mode=WAL; CREATE TABLE t(writer, n, text);");
    assert!(wal.ends_with("wal\n"), "{wal}");
    let first = d.versions();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let database = &database;
            scope.spawn(move || write(database, writer));
        }
    });
    let checked =
        sqlite(live, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check; SELECT count(*) FROM t;");
    assert!(checked.ends_with(&format!("0|0|0\nok\n{}\n", WRITERS * ROWS)), "{checked}");

    // With everything in the database itself, a version is one to be opened as it is.
    let whole = d.versions();
    let at = |version: u64, query: &str| {
        format!("file:{}?{query}", d.path(&format!("@v{version}/t.db")).display())
    };
    let count = "PRAGMA integrity_check; SELECT count(*) FROM t;";
    let immutable = sqlite(&at(whole, "immutable=1"), count);
    assert!(immutable.ends_with(&format!("ok\n{}\n", WRITERS * ROWS)), "{immutable}");
    sqlite(live, "DELETE FROM t; VACUUM;");
    assert_eq!(sqlite(&at(whole, "immutable=1"), count), immutable, "a version does not change");

    // Between, the log belongs to it.
    for version in [first, whole / 3, whole / 2, whole - 1] {
        let copy = m.outside().join(format!("v{version}"));
        fs::create_dir(&copy).expect("mkdir");
        shell(
            "cp \"$1\"/@v$3/t.db* \"$2\"/ && rm -f \"$2\"/*-shm",
            &[d.root().as_os_str(), copy.as_os_str(), version.to_string().as_ref()],
        );
        let gaps =
            "PRAGMA integrity_check; SELECT count(*) FROM (SELECT writer, count(*) AS c, max(n) AS m FROM t
            GROUP BY writer) WHERE c != m + 1; SELECT count(*) FROM t;";
        let copied = sqlite(copy.join("t.db").to_str().expect("UTF-8"), gaps);
        assert!(copied.contains("ok\n0\n"), "v{version}, copied: {copied}");
        // Where it is, SQLite reads a database alone, if it is told that nothing changes, or one with its
        // log and the shared memory, which is not in a version before some process has closed it.
        let has = |suffix: &str| d.has(&format!("@v{version}/t.db-{suffix}"));
        let how = match (has("wal"), has("shm")) {
            (false, _) => "immutable=1",
            (true, true) => "mode=ro",
            (true, false) => continue,
        };
        assert_eq!(sqlite(&at(version, how), gaps), copied, "v{version} in place");
    }
}

/// So it does with a rollback journal, kept, truncated or deleted after each transaction.
#[test]
fn sqlite_works_with_each_kind_of_journal() {
    let m = Mount::new();
    let d = m.dataset("d");
    for mode in ["delete", "truncate", "persist"] {
        let database = d.path(&format!("{mode}.db"));
        let live = database.to_str().expect("UTF-8");
        sqlite(live, &format!("PRAGMA journal_mode={mode}; CREATE TABLE t(writer, n, text);"));
        thread::scope(|scope| {
            for writer in 0..2 {
                let database = &database;
                scope.spawn(move || write(database, writer));
            }
        });
        let rolled_back = "BEGIN; DELETE FROM t; ROLLBACK; PRAGMA integrity_check; SELECT count(*) FROM t;";
        let checked = sqlite(live, rolled_back);
        assert!(checked.ends_with(&format!("ok\n{}\n", 2 * ROWS)), "{mode}: {checked}");
    }
}
