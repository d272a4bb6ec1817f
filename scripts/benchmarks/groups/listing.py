"""`ls -lR` of very many files."""
from ..data import tree
from ..machine import timed
from ..table import Target

TIME = Target("time", 1.0)


def run(bench):
    s, plain, ours = bench.strata, bench.plain / "listed", bench.strata.point / "listed"
    count = 100_000 // bench.scale
    tree(plain, count, 5, 1, 64)
    s.quiet("import", plain, "listed")
    theirs, own = bench.samples(*(lambda root=root: both(s, root) for root in (plain, ours)), before=lambda: None)
    for turn, heat in ((0, "first"), (1, "second")):
        column = lambda samples: [sample[turn] for sample in samples]
        bench.table.add(f"list.{heat}", f"ls -lR of {count} files, {heat}", "s", column(own), column(theirs), TIME)


def both(strata, root):
    """Seconds of a first listing with nothing in any cache, and of a second."""
    strata.cold()
    return [timed("ls", "-lR", root) for _ in range(2)]
