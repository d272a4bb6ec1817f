//! Compressing a store: what it saves, and that nothing else is to be seen of it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::*;
use crate::rot_rig::{files, up};

/// The store's packs, by number; one that is being made in the place of another is none.
fn packs(store: &Path) -> Vec<PathBuf> {
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pack");
    files(&store.join("packs")).into_iter().filter(is_pack).collect()
}

fn compact(m: &Mount) -> Value {
    serde_json::from_str(&m.strata(&["compact", "--json"]).ok()).expect("JSON")
}

fn pack_bytes(m: &Mount) -> u64 {
    packs(m.store()).iter().map(|pack| fs::metadata(pack).expect("stat").len()).sum()
}

fn is_compressed(pack: &Path) -> bool {
    let mut magic = [0; 8];
    File::open(pack).and_then(|mut file| file.read_exact(&mut magic)).expect("read");
    magic == *b"STRATAPZ"
}

/// Some versions of files that get smaller, and some that do not.
fn fill(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("d");
    for n in 0..40 {
        d.write(&format!("{n}.txt"), digits(n, 20_000 + 1000 * n as usize));
    }
    d.write("large", digits(100, 3_000_000));
    d.write("noise", noise(101, 400_000));
    for n in 0..5 {
        d.write("7.txt", digits(200 + n, 30_000));
    }
    d
}

/// A store gets smaller, beside open files and a mapped one, and all of its versions stay what they were:
/// at once, after the kernel forgot what it knew, after a remount, and for who verifies and repairs.
#[test]
fn compressing_changes_nothing_but_the_size() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    let versions = d.versions();
    let all = |when: &str| {
        for n in [1, 20, versions] {
            let at = d.path(&format!("@v{n}"));
            assert_eq!(facts(&at).len() as u64, (n + 1).min(43), "{when}: v{n}");
        }
        assert!(d.bytes(&format!("@v{versions}/large")) == digits(100, 3_000_000), "{when}");
        assert!(d.bytes("@latest/noise") == noise(101, 400_000), "{when}");
        assert!(d.bytes("39.txt") == digits(39, 59_000), "{when}");
        for n in 0..5 {
            let at = format!("@v{}/7.txt", versions - 4 + n);
            assert!(d.bytes(&at) == digits(200 + n, 30_000), "{when}: {at}");
        }
    };
    all("before");
    let open = File::open(d.path("@v41/large")).expect("open");
    let before = pack_bytes(&m);
    let report = compact(&m);
    let after = pack_bytes(&m);
    assert!(after < before * 7 / 10, "{before} to {after}");
    let [was, is] = ["bytes_before", "bytes_after"].map(|key| report[key].as_u64().expect("a number"));
    // The last pack got a footer, and the next was begun.
    assert!((before - after).abs_diff(was - is) < 10_000, "{before} to {after}: {report}");
    let mut part = vec![0; 5000];
    open.read_exact_at(&mut part, 2_000_000).expect("read");
    assert!(part == digits(100, 3_000_000)[2_000_000..2_005_000]);
    drop(open);
    fs::write("/proc/sys/vm/drop_caches", "3").ok();
    all("from the disk");
    assert_eq!(compact(&m)["packs"], 0, "there is nothing more to do");
    assert!(m.strata(&["compact"]).ok().contains("nothing new"));

    d.write("more", digits(300, 100_000));
    m.down();
    assert!(m.strata(&["verify"]).ok().is_empty());
    assert!(m.strata(&["fsck", "--rebuild-index"]).code == Some(0));
    up(&m).ok();
    all("mounted anew");
    assert!(m.strata(&["compact"]).ok().contains("compressed from"));
    all("compressed further");
    m.down();
}

/// With --best, a store that is compressed gets smaller still, once; what was not yet compressed is so at once.
#[test]
fn at_its_best_a_store_gets_smaller_still() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    let tree = facts(&d.path("@v41"));
    compact(&m);
    let usual = pack_bytes(&m);
    let best = |m: &Mount| -> Value {
        serde_json::from_str(&m.strata(&["compact", "--best", "--json"]).ok()).expect("JSON")
    };
    let report = best(&m);
    assert!(report["compressed"].as_u64() > Some(0), "{report}");
    let smallest = pack_bytes(&m);
    assert!(smallest < usual, "{usual} to {smallest}");
    assert_same_facts(&facts(&d.path("@v41")), &tree);
    assert_eq!(best(&m)["packs"], 0, "there is nothing more to do");
    assert_eq!(compact(&m)["compressed"], 0, "nor with less effort");
    assert_eq!(pack_bytes(&m), smallest);

    d.write("more", digits(300, 200_000));
    assert!(best(&m)["compressed"].as_u64() > Some(0));
    m.down();
    assert!(m.strata(&["verify"]).ok().is_empty());
    up(&m).ok();
    assert_same_facts(&facts(&d.path("@v41")), &tree);
    assert!(d.bytes("more") == digits(300, 200_000));
    m.down();
}

