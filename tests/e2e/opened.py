"""Random operations on a few names and open files, each with what it led to. The same seed does the same."""

import ctypes
import errno
import hashlib
import os
import random
import stat
import sys

root, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
names = [os.path.join(root, name) for name in ("a", "b", "c", "dir/a", "dir/b", "dir/sub/c")]
dirs = [os.path.join(root, name) for name in ("dir", "dir/sub", "other")]
opened = []


def open_one():
    if len(opened) >= 6:
        os.close(opened.pop(generator.randrange(len(opened))))
    flags = generator.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
    for flag in (os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND):
        flags |= flag if generator.randrange(3) == 0 else 0
    opened.append(os.open(generator.choice(names), flags, 0o644))


def some():
    if not opened:
        open_one()
    return generator.choice(opened)


def close():
    if opened:
        os.close(opened.pop(generator.randrange(len(opened))))


def duplicate():
    if len(opened) < 6:
        opened.append(os.dup(some()))


def write():
    data = generator.randbytes(generator.choice([1, 100, 5000, 200_000]))
    return os.write(some(), data)


def pwrite():
    return os.pwrite(some(), generator.randbytes(generator.choice([1, 4096, 70_000])), generator.randrange(300_000))


def read():
    return hashlib.sha256(os.pread(some(), 1 << 20, generator.randrange(3) * 1000)).hexdigest()[:12]


def look():
    status = os.fstat(some())
    return status.st_nlink, status.st_size if stat.S_ISREG(status.st_mode) else None, oct(status.st_mode)


def exchange():
    one, two = generator.choice(names + dirs), generator.choice(names + dirs)
    if libc.renameat2(-100, one.encode(), -100, two.encode(), 2) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def whole():
    with open(generator.choice(names), "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:12]


def by_handle():
    """The file by way of its descriptor, whatever its name is now."""
    with open(f"/proc/self/fd/{some()}", "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:12]


ACTS = [
    (8, open_one),
    (4, close),
    (2, duplicate),
    (10, write),
    (6, pwrite),
    (6, read),
    (4, look),
    (3, whole),
    (2, by_handle),
    (2, lambda: os.ftruncate(some(), generator.randrange(200_000))),
    (1, lambda: os.truncate(generator.choice(names), generator.randrange(200_000))),
    (1, lambda: os.fsync(some())),
    (1, lambda: os.fchmod(some(), generator.choice([0o600, 0o755]))),
    (6, lambda: os.rename(generator.choice(names), generator.choice(names))),
    (2, lambda: os.rename(generator.choice(dirs), generator.choice(dirs))),
    (2, exchange),
    (4, lambda: os.unlink(generator.choice(names))),
    (3, lambda: os.link(generator.choice(names), generator.choice(names))),
    (2, lambda: os.mkdir(generator.choice(dirs))),
    (1, lambda: os.rmdir(generator.choice(dirs))),
]
for path in dirs:
    os.mkdir(path)
for step in range(steps):
    act = generator.choices([act for _, act in ACTS], [weight for weight, _ in ACTS])[0]
    try:
        said = act()
    except OSError as e:
        said = errno.errorcode[e.errno]
    print(step, act.__name__, said)
while opened:
    close()
