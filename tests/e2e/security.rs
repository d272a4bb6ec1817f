//! What other users can see, and what must not get out.
//!
//! Whatever is tried as another user was tried as root just before, so that the kernel has cached all it can.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;

use crate::harness::*;

/// A user, their group and further groups.
type User = &'static [u32];
/// One that owns nothing.
const NOBODY: User = &[65534, 65534];
/// A member of a group.
const MEMBER: User = &[65533, 65533, 4242];
/// An owner.
const OWNER: User = &[4243, 65533];
const ROOT: User = &[0, 0];
const EACCES: i64 = libc::EACCES as i64;
const ENOENT: i64 = libc::ENOENT as i64;

/// A mount for all, with a dataset.
fn shared() -> Mount {
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    for dir in [m.point().parent().expect("parent"), d.root(), &m.outside()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    m
}

/// What a user can do with paths, see `security.py`.
fn attempts(user: User, paths: &[PathBuf]) -> Vec<Value> {
    let mut command = as_root("python3");
    command.args(["-c", include_str!("security.py")]).args(user.iter().map(u32::to_string));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start python");
    let text = serde_json::to_vec(paths).expect("paths are text");
    child.stdin.take().expect("a pipe").write_all(&text).expect("write the paths");
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The same after root has looked.
fn attempts_after_root(user: User, paths: &[PathBuf]) -> Vec<Value> {
    attempts(ROOT, paths);
    let first = attempts(user, paths);
    attempts(ROOT, paths);
    assert_eq!(attempts(user, paths), first, "whatever root looks at");
    first
}

/// All paths of the tree of `modes`, and some that are nowhere.
const PATHS: &[&str] = &[
    "top",
    "top/file",
    "top/none",
    "top/dir",
    "top/dir/file",
    "top/dir/closed",
    "top/dir/none",
    "top/dir/sub",
    "top/dir/sub/file",
    "top/link",
    "group",
    "group/file",
    "group/none",
    "group/dir",
    "group/dir/file",
    "none",
    "none/none",
    "mine",
    "mine/file",
];

/// A tree whose owners and permissions differ.
fn tree(d: &Dataset<'_>) {
    for dir in ["top", "top/dir", "top/dir/sub", "group", "group/dir", "mine"] {
        d.mkdir(dir);
    }
    for file in [
        "top/file",
        "top/dir/file",
        "top/dir/closed",
        "top/dir/sub/file",
        "group/file",
        "group/dir/file",
        "mine/file",
    ] {
        d.write(file, file);
        setxattr(d.path(file), "user.label", file.as_bytes(), XattrFlags::empty()).expect("setxattr");
    }
    symlink("dir/file", d.path("top/link")).expect("symlink");
    for path in ["group", "group/file", "group/dir"] {
        chown(d.path(path), None, Some(4242)).expect("chown");
    }
    chown(d.path("mine"), Some(4243), None).expect("chown");
}

/// Modes given to paths, one state after the other.
const STATES: &[&[(&str, u32)]] = &[
    &[("top/dir/closed", 0o600), ("group", 0o750), ("mine", 0o700)],
    &[("top", 0o700)],
    &[("top", 0o711), ("group", 0o705), ("mine", 0o077)],
    &[("top", 0o744), ("top/dir/closed", 0o644), ("group/dir", 0o710)],
    &[("top", 0o755), ("top/dir", 0o700), ("group", 0o755), ("group/file", 0o640)],
    &[("top/dir", 0o755), ("top/dir/sub", 0o000), ("mine", 0o755)],
    &[("top/dir/sub", 0o755), ("top/file", 0o000), ("group/dir", 0o755)],
];

/// Through every spelling of `@`, a user can look at, read and list in a version exactly what they could then,
/// with the very errors: neither more, though all is open to everybody by now, nor less.
#[test]
fn versions_are_read_as_they_could_be_then() {
    if !rustix::process::geteuid().is_root() {
        return skipped("security::versions_are_read_as_they_could_be_then", "only root gives files away");
    }
    let m = shared();
    let d = m.existing("d");
    d.policy("manual");
    tree(&d);
    let users = [NOBODY, MEMBER, OWNER];
    let live: Vec<PathBuf> = PATHS.iter().map(|path| d.path(path)).collect();
    let mut then = Vec::new();
    for state in STATES {
        for (path, mode) in *state {
            fs::set_permissions(d.path(path), fs::Permissions::from_mode(*mode)).expect("chmod");
        }
        m.strata(&["commit", "d"]).ok();
        then.push(users.map(|user| attempts(user, &live)));
    }
    assert_eq!(d.versions(), STATES.len() as u64);
    let log = d.log();
    let (mut compared, mut barred) = (0, 0);
    for (at, state) in then.iter().enumerate() {
        let version = format!("v{}", at + 1);
        let record = log.iter().find(|record| record["version"] == version.as_str()).expect("the version");
        let id = record["id"].as_str().expect("an id");
        // Ways to a path, by its number; what must be so if it is there at all, and what must be so.
        let mut ways = Vec::new();
        for (n, path) in PATHS.iter().enumerate() {
            for spelling in
                [format!("@{version}"), format!("@{id}"), format!("@{}", &id[..12]), format!("@hash/{id}")]
            {
                ways.push((n, true, d.path(&spelling).join(path)));
            }
            // In each directory on the way, which is open to everybody by now.
            for (slash, _) in path.match_indices('/').filter(|(slash, _)| d.has(&path[..*slash])) {
                let (dir, rest) = (&path[..slash], &path[slash + 1..]);
                ways.push((n, true, d.path(dir).join(format!("@{version}")).join(rest)));
            }
            // The history of a file has it where it changed.
            ways.push((n, false, d.path("@file").join(path).join(&version)));
        }
        let paths: Vec<PathBuf> = ways.iter().map(|(_, _, path)| path.clone()).collect();
        for (user, wanted) in users.iter().zip(state) {
            for ((n, exactly, path), got) in ways.iter().zip(attempts_after_root(user, &paths)) {
                if *exactly || got[0] == 0 {
                    assert_eq!(got, wanted[*n], "{} as {}", path.display(), user[0]);
                }
                barred += usize::from(got[0] == EACCES);
                compared += 1;
            }
        }
    }
    assert!(barred > 50 && compared > 1000, "{compared} compared, {barred} times barred");
    for path in ["top/file", "group/dir/file", "mine/file"] {
        assert_eq!(attempts(NOBODY, &[d.path("@latest").join(path)])[0][0], 0, "{path} is open at last");
    }
}

/// Errors do not tell whether there is something where a user never could look: names that exist, did exist and
/// never did are the same to them, through every way in.
#[test]
fn errors_tell_nothing_of_what_was_never_open() {
    let m = shared();
    let d = m.existing("d");
    fs::DirBuilder::new().mode(0o700).create(d.path("closed")).expect("mkdir");
    d.mkdir("closed/dir");
    d.write("closed/dir/file", "1");
    d.write("closed/dir/was", "2");
    fs::remove_file(d.path("closed/dir/was")).expect("unlink");
    d.mkdir("open");
    d.write("open/file", "3");
    let version = format!("v{}", d.versions());
    let ways = ["", "@latest", &format!("@{version}"), "@file", &format!("@hash/{}", d.snapshot())]
        .map(str::to_owned);
    let pairs = [
        ("closed/dir", "closed/none"),
        ("closed/dir/file", "closed/none/file"),
        ("closed/dir/was", "closed/dir/none"),
        ("closed/dir/file/v3", "closed/dir/none/v3"),
        ("closed/@history", "closed/@v99"),
        ("closed/@v3/dir", "closed/@v3/none"),
        ("open/file", "open/none"),
    ];
    for way in &ways {
        let at = |path: &str| d.path(way).join(path);
        let paths: Vec<PathBuf> = pairs.iter().flat_map(|(exists, not)| [at(exists), at(not)]).collect();
        let got = attempts_after_root(NOBODY, &paths);
        for ((exists, _), got) in pairs.iter().zip(got.chunks(2)) {
            match exists.starts_with("closed") {
                true => assert_eq!((&got[0], &got[0][0]), (&got[1], &EACCES.into()), "{way}: {exists}"),
                false => assert_eq!((&got[0][0], &got[1][0]), (&0.into(), &ENOENT.into()), "{way}: {exists}"),
            }
        }
    }
    let listed = attempts_after_root(NOBODY, &[d.path("@file/closed"), d.path("@file/open/file")]);
    assert_ne!(
        listed[0][2].as_array().map_or(0, Vec::len),
        2,
        "no versions of what was never open: {listed:?}"
    );
    assert_eq!(listed[1][2].as_array().map(Vec::len), Some(1), "{listed:?}");
}

/// No path of ours leads out of a dataset: not by `..`, not by links, live or in versions, nor in what commands
/// take.
#[test]
fn nothing_leads_out_of_a_dataset() {
    let m = Mount::new();
    let (d, other) = (m.dataset("d"), m.dataset("other"));
    other.write("secret", "of the other");
    d.mkdir("dir");
    d.write("dir/f", "own");
    for (name, target) in [("up", "../other/secret"), ("dir/out", "../../other"), ("abs", "/etc/passwd")] {
        symlink(target, d.path(name)).expect("symlink");
    }
    let version = format!("v{}", d.versions());
    // A link is what its target says from where it is seen, which is within the dataset.
    let at = d.path(&format!("@{version}"));
    assert!(fs::read(at.join("up")).is_err(), "above a version is the dataset, which has no 'other'");
    assert_eq!(fs::read_link(at.join("up")).expect("readlink"), Path::new("../other/secret"));
    assert_eq!(fs::read(at.join("dir/../dir/f")).expect("read"), b"own");
    let same = |a: &Path, b: &Path| {
        let of = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).expect("stat");
        assert_eq!(of(a), of(b), "{} and {}", a.display(), b.display());
    };
    same(&at.join(".."), d.root());
    same(&at.join("dir/.."), &at);
    same(&d.path("dir").join(format!("@{version}")).join(".."), &d.path("dir"));
    same(&d.path("@history/.."), d.root());
    for object in ["d@v1/../other/secret", "d/../other/secret", "d@v1/dir/../../other", "../other"] {
        for command in ["cat", "ls"] {
            let ran = m.strata(&[command, object]);
            assert!(matches!(ran.code, Some(1 | 2)), "{command} {object}: {ran:?}");
            assert!(!ran.text().contains("of the other") && !ran.text().contains("secret"), "{ran:?}");
        }
    }
    for object in
        [format!("d@{version}/up"), format!("d@{version}/abs"), format!("d@{version}/dir/out/secret")]
    {
        let ran = m.strata(&["cat", &object]);
        assert_eq!(ran.code, Some(1), "links are not followed: {ran:?}");
    }
}

/// All that is in a store, and the socket, is its owner's alone, whatever the umask was and however open a
/// directory was before.
#[test]
fn a_store_is_its_owners_alone() {
    let m = Mount::unmounted();
    fs::create_dir(m.store()).expect("mkdir");
    fs::set_permissions(m.store(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let strata = binary();
    let script =
        format!("umask 0; exec '{}' mount --allow-other '{}'", strata.display(), m.point().display());
    run(Command::new("sh").args(["-c", &script]).env("STRATA_STORE", m.store())).ok();
    m.adopt(m.status()["pid"].as_i64().expect("a pid") as i32);
    let d = m.dataset("d");
    d.write("large", noise(1, 20 << 20));
    // Scattered writes go to a scratch file.
    let open = fs::File::options().write(true).open(d.path("large")).expect("open");
    for n in 0..1500 {
        std::os::unix::fs::FileExt::write_all_at(&open, &noise(n, 5000), (n * 7919 % 4000) * 5000)
            .expect("write");
    }
    let mut seen = Vec::new();
    let check = |seen: &mut Vec<PathBuf>| {
        let mut todo = vec![m.store().to_owned()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).expect("stat");
            if !meta.is_symlink() {
                assert_eq!(meta.mode() & 0o077, 0, "{} has mode {:o}", path.display(), meta.mode());
            }
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()));
            }
            seen.push(path);
        }
    };
    check(&mut seen);
    drop(open);
    m.strata(&["commit", "d"]).ok();
    m.strata(&["verify"]).ok();
    m.down();
    let pack =
        fs::read_dir(m.store().join("packs")).expect("list").next().expect("a pack").expect("entry").path();
    let mut bytes = fs::read(&pack).expect("read");
    bytes[5000] ^= 1;
    fs::write(&pack, bytes).expect("write");
    let script = format!("umask 0; exec '{}' fsck", strata.display());
    run(Command::new("sh").args(["-c", &script]).env("STRATA_STORE", m.store()));
    check(&mut seen);
    for part in ["packs/", "index/", "control.sock", "daemon.log", "strata.json"] {
        assert!(
            seen.iter().any(|path| path.to_str().is_some_and(|p| p.contains(part))),
            "{part} was not looked at"
        );
    }
}

