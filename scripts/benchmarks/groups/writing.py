"""Large files written through the mount."""
import subprocess

from ..data import MIB
from ..machine import call, timed
from ..table import Target

DURABLE = Target("time", 1.3)


def run(bench):
    for name, source in (("table", bench.data.table), ("noise", bench.data.noise)):
        durable(bench, name, source)
    blocks(bench, bench.data.fresh)


def durable(bench, name, source):
    """A whole file, until fsync says that it is durable."""
    s, size = bench.strata, source.stat().st_size
    what = f"{size / MIB:.0f} MiB {'CSV' if name == 'table' else 'incompressible'} to fsync"
    target_of = lambda directory: directory / f"written-{name}"

    def write(path, ours):
        call("cat", source, stdout=subprocess.DEVNULL)  # to read it from the cache on both sides
        return bench.cost(lambda: timed("dd", f"if={source}", f"of={path}", "bs=1M", "conv=fsync", "status=none"), ours)

    def plain():
        path = target_of(bench.plain)
        path.unlink(missing_ok=True)
        return write(path, ours=False)

    def ours():
        # What is stored would not be stored again.
        bench.fresh()
        (s.point / "written").mkdir()
        return write(target_of(s.point / "written"), ours=True)

    theirs, own = bench.samples(plain, ours)
    target_of(bench.plain).unlink()
    for part, id, more, target in ((0, "", "", DURABLE), (1, ".cpu", ": CPU", None)):
        column = lambda costs: [cost[part] for cost in costs]
        bench.table.add(f"write.{name}{id}", what + more, "s", column(own), column(theirs), target)
    sized = s.size()
    bench.table.add(f"write.{name}.size", f"store of the {name}; its bytes", "B", [sized], [size])
    s.quiet("compact")
    bench.table.add(f"write.{name}.compacted", f"store of the {name}, compacted; its bytes", "B", [s.size()], [size])


def blocks(bench, source):
    """Sequential writes of some sizes, not made durable."""
    directory, skip = bench.strata.point / "blocks", 0
    directory.mkdir()
    for block, size in ((4096, 128 * MIB // bench.scale), (MIB, 512 * MIB // bench.scale)):
        count = size // block
        parts = {place: iter(range(3)) for place in (bench.plain, directory)}

        def write(place):
            # Each time other bytes, for the same reason.
            part = next(parts[place])
            of = place / f"dd-{block}-{part}"
            return timed("dd", f"if={source}", f"of={of}", f"bs={block}", f"count={count}", "iflag=skip_bytes",
                         f"skip={skip + part * count * block}", "status=none")

        bench.alternate(f"write.{block // 1024}k", f"{count} writes of {block // 1024} KiB", lambda: write(bench.plain),
                        lambda: write(directory))
        skip += 3 * count * block
    for path in bench.plain.glob("dd-*"):
        path.unlink()
