//! What is checked before a mount, so that what is wrong is said in the user's terms.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fuse;
use crate::model::word;

use super::ask::{Answer, ask};
use super::failure::{Failure, whose};
use super::mounts;

const DEVICE: &str = "/dev/fuse";
const CAP_SYS_ADMIN: u32 = 21;
const FIRST_USER_NAMESPACE: u64 = 0xeffffffd;
const CONFIG: &str = "/etc/fuse.conf";
/// Most dead mounts on top of each other that are cleared.
const STALE_MAX: usize = 16;

/// Checks that something can be mounted at `point`, clearing away mounts whose daemon is dead, and
/// gives its real path.
///
/// # Errors
/// Where it is missing, no directory, not empty, or a mountpoint already.
pub fn mountpoint(point: &Path) -> Result<PathBuf, Failure> {
    let shown = point.display();
    let unusable = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Failure::new(format!("the mountpoint {shown} does not exist"))
            .hint(format!("make it first: mkdir -p {}", word(point))),
        io::ErrorKind::NotADirectory => Failure::new(format!("the mountpoint {shown} is not a directory")),
        _ => Failure::because(format!("cannot use the mountpoint {shown}"), &e),
    };
    let real = mounts::resolve(point).map_err(unusable)?;
    clear_stale(&real)?;
    let meta = fs::metadata(&real).map_err(unusable)?;
    if !meta.is_dir() {
        return Err(Failure::new(format!("the mountpoint {shown} is not a directory")));
    }
    let real = real.canonicalize().map_err(unusable)?;
    let mounted = mounts::at(&real).map_err(unusable)?;
    if let Some(mounted) = mounted.filter(|mounted| !mounted.is_awaited()) {
        let what = match mounted.store() {
            Some(store) => format!("the store in {}", store.display()),
            None => mounted.kind.to_string_lossy().into_owned(),
        };
        return Err(Failure::new(format!("{shown} is a mountpoint already: {what} is mounted there"))
            .hint("use another directory, or unmount it first"));
    }
    if fs::read_dir(&real).map_err(unusable)?.next().is_some() {
        return Err(Failure::new(format!("the mountpoint {shown} is not empty"))
            .hint("what is in it would be hidden by the mount: use an empty directory"));
    }
    Ok(real)
}

/// What can be done where the daemon of the mount at `point` does not answer.
pub fn end_it(point: &Path) -> String {
    format!("end its daemon, which `strata status` names, then: strata umount --lazy {}", word(point))
}

/// Unmounts what daemons that died have left at `point`.
fn clear_stale(point: &Path) -> Result<(), Failure> {
    for _ in 0..STALE_MAX {
        // Where nothing of FUSE is mounted there is no daemon to ask.
        let mounted = mounts::at(point).ok().flatten().filter(mounts::MountEntry::is_fuse);
        match mounted.map(|_| ask(point)) {
            None | Some(Answer::Given) => break,
            Some(Answer::Dead) => {}
            Some(Answer::None) => {
                let message = format!("the mount at {} does not answer", point.display());
                return Err(Failure::new(message).hint(end_it(point)));
            }
        }
        log::warn!("clearing the mount at {}, whose daemon is dead", point.display());
        fuse::unmount(point, true).map_err(|e| {
            Failure::because(format!("cannot clear the dead mount at {}", point.display()), &e)
        })?;
    }
    Ok(())
}

/// Checks that the store in `store` and the mount at `point` are not within each other.
///
/// # Errors
/// Where they are.
pub fn apart(store: &Path, point: &Path) -> Result<(), Failure> {
    let store = store.canonicalize().unwrap_or_else(|_| store.to_owned());
    if store.starts_with(point) || point.starts_with(&store) {
        return Err(Failure::new(format!(
            "the store {} and the mountpoint {} cannot be within each other",
            store.display(),
            point.display()
        )));
    }
    Ok(())
}

