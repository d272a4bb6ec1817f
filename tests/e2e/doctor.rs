//! `strata doctor`: what it finds, and that it says what to do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::*;

/// What the doctor finds of `check`, with the exit code.
fn found(m: &Mount, check: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = m.strata(&[&["doctor", "--json"], arguments].concat());
    let all: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
    for finding in &all {
        let level = finding["level"].as_str().expect("a level");
        assert!(["ok", "warn", "fail"].contains(&level), "{finding}");
        assert!(level == "ok" || finding["advice"].is_string(), "what is wrong has advice: {finding}");
    }
    let code = i32::from(all.iter().any(|finding| finding["level"] == "fail"));
    assert_eq!(ran.code, Some(code), "{all:?}");
    let one = all.iter().rfind(|finding| finding["check"] == check && !finding["message"].is_null());
    (ran.code, one.unwrap_or_else(|| panic!("{check} in {all:?}")).clone())
}

/// Whether what failed, failed of this mount: others of the machine may be stopped or dead at the time.
fn fails_itself(m: &Mount, arguments: &[&str]) -> bool {
    let ran = m.strata(&[&["doctor", "--json"], arguments].concat());
    let all: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
    let point = m.point().to_str().expect("path").to_owned();
    let is_of_another =
        |f: &Value| f["check"] == "mounts" && !f["message"].as_str().expect("text").contains(&point);
    all.iter().any(|f| f["level"] == "fail" && !is_of_another(f))
}

/// A machine that can mount is in order, before the store is made, while it is mounted, and after.
#[test]
fn a_machine_in_order_is_told_so() {
    let m = Mount::unmounted();
    let point = m.point().to_str().expect("path").to_owned();
    let store = found(&m, "store", &[&point]).1;
    assert!(!fails_itself(&m, &[&point]));
    assert!(store["message"].as_str().expect("text").contains("first mount makes it"), "{store}");
    assert!(!m.store().exists(), "it changes nothing");
    m.up(&[]);
    let pid = m.daemon().expect("the daemon runs").as_raw_pid();
    let daemon = found(&m, "daemon", &[&point]).1;
    assert!(!fails_itself(&m, &[&point]));
    assert_eq!(daemon["message"], format!("mounted at {point} (process {pid})"));
    assert_eq!(found(&m, "mountpoint", &[&point]).1["message"], format!("the store is mounted at {point}"));
    let text = m.strata(&["doctor"]).text();
    for check in
        ["fuse", "fusermount", "others", "kernel", "files", "clock", "mounts", "store", "disk", "filesystem"]
    {
        assert!(text.lines().any(|line| line.split_whitespace().nth(1) == Some(check)), "{check}: {text}");
    }
    m.down();
    assert!(found(&m, "daemon", &[]).1["message"].as_str().expect("text").contains("not mounted"));
}

