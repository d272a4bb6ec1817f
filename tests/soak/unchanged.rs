//! A version never changes, whatever comes later.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, XattrFlags, fallocate, lgetxattr, llistxattr, mkfifoat, setxattr};

use crate::harness::*;
use crate::{say, setting};

/// All there is to see of a path, but for the time of last access; inode numbers are in [`View`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    nlink: u64,
    rdev: u64,
    size: u64,
    blocks: u64,
    blksize: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Hash of a file's bytes, target of a symbolic link.
    content: Vec<u8>,
}

/// Versions, by name and path, and which paths of them all are one inode.
#[derive(Debug, PartialEq, Eq)]
struct View {
    seen: BTreeMap<(String, PathBuf), Seen>,
    inodes: BTreeMap<(String, PathBuf), usize>,
}

/// Virtual attributes, which are not listed.
const VIRTUAL: [&str; 3] = ["user.strata.version", "user.strata.snapshot", "user.strata.b3sum"];

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buffer = [0; 4096];
    let len = llistxattr(path, &mut buffer).unwrap_or_else(|e| panic!("list xattrs of {path:?}: {e}"));
    let listed = buffer[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
    let names: Vec<_> = listed.chain(VIRTUAL.iter().map(|name| name.as_bytes().to_vec())).collect();
    let value = |name: Vec<u8>| {
        let mut value = [0; 4096];
        let len = lgetxattr(path, OsStr::from_bytes(&name), &mut value).ok()?;
        Some((name, value[..len].to_vec()))
    };
    names.into_iter().filter_map(value).collect()
}

fn seen(path: &Path, meta: &fs::Metadata) -> Seen {
    let content = if meta.is_file() {
        blake3::hash(&fs::read(path).unwrap_or_else(|e| panic!("read {path:?}: {e}"))).as_bytes().to_vec()
    } else if meta.is_symlink() {
        fs::read_link(path).expect("read a symlink").as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    Seen {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        nlink: meta.nlink(),
        rdev: meta.rdev(),
        size: meta.size(),
        blocks: meta.blocks(),
        blksize: meta.blksize(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        ctime: (meta.ctime(), meta.ctime_nsec()),
        xattrs: xattrs(path),
        content,
    }
}

/// Looks at everything of some versions, each to be found in its directory.
fn view(roots: &[(String, PathBuf)]) -> View {
    let mut view = View { seen: BTreeMap::new(), inodes: BTreeMap::new() };
    let mut numbers = BTreeMap::new();
    for (version, root) in roots {
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let full = root.join(&path);
            let meta = full.symlink_metadata().unwrap_or_else(|e| panic!("stat {full:?}: {e}"));
            if meta.is_dir() {
                let entries = fs::read_dir(&full).unwrap_or_else(|e| panic!("list {full:?}: {e}"));
                todo.extend(entries.map(|e| path.join(e.expect("read a directory entry").file_name())));
            }
            let key = (version.clone(), path);
            // Numbers may differ from mount to mount; what shares one may not.
            let next = numbers.len();
            view.inodes.insert(key.clone(), *numbers.entry(meta.ino()).or_insert(next));
            let before = view.seen.insert(key, seen(&full, &meta));
            assert!(before.is_none(), "{full:?} is listed twice");
        }
    }
    // The numbering depends on the order of listings, which may differ too: the first path decides.
    let mut first = BTreeMap::new();
    for (n, inode) in view.inodes.values_mut().enumerate() {
        *inode = *first.entry(*inode).or_insert(n);
    }
    view
}

/// The mount, the dataset's present name, and what versions were seen to be.
struct Watch {
    m: Mount,
    name: String,
    versions: Vec<u64>,
    wanted: View,
    checks: usize,
}

impl Watch {
    fn roots(&self) -> Vec<(String, PathBuf)> {
        let root = self.m.point().join(&self.name);
        self.versions.iter().map(|v| (format!("v{v}"), root.join(format!("@v{v}")))).collect()
    }

    fn d(&self) -> Dataset<'_> {
        self.m.existing(&self.name)
    }

    fn check(&mut self, after: &str) {
        self.compare(after, &view(&self.roots()));
    }

    fn compare(&mut self, after: &str, now: &View) {
        let differing: Vec<_> =
            self.wanted.seen.iter().filter(|(key, seen)| now.seen.get(*key) != Some(*seen)).take(3).collect();
        let show = |key: &(String, PathBuf)| format!("{:?}", now.seen.get(key));
        assert!(
            differing.is_empty() && now.seen.len() == self.wanted.seen.len(),
            "after {after} versions are not as they were ({} paths, {} before):\n{}",
            now.seen.len(),
            self.wanted.seen.len(),
            differing
                .iter()
                .map(|(k, s)| format!("{k:?}: {s:?} / {}", show(k)))
                .collect::<Vec<_>>()
                .join("\n")
        );
        assert_eq!(now.inodes, self.wanted.inodes, "after {after}: what is one inode");
        self.checks += 1;
    }

    /// The versions each as a mount of its own.
    fn check_pinned(&mut self) {
        self.m.down();
        for version in self.versions.clone() {
            self.m.up(&["--dataset", &self.name, "--at", &format!("v{version}")]);
            let now = view(&[(format!("v{version}"), self.m.point().to_owned())]);
            let paths = self.wanted.seen.iter().filter(|((v, _), _)| *v == format!("v{version}"));
            for (key, wanted) in paths {
                assert_eq!(now.seen.get(key), Some(wanted), "{key:?} in a mount of its own");
            }
            self.checks += 1;
            self.m.down();
        }
        self.m.up(&[]);
    }
}

