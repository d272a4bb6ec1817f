"""Fills our slot in a comparison with other tools."""
import argparse
import os
import subprocess
import sys
from pathlib import Path

from .machine import STRATA, build


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench peers")
    parser.add_argument("--compact", action="store_true", help="compress in each commit, and not in the background")
    parser.add_argument("--best", action="store_true", help="the same, as small as it gets")
    parser.add_argument("suite", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    compact = "compact --best" if options.best else "compact" if options.compact else None
    return run(options.suite.resolve(), options.arguments, compact)


def run(suite, arguments, compact):
    """Runs the suite with a store in the work directory {w}, one dataset, a version for each commit."""
    build()
    strata = f"STRATA_STORE={{w}}/store '{STRATA}'"
    newest = f"{strata} log data -n 1 --json | sed 's/.*\"version\":\"\\(v[0-9]*\\)\".*/\\1/'"
    compacting = [f"{strata} {compact} >&2"] if compact else []
    slot = {
        "VERSION": f"'{STRATA}' --version",
        "NOTE": f"strata, live mount{', ' if compact else ''}{compact or ''}",
        "SETUP": f"mkdir -p {{w}}/mnt && {strata} mount {{w}}/mnt",
        "TEARDOWN": f"{strata} umount {{w}}/mnt",
        "LOAD": f"{strata} import {{src}} data",
        "COMMIT": "; ".join([f"{strata} commit data 2>/dev/null >&2", *compacting, newest]),
        "PATH": "{w}/mnt/data/@{id}",
        "COLD": f"{strata} umount {{w}}/mnt && {strata} mount {{w}}/mnt",
        "ROLLBACK": f"{strata} rollback data {{id}}",
        "DIFF": f"{strata} diff --stat data@{{a}} data@{{b}}",
        "HISTORY": f"{strata} log data",
        "STORE": "{w}/store",
        "PIDS": f"{strata} status --json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'",
    }
    environment = dict(os.environ, **{f"OURS_{name}": text for name, text in slot.items()})
    suite_command = [sys.executable, "peerbench.py", *(arguments or ["all"])]
    return subprocess.run(suite_command, cwd=suite, env=environment).returncode
