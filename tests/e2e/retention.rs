//! What is kept of history: pins and prunes.

use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::{Value, json};

use crate::harness::*;

/// A dataset of `n` versions: `f` holds the number of each.
fn versions(m: &Mount, n: u64) -> Dataset<'_> {
    let d = m.dataset("d");
    (1..=n).for_each(|n| d.write("f", format!("{n}")));
    d
}

fn prune_json(m: &Mount, arguments: &[&str]) -> Value {
    serde_json::from_str(&m.strata(&[&["prune", "d", "--json"], arguments].concat()).ok()).expect("JSON")
}

fn there(d: &Dataset<'_>, n: u64) -> Vec<u64> {
    (1..=n).filter(|n| d.has(&format!("@v{n}"))).collect()
}

/// Pruned versions are gone from every view, the log says when and by whom, and all others stay as they were,
/// with their numbers and ids; across a kill, a remount and a rebuilt index.
#[test]
fn pruned_versions_are_gone_and_the_log_says_so() {
    let m = Mount::new();
    let d = versions(&m, 9);
    d.mkdir("sub");
    let before = d.log();
    // The kernel has these names in its cache.
    assert_eq!((d.text("@v3/f"), d.text("@v8/f"), d.has("sub/@v9")), ("3".into(), "8".into(), false));
    assert!(d.has("@history/v3") && d.text("@history/log.jsonl").lines().count() == 10);
    let told = m.strata(&["prune", "d", "--keep-last", "3", "--dry-run"]).ok();
    assert!(told.contains("keep v10") && told.contains("drop v7 "), "{told}");
    let told = m.strata(&["prune", "d", "--keep-last", "3", "-m", "spring cleaning"]).ok();
    assert!(told.contains("d: 7 versions pruned, 3 kept"), "{told}");
    let check = |when: &str| {
        assert_eq!(there(&d, 10), [8, 9, 10], "{when}");
        refused(fs::read(d.path("@v3/f")), Errno::NOENT);
        refused(fs::read(d.path("@hash/nothing/f")), Errno::NOENT);
        assert_eq!(d.list("@history"), ["log.jsonl", "v10", "v8", "v9"], "{when}");
        assert_eq!((d.text("@v8/f"), d.text("@prev/f"), d.text("f")), ("8".into(), "9".into(), "9".into()));
        assert_eq!(d.list("@file/f"), ["v8", "v9"], "{when}");
        let log = d.log();
        assert_eq!(log.len(), 10, "{when}");
        for (was, is) in before.iter().zip(&log) {
            assert_eq!(
                (&was["version"], &was["id"], &was["snapshot"]),
                (&is["version"], &is["id"], &is["snapshot"])
            );
            let number: u64 = is["version"].as_str().expect("v")[1..].parse().expect("a number");
            assert_eq!(is["pruned"].is_object(), number < 8, "{when}: {is}");
        }
        let pruned = &log[9]["pruned"];
        assert!(pruned["time"].is_string() && pruned["uid"].is_u64(), "{pruned}");
        assert!(pruned["command"].as_str().expect("a command").contains("prune"), "{pruned}");
        assert_eq!(pruned["rules"], "keep-last=3");
        assert!(
            d.text("@history/log.jsonl").lines().next().expect("a line").contains("\"pruned\""),
            "{when}"
        );
        let failed = m.strata(&["cat", "d@v3/f"]).fails(1);
        assert!(failed.contains("v3 of d was pruned at"), "{failed}");
    };
    assert!(m.strata(&["log", "d"]).ok().lines().last().expect("v1").contains("pruned 20"));
    m.lasts(check);
    m.strata(&["verify"]).ok();
    d.write("f", "next");
    assert_eq!(d.versions(), 11, "numbers go on");
}

