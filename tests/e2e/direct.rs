//! O_DIRECT: reading and writing past the kernel's cache.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, open};

use crate::harness::*;

const BLOCK: usize = 4096;

/// Memory of which a part begins at a multiple of [`BLOCK`].
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Aligned {
        let memory = vec![0; len + 2 * BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Aligned { memory, start, len }
    }

    /// The part, or one of the same length `off` bytes later.
    fn part(&mut self, off: usize) -> &mut [u8] {
        &mut self.memory[self.start + off..][..self.len]
    }
}

fn direct(d: &Dataset<'_>, path: &str, flags: OFlags) -> File {
    open(d.path(path), flags | OFlags::DIRECT, Mode::from(0o644)).expect("open with O_DIRECT").into()
}

/// Blocks written and read with O_DIRECT are what anybody reads, through the cache or past it, at once
/// and in the version; reading stops at the end of the file.
#[test]
fn direct_and_cached_access_see_the_same() {
    let m = Mount::new();
    let d = m.dataset("d");
    let (blocks, size) = (64, 64 * BLOCK);
    let mut wanted = noise(1, size);
    let (past, cached) = (direct(&d, "f", OFlags::RDWR | OFlags::CREATE), File::options());
    let cached = cached.clone().read(true).write(true).open(d.path("f")).expect("open");
    let mut memory = Aligned::new(size);
    memory.part(0).copy_from_slice(&wanted);
    past.write_all_at(memory.part(0), 0).expect("write");
    let mut random = Random::new(2);
    for round in 0..200 {
        let len = (1 + random.below(16)) * BLOCK;
        let at = random.below(blocks - len / BLOCK + 1) * BLOCK;
        let bytes = random.bytes(len);
        match random.below(2) {
            0 => {
                let mut memory = Aligned::new(len);
                memory.part(0).copy_from_slice(&bytes);
                past.write_all_at(memory.part(0), at as u64).expect("write past the cache");
            }
            _ => cached.write_all_at(&bytes, at as u64).expect("write through the cache"),
        }
        wanted[at..at + len].copy_from_slice(&bytes);
        let from = random.below(blocks) * BLOCK;
        let mut memory = Aligned::new(size);
        let n = past.read_at(memory.part(0), from as u64).expect("read past the cache");
        assert!(memory.part(0)[..n] == wanted[from..], "past the cache, round {round}");
        let mut back = vec![0; size - from];
        cached.read_exact_at(&mut back, from as u64).expect("read through the cache");
        assert!(back == wanted[from..], "through the cache, round {round}");
    }
    drop((past, cached));
    assert!(d.bytes("f") == wanted && d.bytes("@latest/f") == wanted);
    let version = direct(&d, "@latest/f", OFlags::RDONLY);
    assert_eq!(version.read_at(memory.part(0), 0).expect("read a version"), size);
    assert!(memory.part(0) == wanted);
    assert_eq!(version.read_at(memory.part(0), (size - BLOCK) as u64).expect("read to the end"), BLOCK);
    assert_eq!(version.read_at(memory.part(0), size as u64).expect("read at the end"), 0);
}

/// Where disks ask for aligned offsets, lengths and memory, any will do: the bytes are right.
#[test]
fn direct_access_needs_no_alignment() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut wanted = noise(3, 300_000);
    d.write("f", &wanted);
    let (file, mut random) = (direct(&d, "f", OFlags::RDWR), Random::new(4));
    for _ in 0..60 {
        let (at, len) = (random.below(200_000), 1 + random.below(90_000));
        let (mut memory, off) = (Aligned::new(len), random.below(BLOCK));
        memory.part(off).copy_from_slice(&random.bytes(len));
        file.write_all_at(memory.part(off), at as u64).expect("write");
        wanted[at..at + len].copy_from_slice(memory.part(off));
        let (at, mut memory) = (random.below(200_000), Aligned::new(len));
        assert_eq!(file.read_at(memory.part(off), at as u64).expect("read"), len);
        assert!(memory.part(off) == &wanted[at..at + len]);
    }
    drop(file);
    assert!(d.bytes("f") == wanted && d.bytes("@latest/f") == wanted);
}

/// What goes through a file that is open for writing alone goes past the kernel's cache, and is seen at once by whoever
/// has the file open, and mapped; what is stored through a mapping beside it is not lost.
#[test]
fn only_writing_is_seen_by_readers_and_mappings() {
    let m = Mount::new();
    let d = m.dataset("d");
    let script = r#"
import mmap, os, random, sys
path, size, at = sys.argv[1], 600_000, random.Random(5)
wanted = bytearray(at.randbytes(size))
with open(path, "wb") as f:
    f.write(wanted)
writer, appender = os.open(path, os.O_WRONLY), os.open(path, os.O_WRONLY | os.O_APPEND)
both = os.open(path, os.O_RDWR)
mapped = mmap.mmap(both, size)
for turn in range(400):
    length = at.choice([1, 100, 4096, 10_000, 150_000])
    start, data = at.randrange(size - length), at.randbytes(length)
    way = at.randrange(4)
    if way == 0:
        assert os.pwrite(both, data, start) == length
    elif way == 1:
        mapped[start:start + length] = data
    else:
        assert os.pwrite(writer, data, start) == length
    wanted[start:start + length] = data
    if way == 3:
        assert os.write(appender, data[:50]) == len(data[:50])
        wanted += data[:50]
    seen = at.randrange(size)
    assert mapped[seen:] == wanted[seen:size], f"mapped, turn {turn}"
    assert os.pread(both, len(wanted) + 1, seen) == wanted[seen:], f"read, turn {turn}"
    if turn % 100 == 99:
        assert os.fstat(writer).st_size == len(wanted)
        os.ftruncate(writer, size)
        del wanted[size:]
mapped.close()
for fd in writer, appender, both:
    os.close(fd)
sys.stdout.write(__import__("hashlib").sha256(wanted).hexdigest())
"#;
    let wanted = python(script, &[d.path("f")]);
    for path in ["f", "@latest/f"] {
        let read = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
        assert_eq!(python(read, &[d.path(path)]).trim(), wanted, "{path}");
    }
}
