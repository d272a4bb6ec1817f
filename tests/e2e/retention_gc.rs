//! Giving space back: collecting what nothing needs, and purging what must not be kept.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::*;

fn gc(m: &Mount) -> Value {
    serde_json::from_str(&m.strata(&["gc", "--all", "--json"]).ok()).expect("JSON")
}

/// What goes with its directory in one version is no less gone than what goes by itself: its space is given back,
/// it can be purged, and the history stays sound; also where a kill comes before the version.
#[test]
fn what_went_with_its_directory_is_gone() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    d.mkdir("c");
    d.mkdir("c/deep");
    m.strata(&["commit", "d"]).ok();
    d.write("c/deep/f", noise(1, 1 << 20));
    d.write("c/deep/secret", "the secret");
    m.strata(&["commit", "d"]).ok();
    shell("rm -r \"$1\"", &[&d.path("c")]);
    m.kill();
    m.up(&[]);
    assert!(d.path("@v2/c/deep/f").exists() && !d.path("c").exists());
    m.strata(&["commit", "d"]).ok();
    m.strata(&["rollback", "d", "v2"]).ok();
    assert_eq!(d.text("c/deep/secret"), "the secret");
    m.strata(&["verify"]).ok();
    shell("rm -r \"$1\"", &[&d.path("c")]);
    m.strata(&["commit", "d"]).ok();
    m.strata(&["purge", "d", "c/deep/secret", "--reason", "a test"]).ok();
    assert!(!holds(&m, b"the secret"));
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert!(gc(&m)["freed"].as_u64().expect("a number") > 1 << 20);
    m.strata(&["verify"]).ok();
}

/// A dataset that is archived and brought back while a collection looks at all of them keeps what it has.
#[test]
fn a_dataset_that_comes_and_goes_keeps_what_it_has() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 100_000));
    fs::remove_file(d.path("f")).expect("remove");
    let others: Vec<_> = (0..8).map(|n| m.dataset(&format!("other{n}"))).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                fs::remove_dir(d.root()).expect("archive it");
                fs::create_dir(d.root()).expect("bring it back");
            }
        });
        for n in 0..30 {
            others.iter().for_each(|other| other.write("f", noise(n, 5000)));
            gc(&m);
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(d.bytes("@v1/f"), noise(1, 100_000));
    m.strata(&["verify"]).ok();
}

/// Whether the packs have these bytes. A pack that went since they were listed has what it had in another: they
/// are listed again.
fn holds(m: &Mount, bytes: &[u8]) -> bool {
    let read = || -> std::io::Result<Vec<Vec<u8>>> {
        fs::read_dir(m.store().join("packs"))?.map(|pack| fs::read(pack?.path())).collect()
    };
    let packs = (0..100).find_map(|_| read().ok()).expect("read the packs");
    packs.iter().any(|held| held.windows(bytes.len()).any(|window| window == bytes))
}

/// What pruned versions alone held is given back, at a place and a time of no matter; everything that is kept is
/// read byte for byte, also with a new index.
#[test]
fn space_of_pruned_versions_is_given_back() {
    let m = Mount::new();
    let d = m.dataset("d");
    let other = m.dataset("other");
    d.write("small", "small");
    for n in 0..8 {
        d.write("f", noise(n, 1 << 20));
    }
    other.write("f", noise(3, 1 << 20));
    m.strata(&["gc", "--dry-run"]).ok();
    assert_eq!(gc(&m)["dead"], 0, "nothing is garbage yet");
    let (before, unique) = (m.pack_bytes(), m.unique_bytes());
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    let told: Value = serde_json::from_str(&m.strata(&["gc", "--dry-run", "--json"]).ok()).expect("JSON");
    assert!(told["dead"].as_u64().expect("a number") > 5 << 20 && told["freed"] == 0, "{told}");
    assert_eq!(m.unique_bytes(), unique, "a dry run changes nothing");
    let told = gc(&m);
    assert!(told["freed"].as_u64().expect("a number") > 5 << 20, "{told}");
    assert!(m.pack_bytes() + (5 << 20) < before + (64 << 10), "{} of {before} left", m.pack_bytes());
    assert!((3 << 20..4 << 20).contains(&m.unique_bytes()), "{}", m.unique_bytes());
    assert_eq!(gc(&m)["dead"], 0, "a second one finds nothing");
    let check = |when: &str| {
        assert_eq!(d.bytes("@v8/f"), noise(6, 1 << 20), "{when}");
        assert_eq!((d.bytes("f"), d.text("@v8/small")), (noise(7, 1 << 20), "small".into()), "{when}");
        assert_eq!(other.bytes("f"), noise(3, 1 << 20), "what others have stays: {when}");
        m.strata(&["verify"]).ok();
    };
    check("at once");
    // What was given back is stored again when it comes again.
    d.write("back", noise(1, 1 << 20));
    assert_eq!(d.bytes("back"), noise(1, 1 << 20));
    m.kill();
    m.up(&[]);
    check("after a kill");
    assert_eq!(d.bytes("back"), noise(1, 1 << 20));
    m.down();
    m.strata(&["fsck"]).ok();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    m.up(&[]);
    check("with a new index");
    assert_eq!(d.bytes("@latest/back"), noise(1, 1 << 20));
    assert_eq!(gc(&m)["dead"], 0);
    m.strata(&["compact", "--best"]).ok();
    check("compressed");
}

