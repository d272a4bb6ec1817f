//! Snapshot ids: the content of a tree and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::harness::*;

#[track_caller]
fn hash(m: &Mount, dir: &Path) -> String {
    let said = m.strata(&["hash", dir.to_str().expect("path")]).ok();
    let (id, path) = said.trim_end().split_once("  ").expect("id, two spaces, path");
    assert_eq!(path, dir.to_str().expect("path"));
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    id.to_owned()
}

/// The same data copied in another order, into another store, has the same snapshot id, which is
/// what `strata hash` says of the source.
#[test]
fn the_id_depends_on_content_alone() {
    let (m, n) = (Mount::new(), Mount::new());
    let source = m.outside();
    sample_tree(&source, 7, 80);
    fs::write(source.join("large"), noise(8, 3 << 20)).expect("write");
    let (a, b) = (m.dataset("a"), n.dataset("b"));
    shell("cp -a \"$1\"/. \"$2\"/", &[source.as_path(), a.root()]);
    let script =
        "cd \"$1\"; find . -mindepth 1 -type d | sort -r | while read -r d; do mkdir -p \"$2/$d\"; done
        find . ! -type d | sort -r | while read -r f; do cp -P \"$f\" \"$2/$f\"; done";
    shell(script, &[source.as_path(), b.root()]);
    b.write("empty dir/extra", "added");
    fs::remove_file(b.path("empty dir/extra")).expect("and removed");
    let wanted = hash(&m, &source);
    assert_eq!((a.snapshot(), b.snapshot()), (wanted.clone(), wanted.clone()));
    assert_eq!(hash(&m, a.root()), wanted, "the mount is an ordinary directory too");
}

/// Names, kinds, the executable bit, symlink targets and content are in the id.
#[test]
fn the_id_covers_names_kinds_targets_and_content() {
    let m = Mount::unmounted();
    let dir = m.outside();
    sample_tree(&dir, 9, 10);
    let mut ids = vec![hash(&m, &dir)];
    let mut changed = |what: &str, change: &dyn Fn()| {
        change();
        let id = hash(&m, &dir);
        assert!(!ids.contains(&id), "{what} changes the id");
        ids.push(id);
    };
    let mode = |mode| fs::Permissions::from_mode(mode);
    changed("a byte", &|| fs::write(dir.join("empty"), "1").expect("write"));
    changed("a name", &|| fs::rename(dir.join("empty"), dir.join("full")).expect("rename"));
    changed("an empty directory", &|| fs::create_dir(dir.join("x")).expect("mkdir"));
    changed("a kind", &|| {
        fs::remove_dir(dir.join("x")).expect("rmdir");
        fs::write(dir.join("x"), "").expect("write");
    });
    changed("an executable bit", &|| fs::set_permissions(dir.join("x"), mode(0o755)).expect("chmod"));
    changed("a target", &|| {
        fs::remove_file(dir.join("link")).expect("unlink");
        symlink("part-1/0", dir.join("link")).expect("symlink");
    });
}

/// Times, owners, other mode bits, link counts and extended attributes are not in the id.
#[test]
fn the_id_leaves_out_times_owners_and_modes() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("a", "same");
    d.write("b", "same");
    let wanted = d.snapshot();
    fs::set_permissions(d.path("a"), fs::Permissions::from_mode(0o600)).expect("chmod");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(d.path("a")).and_then(|f| f.set_modified(time)).expect("utimens");
    setxattr(d.path("a"), "user.label", b"cat", XattrFlags::empty()).expect("setxattr");
    fs::remove_file(d.path("b")).expect("unlink");
    fs::hard_link(d.path("a"), d.path("b")).expect("link");
    assert_eq!(d.snapshot(), wanted);
    assert!(d.versions() > 2, "they are versions all the same");
}

/// Going back to a tree gives its id again.
#[test]
fn the_id_returns_with_the_content() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "x");
    let (id, version) = (d.snapshot(), d.versions());
    d.write("dir/f", "y");
    d.write("dir/g", "z");
    assert_ne!(d.snapshot(), id);
    fs::remove_file(d.path("dir/g")).expect("unlink");
    d.write("dir/f", "x");
    let last = d.newest();
    assert_eq!(last["snapshot"], id);
    assert_eq!(last["restores"], format!("v{version}"), "a tree equal to an earlier one is shown so");
}

/// The root of a dataset and of a version tell version and snapshot as extended attributes.
#[test]
fn roots_tell_version_and_snapshot() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let first = d.snapshot();
    d.write("f", "y");
    let get = |path: &str, name: &str| {
        let mut buffer = [0; 256];
        let n = getxattr(d.path(path), name, &mut buffer).expect("getxattr");
        String::from_utf8(buffer[..n].to_vec()).expect("text")
    };
    for (path, version, snapshot) in
        [("", "v2", d.snapshot()), ("@v1", "v1", first), ("@v2", "v2", d.snapshot())]
    {
        assert_eq!(get(path, "user.strata.version"), version, "{path}");
        assert_eq!(get(path, "user.strata.snapshot"), snapshot, "{path}");
    }
}
