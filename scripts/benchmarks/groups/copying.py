"""Many small files put in: by `cp -a` into the live mount, and by `strata import`."""
import os
from functools import partial

from ..machine import call, timed
from ..table import Target

CP = Target("time", 1.25)


def run(bench):
    s, source = bench.strata, bench.data.small
    ours = s.point / "small"
    costs = {"plain": [], "synced": [], "cp": [], "import": []}

    def copied(turn):
        # None is removed before the end: for half a minute ext4 is slow to make files after many were removed.
        target = bench.plain / (f"small-{turn}" if turn else "small")
        cost = bench.cost(lambda: timed("cp", "-a", source, target), ours=False)
        costs["plain"].append(cost)
        costs["synced"].append((cost[0] + timed("sync"), cost[1]))

    def put_in(name, act):
        """What is stored would not be stored again: a fresh store each time."""
        bench.fresh()
        os.sync()
        costs[name].append(bench.cost(act, ours=True))
        sizes[name] = s.size()
        s.quiet("compact")
        compacted[name] = s.size()

    def cp():
        ours.mkdir()
        call("cp", "-a", f"{source}/.", ours)

    sizes, compacted = {}, {}
    for turn in range(3):
        os.sync()
        copied(turn)
        put_in("import", partial(s.quiet, "import", source, "small"))
        put_in("cp", cp)
    bench.present.add("small")

    def add(id, what, unit, name, baseline, part, target=None):
        column = lambda of: [cost[part] for cost in costs[of]]
        bench.table.add(id, what, unit, column(name), column(baseline), target)

    count = bench.data.small_count
    add("copy.cp", f"cp -a of {count} small files", "s", "cp", "plain", 0, CP)
    add("copy.cp.cpu", f"cp -a of {count} small files: CPU", "s", "cp", "plain", 1)
    add("copy.import", f"import of {count} small files; cp -a and sync", "s", "import", "synced", 0)
    add("copy.import.cpu", f"import of {count} small files: CPU", "s", "import", "synced", 1)
    data = [sum(path.stat().st_size for path in source.rglob("*.bin"))]
    for name in ("cp", "import"):
        bench.table.add(f"copy.{name}.size", f"store after {name}; the files' bytes", "B", [sizes[name]], data)
        bench.table.add(f"copy.{name}.compacted", f"store after {name} and compact; the files' bytes", "B",
                        [compacted[name]], data)
