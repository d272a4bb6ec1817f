#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("bit_flips"), |bytes: &[u8]| stratafs_fuzz::run("bit_flips", bytes));
