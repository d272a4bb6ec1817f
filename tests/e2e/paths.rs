//! The path grammar: which version a name beginning with `@` leads to.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use crate::harness::*;

#[track_caller]
fn field(record: &serde_json::Value, name: &str) -> String {
    record[name].as_str().unwrap_or_else(|| panic!("{name} in {record}")).to_owned()
}

/// `@vN` is version N, `@vN~k` the k-th before it; numbers that do not exist are ENOENT.
#[test]
fn versions_go_by_number() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 1..=4 {
        d.write("f", format!("{n}"));
    }
    for (path, text) in [("@v1/f", "1"), ("@v4/f", "4"), ("@v4~1/f", "3"), ("@v3~2/f", "1"), ("@v2~0/f", "2")]
    {
        assert_eq!(d.text(path), text, "{path}");
    }
    for path in ["@v5", "@v99999999999999999999999", "@v2~9", "@v", "@v1x", "@v5~1"] {
        refused(d.path(path).symlink_metadata(), Errno::NOENT);
    }
    d.write("f", "5");
    assert_eq!(d.text("@v5/f"), "5", "a number that was missing before is found once it is there");
}

/// `@<hash>` and `@hash/<hash>` take a snapshot id or a version id, whole or 8 digits and more.
#[test]
fn versions_go_by_hash() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "first");
    let record = d.newest();
    d.write("f", "second");
    for id in [field(&record, "id"), field(&record, "snapshot")] {
        for digits in [8, 9, 40, 64] {
            for prefix in ["@", "@hash/"] {
                assert_eq!(
                    d.text(&format!("{prefix}{}/f", &id[..digits])),
                    "first",
                    "{prefix} with {digits} digits"
                );
            }
        }
        refused(d.path(&format!("@hash/{}", &id[..7])).symlink_metadata(), Errno::NOENT);
    }
    refused(d.path("@0123456789abcdef").symlink_metadata(), Errno::NOENT);
    refused(d.path("@hash/0123456789abcdef").symlink_metadata(), Errno::NOENT);
    refused(d.path("@hash/xyz").symlink_metadata(), Errno::NOENT);
}

/// A snapshot id names the first version with that content.
#[test]
fn a_snapshot_id_names_the_first_version_with_it() {
    let m = Mount::new();
    let d = m.dataset("d");
    for text in ["x", "y", "x"] {
        d.write("f", text);
    }
    let id = d.snapshot();
    let mtime = |path: &str| d.path(path).join("f").metadata().and_then(|m| m.modified()).expect("mtime");
    assert_eq!(mtime(&format!("@{id}")), mtime("@v1"));
    assert_ne!(mtime(&format!("@{id}")), mtime("@v3"));
}

/// `@latest` and `@prev` are symlinks to `@vN`: reading them pins a version.
#[test]
fn latest_and_prev_pin_by_readlink() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "1");
    d.write("dir/f", "2");
    for dir in ["", "dir/"] {
        let target = |name: &str| fs::read_link(d.path(&format!("{dir}{name}"))).expect("readlink");
        assert_eq!(
            (target("@latest").as_path(), target("@prev").as_path()),
            (Path::new("@v3"), Path::new("@v2"))
        );
    }
    assert_eq!((d.text("@latest/dir/f"), d.text("@prev/dir/f")), ("2".to_owned(), "1".to_owned()));
    assert_eq!((d.text("dir/@latest/f"), d.text("dir/@prev/f")), ("2".to_owned(), "1".to_owned()));
    d.write("dir/f", "3");
    let target = fs::read_link(d.path("@latest")).expect("readlink");
    assert_eq!(target, Path::new("@v4"), "the link moves on with the history");
    assert_eq!(d.text("@latest/dir/f"), "3");
}

