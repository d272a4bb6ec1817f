//! Purges of several paths and of directories: one purge, as a whole or not at all.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::*;

fn purge(m: &Mount, more: &[&str]) -> Ran {
    m.strata(&[&["purge", "--reason", "law"], more].concat())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Whether packs have these bytes.
fn in_packs(m: &Mount, bytes: &[u8]) -> bool {
    let packs = fs::read_dir(m.store().join("packs")).expect("list").flatten();
    // One may be rewritten meanwhile.
    packs
        .filter_map(|pack| fs::read(pack.path()).ok())
        .any(|held| held.windows(bytes.len()).any(|part| part == bytes))
}

/// The paths of all tombstones, in their order.
fn tombstones(m: &Mount, dataset: &str) -> Vec<String> {
    let told = m.strata(&["purge", dataset, "--list", "--json"]).ok();
    told.lines().map(|line| parsed(line)["path"].as_str().expect("a path").to_owned()).collect()
}

/// A directory is purged with all that was ever below it while it was there: what was renamed out of it, into
/// it and with a directory above, and no content that a file had elsewhere.
#[test]
fn a_purge_of_a_directory_takes_what_was_ever_below_it() {
    let m = Mount::new();
    let d = m.dataset("d");
    let of = |n: u64| noise(n, 40_000);
    d.mkdir("person");
    d.mkdir("person/deep");
    d.write("person/a", of(1));
    d.write("person/a", of(2));
    d.write("person/deep/b", of(3));
    // Out of it: what it had before counts, what it gets later does not.
    fs::rename(d.path("person/deep"), d.path("elsewhere")).expect("rename");
    d.write("elsewhere/b", of(4));
    // Into it: the other way round.
    d.write("came", of(5));
    d.write("came", of(6));
    fs::rename(d.path("came"), d.path("person/came")).expect("rename");
    fs::rename(d.path("person"), d.path("was")).expect("rename");
    d.write("was/a", of(7));
    d.mkdir("person");
    d.write("person/again", of(8));
    let before = d.versions();
    for dir in ["person", "elsewhere", "was"] {
        fs::remove_dir_all(d.path(dir)).expect("remove");
    }
    let told = parsed(&m.strata(&["purge", "d", "person/", "--dry-run", "--json"]).ok());
    assert_eq!(
        told["paths"],
        json!([{
            "path": "person", "files": 4, "objects": 5, "bytes": 200_000, "shared": 0, "holders": [],
        }])
    );
    // What is lost by another path is told.
    assert_eq!(
        purge(&m, &["d", "person"]).ok(),
        "d: person purged: 195.3 KiB in 5 objects\nhas some of it, and can be read no more: d@v9/came\n"
    );
    let check = |when: &str| {
        for (n, there) in
            [(1, false), (2, false), (3, false), (4, true), (5, true), (6, false), (7, true), (8, false)]
        {
            assert_eq!(in_packs(&m, &of(n)[100..164]), there, "{n} {when}");
        }
        assert_eq!(d.bytes(&format!("@v{before}/was/a")), of(7));
        refused(fs::read(d.path(&format!("@v{before}/person/again"))), Errno::IO);
        refused(fs::read(d.path(&format!("@v{before}/was/came"))), Errno::IO);
        assert_eq!(tombstones(&m, "d"), ["person"]);
        m.strata(&["verify"]).ok();
    };
    check("at once");
    m.kill();
    m.up(&[]);
    check("after a kill");
    assert_eq!(purge(&m, &["d", "person"]).ok(), "d: person: nothing of it is left to remove\n");
}

/// Several paths, directories and ids are one purge: one line, one tombstone that has all of them, and what
/// only they have in common goes too.
#[test]
fn several_paths_are_one_purge() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    let common = noise(1, 300_000);
    d.write("one", &common);
    d.write("dir/two", [&common[..], b"and more"].concat());
    d.write("dir/\u{1}odd \"name\"", "odd");
    d.write("by id", "the id of this");
    d.write("kept", "kept");
    let hashed = m.outside().join("hashed");
    fs::write(&hashed, "the id of this").expect("write");
    let id = m.strata(&["hash", hashed.to_str().expect("a path")]).ok()[..64].to_owned();
    let version = d.versions();
    fs::remove_dir_all(d.path("dir")).expect("remove");
    ["one", "by id"].iter().for_each(|name| fs::remove_file(d.path(name)).expect("remove"));
    let alone = m.strata(&["purge", "d", "one", "--dry-run"]).ok();
    assert!(alone.contains("keeps what it has of it: d@v3/dir/two"), "in common: {alone}");
    let paths = ["dir", "one", &id[..12], "one"];
    let dry = m.strata(&[&["purge", "d", "--dry-run"], &paths[..]].concat()).ok();
    let lines: Vec<&str> = dry.lines().collect();
    assert_eq!(lines.len(), 4, "{dry}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("d: dir would be purged: ") && line.ends_with(" of 2 files"))
    );
    assert!(lines[3].starts_with("d: 3 paths would be purged: "), "{dry}");
    assert_eq!(d.bytes(&format!("@v{version}/one")), common, "only told");
    let told = purge(&m, &[&["d"], &paths[..]].concat()).ok();
    assert_eq!(told, format!("{}\n", lines[3].replace("would be purged", "purged")), "one line");
    for name in ["one", "dir/two", "by id"] {
        refused(fs::read(d.path(&format!("@v{version}/{name}"))), Errno::IO);
    }
    assert_eq!(d.text(&format!("@v{version}/kept")), "kept");
    assert!(!in_packs(&m, &common[100..164]));
    let mut sorted = vec!["dir".to_owned(), "one".to_owned(), id];
    sorted.sort();
    assert_eq!(tombstones(&m, "d"), sorted);
    let ran = m.strata(&["verify"]);
    assert!(ran.stderr.ends_with(": no damage; 1 purge removed content for good\n"), "{}", ran.stderr);
    m.down();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    assert_eq!(tombstones(&m, "d"), sorted, "and with a new index");
    m.up(&[]);
}

