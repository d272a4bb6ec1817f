#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("working_file"), |bytes: &[u8]| stratafs_fuzz::run("working_file", bytes));