/// In a history of all kinds of changes with rollbacks, prunes and collections, every version that is kept stays
/// what it was, and what is dropped goes.
#[test]
fn versions_that_are_kept_survive_every_prune_and_collection() {
    for seed in 0..3u64 {
        let m = Mount::new();
        let d = m.dataset("d");
        d.mkdir("a");
        d.mkdir("b");
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let tree = |root: &str| {
            let mut found = Vec::new();
            let mut dirs = vec![d.path(root)];
            while let Some(dir) = dirs.pop() {
                for entry in fs::read_dir(&dir).expect("list").flatten() {
                    match entry.file_type().expect("a kind").is_dir() {
                        true => dirs.push(entry.path()),
                        false => {
                            let path = entry.path();
                            let name = path.strip_prefix(d.path(root)).expect("below").to_owned();
                            found.push((name, fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))));
                        }
                    }
                }
            }
            found.sort();
            found
        };
        let mut states = std::collections::BTreeMap::new();
        for round in 0..60 {
            let name = |n: u64| format!("{}/f{}", ["a", "b"][n as usize % 2], n / 2);
            let (x, y) = (name(random(8)), name(random(8)));
            match random(10) {
                0..4 => d.write(&x, noise(random(12), 3000 + random(200_000) as usize)),
                4 => drop(fs::remove_file(d.path(&x))),
                5 => drop(fs::rename(d.path(&x), d.path(&y))),
                6 => drop(fs::hard_link(d.path(&x), d.path(&y))),
                7 => drop(fs::copy(d.path(&x), d.path(&y))),
                8 => drop(
                    fs::rename(d.path("a"), d.path("a2"))
                        .and_then(|()| fs::rename(d.path("a2"), d.path("a"))),
                ),
                _ => {
                    let kept: Vec<u64> = states.keys().copied().collect();
                    if let Some(to) = kept.get(random(kept.len().max(1) as u64) as usize) {
                        m.strata(&["rollback", "d", &format!("v{to}")]).ok();
                    }
                }
            }
            let newest = d.versions();
            states.insert(newest, tree(&format!("@v{newest}")));
            if round % 12 == 11 {
                for pin in 0..2 {
                    let kept: Vec<u64> = states.keys().copied().collect();
                    m.strata(&[
                        "pin",
                        &format!("d@v{}", kept[random(kept.len() as u64) as usize]),
                        "-m",
                        &pin.to_string(),
                    ])
                    .ok();
                }
                m.strata(&["prune", "d", "--keep-last", &(1 + random(5)).to_string()]).ok();
                match random(3) {
                    0 => drop(gc(&m)),
                    _ => drop(m.strata(&["gc"]).ok()),
                }
                if random(3) == 0 {
                    m.kill();
                    m.up(&[]);
                }
                let log = d.log();
                let is_kept =
                    |v: u64| log.iter().any(|e| e["version"] == format!("v{v}") && e["pruned"].is_null());
                states.retain(|v, _| is_kept(*v));
                for (version, state) in &states {
                    assert_eq!(
                        &tree(&format!("@v{version}")),
                        state,
                        "v{version}, seed {seed}, round {round}"
                    );
                }
                m.strata(&["verify"]).ok();
            }
        }
        m.down();
        m.strata(&["fsck", "--rebuild-index"]).ok();
        m.up(&[]);
        for (version, state) in &states {
            assert_eq!(&tree(&format!("@v{version}")), state, "v{version} with a new index, seed {seed}");
        }
        gc(&m);
        assert_eq!(gc(&m)["dead"], 0);
        let kept: std::collections::BTreeSet<&[u8]> =
            states.values().flatten().map(|(_, bytes)| bytes.as_slice()).collect();
        let most: usize = kept.iter().map(|bytes| bytes.len()).sum::<usize>();
        assert!(m.unique_bytes() <= most as u64, "{} bytes for {most}", m.unique_bytes());
    }
}

