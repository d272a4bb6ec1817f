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
