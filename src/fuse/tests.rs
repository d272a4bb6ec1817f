//! A mount in this process, whose handlers panic where a test wants it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, XattrFlags};
use tempfile::TempDir;

use super::*;
use crate::dataset::Repo;
use crate::view::{FileSystem, Scope};

/// The request whose next handler is to panic.
static ASKED: Mutex<Option<&str>> = Mutex::new(None);
/// What was logged as an error.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Panics if the test asked for that in this request.
pub fn panic_if_asked(what: &str) {
    let asked = {
        let mut asked = ASKED.lock();
        if asked.is_some_and(|asked| asked == what) { asked.take() } else { None }
    };
    if let Some(what) = asked {
        panic!("{what}: as asked for");
    }
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.lock().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Opens a file so that reading it asks the daemon.
fn past_the_cache(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)
}

type Call = Box<dyn Fn() -> io::Result<()>>;

/// A call for each kind of request that can fail, on a mount with the files `f` and `g` in `d`.
fn calls(d: &Path) -> Vec<(&'static str, Call)> {
    let path = |name: &str| d.join(name);
    let (f, g, link, dir, new) = (path("f"), path("g"), path("link"), path("dir"), path("new"));
    let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
    let call = |name, call: Box<dyn Fn() -> io::Result<()>>| (name, call);
    let never = path("never seen before");
    vec![
        call(
            "lookup",
            Box::new(move || match never.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map(drop),
            }),
        ),
        call("mkdir", {
            let dir = dir.clone();
            Box::new(move || fs::create_dir(&dir))
        }),
        call("rmdir", Box::new(move || fs::remove_dir(&dir))),
        call("symlink", {
            let link = link.clone();
            Box::new(move || symlink("f", &link))
        }),
        call("readlink", {
            let link = link.clone();
            Box::new(move || fs::read_link(&link).map(drop))
        }),
        call("unlink", Box::new(move || fs::remove_file(&link))),
        call("create", {
            let new = new.clone();
            Box::new(move || File::create(&new).map(drop))
        }),
        call("link", {
            let (f, to) = (f.clone(), path("linked"));
            Box::new(move || fs::hard_link(&f, &to))
        }),
        call("rename", {
            let to = path("renamed");
            Box::new(move || fs::rename(&new, &to))
        }),
        call("open", {
            let f = f.clone();
            Box::new(move || open(&f).map(drop))
        }),
        call("write", {
            let f = f.clone();
            Box::new(move || open(&f)?.write_all(b"more"))
        }),
        call("fsync", {
            let f = f.clone();
            Box::new(move || open(&f)?.sync_all())
        }),
        call("setattr", {
            let f = f.clone();
            Box::new(move || open(&f)?.set_len(2))
        }),
        call("fallocate", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::fallocate(open(&f)?, FallocateFlags::empty(), 0, 100)?))
        }),
        call("copy_file_range", {
            let (f, g) = (f.clone(), g.clone());
            Box::new(move || Ok(rustix::fs::copy_file_range(open(&g)?, None, open(&f)?, None, 5).map(drop)?))
        }),
        call("setxattr", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::setxattr(&f, "user.x", b"y", XattrFlags::empty())?))
        }),
        call("getxattr", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::getxattr(&f, "user.x", &mut [0; 9]).map(drop)?))
        }),
        call("getxattr", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::getxattr(&f, "user.strata.b3sum", &mut [0; 99]).map(drop)?))
        }),
        call("listxattr", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::listxattr(&f, &mut [0; 99]).map(drop)?))
        }),
        call("removexattr", {
            let f = f.clone();
            Box::new(move || Ok(rustix::fs::removexattr(&f, "user.x")?))
        }),
        call("fsyncdir", {
            let d = d.to_owned();
            Box::new(move || File::open(&d)?.sync_all())
        }),
        call("opendir", {
            let d = d.to_owned();
            Box::new(move || fs::read_dir(&d).map(drop))
        }),
        call("readdirplus", {
            let d = d.to_owned();
            Box::new(move || fs::read_dir(&d)?.try_for_each(|e| e.map(drop)))
        }),
        call("statfs", {
            let d = d.to_owned();
            Box::new(move || Ok(rustix::fs::statvfs(&d).map(drop)?))
        }),
        call("read", Box::new(move || past_the_cache(&g)?.read_exact_at(&mut [0; 3], 4096))),
    ]
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a handler panics, that one request fails with EIO, the log names it, and the mount lives on: the
/// same request works when it comes again, and what is there is what was written.
#[test]
fn a_panic_fails_one_request_and_is_logged() {
    if !Path::new("/dev/fuse").exists() {
        panic!("/dev/fuse is missing: the mount cannot be tested");
    }
    log::set_logger(&Log).map(|()| log::set_max_level(log::LevelFilter::Error)).expect("no other logger");
    let dir = TempDir::new().expect("make a directory");
    let (store, point) = (dir.path().join("store"), dir.path().join("mnt"));
    fs::create_dir(&point).expect("make the mountpoint");
    let repo = Arc::new(Repo::open(&store, false).expect("open a store"));
    let fs = Arc::new(FileSystem::new(repo.clone(), Scope::Store, false));
    let options = MountOptions {
        mountpoint: point.clone(),
        allow_other: false,
        read_only: false,
        no_exec: false,
        fs_name: "test".into(),
    };
    let mount = mount(fs, &options).expect("mount");
    let d = point.join("d");
    fs::create_dir(&d).expect("make a dataset");
    fs::write(d.join("f"), "content").expect("write");
    fs::write(d.join("g"), vec![7; 9000]).expect("write");

    let mut panics = 0;
    for (what, call) in calls(&d) {
        *ASKED.lock() = Some(what);
        let error = call().expect_err(what);
        assert_eq!(*ASKED.lock(), None, "{what} was not asked of the daemon");
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{what}: {error}");
        let named = format!("a {what} request failed by a defect; the mount lives on");
        until("the log names it", || LOGGED.lock().contains(&named));
        call().unwrap_or_else(|e| panic!("{what} after a panic: {e}"));
        panics += 1;
    }
    assert!(panics > 20, "{panics}");
    let mut written = String::new();
    File::open(d.join("linked")).and_then(|mut f| f.read_to_string(&mut written)).expect("read");
    assert!(written.starts_with("\x07\x07\x07\x07\x07\0"), "{written:?}");

    // close(2) too; what was written is then kept when the last handle goes.
    *ASKED.lock() = Some("flush");
    let mut file = File::create(d.join("closed")).expect("create");
    file.write_all(b"by the last handle").expect("write");
    drop(file);
    assert_eq!(*ASKED.lock(), None, "flush was asked for");
    until("the last handle goes", || fs::read(d.join("@latest/closed")).is_ok());
    assert_eq!(fs::read(d.join("@latest/closed")).expect("read"), b"by the last handle");
    // A release answers nobody.
    *ASKED.lock() = Some("release");
    drop(File::open(d.join("g")).expect("open"));
    until("a release panics", || ASKED.lock().is_none());
    assert_eq!(fs::read(d.join("g")).expect("read"), vec![7; 9000]);
    mount.unmount().expect("unmount");
    mount.wait().expect("wait for the end");
    repo.finish().expect("finish");
}
