//! `strata mount`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use log::LevelFilter;

use crate::daemon::lifecycle::{self, Options};
use crate::daemon::object::VersionText;
use crate::daemon::pointer::{EXTENSION, Pointer};
use crate::daemon::spawn::{self, Starter};
use crate::daemon::{Failure, logging, preflight};
use crate::model::DatasetName;

use super::progress::Waiting;
use super::{Context, values};

/// Mount a store, a dataset or a version
///
/// Starts a daemon that serves the store at MOUNTPOINT, an empty directory, and returns when it can be
/// used. A store that does not exist is made. The mount lasts until `strata umount`; the daemon writes
/// its log to daemon.log in the store.
///
/// Directories made at the top of the mount are datasets. With --dataset, one dataset is mounted alone;
/// with --at, one version of it, which never changes. A mountpoint whose daemon was killed is cleared
/// first; what was written before is there again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata mount /data
  strata mount --dataset imagenet --at v3 /mnt/imagenet-v3
  strata mount --foreground --allow-other --store /srv/store /data   # for a service manager

A line of /etc/fstab, where mount.fuse.strata (a link to strata) or mount.fuse3 is in /usr/sbin:
  strata:/srv/store  /data  fuse.strata  allow_other,nofail  0 0
Options: ro, noexec, allow_other, passthrough, dataset=NAME, at=VERSION, sync=always; those for
mount(8) and systemd, such as noauto, user, _netdev and x-systemd.automount, are left to them.")]
pub struct Args {
    /// Mount only this dataset
    #[arg(long, value_name = "NAME", value_parser = values::dataset)]
    dataset: Option<DatasetName>,
    /// Mount only this version, read-only: by its name, for which --dataset is needed if there are several
    /// datasets, or by the file of a pointer, whose name ends in .strata
    #[arg(long, value_name = "VERSION|FILE", value_parser = at())]
    at: Option<At>,
    /// Have the kernel read large files by itself: each file of 16 MiB and more that is opened is copied
    /// to disk in the background, and read from there when it is opened next. Takes their size of disk
    /// space until the unmount. Needs --at, root, and Linux 6.9 or later
    #[arg(long, requires = "at")]
    passthrough: bool,
    /// Let other users use the mount, as far as permissions of files let them
    #[arg(long)]
    allow_other: bool,
    /// Refuse all changes
    #[arg(long)]
    read_only: bool,
    /// Run no programs from the mount
    #[arg(long)]
    no_exec: bool,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    foreground: bool,
    /// When changes are durable: `periodic` within a second, `always` when the call that makes them
    /// returns (fsync is always obeyed)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Sync::Periodic)]
    sync: Sync,
    /// Where to mount; an empty directory
    mountpoint: PathBuf,
    /// What the daemon itself is started with
    #[arg(long, hide = true, conflicts_with = "foreground")]
    daemon: bool,
}

/// A version, or the file of a pointer to one.
#[derive(Clone, Debug)]
pub enum At {
    /// The version.
    Version(VersionText),
    /// The file.
    File(PathBuf),
}

fn at() -> ValueParser {
    let parse = |text: OsString| match text.as_bytes().ends_with(EXTENSION.as_bytes()) {
        true => Ok(At::File(text.into())),
        false => values::version(&text.to_string_lossy()).map(At::Version),
    };
    OsStringValueParser::new().try_map(parse).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sync {
    /// Within a second.
    Periodic,
    /// At once.
    Always,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    logging::start(LevelFilter::Info);
    let absolute = |path: &PathBuf| {
        std::path::absolute(path)
            .map_err(|e| Failure::because(format!("cannot use the mountpoint {}", path.display()), &e))
    };
    let (store, mountpoint) = (context.store()?, absolute(&args.mountpoint)?);
    // Said here: without devices not even a daemon can be started.
    preflight::device()?;
    let at = match &args.at {
        Some(At::Version(version)) => Some(lifecycle::At::Version(version.clone())),
        Some(At::File(file)) => Some(lifecycle::At::Pointer(pointer(file, args.dataset.is_some())?)),
        None => None,
    };
    if !args.foreground && !args.daemon {
        // After a crash or with a lost index it may take long.
        let _waiting = Waiting::new("opening the store");
        return spawn::start(&daemon_arguments(&args, store, mountpoint)).map(|()| 0);
    }
    let options = Options {
        store,
        mountpoint,
        dataset: args.dataset,
        at,
        passthrough: args.passthrough,
        allow_other: args.allow_other,
        read_only: args.read_only,
        no_exec: args.no_exec,
        sync_always: args.sync == Sync::Always,
    };
    let starter = if args.daemon { Starter::Command } else { Starter::Foreground };
    lifecycle::run(&options, starter).map(|()| 0)
}

/// The pointer of a file, to be mounted.
fn pointer(file: &Path, dataset_named: bool) -> Result<Pointer, Failure> {
    let pointer = Pointer::read(file)?;
    if dataset_named {
        return Err(Failure::usage(format!(
            "{} names its dataset itself: leave --dataset out",
            file.display()
        )));
    }
    match pointer.path.is_empty() {
        true => Ok(pointer),
        false => Err(Failure::new(format!(
            "cannot mount {}: it points into a version, and versions are mounted as a whole",
            file.display()
        ))
        .hint("`strata checkout` gives what it points to, as a copy or with --link")),
    }
}

/// The same command for the daemon, with absolute paths.
fn daemon_arguments(args: &Args, store: PathBuf, mountpoint: PathBuf) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["mount".into(), "--daemon".into(), "--store".into(), store.into()];
    if let Some(dataset) = &args.dataset {
        all.extend(["--dataset".into(), dataset.as_str().into()]);
    }
    match &args.at {
        Some(At::Version(version)) => all.extend(["--at".into(), version.as_str().into()]),
        Some(At::File(file)) => all.extend(["--at".into(), file.into()]),
        None => {}
    }
    let flags = [
        ("--passthrough", args.passthrough),
        ("--allow-other", args.allow_other),
        ("--read-only", args.read_only),
        ("--no-exec", args.no_exec),
        ("--sync=always", args.sync == Sync::Always),
    ];
    all.extend(flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
    all.extend(["--".into(), mountpoint.into()]);
    all
}
