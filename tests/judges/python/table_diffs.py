"""What `strata diff` tells of tables, against what pandas and pyarrow find in them."""

import datetime
import decimal
import json
import math
import os
import random
import subprocess
import sys

import numpy
import pandas
import pyarrow
import pyarrow.parquet

from common import ROOT, pin

STRATA, DATASET = sys.argv[2], ROOT.name
COUNT = 3000


def diff(before, after, *arguments):
    """The table of `strata diff`."""
    command = [STRATA, "diff", "--json", f"{DATASET}{before.name}", f"{DATASET}{after.name}", *arguments]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=100)
    changes = json.loads(ran.stdout)["changes"]
    assert len(changes) == 1, changes
    return changes[0]["table"]


def frames(seed):
    """A table, and the same with rows added, removed, changed and in another order, with other columns."""
    rng = random.Random(seed)
    old = pandas.DataFrame({
        "id": range(COUNT),
        "label": [rng.choice(["cat", "dog", "fox"]) for _ in range(COUNT)],
        "score": [None if rng.random() < 0.1 else round(rng.gauss(0, 100), 3) for _ in range(COUNT)],
        "count": [rng.randrange(-5, 10_000) for _ in range(COUNT)],
        "note": [None if rng.random() < 0.5 else f"tëxt, \"{n}\"\nmore" for n in range(COUNT)],
        "gone": [n % 7 for n in range(COUNT)],
    })
    new = old.drop(columns="gone").drop(index=rng.sample(range(COUNT), 100))
    changed = rng.sample(sorted(new.index), 200)
    new.loc[changed[:120], "label"] = "wolf"
    new.loc[changed[120:], "count"] = new.loc[changed[120:], "count"] + 1
    added = new.sample(50, random_state=seed).assign(id=range(COUNT, COUNT + 50))
    new = pandas.concat([new, added]).sample(frac=1, random_state=seed).reset_index(drop=True)
    new["fresh"] = [n % 3 == 0 for n in range(len(new))]
    return old, new


def check(table, old, new, exact_types):
    common = [name for name in new.columns if name in old.columns]
    merged = old[common].merge(new[common], on="id", how="outer", suffixes=("_a", "_b"), indicator=True)
    both = merged[merged["_merge"] == "both"]
    differs = {}
    for name in common:
        if name != "id":
            a, b = both[f"{name}_a"], both[f"{name}_b"]
            differs[name] = ~((a == b) | (a.isna() & b.isna()))
    changed = pandas.concat(differs, axis=1).any(axis=1)
    wanted = {
        "before": len(old), "after": len(new),
        "added": int((merged["_merge"] == "right_only").sum()),
        "removed": int((merged["_merge"] == "left_only").sum()),
        "changed": int(changed.sum()), "unchanged": int((~changed).sum()),
    }
    assert table["rows"] == wanted, (table["rows"], wanted)
    columns = {column["name"]: column for column in table["columns"]}
    assert columns["gone"]["change"] == "removed" and columns["fresh"]["change"] == "added"
    for name, rows in differs.items():
        assert columns[name]["changed"] == int(rows.sum()), name
        assert columns[name]["change"] is None, (name, columns[name])
    for side, frame in (("before", old), ("after", new)):
        for name in frame.columns:
            summary, values = columns[name][side], frame[name]
            assert summary["nulls"] == int(values.isna().sum()), (name, summary)
            assert summary["values"] == int(values.notna().sum()), (name, summary)
            assert summary["distinct"] == values.nunique() and not summary["distinct_is_estimate"], (name, summary)
            if name in ("id", "score", "count"):
                assert summary["min"] == values.min() and summary["max"] == values.max(), (name, summary)
                assert math.isclose(summary["mean"], values.mean(), rel_tol=1e-12), (name, summary)
            if values.nunique() <= 64 and values.dtype != bool:
                top = {entry["value"]: entry["count"] for entry in summary["top"]}
                assert top == {str(value): int(count) for value, count in values.value_counts().items()}, name
    if exact_types:
        kinds = {name: columns[name]["after"]["type"] for name in new.columns}
        assert kinds == exact_types, kinds


def round_trip(path, write, exact_types=None, *arguments):
    for seed in range(2):
        old, new = frames(seed)
        write(old, ROOT / path)
        before = pin()
        write(new, ROOT / path)
        check(diff(before, pin(), path, "--key", "id", *arguments), old, new, exact_types)


