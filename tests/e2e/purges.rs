//! Purged content: naming it, and bringing back what had it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::*;

/// The id of a content, as `strata hash` prints it.
fn content_id(m: &Mount, bytes: &[u8]) -> String {
    let file = m.outside().join("hashed");
    fs::write(&file, bytes).expect("write");
    let told = m.strata(&["hash", file.to_str().expect("a path")]).ok();
    told.split_whitespace().next().expect("an id").to_owned()
}

/// A content is purged by its id too, or by how that begins; what is no id of it, or that of live content, is
/// refused. A path wins.
#[test]
fn a_purge_takes_the_id_of_a_content() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (secret, kept) = (noise(1, 500_000), noise(2, 400_000));
    let id = content_id(&m, &secret);
    d.write("f", &secret);
    d.write("f", &kept);
    d.write("moved", &secret);
    let purge = |what: &str| m.strata(&["purge", "d", what, "--reason", "law", "--json"]);
    assert!(purge(&id).fails(1).contains("moved"), "it is live");
    fs::remove_file(d.path("moved")).expect("remove");
    d.mkdir("dir");
    assert!(purge("dir").fails(1).contains("no version of d ever had a file with bytes at or below dir"));
    assert!(purge("0000000000").fails(1).contains("nor one whose content has this id"));
    for no_id in [&id[..7], &format!("{id}0")] {
        let failed = purge(no_id).fails(1);
        assert!(failed.contains("ever had a file or directory") && !failed.contains("this id"), "{failed}");
    }
    d.write(&id[..12], "a file with this name");
    fs::remove_file(d.path(&id[..12])).expect("remove");
    let told: Value = serde_json::from_str(&purge(&id[..12]).ok()).expect("JSON");
    assert_eq!((&told["path"], &told["bytes"]), (&Value::from(&id[..12]), &Value::from(21)), "the path wins");
    assert_eq!(d.bytes("@v1/f"), secret);
    let told: Value = serde_json::from_str(&purge(&id[..10].to_uppercase()).ok()).expect("JSON");
    assert_eq!((&told["path"], &told["bytes"]), (&Value::from(id), &Value::from(500_000)));
    refused(fs::read(d.path("@v1/f")), Errno::IO);
    refused(fs::read(d.path("@v3/moved")), Errno::IO);
    assert_eq!((d.bytes("@v2/f"), d.bytes("f")), (kept.clone(), kept));
    let ran = m.strata(&["verify"]);
    assert!(ran.stderr.ends_with(": no damage; 2 purges removed content for good\n"), "{}", ran.stderr);
    let told: Value = serde_json::from_str(&m.strata(&["verify", "--json"]).ok()).expect("JSON");
    assert_eq!((&told["purges"], &told["damages"]), (&Value::from(2), &serde_json::json!([])));
}

/// A mount of a version takes no purge: what the kernel reads by itself there would stay.
#[test]
fn a_purge_is_refused_beside_a_mount_of_a_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "secret");
    fs::remove_file(d.path("f")).expect("remove");
    m.down();
    for options in [&["--dataset", "d", "--at", "v1"][..], &["--read-only"]] {
        m.up(options);
        let told = m.strata(&["purge", "d", "f", "--reason", "law"]).fails(1);
        assert!(told.contains("mounted read-only") && told.contains("--at"), "{told}");
        m.down();
    }
    m.strata(&["purge", "d", "f", "--reason", "law"]).ok();
}

/// Two files in a directory, of which one has another name outside of it.
fn faces(d: &Dataset<'_>) {
    d.mkdir("faces");
    d.write("faces/7", noise(1, 300_000));
    d.write("faces/8", noise(2, 300_000));
    fs::hard_link(d.path("faces/7"), d.path("seven")).expect("link");
}

