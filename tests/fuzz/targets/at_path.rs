#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("at_path"), |bytes: &[u8]| stratafs_fuzz::run("at_path", bytes));
