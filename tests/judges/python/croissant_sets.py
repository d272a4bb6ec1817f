"""Takes a description of a version with sets of tables, and reads the records of one that is described by itself."""

import sys

import mlcroissant as mlc

dataset = mlc.Dataset(sys.argv[1])
issues = dataset.metadata.ctx.issues
assert not issues.errors, issues.errors
assert not issues.warnings, issues.warnings
sets = {record_set.name: record_set for record_set in dataset.metadata.record_sets}
assert sorted(sets) == ["a/*.csv", "b/*.csv", "c/*.csv", "labels.csv"], sorted(sets)
for directory, columns in [("a", ["id", "name"]), ("b", ["id", "price"]), ("c", ["x", "y"])]:
    fields = sets[f"{directory}/*.csv"].fields
    assert [field.source.extract.column for field in fields] == columns, fields
    files = [file for file in dataset.metadata.file_sets if file.uuid == fields[0].source.uuid]
    assert len(files) == 1 and files[0].includes == [f"{directory}/*.csv", f"{directory}/**/*.csv"], files
    assert files[0].contained_in == ["files"], files
labels = sets["labels.csv"]
names = {field.id: field.name for field in labels.fields}
records = [{names[id]: value for id, value in record.items()} for record in dataset.records(labels.id)]
assert records == [{"name": b"cat", "count": 3}], records
