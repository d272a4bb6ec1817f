//! The life of a mount: check, open, mount, serve, unmount, close.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::dataset::{self, Invalid, Repo};
use crate::fuse::{self, Mount, MountOptions};
use crate::model::{Content, DatasetId, DatasetName, Ino, VersionNo, VersionSet, word};
use crate::store;
use crate::view::{Copies, FileSystem, Scope};

use super::control::{self, Server};
use super::failure::Failure;
use super::memory::Memory;
use super::object::VersionText;
use super::pointer::Pointer;
use super::service::{Host, Service, Sink};
use super::spawn::Starter;
use super::{Item, Request, logging, mounts, preflight};

/// How often it is looked whether a dataset's rules are to be applied.
const RETAIN_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Readahead of the mount, in KiB: without it the kernel asks for 128 KiB at a time.
const READ_AHEAD_KIB: u32 = 1024;
/// How long the last users of a mount that was told to end are waited for.
const LINGER: Duration = Duration::from_secs(5);
/// How long a store that another command has for a moment is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to mount where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store; it is made if there is none. An absolute path.
    pub store: PathBuf,
    /// Where. An absolute path.
    pub mountpoint: PathBuf,
    /// Only this dataset.
    pub dataset: Option<DatasetName>,
    /// Only this version of it.
    pub at: Option<At>,
    /// Whether the kernel reads large files by itself, from plain copies.
    pub passthrough: bool,
    /// Whether other users may use the mount.
    pub allow_other: bool,
    /// Whether nothing can be changed.
    pub read_only: bool,
    /// Whether no programs are run from it.
    pub no_exec: bool,
    /// Whether every change is durable when its call returns.
    pub sync_always: bool,
}

/// What names the version that is mounted alone.
#[derive(Clone, Debug)]
pub enum At {
    /// Its name.
    Version(VersionText),
    /// A pointer to it.
    Pointer(Pointer),
}

/// Mounts and serves until the mount ends.
///
/// # Errors
/// Where it cannot be mounted, or what was written cannot be made durable at the end.
pub fn run(options: &Options, starter: Starter) -> Result<(), Failure> {
    let started = starter.leave_directory().and_then(|()| Daemon::start(options, starter));
    match started {
        Ok(daemon) => daemon.serve(),
        Err(failure) => Err(starter.failed(failure)),
    }
}

/// A mounted store.
struct Daemon {
    repo: Arc<Repo>,
    host: Arc<Mounted>,
    server: Server,
    ticker: Ticker,
    events: Receiver<Event>,
}

enum Event {
    Signal(i32),
    Ended(io::Result<()>),
}

struct Mounted {
    mount: Mount,
    fs: Arc<FileSystem>,
    scope: Scope,
    read_only: bool,
}

impl Host for Mounted {
    fn mountpoint(&self) -> &Path {
        self.mount.mountpoint()
    }

    fn is_detached(&self) -> bool {
        let is_this = |mount: &mounts::MountEntry| mount.point == self.mountpoint() && mount.is_fuse();
        mounts::list().is_ok_and(|mounted| !mounted.iter().any(is_this))
    }

