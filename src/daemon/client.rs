//! How a command reaches a store: through the daemon that has it, else by opening it itself.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::dataset::{self, Caller, Repo};
use crate::store::{self, Store};

use super::control;
use super::failure::Failure;
use super::frame::{self, FrameError, Kind};
use super::protocol::{Item, Request};
use super::service::{Nowhere, Service, Session, Sink};

/// How long a store that somebody has for a moment (another command, a daemon that starts or ends) is
/// waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// After so long without an answer it is said that one is waited for.
const ANSWER_AFTER: Duration = Duration::from_secs(10);
/// Bytes of what follows a request that are handed on at a time.
const INPUT: usize = 256 << 10;

/// A way to the store.
pub struct Client(Way);

enum Way {
    Daemon(UnixStream),
    Own(Box<Service>),
}

impl Client {
    /// Finds the way to the store in `store`, which must exist.
    ///
    /// # Errors
    /// Where there is no store, or it cannot be reached.
    pub fn open(store: &Path) -> Result<Client, Failure> {
        exists(store)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(stream) = daemon(store)? {
                return Ok(Client(Way::Daemon(stream)));
            }
            raise_file_limit();
            match Repo::open(store, false) {
                Ok(repo) => return Ok(Client(Way::Own(Box::new(Service::new(Arc::new(repo), None))))),
                Err(dataset::Error::Store(store::Error::InUse { .. })) if Instant::now() < deadline => {
                    thread::sleep(POLL);
                }
                Err(error) => return Err(in_use(error)),
            }
        }
    }

    /// Connects to the daemon that has the store.
    ///
    /// # Errors
    /// Where there is none.
    pub fn daemon(store: &Path) -> Result<Client, Failure> {
        exists(store)?;
        match daemon(store)? {
            Some(stream) => Ok(Client(Way::Daemon(stream))),
            None => Err(Failure::new(format!("the store in {} is not mounted", store.display()))
                .hint("mount it first: strata mount MOUNTPOINT")),
        }
    }

    /// Asks for something; gives the exit code.
    ///
    /// # Errors
    /// Where it failed, or `sink` takes no more.
    pub fn run(&mut self, request: Request, sink: &mut dyn Sink) -> Result<u8, Failure> {
        self.run_with(request, &mut io::empty(), sink)
    }

    /// The same of a request that the bytes of `input` follow, where it is one.
    ///
    /// # Errors
    /// Also where `input` fails.
    pub fn run_with(
        &mut self,
        request: Request,
        input: &mut dyn Read,
        sink: &mut dyn Sink,
    ) -> Result<u8, Failure> {
        match &mut self.0 {
            Way::Own(service) => Session::new(service, own_caller()).execute(request, input, sink),
            Way::Daemon(stream) => {
                let is_followed = request.is_followed();
                send(stream, &request)?;
                if is_followed {
                    hand_on(stream, input)?;
                }
                await_answer(stream);
                receive(stream, sink)
            }
        }
    }

    /// Begins a batch; it lasts until [`Client::end_batch`], or this is dropped.
    ///
    /// # Errors
    /// Where the daemon refuses it.
    pub fn begin_batch(&mut self, request: Request) -> Result<(), Failure> {
        match &mut self.0 {
            Way::Own(service) => service.execute(own_caller(), request, &mut Nowhere).map(drop),
            Way::Daemon(stream) => {
                send(stream, &request)?;
                await_answer(stream);
                match next(stream)? {
                    Answer::Item(item) if *item == Item::BatchBegun => Ok(()),
                    Answer::Failure(failure) => Err(failure),
                    _ => Err(Failure::new("the daemon answered out of turn")),
                }
            }
        }
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn end_batch(&mut self, success: bool, sink: &mut dyn Sink) -> Result<u8, Failure> {
        self.run(Request::EndBatch { success }, sink)
    }

    /// Leaves the store in order.
    ///
    /// # Errors
    /// Where what was changed cannot be made durable.
    pub fn close(self) -> Result<(), Failure> {
        match self.0 {
            Way::Daemon(_) => Ok(()),
            Way::Own(service) => Ok(service.repo().finish()?),
        }
    }
}

/// Checks that there is a store.
fn exists(path: &Path) -> Result<(), Failure> {
    Store::look_for(path).map_err(|error| {
        let none = matches!(error, store::Error::NotAStore(_));
        let failure = Failure::from(error);
        if none { failure.hint("--store DIR or STRATA_STORE says where the store is") } else { failure }
    })
}

