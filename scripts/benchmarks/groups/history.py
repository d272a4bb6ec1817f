"""Datasets of many versions and files: mounting, opening what is old, telling the history, going back."""
import time

from ..data import small_name
from ..machine import clocked, timed
from ..table import Target

# Files changed for a rollback that undoes little.
FEW = 100
MS_20 = Target("value", 0.020)


def run(bench):
    versions = bench.history()
    bench.small()
    opening(bench, versions)
    telling(bench, versions)
    rollback(bench)


def opening(bench, versions):
    s, mounted, read, idle = bench.strata, [], [], []
    for _ in range(3):
        mounted.append(s.cold())
        read.append(clocked(lambda: first_byte(s.point / "history/@v1/f")))
        time.sleep(1)
        idle.append(s.memory())
    what = f"{versions} versions and {bench.data.small_count} files"
    bench.table.add("open.mount", f"mount of {what}, cold", "s", mounted, target=Target("value", 1))
    bench.table.add("open.first", f"open and read @v1 of {what}, cold", "s", read, target=Target("value", 0.010))
    bench.table.add("open.memory", f"daemon's memory, idle: {what}", "B", idle, target=Target("value", 150e6))


def first_byte(path):
    with open(path, "rb", buffering=0) as f:
        f.read(1)


def telling(bench, versions):
    s = bench.strata

    def add(id, what, act, target):
        bench.table.add(id, what, "s", [clocked(act) for _ in range(5)], target=target)

    add("history.ls", f"ls @history of {versions} versions", lambda: timed("ls", s.point / "history/@history"),
        Target("value", 0.5))
    add("history.log", f"log -n 20 of {versions} versions", lambda: s.quiet("log", "history", "-n", "20"), MS_20)
    add("history.show", f"show of one of {versions} versions",
        lambda: s.quiet("show", f"history@v{versions // 2}"), MS_20)
    middle = versions // 2
    add("diff.near", f"diff of versions 10 apart, of {versions}",
        lambda: s.quiet("diff", f"history@v{middle}", f"history@v{middle + 10}"), MS_20)
    add("diff.far", f"diff of the first and last of {versions} versions",
        lambda: s.quiet("diff", "history@v1", f"history@v{versions}"), None)


def rollback(bench):
    s = bench.strata
    newest, files = s.versions("small"), bench.data.small_count
    every = [clocked_rollback(s, version) for version in (newest // 2, newest, 1, newest)]
    for number in range(FEW):
        with open(s.point / "small" / small_name(number * files // FEW), "ab") as f:
            f.write(b"more")
    edited = s.versions("small")
    few = [clocked_rollback(s, version) for version in (edited - FEW, edited) * 2]
    bench.table.add("rollback", f"rollback of {files} files, {FEW} changed", "s", few, target=MS_20)
    bench.table.add("rollback.all", f"rollback of {files} files, all changed one by one", "s", every, target=MS_20)


def clocked_rollback(strata, version):
    return clocked(lambda: strata.quiet("rollback", "small", f"v{version}"))