/// A rollback to a version with purged files names them and changes nothing; with --skip-purged all else comes
/// back, in a version that has none of them. A checkout of it is refused, and reading is logged.
#[test]
fn a_rollback_onto_purged_content_is_refused_or_leaves_it_out() {
    let m = Mount::new();
    let d = m.dataset("d");
    faces(&d);
    let target = format!("v{}", d.versions());
    let pointer = m.outside().join("p.strata");
    m.strata(&["pointer", &format!("d@{target}"), "-o", pointer.to_str().expect("a path")]).ok();
    fs::remove_dir_all(d.path("faces")).expect("remove");
    fs::remove_file(d.path("seven")).expect("remove");
    d.write("now", "here");
    m.strata(&["purge", "d", "faces/7", "--reason", "consent withdrawn"]).ok();
    d.policy("manual");
    d.write("pending", "not in a version yet");
    let before = (d.versions(), fs::read_dir(d.root()).expect("list").count());
    let failed = m.strata(&["rollback", "d", &target]).fails(1);
    for part in ["faces/7", "seven", "was purged", "nothing was changed", "--skip-purged"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert!(!failed.contains("faces/8"), "{failed}");
    assert_eq!((d.versions(), fs::read_dir(d.root()).expect("list").count()), before);
    let failed = m.strata(&[
        "checkout",
        pointer.to_str().expect("a path"),
        m.outside().join("out").to_str().expect("a path"),
    ]);
    assert!(failed.fails(1).contains("faces/7"));
    refused(fs::read(d.path(&format!("@{target}/faces/7"))), Errno::IO);
    let log = fs::read_to_string(m.store().join("daemon.log")).expect("the log");
    assert!(log.contains("which was purged"), "{log}");
    let told = m.strata(&["rollback", "d", &target, "--skip-purged", "--json"]).ok();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let mut left_out: Vec<&str> =
        told["left_out"].as_array().expect("paths").iter().filter_map(Value::as_str).collect();
    left_out.sort_unstable();
    assert_eq!((left_out, told["restores"].as_str()), (vec!["faces/7", "seven"], Some(target.as_str())));
    let check = |when: &str| {
        assert_eq!((d.list(""), d.list("faces")), (vec!["faces".to_owned()], vec!["8".to_owned()]), "{when}");
        assert_eq!(d.bytes("faces/8"), noise(2, 300_000), "{when}");
        m.strata(&["verify"]).ok();
    };
    check("at once");
    m.kill();
    m.up(&[]);
    check("after a kill");
    // Back to what was, and what was pending is there.
    let newest = d.versions();
    m.strata(&["rollback", "d", &format!("v{}", newest - 2)]).ok();
    assert_eq!(d.text("pending"), "not in a version yet");
}

/// An export of a version with purged files names them and writes nothing; with --skip-purged it has all else, its
/// checksums hold, and it says in its header that it is not the whole snapshot.
#[test]
fn an_export_of_purged_content_is_refused_or_leaves_it_out() {
    let m = Mount::new();
    let d = m.dataset("d");
    faces(&d);
    fs::remove_file(d.path("faces/7")).expect("remove");
    let target = format!("d@v{}", d.versions());
    fs::remove_file(d.path("seven")).expect("remove");
    m.strata(&["purge", "d", "seven", "--reason", "consent withdrawn"]).ok();
    let (tar, dir) = (m.outside().join("out.tar"), m.outside().join("out"));
    let (tar, dir) = (tar.to_str().expect("a path"), dir.to_str().expect("a path"));
    let failed = m.strata(&["export", &target, tar]).fails(1);
    for part in ["seven", "was purged", "--skip-purged"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert!(!m.outside().join("out.tar").exists());
    let told = m.strata(&["export", "--skip-purged", "--json", &target, tar]).ok();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["purged"], &told["files"]), (&serde_json::json!(["seven"]), &serde_json::json!(1)));
    fs::create_dir(dir).expect("mkdir");
    tool("tar", &["-xf", tar, "-C", dir]);
    assert_eq!(tool("sh", &["-c", "cd \"$0\" && sha256sum -c SHA256SUMS", dir]), "faces/8: OK\n");
    assert_eq!(fs::read(m.outside().join("out/faces/8")).expect("read"), noise(2, 300_000));
    assert!(!m.outside().join("out/seven").exists());
    let header = fs::read(tar).expect("read");
    let says = b"without what was purged, sums in SHA256SUMS";
    assert!(header[..2048].windows(says.len()).any(|part| part == says), "not the whole snapshot, and said");
    let piped = m.strata(&["export", "--skip-purged", &target, "-"]);
    assert!(piped.stderr.contains("left out, as it was purged: seven"), "{}", piped.stderr);
    m.strata(&["import", tar, "again"]).ok();
    assert_eq!(m.existing("again").list(""), ["faces"], "the checksums are no file of the dataset");
    let whole = m.strata(&["export", "--skip-purged", "again", "-"]);
    assert_eq!((whole.stderr.as_str(), whole.code), ("", Some(0)), "nothing to leave out");
}

