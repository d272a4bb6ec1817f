#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("pack_log"), |bytes: &[u8]| stratafs_fuzz::run("pack_log", bytes));
