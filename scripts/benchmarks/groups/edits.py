"""Small edits of a large file, from open to a durable version (which fsync makes)."""
import os

from ..data import MIB
from ..machine import clocked
from ..table import Target

OVER = Target("over", 0.020)
# Three chunks of the largest size.
STORED = Target("value", 3 * 128 * 1024)
ROWS = b"".join(b"%d,inserted,between,other,rows,label%d\n" % (n, n % 50) for n in range(100))


def replace(fd, at, data):
    os.lseek(fd, at, os.SEEK_SET)
    for start in range(0, len(data), MIB):
        os.write(fd, data[start:start + MIB])


def one_byte(path, turn):
    at = path.stat().st_size * (turn + 1) // 7
    return lambda fd: replace(fd, at, b"%d" % turn)


def append(path, turn):
    at = path.stat().st_size
    return lambda fd: replace(fd, at, b"%d,one,more,row,label1\n" % turn)


def insert(path, turn):
    """What follows the inserted rows is written again, as there is no call that moves it."""
    at = path.stat().st_size // 2 + turn * MIB
    with open(path, "rb") as f:
        f.seek(at)
        tail = f.read()
    return lambda fd: replace(fd, at, ROWS + tail)


EDITS = {"byte": (one_byte, "1-byte edit", 5), "append": (append, "append of a row", 5),
         "insert": (insert, "insert of 100 rows", 3)}


def edit(path, change):
    """Seconds from open to durable."""
    def act():
        fd = os.open(path, os.O_RDWR)
        change(fd)
        os.fsync(fd)
        os.close(fd)
    return clocked(act)


def measure(strata, plain, ours, name):
    """The samples of an edit of two files that are the same: ext4's seconds, ours, and bytes stored."""
    change, _, times = EDITS[name]
    theirs, own, stored = [], [], []
    for turn in range(times):
        for path, seconds in ((plain, theirs), (ours, own)):
            prepared = change(path, turn)
            os.sync()
            before = strata.stored()
            seconds.append(edit(path, prepared))
        stored.append(strata.stored() - before)
    return theirs, own, stored


def run(bench):
    plain, ours = (directory / "table.csv" for directory in bench.large())
    for name, (_, what, _) in EDITS.items():
        theirs, own, stored = measure(bench.strata, plain, ours, name)
        what = f"{what} in {plain.stat().st_size / MIB:.0f} MiB"
        bench.table.add(f"edit.{name}", f"{what}, durable", "s", own, theirs, OVER)
        bench.table.add(f"edit.{name}.stored", f"{what}: new bytes in chunks", "B", stored, target=STORED)
