//! What a mount needs of the machine, whatever the store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, geteuid, getrlimit};

use crate::daemon::ask::{Answer, ask};
use crate::daemon::{mounts, preflight};
use crate::model::word;

use super::Finding;

/// The helper by which users who are not root mount and unmount.
const HELPER: &str = "fusermount3";
/// The first kernel in which files can be read past the daemon.
const PASSTHROUGH: (u32, u32) = (6, 9);
/// With fewer open files, clients that have many open are refused some.
const FILES_WANTED: u64 = 4096;
/// 2024-01-01 in seconds: no machine that runs this has an earlier date.
const EARLIEST: u64 = 1_704_067_200;

/// Checks the machine.
pub fn check() -> Vec<Finding> {
    let mut found = vec![
        Finding::of("fuse", preflight::device(), "/dev/fuse can be opened", "the kernel must offer FUSE"),
        helper(),
        others(),
        kernel(),
    ];
    found.extend([files(), clock()]);
    found.extend(stale_mounts());
    found
}

/// Looks for the set-user-id helper, which root can do without.
fn helper() -> Finding {
    const CHECK: &str = "fusermount";
    const INSTALL: &str = "install FUSE 3: apt install fuse3";
    let root = geteuid().is_root();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(HELPER)).find(|file| file.is_file());
    let Some(file) = found else {
        let message = format!("{HELPER} is not in PATH");
        return match root {
            true => Finding::warn(CHECK, format!("{message}: root alone can mount"), INSTALL),
            false => Finding::fail(CHECK, message, INSTALL),
        };
    };
    let version = Command::new(&file).arg("--version").output();
    let version = version.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let version = version.unwrap_or_default();
    let setuid = fs::metadata(&file).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o4000 != 0);
    match (setuid, root) {
        (true, _) => Finding::ok(CHECK, format!("{}: {version}", file.display())),
        (false, true) => Finding::ok(CHECK, format!("{}: {version}, for root alone", file.display())),
        (false, false) => Finding::fail(
            CHECK,
            format!("{} does not run as root, so that you cannot mount", file.display()),
            format!("as root: chown root {0} && chmod 4755 {0}", word(&file)),
        ),
    }
}

fn others() -> Finding {
    match preflight::allow_other() {
        Ok(()) => Finding::ok("others", "mounts can be opened to other users (--allow-other)"),
        Err(failure) => Finding::warn("others", failure.message, failure.hint.unwrap_or_default()),
    }
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    match release_of(&release) {
        Some(version) if version < PASSTHROUGH => Finding::warn(
            "kernel",
            format!("Linux {release} has no passthrough of large files (mount --passthrough)"),
            "all else works; Linux 6.9 or later has it",
        ),
        _ => Finding::ok("kernel", format!("Linux {release}")),
    }
}

/// Major and minor of a kernel's release: `6.12.3-amd64`.
fn release_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Looks at the hard limit: the daemon raises its own to that.
fn files() -> Finding {
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < FILES_WANTED => Finding::warn(
            "files",
            format!("at most {most} files can be open at a time"),
            "raise the hard limit (ulimit -Hn, LimitNOFILE= of a service) where many are used at once",
        ),
        Some(most) => Finding::ok("files", format!("up to {most} can be open at a time")),
        None => Finding::ok("files", "any number can be open at a time"),
    }
}

fn clock() -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match now < EARLIEST {
        true => Finding::warn(
            "clock",
            "the clock is years behind",
            "set it: versions bear its time, and are found by it",
        ),
        false => Finding::ok("clock", "set"),
    }
}

/// Mounts of stores whose daemon is dead or does not answer.
fn stale_mounts() -> Vec<Finding> {
    let ours = mounts::list().unwrap_or_default().into_iter().filter(|mount| mount.store().is_some());
    let points: Vec<PathBuf> = ours.map(|mount| mount.point).collect();
    let mut found = Vec::new();
    for point in &points {
        let shown = point.display();
        match ask(point) {
            Answer::Given => {}
            Answer::Dead => found.push(Finding::warn(
                "mounts",
                format!("the daemon of the mount at {shown} is dead"),
                format!("strata umount --lazy {}; mounting there again clears it too", word(point)),
            )),
            Answer::None => found.push(Finding::fail(
                "mounts",
                format!("the mount at {shown} does not answer"),
                preflight::end_it(point),
            )),
        }
    }
    if found.is_empty() {
        found.push(Finding::ok("mounts", format!("of stores: {}, none dead", points.len())));
    }
    found
}

/// Checks whether the store in `store` can be mounted at `point`, or is.
pub fn mountpoint(point: &Path, store: &Path) -> Finding {
    const CHECK: &str = "mountpoint";
    let shown = point.display();
    let real = match mounts::resolve(point) {
        Ok(real) => real,
        Err(e) => {
            let advice = format!("make it: mkdir -p {}", word(point));
            return Finding::fail(CHECK, format!("{shown}: {e}"), advice);
        }
    };
    let mounted = mounts::at(&real).ok().flatten();
    if let Some(mounted) = mounted {
        return match mounted.store() {
            Some(_) if ask(&real) != Answer::Given => Finding::warn(
                CHECK,
                format!("the daemon of what is mounted at {shown} is dead, or does not answer"),
                "mounting there again clears a dead one",
            ),
            Some(found) if found == store => Finding::ok(CHECK, format!("the store is mounted at {shown}")),
            _ => Finding::fail(
                CHECK,
                format!("{} is mounted at {shown}", mounted.source.display()),
                "use another directory, or unmount it first",
            ),
        };
    }
    // Nothing is mounted there, so that this clears nothing.
    let usable = preflight::mountpoint(&real).and_then(|real| preflight::apart(store, &real));
    Finding::of(CHECK, usable, format!("{shown} can be mounted at"), "use another directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_kernels_are_read() {
        assert_eq!(release_of("6.18.44-fc"), Some((6, 18)));
        assert_eq!(release_of("6.9-rc1"), Some((6, 9)));
        assert_eq!(release_of("odd"), None);
    }
}