/// In an empty history there is no `@latest`, in one version no `@prev`.
#[test]
fn latest_and_prev_need_versions() {
    let m = Mount::new();
    let d = m.dataset("d");
    refused(fs::read_link(d.path("@latest")), Errno::NOENT);
    d.write("f", "1");
    assert_eq!(d.text("@latest/f"), "1");
    refused(fs::read_link(d.path("@prev")), Errno::NOENT);
}

/// The snapshot id of a tree with one file `f`, computed from the documented encoding: a leaf (0), of
/// a plain file (0) with this content's BLAKE3 and a name of 1 byte.
fn snapshot_of_one_file(content: &str) -> String {
    let mut leaf = vec![0, 0];
    leaf.extend_from_slice(blake3::hash(content.as_bytes()).as_bytes());
    leaf.extend_from_slice(b"\x01f");
    let id = blake3::derive_key("stratafs 2026 tree node", &leaf);
    id.iter().map(|b| format!("{b:02x}")).collect()
}

/// Digits of a hash that several versions' ids begin with are ENOTUNIQ, and an error that lists them
/// in commands; one digit more tells them apart.
#[test]
fn an_ambiguous_hash_is_enotuniq() {
    let (mut seen, mut n) = (HashMap::new(), 0);
    let (first, second) = loop {
        let content = n.to_string();
        let id = snapshot_of_one_file(&content);
        if let Some(other) = seen.insert(id[..8].to_owned(), content.clone()) {
            break (other, content);
        }
        n += 1;
    };
    let ids = [snapshot_of_one_file(&first), snapshot_of_one_file(&second)];
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", &first);
    assert_eq!(d.snapshot(), ids[0]);
    assert_eq!(d.text(&format!("@{}/f", &ids[0][..8])), first, "it is unique so far");
    d.write("f", &second);
    for prefix in ["@", "@hash/"] {
        refused(d.path(&format!("{prefix}{}", &ids[0][..8])).metadata(), Errno::NOTUNIQ);
    }
    let message = m.strata(&["cat", &format!("d@{}/f", &ids[0][..8])]).fails(1);
    assert!(message.contains("ambiguous") && ids.iter().all(|id| message.contains(id.as_str())), "{message}");
    let common = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    for (id, content) in ids.iter().zip([&first, &second]) {
        assert_eq!(d.text(&format!("@{}/f", &id[..=common])), *content);
    }
}

fn utc(time: SystemTime, format: &str) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    tool("date", &["-u", "-d", &format!("@{seconds}"), format]).trim_end().to_owned()
}

/// A UTC time names the newest version made by the end of that second, a date by the end of that
/// day; before the first version there is none, and impossible dates are ENOENT.
#[test]
fn versions_go_by_time() {
    let m = Mount::new();
    let d = m.dataset("d");
    let made = |version: &str| {
        d.path(&format!("@history/{version}")).symlink_metadata().and_then(|m| m.modified()).expect("mtime")
    };
    d.write("f", "1");
    d.write("f", "2");
    let second = |t: SystemTime| t.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    // The grammar's grain is a second: let the clock reach the next one.
    poll("the second is over", || second(SystemTime::now()) > second(made("v2")));
    d.write("f", "3");
    let (early, late) = (made("v2"), made("v3"));
    assert_eq!(d.text(&format!("{}/f", utc(early, "+@%Y-%m-%dT%H-%M-%SZ"))), "2");
    assert_eq!(d.text(&format!("{}/f", utc(late, "+@%Y-%m-%dT%H-%M-%SZ"))), "3");
    assert_eq!(d.text(&format!("{}/f", utc(late, "+@%Y-%m-%d"))), "3");
    let hour = Duration::from_secs(3600);
    refused(d.path(&utc(early - hour, "+@%Y-%m-%dT%H-%M-%SZ")).symlink_metadata(), Errno::NOENT);
    refused(d.path(&utc(early - 48 * hour, "+@%Y-%m-%d")).symlink_metadata(), Errno::NOENT);
    for impossible in ["@2026-13-01", "@2026-02-30", "@2026-01-01T25-00-00Z", "@2026-1-1"] {
        refused(d.path(impossible).symlink_metadata(), Errno::NOENT);
    }
}

