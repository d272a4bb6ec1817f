//! What a store needs of its place, and who has it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

use crate::daemon::failure::READ_ONLY_DISK;
use crate::daemon::protocol::{DatasetInfo, Item, Status};
use crate::daemon::{Client, Failure, Request, Sink, control, mounts, preflight};
use crate::model::Timestamp;
use crate::store::{Error, Store};

use super::super::out::human;
use super::super::umount::holder;
use super::{Finding, in_time};

/// With less free, a store takes no new data.
const FREE_NEEDED: u64 = 64 << 20;
/// With less free, it will be full soon.
const FREE_WANTED: u64 = 1 << 30;
/// A file that is this far in the future was not written by this clock.
const AHEAD: Duration = Duration::from_secs(60);

/// Checks the store in `store` and the place it is in.
pub fn check(store: &Path) -> Vec<Finding> {
    // A store that does not exist yet will be where its nearest directory is.
    let place = store.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let mut found = vec![place_of(store, place), disk(place), file_system(place)];
    found.extend(clock(store));
    found.extend(daemon(store));
    found
}

fn place_of(store: &Path, place: &Path) -> Finding {
    const CHECK: &str = "store";
    const ADVICE: &str = "use another directory: --store DIR or STRATA_STORE";
    let shown = store.display();
    if let Err(failure) = preflight::store_place(store) {
        return Finding::of(CHECK, Err(failure), "", ADVICE);
    }
    match access(place, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => {}
        Err(Errno::ROFS) => {
            let message = format!("{} is on a file system that is mounted read-only", place.display());
            return Finding::fail(CHECK, message, if place == store { READ_ONLY_DISK } else { ADVICE });
        }
        Err(_) => {
            return Finding::fail(
                CHECK,
                format!("{} is not yours to write to", place.display()),
                "use another directory (--store DIR), or become its owner",
            );
        }
    }
    match Store::look_for(store) {
        Ok(()) => Finding::ok(CHECK, format!("there is one in {shown}")),
        Err(Error::NotAStore(_)) if place != store => {
            Finding::ok(CHECK, format!("there is none in {shown} yet: the first mount makes it"))
        }
        Err(Error::NotAStore(_)) if fs::read_dir(store).is_ok_and(|mut dir| dir.next().is_none()) => {
            Finding::ok(CHECK, format!("{shown} is empty: the first mount makes a store there"))
        }
        Err(Error::NotAStore(_)) => Finding::fail(
            CHECK,
            format!("{shown} has other files in it, and no store"),
            "say where the store is, or is to be made: --store DIR or STRATA_STORE",
        ),
        Err(error) => Finding::of(CHECK, Err(Failure::from(error)), "", "strata fsck says more"),
    }
}