/// A history of very many values is gone through only where as much may be gained by it.
#[test]
fn a_long_history_is_not_gone_through_for_little() {
    let m = Mount::new();
    let d = m.dataset("d");
    let collect = || -> Value { serde_json::from_str(&m.strata(&["gc", "--json"]).ok()).expect("JSON") };
    // 3,000 values, for which there must be 48,000 bytes to gain.
    (0..3000).for_each(|n| fs::write(m.outside().join(n.to_string()), n.to_string()).expect("write"));
    m.strata(&["import", m.outside().to_str().expect("UTF-8"), "many"]).ok();
    assert_eq!(collect()["dead"], 0, "the first looks at all");
    let give_up = |name: &str, size: usize| {
        d.write(name, noise(size as u64, size));
        d.write(&format!("beside {name}"), noise(1 + size as u64, 60_000));
        fs::remove_file(d.path(name)).expect("remove");
        m.strata(&["prune", "d", "--keep-last", "1"]).ok();
        collect()
    };
    let told = give_up("first", 40_000);
    let unsure = told["unsure"].as_u64().expect("a number");
    assert!(told["packs"] == 0 && (40_000..45_000).contains(&unsure), "two fifths of a pack: {told}");
    let told = give_up("second", 41_000);
    assert!(told["freed"].as_u64().expect("a number") > 80_000 && told["unsure"] == 0, "together: {told}");
    assert_eq!(collect()["dead"], 0);
    m.strata(&["verify"]).ok();
    for (name, seed) in [("beside first", 40_001), ("beside second", 41_001)] {
        assert_eq!(d.bytes(name), noise(seed, 60_000));
    }
}

/// After the first, a collection looks only for what was written or given up since, and only once a pack has enough
/// that may be garbage; what it left open is not forgotten, whatever comes between.
#[test]
fn a_collection_looks_for_what_may_be_garbage_alone() {
    let m = Mount::new();
    let d = m.dataset("d");
    let collect = |what: &[&str]| -> Value {
        let told = m.strata(&[&["gc", "--json"], what].concat()).ok();
        serde_json::from_str(&told).expect("JSON")
    };
    let number = |told: &Value, what: &str| told[what].as_u64().expect("a number");
    (0..16).for_each(|n| d.write(&format!("f{n}"), noise(n, 200_000)));
    let told = collect(&[]);
    assert!(number(&told, "packs") > 0 && told["dead"] == 0, "the first looks at all: {told}");
    let told = collect(&[]);
    assert_eq!((&told["packs"], &told["unsure"]), (&0.into(), &0.into()), "nothing happened: {told}");
    // The same content in another dataset, and at another name: needed, though not by what had it first.
    m.dataset("other").write("same", noise(0, 200_000));
    fs::rename(d.path("f1"), d.path("moved")).expect("rename");
    d.write("f0", "short");
    d.write("f2", "short");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    let told = collect(&[]);
    assert_eq!((&told["packs"], &told["freed"]), (&0.into(), &0.into()), "too little: {told}");
    assert!((400_000..450_000).contains(&number(&told, "unsure")), "f0, which is needed, and f2: {told}");
    let text = m.strata(&["gc"]).ok();
    assert!(text.starts_with("nothing given back: at most ") && text.contains("--all"), "{text}");
    let dry = collect(&["--dry-run"]);
    assert!((200_000..220_000).contains(&number(&dry, "dead")), "a dry run tells exactly: {dry}");
    m.kill();
    m.up(&[]);
    for n in 3..7 {
        d.write(&format!("f{n}"), "short");
    }
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    let told = collect(&[]);
    assert!((1_000_000..1_100_000).contains(&number(&told, "freed")), "with what was left open: {told}");
    let check = || {
        (7..16).for_each(|n| assert_eq!(d.bytes(&format!("f{n}")), noise(n, 200_000)));
        assert_eq!(d.bytes("moved"), noise(1, 200_000));
        assert_eq!(fs::read(m.point().join("other/same")).expect("read"), noise(0, 200_000));
        m.strata(&["verify"]).ok();
    };
    check();
    let told = gc(&m);
    assert_eq!(told["dead"], 0, "a look at all finds no more: {told}");
    // What is told of the last collection is no more than a help.
    for damaged in [&b"nonsense"[..], b""] {
        d.write("f7", noise(100, 1_000_000));
        d.write("f7", noise(7, 200_000));
        m.strata(&["prune", "d", "--keep-last", "1"]).ok();
        fs::write(m.store().join("collected"), damaged).expect("write");
        let told = collect(&[]);
        assert!(number(&told, "freed") > 1_000_000, "{told}");
        check();
    }
    m.down();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    m.up(&[]);
    let told = collect(&[]);
    assert_eq!((&told["packs"], &told["unsure"]), (&0.into(), &0.into()), "with a new index: {told}");
    check();
}

