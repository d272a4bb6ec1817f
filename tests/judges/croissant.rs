//! Descriptions of versions, read by the program that comes with their format: mlcroissant.

use std::fs;

use crate::harness::*;
use crate::installed::python;

/// mlcroissant takes `@meta/croissant.json` without an error, checks the hashes of the files that it names, and
/// reads the records of CSV, TSV, JSONL and Parquet files of a version by it, though they are others in the live tree,
/// those of Parquet files also where pandas wrote them with an index or spans of time; with a license and a citation it
/// has nothing to recommend.
#[test]
fn mlcroissant_reads_the_records_of_a_version() {
    let m = Mount::new();
    m.dataset("d");
    let from = m.outside().join("from");
    fs::create_dir_all(from.join("train")).expect("mkdir");
    fs::write(from.join("labels.csv"), "name,count,day\ncat,3,2026-11-01\ndog,,2026-11-02\n").expect("write");
    fs::write(from.join("odd name #1 ü.tsv"), "a\tb c\n1\tx\n2\ty\n").expect("write");
    fs::write(from.join("events.jsonl"), "{\"id\":1,\"ok\":true,\"x\":[1]}\n{\"id\":2,\"ok\":false}\n")
        .expect("write");
    run(python("croissant.py").arg("--make").arg(&from)).ok();
    for i in 0..9u64 {
        fs::write(from.join(format!("train/image {i}.png")), noise(i, 500)).expect("write");
    }
    m.strata(&["import", from.to_str().expect("a path"), "d"]).ok();
    m.strata(&["annotate", "d@v1", "license=https://spdx.org/licenses/MIT", "cite=A paper"]).ok();
    let d = m.existing("d");
    d.write("labels.csv", "other\n");
    let description = d.path("@v1/@meta/croissant.json");
    run(python("croissant.py").arg(&description).current_dir(m.outside())).ok();
}

/// mlcroissant takes a description in which directories of many tables are described together, without an error, and
/// reads the records of a table that is described by itself. It has no way yet to read columns of files in a
/// directory that is not its own.
#[test]
fn mlcroissant_takes_sets_of_tables() {
    let m = Mount::new();
    m.dataset("d");
    let from = m.outside().join("from");
    for (dir, header) in [("a", "id,name"), ("b", "id,price"), ("c", "x,y")] {
        fs::create_dir_all(from.join(dir)).expect("mkdir");
        for i in 0..80 {
            fs::write(from.join(format!("{dir}/{i}.csv")), format!("{header}\n{i},{i}\n")).expect("write");
        }
    }
    fs::write(from.join("labels.csv"), "name,count\ncat,3\n").expect("write");
    m.strata(&["import", from.to_str().expect("a path"), "d"]).ok();
    m.strata(&["annotate", "d@v1", "license=https://spdx.org/licenses/MIT", "cite=A paper"]).ok();
    let description = m.existing("d").path("@v1/@meta/croissant.json");
    run(python("croissant_sets.py").arg(&description).current_dir(m.outside())).ok();
}