fn has_room_for_root(d: &Dataset<'_>) {
    if rustix::process::geteuid().is_root() {
        shell("mknod \"$1/null\" c 1 3; chown 12:34 \"$1/owned\"", &[d.root()]);
    }
}

/// A dataset with one of everything, and then some history.
fn populate(d: &Dataset<'_>, outside: &Path) {
    sample_tree(outside, 5, 40);
    shell("cp -a \"$1\"/. \"$2\"/", &[outside, d.root()]);
    d.write("big", noise(1, 3 << 20));
    d.write("owned", "x");
    d.write(&"n".repeat(255), "a long name");
    fs::write(d.root().join(OsStr::from_bytes(b"not \xff UTF-8\n")), "x").expect("write");
    mkfifoat(rustix::fs::CWD, d.path("fifo"), Mode::from_raw_mode(0o640)).expect("make a fifo");
    has_room_for_root(d);
    setxattr(d.path("big"), "user.note", b"of the big one", XattrFlags::empty()).expect("set an xattr");
    setxattr(d.path("part-1"), "user.dir", b"of a directory", XattrFlags::empty()).expect("set an xattr");
    let sparse = File::create(d.path("sparse")).expect("create");
    sparse.set_len(50 << 20).and_then(|()| sparse.write_all_at(b"end", (50 << 20) - 3)).expect("write");
    drop(sparse);
    for n in 0..30 {
        d.write(&format!("part-{}/history", n % 7), format!("{n}"));
    }
}

type Step = (&'static str, fn(&Dataset<'_>));

