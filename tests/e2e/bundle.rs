//! `strata bundle`: a dataset's history goes to another store.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::*;

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A history of all sorts: files of every size, links, attributes, renames, rollbacks, tags.
pub fn history(m: &Mount) {
    let d = m.dataset("d");
    let source = m.outside().join("source");
    sample_tree(&source, 3, 60);
    fs::write(source.join("large"), noise(1, 6 << 20)).expect("write");
    fs::write(source.join("holes"), vec![0; 3 << 20]).expect("write");
    m.strata(&["import", text(&source), "d", "-m", "first"]).ok();
    tool("setfattr", &["-n", "user.long", "-v", &"x".repeat(3000), text(&d.path("large"))]);
    for n in 0..8 {
        d.write("f", format!("{n}").repeat(1000));
    }
    d.write("large", noise(1, 7 << 20));
    fs::rename(d.path("part-1"), d.path("moved")).expect("rename");
    m.strata(&["tag", "d@v2", "base", "-m", "to compare with"]).ok();
    m.strata(&["rollback", "d", "v3", "-m", "back"]).ok();
    d.write("f", "after");
    m.strata(&["tag", "d", "base"]).ok();
    m.strata(&["tag", "d", "1.0.0"]).ok();
}

/// The log without what follows from the store's number of the dataset.
pub fn without_ids(log: Vec<Value>) -> Vec<Value> {
    let strip = |mut entry: Value| {
        entry.as_object_mut().expect("an object").remove("id");
        entry
    };
    log.into_iter().map(strip).collect()
}

/// In another store the history is the same to the version ids: every version, author, message and tag, and what
/// is stored twice is in the bundle once.
#[test]
fn a_bundle_carries_history_to_another_store() {
    let m = Mount::new();
    history(&m);
    let file = m.outside().join("d.bundle");
    let said: Value =
        serde_json::from_str(&m.strata(&["bundle", "--json", "d", "-o", text(&file)]).ok()).expect("JSON");
    let log = m.existing("d").log();
    assert_eq!((&said["id"], &said["version"]), (&log[0]["id"], &log[0]["version"]));
    let len = fs::metadata(&file).expect("stat").len();
    assert_eq!(said["bytes"], len);
    assert!(len < 9 << 20, "8 MB of content, most of it in every version: {len}");
    for mounted in [true, false] {
        let other = Mount::new();
        if !mounted {
            other.down();
        }
        let made = other.strata(&["import", text(&file), "e"]).ok();
        assert_eq!(made, format!("e: {}\n", said["version"].as_str().expect("a version")));
        if !mounted {
            other.up(&[]);
        }
        let e = other.existing("e");
        assert_eq!(e.log(), log, "hash by hash");
        let tags = |m: &Mount, name: &str| m.strata(&["tags", "--history", "--json", name]).ok();
        assert_eq!(tags(&other, "e"), tags(&m, "d"));
        for version in ["@v1", "@v3", "@v9", "@prev", "@latest", "@base"] {
            assert_same_tree(&m.existing("d").path(version), &e.path(version));
        }
        assert_same_tree(m.existing("d").root(), e.root());
        other.strata(&["verify"]).ok();
        e.write("f", "goes on");
        assert_eq!(e.versions(), log.len() as u64 + 1);
        other.kill();
        other.up(&[]);
        assert_eq!(other.existing("e").log()[1..], log);
        other.down();
        other.strata(&["fsck", "--rebuild-index"]).ok();
        other.up(&[]);
        assert_eq!(other.existing("e").log()[1..], log);
    }
}

/// Where the dataset's number is taken, all but the version ids stays; a part of a history is one too.
#[test]
fn a_bundle_finds_room_beside_other_datasets() {
    let m = Mount::new();
    history(&m);
    let (file, part) = (m.outside().join("d.bundle"), m.outside().join("part.bundle"));
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    m.strata(&["bundle", "d@v4", "-o", text(&part)]).ok();
    m.strata(&["import", text(&file), "copy"]).ok();
    m.strata(&["import", text(&part), "part"]).ok();
    let (d, copy) = (m.existing("d"), m.existing("copy"));
    assert_eq!(without_ids(copy.log()), without_ids(d.log()));
    assert_ne!(copy.newest()["id"], d.newest()["id"]);
    assert_same_tree(d.root(), copy.root());
    assert_eq!(m.existing("part").versions(), 4);
    assert_same_tree(&d.path("@v4"), m.existing("part").root());
    m.strata(&["import", "-m", "x", text(&file), "new"]).fails(2);
    assert!(m.strata(&["bundle", "d", "-o", text(&file)]).fails(1).contains("--force"));
    assert!(m.strata(&["bundle", "d@v99", "-o", text(&m.outside().join("x"))]).fails(1).contains("v99"));
    m.strata(&["verify"]).ok();
}

