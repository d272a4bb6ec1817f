//! Joined packs: everything in them is where it was, wherever the joining is cut off.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use super::collect::collect;
use super::crash::copy;
use super::*;
use crate::store::compact::Eagerness;

/// Versions of one file each and what they hold, over many small packs.
struct Sample {
    dir: TempDir,
    store: Store,
    chunks: Vec<ChunkRef>,
}

const VERSIONS: u64 = 23;

impl Sample {
    fn new() -> Sample {
        let (dir, store) = new_store();
        store.append_dataset(&dataset(DS, "d")).unwrap();
        let mut history = History::new(DS);
        let mut chunks = Vec::new();
        for i in 1..=VERSIONS {
            let chunk = put(&store, &bytes(i));
            history.add(&store, file_ops(&format!("f{i}"), Ino(i + 1), Content::One(chunk)));
            chunks.push(chunk);
            store.log.seal(1).unwrap();
        }
        store.sync().unwrap();
        Sample { dir, store, chunks }
    }

    fn join(&self, all: bool) -> u64 {
        self.store.join_packs(all, &mut || ControlFlow::Continue(())).unwrap()
    }

    fn is_whole(&self) {
        is_whole(&self.store, &self.chunks);
    }
}

/// Text for every other version, and noise: both kinds of frames.
fn bytes(i: u64) -> Vec<u8> {
    let noise = noise(9_000, i);
    if i.is_multiple_of(2) {
        noise
    } else {
        noise.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect()
    }
}

#[track_caller]
fn is_whole(store: &Store, chunks: &[ChunkRef]) {
    let verdict = store.verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(verdict.damages, [], "{:?}", store.packs.files());
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(VERSIONS));
    for i in 1..=VERSIONS {
        let (_, record) = store.version(DS, VersionNo(i)).unwrap().unwrap();
        assert_eq!(record.number, VersionNo(i));
        assert!(read(store, chunks[i as usize - 1]).unwrap() == bytes(i), "v{i}");
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("packs")).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sound(dir: &Path) {
    let mut problems = Vec::new();
    let report = &mut |problem| {
        problems.push(problem);
        Ok(())
    };
    fsck(dir, FsckOptions::default(), report).unwrap();
    assert_eq!(problems, []);
}

#[test]
fn joined_packs_hold_what_they_held() {
    let sample = Sample::new();
    let before = sample.store.stats();
    let open = sample.store.packs.file(3).unwrap();
    assert_eq!(sample.join(false), VERSIONS - 1);
    assert_eq!(files(sample.dir.path()), ["00000001-00000023.pack", "00000024.pack"]);
    sample.is_whole();
    assert!(open.records((sample.store.id(), 3)).unwrap().is_some(), "who has it open reads on in it");
    let after = sample.store.stats();
    let on_disk: u64 = packs_of_store(&sample).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(after.pack_bytes < before.pack_bytes);
    assert_eq!(after.pack_bytes, on_disk);
    assert_eq!((sample.join(false), sample.join(true)), (0, 0), "there is nothing more to do");
    let Sample { dir, store, chunks } = sample;
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.stats().pack_bytes, on_disk);
    is_whole(&store, &chunks);
    drop(store);
    Store::rebuild_index(dir.path()).unwrap();
    is_whole(&Store::open(dir.path()).unwrap(), &chunks);
    sound(dir.path());
}

fn packs_of_store(sample: &Sample) -> Vec<PathBuf> {
    files(sample.dir.path()).into_iter().map(|name| sample.dir.path().join("packs").join(name)).collect()
}

