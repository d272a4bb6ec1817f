"""The most memory the daemon had, by group."""
from ..table import Target

UNDER_LOAD = Target("value", 400e6)


def run(bench):
    for group, peak in bench.strata.peak.items():
        bench.table.add(f"memory.{group}", f"daemon's peak memory: {group}", "B", [peak], target=UNDER_LOAD)
