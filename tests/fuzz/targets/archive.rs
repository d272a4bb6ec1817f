#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("archive"), |bytes: &[u8]| stratafs_fuzz::run("archive", bytes));
