"""The micro-benchmarks of tests/micro, kept as figures and shown beside kept ones."""
import argparse
import json
import shutil
import sys

from .machine import ROOT, call
from .table import figure

# One that takes so much longer than it did is told.
WORSE = 1.15
RESULTS = ROOT / "target/criterion"


def measure():
    """Runs all; gives the nanoseconds of each by its name."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    script = ". scripts/setup && need_rust && cargo bench --locked --quiet --bench micro -- --noplot"
    call("bash", "-c", script, cwd=ROOT, stdout=sys.stderr)
    figures = {}
    for result in sorted(RESULTS.glob("**/new/estimates.json")):
        name = json.loads((result.parent / "benchmark.json").read_text())["full_id"]
        figures[name] = json.loads(result.read_text())["median"]["point_estimate"]
    return figures


def compare(figures, kept):
    """Prints all beside what was kept; gives the names of those that got worse."""
    worse = []
    print(f"{'benchmark':<40}{'kept':>12}{'now':>12}{'ratio':>8}")
    for name, now in figures.items():
        before = kept.get(name)
        ratio = now / before if before else None
        flag = ""
        if ratio and ratio > WORSE:
            worse.append(name)
            flag = "  WORSE"
        show = lambda ns: figure(ns * 1e-9, "s") if ns else "-"
        print(f"{name:<40}{show(before):>12}{show(now):>12}{f'{ratio:.2f}' if ratio else '-':>8}{flag}")
    for name in kept.keys() - figures.keys():
        print(f"{name}: was kept, and is no more")
    return worse


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench micro", description=__doc__)
    parser.add_argument("--save", metavar="FILE", help="keep the figures in this file")
    parser.add_argument("--against", metavar="FILE", help="show them beside those kept in this file")
    options = parser.parse_args(arguments)
    kept = {}
    if options.against:
        with open(options.against) as f:
            kept = json.load(f)
    figures = measure()
    if options.save:
        with open(options.save, "w") as f:
            json.dump(figures, f, indent=1)
            f.write("\n")
    worse = compare(figures, kept)
    return 1 if worse else 0
