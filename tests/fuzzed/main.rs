//! Whatever bytes come from outside, a decoder gives a sound value or an error, with bounded memory.
//!
//! The bodies are those that cargo-fuzz runs (`scripts/fuzz`); here each gets its valid inputs, mutations of
//! them, and random bytes. FUZZ_SEED draws others, FUZZ_CASES makes them that many times as many.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../harness/mod.rs"]
mod harness;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{env, fs};

use bodies::{TARGETS, Target, target};
use harness::Random;
use mutate::mutate;

/// Longest random input, in bytes.
const RANDOM_MAX: usize = 600;

fn variable(name: &str) -> u64 {
    env::var(name).map_or(1, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Runs a body on an input, and says which if it fails.
fn run(target: &Target, bytes: &[u8]) -> usize {
    match catch_unwind(AssertUnwindSafe(|| target.run(bytes))) {
        Ok(peak) => peak,
        Err(panic) => {
            eprintln!("{} failed on the input b\"{}\"", target.name, bytes.escape_ascii());
            resume_unwind(panic);
        }
    }
}

/// Runs a body on its valid inputs, on `cases` mutations of them, and on random bytes.
fn fuzz(name: &str, cases: u64) {
    let target = target(name);
    let mut random = Random::new(variable("FUZZ_SEED"));
    target.warm_up();
    let seeds = target.seeds();
    assert!(!seeds.is_empty());
    let mut peak = seeds.iter().map(|seed| run(target, seed)).max().unwrap_or(0);
    let (mutations, others) = (cases * variable("FUZZ_CASES"), cases * variable("FUZZ_CASES") / 4);
    for _ in 0..mutations {
        peak = peak.max(run(target, &mutate(&mut random, &seeds)));
    }
    for _ in 0..others {
        let len = random.below(RANDOM_MAX);
        peak = peak.max(run(target, &random.bytes(len)));
    }
    let inputs = seeds.len() as u64 + mutations + others;
    println!(
        "fuzzed {name}: {inputs} inputs ({} of them valid), at most {} KiB at once",
        seeds.len(),
        peak >> 10
    );
}

#[test]
fn pack_headers() {
    fuzz("pack_header", 4000);
}

#[test]
fn pack_footers() {
    fuzz("pack_footer", 2000);
}

#[test]
fn scans_of_packs() {
    fuzz("pack_log", 800);
}

#[test]
fn compressed_packs() {
    fuzz("compressed_pack", 1500);
}

#[test]
fn records_of_all_kinds() {
    fuzz("records", 4000);
}

#[test]
fn values_and_keys_of_the_index() {
    fuzz("index_values", 4000);
}

#[test]
fn small_files_of_a_store() {
    fuzz("identity", 400);
}

#[test]
fn manifests_of_files() {
    fuzz("manifest", 2000);
}

#[test]
fn changes_to_files() {
    fuzz("working_file", 40);
}

#[test]
fn names_with_at() {
    fuzz("at_path", 4000);
}

#[test]
fn command_lines() {
    fuzz("command_line", 400);
}

#[test]
fn frames_of_the_control_socket() {
    fuzz("control", 4000);
}

#[test]
fn requests_to_a_service() {
    fuzz("requests", 400);
}

#[test]
fn flipped_bits() {
    fuzz("bit_flips", 40);
}

#[test]
fn archives() {
    fuzz("archive", 1000);
}

#[test]
fn bundles() {
    fuzz("bundle", 300);
}

#[test]
fn tables() {
    fuzz("table", 500);
}

#[test]
fn recovery_of_a_log() {
    fuzz("recovery", 80);
}

#[test]
fn whole_stores() {
    fuzz("store", 10);
}

/// Such bytes were damage that nothing could repair; and where something else was repaired in the same pack,
/// all records after them were cut off.
#[test]
fn bytes_too_few_for_a_record_are_no_loss() {
    let gap = bodies::logs::short_gap();
    run(target("recovery"), &gap);
    for flags in [0, 2] {
        run(target("store"), &[&[flags][..], &gap].concat());
    }
}

/// What is here and what cargo-fuzz runs are the same.
#[test]
fn every_target_is_run_both_ways() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("tests/fuzz/Cargo.toml")).expect("read a manifest");
    let here = fs::read_to_string(root.join("tests/fuzzed/main.rs")).expect("read this file");
    let mut files: Vec<String> = fs::read_dir(root.join("tests/fuzz/targets"))
        .expect("list the targets")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    let mut wanted: Vec<String> = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    files.sort();
    wanted.sort();
    assert_eq!(files, wanted);
    for Target { name, .. } in TARGETS {
        let text =
            fs::read_to_string(root.join(format!("tests/fuzz/targets/{name}.rs"))).expect("read a target");
        assert!(
            text.contains(&format!("sow(\"{name}\")")) && text.contains(&format!("run(\"{name}\", bytes)"))
        );
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not in the manifest");
        assert!(here.contains(&format!("fuzz(\"{name}\", ")), "{name} is not run here");
    }
}
