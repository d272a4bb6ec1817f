"""A store and its mount."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .machine import STRATA, call, drop_caches, process_cpu, process_memory


class Strata:
    """A store of its own below `work`, mounted at `point` while `pid` is set."""

    def __init__(self, work, name="store"):
        self.store, self.point = work / name, work / f"{name}-mnt"
        self.point.mkdir()
        self.pid = None
        self.during, self.peak = None, {}

    @property
    def environment(self):
        return dict(os.environ, STRATA_STORE=str(self.store))

    def strata(self, *arguments, **options):
        return call(STRATA, *arguments, env=self.environment, **options)

    def beside(self, *arguments):
        """A command that runs beside others; leaving its context waits for it."""
        return subprocess.Popen([STRATA, *arguments], env=self.environment, stdout=subprocess.DEVNULL)

    def quiet(self, *arguments):
        self.strata(*arguments, stdout=subprocess.DEVNULL)

    def answer(self, *arguments):
        """What a command says with --json."""
        return json.loads(self.strata(*arguments, "--json", stdout=subprocess.PIPE).stdout)

    def mount(self, *options):
        """Mounts; gives the seconds it took."""
        start = time.perf_counter()
        self.strata("mount", *options, self.point)
        seconds = time.perf_counter() - start
        self.pid = self.answer("status")["pid"]
        return seconds

    def umount(self):
        """Unmounts, and notes the daemon's peak memory under the name of what is done at present."""
        self.peak[self.during] = max(self.peak.get(self.during, 0), process_memory(self.pid, "VmHWM"))
        self.strata("umount", self.point)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.01)
        self.pid = None

    def fresh(self):
        """An empty store, mounted."""
        if self.pid:
            self.umount()
        shutil.rmtree(self.store, ignore_errors=True)
        self.mount()

    def cold(self, *options):
        """Mounts anew, with nothing in any cache; gives the seconds it took."""
        if self.pid:
            self.umount()
        drop_caches()
        return self.mount(*options)

    def cpu(self):
        return process_cpu(self.pid)

    def memory(self):
        return process_memory(self.pid, "VmRSS")

    def size(self):
        """Bytes on disk of the store, closed for that so that nothing is on its way."""
        self.umount()
        out = call("du", "-s", "--block-size=1", self.store, stdout=subprocess.PIPE, text=True).stdout
        self.mount()
        return int(out.split()[0])

    def stored(self):
        """Bytes of the distinct chunks."""
        return self.answer("status")["unique_bytes"]

    def versions(self, dataset):
        return int(self.answer("log", dataset, "-n", "1")["version"][1:])

    def abandon(self):
        """Takes the mount down whatever state it is in."""
        subprocess.run([STRATA, "umount", str(self.point)], stderr=subprocess.DEVNULL, timeout=60)
        if self.pid and Path(f"/proc/{self.pid}").exists():
            os.kill(self.pid, signal.SIGKILL)
        subprocess.run(["umount", "-l", str(self.point)], stderr=subprocess.DEVNULL)
