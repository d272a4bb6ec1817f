#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("index_values"), |bytes: &[u8]| stratafs_fuzz::run("index_values", bytes));
