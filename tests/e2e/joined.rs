//! Small packs joined into files of several: there are few files, and nothing else is to be seen of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::errors::SmallDisk;
use crate::harness::*;
use crate::rot_rig::{files, up};

fn packs(m: &Mount) -> Vec<PathBuf> {
    files(&m.store().join("packs"))
}

fn joined(m: &Mount) -> Vec<PathBuf> {
    let several = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains('-'));
    packs(m).into_iter().filter(several).collect()
}

fn gc(m: &Mount, how: &[&str]) -> Value {
    serde_json::from_str(&m.strata(&[&["gc", "--json"], how].concat()).ok()).expect("JSON")
}

/// As many versions, each followed by a collection that seals a pack.
fn rounds<'a>(m: &'a Mount, count: u64) -> Dataset<'a> {
    let d = m.existing("d");
    for n in 0..count {
        d.write(&format!("f{}", n % 5), digits(n, 3000));
        gc(m, &["--all"]);
    }
    d
}

fn check(d: &Dataset<'_>, versions: u64, when: &str) {
    for n in 0..versions {
        assert!(d.bytes(&format!("@v{}/f{}", n + 1, n % 5)) == digits(n, 3000), "{when}: v{}", n + 1);
    }
}

fn sound(m: &Mount) {
    assert!(m.strata(&["verify"]).ok().is_empty());
    assert_eq!(m.strata(&["fsck"]).code, Some(0));
}

/// However often a store is mounted, written to and collected, there are two files of packs, of which one is being
/// written to; all versions are what they were, also with a new index, and nothing is found wrong.
#[test]
fn a_store_that_is_collected_often_has_few_files() {
    let m = Mount::new();
    m.dataset("d");
    let mut most = 0;
    for n in 0..40 {
        let d = m.existing("d");
        d.write(&format!("f{}", n % 5), digits(n, 3000));
        gc(&m, &["--all"]);
        most = most.max(packs(&m).len());
        if n % 8 == 7 {
            m.down();
            m.up(&[]);
        }
    }
    assert!(most <= 3, "{most} files");
    for _ in 0..10 {
        gc(&m, &["--all"]);
        assert_eq!(packs(&m).len(), 2, "{:?}", packs(&m));
    }
    let d = m.existing("d");
    check(&d, 40, "mounted");
    fs::write("/proc/sys/vm/drop_caches", "3").ok();
    check(&d, 40, "from the disk");
    m.down();
    sound(&m);
    m.up(&[]);
    check(&d, 40, "mounted anew");
    m.down();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    m.up(&[]);
    check(&d, 40, "with a new index");
    assert_eq!(d.versions(), 40);
}

/// A collection without --all joins four packs of a like length, and no fewer.
#[test]
fn packs_of_a_like_length_are_joined_by_fours() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    for n in 0..11 {
        // As many bytes as are sealed by a collection.
        d.write(&format!("f{}", n % 5), noise(n, 80_000));
        m.strata(&["commit", "d"]).ok();
        let said = gc(&m, &[]);
        assert_eq!(said["joined"] == 0, n % 4 != 3, "round {n}: {said}");
        assert_eq!(packs(&m).len() as u64, 1 + (n + 1) / 4 + (n + 1) % 4, "round {n}: {:?}", packs(&m));
    }
    assert_eq!(joined(&m).len(), 2);
    for n in 0..11 {
        assert!(d.bytes(&format!("@v{}/f{}", n + 1, n % 5)) == noise(n, 80_000), "v{}", n + 1);
    }
    assert!(m.strata(&["gc", "--all"]).ok().contains("small packs joined: "));
    assert_eq!(packs(&m).len(), 2);
    m.down();
    sound(&m);
}

/// Small packs are joined by themselves once nothing is written.
#[test]
fn small_packs_are_joined_in_the_background() {
    let m = Mount::unmounted();
    up(&m).ok();
    let d = m.dataset("d");
    for n in 0..12 {
        d.write(&format!("f{}", n % 5), digits(n, 3000));
        // Enough to be sealed.
        d.write("more", digits(100 + n, 70_000));
        m.strata(&["compact"]).ok();
    }
    assert!(packs(&m).len() >= 13, "{:?}", packs(&m));
    poll("the packs are joined", || packs(&m).len() <= 6);
    for n in 0..12 {
        assert!(d.bytes(&format!("@v{}/f{}", 2 * n + 1, n % 5)) == digits(n, 3000));
    }
    m.down();
    sound(&m);
}

/// Programs write, read versions and have files open while packs are joined, things are given back of them, they are
/// verified, pruned and purged.
#[test]
fn joining_goes_on_beside_everything_else() {
    let m = Mount::new();
    m.dataset("d");
    let d = rounds(&m, 8);
    let other = m.dataset("other");
    other.write("secret", noise(77, 50_000));
    fs::remove_file(other.path("secret")).expect("remove");
    let open = File::open(d.path("@v2/f1")).expect("open");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..60 {
                other.write(&format!("f{}", n % 4), noise(n, 30_000));
                if n % 10 == 9 {
                    m.strata(&["prune", "other", "--keep-last", "5"]).ok();
                }
            }
            m.strata(&["purge", "other", "secret", "--reason", "a test"]);
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                check(&d, 8, "meanwhile");
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert!(m.strata(&["verify"]).ok().is_empty());
            }
        });
        while !done.load(Ordering::Acquire) {
            // A purge may be under way.
            m.strata(&["gc", "--all"]);
        }
    });
    let mut part = vec![0; 1000];
    open.read_exact_at(&mut part, 1500).expect("read");
    assert!(part == digits(1, 3000)[1500..2500]);
    drop(open);
    m.strata(&["purge", "other", "secret", "--reason", "a test"]);
    gc(&m, &["--all"]);
    assert_eq!(packs(&m).len(), 2, "{:?}", packs(&m));
    let secret = &noise(77, 50_000)[20_000..20_064];
    for pack in packs(&m) {
        let held = fs::read(pack).expect("read");
        assert!(!held.windows(64).any(|window| window == secret), "what was purged is there");
    }
    check(&d, 8, "afterwards");
    for n in 55..60 {
        assert!(other.bytes(&format!("f{}", n % 4)) == noise(n, 30_000) || n == 55);
    }
    m.down();
    sound(&m);
}

