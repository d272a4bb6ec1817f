//! The control socket: commands talk to the daemon here.
//!
//! The socket lies in the store's directory and takes requests from the daemon's own user and root
//! alone, whatever the permissions of the file say. A connection is a sequence of requests and their
//! answers; anything else closes it. Each has a thread; there are at most [`CONNECTIONS_MAX`], and where one
//! more comes, the one that has asked for nothing for longest is closed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use crate::dataset::Caller;

use super::failure::Failure;
use super::frame::{self, FrameError, Kind};
use super::protocol::{Item, Request};
use super::service::{Service, Session, Sink};

/// Name of the socket in the store's directory.
const SOCKET: &str = "control.sock";
/// Most connections at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// Bytes of an answer that are sent together.
const BUFFER: usize = 64 << 10;

/// Connects to the daemon that serves the store in `store`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` where none does.
pub fn connect(store: &Path) -> io::Result<UnixStream> {
    let (_dir, path) = socket_path(store)?;
    // A link could lead to anybody's socket.
    match fs::symlink_metadata(&path)?.file_type().is_socket() {
        true => UnixStream::connect(path),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The path of the socket by way of an open directory, since a socket's path has at most 107 bytes. It
/// is good as long as the directory is open.
fn socket_path(store: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(store, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    Ok((dir, path.into()))
}

/// Serves requests until it is stopped.
pub struct Server {
    store: PathBuf,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    service: Arc<Service>,
    listener: UnixListener,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    last: u64,
    open: BTreeMap<u64, Connection>,
    threads: HashMap<u64, JoinHandle<()>>,
}

struct Connection {
    stream: UnixStream,
    /// Whether it is for the other side to ask for something.
    idle: Arc<AtomicBool>,
}

impl Server {
    /// Begins to serve. The caller has the store locked: a socket file of before is a dead one.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn start(service: Arc<Service>, store: &Path) -> io::Result<Server> {
        let (_dir, path) = socket_path(store)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let shared = Arc::new(Shared {
            service,
            listener,
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = shared.clone();
        let acceptor = thread::Builder::new().name("control".into()).spawn(move || accept(&accepting))?;
        Ok(Server { store: store.to_owned(), shared, acceptor })
    }

    /// Stops: takes no new connections, breaks off those there are, and waits for their ends. A batch
    /// under way ends as if its command had failed.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::Release);
        let (_, shutdown) = (&self.shared, rustix::net::Shutdown::Both);
        if let Err(e) = rustix::net::shutdown(&self.shared.listener, shutdown) {
            log::debug!("closing the control socket: {e}");
        }
        if self.acceptor.join().is_err() {
            log::error!("the control socket's thread panicked");
        }
        let threads = {
            let mut connections = self.shared.connections.lock();
            connections.open.values().for_each(Connection::break_off);
            std::mem::take(&mut connections.threads)
        };
        for thread in threads.into_values() {
            if thread.join().is_err() {
                log::error!("a control connection's thread panicked");
            }
        }
        drop(fs::remove_file(self.store.join(SOCKET)));
    }
}

impl Connection {
    fn break_off(&self) {
        // It may be closed already.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

impl Connections {
    /// Makes room for one more.
    fn make_room(&mut self) -> io::Result<()> {
        if self.open.len() < CONNECTIONS_MAX {
            return Ok(());
        }
        let mut idle = self.open.iter().filter(|(_, connection)| connection.idle.load(Ordering::Acquire));
        let Some((&id, connection)) = idle.next() else {
            return Err(io::Error::other(format!("{CONNECTIONS_MAX} are at work already")));
        };
        connection.break_off();
        self.open.remove(&id);
        Ok(())
    }
}

fn accept(shared: &Arc<Shared>) {
    while !shared.stopping.load(Ordering::Acquire) {
        match shared.listener.accept() {
            Ok((stream, _)) => {
                if let Err(e) = begin(shared, stream) {
                    log::warn!("a control connection was not taken: {e}");
                }
            }
            Err(_) if shared.stopping.load(Ordering::Acquire) => {}
            Err(e) => {
                log::warn!("the control socket: {e}");
                thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }
}

/// Starts a thread for a connection.
fn begin(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let by = peer(&stream)?;
    let mut connections = shared.connections.lock();
    connections.threads.retain(|_, thread| !thread.is_finished());
    connections.make_room()?;
    connections.last += 1;
    let id = connections.last;
    let idle = Arc::new(AtomicBool::new(true));
    connections.open.insert(id, Connection { stream: stream.try_clone()?, idle: idle.clone() });
    let serving = shared.clone();
    let thread = thread::Builder::new().name(format!("control {id}")).spawn(move || {
        if let Err(e) = serve(&serving.service, &stream, &idle, by) {
            log::debug!("control connection of process {}: {e}", by.pid);
        }
        serving.connections.lock().open.remove(&id);
    });
    match thread {
        Ok(thread) => drop(connections.threads.insert(id, thread)),
        Err(e) => {
            connections.open.remove(&id);
            return Err(e);
        }
    }
    Ok(())
}

/// Who is at the other end.
fn peer(stream: &UnixStream) -> io::Result<Caller> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    let (uid, own) = (credentials.uid, rustix::process::geteuid());
    if uid != own && !uid.is_root() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {} asked, only {} and root may", uid.as_raw(), own.as_raw()),
        ));
    }
    Ok(Caller {
        uid: uid.as_raw(),
        gid: credentials.gid.as_raw(),
        pid: credentials.pid.as_raw_nonzero().get() as u32,
    })
}

/// Answers the requests of a connection until it is closed.
fn serve(service: &Service, stream: &UnixStream, idle: &AtomicBool, by: Caller) -> Result<(), FrameError> {
    let mut sink = FrameSink(BufWriter::with_capacity(BUFFER, stream));
    let mut session = Session::new(service, by);
    while let Some(request) = next_request(stream)? {
        idle.store(false, Ordering::Release);
        let mut input = Following { stream, rest: Vec::new(), at: 0, more: request.is_followed() };
        let answered = catch_unwind(AssertUnwindSafe(|| match request {
            Request::Batch { datasets, rollback_on_error, message } => {
                let batch = service.begin_batch(by, &datasets, rollback_on_error, message)?;
                sink.item(Item::BatchBegun)?;
                sink.0.flush().map_err(|e| Failure::output(&e))?;
                // Anything but an end in order counts as a failure of the command.
                let success = matches!(next_request(stream), Ok(Some(Request::EndBatch { success: true })));
                batch.end(success, &mut sink).map(|()| 0)
            }
            request => session.execute(request, &mut input, &mut sink),
        }));
        match answered.unwrap_or_else(|_| Err(Failure::new("internal error: the daemon's log has more"))) {
            Ok(code) => frame::write_json(&mut sink.0, Kind::End, &code)?,
            Err(failure) => frame::write_json(&mut sink.0, Kind::Failure, &failure)?,
        }
        sink.0.flush()?;
        if input.more {
            // What nobody took is no request. Whoever hands it on sees that, and finds the answer.
            return Ok(stream.shutdown(Shutdown::Read)?);
        }
        idle.store(true, Ordering::Release);
    }
    Ok(())
}

fn next_request(mut stream: &UnixStream) -> Result<Option<Request>, FrameError> {
    match frame::read(&mut stream)? {
        None => Ok(None),
        Some((Kind::Request, payload)) => frame::decode(&payload).map(Some),
        Some((kind, _)) => Err(FrameError::Unexpected(kind)),
    }
}

/// The bytes that follow a request.
struct Following<'a> {
    stream: &'a UnixStream,
    rest: Vec<u8>,
    /// How many bytes of these were taken.
    at: usize,
    /// Whether their end has not come yet.
    more: bool,
}

impl Read for Following<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() && self.more {
            let mut stream = self.stream;
            (self.rest, self.at) = match frame::read(&mut stream).map_err(io::Error::other)? {
                Some((Kind::Data, bytes)) => (bytes, 0),
                Some((Kind::End, _)) => {
                    self.more = false;
                    (Vec::new(), 0)
                }
                Some((kind, _)) => return Err(io::Error::other(FrameError::Unexpected(kind))),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let taken = (&self.rest[self.at..]).read(out)?;
        self.at += taken;
        Ok(taken)
    }
}

/// Sends an answer in frames.
struct FrameSink<'a>(BufWriter<&'a UnixStream>);

impl Sink for FrameSink<'_> {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        // Whoever waits sees how far it is, and one who waits no more is noticed.
        let at_once = matches!(
            item,
            Item::Progress { .. } | Item::Importing { .. } | Item::Prefetching(_) | Item::Pointing { .. }
        );
        frame::write_json(&mut self.0, Kind::Item, &item).map_err(gone)?;
        if at_once { self.0.flush().map_err(|_| Failure::reader_gone()) } else { Ok(()) }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        frame::write(&mut self.0, Kind::Data, bytes).map_err(gone)
    }
}

fn gone(error: FrameError) -> Failure {
    match error {
        FrameError::Io(_) => Failure::reader_gone(),
        error => Failure::because("cannot send the answer", &error),
    }
}
