"""Files of a version read: through the live mount, and through a mount of that version alone (--at), also where
the kernel reads large files by itself (--passthrough)."""
import mmap
import time

from ..data import MIB
from ..machine import clocked, drop_caches, timed
from ..table import Target
from .. import loader

READERS = 4
LIVE = {"cold": 0.7, "warm": 0.6, "mmap": 0.6, "epoch1": 0.6, "epoch2": 0.35, "loader": None}
PINNED = {"cold": 0.95, "warm": 0.95, "mmap": 0.95, "epoch1": 0.6, "epoch2": 0.9, "loader": 0.9}
PASSTHROUGH = {"cold": 0.95, "warm": 0.95, "mmap": 0.95}


def live(bench):
    s = bench.strata
    roots = {"large": bench.large(), "small": bench.small()}
    at = lambda name: f"@v{s.versions(name)}"
    for name, measures in (("large", large), ("small", small)):
        plain, ours = roots[name]
        measures(bench, "read", "@vN", plain, ours / at(name), LIVE, s.cold)


def pinned(bench):
    s = bench.strata
    roots = {"large": bench.large(), "small": bench.small()}
    for name, measures in (("large", large), ("small", small)):
        version = f"v{s.versions(name)}"
        cold = lambda: s.cold("--dataset", name, "--at", version)
        measures(bench, "pinned", "--at", roots[name][0], s.point, PINNED, cold)
        if name == "small":
            prefetched(bench, f"small@{version}", roots[name][0], s.point, cold)
        s.cold()
    passthrough(bench, roots["large"][0])


def prefetched(bench, version, plain, ours, cold):
    """An epoch in random order with nothing in any cache, while the packs are read in their own order."""
    def read():
        with bench.strata.beside("prefetch", version):
            loader.epoch(ours, READERS, 0)
    turns = (lambda: clocked(lambda: loader.epoch(plain, READERS, 0))), (lambda: clocked(read))
    bench.alternate("pinned.small.prefetch", f"--at small files, {READERS} workers, cold, beside a prefetch",
                    *turns, speed(PINNED["loader"]), before=cold)


def passthrough(bench, plain):
    """Large files read from plain copies, which are made before the clock starts."""
    s = bench.strata
    s.cold("--dataset", "large", "--at", f"v{s.versions('large')}", "--passthrough")
    files = [path for path in s.point.iterdir() if path.is_file()]
    for path in files:
        path.open("rb").close()
    sizes = sum(path.stat().st_size for path in files)
    while s.answer("status")["copy_bytes"] < sizes:
        time.sleep(0.1)
    large(bench, "passthrough", "--at --passthrough", plain, s.point, PASSTHROUGH, drop_caches)
    s.cold()


def speed(bound):
    return Target("speed", bound) if bound else None


def large(bench, id, how, plain, ours, bounds, cold):
    read = lambda root: timed("sh", "-c", "cat noise.bin table.csv > /dev/null", cwd=root)
    turns = (lambda: read(plain)), (lambda: read(ours))
    bench.alternate(f"{id}.large.cold", f"{how} large files, cold", *turns, speed(bounds["cold"]), before=cold)
    bench.alternate(f"{id}.large.warm", f"{how} large files, warm", *turns, speed(bounds["warm"]), before=nothing)
    mapped = (lambda: read_mapped(plain / "noise.bin")), (lambda: read_mapped(ours / "noise.bin"))
    bench.alternate(f"{id}.large.mmap", f"{how} large file, mmap, warm", *mapped, speed(bounds["mmap"]), before=nothing)


def nothing():
    """What is in the caches stays there."""


def read_mapped(path):
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as bytes_:
        return clocked(lambda: [bytes_[at:at + MIB] for at in range(0, len(bytes_), MIB)])


def small(bench, id, how, plain, ours, bounds, cold):
    script = f"find . -type f -print0 | xargs -0 -n 250 -P {READERS} cat > /dev/null"
    cat = lambda root, _: timed("sh", "-c", script, cwd=root)
    load = lambda root, epoch: clocked(lambda: loader.epoch(root, READERS, epoch))
    kinds = (("", f"{READERS} readers", cat, ("epoch1", "epoch2")),
             (".loader", f"{READERS} workers", load, ("loader", "loader")))
    for suffix, who, read, bound in kinds:
        theirs, own = bench.samples(*(lambda root=root: epochs(bench, cold, read, root, root == ours)
                                      for root in (plain, ours)), before=nothing)
        for epoch, heat in ((0, "cold"), (1, "again")):
            for part, unit, what in ((0, "", ""), (1, ".cpu", ": CPU")):
                column = lambda samples: [sample[epoch][part] for sample in samples]
                target = speed(bounds[bound[epoch]]) if part == 0 else None
                bench.table.add(f"{id}.small{suffix}.epoch{epoch + 1}{unit}",
                                f"{how} small files, {who}, {heat}{what}", "s", column(own), column(theirs), target,
                                "time" if part else "speed")


def epochs(bench, cold, read, root, ours):
    """What two epochs cost, of which the first begins with nothing in any cache."""
    cold()
    return [bench.cost(lambda: read(root, epoch), ours) for epoch in range(2)]