/// An import of a bundle that is killed leaves nothing in sight, and the same import then goes on and is whole.
#[test]
fn an_import_of_a_bundle_goes_on_after_a_kill() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..400 {
        d.write(&format!("f{}", n % 50), format!("{n}"));
    }
    m.strata(&["tag", "d", "base"]).ok();
    let file = m.outside().join("d.bundle");
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    let other = Mount::unmounted();
    other.strata(&["init"]).ok();
    let mut begun = 0;
    for round in 0..40 {
        let mut import = other.command(&["import", text(&file), "e"]).spawn().expect("start");
        thread::sleep(Duration::from_millis(10 + 5 * round));
        // It may be done already.
        let _ = import.kill();
        import.wait().expect("wait");
        let status = other.status();
        begun += usize::from(status["archived"].as_array().is_some_and(|all| !all.is_empty()));
        if status["datasets"].as_array().is_some_and(|all| !all.is_empty()) {
            break;
        }
    }
    if other.status()["datasets"].as_array().is_some_and(Vec::is_empty) {
        other.strata(&["import", text(&file), "e"]).ok();
    }
    eprintln!("{begun} imports were killed in the midst");
    other.up(&[]);
    assert_eq!(other.existing("e").log(), d.log());
    assert_eq!(other.status()["archived"].as_array().map(Vec::len), Some(0));
    other.strata(&["verify"]).ok();
}

/// A bundle of what came after a version brings a dataset that has that version up to date, with the same version
/// ids where its number is the same; what is there already is no error, and nothing of it is stored twice.
#[test]
fn an_increment_brings_a_dataset_up_to_date() {
    let m = Mount::new();
    history(&m);
    let d = m.existing("d");
    let file = |name: &str| m.outside().join(name);
    let (part, more, whole) = (file("part.bundle"), file("more.bundle"), file("whole.bundle"));
    m.strata(&["bundle", "d@v4", "-o", text(&part)]).ok();
    let said: Value =
        serde_json::from_str(&m.strata(&["bundle", "--json", "--since", "v4", "d", "-o", text(&more)]).ok())
            .expect("JSON");
    assert_eq!((&said["since"], &said["id"]), (&Value::from("v4"), &d.newest()["id"]));
    m.strata(&["bundle", "d", "-o", text(&whole)]).ok();
    let len = |path: &Path| fs::metadata(path).expect("stat").len();
    assert!(len(&more) < len(&part) / 3, "{} of {}", len(&more), len(&part));
    assert!(m.strata(&["bundle", "--since", "v99", "d", "-o", "-"]).fails(1).contains("v99"));
    assert!(m.strata(&["bundle", "--since", "@latest", "d", "-o", "-"]).fails(1).contains("nothing after"));
    for (taken, update) in [(false, &more), (false, &whole), (true, &more)] {
        let other = Mount::new();
        if taken {
            other.dataset("another").write("f", "x");
        }
        other.strata(&["import", text(&part), "e"]).ok();
        let e = other.existing("e");
        assert!(!e.path("@v5").exists() && !e.path("moved").exists() && e.path("part-1").exists());
        let reader = fs::File::open(e.path("large")).expect("open");
        let last = said["version"].as_str().expect("a version");
        assert_eq!(other.strata(&["import", text(update), "e"]).ok(), format!("e: {last}\n"));
        drop(reader);
        if taken {
            assert_eq!(without_ids(e.log()), without_ids(d.log()));
        } else {
            assert_eq!(e.log(), d.log(), "hash by hash");
        }
        assert_same_tree(d.root(), e.root());
        for version in ["@v1", "@v5", "@prev", "@base"] {
            assert_same_tree(&d.path(version), &e.path(version));
        }
        for again in [&part, &more, &whole] {
            let output = other.strata(&["import", text(again), "e"]);
            assert!(output.stderr.contains("there already"), "{}", output.stderr);
            assert_eq!(output.ok(), "");
        }
        assert_eq!(e.versions(), d.versions());
        e.write("new", "goes on");
        e.write("f", "goes on");
        assert_eq!(fs::read(e.path("new")).expect("read"), b"goes on");
        other.strata(&["verify"]).ok();
        other.kill();
        other.up(&[]);
        assert_eq!(e.log()[2..], if taken { e.log() } else { d.log() }[if taken { 2 } else { 0 }..]);
        assert_eq!(fs::read_dir(other.store().join("imports")).expect("list").count(), 0);
    }
}