/// The grammar holds in every directory, and shows that directory as it was.
#[test]
fn the_grammar_holds_in_every_directory() {
    let m = Mount::new();
    let d = m.dataset("d");
    fs::create_dir_all(d.path("a/b")).expect("mkdir");
    d.write("a/b/f", "old");
    let version = d.versions();
    d.write("a/b/f", "new");
    fs::rename(d.path("a/b"), d.path("a/c")).expect("rename");
    assert_eq!(d.text(&format!("a/@v{version}/b/f")), "old");
    assert_eq!(d.list(&format!("a/@v{version}")), ["b"]);
    assert_eq!(d.list("a/@latest"), ["c"]);
    d.mkdir("later");
    refused(d.path(&format!("later/@v{version}")).symlink_metadata(), Errno::NOENT);
}

/// Nothing of the grammar is listed, so that cp -r, find, tar and rm -r do not enter it.
#[test]
fn nothing_of_the_grammar_is_listed() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "x");
    drop((d.text("@latest/dir/f"), d.text("dir/@latest/f"), d.list("@history")));
    assert_eq!(
        (d.list(""), d.list("dir"), d.list("@latest")),
        (vec!["dir".to_owned()], vec!["f".to_owned()], vec!["dir".to_owned()])
    );
    let found = tool("find", &[m.point()]);
    assert!(!found.contains('@'), "{found}");
    tool("rm", &["-r".as_ref(), d.path("dir").as_os_str()]);
    assert_eq!(d.text("@v2/dir/f"), "x");
}

/// Names that begin with `@` but are not of the grammar are ordinary.
#[test]
fn other_names_with_an_at_are_ordinary() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("@types");
    d.write("@types/index.d.ts", "x");
    d.write("@angular", "y");
    d.write("a@v1", "z");
    d.write("@abc", "short of a hash");
    assert_eq!(d.list(""), ["@abc", "@angular", "@types", "a@v1"]);
    assert_eq!(d.text("@latest/@types/index.d.ts"), "x");
    assert_eq!((d.text("@angular"), d.text("a@v1")), ("y".to_owned(), "z".to_owned()));
}

/// Names of the grammar's fixed forms cannot be made: EINVAL, whether or not they lead anywhere now.
#[test]
fn names_of_the_grammar_are_reserved() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "x");
    let words = [
        "@latest", "@prev", "@history", "@hash", "@tag", "@file", "@diff", "@meta", "@lineage", "@gate",
        "@dvc",
    ];
    let forms = ["@v1", "@v77", "@v7~2", "@0123456789abcdef", "@2026-11-01", "@2026-11-01T10-30-00Z"];
    for name in words.into_iter().chain(forms) {
        let create = fs::File::create_new(d.path(name));
        let errno = create.expect_err("the name is reserved").raw_os_error();
        let exists = d.has(name);
        let wanted = if exists { Errno::EXIST } else { Errno::INVAL };
        assert_eq!(errno, Some(wanted.raw_os_error()), "creating {name}");
        if !exists {
            refused(fs::create_dir(d.path(name)), Errno::INVAL);
            refused(std::os::unix::fs::symlink("f", d.path(name)), Errno::INVAL);
            refused(fs::rename(d.path("f"), d.path(name)), Errno::INVAL);
            refused(fs::hard_link(d.path("f"), d.path(name)), Errno::INVAL);
        }
    }
    assert_eq!((d.list(""), d.versions()), (vec!["f".to_owned()], 1));
}

/// Looking for something that is not there, many times over, finds it at once when it comes.
#[test]
fn a_missing_version_is_found_when_it_comes() {
    let m = Mount::new();
    let d = m.dataset("d");
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=50 {
                d.write("f", format!("{n}"));
            }
        });
        poll("v50 is there", || d.has("@v50"));
    });
    assert_eq!(d.text("@v50/f"), "50");
}
