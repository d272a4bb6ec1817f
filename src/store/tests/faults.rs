//! A disk that is full or fails.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::*;

/// A disk with switches.
#[derive(Default)]
struct Faulty {
    /// Bytes that can still be written before [`libc::ENOSPC`]; 0: no limit.
    budget: AtomicU64,
    /// Most bytes written at once; 0: no limit.
    piece: AtomicUsize,
    fail_sync: AtomicBool,
    slow_sync: AtomicBool,
    panic_sync: AtomicBool,
    syncs: AtomicUsize,
    /// Free space reported; 0: the real one.
    free: AtomicU64,
}

impl Media for Faulty {
    fn write_at(&self, file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let budget = self.budget.load(SeqCst);
        let bytes: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
        if budget == 0 {
            let piece = match self.piece.load(SeqCst) {
                0 => bytes.len(),
                piece => piece.min(bytes.len()),
            };
            return Disk.write_at(file, &[IoSlice::new(&bytes[..piece])], offset);
        }
        let some = bytes.len().min(budget as usize - 1);
        if some == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.budget.fetch_sub(some as u64, SeqCst);
        Disk.write_at(file, &[IoSlice::new(&bytes[..some])], offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, SeqCst);
        if self.fail_sync.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if self.slow_sync.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!self.panic_sync.load(SeqCst), "a sync that panics");
        Disk.sync(file)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        match self.free.load(SeqCst) {
            0 => Disk.room(path),
            free => Ok(Room { total: 1 << 30, free }),
        }
    }
}

fn faulty_store() -> (TempDir, Arc<Faulty>, Store) {
    let dir = TempDir::new().unwrap();
    Store::init(dir.path()).unwrap();
    let media = Arc::new(Faulty::default());
    let store = Store::open_on(dir.path(), media.clone()).unwrap();
    (dir, media, store)
}

#[test]
fn a_write_that_fails_midway_leaves_nothing_and_room_makes_it_work_again() {
    let (dir, media, store) = faulty_store();
    let mut history = History::new(DS);
    history.add(&store, vec![]);
    let size = store.stats().pack_bytes;
    let chunk = noise(10_000, 1);
    for budget in [1, 2, 57, 5000, 10_056] {
        media.budget.store(budget, SeqCst);
        assert!(matches!(store.put_chunks(&[&chunk]), Err(Error::NoSpace(_))), "{budget}");
        media.budget.store(budget.min(57), SeqCst);
        let record = history.next(VersionNo(1), vec![]);
        assert!(matches!(store.append_record(&record), Err(Error::NoSpace(_))));
        assert_eq!(store.stats().pack_bytes, size);
        assert_eq!(std::fs::metadata(&packs_of(dir.path())[0]).unwrap().len(), size);
        assert_eq!(store.last_version(DS).unwrap(), VersionNo(1));
    }
    media.budget.store(0, SeqCst);
    let chunk_ref = put(&store, &chunk);
    history.add(&store, file_ops("f", Ino(2), Content::One(chunk_ref)));
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(read(&store, chunk_ref).unwrap(), chunk);
    assert_eq!(store.last_version(DS).unwrap(), VersionNo(2));
}

#[test]
fn writes_in_pieces_are_put_together() {
    let (_dir, media, store) = faulty_store();
    let chunks: Vec<Vec<u8>> = (0..700).map(|i| noise(100, i)).collect();
    let slices: Vec<&[u8]> = chunks.iter().map(|c| &c[..]).collect();
    media.piece.store(333, SeqCst);
    let refs = store.put_chunks(&slices).unwrap();
    for (r, bytes) in refs.iter().zip(&chunks) {
        assert_eq!(read(&store, *r).unwrap(), *bytes);
    }
}

#[test]
fn a_nearly_full_disk_takes_records_but_no_data() {
    let (_dir, media, store) = faulty_store();
    let mut history = History::new(DS);
    media.free.store(10 << 20, SeqCst);
    std::thread::sleep(Duration::from_millis(60));
    assert!(matches!(store.put_chunks(&[b"data"]), Err(Error::NoSpace(_))));
    history.add(&store, vec![unlink("f")]);
    media.free.store(1 << 20, SeqCst);
    std::thread::sleep(Duration::from_millis(60));
    assert!(matches!(store.append_record(&history.next(VersionNo(1), vec![])), Err(Error::NoSpace(_))));
    media.free.store(1 << 29, SeqCst);
    put(&store, b"data");
    history.add(&store, vec![]);
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_the_store_is_opened_anew() {
    let (dir, media, store) = faulty_store();
    let before = put(&store, b"before");
    store.sync().unwrap();
    let after = put(&store, b"after");
    media.fail_sync.store(true, SeqCst);
    assert!(store.sync().is_err());
    assert!(store.is_read_only());
    media.fail_sync.store(false, SeqCst);
    assert!(matches!(store.put_chunks(&[b"more"]), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.sync(), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.append_dataset(&dataset(DS, "d")), Err(Error::ReadOnly { .. })));
    assert_eq!(read(&store, before).unwrap(), b"before");
    assert_eq!(read(&store, after).unwrap(), b"after");
    assert!(store.close().is_err());
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.is_read_only());
    assert_eq!(read(&store, before).unwrap(), b"before");
    put(&store, b"more");
}