/// A kill at any moment of a collection costs nothing.
#[test]
fn a_kill_while_collecting_costs_nothing() {
    let m = Mount::new();
    let d = m.dataset("d");
    for round in 0..5u64 {
        for n in 0..12 {
            d.write(&format!("f{}", n % 3), noise(round * 100 + n, 700_000));
        }
        let newest = d.versions();
        m.strata(&["prune", "d", "--keep-last", "2"]).ok();
        let daemon = m.daemon().expect("runs");
        let mut child = m.command(&["gc", "--all"]).spawn().expect("start");
        thread::sleep(std::time::Duration::from_millis(round * 7));
        kill_process(daemon, Signal::KILL).expect("kill");
        m.gone();
        drop(child.wait());
        m.up(&[]);
        for n in 9..12 {
            assert_eq!(d.bytes(&format!("f{}", n % 3)), noise(round * 100 + n, 700_000), "round {round}");
        }
        assert_eq!(d.bytes(&format!("@v{}/f1", newest - 1)), noise(round * 100 + 10, 700_000));
        m.strata(&["verify"]).ok();
        // What was just given up is put again: it must not be found where it no longer is.
        d.write("again", noise(round * 100, 700_000));
        gc(&m);
        assert_eq!(d.bytes("again"), noise(round * 100, 700_000));
    }
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    gc(&m);
    assert!(m.unique_bytes() < 4 * 720_000, "{}", m.unique_bytes());
    m.strata(&["verify"]).ok();
}

/// Writers that put back what is being collected at that moment lose nothing.
#[test]
fn collecting_goes_on_beside_writers() {
    let m = Mount::new();
    let d = m.dataset("d");
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2u64)
            .map(|w| {
                let d = &d;
                scope.spawn(move || {
                    for n in 0..60 {
                        d.write(&format!("w{w}"), noise(n % 4, 150_000));
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            m.strata(&["prune", "d", "--keep-last", "1"]).ok();
            gc(&m);
        }
    });
    for w in 0..2 {
        assert_eq!(d.bytes(&format!("w{w}")), noise(59 % 4, 150_000));
    }
    m.strata(&["verify"]).ok();
    m.kill();
    m.up(&[]);
    m.strata(&["verify"]).ok();
}

/// Changes that no version holds yet, and files being written, keep their content.
#[test]
fn what_no_version_holds_yet_is_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    let old = noise(1, 900_000);
    d.write("old", &old);
    d.policy("manual");
    let mut open = fs::File::create(d.path("open")).expect("create");
    std::io::Write::write_all(&mut open, &noise(2, 5 << 20)).expect("write");
    let copy = fs::File::create(d.path("copy")).expect("create");
    let source = fs::File::open(d.path("@v1/old")).expect("open");
    let mut done = 0;
    while done < old.len() {
        done += rustix::fs::copy_file_range(&source, None, &copy, None, old.len() - done).expect("copy");
    }
    drop(source);
    fs::remove_file(d.path("old")).expect("remove");
    d.write("pending", noise(3, 400_000));
    m.strata(&["commit", "d"]).ok();
    d.write("pending", noise(4, 400_000));
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    gc(&m);
    drop((open, copy));
    m.kill();
    m.up(&[]);
    assert_eq!(d.bytes("pending"), noise(4, 400_000));
    m.strata(&["commit", "d"]).ok();
    m.strata(&["verify"]).ok();
}

