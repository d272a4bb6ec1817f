//! Bundles of histories of which something was given up.

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;
use serde_json::Value;

use super::bundle::text;
use crate::harness::*;

/// Writes a bundle; gives the file and what is told of it.
fn bundle(m: &Mount, arguments: &[&str]) -> (PathBuf, Value) {
    let file = m.outside().join("bundle");
    let told = m.strata(&[&["bundle", "--json", "--force", "-o", text(&file)], arguments].concat()).ok();
    (file, serde_json::from_str(&told).expect("JSON"))
}

/// The log, pins and all.
fn log(m: &Mount, name: &str) -> Vec<Value> {
    m.existing(name).log()
}

/// The numbers of the versions that are there.
fn there(m: &Mount, name: &str) -> Vec<u64> {
    let d = m.existing(name);
    (1..=d.versions()).filter(|n| d.has(&format!("@v{n}"))).collect()
}

/// A history of which versions are kept for all sorts of reasons, and the others pruned.
fn pruned(m: &Mount) {
    let d = m.dataset("d");
    d.mkdir("sub");
    // Only a version that is pruned wrote it, and all that are kept have it.
    d.write("sub/old", noise(1, 300_000));
    tool("setfattr", &["-n", "user.long", "-v", &"x".repeat(3000), text(&d.path("sub"))]);
    for n in 0..8 {
        d.write("f", noise(10 + n, 200_000));
    }
    d.write("gone", noise(30, 100_000));
    fs::remove_file(d.path("gone")).expect("remove");
    fs::rename(d.path("sub/old"), d.path("sub/renamed")).expect("rename");
    m.strata(&["pin", "d@v7"]).ok();
    m.strata(&["rollback", "d", "v5"]).ok();
    d.write("large", noise(40, 5 << 20));
    fs::remove_file(d.path("large")).expect("remove");
    m.strata(&["tag", "d", "without"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1", "-m", "no room"]).ok();
    m.strata(&["gc", "--all"]).ok();
}

/// What was pruned is pruned in the other store too, by whom and when it was, and every version that is kept is
/// there whole, with its ids; what only pruned versions had is not carried.
#[test]
fn a_pruned_history_goes_to_another_store() {
    let m = Mount::new();
    pruned(&m);
    let kept = there(&m, "d");
    let all = m.existing("d").versions();
    assert!(kept.len() > 1 && kept.len() < 5, "{kept:?}");
    let (file, told) = bundle(&m, &["d"]);
    assert_eq!(told["pruned"], all - kept.len() as u64, "{told}");
    assert!(fs::metadata(&file).expect("stat").len() < 1_100_000, "300, 200 and 200 kB are needed");
    assert!(fs::read(&file).expect("read").starts_with(b"strata bundle 5\n"), "it has a pin");
    for mounted in [true, false] {
        let other = Mount::new();
        if !mounted {
            other.down();
        }
        other.strata(&["import", text(&file), "e"]).ok();
        if !mounted {
            other.up(&[]);
        }
        for when in ["at once", "after a kill", "with a rebuilt index"] {
            assert_eq!(log(&other, "e"), log(&m, "d"), "{when}");
            assert_eq!(there(&other, "e"), kept, "{when}");
            let (d, e) = (m.existing("d"), other.existing("e"));
            for n in &kept {
                let version = format!("@v{n}");
                assert_same_tree(&d.path(&version), &e.path(&version));
            }
            assert_same_tree(d.root(), e.root());
            refused(fs::read(e.path("@v3/f")), Errno::NOENT);
            let said = other.strata(&["cat", "e@v3/f"]).fails(1);
            assert!(said.contains("pruned") && said.contains("no room"), "{said}");
            other.strata(&["verify"]).ok();
            other.strata(&["gc", "--all"]).ok();
            other.strata(&["verify"]).ok();
            other.kill();
            if when == "after a kill" {
                other.strata(&["fsck", "--rebuild-index"]).ok();
            }
            other.up(&[]);
        }
        let again = other.strata(&["import", text(&file), "e"]);
        assert!(again.stderr.contains("there already"), "{}", again.stderr);
        // It goes on, also to a third store.
        other.existing("e").write("f", "more");
        let (further, told) = bundle(&other, &["e"]);
        assert_eq!(told["pruned"], all - kept.len() as u64, "{told}");
        let third = Mount::new();
        third.strata(&["import", text(&further), "d"]).ok();
        assert_eq!(log(&third, "d"), log(&other, "e"));
        third.strata(&["verify"]).ok();
    }
}

/// Of later versions, those that were pruned come as that; what the dataset has already it keeps, whatever
/// became of it where the bundle is from.
#[test]
fn an_increment_prunes_nothing_that_is_there() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..4 {
        d.write("f", noise(n, 100_000));
    }
    m.strata(&["tag", "d@v3", "sent"]).ok();
    let other = Mount::new();
    other.strata(&["import", text(&bundle(&m, &["d"]).0), "e"]).ok();
    for n in 4..9 {
        d.write("f", noise(n, 100_000));
    }
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    m.strata(&["gc", "--all"]).ok();
    assert_eq!(there(&m, "d"), [3, 8, 9]);
    let (file, told) = bundle(&m, &["--since", "sent", "d"]);
    assert_eq!((&told["pruned"], &told["since"]), (&Value::from(4), &Value::from("v3")));
    let said = m.strata(&["bundle", "--since", "v4", "d", "-o", "-"]).fails(1);
    assert!(said.contains("v4") && said.contains("pruned"), "{said}");
    other.strata(&["import", text(&file), "e"]).ok();
    for when in ["at once", "after a kill"] {
        assert_eq!(there(&other, "e"), [1, 2, 3, 4, 8, 9], "{when}");
        let e = other.existing("e");
        (0..4).for_each(|n| assert_eq!(e.bytes(&format!("@v{}/f", n + 1)), noise(n, 100_000), "{when}"));
        assert_eq!((e.bytes("@v8/f"), e.bytes("f")), (noise(7, 100_000), noise(8, 100_000)), "{when}");
        let (here, from) = (e.log(), d.log());
        assert_eq!(here[..5], from[..5], "what came is told of as where it is from, {when}");
        other.strata(&["gc", "--all"]).ok();
        other.strata(&["verify"]).ok();
        other.kill();
        other.up(&[]);
    }
    // All of it brings no more than that.
    let whole = other.strata(&["import", text(&bundle(&m, &["d"]).0), "e"]);
    assert!(whole.stderr.contains("there already"), "{}", whole.stderr);
    assert_eq!(there(&other, "e"), [1, 2, 3, 4, 8, 9]);
}

/// What was purged is told of in the other store as it is here, and is missing without being damage; every
/// other file comes along.
#[test]
fn a_purged_history_goes_to_another_store() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("face", noise(1, 50_000));
    d.write("faces", noise(2, 5 << 20));
    d.write("f", "kept");
    fs::remove_file(d.path("face")).expect("remove");
    fs::remove_file(d.path("faces")).expect("remove");
    for path in ["face", "faces"] {
        m.strata(&["purge", "d", path, "--reason", "asked for by letter"]).ok();
    }
    let (file, told) = bundle(&m, &["d"]);
    assert_eq!((&told["purges"], &told["pruned"]), (&Value::from(2), &Value::from(0)));
    assert!(fs::metadata(&file).expect("stat").len() < 50_000, "it is not in it");
    let tombstones = |m: &Mount, name: &str| m.strata(&["purge", name, "--list", "--json"]).ok();
    let other = Mount::new();
    other.strata(&["import", text(&file), "e"]).ok();
    for when in ["at once", "after a kill"] {
        assert_eq!(tombstones(&other, "e"), tombstones(&m, "d"), "{when}");
        assert_eq!(log(&other, "e"), log(&m, "d"), "{when}");
        let e = other.existing("e");
        assert_eq!(e.text("@v3/f"), "kept", "{when}");
        refused(fs::read(e.path("@v3/face")), Errno::IO);
        let said = other.strata(&["cat", "e@v3/faces"]).fails(1);
        assert!(said.contains("purged"), "{said}");
        other.strata(&["gc", "--all"]).ok();
        other.strata(&["verify"]).ok();
        other.kill();
        other.up(&[]);
    }
    let again = other.strata(&["import", text(&file), "e"]);
    assert!(again.stderr.contains("there already"), "{}", again.stderr);
    assert_eq!(tombstones(&other, "e"), tombstones(&m, "d"), "nothing is told twice");
    // Who had it before has it still, and nothing is said of it.
    let before = Mount::new();
    let had = before.dataset("had");
    had.write("face", noise(1, 50_000));
    had.write("faces", noise(2, 5 << 20));
    before.strata(&["import", text(&file), "e"]).ok();
    assert_eq!(tombstones(&before, "e"), "");
    assert_eq!(before.existing("e").bytes("@v3/face"), noise(1, 50_000));
    before.strata(&["verify"]).ok();
}