/// Where the record of a prune is damaged, what it pruned shows again: verify says so and what it means, before
/// fsck and after, and reading what a collection took says that.
#[test]
fn a_damaged_record_of_a_prune_is_told_of() {
    let m = Mount::new();
    let d = m.dataset("d");
    (1..=6).for_each(|n| d.write("f", noise(n, 100_000)));
    m.strata(&["prune", "d", "--keep-last", "2", "-m", "the spring cleaning"]).ok();
    m.strata(&["gc", "--all"]).ok();
    m.strata(&["pin", "d@v6"]).ok();
    m.down();
    damage(&m, b"the spring cleaning");
    let check = |when: &str| {
        let ran = m.strata(&["verify"]);
        let told = ran.text();
        assert_eq!(ran.code, Some(3), "{when}: {told}");
        assert!(
            told.contains("a record of what is kept is lost: versions that it pruned show again"),
            "{when}: {told}"
        );
        assert!(
            told.contains("it was reclaimed, since no version that was kept needed it"),
            "{when}: {told}"
        );
        let failed = m.strata(&["cat", "d@v1/f"]).fails(1);
        assert!(
            failed.contains("was reclaimed since no version that was kept needed it"),
            "{when}: {failed}"
        );
    };
    check("as it is");
    let ran = m.strata(&["fsck"]);
    assert_eq!(ran.code, Some(3), "{}", ran.text());
    assert!(!ran.text().contains("index failed"), "it knows what was reclaimed: {}", ran.text());
    check("after fsck");
    m.strata(&["fsck", "--rebuild-index"]);
    check("with a new index");
    m.up(&[]);
    refused(fs::read(d.path("@v1/f")), Errno::IO);
    // What else was in the damaged frame is lost too; the rest goes on.
    d.write("f", "goes on");
}

/// A purge whose daemon is killed is either not begun, or finished by the next mount.
#[test]
fn a_purge_that_is_killed_is_finished() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("kept", noise(1, 3 << 20));
    let mut begun = 0;
    for round in 0..16u64 {
        let secret = noise(100 + round, 200_000);
        let name = format!("secret{round}");
        d.write(&name, &secret);
        let version = d.versions();
        fs::remove_file(d.path(&name)).expect("remove");
        let daemon = m.daemon().expect("runs");
        let mut child = m.command(&["purge", "d", &name, "--reason", "a test"]).spawn().expect("start");
        sleep(Duration::from_millis(round * 4));
        kill_process(daemon, Signal::KILL).expect("kill");
        m.gone();
        drop(child.wait());
        m.up(&[]);
        match m.strata(&["purge", "d", "--list"]).ok().contains(&name) {
            true => {
                begun += 1;
                poll("its bytes are removed", || !in_packs(&m, &secret[..64]));
                refused(fs::read(d.path(&format!("@v{version}/{name}"))), Errno::IO);
            }
            false => assert_eq!(d.bytes(&format!("@v{version}/{name}")), secret, "round {round}"),
        }
        poll("nothing is left to be finished", || m.strata(&["status"]).code == Some(0));
        m.strata(&["verify"]).ok();
    }
    assert_eq!(d.bytes("kept"), noise(1, 3 << 20));
    assert!(begun > 0, "no purge was begun in time");
}