/// An increment is refused, and nothing changed, where the version it begins after is not there, where the dataset
/// went on in another way, or where it holds something that no version does.
#[test]
fn an_increment_that_does_not_follow_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..6 {
        d.write("f", format!("{n}"));
    }
    let id = d.log().iter().find(|entry| entry["version"] == "v4").expect("v4")["id"].clone();
    let file = |name: &str| m.outside().join(name);
    let (to2, to5, after4) = (file("to2.bundle"), file("to5.bundle"), file("after4.bundle"));
    m.strata(&["bundle", "d@v2", "-o", text(&to2)]).ok();
    m.strata(&["bundle", "d@v5", "-o", text(&to5)]).ok();
    m.strata(&["bundle", "--since", "v4", "d", "-o", text(&after4)]).ok();
    let other = Mount::new();
    let refused = |why: &str| {
        let e = other.point().join("e");
        let log = e.exists().then(|| other.existing("e").log());
        let said = other.strata(&["import", text(&after4), "e"]).fails(1);
        assert!(said.contains("after4.bundle") || said.contains("e has"), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(e.exists().then(|| other.existing("e").log()), log);
    };
    refused("no dataset e");
    other.strata(&["import", text(&to2), "e"]).ok();
    refused(id.as_str().expect("an id"));
    let e = other.existing("e");
    for n in 0..4 {
        e.write("own", format!("{n}"));
    }
    refused(id.as_str().expect("an id"));
    assert!(other.strata(&["import", text(&to5), "e"]).fails(1).contains("is another"));
    other.strata(&["import", text(&to5), "again"]).ok();
    let third = Mount::new();
    third.strata(&["import", text(&to5), "e"]).ok();
    let e = third.existing("e");
    third.strata(&["set", "e", "policy=manual"]).ok();
    e.write("own", "x");
    let said = third.strata(&["import", text(&after4), "e"]).fails(1);
    assert!(said.contains("strata commit"), "{said}");
    // A file of a batch that was taken back is open: its inode number may be another's in the bundle.
    third.strata(&["import", text(&to5), "f"]).ok();
    let f = third.existing("f");
    let log = f.log();
    let batch = "exec 3> \"$0\"; echo x >&3; sleep 1000 > /dev/null 2>&1 & echo $!; exit 1";
    let made = f.path("made");
    let mut command = third.command(&[
        "batch",
        "--dataset",
        "f",
        "--rollback-on-error",
        "--",
        "sh",
        "-c",
        batch,
        text(&made),
    ]);
    let output = command.output().expect("run");
    let sleeper = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!sleeper.is_empty(), "{output:?}");
    assert_eq!(f.log(), log);
    let said = third.strata(&["import", text(&after4), "f"]).fails(1);
    tool("kill", &[&sleeper]);
    assert!(said.contains("import again"), "{said}");
    assert_eq!(f.log(), log);
}

/// An import into a dataset that is killed leaves all of its versions, and what is said of them, or none.
#[test]
fn an_increment_is_imported_as_a_whole() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "first");
    let file = |name: &str| m.outside().join(name);
    let (part, more) = (file("part.bundle"), file("more.bundle"));
    m.strata(&["tag", "d@v1", "sent"]).ok();
    m.strata(&["bundle", "d", "-o", text(&part)]).ok();
    for n in 0..1500 {
        d.write(&format!("f{}", n % 50), format!("{n}"));
    }
    m.strata(&["annotate", "d@v7", "license=MIT"]).ok();
    m.strata(&["prune", "d", "--keep-last", "700"]).ok();
    m.strata(&["bundle", "--since", "v1", "d", "-o", text(&more)]).ok();
    let mut begun = 0;
    for round in 0..6 {
        let other = Mount::unmounted();
        other.strata(&["init"]).ok();
        other.strata(&["import", text(&part), "e"]).ok();
        let note = other.store().join("imports/1");
        let mut import = other.command(&["import", text(&more), "e"]).spawn().expect("start");
        while !note.exists() && import.try_wait().expect("wait").is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_millis(4 * round));
        // It may be done already.
        let _ = import.kill();
        import.wait().expect("wait");
        begun += usize::from(note.exists());
        let log = other.strata(&["log", "--json", "e"]).ok();
        let versions = log.lines().count() as u64;
        assert!(versions == 1 || versions == d.versions(), "round {round}: {versions}");
        assert_eq!(log.contains("\"license\":\"MIT\""), versions > 1, "round {round}");
        assert_eq!(log.contains("\"pruned\":{"), versions > 1, "round {round}");
        assert!(!note.exists());
        other.strata(&["import", text(&more), "e"]).ok();
        other.up(&[]);
        assert_eq!(other.existing("e").log(), d.log());
        other.strata(&["verify"]).ok();
    }
    assert!(begun > 0, "no import was killed in the midst");
}
