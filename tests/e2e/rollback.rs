//! Going back: by copying, and by `strata rollback`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use crate::harness::*;

const MIB: u64 = 1 << 20;

/// A dataset with 8 MiB of files at the version named, then damaged in many ways.
fn damaged(d: &Dataset<'_>, source: &std::path::Path) -> String {
    sample_tree(source, 5, 100);
    fs::write(source.join("large"), noise(6, 6 << 20)).expect("write");
    age(source);
    shell("cp -a \"$1\"/. \"$2\"/", &[source, d.root()]);
    let good = format!("v{}", d.versions());
    let script = "cd \"$1\"; rm -r part-1 empty; echo spoilt > script; mv part-2 moved; echo new > added
        printf x | dd of=large bs=1 seek=3000000 conv=notrunc status=none";
    shell(script, &[d.root()]);
    good
}

/// `cp @vN/f f` brings one file back.
#[test]
fn copying_a_file_back_restores_it() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "good");
    d.write("f", "bad");
    tool("cp", &[d.path("@v1/f"), d.path("f")]);
    assert_eq!((d.text("f").as_str(), d.versions()), ("good", 3));
    assert_eq!(d.newest()["restores"], "v1");
}

/// `cp -a @vN/. .` brings the tree back and stores no new chunk.
#[test]
fn copying_a_tree_back_stores_no_data() {
    let m = Mount::new();
    let d = m.dataset("d");
    let good = damaged(&d, &m.outside());
    let (unique, packs) = (m.unique_bytes(), m.pack_bytes());
    shell("cd \"$1\" && rm -rf moved added && cp -a \"@$2/.\" .", &[d.root().as_os_str(), good.as_ref()]);
    assert_same_tree(d.root(), &m.outside());
    assert_eq!(m.unique_bytes() - unique, 0, "bytes of new chunks");
    let grown = m.pack_bytes() - packs;
    assert!(grown < MIB, "the packs grew {grown} bytes for metadata");
}

/// rsync, which reads and writes bytes, dedups to no new chunk.
#[test]
fn rsync_back_stores_no_data() {
    let m = Mount::new();
    let d = m.dataset("d");
    let good = damaged(&d, &m.outside());
    let unique = m.unique_bytes();
    shell(
        "cd \"$1\" && rsync -aHc --modify-window=-1 --delete \"@$2/\" ./",
        &[d.root().as_os_str(), good.as_ref()],
    );
    assert_same_tree(d.root(), &m.outside());
    assert_eq!(m.unique_bytes() - unique, 0, "bytes of new chunks");
}

/// Plain reading and writing dedups too.
#[test]
fn plain_copies_store_no_data() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(7, 5 << 20));
    let unique = m.unique_bytes();
    let program =
        "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), open(sys.argv[2], 'wb'), 60000)";
    python(program, &[d.path("@v1/f"), d.path("copy")]);
    assert!(d.bytes("copy") == d.bytes("f"));
    assert_eq!(m.unique_bytes() - unique, 0, "bytes of new chunks");
}

/// `strata rollback` is one new version with the old tree; the versions between stay.
#[test]
fn rollback_is_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    let good = damaged(&d, &m.outside());
    let (before, unique) = (d.newest(), m.unique_bytes());
    let bad = facts(d.root());
    let versions = d.versions();
    let said = m.strata(&["rollback", "d", &good]).ok();
    assert!(said.contains(&format!("v{}", versions + 1)), "rollback says which version it made: {said}");
    assert_eq!(d.versions(), versions + 1);
    assert_same_tree(d.root(), &m.outside());
    assert_same_facts(&facts(&d.path("@latest")), &facts(&d.path(&format!("@{good}"))));
    assert_same_facts(&facts(&d.path("@prev")), &bad);
    assert_eq!(d.newest()["restores"].as_str(), Some(good.as_str()));
    assert_eq!(d.log()[1], before, "history is not rewritten");
    assert_eq!(m.unique_bytes(), unique);
    m.strata(&["rollback", "d", &format!("v{versions}")]).ok();
    assert_same_facts(&facts(d.root()), &bad);
}

/// A file that was removed while it was open is again what its handle means once a rollback brings it back.
#[test]
fn a_file_that_is_open_comes_back() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "first");
    let mut open = fs::File::options().read(true).write(true).open(d.path("f")).expect("open");
    fs::remove_file(d.path("f")).expect("unlink");
    assert_eq!(d.versions(), 2);
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!((d.text("f"), d.path("f").metadata().expect("stat").nlink()), ("first".into(), 1));
    open.write_all(b"second").and_then(|()| open.sync_all()).expect("write through the handle of before");
    assert_eq!((d.text("f"), d.text("@latest/f"), d.versions()), ("second".into(), "second".into(), 4));
    drop(open);
    d.write("f", "third");
    assert_eq!((d.text("f"), d.text("@latest/f"), d.versions()), ("third".into(), "third".into(), 5));
}

