"""Parquet by pyarrow, pandas, polars and duckdb: each reads what each wrote, live, mapped and in versions."""

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

from common import ROOT, pin, rows

COUNT = 20_000


def sql(query):
    with duckdb.connect() as connection:
        return connection.execute(query).to_arrow_table()


WRITERS = {
    "pyarrow": lambda data, path: pyarrow.parquet.write_table(pyarrow.table(data), path, row_group_size=COUNT // 4),
    "pandas": lambda data, path: pandas.DataFrame(data).to_parquet(path),
    "polars": lambda data, path: polars.DataFrame(data).write_parquet(path),
    "duckdb": lambda data, path: write_duckdb(pyarrow.table(data), path),
}


def write_duckdb(table, path):
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.execute(f"COPY given TO '{path}' (FORMAT parquet)")


READERS = {
    "pyarrow": lambda path: pyarrow.parquet.read_table(path),
    "pyarrow, mapped": lambda path: pyarrow.parquet.read_table(path, memory_map=True),
    "pyarrow, a given mapping": lambda path: pyarrow.parquet.read_table(pyarrow.memory_map(str(path))),
    "pyarrow, a dataset": lambda path: pyarrow.dataset.dataset(path, format="parquet").to_table(),
    "pandas": lambda path: pyarrow.Table.from_pandas(pandas.read_parquet(path), preserve_index=False),
    "polars": lambda path: polars.read_parquet(path, memory_map=True).to_arrow(),
    "polars, lazily": lambda path: polars.scan_parquet(path).collect().to_arrow(),
    "duckdb": lambda path: sql(f"FROM '{path}'"),
}


def check(path, data, what):
    for name, read in READERS.items():
        got = read(path)
        for column, wanted in data.items():
            values = got.column(column).to_pylist()
            assert [None if v != v else v for v in values] == wanted, f"{name} reads {column} of {what} otherwise"


def parquet():
    for n, (writer, write) in enumerate(WRITERS.items()):
        path = f"{writer}.parquet"
        old, new = rows(n, COUNT), rows(n + 100, COUNT + n)
        write(old, ROOT / path)
        before = pin()
        write(new, ROOT / path)
        after = pin()
        assert before != after
        check(ROOT / path, new, f"what {writer} wrote")
        check(before / path, old, f"the version before {writer} wrote again")
        check(after / path, new, f"the version of {writer}")


def partitions():
    """A directory of files by the value of a column, grown while a version of it is read."""
    table = pyarrow.table(rows(7, COUNT))
    pyarrow.parquet.write_to_dataset(table, ROOT / "parts", partition_cols=["label"])
    before = pin()
    pyarrow.parquet.write_to_dataset(table, ROOT / "parts", partition_cols=["label"])
    for root, wanted in ((before, COUNT), (ROOT, 2 * COUNT)):
        found = pyarrow.dataset.dataset(root / "parts", format="parquet", partitioning="hive")
        assert found.count_rows() == wanted
        assert sorted(set(found.to_table(columns=["label"])["label"].to_pylist())) == [f"class {n}" for n in range(10)]
        counted = sql(f"SELECT count(*) AS n FROM read_parquet('{root}/parts/**/*.parquet', hive_partitioning = true)")
        assert counted["n"].to_pylist() == [wanted]
        assert polars.scan_parquet(root / "parts").select(polars.len()).collect().item() == wanted


def arrow():
    """Tables that are the mapped file itself, unchanged by what happens to the live one."""
    path = "table.arrow"

    def write(data):
        table = pyarrow.table(data)
        with pyarrow.OSFile(str(ROOT / path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)

    old, new = rows(8, COUNT), rows(9, COUNT)
    write(old)
    before = pin()
    with pyarrow.memory_map(str(before / path)) as source:
        mapped = pyarrow.ipc.open_file(source).read_all()
        write(new)
        assert mapped.to_pydict() == old
    with pyarrow.memory_map(str(ROOT / path)) as source:
        assert pyarrow.ipc.open_file(source).read_all().to_pydict() == new


def database():
    """A duckdb database in the mount: its versions are databases that can be read where they are."""
    path, pinned = "numbers.duckdb", {}
    for part in range(3):
        with duckdb.connect(ROOT / path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS numbers (part INTEGER, n INTEGER)")
            connection.execute(f"INSERT INTO numbers SELECT {part}, range FROM range({COUNT})")
            if part == 1:
                connection.execute("BEGIN")
                connection.execute("DELETE FROM numbers")
                connection.execute("ROLLBACK")
            connection.execute("CHECKPOINT")
        pinned[part + 1] = pin()
    for parts, root in [*pinned.items(), (3, ROOT)]:
        with duckdb.connect(root / path, read_only=True) as connection:
            got = connection.execute("SELECT count(*), count(DISTINCT part), sum(n) FROM numbers").fetchall()
            assert got == [(parts * COUNT, parts, parts * COUNT * (COUNT - 1) // 2)], (parts, got)


parquet()
partitions()
arrow()
database()
