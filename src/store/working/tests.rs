use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::model::content::CHUNK_MAX;
use crate::store::content::Builder;
use crate::store::error::Error;
use crate::store::testing::{MemObjects, bytes, content_of, noise};

const UNIT: u64 = CHUNK_MAX as u64;

/// So small that a few hundred KiB make every kind of room.
const TINY: Limits = Limits { ram: 50_000, buffer: 100_000, extents: 3, pieces: 3 };

/// Where something begins: within the file or at its end, at a multiple of a step, or past the end.
#[derive(Clone, Debug)]
enum Place {
    Within(Index),
    Aligned(Index),
    End,
    Past(u64),
    At(usize),
}

impl Place {
    fn offset(&self, size: usize) -> usize {
        match self {
            Place::Within(index) => index.index(size + 1),
            Place::Aligned(index) => index.index(size + 1) / 4096 * 4096,
            Place::End => size,
            Place::At(offset) => *offset,
            Place::Past(by) => size + *by as usize,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Place, Vec<u8>),
    /// One after the other, so many bytes at a time; between them, work goes on if the number is even.
    Stream(Place, Vec<u8>, usize),
    Truncate(Place),
    Zero(Place, u64),
    /// From one of the sources.
    Copy(Place, usize, Index, u64),
    /// Within the file itself, as it was settled.
    CopyWithin(Place, Index, u64),
    Settle,
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => any::<Index>().prop_map(Place::Within),
        1 => any::<Index>().prop_map(Place::Aligned),
        3 => Just(Place::End),
        1 => (1..400_000_u64).prop_map(Place::Past),
    ]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0..99_u64, 1..9000_usize).prop_map(|(seed, len)| noise(seed, len)),
        2 => (0..99_u64, 1..200_000_usize).prop_map(|(seed, len)| noise(seed, len)),
        1 => bytes(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (place(), data()).prop_map(|(place, data)| Step::Write(place, data)),
        3 => (place(), 0..99_u64, 50_000..700_000_usize, 5_000..90_000_usize)
            .prop_map(|(place, seed, len, part)| Step::Stream(place, noise(seed, len), part)),
        2 => place().prop_map(Step::Truncate),
        2 => (place(), 0..500_000_u64).prop_map(|(place, len)| Step::Zero(place, len)),
        3 => (place(), 0..2_usize, any::<Index>(), 0..2_000_000_u64)
            .prop_map(|(place, source, from, len)| Step::Copy(place, source, from, len)),
        1 => (place(), any::<Index>(), 0..500_000_u64)
            .prop_map(|(place, from, len)| Step::CopyWithin(place, from, len)),
        2 => Just(Step::Settle),
    ]
}

/// A working file and the bytes it should have.
struct Pair {
    store: Arc<MemObjects>,
    objects: Objects,
    file: WorkingFile,
    model: Vec<u8>,
    sources: Vec<(Content, Vec<u8>)>,
    scratch: tempfile::TempDir,
}

impl Pair {
    fn new(base: Vec<u8>, sources: Vec<Vec<u8>>, limits: Limits) -> Pair {
        let (store, objects) = MemObjects::new();
        let scratch = tempfile::tempdir().unwrap();
        let file = WorkingFile::with_limits(content_of(&objects, &base), scratch.path(), limits);
        let sources = sources.into_iter().map(|bytes| (content_of(&objects, &bytes), bytes)).collect();
        Pair { store, objects, file, model: base, sources, scratch }
    }