/// Where one of many paths is unknown, nothing is done, and all unknown ones are named.
#[test]
fn nothing_is_purged_where_a_path_is_unknown() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("there", "a secret");
    fs::remove_file(d.path("there")).expect("remove");
    let failed = purge(&m, &["d", "gone/1", "there", "gone/2", "0123456789ab"]).fails(1);
    for part in ["nothing was purged", "gone/1, gone/2, 0123456789ab", "nor one whose content has this id"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert!(!failed.contains("there,"), "{failed}");
    for whole in [".", "", "/"] {
        assert!(purge(&m, &["d", "there", whole]).fails(2).contains("not purged as a whole"), "{whole}");
    }
    assert!(purge(&m, &["d", "there", &"x".repeat(256)]).fails(2).contains("256"));
    assert_eq!((d.text("@v1/there").as_str(), tombstones(&m, "d").len()), ("a secret", 0));
    // One that is live is as bad.
    d.write("live", "is live");
    let failed = purge(&m, &["d", "there", "live"]).fails(1);
    assert!(failed.contains("still has this content as live"), "{failed}");
    assert_eq!((d.text("@v1/there").as_str(), tombstones(&m, "d").len()), ("a secret", 0));
}

/// What of several paths stays is named by path, with what has it; the rest goes.
#[test]
fn what_stays_of_several_paths_is_named_with_what_has_it() {
    let m = Mount::new();
    let (d, other) = (m.dataset("d"), m.dataset("other"));
    d.mkdir("p");
    for n in 1..=4u64 {
        d.write(&format!("p/{n}"), noise(n, if n % 2 == 1 { 2_050_000 } else { 50_000 }));
    }
    other.write("live", noise(1, 2_050_000));
    other.write("longer", [&noise(3, 2_050_000)[..], b"more"].concat());
    fs::remove_file(other.path("longer")).expect("remove");
    let version = d.versions();
    fs::remove_dir_all(d.path("p")).expect("remove");
    let paths = ["p/1", "p/2", "p/3", "p/4"];
    let ran = purge(&m, &[&["d", "--json"], &paths[..]].concat());
    let told = parsed(&ran.text());
    let holders: Vec<&Value> =
        told["paths"].as_array().expect("paths").iter().map(|path| &path["holders"]).collect();
    assert_eq!(
        holders,
        [&json!(["other/live"]), &json!([]), &json!(["other@v2/longer"]), &json!([])],
        "{told}"
    );
    assert!(told["path"].is_null() && told["shared"].as_u64() > Some(40), "{told}");
    let failed = ran.fails(1);
    for part in
        ["not all of 4 paths was removed", "p/1 by other/live; p/3 by other@v2/longer\n", "--everywhere"]
    {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    for n in [2, 4] {
        refused(fs::read(d.path(&format!("@v{version}/p/{n}"))), Errno::IO);
    }
    assert_eq!(d.bytes(&format!("@v{version}/p/1")), noise(1, 2_050_000));
    // The same by the directory, once the live one is gone.
    fs::remove_file(other.path("live")).expect("remove");
    purge(&m, &["d", "p", "--everywhere"]).ok();
    for (dataset, path) in
        [(&d, format!("@v{version}/p/1")), (&other, "@v1/live".into()), (&other, "@v2/longer".into())]
    {
        refused(fs::read(dataset.path(&path)), Errno::IO);
    }
    assert_eq!(tombstones(&m, "d"), ["p/1", "p/2", "p/3", "p/4", "p"]);
    assert_eq!(tombstones(&m, "other"), ["live", "longer"], "of all that it lost");
    m.strata(&["verify"]).ok();
}

/// Paths come from a file or standard input too, one a line or with a NUL at the end of each, beside those
/// given.
#[test]
fn paths_to_purge_come_from_a_file() {
    let m = Mount::new();
    let d = m.dataset("d");
    let names = ["plain", "a b", "# no comment", "with\nnewline", "-0", "given"];
    names.iter().for_each(|name| d.write(name, format!("the secret of {name}")));
    names.iter().for_each(|name| fs::remove_file(d.path(name)).expect("remove"));
    let list = m.outside().join("list");
    let list = list.to_str().expect("a path");
    fs::write(list, "plain\n\na b\n# no comment\n-0").expect("write");
    assert!(purge(&m, &["d", "--from", &format!("{list}.missing")]).fails(1).contains("list.missing"));
    assert!(m.strata(&["purge", "d", "plain", "-0", "--reason", "law"]).fails(2).contains("--from"));
    assert_eq!(purge(&m, &["d", "--from", list, "given"]).ok().lines().count(), 1);
    assert_eq!(tombstones(&m, "d"), ["# no comment", "-0", "a b", "given", "plain"]);
    let mut command = m.command(&["purge", "d", "--from", "-", "-0", "--reason", "law", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    child.stdin.take().expect("piped").write_all(b"with\nnewline\0").expect("write");
    let output = child.wait_with_output().expect("wait");
    let told = parsed(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!(
        (&told["path"], &told["objects"], output.status.code()),
        (&json!("with\nnewline"), &json!(1), Some(0))
    );
    fs::write(list, "").expect("write");
    assert!(purge(&m, &["d", "--from", list]).fails(2).contains("no path"));
    let too_many: String = (0..600_000).map(|n| format!("{n:07}\n")).collect();
    fs::write(list, too_many).expect("write");
    assert!(purge(&m, &["d", "--from", list]).fails(2).contains("4 MiB"));
    m.strata(&["verify"]).ok();
}

/// A purge of as many paths as there may be is done in one.
#[test]
fn very_many_paths_are_one_purge() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    let count = 20_000u32;
    (0..count).for_each(|n| fs::write(source.join(n.to_string()), format!("secret {n}")).expect("write"));
    m.strata(&["import", source.to_str().expect("a path"), "d"]).ok();
    assert_eq!(d.versions(), 1);
    fs::remove_dir_all(&source).expect("remove");
    fs::create_dir(&source).expect("mkdir");
    m.strata(&["import", "--delete", source.to_str().expect("a path"), "d"]).ok();
    let list = m.outside().join("list");
    fs::write(&list, (0..count).map(|n| format!("{n}\n")).collect::<String>()).expect("write");
    let list = list.to_str().expect("a path");
    let told = parsed(&purge(&m, &["d", "--from", list, "--json"]).ok());
    assert_eq!(
        (&told["objects"], told["paths"].as_array().map(Vec::len)),
        (&json!(count), Some(count as usize))
    );
    assert_eq!(tombstones(&m, "d").len(), count as usize);
    refused(fs::read(d.path("@v1/1234")), Errno::IO);
    m.strata(&["verify"]).ok();
}

/// A purge of a directory and a file whose daemon is killed is either not begun, or finished as a whole by the
/// next mount.
#[test]
fn a_purge_of_several_that_is_killed_is_finished() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("kept", noise(1, 3 << 20));
    let (mut begun, mut delay) = (0, 0);
    for round in 0..12u64 {
        let secrets = [
            noise(100 + 3 * round, 150_000),
            noise(101 + 3 * round, 150_000),
            noise(102 + 3 * round, 60_000),
        ];
        let (dir, file) = (format!("dir{round}"), format!("file{round}"));
        d.mkdir(&dir);
        d.write(&format!("{dir}/a"), &secrets[0]);
        d.write(&format!("{dir}/b"), [&secrets[1][..], &secrets[0]].concat());
        d.write(&file, &secrets[2]);
        let version = d.versions();
        fs::remove_dir_all(d.path(&dir)).expect("remove");
        fs::remove_file(d.path(&file)).expect("remove");
        let daemon = m.daemon().expect("runs");
        let mut child = m.command(&["purge", "d", &dir, &file, "--reason", "a test"]).spawn().expect("start");
        sleep(Duration::from_millis(delay));
        // However slow the machine is, some are begun.
        delay = if begun == 0 { (2 * delay + 5).min(1000) } else { delay + 5 };
        kill_process(daemon, Signal::KILL).expect("kill");
        m.gone();
        drop(child.wait());
        m.up(&[]);
        let listed = tombstones(&m, "d");
        assert_eq!(listed.contains(&dir), listed.contains(&file), "round {round}");
        let read = |path: &str| fs::read(d.path(&format!("@v{version}/{path}")));
        if listed.contains(&dir) {
            begun += 1;
            for secret in &secrets {
                poll("its bytes are removed", || !in_packs(&m, &secret[..64]));
            }
            for path in [&format!("{dir}/a"), &format!("{dir}/b"), &file] {
                refused(read(path), Errno::IO);
            }
        } else {
            assert_eq!(read(&file).expect("read"), secrets[2], "round {round}");
        }
        poll("nothing is left to be finished", || m.strata(&["status"]).code == Some(0));
        m.strata(&["verify"]).ok();
    }
    assert_eq!(d.bytes("kept"), noise(1, 3 << 20));
    assert!(begun > 0, "no purge was begun in time");
}
