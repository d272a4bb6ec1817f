#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("compressed_pack"), |bytes: &[u8]| stratafs_fuzz::run("compressed_pack", bytes));