#[test]
fn a_sync_that_nobody_asked_for_comes_within_a_second() {
    let (_dir, media, store) = faulty_store();
    put(&store, b"x");
    assert!(store.stats().unsynced_bytes > 0);
    let start = Instant::now();
    let syncs = media.syncs.load(SeqCst);
    while store.stats().unsynced_bytes > 0 {
        assert!(start.elapsed() < Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(media.syncs.load(SeqCst), syncs + 1);
}

#[test]
fn syncs_at_the_same_time_are_shared() {
    const THREADS: usize = 8;
    let (_dir, media, store) = faulty_store();
    media.slow_sync.store(true, SeqCst);
    let syncs = media.syncs.load(SeqCst);
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for i in 0..THREADS {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                put(store, &noise(100, i as u64));
                start.wait();
                store.sync().unwrap();
            });
        }
    });
    assert_eq!(store.stats().unsynced_bytes, 0);
    assert!(media.syncs.load(SeqCst) - syncs <= 3, "8 syncs took {}", media.syncs.load(SeqCst) - syncs);
}

#[test]
fn what_an_apply_could_not_finish_is_not_lost() {
    let (dir, _, store) = faulty_store();
    let mut history = History::new(DS);
    history.add(&store, file_ops("a", Ino(2), Content::Empty));
    let broken = || Err(Error::Index("broken".into()));
    assert!(store.index.apply(broken).is_err());
    history.add(&store, file_ops("b", Ino(3), Content::Empty));
    assert!(entry(&store, "a", VersionNo(2)).is_some());
    store.index.apply(|| store.log.sync()).unwrap();
    let both = |store: &Store| ["a", "b"].map(|f| entry(store, f, VersionNo(2)).is_some());
    assert_eq!(both(&store), [true, true]);
    drop(store);
    assert_eq!(both(&Store::open(dir.path()).unwrap()), [true, true]);
}

#[test]
fn the_index_takes_any_number_of_entries_in_bounded_memory() {
    let (_dir, store) = new_store();
    let keys = |round: u64| (0..1000).map(move |i| (round * 1000 + i).to_be_bytes());
    for round in 0..600 {
        store.index.wait_for_room().unwrap();
        let key = |n: [u8; 8]| [&b"c"[..], blake3::hash(&n).as_bytes()].concat();
        let changes = keys(round).map(|n| index::change::Change::Put(key(n), vec![0; 17]));
        store.index.publish(changes, store.log.end());
        assert!(store.index.memory() < index::WAIT_AT + 1000 * 200, "round {round}");
    }
    let mut range = store.index.scan(b"c");
    let mut count = 0;
    while range.next_entry().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 600_000);
}

#[test]
fn a_pack_that_cannot_be_sealed_or_followed_is_tried_again() {
    let (dir, media, store) = faulty_store();
    let filler = noise(pack::SEAL_SIZE as usize, 1);
    let filler: Vec<&[u8]> = filler.chunks(100_000).collect();
    store.put_chunks(&filler).unwrap();
    media.budget.store(1000, SeqCst);
    assert!(matches!(store.put_chunks(&[b"x"]), Err(Error::NoSpace(_))));
    media.budget.store(0, SeqCst);
    let second = dir.path().join("packs/00000002.pack");
    std::fs::create_dir(&second).unwrap();
    assert!(matches!(store.put_chunks(&[b"x"]), Err(Error::Io { .. })));
    assert!(matches!(store.put_chunks(&[b"x"]), Err(Error::Io { .. })));
    store.sync().unwrap();
    std::fs::remove_dir(&second).unwrap();
    let chunk = put(&store, b"x");
    assert_eq!(packs_of(dir.path()).len(), 2);
    let verdict = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(verdict.damages, []);
    kill(store);
    assert_eq!(read(&Store::open(dir.path()).unwrap(), chunk).unwrap(), b"x");
}

#[test]
fn many_writers_and_readers_agree() {
    let (dir, store) = new_store();
    std::thread::scope(|scope| {
        for t in 1..=4u32 {
            let store = &store;
            scope.spawn(move || {
                let mut history = History::new(DatasetId(t));
                for i in 0..200u64 {
                    let chunk = put(store, &noise(300, u64::from(t % 2) * 1000 + i));
                    history.add(store, file_ops("f", Ino(2), Content::One(chunk)));
                    let seen = store.inode(DatasetId(t), Ino(2), &view(history.last)).unwrap().unwrap();
                    assert_eq!(seen, (history.last, inode(Content::One(chunk))));
                    assert_eq!(read(store, chunk).unwrap().len(), 300);
                }
            });
        }
    });
    kill(store);
    let store = Store::open(dir.path()).unwrap();
    for t in 1..=4 {
        assert_eq!(store.last_version(DatasetId(t)).unwrap(), VersionNo(200));
    }
    assert_eq!(store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap().damages, []);
}

/// A panic in the thread that syncs neither goes unnoticed nor has anybody wait for it for ever.
#[test]
fn a_sync_that_panics_makes_the_store_read_only() {
    let (_dir, media, store) = faulty_store();
    let mut history = History::new(DS);
    history.add(&store, vec![]);
    store.sync().unwrap();
    media.panic_sync.store(true, SeqCst);
    history.add(&store, vec![]);
    let until = Instant::now() + Duration::from_secs(30);
    while store.read_only().is_none() {
        assert!(Instant::now() < until, "nobody noticed");
        std::thread::sleep(Duration::from_millis(10));
    }
    media.panic_sync.store(false, SeqCst);
    assert!(matches!(store.sync(), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.put_chunks(&[b"more"]), Err(Error::ReadOnly { .. })));
    assert_eq!(store.last_version(DS).unwrap().0, 2, "what is there can be read");
}
