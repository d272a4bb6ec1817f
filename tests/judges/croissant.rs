//! Descriptions of versions, read by the program that comes with their format: mlcroissant.

use std::fs;

use crate::harness::*;
use crate::installed::python;

/// mlcroissant takes `@meta/croissant.json` without an error, checks the hashes of the files that it names, and
/// reads the records of CSV, TSV, JSONL and Parquet files of a version by it, though they are others in the live tree; with
/// a license and a citation it has nothing to recommend.
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
    run(python("croissant.py").arg("--make").arg(from.join("prices.parquet"))).ok();
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

/// Of more tables than are described each, mlcroissant reads the records of all that have the same columns as one
/// set; where some have others, there is a set of files alone.
#[test]
fn mlcroissant_reads_many_tables_as_one_set() {
    let m = Mount::new();
    let from = m.outside().join("from");
    fs::create_dir_all(from.join("same/deep")).expect("mkdir");
    fs::create_dir_all(from.join("mixed")).expect("mkdir");
    for n in 0..230 {
        let dir = if n % 2 == 0 { "same" } else { "same/deep" };
        let price = if n == 7 { "0.5".to_owned() } else { n.to_string() };
        fs::write(from.join(format!("{dir}/{n}.csv")), format!("id,price\n{n},{price}\n")).expect("write");
        let columns = if n == 229 { "other" } else { "id" };
        fs::write(from.join(format!("mixed/{n}.csv")), format!("{columns}\n{n}\n")).expect("write");
    }
    m.dataset("d");
    m.strata(&["import", from.to_str().expect("a path"), "d"]).ok();
    let description = m.existing("d").path("@v1/@meta/croissant.json");
    run(python("croissant.py").arg("--many").arg(&description).current_dir(m.outside())).ok();
}