/// A kill at any moment costs nothing, and what it left is cleared away.
#[test]
fn a_kill_while_joining_costs_nothing() {
    let m = Mount::unmounted();
    up(&m).ok();
    m.dataset("d");
    let mut versions = 0;
    for round in 0..10 {
        let d = m.existing("d");
        // Packs that are not joined yet.
        for _ in 0..6 {
            d.write(&format!("f{}", versions % 5), digits(versions, 3000));
            d.write("more", digits(1000 + versions, 70_000));
            m.strata(&["compact"]).ok();
            versions += 1;
        }
        let daemon = m.daemon().expect("runs");
        let mut child = m.command(&["gc", "--all"]).spawn().expect("start");
        thread::sleep(Duration::from_millis(5 + 30 * round));
        kill_process(daemon, Signal::KILL).expect("kill");
        m.gone();
        drop(child.wait());
        up(&m).ok();
        for n in 0..versions {
            assert!(d.bytes(&format!("@v{}/f{}", 2 * n + 1, n % 5)) == digits(n, 3000), "round {round}");
        }
        assert!(packs(&m).iter().all(|path| path.extension().is_some_and(|end| end == "pack")));
        assert!(m.strata(&["verify"]).ok().is_empty());
    }
    assert!(!joined(&m).is_empty(), "some of them came that far");
    m.down();
    sound(&m);
}

/// Where the disk has no room for the joined file, the packs stay as they are, and are joined when there is.
#[test]
fn a_full_disk_leaves_packs_as_they_are() {
    let disk = SmallDisk::new(64);
    let m = Mount::unmounted().store_at(disk.path().join("store"));
    m.up(&[]);
    let d = m.dataset("d");
    for n in 0..3 {
        d.write(&format!("f{n}"), noise(n, 2 << 20));
        m.strata(&["compact"]).ok();
    }
    let before = packs(&m);
    let stat = rustix::fs::statvfs(disk.path()).expect("statvfs");
    let free = usize::try_from(stat.f_bavail * stat.f_frsize).expect("a size");
    fs::write(disk.path().join("ballast"), vec![1; free - (6 << 20)]).expect("fill");
    let said = gc(&m, &["--all"]);
    assert_eq!(said["joined"], 0, "{said}");
    assert_eq!(packs(&m), before);
    let whole =
        |when: &str| (0..3).for_each(|n| assert!(d.bytes(&format!("f{n}")) == noise(n, 2 << 20), "{when}"));
    whole("without room");
    fs::remove_file(disk.path().join("ballast")).expect("free some space");
    assert_eq!(gc(&m, &["--all"])["joined"], 2);
    whole("with room");
    assert_eq!(packs(&m).len(), 2, "{:?}", packs(&m));
    m.down();
    sound(&m);
}

/// A store of the format before opens, and is of the present one once packs are joined: an older release then refuses
/// it, and does not take packs for missing.
#[test]
fn a_store_of_the_older_format_is_taken_along() {
    let m = Mount::new();
    m.dataset("d");
    let d = m.existing("d");
    (0..3).for_each(|n| d.write(&format!("f{n}"), digits(n, 3000)));
    m.down();
    let identity = m.store().join("strata.json");
    let text = fs::read_to_string(&identity).expect("read");
    let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    fs::write(&identity, format!("{{\"format\":7,\"id\":\"{id}\"}}\n")).expect("write");
    m.up(&[]);
    gc(&m, &["--all"]);
    let format = || fs::read_to_string(&identity).expect("read");
    assert!(format().starts_with("{\"format\":7,"), "nothing was joined");
    d.write("f3", digits(3, 3000));
    gc(&m, &["--all"]);
    assert_eq!(joined(&m).len(), 1);
    assert!(format().starts_with("{\"format\":8,"));
    check(&d, 4, "joined");
}

/// Two files that have some of the same packs, as where copies of different times were mixed, are refused by name.
#[test]
fn files_that_share_packs_are_told_of() {
    let m = Mount::new();
    m.dataset("d");
    rounds(&m, 5);
    m.down();
    let [first] = &joined(&m)[..] else { panic!("{:?}", packs(&m)) };
    fs::copy(first, m.store().join("packs/00000003-00000099.pack")).expect("copy");
    let told = m.try_up(&[]).fails(1);
    assert!(told.contains("00000003-00000099.pack") && told.contains("some of the same packs"), "{told}");
    fs::remove_file(m.store().join("packs/00000003-00000099.pack")).expect("remove");
    m.up(&[]);
    check(&m.existing("d"), 5, "again");
}