    /// Does a step on both; where the store fails under it, does it again.
    fn apply(&mut self, step: &Step, fail: Option<u32>) {
        let size = self.model.len();
        let within = match step {
            Step::CopyWithin(..) => self.file.settle(&self.objects).unwrap(),
            _ => Content::Empty,
        };
        let Pair { store, objects, file, sources, .. } = self;
        let mut act = || match step {
            Step::Write(place, data) => file.write_at(objects, place.offset(size) as u64, data),
            Step::Stream(place, data, part) => {
                let mut at = place.offset(size) as u64;
                data.chunks(*part).try_for_each(|bytes| {
                    at += bytes.len() as u64;
                    file.write_at(objects, at - bytes.len() as u64, bytes)?;
                    if part % 2 == 0 {
                        file.work_ahead(objects);
                    }
                    Ok(())
                })
            }
            Step::Truncate(place) => file.truncate(objects, place.offset(size) as u64),
            Step::Zero(place, len) => file.zero_range(objects, place.offset(size) as u64, *len),
            Step::Copy(place, source, from, len) => {
                let (content, bytes) = &sources[*source];
                let from = from.index(bytes.len() + 1) as u64;
                file.splice_from(objects, place.offset(size) as u64, content, from, *len).map(drop)
            }
            Step::CopyWithin(place, from, len) => {
                let from = from.index(size + 1) as u64;
                file.splice_from(objects, place.offset(size) as u64, &within, from, *len).map(drop)
            }
            Step::Settle => file.settle(objects).map(drop),
        };
        match fail {
            None => act().unwrap(),
            Some(puts) => {
                store.fail_after(puts);
                let result = act();
                store.never_fail();
                if let Err(error) = result {
                    assert!(matches!(error, Error::NoSpace(_)), "{error}");
                    act().unwrap();
                }
                // What failed on another thread is told to the next who waits for it.
                file.join();
            }
        }
        match step {
            Step::Write(place, data) | Step::Stream(place, data, _) => self.put(place.offset(size), data),
            Step::Truncate(place) => self.model.resize(place.offset(size), 0),
            Step::Zero(place, len) => {
                let start = place.offset(size).min(size);
                self.model[start..(start + *len as usize).min(size)].fill(0);
            }
            Step::Copy(place, source, from, len) => {
                let bytes = &self.sources[*source].1;
                let from = from.index(bytes.len() + 1);
                let bytes = bytes[from..(from + *len as usize).min(bytes.len())].to_vec();
                self.put(place.offset(size), &bytes);
            }
            Step::CopyWithin(place, from, len) => {
                let from = from.index(size + 1);
                let bytes = self.model[from..(from + *len as usize).min(size)].to_vec();
                self.put(place.offset(size), &bytes);
            }
            Step::Settle => {}
        }
        assert_eq!(self.file.size(), self.model.len() as u64);
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            let end = offset + bytes.len();
            self.model.resize(self.model.len().max(end), 0);
            self.model[offset..end].copy_from_slice(bytes);
        }
    }

    fn check_bytes(&mut self) {
        self.file.join();
        let mut out = vec![0xaa; self.model.len() + 1];
        assert_eq!(self.file.read_at(&self.objects, 0, &mut out).unwrap(), self.model.len());
        if out[..self.model.len()] != self.model {
            let differs = out.iter().zip(&self.model).position(|(a, b)| a != b);
            panic!("byte {differs:?} of {} differs", self.model.len());
        }
    }

    /// Holes are zero, and data and holes take turns up to the end.
    fn check_holes(&mut self) {
        self.file.join();
        let size = self.model.len() as u64;
        let mut at = 0;
        while at < size {
            let data = self.file.next_data(&self.objects, at).unwrap().unwrap_or(size);
            assert!(self.model[at as usize..data as usize] == vec![0; (data - at) as usize]);
            if data < size {
                assert_eq!(self.file.next_data(&self.objects, data).unwrap(), Some(data));
                at = self.file.next_hole(&self.objects, data).unwrap().unwrap();
                assert!(at > data);
            } else {
                at = size;
            }
        }
        assert_eq!(self.file.next_data(&self.objects, size).unwrap(), None);
        assert_eq!(self.file.next_hole(&self.objects, size).unwrap(), None);
    }

    fn check_settled(&mut self) {
        let content = self.file.settle(&self.objects).unwrap();
        assert_eq!(content, content_of(&self.objects, &self.model));
        assert!(!self.file.is_dirty());
        assert_eq!(self.file.settle(&self.objects).unwrap(), content);
        assert_eq!(std::fs::read_dir(self.scratch.path()).unwrap().count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// The key property: whatever is done to a file, in whatever way it is kept meanwhile, it reads
    /// as a plain array of bytes would, and settles to what chunking that array gives.
    #[test]
    fn a_working_file_is_an_array_of_bytes(
        base in bytes(),
        sources in prop::collection::vec(bytes(), 2),
        steps in prop::collection::vec((step(), prop::option::weighted(0.2, 0..4_u32), any::<bool>()), 1..20),
        tiny in any::<bool>(),
    ) {
        let mut pair = Pair::new(base, sources, if tiny { TINY } else { Limits::DEFAULT });
        for (step, fail, look) in &steps {
            pair.apply(step, *fail);
            if *look {
                pair.check_bytes();
            }
            if matches!(step, Step::Settle) {
                pair.check_settled();
            }
        }
        pair.check_bytes();
        pair.check_holes();
        pair.check_settled();
        pair.check_bytes();
        pair.check_holes();
    }
}

fn pair(base: usize) -> Pair {
    Pair::new(noise(1, base), vec![], Limits::DEFAULT)
}

#[test]
fn an_edit_of_a_large_file_costs_a_few_chunks() {
    let mut pair = pair(40 << 20);
    for (offset, len) in [(20 << 20, 1), (3_000_000, 5000), (0, 1), ((40 << 20) - 1, 1), (40 << 20, 1)] {
        pair.store.reset_counts();
        let data = noise(9, len);
        pair.file.write_at(&pair.objects, offset, &data).unwrap();
        pair.file.settle(&pair.objects).unwrap();
        let (read, put) = (&pair.store.bytes_read, &pair.store.bytes_put);
        assert!(read.load(Relaxed) < 6 * UNIT, "{} read for {len} at {offset}", read.load(Relaxed));
        assert!(put.load(Relaxed) < 6 * UNIT, "{} put for {len} at {offset}", put.load(Relaxed));
        pair.put(offset as usize, &data);
    }
    pair.check_settled();
}

#[test]
fn copies_move_no_data() {
    let mut pair = pair(0);
    let bytes = noise(2, 20 << 20);
    let source = content_of(&pair.objects, &bytes);
    let Pair { store, objects, file, .. } = &mut pair;
    store.reset_counts();
    let mut at = 0;
    while at < source.size() {
        at += file.splice_from(objects, at, &source, at, 3_333_333).unwrap();
    }
    assert_eq!(file.extents.count(), 1);
    assert_eq!(file.settle(objects).unwrap(), source);
    assert_eq!(store.bytes_read.load(Relaxed) + store.bytes_put.load(Relaxed), 0);
    // In part, and not at chunk ends: the edges alone are read.
    assert_eq!(file.splice_from(objects, 5_000_000, &source, 100, u64::MAX).unwrap(), source.size() - 100);
    let content = file.settle(objects).unwrap();
    assert!(store.bytes_read.load(Relaxed) < 8 * UNIT);
    let expected = [&bytes[..5_000_000], &bytes[100..]].concat();
    assert_eq!(content, content_of(objects, &expected));
}

#[test]
fn holes_of_any_size_cost_nothing() {
    let mut pair = pair(0);
    let Pair { store, objects, file, .. } = &mut pair;
    let far = i64::MAX as u64 - 10;
    file.truncate(objects, 1 << 50).unwrap();
    file.write_at(objects, 1 << 40, b"middle").unwrap();
    file.write_at(objects, far, b"0123456789").unwrap();
    file.zero_range(objects, 1 << 41, 1 << 42).unwrap();
    let error = file.write_at(objects, far, b"0123456789a").unwrap_err();
    assert!(matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(libc::EFBIG)));
    let content = file.settle(objects).unwrap();
    assert_eq!(file.size(), far + 10);
    assert!(store.bytes_put.load(Relaxed) < 4 * UNIT);

    let mut builder = Builder::new(objects);
    builder.zeros(1 << 40).unwrap();
    builder.write(b"middle").unwrap();
    builder.zeros(far - (1 << 40) - 6).unwrap();
    builder.write(b"0123456789").unwrap();
    assert_eq!(content, builder.finish().unwrap());

    file.write_at(objects, (1 << 40) + 3, b"D").unwrap();
    file.truncate(objects, (1 << 40) + 4).unwrap();
    let mut out = [0; 9];
    assert_eq!(file.read_at(objects, (1 << 40) - 1, &mut out).unwrap(), 5);
    assert_eq!(&out[..5], b"\0midD");
    assert_eq!(file.next_data(objects, 0).unwrap(), Some(1 << 40));
    let mut builder = Builder::new(objects);
    builder.zeros(1 << 40).unwrap();
    builder.write(b"midD").unwrap();
    assert_eq!(file.settle(objects).unwrap(), builder.finish().unwrap());
}

