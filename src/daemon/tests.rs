//! The control socket and the service behind it, on a store without a mount.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::control::{self, Server};
use super::frame::{self, Kind};
use super::protocol::Made;
use super::service::Host;
use super::*;
use crate::dataset::{Caller, Invalid, NewInode, Repo};
use crate::model::{Body, DatasetId, DatasetName, Ino, Name};

#[derive(Default)]
struct FakeMount {
    invalidated: Mutex<Vec<usize>>,
    read_only: bool,
}

impl Host for FakeMount {
    fn copy_bytes(&self) -> u64 {
        0
    }

    fn mountpoint(&self) -> &Path {
        Path::new("/mnt/fake")
    }

    fn shows(&self) -> Option<String> {
        None
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn invalidate(&self, _: DatasetId, invalid: &Invalid) {
        self.invalidated.lock().push(invalid.names.len());
    }

    fn dataset_made(&self, _: &DatasetName) {}
}

#[derive(Default)]
struct Collect {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Sink for Collect {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.items.push(item);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

struct Daemon {
    _dir: TempDir,
    store: PathBuf,
    repo: Arc<Repo>,
    mount: Arc<FakeMount>,
    server: Option<Server>,
}

impl Daemon {
    fn start() -> Daemon {
        Daemon::with(FakeMount::default())
    }

    fn with(mount: FakeMount) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        // Longer than the path of a socket may be.
        let store = dir.path().join("long".repeat(40)).join("store");
        let repo = Arc::new(Repo::open(&store, false).unwrap());
        repo.create(DatasetName::new(b"d").unwrap(), 0o755, 0, 0).unwrap();
        let mount = Arc::new(mount);
        let service = Arc::new(Service::new(repo.clone(), Some(mount.clone())));
        let server = Some(Server::start(service, &store).unwrap());
        Daemon { _dir: dir, store, repo, mount, server }
    }

    fn mkdir(&self, name: &str) {
        let new = NewInode { mode: 0o755, uid: 0, gid: 0, body: Body::Dir };
        let name = Name::new(name.as_bytes()).unwrap();
        let dataset = self.repo.dataset("d").unwrap();
        dataset.change(Caller::default(), |live| live.create(Ino::ROOT, &name, new, false)).unwrap();
    }

    fn ask(&self, request: Request) -> (Result<u8, Failure>, Collect) {
        let mut collect = Collect::default();
        let mut client = Client::open(&self.store).unwrap();
        (client.run(request, &mut collect), collect)
    }

    fn versions(&self) -> u64 {
        self.repo.dataset("d").unwrap().newest().0
    }