/// A dry run tells everything and changes nothing.
#[test]
fn a_dry_run_tells_what_would_go_and_why_the_rest_stays() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/big", noise(1, 300_000));
    d.write("small\nname", noise(2, 20_000));
    d.write("kept", noise(3, 50_000));
    d.write("dir/big", "no more");
    fs::remove_file(d.path("small\nname")).expect("remove");
    m.strata(&["tag", "d@v1", "first"]).ok();
    m.strata(&["pin", "d@v6"]).ok();
    for up in [true, false] {
        let told = prune_json(&m, &["--keep-last=1", "--dry-run"]);
        let keep: Vec<_> =
            told["versions"].as_array().expect("versions").iter().map(|v| v["keep"].clone()).collect();
        assert_eq!(
            keep,
            [
                json!(["newest", "pinned", "last"]),
                json!([]),
                json!([]),
                json!([]),
                json!([]),
                json!(["tag first"])
            ]
        );
        assert_eq!((&told["dropped"], &told["kept"], &told["dry_run"]), (&json!(4), &json!(2), &json!(true)));
        assert_eq!(told["bytes"], 320_000);
        assert_eq!(
            told["paths"],
            json!([{"path": "dir/big", "bytes": 300_000}, {"path": "small\nname", "bytes": 20_000}])
        );
        assert_eq!(d.log().iter().filter(|v| v["pruned"].is_object()).count(), 0);
        if up {
            m.down();
        }
    }
}

