"""Seeded data: the same bytes on every machine and in every run."""
import os
import random
import sys
from functools import cached_property

MIB = 1 << 20
PER_DIRECTORY = 500


def noise(path, seed, size):
    """A file of bytes that do not compress."""
    generator = random.Random(seed)
    with open(path, "wb") as f:
        for at in range(0, size, MIB):
            f.write(generator.randbytes(min(MIB, size - at)))


def table(path, size):
    """A CSV table of numbered rows."""
    generator = random.Random(1)
    tails = [",".join(f"{generator.random():.6f}" for _ in range(5)) + f",label{generator.randrange(50)}"
             for _ in range(4096)]
    with open(path, "w") as f:
        row = 0
        while f.tell() < size:
            f.write("".join(f"{n},{tails[n * 2654435761 >> 7 & 4095]}\n" for n in range(row, row + 10_000)))
            row += 10_000


def small_name(n):
    """Where the n-th of many files is, in directories of some hundreds."""
    return f"{n // PER_DIRECTORY:04}/{n:07}.bin"


def tree(directory, count, seed, least, most):
    """`count` files of random length and content."""
    generator = random.Random(seed)
    for n in range(count):
        path = directory / small_name(n)
        if n % PER_DIRECTORY == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(generator.randbytes(generator.randrange(least, most)))


def write_again(path, times, first=0):
    """Gives a file another content of ten bytes, again and again: a version each time."""
    for n in range(first, first + times):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"%9d\n" % n)
        os.close(fd)


class Data:
    """The data sets, made when they are first asked for."""

    def __init__(self, directory, scale):
        self.directory, self.scale = directory, scale
        self.small_count = 50_000 // scale
        self.directory.mkdir()

    def made(self, name, make):
        path = self.directory / name
        print(f"making {name} ...", file=sys.stderr)
        make(path)
        return path

    @cached_property
    def small(self):
        """50,000 files of 2 to 60 KiB."""
        return self.made("small", lambda path: tree(path, self.small_count, 1, 2048, 61440))

    @cached_property
    def table(self):
        """1 GiB of CSV."""
        return self.made("table.csv", lambda path: table(path, 1024 * MIB // self.scale))

    @cached_property
    def noise(self):
        """2 GiB that do not compress."""
        return self.made("noise.bin", lambda path: noise(path, 2, 2048 * MIB // self.scale))

    @cached_property
    def fresh(self):
        """Bytes that are in no store yet."""
        return self.made("fresh.bin", lambda path: noise(path, 3, 1920 * MIB // self.scale))