/// After a rollback the live tree is the old one at once, whatever the kernel had cached: names that
/// came, went or changed, listings, sizes, pages, and files that are open.
#[test]
fn rollback_shows_through_every_cache() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", noise(1, 100_000));
    d.write("dir/goes", "x");
    d.write("kind", "a file");
    let good = format!("v{}", d.versions());
    let old = d.bytes("dir/f");
    d.write("dir/f", "short");
    fs::remove_file(d.path("dir/goes")).expect("unlink");
    d.write("dir/comes", "y");
    fs::remove_file(d.path("kind")).expect("unlink");
    d.mkdir("kind");
    d.mkdir("new");
    d.write("new/deep", "z");
    let mut open = fs::File::open(d.path("dir/f")).expect("open");
    let look = || {
        (
            d.bytes("dir/f"),
            d.list(""),
            d.list("dir"),
            d.has("dir/goes"),
            d.has("dir/comes"),
            d.has("new/deep"),
        )
    };
    drop(look());
    m.strata(&["rollback", "d", &good]).ok();
    let (f, top, dir, goes, comes, deep) = look();
    assert!(f == old, "{} bytes instead of {}", f.len(), old.len());
    assert_eq!(
        (top, dir),
        (vec!["dir".to_owned(), "kind".to_owned()], vec!["f".to_owned(), "goes".to_owned()])
    );
    assert_eq!((goes, comes, deep), (true, false, false));
    assert_eq!(d.text("kind"), "a file");
    let mut through = Vec::new();
    open.read_to_end(&mut through).expect("read through the handle of before");
    assert!(through == old, "an open file shows the old bytes: {} of them", through.len());
    d.write("dir/f", "edited after");
    assert_eq!(
        (d.text("dir/f"), d.text("@latest/dir/f")),
        ("edited after".to_owned(), "edited after".to_owned())
    );
}

/// A rollback keeps, as versions, what was pending before it.
#[test]
fn rollback_seals_first() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("settle=60s");
    d.write("f", "good");
    m.strata(&["commit", "d"]).ok();
    d.write("f", "pending");
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!((d.text("f").as_str(), d.text("@v2/f").as_str()), ("good", "pending"));
}

/// A rollback takes any spelling of a version, survives a kill, and refuses one that is not there.
#[test]
fn rollback_takes_any_version_and_survives() {
    let m = Mount::new();
    let d = m.dataset("d");
    for text in ["1", "2", "3"] {
        d.write("f", text);
    }
    let second = d.log()[1]["snapshot"].as_str().expect("snapshot")[..12].to_owned();
    m.strata(&["rollback", "d", &second]).ok();
    m.kill();
    m.up(&[]);
    assert_eq!((d.text("f").as_str(), d.versions()), ("2", 4));
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!(d.text("f"), "1");
    assert!(m.strata(&["rollback", "d", "v99"]).fails(1).contains("v99"));
    assert!(m.strata(&["rollback", "none", "v1"]).fails(1).contains("none"));
    refused(fs::read(d.path("@v6/f")), Errno::NOENT);
}

/// History goes on after a rollback as after any version, also a rollback of a rollback.
#[test]
fn history_goes_on_after_a_rollback() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "1");
    d.write("b", "2");
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!(d.list(""), ["a"]);
    d.write("c", "4");
    m.strata(&["rollback", "d", "v2"]).ok();
    assert_eq!(d.list(""), ["a", "b"]);
    d.write("d", "6");
    m.strata(&["rollback", "d", "v4"]).ok();
    assert_eq!(d.list(""), ["a", "c"]);
    let listed: Vec<_> = (1..=7).map(|n| d.list(&format!("@v{n}")).concat()).collect();
    assert_eq!(listed, ["a", "ab", "a", "ac", "ab", "abd", "ac"]);
    m.down();
    fs::remove_dir_all(m.store().join("index")).expect("remove the index");
    m.up(&[]);
    let listed: Vec<_> = (1..=7).map(|n| d.list(&format!("@v{n}")).concat()).collect();
    assert_eq!(listed, ["a", "ab", "a", "ac", "ab", "abd", "ac"], "after a rebuild of the index");
}