/// Pins and tags keep versions whatever rules say.
#[test]
fn pins_and_tags_are_never_dropped() {
    let m = Mount::new();
    let d = versions(&m, 8);
    assert_eq!(m.strata(&["pin", "d@v2", "-m", "run 17"]).ok(), "d: v2 is pinned\n");
    assert_eq!(m.strata(&["pin", "d@v2", "--json"]).ok(), "{\"version\":\"v2\",\"pinned\":true}\n");
    m.strata(&["tag", "d@v4", "paper"]).ok();
    assert!(
        m.strata(&["log", "d"])
            .ok()
            .lines()
            .any(|line| line.starts_with("v2 ") && line.ends_with("  pinned \"run 17\""))
    );
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(there(&d, 8), [2, 4, 8]);
    assert_eq!(m.strata(&["unpin", "d@v2"]).ok(), "d: v2 is no longer pinned\n");
    assert!(m.strata(&["unpin", "d@v2"]).fails(1).contains("v2 of d is not pinned"));
    m.strata(&["untag", "d", "paper"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(there(&d, 8), [8]);
    for command in [&["pin", "d@v2"][..], &["tag", "d@v2", "x"], &["rollback", "d", "v2"], &["show", "d@v2"]]
    {
        assert!(m.strata(command).fails(1).contains("v2 of d was pruned"), "{command:?}");
    }
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
}

/// Rules that leave nothing, or say nothing, are refused with a word on what to do; nonsense is a wrong call.
#[test]
fn a_prune_of_everything_is_refused() {
    let m = Mount::new();
    let d = versions(&m, 3);
    assert!(m.strata(&["prune", "d"]).fails(2).contains("--keep-last"));
    assert!(m.strata(&["prune", "d", "--keep-tagged"]).fails(1).contains("--force"));
    assert!(m.strata(&["prune", "d", "--keep-daily", "1"]).fails(1).contains("but the newest"));
    assert_eq!(there(&d, 3), [1, 2, 3]);
    assert!(m.strata(&["prune", "none", "--keep-last", "1"]).fails(1).contains("none"));
    for bad in
        [&["--keep-last", "x"][..], &["--keep-last", "-1"], &["--keep-within", "3"], &["--keep-within", "0d"]]
    {
        m.strata(&[&["prune", "d"], bad].concat()).fails(2);
    }
    assert!(m.strata(&["pin", "d@v9"]).fails(1).contains("v9"));
    m.dataset("empty");
    assert!(m.strata(&["pin", "empty"]).fails(1).contains("no version"));
    m.strata(&["prune", "empty", "--keep-last", "1"]).ok();
    m.strata(&["prune", "d", "--keep-tagged", "--force"]).ok();
    assert_eq!(there(&d, 3), [3]);
    m.down();
    m.up(&["--read-only"]);
    assert!(m.strata(&["prune", "d", "--keep-last", "1"]).fails(1).contains("read-only"));
}

/// A content that a later version has as well is found by its hash there.
#[test]
fn what_is_the_same_later_is_still_read() {
    let m = Mount::new();
    let d = m.dataset("d");
    let bytes = noise(1, 400_000);
    d.write("f", &bytes);
    let same = d.snapshot();
    d.write("f", "other");
    d.write("f", &bytes);
    d.write("g", noise(5, 200_000));
    d.write("g", "gone");
    assert_eq!(d.snapshot().len(), 64);
    m.strata(&["pin", "d@v3"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    m.strata(&["gc", "--all"]).ok();
    assert_eq!(d.bytes(&format!("@{same}/f")), bytes, "v3 has what v1 had");
    assert!(m.unique_bytes() < 450_000, "what g had is gone");
    assert_eq!(d.bytes("@v3/f"), bytes);
    m.strata(&["verify"]).ok();
}

/// While a file or directory of a version is open, the version is kept, and no other; by the daemon's rounds too.
#[test]
fn what_is_open_keeps_its_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("sub");
    d.write("sub/g", noise(100, 1000));
    for n in 0..6 {
        d.write("f", noise(n, 200_000));
    }
    let newest = d.log().len() as u64;
    let (third, fifth) = (newest - 3, newest - 1);
    // All of these have the same sub/g: who has that open keeps the one that was looked into.
    let mut file = fs::File::open(d.path(&format!("@v{third}/sub/g"))).expect("open");
    let dir = fs::File::open(d.path(&format!("@v{fifth}/sub"))).expect("open");
    let told = m.strata(&["prune", "d", "--keep-last", "1", "--dry-run"]).ok();
    let line =
        |n: u64| told.lines().find(|line| line.contains(&format!(" v{n} "))).unwrap_or_default().to_owned();
    assert!(line(third).starts_with("keep") && line(third).ends_with("open"), "{told}");
    assert!(line(fifth).starts_with("keep") && line(fifth).ends_with("open"), "{told}");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(there(&d, newest), [third, fifth, newest]);
    m.strata(&["gc", "--all"]).ok();
    assert_eq!(d.bytes(&format!("@v{third}/f")), noise(2, 200_000), "all of the version is there");
    let mut read = Vec::new();
    file.read_to_end(&mut read).expect("an open file is read on");
    assert_eq!(read, noise(100, 1000));
    m.strata(&["set", "d", "retention=keep-last=1,every=1s"]).ok();
    drop(dir);
    poll("the daemon drops what was closed", || there(&d, newest) == [third, newest]);
    drop(file);
    poll("and then the other", || there(&d, newest) == [newest]);
    m.strata(&["verify"]).ok();
}

/// The daemon applies a dataset's rules by itself, and gives the space back.
#[test]
fn rules_of_a_dataset_are_applied_by_the_daemon() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "retention=keep-last=2,every=1s"]).ok();
    for n in 0..6 {
        d.write("f", noise(n, 300_000));
    }
    poll("old versions are pruned", || there(&d, 6) == [5, 6]);
    poll("their space is given back", || m.unique_bytes() < 700_000);
    assert_eq!(d.bytes("@v5/f"), noise(4, 300_000));
    m.kill();
    m.up(&[]);
    d.write("f", "seventh");
    poll("rules outlive a kill", || there(&d, 7) == [6, 7]);
    // None is tagged: that is told.
    let told = m.strata(&["set", "d", "retention=keep-tagged"]);
    assert!(
        told.stderr.contains("note: as it is now, these rules would drop every version of d"),
        "{told:?}"
    );
    assert_eq!((told.code, m.strata(&["set", "d", "retention=keep-last=1"]).stderr.as_str()), (Some(0), ""));
    m.strata(&["set", "d", "retention=none"]).ok();
    for bad in ["retention=", "retention=keep-all", "retention=every=1h", "retention=keep-last=0", "keep=3"] {
        m.strata(&["set", "d", bad]).fails(2);
    }
    m.strata(&["verify"]).ok();
}

