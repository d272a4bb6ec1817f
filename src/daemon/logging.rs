//! Where log lines and panics go: to standard error, which in a detached daemon is the file
//! `daemon.log` of its store.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use log::LevelFilter;

/// A log of more bytes is put aside when a daemon starts.
const LOG_MAX: u64 = 16 << 20;

/// Starts logging. `ours` is the level of our own messages; of others only warnings are shown, of fuser
/// errors (it warns of every call that the kernel need not have an answer to). `STRATA_LOG` says otherwise, in the form `level` or `module=level,…`.
pub fn start(ours: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Warn).filter_module(env!("CARGO_PKG_NAME"), ours);
    builder.filter_module("fuser", LevelFilter::Error);
    if let Ok(filters) = std::env::var("STRATA_LOG") {
        builder.parse_filters(&filters);
    }
    // Started twice (in tests), the first stays.
    drop(builder.try_init());
    std::panic::set_hook(Box::new(|panic| {
        if crate::store::catches_panics() {
            return;
        }
        let thread = std::thread::current();
        log::error!("thread {}: {panic}", thread.name().unwrap_or("?"));
    }));
}

/// Sends standard error of this process to the log file of the store in `store` from now on.
///
/// # Errors
/// Where the file cannot be opened.
pub fn to_file(store: &Path) -> io::Result<()> {
    let path = store.join("daemon.log");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX) {
        fs::rename(&path, store.join("daemon.log.old"))?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}
