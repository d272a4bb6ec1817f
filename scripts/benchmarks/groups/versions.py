"""One-file versions, one after another, in a dataset of many files."""
import os
import random
import statistics

from ..data import small_name
from ..table import Target

TIME = Target("value", 0.00015)
BEYOND = Target("value", 1600)
FLAT = Target("value", 1.2)
LENGTH, BATCHES = 100, 10


def run(bench):
    s, count = bench.strata, 100_000 // bench.scale // BATCHES
    plain, ours = bench.small()
    generator = random.Random(4)

    def commits(root):
        paths = [root / small_name(generator.randrange(bench.data.small_count)) for _ in range(count)]
        contents = [generator.randbytes(LENGTH) for _ in range(count)]

        def act():
            for path, content in zip(paths, contents):
                fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
                os.write(fd, content)
                os.close(fd)

        return [cost / count for cost in bench.cost(act, ours=root == ours)]

    before, first = s.size(), s.versions("small")
    theirs, own = bench.samples(lambda: commits(plain), lambda: commits(ours), BATCHES)
    made = s.versions("small") - first
    beyond = (s.size() - before) / made - LENGTH
    seconds, cpu = ([[cost[part] for cost in costs] for costs in (own, theirs)] for part in (0, 1))
    growth = statistics.median(seconds[0][-3:]) / statistics.median(seconds[0][:3])
    what = f"one version of {made}"
    bench.table.add("versions.time", f"{what}: time", "s", *seconds, TIME)
    bench.table.add("versions.flat", f"{what}: the last beside the first", "x", [growth], target=FLAT)
    bench.table.add("versions.cpu", f"{what}: CPU", "s", *cpu)
    bench.table.add("versions.beyond", f"{what}: store beyond its data", "B", [beyond], target=BEYOND)
