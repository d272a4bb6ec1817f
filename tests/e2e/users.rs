//! What users who are not root meet with: odd places of stores, other users' mounts and stores, disks that they
//! cannot write to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::*;

/// A copy of the program where everybody may run it, and a directory that everybody may write to.
fn for_everybody(m: &Mount) -> (PathBuf, PathBuf) {
    let (program, place) = (m.outside().join("strata"), m.outside().join("place"));
    fs::copy(binary(), &program).expect("copy the program");
    fs::create_dir(&place).expect("make a directory");
    let top = m.point().parent().expect("a parent").to_owned();
    for (path, mode) in [(&top, 0o755), (&m.outside(), 0o755), (&program, 0o755), (&place, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    (program, place)
}

/// A command that nobody runs, the user of this name.
fn as_nobody() -> Command {
    let mut command = as_root("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

/// A user's store is mounted wherever it is: with commas, backslashes, percent signs, blanks, line ends and bytes
/// that are no UTF-8 in its path; and it is known by its mount.
#[test]
fn a_store_at_any_path_is_mounted_by_its_user() {
    let m = Mount::unmounted();
    let (program, place) = for_everybody(&m);
    // The device is opened to everybody in a namespace of its own.
    let script = "mknod \"$2/fuse\" c 10 229; chmod 666 \"$2/fuse\"; mount --bind \"$2/fuse\" /dev/fuse; \
                  exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -euc \"$3\" sh \"$1\" \"$2\"";
    let inner = "cd \"$2\"; mkdir mnt; export STRATA_STORE=\"$PWD/$(printf 'a,1\\\\b%%2C \\n%%\\377')/store\"; \
                 \"$1\" mount mnt; mkdir mnt/d; echo x > mnt/d/f; cat mnt/d/@v1/f; \"$1\" log d | wc -l; \
                 \"$1\" doctor mnt | grep -c 'the store is mounted at'; \"$1\" mount mnt 2>&1 | head -1; \
                 \"$1\" umount mnt; ls mnt | wc -l; \"$1\" cat d/f";
    let mut command = as_root("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]);
    let ran = run(command.arg(program).arg(&place).arg(inner));
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    let told = ran.text();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((&lines[..3], &lines[lines.len() - 2..]), (&["x", "1", "1"][..], &["0", "x"][..]), "{told}");
}

/// Who cannot unmount somebody else's mount, or open their store, is told whose it is.
#[test]
fn what_is_another_users_is_told_of_as_that() {
    let m = Mount::new();
    let (program, _) = for_everybody(&m);
    m.dataset("d").write("f", "x");
    let said = run(as_nobody().arg(&program).arg("umount").arg(m.point())).fails(1);
    let own = rustix::process::geteuid().as_raw();
    assert!(said.contains("cannot unmount") && said.contains(&format!("mounted by uid {own}\n")), "{said}");
    assert!(!said.contains("fusermount"), "{said}");
    assert_eq!(m.existing("d").text("f"), "x", "it is there still");
    m.down();
    for command in [&["log", "d"][..], &["cat", "d/f"]] {
        let said = run(as_nobody().arg(&program).args(command).arg("--store").arg(m.store())).fails(1);
        assert!(said.contains("Permission denied"), "{said}");
        assert!(said.contains(&format!("belongs to uid {own}")) && said.contains("--store DIR"), "{said}");
    }
}

/// A store on a disk that is mounted read-only is not taken for one of somebody else: it is said that it is written to
/// even to be read, and a copy of it can be. Where there is none yet, it is said how to name another place.
#[test]
fn a_disk_that_is_read_only_is_told_of() {
    let m = Mount::unmounted();
    let disk = m.outside().join("disk");
    let m = m.store_at(disk.join("store"));
    fs::create_dir(&disk).expect("mkdir");
    m.up(&[]);
    m.dataset("d").write("f", "x");
    m.down();
    tool("mount", &["--bind".as_ref(), disk.as_os_str(), disk.as_os_str()]);
    tool("mount", &["-o".as_ref(), "remount,bind,ro".as_ref(), disk.as_os_str()]);
    let target = m.outside().join("out");
    let target = target.to_str().expect("text");
    let mut said = vec![m.try_up(&["--read-only"])];
    for command in [&["log", "d"][..], &["cat", "d/f"], &["export", "d", target]] {
        said.push(m.strata(command));
    }
    let doctor = m.strata(&["doctor"]);
    let elsewhere = disk.join("home");
    let none = run(m
        .command(&["mount"])
        .arg(m.point())
        .env_remove("STRATA_STORE")
        .env("HOME", &elsewhere)
        .env_remove("XDG_DATA_HOME"));
    let copied = run(Command::new("cp").arg("-a").arg(m.store()).arg(m.outside().join("copy")));
    tool("umount", &[disk.as_os_str()]);
    for ran in said {
        let said = ran.fails(1);
        assert!(
            said.contains("Read-only file system") && said.contains("hint: a store is written to"),
            "{said}"
        );
    }
    let found = doctor.text();
    assert!(found.contains("on a file system that is mounted read-only"), "{found}");
    assert!(!found.contains("owner") && found.contains("remount,rw"), "{found}");
    let said = none.fails(1);
    assert!(said.contains("Read-only file system") && said.contains("--store DIR or STRATA_STORE"), "{said}");
    copied.ok();
    let copy = m.outside().join("copy");
    assert_eq!(run(m.command(&["cat", "d/f", "--store"]).arg(copy)).ok(), "x");
}

/// A path in a command that is advised is written so that a shell takes it for that path.
#[test]
fn advised_commands_can_be_pasted() {
    let m = Mount::unmounted();
    let above = m.outside().join("it's my $place");
    let missing = above.join("deeper");
    let said = run(m.command(&["mount"]).arg(&missing)).fails(1);
    let found = run(m.command(&["doctor"]).arg(&missing)).text();
    for (said, before) in [(said, "make it first: "), (found, "make it: ")] {
        let advice = said.lines().find_map(|line| line.split_once(before)).expect("advice").1;
        shell(advice, &[] as &[&str]);
        assert!(missing.is_dir(), "{advice}");
        fs::remove_dir_all(&above).expect("remove");
    }
}