/// Every kind of change to the live tree, most to what the versions have.
const STEPS: &[Step] = &[
    ("create", |d| d.write("new", "x")),
    ("overwriting", |d| d.write("script", "#!/bin/false\n")),
    ("writing in place in a large file", |d| {
        let file = OpenOptions::new().write(true).open(d.path("big")).expect("open");
        (0..20).for_each(|n| file.write_all_at(&noise(n, 5000), n * 150_000).expect("write"));
    }),
    ("append", |d| {
        let mut file = OpenOptions::new().append(true).open(d.path("big")).expect("open");
        file.write_all(&noise(9, 70_000)).expect("append");
    }),
    ("stores through a mapping", |d| {
        let map = "import mmap, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); \
            m = mmap.mmap(fd, 0); m[4000:9000] = b'm' * 5000; m.flush()";
        python(map, &[d.path("big")]);
    }),
    ("punching a hole", |d| {
        let file = OpenOptions::new().write(true).open(d.path("big")).expect("open");
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, flags, 100_000, 300_000).expect("punch a hole");
    }),
    ("truncation", |d| OpenOptions::new().write(true).open(d.path("big")).unwrap().set_len(1 << 20).unwrap()),
    ("truncation by path", |d| drop(tool("truncate", &["-s", "12345678", &text(&d.path("sparse"))]))),
    ("copying a version's file over another", |d| {
        fs::copy(d.path("@latest/script"), d.path("new")).unwrap();
    }),
    ("chmod", |d| fs::set_permissions(d.path("script"), fs::Permissions::from_mode(0o600)).unwrap()),
    ("chmod of a hard link", |d| {
        fs::set_permissions(d.path("part-0/script too"), fs::Permissions::from_mode(0o711)).unwrap();
    }),
    ("chmod of directories", |d| drop(shell("chmod 700 \"$1\" \"$1/part-1\"", &[d.root()]))),
    ("setting times", |d| drop(tool("touch", &["-d", "2001-01-01", &text(&d.path("part-0"))]))),
    ("setting times of links", |d| drop(tool("touch", &["-h", "-d", "2001-01-01", &text(&d.path("link"))]))),
    ("setting xattrs", |d| setxattr(d.path("big"), "user.note", b"else", XattrFlags::empty()).unwrap()),
    ("removing xattrs", |d| rustix::fs::removexattr(d.path("part-1"), "user.dir").unwrap()),
    ("another hard link", |d| fs::hard_link(d.path("script"), d.path("third name")).unwrap()),
    ("removing a hard link", |d| fs::remove_file(d.path("part-0/script too")).unwrap()),
    ("writing to what was a hard link", |d| d.write("third name", "changed")),
    ("another symlink", |d| symlink("elsewhere", d.path("link 2")).unwrap()),
    ("replacing a symlink", |d| drop(shell("ln -sfn part-1 \"$1/link\"", &[d.root()]))),
    ("rename", |d| fs::rename(d.path("big"), d.path("part-2/moved")).unwrap()),
    ("rename over a file", |d| fs::rename(d.path("new"), d.path("script")).unwrap()),
    ("rename of a directory", |d| fs::rename(d.path("part-3"), d.path("part-4/inside")).unwrap()),
    ("exchange", |d| {
        let (a, b) = (d.path("part-5"), d.path("part-6"));
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, flags).unwrap();
    }),
    ("unlink", |d| fs::remove_file(d.path("empty")).unwrap()),
    ("mkdir and rmdir", |d| drop(shell("mkdir \"$1/made\"; rmdir \"$1/empty dir\"", &[d.root()]))),
    ("removing a tree", |d| fs::remove_dir_all(d.path("part-1")).unwrap()),
    ("making other things of the same names", |d| {
        drop(shell("cd \"$1\"; mkdir empty; echo x > part-1; ln -s x 'empty dir'; mkfifo new", &[d.root()]));
    }),
];

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Listing, all of stat but the time of last access, extended attributes, targets and bytes of versions, and
/// which of their paths are one inode, are the same after every kind of later change to the live tree, after
/// rollbacks, batches, changes of policy, renaming, archiving and reviving the dataset, remounts, kills, a log
/// with a torn end, the loss and rebuilding of the index, and in mounts of their own.
#[test]
fn a_version_is_the_same_after_everything() {
    let m = Mount::new();
    let d = m.dataset("d");
    populate(&d, &m.outside());
    let newest = d.versions();
    let mut random = Random::new(setting("SOAK_SEED", 1));
    let mut versions: Vec<u64> = (0..4).map(|_| 1 + random.below(newest as usize) as u64).collect();
    versions.extend([1, 5, newest]);
    versions.sort_unstable();
    versions.dedup();
    let wanted = View { seen: BTreeMap::new(), inodes: BTreeMap::new() };
    let mut watch = Watch { m, name: "d".into(), versions, wanted, checks: 0 };
    watch.wanted = view(&watch.roots());
    let paths = watch.wanted.seen.len();
    watch.check("nothing");

    for (what, step) in STEPS {
        step(&watch.d());
        watch.check(what);
    }
    for policy in ["settle=10s", "manual", "every-write"] {
        watch.d().policy(policy);
        watch.d().write("script", policy);
        watch.check(&format!("policy={policy}"));
    }
    for version in ["v5".to_owned(), format!("v{newest}"), "prev".to_owned()] {
        watch.m.strata(&["rollback", "d", &version]).ok();
        watch.check(&format!("a rollback to {version}"));
    }
    let f = text(&watch.d().path("script"));
    for (fails, option) in [(false, "--rollback-on-error"), (true, "--rollback-on-error"), (true, "-mkept")] {
        let script =
            format!("echo in a batch > '{f}'; rm -rf \"$(dirname '{f}')\"/part-2; exit {}", u8::from(fails));
        let code = watch.m.strata(&["batch", option, "--", "sh", "-c", &script]).code;
        assert_eq!(code, Some(i32::from(fails)));
        watch.check(&format!("a batch (fails: {fails}, {option})"));
    }

    watch.m.down();
    watch.m.up(&[]);
    watch.check("a remount");
    watch.d().write("before", "the kill");
    watch.m.kill();
    watch.m.up(&[]);
    watch.check("a kill");
    watch.m.kill();
    let pack = fs::read_dir(watch.m.store().join("packs")).unwrap().map(|e| e.unwrap().path()).max().unwrap();
    OpenOptions::new()
        .append(true)
        .open(pack)
        .and_then(|mut f| f.write_all(&noise(3, 5000)))
        .expect("append");
    fs::write(watch.m.store().join("open"), "another boot").expect("write");
    watch.m.up(&[]);
    watch.check("a loss of power that left the log's end torn");
    watch.m.down();
    fs::remove_dir_all(watch.m.store().join("index")).expect("remove the index");
    watch.m.up(&[]);
    watch.check("the loss of the index");
    watch.m.down();
    watch.m.strata(&["fsck", "--rebuild-index"]).ok();
    watch.m.up(&[]);
    watch.check("rebuilding the index");
    watch.check_pinned();
    watch.check("mounts of versions");

    fs::rename(watch.m.point().join("d"), watch.m.point().join("e")).expect("rename the dataset");
    watch.name = "e".into();
    watch.check("renaming the dataset");
    shell("cd \"$1\"; rm -rf -- * .[!.]*; cd ..; rmdir e", &[watch.d().root()]);
    watch.m.down();
    watch.m.up(&[]);
    watch.m.dataset("d").write("another", "dataset");
    watch.m.dataset("e");
    watch.check("archiving and reviving the dataset");
    watch.m.strata(&["verify"]).ok();
    say(format!(
        "unchanged: {} versions of {paths} paths compared {} times; differences: 0",
        watch.versions.len(),
        watch.checks
    ));
}