/// Checks that the place of the store is a directory, or nothing yet.
///
/// # Errors
/// Where there is something else.
pub fn store_place(store: &Path) -> Result<(), Failure> {
    match fs::metadata(store) {
        Ok(meta) if !meta.is_dir() => {
            Err(Failure::new(format!("the store {} is not a directory", store.display())))
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            let failure = Failure::because(format!("cannot open the store {}", store.display()), &e);
            let is_barred = e.kind() == io::ErrorKind::PermissionDenied;
            Err(Failure { hint: if is_barred { whose(store) } else { None }, ..failure })
        }
        _ => Ok(()),
    }
}

/// Checks that there is a FUSE device that this process may use.
///
/// # Errors
/// Where there is none, or it may not.
pub fn device() -> Result<(), Failure> {
    let opened: io::Result<File> = OpenOptions::new().read(true).write(true).open(DEVICE);
    let Err(error) = opened else { return Ok(()) };
    let failure = Failure::because(format!("cannot open {DEVICE}"), &error);
    Err(match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => failure
            .hint("load the kernel module (modprobe fuse), or run the container with --device /dev/fuse"),
        Some(libc::EACCES) => failure.hint("root can open it to everybody: chmod 666 /dev/fuse"),
        Some(libc::EPERM) => failure.hint("run the container with --device /dev/fuse --cap-add SYS_ADMIN"),
        _ => failure,
    })
}

/// Checks that this process may have the kernel read files by itself.
///
/// # Errors
/// Where it may not.
pub fn passthrough() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The kernel asks for the capability in the first user namespace, the one of this inode.
    let first = fs::metadata("/proc/self/ns/user").is_ok_and(|ns| ns.ino() == FIRST_USER_NAMESPACE);
    if first && has_capability(&status, CAP_SYS_ADMIN) {
        return Ok(());
    }
    Err(Failure::new("--passthrough needs root (CAP_SYS_ADMIN, outside of user namespaces)")
        .hint("mount without --passthrough: large files are read somewhat slower then"))
}

/// Whether the text of /proc/PID/status shows an effective capability.
fn has_capability(status: &str, capability: u32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set & 1 << capability != 0)
}

/// Checks that this process may let other users use its mounts.
///
/// # Errors
/// Where it may not.
pub fn allow_other() -> Result<(), Failure> {
    let config = fs::read_to_string(CONFIG).unwrap_or_default();
    if rustix::process::geteuid().is_root() || allows_other(&config) {
        return Ok(());
    }
    Err(Failure::new("--allow-other is for root alone on this machine")
        .hint(format!("root can allow it to everybody by the line 'user_allow_other' in {CONFIG}")))
}

fn allows_other(config: &str) -> bool {
    config.lines().any(|line| line.trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfit_mountpoints_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| mountpoint(path).unwrap_err().message;
        let missing = dir.path().join("missing");
        assert!(said(&missing).contains("missing does not exist"));
        assert!(said(&missing.join("deeper")).contains("deeper does not exist"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(said(&file).contains("not a directory"));
        assert!(said(&file.join("below")).contains("not a directory"));
        assert!(said(dir.path()).contains("not empty"));
        assert!(said(Path::new("/proc")).contains("mountpoint already"));
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(mountpoint(&empty).unwrap(), empty.canonicalize().unwrap());
    }

    #[test]
    fn store_and_mountpoint_are_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (store, point) = (root.join("store"), root.join("mnt"));
        [&store, &point].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        assert!(apart(&store, &point).is_ok());
        assert!(apart(&store, &root).is_err());
        assert!(apart(&root, &point).is_err());
        assert!(apart(&root, &root).is_err());
    }

    #[test]
    fn capabilities_are_read_from_the_status_of_a_process() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000200000\n";
        assert!(has_capability(status, CAP_SYS_ADMIN));
        assert!(!has_capability(status, CAP_SYS_ADMIN - 1));
        assert!(!has_capability("", CAP_SYS_ADMIN));
    }

    #[test]
    fn the_configuration_is_read_as_fuse_reads_it() {
        assert!(allows_other("# a comment\n user_allow_other \n"));
        assert!(!allows_other("#user_allow_other\nmount_max = 10\n"));
    }
}