#[test]
fn sequential_writes_stream_and_stay_together() {
    let mut pair = pair(0);
    let bytes = noise(3, 24 << 20);
    for part in bytes.chunks(4096) {
        let size = pair.file.size();
        pair.file.write_at(&pair.objects, size, part).unwrap();
        let tail = pair.file.tail.as_ref().unwrap();
        assert!(tail.waiting() <= BLOCK + 4096);
    }
    assert!(pair.file.is_ahead(), "another thread stores while more is written");
    pair.file.read_at(&pair.objects, 0, &mut [0]).unwrap_err();
    pair.file.join();
    // Stored once, a MiB to a call.
    assert!(pair.store.bytes_put.load(Relaxed) > 22 << 20);
    pair.put(0, &bytes);
    pair.check_bytes();
    pair.check_settled();
    // Twice: the test's own chunking, and ours.
    assert_eq!(pair.store.bytes_put.load(Relaxed), 2 * (24 << 20));
}

/// What another thread could not store is still in the file, with what it stored after that: a later write
/// says so and changes nothing, and when there is room again all goes on.
#[test]
fn a_failure_to_store_ahead_loses_nothing() {
    let bytes = noise(4, 16 << 20);
    for helped in [false, true] {
        let mut pair = pair(0);
        let mut failed = 0;
        for (i, part) in bytes.chunks(256 << 10).enumerate() {
            let size = pair.file.size();
            if i % 11 == 10 {
                // The next that is stored, and only that.
                pair.store.fail_after(0);
            }
            while pair.file.write_at(&pair.objects, size, part).is_err() {
                assert_eq!(pair.file.size(), size);
                failed += 1;
            }
            if helped {
                pair.file.work_ahead(&pair.objects);
            }
        }
        pair.store.never_fail();
        assert!(failed > 0, "nothing failed");
        pair.file.join();
        pair.put(0, &bytes);
        pair.check_bytes();
        pair.check_settled();
    }
}

