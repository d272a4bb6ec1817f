//! Valid values to start from, made by the product itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use stratafs::dataset::{Caller, Repo, XattrSet};
use stratafs::model::{Policy, VersionNo};
use stratafs::store::fuzzing::{Identity, Layout, Scanner, Step};
use stratafs::store::{Payload, StoreId};
use stratafs::view::{FileSystem, NodeId, Scope};
use tempfile::TempDir;

/// Who makes the versions of samples.
pub const BY: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// Bytes that look random and follow from `seed` (xorshift64*).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

/// A directory in memory, where there is such.
pub fn scratch_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("make a scratch directory")
}

/// The records of a store with a few versions: number of their kind, and payload.
pub fn records() -> &'static [(u8, Vec<u8>)] {
    static RECORDS: OnceLock<Vec<(u8, Vec<u8>)>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let dir = scratch_dir();
        let path = dir.path().join("store");
        drop(make_store(&path));
        let id = Identity::read(&Layout::new(&path)).expect("the store is sound").id;
        records_of(&path.join("packs/00000001.pack"), id)
    })
}

fn records_of(pack: &Path, id: StoreId) -> Vec<(u8, Vec<u8>)> {
    let file = std::fs::File::open(pack).expect("open a pack");
    let mut scanner = Scanner::new(file, id, 1, 0, u64::MAX).expect("begin a scan");
    let mut found = Vec::new();
    while let Some(step) = scanner.step(|_| true).expect("read a pack") {
        match step {
            Step::Record { header, payload: Payload::Intact(bytes), .. } => {
                found.push((header.kind.number(), bytes.to_vec()));
            }
            other => panic!("a new pack with {other:?}"),
        }
    }
    found
}

/// Makes a store with a dataset `d` of a few versions.
pub fn make_store(path: &Path) -> Arc<Repo> {
    let repo = Arc::new(Repo::open(path, false).expect("make a store"));
    let fs = FileSystem::new(repo.clone(), Scope::Store, false);
    let top = fs.mkdir(BY, NodeId::ROOT, b"d", 0o755).expect("make a dataset").node;
    let sub = fs.mkdir(BY, top, b"sub", 0o700).expect("make a directory").node;
    let text = write(&fs, top, b"text", b"some text");
    write(&fs, sub, b"noise", &noise(1, 10_000));
    fs.symlink(BY, sub, b"link", b"../text").expect("make a link");
    fs.link(BY, text, sub, b"text too").expect("link a file");
    fs.set_xattr(BY, text, b"user.a", b"value", XattrSet::Any).expect("set an attribute");
    let dataset = repo.dataset("d").expect("there it is");
    dataset.commit(BY, Some("a message".into())).expect("commit");
    fs.unlink(BY, top, b"text").expect("remove a name");
    dataset.rollback(BY, VersionNo(3), None, false, |_| ()).expect("roll back");
    dataset.set_policy(Policy::Manual).expect("set a policy");
    write(&fs, top, b"pending", b"not in a version yet");
    repo.finish().expect("sync");
    repo
}

fn write(fs: &FileSystem, dir: NodeId, name: &[u8], bytes: &[u8]) -> NodeId {
    let (entry, opened) = fs.create(BY, dir, name, 0o644, libc::O_WRONLY).expect("make a file");
    fs.write(BY, opened.fh, 0, bytes, false, false).expect("write a file");
    fs.flush(BY, opened.fh).expect("close a file");
    fs.release(BY, opened.fh);
    entry.node
}

/// A directory that is used by all inputs of a process.
pub fn shared_dir() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(scratch_dir).path().to_owned()
}
