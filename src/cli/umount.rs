//! `strata umount`

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use crate::daemon::{Failure, mounts};
use crate::fuse;
use crate::model::word;

/// Time between two looks whether the daemon has ended.
const POLL: Duration = Duration::from_millis(10);
/// As long may a mount be in use before that is an error.
const BUSY_FOR: Duration = Duration::from_millis(500);
/// After this long the user is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// Unmount a store
///
/// Everything written is durable, and the store free for the next mount, when this returns. A mount that
/// is in use is left as it is, unless --lazy is given: then it goes out of sight at once, and the daemon
/// ends with its last user.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata umount /data")]
pub struct Args {
    /// Unmount even if the mount is in use
    #[arg(long)]
    lazy: bool,
    /// Where the store is mounted
    mountpoint: PathBuf,
}

pub fn run(args: Args) -> Result<u8, Failure> {
    let shown = args.mountpoint.display();
    let point = mounts::resolve(&args.mountpoint)
        .map_err(|e| Failure::because(format!("cannot find the mountpoint {shown}"), &e))?;
    let mounted = mounts::at(&point).map_err(|e| Failure::because("cannot read the table of mounts", &e))?;
    let Some(mounted) = mounted else {
        return Err(Failure::new(format!("nothing is mounted at {shown}")));
    };
    let Some(store) = mounted.store() else {
        let kind = mounted.kind.to_string_lossy();
        return Err(Failure::new(format!("what is mounted at {shown} is no store, but {kind}")));
    };
    let daemon = holder(&store);
    unmount(&point, args.lazy).map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => Failure::new(format!(
            "{shown} is busy: a program uses a file or directory in it"
        ))
        .hint(format!("`fuser -vm {}` shows which; --lazy unmounts all the same", word(&args.mountpoint))),
        _ if mounted.user.is_some_and(|user| user != geteuid().as_raw()) => {
            let user = mounted.user.unwrap_or_default();
            Failure::new(format!("cannot unmount {shown}: it was mounted by uid {user}"))
                .hint("that user can unmount it, and root")
        }
        _ => Failure::because(format!("cannot unmount {shown}"), &e),
    })?;
    if !args.lazy {
        wait_for(&store, daemon);
    }
    Ok(0)
}

/// Unmounts; a mount whose last user is just ending is given the time for that.
fn unmount(point: &Path, lazy: bool) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match fuse::unmount(point, lazy) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && begun.elapsed() < BUSY_FOR => {
                thread::sleep(POLL);
            }
            result => return result,
        }
    }
}

/// Waits until the daemon has let go of the store.
fn wait_for(store: &Path, daemon: Option<u32>) {
    let begun = Instant::now();
    let mut told = false;
    while daemon.is_some() && holder(store) == daemon {
        if !told && begun.elapsed() > TELL_AFTER {
            eprintln!("waiting for the daemon to write everything to disk");
            told = true;
        }
        thread::sleep(POLL);
    }
}

/// The process that has the store, if one has.
pub fn holder(store: &Path) -> Option<u32> {
    let file = File::open(store.join("lock")).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => io::read_to_string(file).ok()?.trim().parse().ok(),
        _ => None,
    }
}