/// Rules drop what nobody reads also where versions are opened all the time: what is opened just then stays.
#[test]
fn rules_are_applied_under_readers() {
    let m = Mount::new();
    let d = versions(&m, 100);
    m.strata(&["set", "d", "retention=keep-last=3,every=1s"]).ok();
    let until = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        for seed in 0..4 {
            let d = &d;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while Instant::now() < until {
                    let version = 1 + random.below(100);
                    if let Ok(text) = fs::read_to_string(d.path(&format!("@v{version}/f"))) {
                        assert_eq!(text, version.to_string());
                    }
                }
            });
        }
    });
    poll("all but three are pruned", || there(&d, 100) == [98, 99, 100]);
    let log = fs::read_to_string(m.store().join("daemon.log")).expect("a log");
    assert!(!log.contains("ERROR"), "{log}");
    m.strata(&["verify"]).ok();
}

/// Space that no collection gave back after a prune, as where the daemon was killed in between, is given back when
/// the rules are applied next, though they drop nothing then.
#[test]
fn a_collection_that_was_cut_off_is_made_up_for() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 4 << 20));
    d.write("f", "small");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    m.kill();
    m.up(&[]);
    assert!(m.pack_bytes() > 4 << 20);
    m.strata(&["set", "d", "retention=keep-last=1,every=1s"]).ok();
    poll("the space is given back", || m.pack_bytes() < 1 << 20);
    assert_eq!(d.versions(), 2, "nothing new was written or dropped");
}

/// What is said of a pin and of a prune is told wherever these are: in the log, of the version, in the plan of a prune,
/// and to who asks for what is there no more.
#[test]
fn what_is_said_of_pins_and_prunes_is_told() {
    let m = Mount::new();
    versions(&m, 5);
    m.strata(&["pin", "d@v2", "-m", "run 17 was\ntrained on it"]).ok();
    m.strata(&["pin", "d@v3"]).ok();
    let plan = m.strata(&["prune", "d", "--keep-last", "1", "--dry-run"]).ok();
    assert!(plan.lines().any(|line| line.ends_with("  pinned: run 17 was trained on it")), "{plan}");
    assert!(plan.lines().any(|line| line.ends_with("  pinned")), "{plan}");
    m.strata(&["prune", "d", "--keep-last", "1", "-m", "spring\ncleaning"]).ok();
    let check = || {
        let log = m.strata(&["log", "d"]).ok();
        let line =
            |version: &str| log.lines().find(|line| line.starts_with(version)).expect("a line").to_owned();
        assert!(line("v2 ").ends_with("  pinned \"run 17 was trained on it\""), "{log}");
        assert!(line("v3 ").ends_with("  pinned"), "{log}");
        assert!(
            line("v1 ").contains("  pruned 20") && line("v1 ").ends_with(" \"spring cleaning\""),
            "{log}"
        );
        let told = m.existing("d").log();
        assert_eq!(told[4]["pruned"]["message"], "spring\ncleaning");
        let pin = &told[3]["pin"];
        assert_eq!(
            (&told[3]["pinned"], &pin["message"]),
            (&json!(true), &json!("run 17 was\ntrained on it"))
        );
        assert!(pin["time"].is_string() && pin["uid"].is_u64(), "{pin}");
        assert!(pin["command"].as_str().expect("a command").contains("pin"), "{pin}");
        assert_eq!((&told[2]["pinned"], &told[2]["pin"]["message"]), (&json!(true), &Value::Null));
        assert!(told[0].get("pinned").is_none() && told[0].get("pin").is_none());
        let shown = m.strata(&["show", "d@v2"]).ok();
        let pinned = shown.lines().find(|line| line.starts_with("pinned ")).expect("a line");
        assert!(pinned.ends_with(": run 17 was trained on it"), "{shown}");
        let shown: Value = serde_json::from_str(&m.strata(&["show", "--json", "d@v2"]).ok()).expect("JSON");
        assert_eq!((&shown["pin"], &shown["pinned"]), (pin, &json!(true)));
        let failed = m.strata(&["show", "d@v1"]).fails(1);
        assert!(failed.contains("v1 of d was pruned at 20") && failed.contains("cleaning"), "{failed}");
    };
    check();
    m.kill();
    m.up(&[]);
    check();
    m.strata(&["unpin", "d@v2"]).ok();
    assert!(m.existing("d").log()[3].get("pin").is_none());
}

