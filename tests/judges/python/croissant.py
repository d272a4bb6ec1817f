"""Reads a description of a version with mlcroissant, and the records by it; with --make, writes tables first."""

import datetime
import sys

if sys.argv[1] == "--make":
    import pandas
    import pyarrow
    import pyarrow.parquet

    when = datetime.datetime(2026, 11, 1, 12)
    table = {"id": [1, 2], "price": [0.5, None], "when": [when, when], "tags": [["a"], []], "name": ["x", "y"]}
    pyarrow.parquet.write_table(pyarrow.table(table), sys.argv[2] + "/prices.parquet")
    spans = pyarrow.array([1, 2], pyarrow.duration("us"))
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2], "took": spans}), sys.argv[2] + "/spans.parquet")
    frame = pandas.DataFrame({"id": [1, 2, 3], "took": pandas.to_timedelta([1, 2, 3], unit="s"), "name": ["x", "y", "z"]})
    frame.iloc[[0, 2]].to_parquet(sys.argv[2] + "/chosen.parquet")
    frame.set_index("name").to_parquet(sys.argv[2] + "/named.parquet")
    frame["month"] = pandas.PeriodIndex(["2026-01", "2026-02", "2026-03"], freq="M")
    frame.to_parquet(sys.argv[2] + "/months.parquet")
    pandas.DataFrame([[1, 2], [3, 4]]).to_parquet(sys.argv[2] + "/numbered.parquet")
    sys.exit()

import mlcroissant as mlc

dataset = mlc.Dataset(sys.argv[1])
issues = dataset.metadata.ctx.issues
assert not issues.errors, issues.errors
assert not issues.warnings, issues.warnings
assert dataset.metadata.name == "d" and str(dataset.metadata.version) == "0.0.1"
sets = {record_set.name: record_set for record_set in dataset.metadata.record_sets}
# What pandas renames the columns of has none.
assert len(sets) == 8 and "numbered.parquet" not in sets, sets


def records(name):
    """The records of a table, their fields without what is before the name."""
    found = sets[name]
    fields = {field.id: field.name for field in found.fields}
    return [{fields[id]: value for id, value in record.items()} for record in dataset.records(found.id)]


labels = records("labels.csv")
assert [row["name"] for row in labels] == [b"cat", b"dog"], labels
assert labels[0]["count"] == 3 and str(labels[0]["day"]) == "2026-11-01 00:00:00", labels
assert records("odd name #1 ü.tsv") == [{"a": 1, "b c": b"x"}, {"a": 2, "b c": b"y"}]
assert records("events.jsonl") == [{"id": 1, "ok": True}, {"id": 2, "ok": False}]
prices = records("prices.parquet")
assert [set(row) for row in prices] == [{"id", "price", "when", "name"}] * 2, prices
assert [row["id"] for row in prices] == [1, 2] and prices[0]["price"] == 0.5, prices
assert str(prices[0]["when"]) == "2026-11-01 12:00:00" and prices[1]["name"] == b"y", prices
assert records("spans.parquet") == [{"id": 1}, {"id": 2}]
assert records("chosen.parquet") == [{"id": 1, "name": b"x"}, {"id": 3, "name": b"z"}]
assert records("named.parquet") == [{"id": n, "name": name} for n, name in [(1, b"x"), (2, b"y"), (3, b"z")]]
assert records("months.parquet") == records("named.parquet")
images = [file for file in dataset.metadata.file_sets if file.encoding_formats == ["image/png"]]
assert len(images) == 1 and "train/*.png" in images[0].includes, images
