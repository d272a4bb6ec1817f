"""Fills our slot in a comparison with other tools."""
import os
import subprocess
import sys
from pathlib import Path

from .machine import STRATA, build


def run(suite, arguments):
    """Runs the suite with a store in the work directory {w}, one dataset, a version for each commit."""
    build()
    strata = f"STRATA_STORE={{w}}/store '{STRATA}'"
    newest = f"{strata} log data -n 1 --json | sed 's/.*\"version\":\"\\(v[0-9]*\\)\".*/\\1/'"
    slot = {
        "VERSION": f"'{STRATA}' --version",
        "NOTE": "strata, live mount",
        "SETUP": f"mkdir -p {{w}}/mnt && {strata} mount {{w}}/mnt",
        "TEARDOWN": f"{strata} umount {{w}}/mnt",
        "LOAD": f"{strata} import {{src}} data",
        "COMMIT": f"{strata} commit data 2>/dev/null >&2; {newest}",
        "PATH": "{w}/mnt/data/@{id}",
        "COLD": f"{strata} umount {{w}}/mnt && {strata} mount {{w}}/mnt",
        "ROLLBACK": f"{strata} rollback data {{id}}",
        "HISTORY": f"{strata} log data",
        "STORE": "{w}/store",
        "PIDS": f"{strata} status --json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'",
    }
    environment = dict(os.environ, **{f"OURS_{name}": text for name, text in slot.items()})
    suite = Path(suite).resolve()
    suite_command = [sys.executable, "peerbench.py", *(arguments or ["all"])]
    sys.exit(subprocess.run(suite_command, cwd=suite, env=environment).returncode)
