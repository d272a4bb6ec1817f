//! A store with some of everything, all that is in it, and what damage makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::*;

/// Packs of this size: several, of a store that takes no time to copy.
const PACK_BYTES: u32 = 300_000;
/// In the sample's packs: so that there are several that can be joined.
const SAMPLE_PACK_BYTES: u32 = 40_000;
/// An extended attribute too large for an inode.
const XATTR: (&str, usize) = ("user.large", 3000);

/// A place in a dataset: its name, a version (0: the live tree) and a path.
pub type Key = (String, u64, PathBuf);

/// What is to be seen at a place.
#[derive(Clone, PartialEq, Eq)]
pub struct Fact {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    links: u64,
    /// A file's bytes, a symbolic link's target.
    content: Vec<u8>,
    xattr: Option<Vec<u8>>,
}

/// What was seen at a place; `None`: EIO.
pub type Seen = BTreeMap<Key, Option<Fact>>;

/// A store and all that is in it.
pub struct Sample {
    dir: TempDir,
    truth: Seen,
}

impl Sample {
    /// Makes the store, of bytes that `make` gives for a seed and a length.
    pub fn new(make: fn(u64, usize) -> Vec<u8>) -> Sample {
        let dir = TempDir::with_prefix("strata-rot-").expect("make a directory");
        let m = Mount::unmounted().store_at(dir.path().join("store"));
        up_with(&m, SAMPLE_PACK_BYTES).ok();
        fill(&m, make);
        m.down();
        copy(&m.store().join("index"), &dir.path().join("old index"));
        up_with(&m, SAMPLE_PACK_BYTES).ok();
        fill_more(&m, make);
        m.down();
        up_with(&m, SAMPLE_PACK_BYTES).ok();
        let truth = walk(&m);
        assert!(truth.values().all(Option::is_some));
        m.down();
        Sample { dir, truth }
    }

    /// The same with its packs compressed.
    pub fn compressed(self) -> Sample {
        let m = Mount::unmounted().store_at(self.store());
        up_with(&m, SAMPLE_PACK_BYTES).ok();
        let said = m.strata(&["compact", "--json"]).ok();
        let report: Value = serde_json::from_str(&said).expect("a report");
        assert!(report["compressed"].as_u64() >= Some(2), "{report}");
        m.down();
        self
    }