/// A pack whose frames are damaged stays as it is when packs are made smaller still: it can be repaired then.
#[test]
fn a_damaged_pack_is_not_compressed_again() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    let tree = facts(&d.path("@latest"));
    compact(&m);
    m.down();
    let pack = packs(m.store()).into_iter().find(|pack| is_compressed(pack)).expect("a compressed pack");
    let whole = fs::read(&pack).expect("read");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 4;
    fs::write(&pack, &damaged).expect("write");
    up(&m).ok();
    m.strata(&["compact", "--best"]).ok();
    m.down();
    assert!(fs::read(&pack).expect("read") == damaged, "it was rewritten");
    assert_eq!(m.strata(&["fsck"]).code, Some(4));
    up(&m).ok();
    assert_same_facts(&facts(&d.path("@latest")), &tree);
    m.down();
}

/// Programs write, and read versions, while the store is compressed again and again.
#[test]
fn compressing_goes_on_beside_everything_else() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..150 {
                d.write(&format!("new {}", n % 7), digits(1000 + n, 40_000));
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert!(d.bytes("@v41/large") == digits(100, 3_000_000));
                assert!(d.bytes("@v20/7.txt") == digits(7, 27_000));
            }
        });
        while !done.load(Ordering::Acquire) {
            compact(&m);
        }
    });
    for n in 0..150 {
        let at = format!("@v{}/new {}", d.versions() - 149 + n, n % 7);
        assert!(d.bytes(&at) == digits(1000 + n, 40_000), "{at}");
    }
    assert!(packs(m.store()).iter().filter(|pack| is_compressed(pack)).count() > 5);
    assert!(m.strata(&["verify"]).ok().is_empty());
    m.down();
}

/// The daemon is killed while it compresses: nothing is lost, and what it left is cleared away.
#[test]
fn a_kill_while_compressing_costs_nothing() {
    let m = Mount::unmounted();
    for round in 0..8 {
        up(&m).ok();
        let d = if round == 0 { fill(&m) } else { m.existing("d") };
        d.write("growing", digits(500 + round, 2_000_000));
        thread::scope(|scope| {
            scope.spawn(|| m.strata(&["compact"]));
            thread::sleep(Duration::from_millis(5 + 7 * round));
            m.kill();
        });
        up(&m).ok();
        assert!(d.bytes("growing") == digits(500 + round, 2_000_000), "round {round}");
        assert!(d.bytes("@v41/large") == digits(100, 3_000_000), "round {round}");
        let left = fs::read_dir(m.store().join("packs")).expect("list").count();
        assert_eq!(left, packs(m.store()).len(), "round {round}");
        assert!(m.strata(&["verify"]).ok().is_empty());
        m.down();
    }
}

/// Full packs are compressed by themselves once nothing is written.
#[test]
fn packs_are_compressed_in_the_background() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    let full = packs(m.store()).len() - 1;
    let compressed = || packs(m.store()).iter().filter(|pack| is_compressed(pack)).count();
    poll("most packs are compressed", || compressed() + 2 >= full);
    assert!(d.bytes("@v41/large") == digits(100, 3_000_000));
    m.down();
}

/// A store of the format before compression opens, and becomes one of the present format when something is
/// compressed: an older release then refuses it.
#[test]
fn a_store_of_the_older_format_is_taken_along() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = fill(&m);
    m.down();
    let identity = m.store().join("strata.json");
    let text = fs::read_to_string(&identity).expect("read");
    let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    fs::write(&identity, format!("{{\"format\":1,\"id\":\"{id}\"}}\n")).expect("write");
    up(&m).ok();
    assert!(fs::read_to_string(&identity).expect("read").starts_with("{\"format\":1,"));
    assert!(d.bytes("@v41/large") == digits(100, 3_000_000));
    assert!(compact(&m)["compressed"].as_u64() > Some(0));
    assert!(fs::read_to_string(&identity).expect("read").starts_with("{\"format\":2,"));
    assert!(d.bytes("@v41/large") == digits(100, 3_000_000));
    m.down();
}