    fn names(&self) -> usize {
        self.repo.dataset("d").unwrap().read(|live| live.list(Ino::ROOT, 0, 100)).unwrap().len()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

fn dataset() -> DatasetName {
    DatasetName::new(b"d").unwrap()
}

fn batch(rollback_on_error: bool) -> Request {
    Request::Batch { datasets: vec![dataset()], rollback_on_error, message: Some("why".into()) }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_are_answered_through_the_socket() {
    let daemon = Daemon::start();
    (0..5).for_each(|n| daemon.mkdir(&format!("dir{n}")));
    let (code, answer) =
        daemon.ask(Request::Log { dataset: dataset(), path: Vec::new(), follow: true, limit: Some(3) });
    assert_eq!(code, Ok(0));
    let versions: Vec<_> = answer
        .items
        .iter()
        .map(|item| match item {
            Item::Version(entry) => entry.version.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, ["v5", "v4", "v3"]);
    let (code, answer) = daemon.ask(Request::Status { count_all: false });
    assert_eq!(code, Ok(0));
    let [Item::Status(status)] = answer.items.as_slice() else { panic!("{:?}", answer.items) };
    assert_eq!((status.pid, status.mountpoint.as_deref()), (Some(std::process::id()), Some("/mnt/fake")));
    let missing =
        Request::Rollback { dataset: dataset(), version: version("v9"), message: None, skip_purged: false };
    let failure = daemon.ask(missing).0.unwrap_err();
    assert!(failure.code == 1 && failure.message.contains("v9"), "{failure:?}");
}

fn version(text: &str) -> object::VersionText {
    object::VersionText::parse(text).unwrap()
}

#[test]
fn the_kernel_is_told_of_a_rollback() {
    let daemon = Daemon::start();
    ["a", "b", "c"].iter().for_each(|name| daemon.mkdir(name));
    let (code, answer) = daemon.ask(Request::Rollback {
        dataset: dataset(),
        version: version("v1"),
        message: None,
        skip_purged: false,
    });
    assert_eq!(code, Ok(0));
    let made = Made {
        dataset: "d".into(),
        version: Some("v4".into()),
        restores: Some("v1".into()),
        attributes_left_out: 0,
        objects_missing: 0,
        left_out: Vec::new(),
        newest: "v4".into(),
    };
    assert_eq!(answer.items, [Item::Made(made)]);
    assert_eq!(*daemon.mount.invalidated.lock(), [2], "b and c");
}

#[test]
fn the_kernel_is_told_of_all_that_a_rollback_over_very_many_versions_changed() {
    let daemon = Daemon::start();
    (0..1300).for_each(|name| daemon.mkdir(&name.to_string()));
    for to in ["v10", "v1300", "v1290"] {
        let version = version(to);
        let back = Request::Rollback { dataset: dataset(), version, message: None, skip_purged: false };
        assert_eq!(daemon.ask(back).0, Ok(0));
    }
    assert_eq!(*daemon.mount.invalidated.lock(), [1290, 1290, 10], "no more and no fewer");
}

#[test]
fn a_read_only_mount_takes_no_changes() {
    let daemon = Daemon::with(FakeMount { read_only: true, ..FakeMount::default() });
    for request in [
        Request::Commit { dataset: dataset(), message: None },
        Request::Rollback { dataset: dataset(), version: version("v1"), message: None, skip_purged: false },
        Request::SetPolicy { dataset: dataset(), policy: crate::model::Policy::Manual },
        batch(false),
    ] {
        let failure = daemon.ask(request).0.unwrap_err();
        assert!(failure.message.contains("read-only"), "{failure:?}");
    }
}

#[test]
fn hostile_input_closes_the_connection_and_nothing_else() {
    let daemon = Daemon::start();
    let mut whole = Vec::new();
    frame::write_json(&mut whole, Kind::Request, &Request::Datasets).unwrap();
    let inputs: [&[u8]; 6] = [
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 1, b'{', b'{'],
        &[0, 0, 0, 2, 2, b'1'],
        b"GET / HTTP/1.1\r\n\r\n",
        &whole[..whole.len() - 1],
    ];
    for input in inputs {
        let mut stream = control::connect(&daemon.store).unwrap();
        stream.write_all(input).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Closed with input unread, the connection may be reset.
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty(), "{input:?} was answered by {answer:?}");
    }
    assert_eq!(daemon.ask(Request::Datasets).0, Ok(0));
}

/// Where all connections are taken, the one that has asked for nothing for longest makes room.
#[test]
fn connections_are_bounded() {
    let daemon = Daemon::start();
    let connect = || control::connect(&daemon.store).unwrap();
    let mut open: Vec<UnixStream> = (0..control::CONNECTIONS_MAX).map(|_| connect()).collect();
    let mut client = Client::daemon(&daemon.store).unwrap();
    assert_eq!(client.run(Request::Datasets, &mut Collect::default()), Ok(0));
    let mut answer = Vec::new();
    assert_eq!(open[0].read_to_end(&mut answer).unwrap(), 0, "it was closed");
    open[1].set_nonblocking(true).unwrap();
    assert_eq!(open[1].read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it was not");
    // At work is who waits for the end of a batch.
    let mut batch_client = Client::daemon(&daemon.store).unwrap();
    batch_client.begin_batch(batch(false)).unwrap();
    let more: Vec<UnixStream> = (0..control::CONNECTIONS_MAX).map(|_| connect()).collect();
    assert_eq!(batch_client.end_batch(true, &mut Collect::default()), Ok(0));
    drop(more);
}

#[test]
fn a_batch_is_one_version() {
    let daemon = Daemon::start();
    let mut client = Client::daemon(&daemon.store).unwrap();
    client.begin_batch(batch(false)).unwrap();
    ["a", "b"].iter().for_each(|name| daemon.mkdir(name));
    assert_eq!(daemon.versions(), 0);
    let refused = Client::daemon(&daemon.store).unwrap().begin_batch(batch(false)).unwrap_err();
    assert!(refused.message.contains("under way"), "{refused:?}");
    let mut collect = Collect::default();
    assert_eq!(client.end_batch(true, &mut collect), Ok(0));
    let [Item::Made(made)] = collect.items.as_slice() else { panic!("{:?}", collect.items) };
    assert_eq!((made.version.as_deref(), daemon.versions()), (Some("v1"), 1));
    let entry = daemon.repo.dataset("d").unwrap().log_entry(crate::model::VersionNo(1)).unwrap();
    assert_eq!(entry.message.as_deref(), Some("why"));
}

#[test]
fn a_batch_whose_client_dies_ends_as_if_its_command_had_failed() {
    let daemon = Daemon::start();
    for (rollback_on_error, versions, names) in [(false, 1, 1), (true, 1, 1)] {
        let mut client = Client::daemon(&daemon.store).unwrap();
        client.begin_batch(batch(rollback_on_error)).unwrap();
        daemon.mkdir(if rollback_on_error { "taken back" } else { "kept" });
        drop(client);
        let dataset = daemon.repo.dataset("d").unwrap();
        wait_until("the batch is over", || !dataset.in_batch());
        wait_until("its changes are dealt with", || daemon.versions() == versions && daemon.names() == names);
    }
    wait_until("the kernel is told", || *daemon.mount.invalidated.lock() == [1]);
}

#[test]
fn a_batch_on_all_takes_in_datasets_made_meanwhile() {
    let daemon = Daemon::start();
    let mut client = Client::daemon(&daemon.store).unwrap();
    let all = Request::Batch { datasets: Vec::new(), rollback_on_error: false, message: None };
    client.begin_batch(all).unwrap();
    let made = daemon.repo.create(DatasetName::new(b"e").unwrap(), 0o755, 0, 0).unwrap();
    assert!(made.in_batch());
    daemon.repo.archive("e").unwrap();
    let again = daemon.repo.create(DatasetName::new(b"e").unwrap(), 0o755, 0, 0).unwrap();
    let mut collect = Collect::default();
    assert_eq!(client.end_batch(true, &mut collect), Ok(0));
    assert!(!again.in_batch() && !daemon.repo.dataset("d").unwrap().in_batch());
    assert_eq!(collect.items.len(), 2, "{:?}", collect.items);
    assert!(!daemon.repo.create(DatasetName::new(b"f").unwrap(), 0o755, 0, 0).unwrap().in_batch());
}

#[test]
fn stopping_ends_batches_and_connections() {
    let mut daemon = Daemon::start();
    let mut client = Client::daemon(&daemon.store).unwrap();
    client.begin_batch(batch(false)).unwrap();
    daemon.mkdir("a");
    let mut idle = control::connect(&daemon.store).unwrap();
    daemon.server.take().map(Server::stop).unwrap();
    assert_eq!(daemon.versions(), 1, "what the batch held back is a version");
    let mut answer = Vec::new();
    drop(idle.read_to_end(&mut answer));
    assert!(control::connect(&daemon.store).is_err());
    assert!(!daemon.store.join("control.sock").exists());
}

#[test]
fn a_dead_socket_file_is_replaced() {
    let mut daemon = Daemon::start();
    daemon.server.take().map(Server::stop).unwrap();
    std::fs::write(daemon.store.join("control.sock"), "").unwrap();
    let service = Arc::new(Service::new(daemon.repo.clone(), None));
    daemon.server = Some(Server::start(service, &daemon.store).unwrap());
    assert_eq!(daemon.ask(Request::Datasets).0, Ok(0));
}

#[test]
fn without_a_daemon_a_command_opens_the_store_itself() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Client::open(dir.path()).err().unwrap();
    assert!(missing.message.contains("not a store"), "{missing:?}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was made");
    let store = dir.path().join("store");
    let repo = Repo::open(&store, false).unwrap();
    repo.create(dataset(), 0o755, 0, 0).unwrap();
    drop(repo);
    let mut client = Client::open(&store).unwrap();
    let mut collect = Collect::default();
    assert_eq!(client.run(Request::Status { count_all: true }, &mut collect), Ok(0));
    let [Item::Status(status)] = collect.items.as_slice() else { panic!("{:?}", collect.items) };
    assert_eq!((status.pid, status.logical_bytes), (None, Some(0)));
    let failure = client.begin_batch(batch(false)).unwrap_err();
    assert!(failure.message.contains("mounted"), "{failure:?}");
    client.close().unwrap();
    let refused = Client::daemon(&store).err().unwrap();
    assert!(refused.message.contains("not mounted"), "{refused:?}");
}