    /// The same with small packs joined into files of several.
    pub fn joined(self) -> Sample {
        let m = Mount::unmounted().store_at(self.store());
        let sizes: Vec<u64> =
            self.packs().iter().map(|path| fs::metadata(path).expect("stat").len()).collect();
        // As much as is to be in a file.
        let mut command = m.command(&["gc", "--all", "--json"]);
        let said = run(command.env("STRATA_PACK_BYTES", "400000")).ok();
        let report: Value = serde_json::from_str(&said).expect("a report");
        assert!(report["joined"].as_u64() >= Some(2), "{report}: {sizes:?}");
        self
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A copy of its index from before its last changes.
    pub fn old_index(&self) -> PathBuf {
        self.dir.path().join("old index")
    }

    /// The store's packs, by number.
    pub fn packs(&self) -> Vec<PathBuf> {
        packs(&self.store())
    }
}

/// The packs of a store, by number.
pub fn packs(store: &Path) -> Vec<PathBuf> {
    let mut packs = files(&store.join("packs"));
    packs.sort();
    packs
}

/// All files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("list") {
        let entry = entry.expect("entry");
        match entry.file_type().expect("type") {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) {
    tool("cp", &["-a".as_ref(), "--".as_ref(), from.as_os_str(), to.as_os_str()]);
}

/// Mounts with small packs.
pub fn up(m: &Mount) -> Ran {
    up_with(m, PACK_BYTES)
}

/// Mounts with packs of so many bytes.
fn up_with(m: &Mount, pack_bytes: u32) -> Ran {
    let mut command = m.command(&["mount"]);
    let ran = run(command.env("STRATA_PACK_BYTES", pack_bytes.to_string()).arg(m.point()));
    if ran.code == Some(0) {
        m.adopt(m.status()["pid"].as_i64().expect("a pid") as i32);
    }
    ran
}

fn fill(m: &Mount, make: fn(u64, usize) -> Vec<u8>) {
    let photos = m.dataset("photos");
    photos.mkdir("a");
    photos.mkdir("a/b");
    for n in 0..6 {
        photos.write(&format!("a/{n}.jpg"), make(n, 3000 + 5000 * n as usize));
    }
    photos.write("a/b/large", make(50, 1_500_000));
    photos.write("a/b/text", "first\n");
    fs::hard_link(photos.path("a/b/text"), photos.path("text too")).expect("link");
    symlink("a/b/text", photos.path("link")).expect("symlink");
    let value = make(60, XATTR.1);
    lsetxattr(photos.path("a/1.jpg"), XATTR.0, &value, XattrFlags::empty()).expect("set an attribute");
    let file = fs::OpenOptions::new().write(true).open(photos.path("a/b/large")).expect("open");
    file.write_all_at(b"edited", 700_000).expect("edit");
    drop(file);
    let labels = m.dataset("labels");
    labels.write("train.csv", "cat,dog\n");
    labels.policy("manual");
    labels.write("train.csv", "cat,dog,owl\n");
    m.strata(&["commit", "labels", "-m", "owls"]).ok();
    let old = m.dataset("old");
    old.write("f", "gone");
    fs::remove_file(old.path("f")).expect("remove");
    fs::remove_dir(old.root()).expect("archive");
}

fn fill_more(m: &Mount, make: fn(u64, usize) -> Vec<u8>) {
    let (photos, labels) = (m.existing("photos"), m.existing("labels"));
    fs::rename(photos.path("a/b"), photos.path("c")).expect("rename");
    fs::remove_file(photos.path("a/2.jpg")).expect("remove");
    photos.write("c/text", "second\n");
    let version = photos.versions();
    photos.write("junk", make(70, 400_000));
    m.strata(&["rollback", "photos", &format!("v{version}")]).ok();
    photos.write("a/0.jpg", make(71, 9000));
    labels.write("copy of large", photos.bytes("c/large"));
    labels.write("pending", "in no version yet\n");
}

/// Everything there is to be seen in a mounted sample: all versions of all datasets, and their live trees.
pub fn walk(m: &Mount) -> Seen {
    let mut seen = Seen::new();
    for name in names(m.point()).expect("list the datasets") {
        let name = name.to_string_lossy().into_owned();
        let dataset = m.existing(&name);
        for version in 0..=dataset.versions() {
            let root =
                if version == 0 { dataset.root().to_owned() } else { dataset.path(&format!("@v{version}")) };
            walk_tree(&root, &mut |path, fact| {
                seen.insert((name.clone(), version, path), fact);
            });
        }
    }
    seen
}

fn names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn walk_tree(root: &Path, each: &mut dyn FnMut(PathBuf, Option<Fact>)) {
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        let found = fact(&full).and_then(|(fact, is_dir)| {
            if is_dir {
                todo.extend(names(&full)?.into_iter().map(|name| path.join(name)));
            }
            Ok(fact)
        });
        match found {
            Ok(fact) => each(path, Some(fact)),
            Err(e) if e.raw_os_error() == Some(5) => each(path, None),
            Err(e) => panic!("{}: {e}", full.display()),
        }
    }
}

fn fact(full: &Path) -> io::Result<(Fact, bool)> {
    let meta = full.symlink_metadata()?;
    let content = match () {
        () if meta.is_file() => fs::read(full)?,
        () if meta.is_symlink() => fs::read_link(full)?.as_os_str().as_bytes().to_vec(),
        () => Vec::new(),
    };
    let mut value = vec![0; XATTR.1 + 1];
    let xattr = match lgetxattr(full, XATTR.0, &mut value[..]) {
        Ok(len) => Some(value[..len].to_vec()),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => None,
        Err(rustix::io::Errno::PERM) if meta.is_symlink() => None,
        Err(e) => return Err(e.into()),
    };
    let fact = Fact {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        links: if meta.is_dir() { 0 } else { meta.nlink() },
        content,
        xattr,
    };
    Ok((fact, meta.is_dir()))
}

