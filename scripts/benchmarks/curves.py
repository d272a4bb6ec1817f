"""Cost against size: what must not grow with the number of files or versions, or with a file's size."""
import random
from collections import defaultdict

from .data import MIB, noise, small_name, tree, write_again
from .groups.edits import EDITS, measure
from .machine import call, clocked, drop_caches, process_memory, timed
from .table import figure

# As many files are opened, drawn from all.
OPENED = 1000


class Curve:
    """Series of points (x, y). Units are those of the table, and "" for a number of things."""

    def __init__(self, id, title, x, x_unit, unit):
        self.id, self.title, self.x, self.x_unit, self.unit = id, title, x, x_unit, unit
        self.series = defaultdict(list)

    def add(self, series, x, y):
        # A time below the clock's step, or nothing stored, has no place on a logarithmic axis.
        self.series[series].append((x, max(y, 1e-7)))

    def plain_data(self):
        return dict(vars(self), series=dict(self.series))


def run(bench):
    for group in (files, versions, sizes):
        curves = group(bench)
        bench.curves += curves
        for curve in curves:
            show(curve)


def show(curve):
    print(f"\n{curve.title}, by {curve.x}")
    for name, points in curve.series.items():
        print(f"  {name:<16}" + "".join(f"{figure(y, curve.unit):>12} at {count(x, curve.x_unit)}" for x, y in points),
              flush=True)


def count(x, unit):
    """A size or number on an axis."""
    steps = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")) if unit == "B" else ((10**6, "M"), (10**3, "k"))
    factor, name = next((step for step in steps if x >= step[0]), (1, unit))
    return f"{x / factor:.3g}{' ' if unit == 'B' else ''}{name}"


def counts(bench, most):
    """Powers of ten up to `most`, ten times that with --full."""
    top = most * (10 if bench.full else 1) // bench.scale
    return [n for n in (10**e for e in range(2, 8)) if top // 100 <= n <= top]


def files(bench):
    """Datasets of small files: put in, listed, opened."""
    curve = lambda id, title, unit: Curve(f"files.{id}", title, "number of files", "", unit)
    put, listed = curve("put", "Putting in, for each file", "s"), curve("list", "ls -lR, for each file, cold", "s")
    opened = curve("open", "Opening and reading a file drawn at random, cold", "s")
    mounted, memory = curve("mount", "Mounting, cold", "s"), curve("memory", "Memory of the daemon", "B")
    s = bench.strata
    for n in counts(bench, 100_000):
        # Not removed: for half a minute ext4 is slow to make files after many were removed.
        source, plain = bench.data.directory / f"tree-{n}", bench.plain / f"tree-{n}"
        tree(source, n, 6, 50, 150)
        put.add("ext4 cp -a", n, timed("cp", "-a", source, plain) / n)
        bench.fresh()
        put.add("strata import", n, clocked(lambda: s.quiet("import", source, "tree")) / n)
        memory.add("import", n, process_memory(s.pid, "VmHWM"))
        bench.fresh()
        ours = s.point / "tree"
        ours.mkdir()
        put.add("strata cp -a", n, timed("cp", "-a", f"{source}/.", ours) / n)
        memory.add("cp -a", n, process_memory(s.pid, "VmHWM"))
        mounted.add("strata", n, s.cold())
        memory.add("idle", n, s.memory())
        for name, root in (("ext4", plain), ("strata", ours)):
            drop_caches()
            opened.add(name, n, read_some(root, n))
        s.cold()
        for name, root in (("ext4", plain), ("strata", ours)):
            listed.add(name, n, timed("ls", "-lR", root) / n)
    return [put, listed, opened, mounted, memory]


def read_some(root, n):
    """Seconds for each of some files."""
    generator = random.Random(7)
    paths = [root / small_name(generator.randrange(n)) for _ in range(OPENED)]
    return clocked(lambda: [path.read_bytes() for path in paths]) / OPENED


def versions(bench):
    """One dataset that gets ever more versions."""
    curve = lambda id, title, unit: Curve(f"versions.{id}", title, "number of versions", "", unit)
    time, stored = curve("time", "One version more", "s"), curve("bytes", "Store, for each version of 10 bytes", "B")
    mounted, opened = curve("mount", "Mounting, cold", "s"), curve("open", "Opening and reading @v1, cold", "s")
    listed, memory = curve("list", "ls @history, for each version", "s"), curve("memory", "Memory of the daemon", "B")
    bench.fresh()
    s, directory, done = bench.strata, bench.strata.point / "versions", 0
    before = s.size()
    for place in (directory, bench.plain / "versions"):
        place.mkdir()
    for n in counts(bench, 100_000):
        for name, place in (("ext4", bench.plain / "versions"), ("strata", directory)):
            time.add(name, n, clocked(lambda: write_again(place / "f", n - done, done)) / (n - done))
        memory.add("writing", n, process_memory(s.pid, "VmHWM"))
        done, made = n, s.versions("versions")
        stored.add("strata", n, (s.size() - before) / made)
        mounted.add("strata", n, s.cold())
        opened.add("strata", n, clocked((directory / "@v1/f").read_bytes))
        memory.add("idle", n, s.memory())
        listed.add("strata", n, timed("ls", directory / "@history") / made)
    return [time, stored, mounted, opened, listed, memory]


def sizes(bench):
    """One file that is edited, of several sizes."""
    curve = lambda id, title, unit: Curve(f"size.{id}", title, "size of the file", "B", unit)
    edits = {name: curve(name, f"{EDITS[name][1]}, until durable", "s") for name in ("byte", "append")}
    stored, memory = curve("stored", "Bytes stored by an edit", "B"), curve("memory", "Memory of the daemon", "B")
    s = bench.strata
    for size in [n * MIB // bench.scale for n in (256, 1024, 4096, *([20480] if bench.full else []))]:
        bench.fresh()
        plain, ours = bench.plain / "edited", s.point / "edited/f"
        ours.parent.mkdir()
        noise(plain, 8, size)
        call("cp", plain, ours)
        memory.add("writing", size, process_memory(s.pid, "VmHWM"))
        s.cold()
        for name, curve_of in edits.items():
            theirs, own, new = measure(s, plain, ours, name)
            curve_of.add("ext4", size, sorted(theirs)[len(theirs) // 2])
            curve_of.add("strata", size, sorted(own)[len(own) // 2])
            stored.add(EDITS[name][1], size, sorted(new)[len(new) // 2])
        memory.add("editing", size, process_memory(s.pid, "VmHWM"))
        plain.unlink()
    return [*edits.values(), stored, memory]