/// A purge takes content off the disk at once, leaves a tombstone, and is no damage; what others have stays.
#[test]
fn a_purge_removes_content_from_the_disk() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (secret, shared) = (noise(1, 500_000), noise(2, 300_000));
    d.mkdir("dir");
    d.write("dir/secret", &secret);
    d.write("keep", &shared);
    d.write("dir/secret", &shared);
    d.write("dir/secret", "short secret that is nowhere else");
    let sample = &secret[100_000..100_064];
    assert!(holds(&m, sample));
    assert!(
        m.strata(&["purge", "d", "dir/secret", "--reason", "law"])
            .fails(1)
            .contains("still has this content")
    );
    fs::remove_file(d.path("dir/secret")).expect("remove");
    assert!(
        m.strata(&["purge", "d", "dir/secret", "--reason", "law"]).fails(1).contains("keep"),
        "a copy is live"
    );
    fs::remove_file(d.path("keep")).expect("remove");
    m.dataset("other").write("copy", &shared);
    m.strata(&["tag", "d@v2", "old"]).ok();
    // The kernel has it in its cache, by two names.
    assert_eq!((d.bytes("@v2/dir/secret"), d.bytes("@old/dir/secret")), (secret.clone(), secret.clone()));
    assert_eq!(m.strata(&["purge", "d", "--list"]).ok(), "");
    m.strata(&["purge", "d", "dir/secret"]).fails(2);
    m.strata(&["purge", "d", "dir/secret", "--reason", " "]).fails(2);
    assert!(m.strata(&["purge", "d", "nothing", "--reason", "law"]).fails(1).contains("never").eq(&false));
    let ran = m.strata(&["purge", "d", "dir/secret", "--reason", "consent withdrawn", "--json"]);
    let told: Value = serde_json::from_str(&ran.text()).expect("JSON");
    assert!(ran.fails(1).contains("other/copy"), "the other file has one of its contents");
    assert_eq!(told["bytes"], 500_033);
    assert!(told["shared"].as_u64().expect("a number") > 0, "{told}");
    let check = |when: &str| {
        assert!(!holds(&m, sample) && !holds(&m, b"short secret that"), "{when}");
        refused(fs::read(d.path("@v2/dir/secret")), Errno::IO);
        assert_eq!(fs::metadata(d.path("@v2/dir/secret")).expect("stat").len(), 500_000, "{when}");
        assert_eq!(d.bytes("@v3/keep"), shared, "{when}");
        let told = m.strata(&["purge", "d", "--list", "--json"]).ok();
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&told["path"], &told["reason"]), (&"dir/secret".into(), &"consent withdrawn".into()));
        assert!(told.get("path_bytes").is_none(), "{told}");
        let patch = m.strata(&["diff", "-p", "d@v2", "d", "dir/secret"]).fails(1);
        assert!(patch.contains("cannot read d@v2/dir/secret: "), "{patch}");
        assert!(told["uid"].is_u64() && told["command"].as_str().expect("text").contains("purge"), "{told}");
        m.strata(&["verify"]).ok();
    };
    check("at once");
    gc(&m);
    m.kill();
    m.up(&[]);
    check("after a kill");
    m.down();
    m.strata(&["fsck"]).ok();
    m.strata(&["fsck", "--rebuild-index"]).ok();
    m.up(&[]);
    check("with a new index");
    d.write("dir/secret", &secret);
    assert_eq!(d.bytes("dir/secret"), secret, "it can be stored again");
    assert_eq!(d.bytes("@v2/dir/secret"), secret);
}

/// A purge works after collections too, which took the manifests of what only pruned versions had; what is left
/// of the content as garbage goes with it.
#[test]
fn a_purge_after_a_collection_removes_what_is_left() {
    let m = Mount::new();
    let d = m.dataset("d");
    let secret = noise(1, 3_000_000);
    d.write("large", noise(2, 6_000_000));
    d.write("secret", &secret);
    d.write("large", noise(3, 6_000_000));
    fs::remove_file(d.path("secret")).expect("remove");
    d.write("short", "only here");
    fs::remove_file(d.path("short")).expect("remove");
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    m.strata(&["gc"]).ok();
    m.strata(&["purge", "d", "short", "--reason", "law"]).ok();
    m.strata(&["purge", "d", "secret", "--reason", "law"]).ok();
    assert!(!holds(&m, b"only here"));
    assert!((0..46).all(|n| !holds(&m, &secret[n * 64_000..][..64])));
    m.strata(&["verify"]).ok();
    assert_eq!(d.bytes("large"), noise(3, 6_000_000));
}

/// A purge tells the path of what it removed whatever bytes that has, also once the store is opened anew.
#[test]
fn a_purge_of_an_odd_name_is_told() {
    let m = Mount::new();
    let d = m.dataset("d");
    let paths = [&b"odd\xff"[..], b"\"quoted\""].map(OsStr::from_bytes);
    for path in paths {
        fs::write(d.root().join(path), path.as_bytes()).expect("write");
        fs::remove_file(d.root().join(path)).expect("remove");
        run(m.command(&["purge", "d", "--reason", "law"]).arg(path)).ok();
    }
    for when in ["at once", "with a new daemon"] {
        let text = m.strata(&["purge", "d", "--list", "--json"]).ok();
        let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(
            (&told[0]["path"], &told[0]["path_bytes"]),
            (&"odd\u{fffd}".into(), &"6f6464ff".into()),
            "{when}"
        );
        assert_eq!((&told[1]["path"], told[1].get("path_bytes")), (&"\"quoted\"".into(), None), "{when}");
        m.down();
        m.up(&[]);
    }
}