def csv(separator):
    def write(frame, path):
        # Numbers of a column with nulls are written as they are, so that the types are those of the values.
        frame.to_csv(path, index=False, sep=separator)
    return write


def jsonl(frame, path):
    frame.to_json(path, orient="records", lines=True)


def parquet(compression, **options):
    def write(frame, path):
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        pyarrow.parquet.write_table(table, path, compression=compression, row_group_size=700, **options)
    return write


def multisets():
    """Without a key, rows are counted as often as they are there."""
    rng = random.Random(3)
    old = pandas.DataFrame({"a": [rng.randrange(6) for _ in range(500)], "b": [rng.choice("xy") for _ in range(500)]})
    new = pandas.DataFrame({"a": [rng.randrange(8) for _ in range(450)], "b": [rng.choice("xy") for _ in range(450)]})
    old.to_parquet(ROOT / "bag.parquet")
    before = pin()
    new.to_parquet(ROOT / "bag.parquet")
    counts = [frame.value_counts() for frame in (old, new)]
    moved = counts[1].sub(counts[0], fill_value=0)
    rows = diff(before, pin(), "bag.parquet")["rows"]
    assert rows["added"] == int(moved[moved > 0].sum()) and rows["removed"] == -int(moved[moved < 0].sum()), rows


def every_type():
    """Values of every type that pyarrow writes are told as they are, and a change of the least of each is seen."""
    utc = datetime.timezone.utc
    when = datetime.datetime(2026, 11, 1, 10, 30, 0, 123456)
    columns = {
        "int8": (pyarrow.int8(), -128, -127), "uint64": (pyarrow.uint64(), 2**64 - 1, 2**64 - 2),
        "int64": (pyarrow.int64(), 2**53 + 1, 2**53), "float16": (pyarrow.float16(), 0.5, 0.25),
        "float": (pyarrow.float32(), 0.1, 0.2), "double": (pyarrow.float64(), 0.1, numpy.nextafter(0.1, 1)),
        "bool": (pyarrow.bool_(), True, False), "string": (pyarrow.large_string(), "ä", "a"),
        "binary": (pyarrow.binary(), b"\xff", b"\xfe"), "fixed": (pyarrow.binary(2), b"ab", b"ac"),
        "date": (pyarrow.date32(), datetime.date(2026, 11, 1), datetime.date(2026, 11, 2)),
        "ms": (pyarrow.timestamp("ms"), when.replace(microsecond=1000), when.replace(microsecond=2000)),
        "us": (pyarrow.timestamp("us", "UTC"), when.replace(tzinfo=utc), when.replace(tzinfo=utc, microsecond=1)),
        "ns": (pyarrow.timestamp("ns"), 1_800_000_000_000_000_001, 1_800_000_000_000_000_002),
        "time": (pyarrow.time64("us"), datetime.time(1, 2, 3, 4), datetime.time(1, 2, 3, 5)),
        "time_ns": (pyarrow.time64("ns"), 3_723_000_004_005, 3_723_000_004_006),
        # Those of 96 bits are read to the millisecond within lists.
        "times": (pyarrow.list_(pyarrow.timestamp("ns")), [1_800_000_000_000_000_001], [1_800_000_000_001_000_001]),
        "decimal": (pyarrow.decimal128(4, 4), decimal.Decimal("-0.0001"), decimal.Decimal("0.0001")),
        "wide": (pyarrow.decimal128(38, 2), decimal.Decimal("1" * 36 + ".01"), decimal.Decimal("1" * 36 + ".02")),
        "huge": (pyarrow.decimal256(60, 2), decimal.Decimal("1" * 58 + ".01"), decimal.Decimal("1" * 58 + ".02")),
        "list": (pyarrow.list_(pyarrow.int32()), [1, None], [1, 2]),
        "struct": (pyarrow.struct([("x", pyarrow.int32()), ("y", pyarrow.string())]), {"x": 1, "y": "a"},
                   {"x": 1, "y": "b"}),
        "map": (pyarrow.map_(pyarrow.string(), pyarrow.int32()), [("k", 1)], [("k", 2)]),
        "dictionary": (pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), "cat", "dog"),
    }
    for options in ({}, {"use_deprecated_int96_timestamps": True}):
        def write(at):
            table = pyarrow.table(
                {"id": [0, 1, 2], **{n: pyarrow.array([c[1], None, c[at]], c[0]) for n, c in columns.items()}})
            pyarrow.parquet.write_table(table, ROOT / "types.parquet", **options)
        write(1)
        before = pin()
        write(2)
        after = pin()
        told = diff(before, after, "types.parquet", "--key", "id", "--rows", "5")
        assert told["rows"] == {"before": 3, "after": 3, "added": 0, "removed": 0, "changed": 1, "unchanged": 2}
        for name in columns:
            column = next(column for column in told["columns"] if column["name"] == name)
            assert column["changed"] == 1, (name, options, column)
        sample = told["samples"]["changed"][0]["before"]
        if options:
            assert sample["ns"] == "2027-01-15T08:00:00.000000001Z" and sample["us"] == "2026-11-01T10:30:00.123456000Z"
            continue
        assert sample["uint64"] == 2**64 - 1 and sample["int64"] == 2**53 + 1 and sample["decimal"] == "-0.0001"
        assert sample["wide"] == "1" * 36 + ".01" and sample["us"] == "2026-11-01T10:30:00.123456000Z", sample
        assert sample["list"] == [1, None] and sample["struct"] == {"x": 1, "y": "a"} and sample["map"] == [["k", 1]]
        assert sample["ns"] == "2027-01-15T08:00:00.000000001Z" and sample["times"] == [sample["ns"]], sample
        assert sample["time_ns"] == "01:02:03.000004005" and sample["huge"] == "1" * 58 + ".01", sample
        for name, wanted in (("int64", 2**53 + 1), ("uint64", 2**64 - 1), ("huge", "1" * 58 + ".01")):
            column = next(column for column in told["columns"] if column["name"] == name)
            assert column["before"]["max"] == wanted, column
        assert sample["date"] == "2026-11-01" and sample["time"] == "01:02:03.000004" and sample["binary"] == "ff"