/// What the daemon keeps of a dataset is told where its quota is, as it can be set.
#[test]
fn retention_is_shown() {
    let m = Mount::new();
    versions(&m, 1);
    m.dataset("other").write("f", "x");
    let json = |of: &str| -> Value {
        let told: Value = serde_json::from_str(&m.strata(&[of, "--json"]).ok()).expect("JSON");
        if of == "status" { told["datasets"].clone() } else { told }
    };
    for of in ["datasets", "status"] {
        assert!(!m.strata(&[of]).ok().contains("retention"));
        assert_eq!(json(of)[0]["retention"], Value::Null);
    }
    let rules = "keep-last=2,keep-within=30d,every=12h";
    m.strata(&["set", "d", &format!("retention={rules}")]).ok();
    for of in ["datasets", "status"] {
        let told = m.strata(&[of]).ok();
        let line = |name: &str| told.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
        assert!(line("dataset").ends_with("  policy       retention"), "{told}");
        assert!(line("d ").ends_with(&format!("  every-write  {rules}")), "{told}");
        assert!(line("other ").ends_with("  every-write  -"), "{told}");
        assert_eq!((&json(of)[0]["retention"], &json(of)[1]["retention"]), (&json!(rules), &Value::Null));
    }
    m.strata(&["set", "d", "retention=none"]).ok();
    assert_eq!(json("datasets")[0]["retention"], Value::Null);
}

/// What a pointer names is pinned, and what was pruned is pointed to, checked out and bundled up to no more.
#[test]
fn pointers_keep_their_versions() {
    let m = Mount::new();
    let d = versions(&m, 6);
    let out = tempfile::tempdir().expect("directory");
    let file = |name: &str| out.path().join(name).to_str().expect("UTF-8").to_owned();
    m.strata(&["pointer", "d@v3", "-o", &file("v3.strata")]).ok();
    m.strata(&["pointer", "d@v2", "-o", &file("v2.strata")]).ok();
    m.strata(&["unpin", "d@v2"]).ok();
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    assert_eq!(d.text("@v3/f"), "3");
    m.strata(&["checkout", &file("v3.strata"), &file("there")]).ok();
    let told = m.strata(&["checkout", &file("v2.strata"), &file("gone")]).fails(1);
    assert!(told.contains("v2") && told.contains("pruned"), "{told}");
    assert!(m.strata(&["pointer", "d@v2", "-o", &file("again.strata")]).fails(1).contains("pruned"));
    assert!(m.strata(&["bundle", "d@v2", "-o", &file("d.bundle")]).fails(1).contains("pruned"));
    assert!(!d.has("@diff/v2..v3") && d.has("@diff/v3..v6/summary.json"));
    assert!(!d.has("@v2/@meta") && d.has("@v3/@meta"));
    assert!(m.strata(&["ls", "d@v2"]).fails(1).contains("pruned"));
}

/// What goes before the newest is the last before it that is kept.
#[test]
fn prev_is_the_last_before_that_is_kept() {
    let m = Mount::new();
    let d = versions(&m, 6);
    m.strata(&["pin", "d@v3"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(fs::read_link(d.path("@prev")).expect("a link"), std::path::Path::new("@v3"));
    assert_eq!((d.text("@prev/f"), m.strata(&["cat", "d@prev/f"]).ok()), ("3".into(), "3".into()));
    m.strata(&["diff", "d@prev", "d"]).ok();
    m.strata(&["unpin", "d@v3"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert!(m.strata(&["cat", "d@prev/f"]).fails(1).contains("pruned"));
    assert!(!d.has("@prev"));
}