/// The connection to the store's daemon, if there is one.
fn daemon(store: &Path) -> Result<Option<UnixStream>, Failure> {
    match control::connect(store) {
        Ok(stream) => Ok(Some(stream)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => {
            Err(Failure::because(format!("cannot reach the daemon of the store in {}", store.display()), &e))
        }
    }
}

fn in_use(error: dataset::Error) -> Failure {
    let in_use = matches!(error, dataset::Error::Store(store::Error::InUse { .. }));
    let failure = Failure::from(error);
    if !in_use {
        return failure;
    }
    Failure {
        message: format!("{}, which does not answer at its control socket", failure.message),
        ..failure
    }
    .hint("it may be busy with another command, starting or ending: try again, or end that process")
}

/// Packs are kept open, and many clients of a daemon may have many files open.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        log::debug!("raising the limit of open files: {e}");
    }
}

/// This process, as the one who asks for changes.
pub fn own_caller() -> Caller {
    use rustix::process::{getegid, geteuid};
    Caller { uid: geteuid().as_raw(), gid: getegid().as_raw(), pid: std::process::id() }
}

fn send(stream: &mut UnixStream, request: &Request) -> Result<(), Failure> {
    frame::write_json(stream, Kind::Request, request).map_err(lost)
}

/// Hands on all of `input`; less where the daemon takes no more, whose answer then says why.
fn hand_on(stream: &mut UnixStream, input: &mut dyn Read) -> Result<(), Failure> {
    let mut buffer = vec![0; INPUT];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Failure::because("cannot read the input", &e)),
        };
        let kind = if read == 0 { Kind::End } else { Kind::Data };
        match frame::write(stream, kind, &buffer[..read]) {
            Ok(()) if read == 0 => return Ok(()),
            Ok(()) => {}
            Err(FrameError::Io(e))
                if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                return Ok(());
            }
            Err(error) => return Err(lost(error)),
        }
    }
}

/// Says so where there is no answer for long, since a daemon that hangs or was stopped gives none.
fn await_answer(stream: &UnixStream) {
    let waited = stream.set_read_timeout(Some(ANSWER_AFTER)).is_ok();
    let first = recv(stream, &mut [0u8; 1], RecvFlags::PEEK);
    drop(stream.set_read_timeout(None));
    if !waited || first != Err(Errno::AGAIN) {
        return;
    }
    let pid = socket_peercred(stream).ok().map(|peer| peer.pid.as_raw_pid());
    let pid = pid.map_or("?".to_owned(), |pid| pid.to_string());
    let why = match is_stopped(&pid) {
        true => format!("; it is stopped, and goes on by: kill -CONT {pid}"),
        false => String::new(),
    };
    eprintln!(
        "waiting for the daemon (process {pid}), which has not answered for {} s{why}",
        ANSWER_AFTER.as_secs()
    );
}

/// Whether a process was stopped by a signal.
fn is_stopped(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('T'))
}

enum Answer {
    Item(Box<Item>),
    Data(Vec<u8>),
    End(u8),
    Failure(Failure),
}

fn next(stream: &mut UnixStream) -> Result<Answer, Failure> {
    let (kind, payload) = frame::read(stream).map_err(lost)?.ok_or_else(|| lost(FrameError::Closed))?;
    Ok(match kind {
        Kind::Item => Answer::Item(Box::new(frame::decode(&payload).map_err(lost)?)),
        Kind::Data => Answer::Data(payload),
        Kind::End => Answer::End(frame::decode(&payload).map_err(lost)?),
        Kind::Failure => Answer::Failure(frame::decode(&payload).map_err(lost)?),
        Kind::Request => return Err(lost(FrameError::Unexpected(kind))),
    })
}

fn receive(stream: &mut UnixStream, sink: &mut dyn Sink) -> Result<u8, Failure> {
    loop {
        match next(stream)? {
            Answer::Item(item) => sink.item(*item)?,
            Answer::Data(bytes) => sink.data(&bytes)?,
            Answer::End(code) => return Ok(code),
            Answer::Failure(failure) => return Err(failure),
        }
    }
}

fn lost(error: FrameError) -> Failure {
    Failure::because("the daemon did not answer", &error)
        .hint("it may have ended: `strata status` tells, and daemon.log in the store says why")
}
