"""One directory of ever more files: the time for each must not grow with their number."""
import os

from ..machine import clocked, drop_caches


def run(bench):
    counts = [n // bench.scale for n in (50_000, 100_000, 200_000)]
    sides = {"ext4": (bench.plain / "directories", drop_caches),
             "strata": (bench.strata.point / "directories", bench.strata.cold)}
    for root, _ in sides.values():
        root.mkdir()
    turns = [(count, side) for count in counts for side in sides]
    took = {(count, side): fill(sides[side][0] / str(count), count, sides[side][1]) for count, side in turns}
    # After all are filled: for half a minute ext4 is slow to make files after many were removed.
    for count, side in turns:
        took[count, side]["delete, cold"] = empty(sides[side][0] / str(count), count, sides[side][1])
    for count in counts:
        for step, plain in took[count, "ext4"].items():
            bench.table.add(f"directory.{count}.{step.split(',')[0]}", f"each of {count} in a directory: {step}", "s",
                            [took[count, "strata"][step] / count], [plain / count])


def names_in(directory, count):
    return [str(directory / f"{n:06}") for n in range(count)]


def fill(directory, count, cold):
    """Seconds that steps take; before files are listed nothing is in any cache."""
    names = names_in(directory, count)

    def create():
        for name in names:
            with open(name, "w") as f:
                f.write(name[-6:])

    directory.mkdir()
    took = {"create": clocked(create)}
    cold()
    took["list, cold"] = clocked(lambda: os.listdir(directory))
    took["stat"] = clocked(lambda: [os.stat(name) for name in names])
    return took


def empty(directory, count, cold):
    cold()
    return clocked(lambda: [os.unlink(name) for name in names_in(directory, count)])