fn disk(place: &Path) -> Finding {
    const CHECK: &str = "disk";
    let stat = match statvfs(place) {
        Ok(stat) => stat,
        Err(e) => {
            return Finding::fail(
                CHECK,
                format!("cannot look at the disk of {}: {e}", place.display()),
                "check the disk",
            );
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let whole = stat.f_blocks.saturating_mul(stat.f_frsize);
    let message = format!("{} of {} are free", human(free), human(whole));
    const ADVICE: &str = "make room: a full store goes on being read, but takes no writes";
    if stat.f_files > 0 && stat.f_favail == 0 {
        return Finding::fail(CHECK, "no more files can be made on it", "remove some: all inodes are in use");
    }
    match free {
        ..FREE_NEEDED => Finding::fail(CHECK, message, ADVICE),
        FREE_NEEDED..FREE_WANTED => Finding::warn(CHECK, message, ADVICE),
        _ => Finding::ok(CHECK, message),
    }
}

fn file_system(place: &Path) -> Finding {
    const CHECK: &str = "filesystem";
    let real = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    let all = mounts::list().unwrap_or_default().into_iter();
    // Of several at a place, the last is the one that is seen.
    let above = all.filter(|mount| real.starts_with(&mount.point));
    let kind = above.max_by_key(|mount| mount.point.components().count()).map(|mount| mount.kind);
    of_kind(CHECK, &kind.unwrap_or_else(|| OsString::from("unknown")).to_string_lossy())
}

fn of_kind(check: &'static str, kind: &str) -> Finding {
    match kind {
        "tmpfs" | "ramfs" => Finding::warn(
            check,
            format!("{kind} is memory: the store is gone when the machine is restarted"),
            "keep the store on a disk",
        ),
        "overlay" => Finding::warn(
            check,
            "overlay: the store may be gone with its container",
            "keep the store in a volume",
        ),
        _ if kind.starts_with("fuse") || ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph"].contains(&kind) => {
            Finding::warn(
                check,
                format!("{kind} may not keep its word on locks and on what is durable"),
                "keep the store on a disk of this machine",
            )
        }
        _ => Finding::ok(check, kind),
    }
}

/// Says so where the store was written to in what is the future.
fn clock(store: &Path) -> Option<Finding> {
    let written = fs::metadata(store.join("packs")).and_then(|meta| meta.modified()).ok()?;
    let behind = written.duration_since(SystemTime::now()).ok().filter(|ahead| *ahead > AHEAD)?;
    Some(Finding::warn(
        "clock",
        format!("the store was last written to {} s from now", behind.as_secs()),
        "set the clock: versions bear its time, and are found by it",
    ))
}

/// Who has the store; and what that says of it.
fn daemon(store: &Path) -> Vec<Finding> {
    const CHECK: &str = "daemon";
    const LOG: &str = "daemon.log in the store may say why";
    if Store::look_for(store).is_err() {
        return Vec::new();
    }
    let pid = holder(store);
    if control::connect(store).is_err() {
        return vec![match pid {
            Some(pid) => Finding::warn(
                CHECK,
                format!("process {pid} has the store, and does not answer"),
                "it may be another command at work, or a daemon that starts or ends: try again, or end it",
            ),
            None if Store::was_closed(store) => Finding::ok(CHECK, "none: the store is not mounted"),
            None => {
                Finding::ok(CHECK, "none; the last one was killed: the next mount brings the store in order")
            }
        }];
    }
    let asked: PathBuf = store.to_owned();
    vec![match in_time(move || status(&asked)) {
        Some(Ok(Some(status))) => {
            let soon = Timestamp(Timestamp::now().0.saturating_add(AHEAD.as_nanos() as i64)).to_string();
            return future(&status.datasets, &soon).into_iter().chain([of_status(status)]).collect();
        }
        Some(Ok(None)) => Finding::fail(CHECK, "it gave no answer", LOG),
        Some(Err(failure)) => Finding::of(CHECK, Err(failure), "", LOG),
        None => Finding::fail(
            CHECK,
            format!("process {} does not answer", pid.map_or("?".into(), |pid| pid.to_string())),
            "daemon.log in the store may say why; what was written survives its end (kill -9)",
        ),
    }]
}

/// Says so where versions were made by a clock that was ahead; `soon`: when the future begins.
fn future(datasets: &[DatasetInfo], soon: &str) -> Option<Finding> {
    let is_ahead = |dataset: &&DatasetInfo| dataset.newest.as_deref().is_some_and(|time| time > soon);
    let DatasetInfo { name, newest: Some(time), .. } = datasets.iter().find(is_ahead)? else { return None };
    Some(Finding::warn(
        "clock",
        format!("the newest version of {name} is of {time}, which is still to come"),
        "times never go back: all versions until then will have that time, and rules of retention take them for one",
    ))
}

fn of_status(status: Status) -> Finding {
    if let Some(why) = status.read_only_because {
        let advice = "check the disk; once it is in order, unmount the store and mount it again";
        return Finding::fail("daemon", format!("it takes no writes: {why}"), advice);
    }
    if let Some(problem) = status.problems.first() {
        return Finding::fail("daemon", problem.clone(), "strata verify says what is damaged");
    }
    let pid = status.pid.unwrap_or_default();
    match status.mountpoint {
        Some(point) => Finding::ok("daemon", format!("mounted at {point} (process {pid})")),
        None => Finding::warn(
            "daemon",
            format!("unmounted while programs use it (process {pid})"),
            format!("it ends with the last of them, or by: kill {pid}"),
        ),
    }
}

fn status(store: &Path) -> Result<Option<Status>, Failure> {
    struct Last(Option<Status>);
    impl Sink for Last {
        fn item(&mut self, item: Item) -> Result<(), Failure> {
            if let Item::Status(status) = item {
                self.0 = Some(status);
            }
            Ok(())
        }
        fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }
    let mut last = Last(None);
    Client::daemon(store)?.run(Request::Status { count_all: false }, &mut last)?;
    Ok(last.0)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::daemon::protocol::DatasetInfo;

    #[test]
    fn versions_of_the_future_are_warned_of() {
        let dataset = |time: &str| DatasetInfo {
            name: "d".into(),
            policy: String::new(),
            versions: 1,
            newest: Some(time.into()),
            logical_bytes: None,
            quota_bytes: None,
            used_bytes: None,
            retention: None,
        };
        let (past, ahead) = (dataset("2026-01-01T00:00:00.5Z"), dataset("2026-01-03T00:00:00.5Z"));
        let soon = "2026-01-02T00:00:00.000000000Z";
        assert_eq!(future(std::slice::from_ref(&past), soon), None);
        assert!(future(&[past, ahead], soon).expect("a warning").message.contains("of d is of 2026-01-03"));
    }

    #[test]
    fn file_systems_that_do_not_keep_their_word_are_warned_of() {
        for (kind, level) in [
            ("ext4", Level::Ok),
            ("xfs", Level::Ok),
            ("tmpfs", Level::Warn),
            ("overlay", Level::Warn),
            ("nfs4", Level::Warn),
            ("fuse.sshfs", Level::Warn),
        ] {
            assert_eq!(of_kind("filesystem", kind).level, level, "{kind}");
        }
    }
}
