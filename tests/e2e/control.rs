//! The control socket: who is answered, and what clients that misbehave do to others.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::*;

/// Longest frame there can be, in bytes.
const FRAME_MAX: u32 = 4 << 20;

fn socket(m: &Mount) -> PathBuf {
    m.store().join("control.sock")
}

fn connect(m: &Mount) -> UnixStream {
    let stream = UnixStream::connect(socket(m)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a limit");
    stream
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32 + 1).to_be_bytes();
    [&length[..], &[kind], payload].concat()
}

fn request(value: &serde_json::Value) -> Vec<u8> {
    frame(1, value.to_string().as_bytes())
}

/// Whether the daemon closes the connection without an answer.
fn is_closed(mut stream: UnixStream) -> bool {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer.is_empty(),
        Err(e) => matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

/// Reads one frame of an answer.
fn answer(stream: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("an answer");
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let mut payload = vec![0; length as usize - 1];
    stream.read_exact(&mut payload).expect("the rest of the answer");
    (head[4], payload)
}

/// A field of the daemon's status, in KiB.
fn memory(m: &Mount) -> u64 {
    let pid = m.daemon().expect("the daemon runs").as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn open_files(m: &Mount) -> usize {
    let pid = m.daemon().expect("the daemon runs").as_raw_nonzero();
    fs::read_dir(format!("/proc/{pid}/fd")).expect("list").count()
}

/// Asks through the socket as another user, who can get at it; prints what came back.
const ASK: &str = "
import os, socket, struct, sys
user = int(sys.argv[3])
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
try:
    s.connect(sys.argv[1])
    payload = b'\\x01' + sys.argv[2].encode()
    s.sendall(struct.pack('>I', len(payload)) + payload)
    print(len(s.recv(1000)))
except OSError as e:
    print(type(e).__name__)
";

/// Other users are not answered, whatever the permissions of the socket are by now; nothing they ask for is done.
#[test]
fn other_users_are_not_answered() {
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    d.write("f", "x");
    let ask = |user: &str, value: serde_json::Value| {
        let value = value.to_string();
        let ran = run(as_root("python3").args(["-c", ASK]).arg(socket(&m)).args([value.as_str(), user]));
        ran.ok().trim().to_owned()
    };
    let change = json!({"SetPolicy": {"dataset": "d", "policy": "Manual"}});
    assert_eq!(ask("65534", change.clone()), "PermissionError", "the store's directory is closed");
    for dir in m.store().ancestors().take(2) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    fs::set_permissions(socket(&m), fs::Permissions::from_mode(0o666)).expect("chmod");
    for value in [change.clone(), json!({"Status": {"count_all": false}}), json!("Verify")] {
        let said = ask("65534", value);
        assert!(["0", "ConnectionResetError", "BrokenPipeError"].contains(&said.as_str()), "{said}");
    }
    assert_eq!(m.status()["datasets"][0]["policy"], "every-write");
    let log = fs::read_to_string(m.store().join("daemon.log")).expect("read");
    assert!(log.contains("user 65534 asked"), "{log}");
    assert_ne!(ask("0", change), "0");
    assert_eq!(m.status()["datasets"][0]["policy"], "manual");
}

/// Frames that are too long, empty, of no kind, out of turn, or no JSON close the connection, and cost nothing.
#[test]
fn what_is_no_request_closes_the_connection() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    let (memory_before, files) = (memory(&m), open_files(&m));
    let huge = FRAME_MAX.to_be_bytes();
    let bad: Vec<Vec<u8>> = vec![
        u32::MAX.to_be_bytes().to_vec(),
        (FRAME_MAX + 1).to_be_bytes().to_vec(),
        vec![0; 4],
        frame(9, b"{}"),
        frame(2, b"{}"),
        frame(1, b"not json"),
        frame(1, b"\"NoSuchRequest\""),
        frame(1, br#"{"Log":{"dataset":"../x","path":[],"limit":null}}"#),
        frame(1, br#"{"Cat":{"dataset":"d","version":"v1","path":[[46,46]]}}"#),
        frame(1, &[b'['; 100_000]),
        frame(1, "\"".repeat(3 << 20).as_bytes()),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [&huge[..], &[1], &vec![b' '; FRAME_MAX as usize - 1]].concat(),
    ];
    for bytes in bad {
        let mut stream = connect(&m);
        // It may be closed before all is sent.
        let _ = stream.write_all(&bytes);
        assert!(is_closed(stream), "{:?}", &bytes[..bytes.len().min(60)]);
    }
    for cut in [1, 4, 5, 20] {
        let whole = request(&json!({"Status": {"count_all": false}}));
        let mut stream = connect(&m);
        stream.write_all(&whole[..cut]).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        assert!(is_closed(stream), "cut at {cut}");
    }
    poll("connections are let go", || open_files(&m) <= files);
    assert!(memory(&m) < memory_before + (30 << 10), "{} KiB after {memory_before}", memory(&m));
    assert_eq!(m.existing("d").versions(), 1);
}

/// Clients that ask for nothing, however many, ask slowly, or do not take their answers keep nobody from being
/// answered, and are forgotten when they go; with them there, the store is unmounted.
#[test]
fn clients_that_do_nothing_are_in_nobodys_way() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("large", noise(1, 16 << 20));
    let files = open_files(&m);
    let status = request(&json!({"Status": {"count_all": false}}));
    let mut deaf: Vec<UnixStream> = (0..4).map(|_| connect(&m)).collect();
    for stream in &mut deaf {
        let cat = json!({"Cat": {"dataset": "d", "version": null, "path": [b"large"]}});
        stream.write_all(&request(&cat)).expect("write");
        assert_eq!(answer(stream).0, 3, "data comes");
    }
    let mut slow = connect(&m);
    slow.write_all(&status[..7]).expect("write");
    let idle: Vec<UnixStream> = (0..500).map(|_| connect(&m)).collect();
    for _ in 0..5 {
        assert_eq!(m.status()["read_only"], false);
    }
    let mut asking = connect(&m);
    for byte in &status {
        asking.write_all(&[*byte]).expect("write");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(answer(&mut asking).0, 2, "one that asks slowly is answered");
    drop((idle, slow, asking));
    assert!(memory(&m) < 200 << 10, "{} KiB", memory(&m));
    // Those of who does not take an answer are kept, and what that is read from.
    poll("connections are let go", || open_files(&m) <= files + 3 * deaf.len() + 2);
    let batch = m.command(&["batch", "--", "sleep", "0.3"]).spawn().expect("start").wait().expect("wait");
    assert!(batch.success());
    m.down();
    drop(deaf);
}

/// A command whose daemon is gone, or whose socket is something else, says so.
#[test]
fn a_socket_that_is_none_is_named() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    fs::write(socket(&m), "no socket").expect("write");
    assert_eq!(m.strata(&["log", "d", "--json"]).ok().lines().count(), 1, "the store is opened instead");
    fs::remove_file(socket(&m)).expect("unlink");
    std::os::unix::fs::symlink("/dev/null", socket(&m)).expect("symlink");
    assert_eq!(m.strata(&["log", "d", "--json"]).ok().lines().count(), 1);
    m.up(&[]);
    assert_eq!(m.status()["read_only"], false, "a new socket takes its place");
    assert!(
        Command::new("test")
            .args(["-S", socket(&m).to_str().expect("text")])
            .status()
            .expect("run")
            .success()
    );
}