/// Who writes on while nothing can be stored is told soon, and not only at the end with everything in memory.
#[test]
fn a_full_store_is_told_to_who_writes() {
    let mut pair = pair(0);
    let bytes = noise(6, 256 << 10);
    let told = (0..64).any(|_| {
        pair.store.fail_after(0);
        let size = pair.file.size();
        let written = pair.file.write_at(&pair.objects, size, &bytes);
        pair.file.work_ahead(&pair.objects);
        written.is_err()
    });
    assert!(told && pair.file.size() <= 6 << 20, "{told}, {}", pair.file.size());
}

/// Work that goes on between writes leaves no more in memory than these may.
#[test]
fn work_ahead_keeps_memory_bounded() {
    let mut pair = pair(0);
    for part in noise(5, 32 << 20).chunks(256 << 10) {
        let size = pair.file.size();
        pair.file.write_at(&pair.objects, size, part).unwrap();
        pair.file.work_ahead(&pair.objects);
        let tail = pair.file.tail.as_ref().unwrap();
        let memory = tail.end() - tail.buffer_start();
        assert!(memory <= 5 * BLOCK as u64, "{memory}");
    }
}

#[test]
fn many_random_writes_go_to_the_scratch_file() {
    let mut pair = pair(30 << 20);
    let mut at = 1;
    for i in 0..3000 {
        at = at * 7919 % 7681;
        let data = noise(i, 4096);
        pair.file.write_at(&pair.objects, at as u64 * 4096, &data).unwrap();
        pair.put(at * 4096, &data);
        assert!(pair.file.extents.ram() <= Limits::DEFAULT.ram);
    }
    assert!(pair.file.extents.from(0).is_some());
    pair.check_bytes();
    pair.check_settled();
    pair.check_bytes();
}