/// In a mount that others come into, the log they can read names programs but no arguments; of processes of
/// other users neither arguments nor environment are recorded at all.
#[test]
fn arguments_are_not_for_others() {
    let m = shared();
    let d = m.existing("d");
    fs::set_permissions(d.root(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let write = |user: &[&str], name: &str| {
        let script = format!("echo x > '{}'", d.path(name).display());
        let mut command = as_root("setpriv");
        command.args(user).args(["sh", "-c", &script, "token-in-arguments"]);
        run(command.env("SECRET", "token-in-environment")).ok();
    };
    let own = format!("--reuid={}", rustix::process::geteuid().as_raw());
    write(&[&own], "by-owner");
    write(&["--reuid=65534", "--regid=65534", "--clear-groups"], "by-nobody");
    let text = d.text("@history/log.jsonl");
    let records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let commands: Vec<&str> = records.iter().filter_map(|r| r["command"].as_str()).collect();
    assert!(commands.contains(&"sh"), "{commands:?}");
    assert!(!text.contains("token") && commands.iter().all(|c| !c.contains(' ')), "{text}");
    let own = m.strata(&["log", "d", "--json"]).ok();
    assert!(own.contains("token-in-arguments"), "the owner's own log has them: {own}");
    assert!(!own.contains("token-in-environment"), "{own}");
    let nobodys = own.lines().find(|l| l.contains("\"uid\":65534")).expect("a version by nobody");
    assert!(!nobodys.contains("token"), "{nobodys}");
    m.down();
    m.up(&[]);
    assert!(
        m.existing("d").text("@history/log.jsonl").contains("token-in-arguments"),
        "nobody else comes in here"
    );
}

/// Set-user-id programs and devices in a store do nothing on the machine it is mounted on.
#[test]
fn mounts_are_nosuid_and_nodev() {
    let m = shared();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read");
    let point = m.point().to_str().expect("text");
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(point)).expect("the mount");
    let options: Vec<&str> = line.split(' ').nth(5).expect("options").split(',').collect();
    assert!(options.contains(&"nosuid") && options.contains(&"nodev"), "{line}");
}
