"""One process of the crowd: uses a mount and keeps a journal of what it did.

The files of this directory, one after the other, are one program; its argument is a JSON object.

The journal, outside the mount, has one JSON array a line:

    ["b", number, time, delta, version, closed]   before a change: what it makes of the tree (path ->
                                hash, null where it goes), the version it is to make (null: not told),
                                and the hash of the file it closes
    ["a", number, time]         the change returned
    ["d", number, time, time]   an fsync or commit returned that began at the one time and ended at the other:
                                it, and all that had returned before it began, is durable
    ["r", version, digest]      a version was read, and this is what its tree was

Each change makes content never seen before, so that a hash tells which change it comes from. Times are
those of the machine's monotonic clock.
"""

import errno
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
import time

CONFIG = json.loads(sys.argv[1])
# What a mount answers whose daemon or disk is gone.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV}


def digest(data):
    return hashlib.sha256(data).hexdigest()[:32]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tree_of(root):
    """What is below a directory: path -> hash, "dir", or the target of a symbolic link."""
    found, todo = {}, [""]
    while todo:
        below = todo.pop()
        for entry in os.scandir(os.path.join(root, below)):
            path = os.path.join(below, entry.name)
            if entry.is_symlink():
                found[path] = "->" + os.readlink(entry.path)
            elif entry.is_dir():
                found[path] = "dir"
                todo.append(path)
            else:
                found[path] = digest(read(entry.path))
    return found


def tree_digest(tree):
    text = "".join(f"{path}\0{value}\n" for path, value in sorted(tree.items()))
    return digest(text.encode())


class Strata:
    """The commands, on the store of the mount."""

    def __init__(self):
        self.environment = dict(os.environ, STRATA_STORE=CONFIG["store"])

    def __call__(self, *arguments, expect=(0,)):
        command = [CONFIG["strata"], *arguments]
        ran = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONFIG.get("patience", 120))
        if ran.returncode not in expect:
            raise OSError(errno.EIO, f"{arguments} ended with {ran.returncode}: {ran.stderr.decode()}{ran.stdout.decode()}")
        return ran.stdout.decode()

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json"))


class Process:
    """What all have: numbers drawn by a seed, a journal, an end."""

    def __init__(self):
        self.random = random.Random(CONFIG["seed"])
        self.journal = os.open(CONFIG["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.strata = Strata()

    def log(self, *line):
        os.write(self.journal, json.dumps(line).encode() + b"\n")

    def log_of(self, name, *options):
        """The versions of a dataset, newest first: number -> whether it was pruned."""
        records = [json.loads(line) for line in self.strata("log", name, "--json", *options).splitlines()]
        return {int(record["version"][1:]): record.get("pruned") is not None for record in records}

    def is_pruned(self, name, version):
        return self.log_of(name).get(version, False)

    def turns(self):
        """Goes on until the time is over, pausing in between as configured."""
        end = time.monotonic() + CONFIG.get("seconds", 1e9)
        while time.monotonic() < end:
            yield
            if "pause" in CONFIG:
                time.sleep(self.random.random() * CONFIG["pause"])
