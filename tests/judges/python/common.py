"""What the programs share: pinned versions and rows that can be told apart."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1])


def pin():
    """The newest version's directory, as readlink of @latest names it."""
    name = os.readlink(ROOT / "@latest")
    assert re.fullmatch(r"@v\d+", name), name
    return ROOT / name


def rows(seed, count):
    """Columns of `count` rows, the same for the same seed: integers, floats, text, text that may be missing."""
    numbers = [(n * 7919 + seed * 104729) % 1_000_003 for n in range(count)]
    return {
        "id": numbers,
        "weight": [n / 7 for n in numbers],
        "label": [f"class {n % 10}" for n in numbers],
        "note": [None if n % 3 else f"{n:x}" for n in numbers],
    }