impl Sample {
    /// Asserts that nothing of what was seen is wrong: each place is as it was, or EIO. Gives the places that
    /// are EIO. `not_live`: datasets whose live trees are not looked at.
    pub fn compare(&self, what: &str, m: &Mount, seen: &Seen, not_live: &[String]) -> BTreeSet<Key> {
        let mut failed = BTreeSet::new();
        let is_known = |key: &&Key| key.1 != 0 || !not_live.contains(&key.0);
        for (key, truth) in self.truth.iter().filter(|(key, _)| is_known(key)) {
            let (dataset, version, path) = key;
            let above = |key: &Key| {
                path.ancestors().skip(1).any(|above| (&key.0, key.1, &*key.2) == (dataset, *version, above))
            };
            match seen.get(key) {
                Some(Some(fact)) => assert!(Some(fact) == truth.as_ref(), "{what}: {key:?} is wrong"),
                Some(None) => {
                    failed.insert(key.clone());
                    self.compare_parts(what, m, key);
                }
                None => assert!(failed.iter().any(above), "{what}: {key:?} is gone"),
            }
        }
        let more = seen.keys().filter(is_known).filter(|key| !self.truth.contains_key(*key));
        let more: Vec<&Key> = more.collect();
        assert!(more.is_empty(), "{what}: there never was {more:?}");
        failed
    }

    /// Of a file of which not all can be read, what can is right.
    fn compare_parts(&self, what: &str, m: &Mount, key: &Key) {
        const PART: usize = 16 << 10;
        let (dataset, version, path) = key;
        let tree = if *version == 0 { PathBuf::new() } else { format!("@v{version}").into() };
        let full = m.point().join(dataset).join(tree).join(path);
        let Some(Some(truth)) = self.truth.get(key) else { return };
        let Ok(file) = File::open(&full) else { return };
        for (n, wanted) in truth.content.chunks(PART).enumerate() {
            let mut part = vec![0; wanted.len()];
            match file.read_exact_at(&mut part, (n * PART) as u64) {
                Ok(()) => assert!(part == wanted, "{what}: {} at {}", full.display(), n * PART),
                Err(e) => assert_eq!(e.raw_os_error(), Some(5), "{what}: {}: {e}", full.display()),
            }
        }
    }

    /// The datasets whose changes that no version holds cannot be read, as a verification says.
    pub fn with_unread_changes(&self, named: &[Damage]) -> Vec<String> {
        let unread = named.iter().filter(|damage| damage.version.is_none() && damage.path.is_none());
        unread.filter_map(|damage| damage.dataset.clone()).collect()
    }

    /// Whether a dataset is to be seen in the mount: what is lost of one that is archived, nobody can read there.
    pub fn is_in_sight(&self, dataset: Option<&String>) -> bool {
        dataset.is_none_or(|dataset| self.truth.keys().any(|(of, ..)| of == dataset))
    }

    /// Whether the packs of a store are those of this one, bit for bit.
    pub fn has_same_packs(&self, store: &Path) -> bool {
        let bytes = |paths: Vec<PathBuf>| -> Vec<(String, Vec<u8>)> {
            let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
            paths.into_iter().map(|path| (name(&path), fs::read(&path).expect("read"))).collect()
        };
        bytes(self.packs()) == bytes(packs(store))
    }
}

/// A damage that is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Damage {
    pub dataset: Option<String>,
    pub version: Option<u64>,
    pub path: Option<PathBuf>,
    pub what: String,
}

/// What is damaged, as `strata verify --json` and `strata fsck --json` say.
pub fn damages(report: &Value) -> Vec<Damage> {
    let all = report["damages"].as_array().expect("a report has damages");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| value.as_str().and_then(|v| v.strip_prefix('v')?.parse().ok());
    let damage = |d: &Value| Damage {
        dataset: text(&d["dataset"]),
        version: number(&d["version"]),
        path: text(&d["path"]).map(Into::into),
        what: text(&d["what"]).expect("a damage says what it is"),
    };
    all.iter().map(damage).collect()
}
