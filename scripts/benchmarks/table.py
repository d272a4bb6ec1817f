"""The rows of the report: figures with their baseline and target."""
import json
import statistics
from dataclasses import dataclass, field


def figure(value, unit):
    """A value as people read it. Units are s, B, B/s and x (a plain ratio)."""
    if unit == "x":
        return f"{value:.2f} x"
    size = abs(value)
    if unit == "s":
        steps = ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
    else:
        steps = ((1e9, f"G{unit}"), (1e6, f"M{unit}"), (1e3, f"k{unit}"), (1, unit))
    factor, name = next((step for step in steps if size >= step[0]), steps[-1])
    shown = value / factor
    digits = 0 if abs(shown) >= 100 or name == "B" else 1 if abs(shown) >= 10 else 2
    return f"{shown:.{digits}f} {name}"


@dataclass(frozen=True)
class Target:
    """What is to hold: of the value itself, of its ratio to the baseline's, or of what it is above it."""

    kind: str  # "value", "time" (strata / ext4), "speed" (ext4 / strata), "over" (strata - ext4)
    bound: float

    def text(self, unit):
        if self.kind == "value":
            return f"<= {figure(self.bound, unit)}"
        if self.kind == "over":
            return f"<= ext4 + {figure(self.bound, unit)}"
        return f"{'<=' if self.kind == 'time' else '>='} {self.bound:g} {self.kind}"

    def met(self, plain, ours):
        if self.kind == "value":
            return ours <= self.bound
        if self.kind == "over":
            return ours - plain <= self.bound
        if self.kind == "time":
            return ours <= self.bound * plain
        return plain >= self.bound * ours


@dataclass
class Row:
    id: str
    what: str
    unit: str
    ours: list
    plain: list = field(default_factory=list)
    target: Target | None = None
    ratio_of: str = "time"  # how the ratio is told: "time" or "speed"

    def __post_init__(self):
        if self.target and self.target.kind in ("time", "speed"):
            self.ratio_of = self.target.kind
        self.strata = statistics.median(self.ours)
        self.ext4 = statistics.median(self.plain) if self.plain else None

    @property
    def ratio(self):
        if not self.ext4 or not self.strata:
            return None
        return self.strata / self.ext4 if self.ratio_of == "time" else self.ext4 / self.strata

    @property
    def met(self):
        return self.target.met(self.ext4, self.strata) if self.target else None

    def cells(self):
        ext4 = "-" if self.ext4 is None else figure(self.ext4, self.unit)
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f} {self.ratio_of}"
        target = self.target.text(self.unit) if self.target else ""
        met = {None: "", True: "met", False: "NOT MET"}[self.met]
        return self.what, ext4, figure(self.strata, self.unit), ratio, target, met

    def plain_data(self):
        return {
            "id": self.id, "what": self.what, "unit": self.unit, "ext4": self.ext4, "strata": self.strata,
            "ratio": self.ratio, "ratio_of": self.ratio_of if self.ratio is not None else None,
            "target": self.target.text(self.unit) if self.target else None, "met": self.met,
            "samples": {"ext4": self.plain, "strata": self.ours},
        }


class Table:
    """All rows, printed as they come and once more at the end."""

    HEAD = ("measure", "ext4", "strata", "ratio", "target", "")

    def __init__(self):
        self.rows = []

    def add(self, id, what, unit, ours, plain=(), target=None, ratio_of="time"):
        """Adds a row of the samples `ours`, beside those of the baseline if there is one."""
        row = Row(id, what, unit, list(ours), list(plain), target, ratio_of)
        self.rows.append(row)
        print(self.line(row.cells()), flush=True)

    @staticmethod
    def line(cells):
        what, ext4, strata, ratio, target, met = cells
        return f"{what:<58}{ext4:>11}{strata:>11}{ratio:>12}  {target:<16} {met}".rstrip()

    def print(self):
        print("\n" + self.line(self.HEAD))
        print("-" * 118)
        for row in self.rows:
            print(self.line(row.cells()))
        judged = [row.met for row in self.rows if row.target]
        print(f"\n{sum(judged)} of {len(judged)} targets met")

    def write_json(self, path, facts, curves):
        result = {"machine": facts, "rows": [row.plain_data() for row in self.rows], "curves": curves}
        with open(path, "w") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
