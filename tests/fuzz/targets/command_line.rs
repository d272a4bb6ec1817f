#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: stratafs_fuzz::sow("command_line"), |bytes: &[u8]| stratafs_fuzz::run("command_line", bytes));