#[test]
fn a_tail_cut_short_goes_on_from_there() {
    for size in [200_000, 950_000, 1_000_000 + 2 * CHUNK_MAX + 5, 1_000_000 + 7 * CHUNK_MAX, 2_400_000] {
        let limits = Limits { buffer: 100_000, ..Limits::DEFAULT };
        let mut pair = Pair::new(vec![], vec![], limits);
        for step in [
            Step::Write(Place::End, noise(1, 1_000_000)),
            Step::Truncate(Place::Past(8 * UNIT)),
            Step::Write(Place::End, noise(2, 500_000)),
            Step::Truncate(Place::At(size)),
        ] {
            pair.apply(&step, None);
        }
        assert_eq!(pair.file.tail.as_ref().unwrap().start(), 0, "still the tail begun first");
        pair.check_bytes();
        pair.check_holes();
        pair.apply(&Step::Write(Place::End, noise(3, 10)), None);
        pair.check_settled();
    }
}

#[test]
fn bytes_changed_in_the_buffer_are_searched_anew() {
    for seed in 0..12 {
        let limits = Limits { buffer: 100_000, ..Limits::DEFAULT };
        let mut pair = Pair::new(vec![], vec![], limits);
        for step in [
            Step::Write(Place::End, noise(seed, 110_000)),
            Step::Write(Place::End, noise(seed, 10)),
            Step::Write(Place::At(80_000), noise(seed + 100, 30_000)),
            Step::Write(Place::End, noise(seed, 200_000)),
        ] {
            pair.apply(&step, None);
        }
        pair.check_settled();
    }
}

#[test]
fn zeros_after_a_cut_that_the_base_has_not_are_cut_anew() {
    let data = noise(1, 300_000);
    let first = crate::store::chunker::next_cut(&data) as u64;
    let mut pair = Pair::new(vec![0; 10 * CHUNK_MAX + 5], vec![data], Limits::DEFAULT);
    for at in [0, 3 * CHUNK_MAX, 7 * CHUNK_MAX + 100] {
        let (source, bytes) = pair.sources[0].clone();
        pair.file.splice_from(&pair.objects, at as u64, &source, 0, first).unwrap();
        pair.put(at, &bytes[..first as usize]);
        pair.check_settled();
    }
}

#[test]
fn a_scratch_directory_that_is_gone_loses_nothing() {
    let (_, objects) = MemObjects::new();
    let base = noise(1, 1 << 20);
    let content = content_of(&objects, &base);
    let limits = Limits { ram: 10_000, ..Limits::DEFAULT };
    let mut file = WorkingFile::with_limits(content, std::path::Path::new("/nonexistent"), limits);
    file.write_at(&objects, 5, &[1; 9000]).unwrap();
    let error = file.write_at(&objects, 500_000, &[2; 9000]).unwrap_err();
    assert!(matches!(error, Error::Io { what: "create a scratch file in", .. }));
    let expected = [&base[..5], &[1; 9000], &base[9005..]].concat();
    assert_eq!(file.settle(&objects).unwrap(), content_of(&objects, &expected));
}

