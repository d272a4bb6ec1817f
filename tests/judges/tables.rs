//! Tables in files and databases: pyarrow, pandas, polars and duckdb.

use crate::harness::*;
use crate::installed::python;

/// Parquet files that pyarrow, pandas, polars and duckdb write are read alike by all of them, mapped or
/// not, live and in versions; so are partitioned directories and mapped Arrow files. A duckdb database
/// lives in the mount, and each version of it can be queried in place.
#[test]
fn tables_are_read_alike_live_and_in_versions() {
    let m = Mount::new();
    let d = m.dataset("d");
    run(python("tables.py").arg(d.root()).current_dir(m.outside())).ok();
    m.strata(&["verify"]).ok();
}

/// What `strata diff` tells of tables is what pandas finds in them: rows added, removed and changed, and what columns
/// hold, of CSV, TSV, JSON Lines, and Parquet of each compression and type; damaged Parquet is an error.
#[test]
fn differences_of_tables_are_what_pandas_finds() {
    let m = Mount::new();
    let d = m.dataset("d");
    let mut program = python("table_diffs.py");
    program.arg(d.root()).arg(binary()).env("STRATA_STORE", m.store());
    run(program.current_dir(m.outside())).ok();
}
