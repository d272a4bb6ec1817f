"""What the groups share: the data in place on both sides, and runs in turn."""
import os

from .data import Data, write_again
from .machine import call, clocked, own_cpu
from .strata import Strata
from .table import Table


class Bench:
    """A run of groups. `scale` divides the size of everything."""

    def __init__(self, work, scale, full=False):
        self.work, self.scale, self.full = work, scale, full
        self.table, self.strata, self.curves = Table(), Strata(work), []
        self.data = Data(work / "data", scale)
        self.plain = work / "plain"
        self.plain.mkdir()
        self.present = set()
        self.strata.mount()

    def group(self, name, run):
        """Runs a group; the daemon's peak memory counts as its own."""
        self.strata.during = name
        run(self)
        self.strata.umount()
        self.strata.mount()

    def fresh(self):
        """An empty store."""
        self.strata.fresh()
        self.present.clear()

    def small(self):
        """The small files, copied to ext4 and into the dataset `small`: where they are."""
        source, plain, ours = self.data.small, self.plain / "small", self.strata.point / "small"
        if not plain.exists():
            call("cp", "-a", source, plain)
        if "small" not in self.present:
            ours.mkdir()
            call("cp", "-a", f"{source}/.", ours)
            self.present.add("small")
        return plain, ours

    def large(self):
        """The large files, copied to ext4 and into the dataset `large`: where they are."""
        sources, plain, ours = (self.data.table, self.data.noise), self.plain / "large", self.strata.point / "large"
        if not plain.exists():
            plain.mkdir()
            call("cp", "-a", *sources, plain)
        if "large" not in self.present:
            ours.mkdir()
            call("cp", "-a", *sources, ours)
            self.present.add("large")
        return plain, ours

    def history(self):
        """The number of versions of the dataset `history`, each another content of its one file."""
        count = 100_000 // self.scale
        if "history" not in self.present:
            (self.strata.point / "history").mkdir()
            write_again(self.strata.point / "history/f", count)
            self.present.add("history")
        return count

    def cost(self, act, ours):
        """Seconds that `act` takes, and CPU seconds: those of the daemon count where it is `ours`."""
        used = lambda: own_cpu() + (self.strata.cpu() if ours else 0)
        before = used()
        seconds = clocked(act)
        return seconds, used() - before

    @staticmethod
    def samples(plain, ours, times=3, before=os.sync):
        """Runs baseline and ours in turn, each after `before`: the lists of what they gave."""
        results = ([], [])
        for _ in range(times):
            for run, into in zip((plain, ours), results):
                before()
                into.append(run())
        return results

    def alternate(self, id, what, plain, ours, target=None, times=3, before=os.sync):
        """Adds the row of the seconds that baseline and ours take in turn."""
        theirs, own = self.samples(plain, ours, times, before)
        self.table.add(id, what, "s", own, theirs, target, "speed")