#[test]
fn a_failed_settle_can_be_repeated() {
    let mut pair = pair(3 << 20);
    for step in [
        Step::Write(Place::Past(10), noise(5, 2_500_000)),
        Step::Write(Place::At(8192), noise(6, 10)),
        Step::Zero(Place::At(8192), 700_000),
    ] {
        pair.apply(&step, None);
    }
    let mut failures = 0;
    loop {
        pair.store.fail_after(failures);
        let result = pair.file.settle(&pair.objects);
        pair.store.never_fail();
        if result.is_ok() {
            break;
        }
        assert!(pair.file.is_dirty());
        pair.check_bytes();
        failures += 1;
    }
    assert!(failures >= 4, "{failures}");
    pair.check_settled();
}

#[test]
fn nothing_done_is_nothing_to_settle() {
    let mut pair = pair(100_000);
    pair.store.reset_counts();
    pair.file.write_at(&pair.objects, 200_000, b"").unwrap();
    pair.file.truncate(&pair.objects, 100_000).unwrap();
    pair.file.zero_range(&pair.objects, 100_000, 50).unwrap();
    assert_eq!(pair.file.splice_from(&pair.objects, 0, &Content::Empty, 0, 10).unwrap(), 0);
    assert!(!pair.file.is_dirty());
    assert_eq!(pair.file.settle(&pair.objects).unwrap(), content_of(&pair.objects, &pair.model));
}

/// A rewrite from within a large file on is stored as it comes; where its bytes are those of the base but
/// for an insertion, hardly anything is put.
#[test]
fn a_rewrite_streams() {
    let mut pair = pair(32 << 20);
    let (at, row) = (9_000_001, noise(7, 5000));
    let moved = [&row[..], &pair.model[at..]].concat();
    pair.store.reset_counts();
    for (n, part) in moved.chunks(64 << 10).enumerate() {
        let offset = (at + n * (64 << 10)) as u64;
        pair.file.write_at(&pair.objects, offset, part).unwrap();
        let run = pair.file.run.as_ref().or(pair.file.tail.as_ref());
        assert!(pair.file.extents.ram() <= Limits::DEFAULT.ram);
        assert!(run.is_some_and(|run| run.waiting() <= BLOCK + Limits::DEFAULT.ram) || n < 66, "at part {n}");
    }
    assert!(pair.file.tail.is_some(), "once it is past the old end");
    pair.put(at, &moved);
    pair.check_bytes();
    pair.store.reset_counts();
    pair.file.settle(&pair.objects).unwrap();
    assert!(pair.store.bytes_put.load(Relaxed) < (BLOCK as u64) + 4 * UNIT, "the rest was stored before");
    pair.check_settled();
}

/// A rewrite of a stretch within a file, and one of a hole.
#[test]
fn a_rewrite_may_end_within_the_file_or_fill_a_hole() {
    for (base, size, from) in [(32 << 20, 32 << 20, 5_000_003_usize), (1 << 20, 32 << 20, 9 << 20)] {
        let mut pair = pair(base);
        pair.file.truncate(&pair.objects, size).unwrap();
        pair.model.resize(size as usize, 0);
        let data = noise(5, 12 << 20);
        for (n, part) in data.chunks(100_000).enumerate() {
            pair.file.write_at(&pair.objects, (from + n * 100_000) as u64, part).unwrap();
        }
        assert!(pair.file.run.is_some());
        pair.put(from, &data);
        pair.check_bytes();
        pair.check_holes();
        pair.file.write_at(&pair.objects, 7 << 20, b"back").unwrap();
        assert!(pair.file.run.is_none());
        pair.put(7 << 20, b"back");
        pair.check_bytes();
        pair.check_settled();
        pair.check_bytes();
    }
}
