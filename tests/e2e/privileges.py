"""Who may leave set-id bits and capabilities on a file that he changes, and what a new file inherits.

Prints a line for each act, by each user, for each mode. Works in the directory given, as root."""

import ctypes
import errno
import mmap
import os
import stat
import struct
import sys

root = sys.argv[1]
path, other, shared = (os.path.join(root, name) for name in ("f", "other", "shared"))
libc = ctypes.CDLL(None, use_errno=True)

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, effective
WHO = {"root": (0, []), "owner": (1234, []), "member": (2000, [1234]), "other": (3000, [])}
MODES = [0o6777, 0o6666, 0o2767, 0o4767]


def through(flags, act):
    def run():
        fd = os.open(path, flags)
        try:
            act(fd)
        finally:
            os.close(fd)

    return run


def store(fd):
    with mmap.mmap(fd, 0) as mapping:
        mapping[3:5] = b"xx"
        mapping.flush()


def allocate(mode, length):
    def act(fd):
        if libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(length)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")

    return act


def from_other(copy):
    def act(fd):
        source = os.open(other, os.O_RDONLY)
        try:
            copy(source, fd)
        finally:
            os.close(source)

    return act


# chown(2) with neither owner nor group is left out: the kernel does not pass it on.
ACTS = {
    "read": through(os.O_RDONLY, lambda fd: os.read(fd, 10)),
    "open for writing": through(os.O_RDWR, lambda fd: None),
    "write": through(os.O_WRONLY, lambda fd: os.write(fd, b"x")),
    "write nothing": through(os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "append": through(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
    "pwritev": through(os.O_WRONLY, lambda fd: os.pwritev(fd, [b"a", b"b"], 7)),
    "synchronous write": through(os.O_WRONLY | os.O_SYNC, lambda fd: os.write(fd, b"x")),
    "store through a mapping": through(os.O_RDWR, store),
    "open with O_TRUNC": through(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "truncate": lambda: os.truncate(path, 10),
    "truncate to the same size": lambda: os.truncate(path, 5000),
    "ftruncate": through(os.O_WRONLY, lambda fd: os.ftruncate(fd, 9000)),
    "fallocate": through(os.O_WRONLY, allocate(0, 20000)),
    "fallocate, size kept": through(os.O_WRONLY, allocate(1, 20000)),
    "punch a hole": through(os.O_WRONLY, allocate(3, 4096)),
    "copy_file_range": through(os.O_WRONLY, from_other(lambda source, fd: os.copy_file_range(source, fd, 100))),
    "sendfile": through(os.O_WRONLY, from_other(lambda source, fd: os.sendfile(fd, source, 0, 100))),
    "chown to another": lambda: os.chown(path, 4321, 4321),
    "chown to the same": lambda: os.chown(path, 1234, 1234),
    "chgrp to the same": lambda: os.chown(path, -1, 1234),
    "chgrp to another": lambda: os.chown(path, -1, 2000),
    "chmod": lambda: os.chmod(path, 0o6755),
    "chmod without execution": lambda: os.chmod(path, 0o6644),
    "utime": lambda: os.utime(path),
    "link": lambda: (os.link(path, path + "2"), os.unlink(path + "2")),
    "rename": lambda: (os.rename(path, path + "2"), os.rename(path + "2", path)),
}


def make(mode, capable):
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "wb") as f:
        f.write(bytes(5000))
    os.chown(path, 1234, 1234)
    os.chmod(path, mode)
    if capable:
        os.setxattr(path, "security.capability", CAPABILITY)


def run_as(who, act):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        uid, groups = WHO[who]
        os.setgroups(groups)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            act()
            said = "done"
        except OSError as e:
            said = errno.errorcode[e.errno]
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 100).decode()
    os.close(read)
    os.waitpid(child, 0)
    return said


def capable():
    try:
        os.getxattr(path, "security.capability")
        return "capable"
    except OSError as e:
        return errno.errorcode[e.errno]


NEW = {
    "file": lambda name, mode: os.close(os.open(name, os.O_CREAT | os.O_WRONLY, mode)),
    "node": lambda name, mode: os.mknod(name, stat.S_IFREG | mode),
    "fifo": os.mkfifo,
    "directory": os.mkdir,
    "link": lambda name, mode: os.symlink("nowhere", name),
}


def inherit():
    name = os.path.join(shared, "new")
    for above in (0o777, 0o2777, 0o2767):
        for kind, make_new in NEW.items():
            for who in WHO:
                for mode in (0o644, 0o2755, 0o2644, 0o6777):
                    os.mkdir(shared, 0o777)
                    os.chown(shared, 1234, 1234)
                    os.chmod(shared, above)
                    said = run_as(who, lambda: make_new(name, mode))
                    if said == "done":
                        got = os.lstat(name)
                        said = f"{got.st_mode:o} {got.st_uid} {got.st_gid}"
                        (os.rmdir if kind == "directory" else os.unlink)(name)
                    print(f"{kind} in {above:o}, by {who}, {mode:o}: {said}")
                    os.rmdir(shared)


os.umask(0)
os.chmod(root, 0o777)
with open(other, "wb") as f:
    f.write(b"o" * 5000)
for name, act in ACTS.items():
    for who in WHO:
        for mode in MODES:
            make(mode, mode == 0o4767)
            said = run_as(who, act)
            print(f"{name}, by {who}, {mode:o}: {said}, {os.stat(path).st_mode:o} {capable()}")
inherit()