    fn shows(&self) -> Option<String> {
        match &self.scope {
            Scope::Store => None,
            Scope::Dataset(dataset) => Some(dataset.name().to_string()),
            Scope::Pinned(dataset, version) => Some(format!("{}@{version}", dataset.name())),
        }
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn copy_bytes(&self) -> u64 {
        self.fs.copies().map_or(0, Copies::bytes)
    }

    fn invalidate(&self, dataset: DatasetId, invalid: &Invalid) {
        self.mount.invalidate(dataset, invalid);
    }

    fn open_contents(&self) -> Vec<Content> {
        self.fs.open_contents()
    }

    fn open_versions(&self, dataset: DatasetId, among: &VersionSet) -> dataset::Result<Vec<VersionNo>> {
        self.fs.open_versions(dataset, among)
    }

    fn forget_versions(&self, dataset: DatasetId, versions: &VersionSet) {
        self.mount.invalidate(dataset, &self.fs.forget_versions(dataset, versions));
    }

    fn forget_contents(&self, dataset: DatasetId, recorded: &[(VersionNo, Ino)]) {
        self.mount.forget_contents(dataset, recorded);
    }

    fn dataset_made(&self, name: &DatasetName) {
        self.mount.dataset_made(name);
    }
}

impl Daemon {
    fn start(options: &Options, starter: Starter) -> Result<Daemon, Failure> {
        if options.allow_other {
            preflight::allow_other()?;
        }
        if options.passthrough {
            preflight::passthrough()?;
        }
        let mountpoint = preflight::mountpoint(&options.mountpoint)?;
        preflight::store_place(&options.store)?;
        preflight::apart(&options.store, &mountpoint)?;
        super::client::raise_file_limit();
        // Signals are caught before there is anything to be left in disorder.
        let (sender, events) = mpsc::channel();
        watch_signals(sender.clone())?;
        let repo = Arc::new(open(options)?);
        if starter == Starter::Command {
            logging::to_file(&options.store).map_err(|e| Failure::because("cannot open daemon.log", &e))?;
            if let Some(why) = repo.store().read_only() {
                // Said already, where nobody looks for it later.
                log::error!("{why}; the store takes no more writes until it is opened anew");
            }
        }
        let scope = scope(&repo, options)?;
        let read_only = options.read_only || options.at.is_some();
        let fs = FileSystem::new(repo.clone(), scope.clone(), read_only).shared(options.allow_other);
        let fs = if options.passthrough { fs.with_copies().map_err(|e| thread_failure(&e))? } else { fs };
        let fs = Arc::new(fs);
        let mount_options = MountOptions {
            mountpoint: mountpoint.clone(),
            allow_other: options.allow_other,
            read_only,
            no_exec: options.no_exec,
            fs_name: mounts::source_of(&options.store),
        };
        let mount = fuse::mount(fs.clone(), &mount_options)
            .map_err(|e| Failure::because(format!("cannot mount at {}", mountpoint.display()), &e))?;
        set_read_ahead(&mountpoint);
        let host = Arc::new(Mounted { mount, fs, scope, read_only });
        let started = || {
            let service = Arc::new(Service::new(repo.clone(), Some(host.clone())));
            let server = Server::start(service.clone(), &options.store)
                .map_err(|e| Failure::because("cannot make the control socket", &e))?;
            let ticker = Ticker::start(repo.clone(), service).map_err(|e| thread_failure(&e))?;
            watch_mount(host.clone(), sender).map_err(|e| thread_failure(&e))?;
            starter.ready()?;
            Ok((server, ticker))
        };
        match started() {
            Ok((server, ticker)) => {
                log::info!(
                    "{} is mounted at {} (process {})",
                    options.store.display(),
                    mountpoint.display(),
                    std::process::id()
                );
                Ok(Daemon { repo, host, server, ticker, events })
            }
            Err(failure) => {
                if let Err(e) = host.mount.unmount() {
                    log::error!("unmounting {}: {e}", mountpoint.display());
                }
                Err(failure)
            }
        }
    }

    /// Waits for the end, and brings it about when a signal asks for it.
    fn serve(self) -> Result<(), Failure> {
        let mut deadline = None;
        let ended = loop {
            let event = match deadline {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.events.recv_timeout(Instant::saturating_duration_since(&at, Instant::now())),
            };
            match event {
                Ok(Event::Signal(signal)) => {
                    log::info!("signal {signal}: unmounting");
                    if let Err(e) = self.host.mount.unmount() {
                        log::warn!("unmounting {}: {e}", self.host.mountpoint().display());
                    }
                    deadline = deadline.or(Some(Instant::now() + LINGER));
                }
                Ok(Event::Ended(result)) => break result,
                Err(_) => {
                    log::warn!("the mount is still in use: its users will see errors");
                    break Ok(());
                }
            }
        };
        if let Err(e) = ended {
            log::error!("serving the mount: {e}");
        }
        // First nobody may ask for more, then what was asked for is made durable.
        self.server.stop();
        self.ticker.stop();
        let finished = self.repo.finish();
        drop(self.host);
        close(self.repo);
        log::info!("unmounted");
        Ok(finished?)
    }
}

/// Lets go of the store, which its last holder closes in order: threads that are about to end hold it for a
/// moment longer than this one, and would hold it when the process ends.
fn close(repo: Arc<Repo>) {
    let deadline = Instant::now() + LINGER;
    while Arc::strong_count(&repo) > 1 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    if Arc::strong_count(&repo) > 1 {
        log::warn!("the store is still in use: it is left as after a kill, and opens a little slower");
    }
}

/// Opens the store, which another command may have for a moment.
fn open(options: &Options) -> Result<Repo, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Repo::open(&options.store, options.sync_always) {
            Err(dataset::Error::Store(store::Error::InUse { path, pid })) => {
                let mountpoint = mountpoint_of(&path);
                if mountpoint.is_none() && Instant::now() < deadline {
                    thread::sleep(TICK);
                    continue;
                }
                let failure = Failure::from(store::Error::InUse { path, pid });
                return Err(match mountpoint {
                    Some(point) => failure.hint(format!(
                        "it is mounted at {point}: use that, or unmount it first: strata umount {}",
                        word(Path::new(&point))
                    )),
                    None => failure.hint(
                        "where it was unmounted with --lazy, it is free once the last program that uses it ends, or by \
                         the end of that process",
                    ),
                });
            }
            opened => return Ok(opened?),
        }
    }
}

