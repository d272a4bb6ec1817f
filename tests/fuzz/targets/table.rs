#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("table"), |bytes: &[u8]| stratafs_fuzz::run("table", bytes));