/// Dead mounts, and daemons that do not answer, are found without hanging.
#[test]
fn dead_and_stopped_daemons_are_found() {
    let m = Mount::new();
    let point = m.point().to_str().expect("path").to_owned();
    let daemon = m.daemon().expect("the daemon runs");
    kill_process(daemon, Signal::STOP).expect("stop the daemon");
    let (code, stopped) = found(&m, "daemon", &[]);
    // Commands wait for it, and say so.
    let waiting = m.command(&["datasets"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut said = BufReader::new(waiting.expect("start").stderr.expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("read");
    assert!(
        line.contains(&format!("is stopped, and goes on by: kill -CONT {}", daemon.as_raw_pid())),
        "{line}"
    );
    kill_process(daemon, Signal::CONT).expect("continue the daemon");
    assert_eq!((code, &stopped["level"]), (Some(1), &Value::from("fail")), "{stopped}");
    assert!(stopped["message"].as_str().expect("text").contains("does not answer"), "{stopped}");
    m.kill();
    let ran = m.strata(&["doctor"]);
    assert!(ran.text().contains(&format!("the daemon of the mount at {point} is dead")), "{}", ran.text());
    assert!(ran.text().contains(&format!("strata umount --lazy {point}")), "{}", ran.text());
    assert_eq!(found(&m, "mountpoint", &[&point]).1["level"], "warn");
    assert!(found(&m, "daemon", &[]).1["message"].as_str().expect("text").contains("was killed"));
    m.up(&[]);
    assert_eq!(found(&m, "mountpoint", &[&point]).1["level"], "ok");
}

/// A daemon that hangs with a request in its hands holds nobody up: not the doctor, and not a mount at its place.
#[test]
fn a_daemon_that_hangs_holds_nobody_up() {
    let m = Mount::unmounted();
    let script = "python3 -c \"$SILENT\" \"$1\" & daemon=$!
        until grep -q \"$1 \" /proc/self/mountinfo; do kill -0 $daemon; sleep 0.05; done
        \"$2\" doctor --json || echo \"code $?\"
        \"$2\" doctor --json \"$1\" | grep -o 'what is mounted at .* is dead, or does not answer'
        \"$2\" mount \"$1\" 2>&1 || echo \"code $?\"
        \"$2\" umount --lazy \"$1\"
        kill -KILL $daemon";
    let mut command = as_root("env");
    command.arg(format!("SILENT={SILENT}")).arg(format!("STRATA_STORE={}", m.store().display()));
    command.args(["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh"]);
    let text = run(command.arg(m.point()).arg(binary())).ok();
    let mut json = serde_json::Deserializer::from_str(&text).into_iter::<Vec<Value>>();
    let all = json.next().expect("output").expect("JSON");
    let silent = format!("the mount at {} does not answer", m.point().display());
    assert!(all.iter().any(|f| f["level"] == "fail" && f["message"] == silent.as_str()), "{text}");
    let mount = &text[json.byte_offset()..];
    assert!(mount.contains(&silent) && mount.matches("code 1").count() == 2, "{text}");
}

/// Mounts what takes requests, and says nothing but how it speaks.
const SILENT: &str = r#"
import ctypes, os, struct, sys
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"strata:/nowhere", sys.argv[1].encode(), b"fuse.strata", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
while True:
    length, operation, number = struct.unpack_from("<IIQ", os.read(device, 1 << 20))
    if operation == 26:  # init
        answer = struct.pack("<IIIIHHII", 7, 31, 0, 0, 0, 0, 4096, 0).ljust(64, b"\0")
        os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, number) + answer)
"#;

/// Places where no store can be, and mountpoints that cannot be, are failures with advice, and exit code 1.
#[test]
fn what_cannot_be_mounted_is_a_failure() {
    let m = Mount::unmounted();
    let outside = m.outside();
    let path = |name: &str| outside.join(name).to_str().expect("path").to_owned();
    fs::create_dir(path("full")).expect("make a directory");
    fs::write(path("full/file"), "x").expect("write");
    for (check, arguments, wanted) in [
        ("store", &["--store", &path("full")][..], "no store"),
        ("store", &["--store", &path("full/file")], "not a directory"),
        ("mountpoint", &[&path("full")], "not empty"),
        ("mountpoint", &[&path("missing/deeper")], "missing/deeper"),
        ("mountpoint", &["/proc"], "is mounted at /proc"),
    ] {
        let (code, finding) = found(&m, check, arguments);
        assert_eq!((code, &finding["level"]), (Some(1), &Value::from("fail")), "{arguments:?}: {finding}");
        assert!(finding["message"].as_str().expect("text").contains(wanted), "{finding}");
    }
    assert!(m.strata(&["doctor", "--frobnicate"]).fails(2).contains("frobnicate"));
}

/// A disk that is nearly full, or gone with the next start, is warned of; a full one is a failure.
#[test]
fn disks_and_file_systems_are_judged() {
    let m = Mount::unmounted();
    let script = "mount -t tmpfs -o size=32m none \"$1\"; \"$2\" doctor --json --store \"$1/store\" || echo \"code $?\"";
    let mut command = as_root("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]);
    let text = run(command.arg(m.point()).arg(binary())).ok();
    let (json, code) = text.split_once('\n').expect("lines");
    assert_eq!(code, "code 1\n", "{text}");
    let all: Vec<Value> = serde_json::from_str(json).expect("JSON");
    let level = |check: &str| all.iter().find(|f| f["check"] == check).map(|f| f["level"].clone());
    assert_eq!((level("disk"), level("filesystem")), (Some("fail".into()), Some("warn".into())), "{text}");
}

/// Whoever cannot write to a store's place, and a helper without its rights, is told what to do.
#[test]
fn permissions_are_checked() {
    let m = Mount::unmounted();
    let bin = m.outside().join("bin");
    fs::create_dir(&bin).expect("make a directory");
    fs::copy(binary(), bin.join("strata")).expect("copy the program");
    fs::write(bin.join("fusermount3"), "#!/bin/sh\necho version 3\n").expect("write a helper");
    for name in ["strata", "fusermount3"] {
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    for dir in [m.outside().parent().expect("a parent"), &m.outside(), &bin] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let script = "PATH=$1:$PATH exec setpriv --reuid 65534 --regid 65534 --clear-groups \
                  sh -c 'ulimit -n 1024; exec strata doctor --store \"$1\" --json' sh \"$2\"";
    let mut command = as_root("sh");
    let ran = run(command.args(["-euc", script, "sh"]).arg(&bin).arg(m.store()));
    assert_eq!(ran.code, Some(1), "{}{}", ran.text(), ran.stderr);
    let all: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
    let one = |check: &str| all.iter().find(|f| f["check"] == check).expect("found").clone();
    assert_eq!(one("store")["level"], "fail");
    assert_eq!(one("files")["level"], "warn");
    let helper = one("fusermount");
    assert!(
        helper["level"] == "fail" && helper["advice"].as_str().expect("text").contains("chmod 4755"),
        "{helper}"
    );
}