/// Where the daemon that has the store says that it is mounted.
fn mountpoint_of(store: &Path) -> Option<String> {
    struct Point(Option<String>);
    impl Sink for Point {
        fn item(&mut self, item: Item) -> Result<(), Failure> {
            if let Item::Status(status) = item {
                self.0 = status.mountpoint;
            }
            Ok(())
        }
        fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }
    control::connect(store).ok()?;
    let mut point = Point(None);
    let request = Request::Status { count_all: false };
    super::Client::daemon(store).ok()?.run(request, &mut point).ok()?;
    point.0
}

/// What is to be shown.
fn scope(repo: &Repo, options: &Options) -> Result<Scope, Failure> {
    let version = match &options.at {
        Some(At::Version(version)) => version,
        Some(At::Pointer(pointer)) => {
            let (dataset, pointed) = pointer.find(repo)?;
            return Ok(Scope::Pinned(dataset, pointed.tree.version()));
        }
        None => {
            return Ok(match &options.dataset {
                Some(name) => Scope::Dataset(repo.dataset(name.as_str())?),
                None => Scope::Store,
            });
        }
    };
    let dataset = match (&options.dataset, repo.datasets().as_slice()) {
        (Some(name), _) => repo.dataset(name.as_str())?,
        (None, [only]) => only.clone(),
        (None, _) => {
            return Err(Failure::usage("--at shows a version of one dataset: name it with --dataset"));
        }
    };
    dataset.seal_to_look()?;
    let unknown =
        || dataset::Error::NoVersion { dataset: dataset.name().to_string(), spec: version.as_str().into() };
    let spec = version.spec().ok_or_else(unknown)?;
    let number = dataset.resolve(&spec)?;
    Ok(Scope::Pinned(dataset, number))
}

/// Lets the kernel read ahead as far as pays; without the right to, it goes without.
fn set_read_ahead(mountpoint: &Path) {
    let set = || {
        let entry = mounts::at(mountpoint)?.ok_or_else(|| io::Error::other("no such mount"))?;
        let path = format!("/sys/class/bdi/{}/read_ahead_kb", entry.device);
        std::fs::write(path, READ_AHEAD_KIB.to_string())
    };
    if let Err(e) = set() {
        log::debug!("setting the readahead of {}: {e}", mountpoint.display());
    }
}

fn thread_failure(error: &io::Error) -> Failure {
    Failure::because("cannot start a thread", error)
}

fn watch_signals(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| Failure::because("cannot catch signals", &e))?;
    let mut watch = move || signals.forever().try_for_each(|signal| events.send(Event::Signal(signal)));
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || drop(watch()))
        .map(drop)
        .map_err(|e| thread_failure(&e))
}

fn watch_mount(host: Arc<Mounted>, events: Sender<Event>) -> io::Result<()> {
    let watch = move || drop(events.send(Event::Ended(host.mount.wait())));
    thread::Builder::new().name("mount".into()).spawn(watch).map(drop)
}

/// Calls for what is due with the passing of time.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Prunes and gives space back, which may take long.
    retention: JoinHandle<()>,
}

impl Ticker {
    fn start(repo: Arc<Repo>, service: Arc<Service>) -> io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let tick = move || {
            let mut memory = Memory::default();
            while !stopped.load(Ordering::Acquire) {
                let ticked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| repo.tick()));
                if ticked.is_err() {
                    // The hook has logged it; the next tick may fare better.
                    thread::sleep(TICK);
                }
                memory.tick();
                thread::park_timeout(TICK);
            }
        };
        let thread = thread::Builder::new().name("ticker".into()).spawn(tick)?;
        let stopped = stop.clone();
        let retain = move || {
            // The hook has logged a panic.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| service.finish_purges())));
            while !stopped.load(Ordering::Acquire) {
                let apply = std::panic::AssertUnwindSafe(|| service.apply_retention(&stopped));
                // The hook has logged a panic; the next time may fare better.
                drop(std::panic::catch_unwind(apply));
                thread::park_timeout(RETAIN_EVERY);
            }
        };
        let retention = thread::Builder::new().name("retention".into()).spawn(retain)?;
        Ok(Ticker { stop, thread, retention })
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.retention.thread().unpark();
        if self.thread.join().and(self.retention.join()).is_err() {
            log::error!("the ticker's thread panicked");
        }
    }
}
