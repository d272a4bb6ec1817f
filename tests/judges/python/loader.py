"""A training loop's reader: worker processes read shards and random samples of one pinned version, epoch
after epoch, while another process writes the live tree."""

import hashlib
import multiprocessing
import os
import random
import sys

from common import ROOT, pin

SHARDS, SAMPLES, EPOCHS, WORKERS = 8, 400, 3, 4
SIZE = 20_000


def sample(seed):
    return random.Random(seed).randbytes(random.Random(-seed - 1).randrange(1, SIZE))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def build(root):
    """Shards of samples one after the other, with an index, and the same samples as single files."""
    (root / "single").mkdir()
    for shard in range(SHARDS):
        with open(root / f"shard-{shard}.bin", "wb") as data, open(root / f"shard-{shard}.idx", "w") as index:
            for n in range(shard, SAMPLES, SHARDS):
                start = data.tell()
                data.write(sample(n))
                index.write(f"{n} {start} {data.tell() - start}\n")
    for n in range(SAMPLES):
        (root / f"single/{n:05}").write_bytes(sample(n))


def read_shard(task):
    """A shard from begin to end, as a stream."""
    root, shard = task
    got = {}
    with open(root / f"shard-{shard}.bin", "rb") as data, open(root / f"shard-{shard}.idx") as index:
        for line in index:
            n, start, length = map(int, line.split())
            assert data.tell() == start
            got[n] = digest(data.read(length))
    return got


def read_samples(task):
    """Samples in the order asked for, by name and by place in their shard."""
    root, numbers = task
    files, places = {}, {}
    for shard in range(SHARDS):
        files[shard] = os.open(root / f"shard-{shard}.bin", os.O_RDONLY)
        with open(root / f"shard-{shard}.idx") as index:
            places |= {int(n): (int(start), int(length)) for n, start, length in map(str.split, index)}
    got = {}
    for n in numbers:
        single = digest((root / f"single/{n:05}").read_bytes())
        start, length = places[n]
        assert digest(os.pread(files[n % SHARDS], length, start)) == single, n
        got[n] = single
    for fd in files.values():
        os.close(fd)
    return got


def disturb(ready, stop):
    """Writes over, renames, removes and makes live files until told to stop."""
    generator, written = random.Random(0), 0
    while not stop.is_set():
        n = generator.randrange(SAMPLES)
        path = ROOT / f"single/{n:05}"
        kind = generator.randrange(4)
        if kind == 0:
            path.write_bytes(b"other" * n)
        elif kind == 1:
            path.unlink(missing_ok=True)
        elif kind == 2:
            (ROOT / "single/new").write_bytes(generator.randbytes(1000))
            os.replace(ROOT / "single/new", path)
        else:
            with open(ROOT / f"shard-{n % SHARDS}.bin", "r+b") as shard:
                shard.seek(generator.randrange(1000))
                shard.write(b"spoiled")
        written += 1
        ready.set()
    assert written > 0


def main():
    build(ROOT)
    pinned = pin()
    wanted = {n: digest(sample(n)) for n in range(SAMPLES)}
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    writer = multiprocessing.Process(target=disturb, args=(ready, stop))
    writer.start()
    try:
        assert ready.wait(60)
        with multiprocessing.Pool(WORKERS) as pool:
            for epoch in range(EPOCHS):
                got = {}
                for part in pool.imap_unordered(read_shard, [(pinned, shard) for shard in range(SHARDS)]):
                    got |= part
                assert got == wanted, f"shards in epoch {epoch}"
                order = list(range(SAMPLES))
                random.Random(epoch).shuffle(order)
                got = {}
                for part in pool.imap_unordered(read_samples, [(pinned, order[w::WORKERS]) for w in range(WORKERS)]):
                    got |= part
                assert got == wanted, f"samples in epoch {epoch}"
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    main()