/// A process that dies leaves the files at hand of before, of after, or of both; and a file that is half written.
#[test]
fn wherever_joining_is_cut_off_all_is_there() {
    let sample = Sample::new();
    let before = copy(sample.dir.path());
    sample.join(false);
    let Sample { dir, store, chunks } = sample;
    kill(store);
    let joined = dir.path().join("packs/00000001-00000023.pack");
    let whole = fs::read(&joined).unwrap();
    let cut_off = |of: &Path, change: &dyn Fn(&Path)| {
        let copy = copy(of);
        change(&copy.path().join("packs"));
        for power in [false, true] {
            if power {
                fs::write(copy.path().join("open"), "another boot").unwrap();
            }
            is_whole(&Store::open(copy.path()).unwrap(), &chunks);
        }
        let left = files(copy.path());
        sound(copy.path());
        left
    };
    for len in [0, 30, whole.len() / 2, whole.len()] {
        let left = cut_off(before.path(), &|packs| {
            fs::write(packs.join("00000001-00000023.pack.new"), &whole[..len]).unwrap();
        });
        assert_eq!(left.len(), 24, "{left:?}");
    }
    for gone in [0, 1, 11, 22] {
        let left = cut_off(before.path(), &|packs| {
            fs::copy(&joined, packs.join("00000001-00000023.pack")).unwrap();
            (1..=gone).for_each(|n| fs::remove_file(packs.join(format!("{n:08}.pack"))).unwrap());
        });
        assert_eq!(left, ["00000001-00000023.pack", "00000024.pack"], "{gone} removed");
    }
    // Where the file that has all of them is damaged, what it was made of is left, and repairs it.
    let left = copy(before.path());
    let mut bad = whole.clone();
    let middle = whole.len() / 2;
    bad[middle..middle + 3000].fill(0);
    fs::write(left.path().join("packs/00000001-00000023.pack"), bad).unwrap();
    drop(Store::open(left.path()).unwrap());
    assert_eq!(files(left.path()).len(), 25);
    fsck(left.path(), FsckOptions::default(), &mut |_| Ok(())).unwrap();
    is_whole(&Store::open(left.path()).unwrap(), &chunks);
}

/// What is given back of joined packs leaves all else as it is, and what is purged is in no file that is left.
#[test]
fn joined_packs_are_collected_as_others_are() {
    let sample = Sample::new();
    let before = copy(sample.dir.path());
    sample.join(true);
    let (gone, kept): (Vec<_>, Vec<_>) = sample.chunks.iter().copied().partition(|c| c.len == 9_000);
    let Sample { dir, store, chunks } = sample;
    // As if one of those it was made of could not be removed.
    let left_over = "packs/00000002.pack";
    fs::copy(before.path().join(left_over), dir.path().join(left_over)).unwrap();
    let mut underway = store.begin_collection(true).unwrap();
    collect(&store, &mut underway, 0, &kept);
    drop(underway);
    let check = |store: &Store| {
        for (i, chunk) in (1..).zip(&chunks) {
            let is_there = read(store, *chunk).is_ok_and(|found| found == bytes(i));
            assert_eq!(is_there, !gone.contains(chunk), "v{i}");
        }
        assert_eq!(store.verify(|_| ControlFlow::Continue(())).unwrap().damages, []);
    };
    check(&store);
    assert_eq!(files(dir.path()).len(), 2, "{:?}", files(dir.path()));
    drop(store);
    for name in files(dir.path()) {
        let held = fs::read(dir.path().join("packs").join(name)).unwrap();
        let part = &noise(9_000, 2)[100..164];
        assert!(!held.windows(64).any(|window| window == part));
    }
    Store::rebuild_index(dir.path()).unwrap();
    check(&Store::open(dir.path()).unwrap());
}

/// A pack that is damaged is not joined: it stays what it is, to be repaired.
#[test]
fn a_damaged_pack_is_left_alone() {
    let sample = Sample::new();
    let path = sample.dir.path().join("packs/00000009.pack");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(sample.join(true) > 0);
    let expected = ["00000001-00000008.pack", "00000009.pack", "00000010-00000023.pack", "00000024.pack"];
    assert_eq!(files(sample.dir.path()), expected);
    assert!(fs::read(&path).unwrap() == bytes);
}

/// Packs that go on being read, and appended to, while they are joined.
#[test]
fn joining_goes_on_beside_everything_else() {
    let sample = Sample::new();
    let (store, chunks) = (&sample.store, &sample.chunks);
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..20).for_each(|_| is_whole(store, chunks)))).collect();
        let mut n = 0;
        while !readers.iter().all(|reader| reader.is_finished()) {
            put(store, &noise(3_000, 1_000_000 + n));
            store.log.seal(1).unwrap();
            store.sync().unwrap();
            sample.join(n.is_multiple_of(2));
            n += 1;
        }
    });
    assert!(files(sample.dir.path()).len() < 30);
}

/// As much as a store takes in over a long time, little by little.
#[test]
fn packs_of_many_rounds_stay_few() {
    let (dir, store) = new_store();
    let mut chunks = BTreeMap::new();
    let mut most = 0;
    for n in 0..300u64 {
        chunks.insert(n, put(&store, &noise(2_000, n)));
        store.log.seal(1).unwrap();
        store.sync().unwrap();
        store.compactor.join(Eagerness::Amortised, &mut || ControlFlow::Continue(())).unwrap();
        most = most.max(files(dir.path()).len());
    }
    assert!(most <= 16, "{most} files");
    for (n, chunk) in chunks {
        assert!(read(&store, chunk).unwrap() == noise(2_000, n));
    }
}