/// Whether packs have these bytes.
fn in_packs(m: &Mount, bytes: &[u8]) -> bool {
    let packs = fs::read_dir(m.store().join("packs")).expect("list").flatten();
    // One may be rewritten meanwhile.
    packs
        .filter_map(|pack| fs::read(pack.path()).ok())
        .any(|held| held.windows(bytes.len()).any(|part| part == bytes))
}

/// Where the record of a pin is damaged, nothing is pruned, neither by hand nor by the daemon, until somebody says that
/// all pins are known.
#[test]
fn a_lost_pin_keeps_everything() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "pinned");
    m.strata(&["set", "d", "retention=keep-last=1,every=1s"]).ok();
    m.strata(&["pin", "d@v1", "-m", "the paper has this"]).ok();
    // Said before it was lost: it makes up for nothing.
    m.strata(&["set", "d", "retention=keep-last=1,every=1s"]).ok();
    m.down();
    damage(&m, b"the paper has this");
    m.up(&[]);
    d.write("f", "another");
    let log = || fs::read_to_string(m.store().join("daemon.log")).expect("the log");
    let is_refused = || log().contains("with it perhaps pins: nothing was pruned");
    poll("the daemon prunes nothing", is_refused);
    let status = m.strata(&["status"]);
    assert!(status.text().contains("is lost, and with it perhaps pins"), "{}", status.text());
    assert_eq!(status.code, Some(1));
    let refused = m.strata(&["prune", "d", "--keep-last", "1"]).fails(1);
    assert!(
        refused.contains("nothing was pruned") && refused.contains("strata set d retention="),
        "{refused}"
    );
    assert_eq!(d.text("@v1/f"), "pinned");
    m.strata(&["pin", "d@v1"]).ok();
    m.strata(&["set", "d", "retention=none"]).ok();
    m.down();
    m.up(&[]);
    d.write("f", "a third");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert!(d.has("@v1") && !d.has("@v2"));
    m.strata(&["status"]).ok();
}

/// Writes over the only place in the packs that has these bytes.
fn damage(m: &Mount, what: &[u8]) {
    let packs = fs::read_dir(m.store().join("packs")).expect("packs");
    let paths: Vec<PathBuf> = packs.map(|entry| entry.expect("entry").path()).collect();
    let mut found = 0;
    for path in paths {
        let mut bytes = fs::read(&path).expect("a pack");
        if let Some(at) = bytes.windows(what.len()).position(|part| part == what) {
            bytes[at..at + what.len()].fill(b'x');
            fs::write(&path, bytes).expect("write");
            found += 1;
        }
    }
    assert_eq!(found, 1, "packs that have it");
}

/// A purge that removes nothing does not say that it did.
#[test]
fn a_purge_of_what_is_in_use_or_gone_says_so() {
    let m = Mount::new();
    let (d, other) = (m.dataset("d"), m.dataset("other"));
    for name in ["open", "shared"] {
        d.write(name, noise(name.len() as u64, 50_000));
    }
    other.write("copy", noise(6, 50_000));
    let open = fs::File::open(d.path("open")).expect("open");
    fs::remove_file(d.path("open")).expect("remove");
    fs::remove_file(d.path("shared")).expect("remove");
    let purge = |what: &str| m.strata(&["purge", "d", what, "--reason", "law"]);
    for name in ["open", "shared"] {
        assert!(purge(name).fails(1).contains("in use"), "{name}");
    }
    assert_eq!(m.strata(&["purge", "d", "--list"]).ok(), "");
    drop(open);
    poll("it is closed", || purge("open").code == Some(0));
    assert!(purge("open").ok().contains("nothing of it is left"));
    assert_eq!(m.strata(&["purge", "d", "--list"]).ok().lines().count(), 1);
}
