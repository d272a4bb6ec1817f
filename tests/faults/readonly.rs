//! A sync of the log fails: nothing more is written, everybody is told, and nothing is lost.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, XattrFlags, renameat_with, setxattr};

use crate::harness::command::run;
use crate::harness::{Facts, assert_same_facts, facts, noise, poll};

use super::rig::Rig;
use super::shim::{Class, Fault};

type Tree = BTreeMap<PathBuf, Facts>;

/// Tries every change there is; names those that were not refused.
fn not_refused(root: &Path) -> Vec<&'static str> {
    let path = |name: &str| root.join(name);
    let open = |options: &mut OpenOptions, name: &str| options.write(true).open(path(name));
    let append = || {
        let mut file = OpenOptions::new().append(true).open(path("a"))?;
        file.write_all(b"more").and_then(|()| file.sync_all())
    };
    let attribute = || setxattr(path("a"), "user.x", b"y", XattrFlags::empty());
    let exchange = || renameat_with(CWD, path("a"), CWD, path("b"), RenameFlags::EXCHANGE);
    let mode = |mode| fs::set_permissions(path("a"), fs::Permissions::from_mode(mode));
    let results = [
        ("write of a whole file", fs::write(path("a"), "other")),
        ("new file", fs::write(path("new"), "new")),
        ("append", append()),
        ("truncation", open(&mut OpenOptions::new(), "a").and_then(|f| f.set_len(3))),
        ("truncation when opened", open(OpenOptions::new().truncate(true), "b").map(drop)),
        ("mkdir", fs::create_dir(path("new dir"))),
        ("rmdir", fs::remove_dir(path("dir"))),
        ("rename", fs::rename(path("a"), path("dir/a"))),
        ("rename over another", fs::rename(path("a"), path("b"))),
        ("exchange", exchange().map_err(Into::into)),
        ("unlink", fs::remove_file(path("a"))),
        ("link", fs::hard_link(path("a"), path("another"))),
        ("symlink", symlink("a", path("link"))),
        ("chmod", mode(0o600)),
        ("an extended attribute", attribute().map_err(Into::into)),
        ("a new dataset", fs::create_dir(root.with_file_name("new"))),
    ];
    let refused = |error: &std::io::Error| matches!(error.raw_os_error(), Some(libc::EROFS | libc::EIO));
    results.into_iter().filter(|(_, r)| !r.as_ref().is_err_and(refused)).map(|(what, _)| what).collect()
}

/// Who asked for the sync gets the disk's error; from then on every change is refused and changes
/// nothing that is seen, reading and history go on, and the log, `strata status` and every command that
/// would change something say why. Mounted anew, all that was acknowledged is there, and writing works.
#[test]
fn after_a_failed_sync_everybody_is_told() {
    for (error, asked) in [(libc::EIO, true), (libc::ENOSPC, true), (libc::EIO, false)] {
        let rig = Rig::new(false);
        rig.up(&[]).ok();
        let strata = |arguments: &[&str]| run(&mut rig.command(arguments));
        let root = rig.mount.point().join("d");
        fs::create_dir(&root).expect("make a dataset");
        for name in ["a", "b"] {
            fs::write(root.join(name), noise(1, 5000)).expect("write");
        }
        fs::create_dir(root.join("dir")).expect("mkdir");
        strata(&["commit", "d"]).ok();
        let mut file = File::create(root.join("synced in vain")).expect("create");
        file.write_all(b"written").expect("write");

        rig.shim.only("store/packs");
        rig.shim.arm(Fault { class: Class::Sync, from: 1, until: 1, error });
        if asked {
            assert_eq!(file.sync_all().expect_err("the sync fails").raw_os_error(), Some(error));
            drop(file);
        } else {
            drop(file);
            // Waits for a cut, which must not keep anybody from looking.
            fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o640)).expect("chmod");
            poll("the sync that nobody asked for has failed", || rig.shim.fired() > 0);
            poll("it is known", || rig.log().contains("takes no more writes"));
        }
        rig.shim.disarm();

        let before = facts(&root);
        assert_eq!(not_refused(&root), Vec::<&str>::new());
        assert_same_facts(&facts(&root), &before);
        assert!(fs::read(root.join("@v1/a")).expect("history is there") == noise(1, 5000));
        for arguments in [&["log", "d"][..], &["cat", "d@v1/a"], &["ls", "d@v1"], &["verify"]] {
            strata(arguments).ok();
        }

        let reason = "cannot sync";
        let status = rig.status().expect("status answers");
        assert_eq!(status["read_only"], true);
        assert!(status["read_only_because"].as_str().is_some_and(|why| why.contains(reason)), "{status}");
        let text = strata(&["status"]).ok();
        assert!(text.contains(", read-only)") && text.contains(reason), "{text}");
        assert!(rig.log().contains("takes no more writes until it is opened anew"), "{}", rig.log());
        for arguments in [
            &["commit", "d"][..],
            &["set", "d", "policy=manual"],
            &["rollback", "d", "v1"],
            &["batch", "--dataset", "d", "--", "true"],
        ] {
            let said = strata(arguments).fails(1);
            assert!(said.contains("takes no more writes") && said.contains(reason), "{arguments:?}: {said}");
        }

        run(rig.command(&["umount"]).arg(rig.mount.point())).ok();
        rig.up(&[]).ok();
        let content = |facts: Tree| facts.into_iter().map(|(path, is)| (path, is.content)).collect();
        let [now, was]: [BTreeMap<_, _>; 2] = [facts(&root), before].map(content);
        assert_eq!(now, was);
        assert_eq!(rig.status().expect("status answers")["read_only"], false);
        strata(&["verify"]).ok();
        fs::write(root.join("a"), "goes on").expect("writing works again");
        strata(&["commit", "d"]).ok();
        rig.mount.down();
    }
}

/// Where the disk cannot be read, `strata status` tells what it knows, what it could not find out and why.
#[test]
fn status_answers_whatever_the_disk_does() {
    let rig = Rig::new(false);
    rig.up(&[]).ok();
    let root = rig.mount.point().join("d");
    fs::create_dir(&root).expect("make a dataset");
    fs::write(root.join("a"), noise(1, 5000)).expect("write");
    rig.shim.only("store/packs");
    rig.shim.arm(Fault { class: Class::Open, from: 1, until: u32::MAX, error: libc::EIO });
    let ran = run(&mut rig.command(&["status"]));
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.code, Some(1), "{text}{}", ran.stderr);
    for wanted in
        ["mounted  at ", "not counted unique", "problem  packs: ", "Input/output error", "every-write"]
    {
        assert!(text.contains(wanted), "{wanted} is missing: {text}");
    }
    let ran = run(&mut rig.command(&["status", "--json"]));
    let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("status prints JSON");
    assert_eq!((ran.code, &status["unique_bytes"]), (Some(1), &serde_json::Value::Null));
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(1), "{status}");
    rig.shim.disarm();
    let status = rig.status().expect("status answers");
    assert_eq!(status["problems"], serde_json::json!([]));
    rig.mount.down();
}