def units():
    """The same instants in other units are the same rows; columns of one name have their own values."""
    nanos = [1_577_840_523_456_789_000, None, 0]
    def write(unit, one):
        times = pyarrow.array([n and n // one for n in nanos], pyarrow.timestamp(unit))
        columns = [times, pyarrow.array([[n and n // one] for n in nanos], pyarrow.list_(pyarrow.timestamp(unit)))]
        table = pyarrow.Table.from_arrays([*columns, pyarrow.array([1, 2, 3]), pyarrow.array([4, 5, 6])], list("tlaa"))
        pyarrow.parquet.write_table(table, ROOT / "units.parquet")
        return pin()
    told = diff(write("us", 1000), write("ns", 1), "units.parquet")
    assert told["rows"]["unchanged"] == 3 and told["rows"]["added"] == 0, told["rows"]
    assert [column["name"] for column in told["columns"]] == ["t", "l", "a", "a.1"]
    assert [column["after"]["max"] for column in told["columns"][2:]] == [3, 6]


def damaged():
    """A Parquet file that is cut off or overwritten is an error that names it."""
    sound = (ROOT / "types.parquet").read_bytes()
    before = pin()
    rng = random.Random(5)
    for at in range(40):
        bytes_ = bytearray(sound)
        if at % 2:
            bytes_ = bytes_[: rng.randrange(len(sound))]
        else:
            start = rng.randrange(4, len(sound) - 8)
            bytes_[start : start + 16] = rng.randbytes(16)
        (ROOT / "types.parquet").write_bytes(bytes_)
        command = [STRATA, "diff", f"{DATASET}{before.name}", f"{DATASET}{pin().name}", "types.parquet"]
        ran = subprocess.run(command, capture_output=True, timeout=100)
        assert ran.returncode == 1 or (ran.returncode == 0 and at % 2 == 0), (at, ran)
        if ran.returncode:
            assert b"types.parquet as a table: " in ran.stderr and b"panicked" not in ran.stderr, ran


round_trip("t.csv", csv(","))
round_trip("semicolons.csv", csv(";"))
round_trip("t.tsv", csv("\t"))
round_trip("t.jsonl", jsonl)
TYPES = {"id": "int64", "label": "string", "score": "double", "count": "int64", "note": "string", "fresh": "boolean"}
for codec in ("none", "snappy", "zstd", "gzip", "lz4", "brotli"):
    round_trip("t.parquet", parquet(codec), TYPES)
round_trip("plain.pq", parquet("zstd", use_dictionary=False, data_page_version="2.0", write_page_index=True), TYPES)
os.rename(ROOT / "plain.pq", ROOT / "no_ending")
round_trip("no_ending", parquet("snappy", version="1.0"), None, "--tables")
multisets()
every_type()
units()
damaged()
